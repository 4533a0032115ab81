"""The evaluator: a baseline and its variants on one batch, each prefix run once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar, final

from torch import nn

from surgery.errors import BackendError
from surgery.evaluator import AbstractEvaluator, Evaluated
from surgery_backends._budget import default_budget
from surgery_backends._outputs import Outputs
from surgery_backends._trial import Trial
from surgery_backends.replay._doors import doors_of, watched
from surgery_backends.replay._look import state
from surgery_backends.replay._memory import Memory
from surgery_backends.replay._outputs import own
from surgery_backends.replay._plan import Plan, blocked_for, hooks_inside, needed
from surgery_backends.replay._record import Recorder
from surgery_backends.replay._refusals import moved, require_versions
from surgery_backends.replay._rerun import Rerun
from surgery_backends.replay._starts import find_starts, written_by

_PLANS = 16
_ROUNDS = 4


@final
class ReplayEvaluator(AbstractEvaluator):
    """Evaluates a baseline and variants on a batch, without a graph.

    A call of a module that ended before a variant takes part gives what it gave in the
    baseline, and is not run; its own hooks are. Calls that have other effects (on their
    inputs, on attributes, on modules with hooks inside) always run. In-place changes
    are told by tensors' versions: what goes by `.data` or numpy is not seen.

    Args:
        model: The model without wrappers.
        trials: What is evaluated beside the baseline.
        memory_budget: Bytes of outputs remembered at a time; by default a quarter of
            what is free where the model is.
        alike: Whether several processes must compute the same bits, as they do.
        plan: What `plan()` gave before: there is nothing to choose.
    """

    name: ClassVar[str] = "replay"

    def __init__(
        self,
        model: nn.Module,
        trials: Sequence[Trial],
        *,
        memory_budget: int | None = None,
        alike: bool = False,
        plan: Mapping[str, Any] | None = None,
    ) -> None:
        self._model = model
        self._trials = trials
        self._modules = doors_of(model)
        self._budget = default_budget(model) if memory_budget is None else memory_budget
        self._memory = Memory(self._budget)
        self._moving: set[tuple[nn.Module, str]] = set()
        self._written: dict[int, Any] = {}
        self._plans: dict[tuple[int, ...], Plan] = {}
        self._latest: Plan | None = None
        self._inside: dict[int, bool] = {}
        self._wanted_calls: set[int] | None = None

    def evaluate(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        wanted: Collection[int],
        forward: Callable[..., Any],
    ) -> Evaluated:
        """Outputs on one batch: of the baseline (`None`), and of the trials wanted.

        A trial whose forward raises is left out: run it in full to see why.

        Args:
            args: What goes into `forward`.
            kwargs: What goes into `forward` by keyword.
            wanted: Which trials.
            forward: Runs the model once, always with the same random numbers, buffers
                and inputs.

        Raises:
            BackendError: This cannot be exact; says why.
        """
        require_versions(self._model)

        def run() -> Any:
            return forward(*args, **kwargs)

        # Of its own: who left off in another batch may let go of that one's later.
        memory = self._memory = Memory(self._budget)
        try:
            recorder, plan, outputs = self._baseline(run, wanted)
        except BaseException:
            memory.clear()
            raise
        expected = sorted(wanted, key=lambda i: plan.starts[i])
        each = self._each(expected, recorder, plan, outputs, run, memory)
        return Evaluated(Outputs(expected, lambda: next(each, None)), exact=True)

    def _each(
        self,
        expected: list[int],
        recorder: Recorder,
        plan: Plan,
        outputs: Any,
        run: Callable[[], Any],
        memory: Memory,
    ) -> Iterator[Mapping[int | None, Any]]:
        """The baseline's outputs, then each trial's; none of a trial that raises."""
        yield {None: outputs}
        del outputs
        order = list(expected)
        try:
            for place, i in enumerate(order):
                if memory is not self._memory:
                    return  # another batch is being evaluated
                rest = [plan.starts[j] for j in order[place:]]
                if place and rest[0] > plan.starts[order[place - 1]]:
                    still = needed(recorder.calls, rest)
                    for call in memory.calls():
                        if call.place not in still:
                            memory.drop(call)
                try:
                    output = self._variant(i, recorder, plan, run)
                except Exception:  # it has no output: what is wrong, a plain run says
                    expected.remove(i)
                    yield {}
                else:
                    yield {i: output}
                    del output
        finally:
            memory.clear()

    def _baseline(
        self, run: Callable[[], Any], wanted: Collection[int]
    ) -> tuple[Recorder, Plan, Any]:
        """Record the untouched forward, until nothing new is learnt of it."""
        for _ in range(_ROUNDS):
            recorder, outputs, moved = self._record(run)
            key = tuple(recorder.events)
            plan = self._plans.get(key)
            assumed, self._latest = self._latest, plan
            news = moved or plan is None or plan is not assumed
            if plan is None:
                if len(self._plans) >= _PLANS:
                    self._plans.pop(next(iter(self._plans)))
                plan = self._plans[key] = self._latest = Plan()
            changed = recorder.changed_since()
            news = news and bool(changed - plan.changed or moved)
            plan.changed |= changed
            missing = [i for i in wanted if i not in plan.starts]
            if missing:
                self._find_starts(missing, plan, recorder, run)
            starts = [plan.starts[i] for i in wanted]
            self._wanted_calls = needed(recorder.calls, starts)
            self._inside = hooks_inside(self._modules, recorder.calls)
            if not (news and starts and max(starts)):
                return recorder, plan, outputs
            self._memory.clear()
        raise BackendError(
            f"{_ROUNDS} forwards of the model on one batch were each unlike the one "
            "before (other calls, or other attributes changed), so that none stands "
            "for the next; variants are run in full"
        )

    def _record(self, run: Callable[[], Any]) -> tuple[Recorder, Any, bool]:
        plan = self._latest
        recorder = Recorder(
            self._modules,
            self._model,
            self._memory,
            plan.changed if plan else (),
            list(self._moving),
            self._wanted_calls if plan else None,
        )
        before = state(self._model)
        with watched(self._modules, recorder):
            outputs = run()
        after = state(self._model)
        moving = moved(before, after)
        new = not moving <= self._moving
        self._moving |= moving
        return recorder, own(outputs), new

    def _find_starts(
        self,
        missing: Sequence[int],
        plan: Plan,
        recorder: Recorder,
        run: Callable[[], Any],
    ) -> None:
        trials = {i: self._trials[i] for i in missing}
        for i, trial in trials.items():
            if i not in self._written and len(trial.edits) < len(trial.components):
                try:
                    self._written[i] = written_by(self._model, trial)
                except Exception:  # a plain run says what is wrong
                    self._written[i] = None
        plan.starts |= find_starts(
            self._model, self._modules, trials, self._written, recorder.events, run
        )

    def _variant(
        self, i: int, recorder: Recorder, plan: Plan, run: Callable[[], Any]
    ) -> Any:
        trial = self._trials[i]
        undo = trial.apply()
        try:
            start = self._start(recorder, plan.starts[i])
            if start and self._memory.calls():
                blocked = blocked_for(self._model, self._modules, recorder.calls, trial)
                rerun = Rerun(
                    recorder.events,
                    recorder.calls,
                    self._memory,
                    start,
                    blocked,
                    trial.edits,
                )
                changed: set[int] = set()
                try:
                    with watched(self._modules, rerun):
                        outputs = own(run())
                finally:
                    changed = rerun.finish()
                    plan.changed |= changed
                if not rerun.lost:
                    return outputs
                if not changed:  # it does not run as recorded: no more attempts
                    plan.starts[i] = 0
            return own(run())
        finally:
            undo()

    def _start(self, recorder: Recorder, start: int) -> int:
        """The start, or an earlier begin of what runs otherwise with its hooks."""
        if not self._inside:
            return start
        now = hooks_inside(self._modules, recorder.calls)
        return min([start, *(b for b, has in now.items() if has != self._inside[b])])
