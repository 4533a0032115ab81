"""The fused program: baseline and variants in one graph, nothing computed twice."""

from surgery_backends.fused._compiled import CompiledEvaluator as CompiledEvaluator
from surgery_backends.fused._cudagraph import CudaGraphEvaluator as CudaGraphEvaluator
from surgery_backends.fused._evaluator import FusedEvaluator as FusedEvaluator
from surgery_backends.fused._module import fuse_module as fuse_module
