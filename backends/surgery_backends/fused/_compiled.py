"""The compiled evaluator: fused programs whose stretches are compiled by torch.compile.

Compiling a whole program would take as long as compiling the model for every variant.
So its graph is cut where variants begin to differ, every piece is compiled once, and
the baseline and all variants after it call the same code. Weights are constants in it:
normalisations are folded into convolutions, and weights are laid out as kernels like
them. Operations run between the pieces, as they do elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar, Final, final

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from surgery.anatomy import close
from surgery.errors import BackendError
from surgery.evaluator import AbstractEvaluator, Evaluated
from surgery_backends._trial import Trial, clocked
from surgery_backends.fused._act import ActFailed
from surgery_backends.fused._evaluator import FusedEvaluator
from surgery_backends.fused._leaves import leaves_of
from surgery_backends.fused._piece import Function, Piece
from surgery_backends.fused._pieces import in_pieces
from surgery_backends.fused._plan import Plan
from surgery_backends.fused._program import FusedProgram, fuse
from surgery_backends.fused._tolerance import tolerance

_KINDS: Final = 3
"""For so many shapes of batches pieces are compiled; others run as they are."""


@final
class CompiledEvaluator(AbstractEvaluator):
    """Evaluates by fused programs with compiled pieces, checked against plain ones.

    The first batch runs plainly, then compiled, and both must agree. A batch of another
    shape (the last one, say) runs plainly; the second of that shape is compiled too.

    Args:
        model: The model without wrappers.
        trials: What is evaluated beside the baseline.
        memory_budget: Bytes that values in flight may take.
        alike: Whether several processes must compute the same bits.
        plan: What `plan()` gave before.
        options: More of inductor's options for the pieces, as
            `torch.compile(options=...)` takes them: `{"max_autotune": True}` to have
            kernels tried out. Weights are constants unless `freezing` is False.
    """

    name: ClassVar[str] = "compiled"

    def __init__(
        self,
        model: nn.Module,
        trials: Sequence[Trial],
        *,
        memory_budget: int | None = None,
        alike: bool = False,
        plan: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._model = model
        self._trials = trials
        self._fused = FusedEvaluator(
            model, trials, memory_budget=memory_budget, alike=alike, plan=plan
        )
        self._options: dict[str, Any] = {"freezing": True} | dict(options or {})
        self._graphs: dict[int, tuple[Plan, Plan, list[Piece]]] = {}
        self._seen: dict[Any, int] = {}
        self._programs: dict[Any, FusedProgram] = {}
        self._plain = ""

    @torch.no_grad()
    def evaluate(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        wanted: Collection[int],
        forward: Callable[..., Any],
    ) -> Evaluated:
        shape = _shape(args, kwargs)
        key = shape, tuple(wanted)
        if key in self._programs:
            try:
                outputs = self._outputs(self._programs[key], args, kwargs)
                return Evaluated(outputs, exact=False)
            except (ActFailed, torch.OutOfMemoryError):  # judged below
                pass
        found = self._fused.evaluate(args, kwargs, wanted, forward)
        if self._is_worth_it(shape) and key not in self._programs:
            plain = self._fused.programs(args, kwargs, wanted, forward)
            if len(plain) > 1:  # outputs of one pass at a time are all that fits
                self._plain = "the variants do not fit one pass"
                return found
            program = self._compiled(plain[0], args, kwargs)
            if self._is_right(program, args, kwargs, found.outputs):
                self._programs[key] = program
        return found

    def plan(self) -> dict[str, Any]:
        """The fused program's plan, and how much of it is compiled."""
        pieces = [piece for _, _, found in self._graphs.values() for piece in found]
        failed = dict.fromkeys(piece.failed for piece in pieces if piece.failed)
        return {
            **self._fused.plan(),
            "pieces": len(pieces),
            "compiled": sum(bool(piece.compiled) for piece in pieces),
            "plain": [*failed, *([self._plain] if self._plain else [])],
        }

    def _is_worth_it(self, shape: Any) -> bool:
        """Whether a batch's shape is the first one, or was seen before."""
        times = self._seen[shape] = self._seen.get(shape, 0) + 1
        first = next(iter(self._seen)) == shape
        kinds = {known for known, _ in self._programs} | {shape}
        return not self._plain and len(kinds) <= _KINDS and (first or times > 1)

    def _compiled(
        self, program: FusedProgram, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> FusedProgram:
        """The same program, of pieces."""
        _, plan, _ = self._in_pieces(program.plan)
        leaves = leaves_of(plan.marked, args, kwargs)
        # Compiled code lays weights out by itself.
        todo = replace(program.made, channels_last=False)
        return fuse(self._model, plan, todo, leaves)

    def _in_pieces(self, plan: Plan) -> tuple[Plan, Plan, list[Piece]]:
        if id(plan) not in self._graphs:  # which keeps it, so that its id stays its own
            marked, pieces = in_pieces(self._model, plan.marked, plan.differs)
            new = Plan(self._model, marked, self._trials)
            self._graphs[id(plan)] = plan, new, pieces
        return self._graphs[id(plan)]

    def _is_right(
        self,
        program: FusedProgram,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        expected: Mapping[int | None, Any],
    ) -> bool:
        """Compile what is not yet, and compare with what came out plainly.

        Raises:
            BackendError: Nothing can be compiled here.
        """
        pieces = [piece for _, _, found in self._graphs.values() for piece in found]
        with self._compiling(pieces):
            outputs = self._outputs(program, args, kwargs)
        if pieces and not any(piece.compiled for piece in pieces):
            raise BackendError(
                f"torch.compile failed: {pieces[0].failed}; Engine(backend='fused') "
                "runs the same program without it"
            )
        allowed = tolerance(program.marked)
        for variant, value in expected.items():
            if not close(value, outputs[variant], allowed):
                row = "the baseline" if variant is None else f"variant {variant}"
                self._plain = f"compiled code gives other values for {row}"
                return False
        return True

    @contextmanager
    def _compiling(self, pieces: Sequence[Piece]) -> Generator[None]:
        for piece in pieces:
            piece.compile = self._compile
        try:
            yield
        finally:
            for piece in pieces:
                piece.compile = None

    def _compile(self, module: nn.Module) -> Function:
        function: Function = torch.compile(
            module, fullgraph=True, dynamic=False, options=self._options
        )
        return function

    def _outputs(
        self,
        program: FusedProgram,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> dict[int | None, Any]:
        with clocked(self._model, self._trials, args, kwargs):
            return program.outputs(leaves_of(program.marked, args, kwargs))


def _shape(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What compiled code depends on of inputs."""
    leaves, spec = tree_flatten((tuple(args), dict(kwargs)))
    kinds = [
        (x.shape, x.stride(), x.dtype, x.device) if isinstance(x, Tensor) else repr(x)
        for x in leaves
    ]
    return str(spec), tuple(kinds)
