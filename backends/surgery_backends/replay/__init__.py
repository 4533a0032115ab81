"""Replay: variants on a batch, without what the baseline has computed already."""

from surgery_backends.replay._evaluator import ReplayEvaluator as ReplayEvaluator
