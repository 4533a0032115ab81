"""The CUDA graph evaluator: a batch is one launch per pass, whatever it computes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from surgery.errors import BackendError
from surgery.evaluator import AbstractEvaluator, AbstractExecutor, Evaluated, Recipe
from surgery_backends._trial import Trial
from surgery_backends.fused._evaluator import FusedEvaluator
from surgery_backends.fused._intake import Intake
from surgery_backends.fused._program import FusedProgram
from surgery_backends.fused._recorded import RecordedExecutor, Recorder

_Asked = tuple[Sequence[Any], Mapping[str, Any], Collection[int], Callable[..., Any]]
"""A batch's inputs, the variants, and what runs the model."""


@final
class CudaGraphEvaluator(AbstractEvaluator):
    """Evaluates by fused programs, recorded as CUDA graphs where a sweep allows it.

    Args:
        model: The model without wrappers, on a CUDA device.
        trials: What is evaluated beside the baseline.
        recorder: In place of CUDA graphs; then the model may be anywhere.
        options: Those of the fused evaluator.

    Raises:
        BackendError: The model is on another device.
    """

    name: ClassVar[str] = "cudagraph"
    records: ClassVar[bool] = True

    def __init__(
        self,
        model: nn.Module,
        trials: Sequence[Trial],
        *,
        recorder: Recorder | None = None,
        **options: Any,
    ) -> None:
        first = next(model.parameters(), None)
        self._device = torch.device("cpu") if first is None else first.device
        if recorder is None and self._device.type != "cuda":
            raise BackendError(
                f"CUDA graphs need a model on a CUDA device, but it is on "
                f"{self._device}; use Engine(device='cuda', backend='cudagraph'), or "
                "backend='fused', which runs anywhere"
            )
        self._model = model
        self._trials = trials
        self._recorder = recorder
        self._fused = FusedEvaluator(model, trials, **options)

    def evaluate(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        wanted: Collection[int],
        forward: Callable[..., Any],
    ) -> Evaluated:
        return self._fused.evaluate(args, kwargs, wanted, forward)

    def executor(
        self,
        recipe: Recipe,
        tensors: Sequence[Tensor],
        forward: Callable[..., Any],
    ) -> AbstractExecutor:
        args, kwargs = recipe.call(tensors)
        return RecordedExecutor(
            self._model,
            self._trials,
            _Programs(self._fused, (args, kwargs, recipe.wanted, forward)),
            recipe,
            Intake(tensors, self._device),
            self._recorder or GraphRecorder(self._device),
        )

    def plan(self) -> dict[str, Any]:
        return self._fused.plan()


@final
class GraphRecorder:
    """Records into CUDA graphs, which share their memory: they never run at once."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool: Any = torch.cuda.graph_pool_handle()

    def __call__(self, body: Callable[[], None]) -> Callable[[], None]:
        with torch.cuda.device(self._device):
            current = torch.cuda.current_stream()
            # Libraries choose kernels and take memory in a first run, which cannot be
            # recorded; it must not run on the stream that everything else waits for.
            side = torch.cuda.Stream()
            side.wait_stream(current)
            with torch.cuda.stream(side):
                body()
            current.wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool):
                body()
        return graph.replay


@final
class _Programs:
    """The programs for batches like one."""

    def __init__(self, fused: FusedEvaluator, asked: _Asked) -> None:
        self._fused = fused
        self._asked = asked

    def programs(self) -> Sequence[FusedProgram]:
        return self._fused.programs(*self._asked)

    def is_exact(self) -> bool:
        return self._fused.is_exact(*self._asked)

    def shrink(self) -> bool:
        return self._fused.shrink(*self._asked)
