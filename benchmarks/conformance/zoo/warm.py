"""Imports of whatever the zoo needs: once, in the server that forks every process."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import timm
import torch._dynamo
import torch._export
import torch.export
import torch.fx
import torchvision
import transformers

from benchmarks.conformance.zoo import check
from benchmarks.conformance.zoo.architectures import ARCHITECTURES

LIBRARIES = (timm, torch, torchvision, check)
CLASSES = tuple(getattr(transformers, a.model) for a in ARCHITECTURES.values())
