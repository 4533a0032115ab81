"""The fused program: baseline and variants in one graph, nothing computed twice."""

from surgery_backends.fused._cudagraph import CudaGraphEvaluator as CudaGraphEvaluator
from surgery_backends.fused._evaluator import FusedEvaluator as FusedEvaluator
