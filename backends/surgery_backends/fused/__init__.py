"""The fused program: baseline and variants in one graph, nothing computed twice."""

from surgery_backends.fused._compiled import CompiledEvaluator as CompiledEvaluator
from surgery_backends.fused._evaluator import FusedEvaluator as FusedEvaluator
