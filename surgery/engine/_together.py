"""Together: which evaluator a sweep uses, and from which batch on."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from torch import Tensor

from surgery.backend import EVALUATORS, automatic, evaluator_class
from surgery.data import fresh
from surgery.engine._answers import asked, one_call, require_no_hooks
from surgery.engine._makeshift import NAME as MAKESHIFT
from surgery.engine._makeshift import Makeshift
from surgery.engine._runner import Runner
from surgery.engine._swept import words
from surgery.errors import BackendError, SurgeryError
from surgery.evaluator import AbstractEvaluator, AbstractExecutor, Evaluated, Recipe

_SECONDS = 5.0
_SECONDS_PER_MODULE = 0.03
_BATCHES = 2
"""What graph and plan take, which is found on a batch: twice that must be left."""


class Together:
    """Evaluates whole batches by an evaluator, where there is one for this model.

    With `"auto"` the first batch begins plainly. What needs no preparation takes over
    as soon as that pays, and what does from a later batch on, if what is left then
    takes longer than making it. What none can do runs plainly, and `notes` say why.

    Args:
        runner: Runs the model.
        variants: What is evaluated beside the baseline.
        backend: The backend that the user asked for.
        batches: How many there are, if known.
        plan: What was chosen before, to be done again.
        options: For the evaluator.
    """

    def __init__(
        self,
        runner: Runner,
        variants: Sequence[Any],
        backend: str,
        batches: int | None,
        plan: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.notes: list[str] = []
        self._runner = runner
        self._variants = variants
        self._batches = batches
        self._options = {**options, "plan": plan}
        self._since: int | None = None if plan is None else plan.get("since")
        self._evaluator: AbstractEvaluator | None = None
        self._makeshift: Makeshift | None = None
        self._forced = backend in EVALUATORS
        self._names = [backend] if self._forced else []
        if backend == "auto":
            first = next(runner.model.parameters(), None)
            self._names = automatic("cpu" if first is None else first.device.type)
        if plan is None and MAKESHIFT in self._names[1:]:
            self._makeshift = Makeshift(
                lambda: self._made(MAKESHIFT), len(variants), batches
            )
        if plan is not None:
            self._names = [name for name in EVALUATORS if name == plan["evaluator"]]
            self._forced = bool(self._names)
        modules = sum(1 for _ in runner.model.modules())
        self._estimate = _SECONDS + _SECONDS_PER_MODULE * modules
        self._spent = 0.0
        self._began: float | None = None
        self._checked: list[str] | None = None
        self._covered: set[int | None] = set()
        self.settled = 0
        """Batches that were evaluated and scored without being waited for."""

    @property
    def records(self) -> bool:
        """Whether executors run Python for the first batch of a form only."""
        return self._evaluator is not None and self._evaluator.records

    @property
    def draws(self) -> bool:
        """Whether any variant draws random numbers while the model runs."""
        return any(
            edit.operation.random for item in self._variants for edit in item.edits
        )

    @property
    def unrecordable(self) -> str:
        """An operation of which a recording holds for no other batch, if any."""
        operations = (edit.operation for item in self._variants for edit in item.edits)
        return next((op.mode for op in operations if not op.recordable), "")

    def absent(self, wanted: Collection[int]) -> set[int] | None:
        """Of which variants the last batch's outputs were not had together.

        `None` where none were.
        """
        return set(wanted) - self._covered if None in self._covered else None

    def executor(
        self, recipe: Recipe, parts: Sequence[Tensor], number: int
    ) -> AbstractExecutor:
        """What carries out a recipe for batches like this one.

        Raises:
            BackendError: The evaluator cannot do so.
        """
        if self._evaluator is None:
            raise BackendError("there is no evaluator")
        forward = _forward(self._runner, number)
        with self._runner.prepared(number):
            return self._evaluator.executor(recipe, parts, forward)

    @property
    def name(self) -> str:
        """What evaluates, at present."""
        if self._evaluator is not None:
            return self._evaluator.name
        if self._makeshift is not None and self._makeshift.since is not None:
            return MAKESHIFT
        return "one by one"

    def plan(self) -> dict[str, Any]:
        """What was chosen, as plain JSON."""
        chosen: dict[str, Any] = {}
        if self._evaluator is not None:
            chosen = {"since": self._since or 0, **self._evaluator.plan()}
        elif self._makeshift is not None:
            chosen = self._makeshift.plan()
        notes = [*self.notes, *chosen.pop("notes", ())]
        told = {**chosen, "settled": self.settled, "notes": notes}
        return {"evaluator": self.name, **told}

    def evaluate(
        self, batch: Any, number: int, wanted: Collection[int]
    ) -> Evaluated | None:
        """Outputs for a batch; none where it has to run plainly."""
        self._covered = set()
        self._count_time()
        if not self._names:
            return None
        if not self._is_worth_it(number):
            return self._in_the_meantime(batch, number, wanted)
        if self._since is None:
            self._since, self._makeshift = number, None
        while self._names:
            try:
                self._require_fit(batch, number)
                if self._evaluator is None:
                    self._evaluator = self._made(self._names[0])
                found = self._evaluated(self._evaluator, batch, number, wanted)
                self._covered = set(found.outputs)
                return found
            except BackendError as error:
                if self._forced:
                    raise
                self.note(str(error))
                self._evaluator = None
                self._names.pop(0)
        return None

    def ran_plainly(self, seconds: float) -> None:
        """A variant was run by itself on a batch, in so much time."""
        if self._makeshift is not None:
            self._makeshift.ran_plainly(seconds)

    def pays_by_now(self, number: int, left: int) -> bool:
        """Whether what is left of a batch should be evaluated after all."""
        return self._makeshift is not None and self._makeshift.pays(number, left)

    def _in_the_meantime(
        self, batch: Any, number: int, wanted: Collection[int]
    ) -> Evaluated | None:
        """By what needs no preparation, if that pays."""
        makeshift = self._makeshift
        if makeshift is None or not makeshift.pays(number, len(wanted)):
            return None

        def by(evaluator: AbstractEvaluator) -> Evaluated:
            self._require_fit(batch, number)
            return self._evaluated(evaluator, batch, number, wanted)

        try:
            return makeshift.evaluate(number, by)
        except Exception as error:  # judged by the forwards themselves
            ours = isinstance(error, SurgeryError)
            self.note(str(error) if ours else words(error), MAKESHIFT)
            return None

    def note(self, why: str, name: str | None = None) -> None:
        """Something ran plainly that an evaluator should have run."""
        name = name or next(iter(self._names), None)
        note = f"not {name}: {why}" if name else why
        if note not in self.notes:
            self.notes.append(note)

    def _require_fit(self, batch: Any, number: int) -> None:
        """Refuse what answers of the model cannot stand for, once for all."""
        model = self._runner.model
        require_no_hooks(model)
        if self._checked is None:
            with one_call(model) as reasons:
                self._runner.forward(batch, number)
            self._checked = reasons
        if self._checked:
            raise BackendError(self._checked[0])

    def _made(self, name: str) -> AbstractEvaluator:
        make = evaluator_class(name)
        return make(self._runner.model, self._variants, **self._options)

    def _evaluated(
        self,
        evaluator: AbstractEvaluator,
        batch: Any,
        number: int,
        wanted: Collection[int],
    ) -> Evaluated:
        runner = self._runner
        given = asked(runner.model, lambda: runner.forward(batch, number))
        with runner.prepared(number):
            return evaluator.evaluate(
                given.args, given.kwargs, wanted, _forward(runner, number)
            )

    def _count_time(self) -> None:
        now = time.perf_counter()
        if self._began is not None:
            self._spent += now - self._began
        self._began = now

    def _is_worth_it(self, number: int) -> bool:
        if self._since is not None:
            return number >= self._since
        if self._forced:
            return True
        if not number:
            return False
        per_batch = self._spent / number
        estimate = self._estimate + _BATCHES * per_batch
        if self._batches is None:
            return self._spent > estimate
        return per_batch * (self._batches - number) > 2 * estimate


def _forward(runner: Runner, number: int) -> Callable[..., Any]:
    """Runs the model on inputs as if for the first time."""

    def forward(*args: Any, **kwargs: Any) -> Any:
        runner.put_back()
        with runner.prepared(number):
            return runner.model(*fresh(args), **fresh(kwargs))

    return forward
