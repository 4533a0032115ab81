"""All models of the zoo, by name, and how one is built."""

from __future__ import annotations

from itertools import chain

import torch

from benchmarks.conformance.zoo import architectures, images, visions
from benchmarks.conformance.zoo.specimen import Case, Specimen


def cases() -> dict[str, Case]:
    """Every case by name, in the order of the tables."""
    return {
        case.name: case
        for case in chain(
            images.families(),
            visions.classifiers(),
            visions.segmenters(),
            visions.detectors(),
            visions.others(),
            architectures.architectures(),
        )
    }


def build(case: Case, seed: int = 0) -> Specimen:
    """Build a model and its inputs under a seed, in eval mode."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        specimen = case.build()
    specimen.model.eval()
    return specimen
