"""What the sweep asks of a metric: outcomes to fill, and effects out of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from surgery.errors import DataError
from surgery.stats import Effect, combined


class AbstractOutcome(ABC):
    """What a metric keeps of all samples under one variant, or of the baseline.

    The sweep makes one per variant and metric and updates it batch by batch with
    the same samples in the same order for all.
    """

    samples: int
    """How many samples it has seen."""

    @property
    @abstractmethod
    def failed(self) -> int:
        """How many of them failed: marked so, or of a value that is not finite."""

    def update(self, outputs: Any, labels: Any, failed: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            outputs: What the step returned.
            labels: What the step returned.
            failed: True where a sample failed under this variant only, so that its
                outputs mean nothing and count as wrong as can be.
        """
        self.add(self.measure(outputs, labels, failed))

    @abstractmethod
    def measure(
        self, outputs: Any, labels: Any, failed: Tensor | None = None, ahead: int = 0
    ) -> Any:
        """What is kept of a batch, not added yet: another process may add it too.

        Args:
            outputs: As for `update`.
            labels: As for `update`.
            failed: As for `update`.
            ahead: Rows (see `rows`) of batches before this one that are not added yet.
        """

    @abstractmethod
    def add(self, piece: Any) -> None:
        """Add what `measure` gave, in the order of batches."""

    def rows(self, outputs: Any, labels: Any) -> int:
        """How far a batch moves those after it, where its place matters."""
        return 0

    @abstractmethod
    def values(self) -> dict[str, float]:
        """The metric on all samples, by name."""


class AbstractMetric(ABC):
    """A metric as the sweep sees it; most have one name, some measure several.

    Attributes:
        name: What the metric is called.
        group: Key of the group it was given in, or `""`.
    """

    def __init__(
        self, name: str, group: str, higher_is_better: bool | Mapping[str, bool]
    ) -> None:
        self.name = name
        self.group = group
        self._higher_is_better = higher_is_better

    @property
    def higher_is_better(self) -> bool:
        """Direction of a metric of one name."""
        return self.direction(self.name)

    @abstractmethod
    def start(self, total: int | None = None) -> AbstractOutcome:
        """Make an empty outcome; `total` is the number of samples, where known."""

    @abstractmethod
    def compare(
        self,
        baseline: AbstractOutcome,
        variant: AbstractOutcome,
        *,
        confidence: float,
        seed: int,
    ) -> dict[str, Effect]:
        """Compare two outcomes of this metric, by the names of what it measures."""

    def compare_repeats(
        self,
        baseline: AbstractOutcome,
        variants: Sequence[AbstractOutcome],
        *,
        confidence: float,
        seed: int,
    ) -> dict[str, Effect]:
        """Compare the mean of several draws of one variant with the baseline."""
        effects = [
            self.compare(baseline, variant, confidence=confidence, seed=seed)
            for variant in variants
        ]
        return {
            name: combined([effect[name] for effect in effects], confidence)
            for name in effects[0]
        }

    def direction(self, name: str) -> bool:
        """Whether higher is better, for a name that `compare` gives."""
        if isinstance(self._higher_is_better, bool):
            return self._higher_is_better
        if name not in self._higher_is_better:
            raise DataError(
                f"{self.name} gives {name!r}, whose direction is unknown; add it: "
                f"higher_is_better={{..., {name!r}: True}}"
            )
        return self._higher_is_better[name]


@contextmanager
def blamed(metric: str, outputs: Any, labels: Any) -> Generator[None]:
    """Tell of an error in a metric which metric it was, and what it was given."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"the metric {metric!r} raised {type(error).__name__}: {error}\n"
            f"It was given outputs {describe(outputs)} and labels {describe(labels)}; "
            "if it wants something else, give step=lambda model, batch: (outputs, "
            "labels)"
        ) from error


def describe(obj: Any) -> str:
    """Say in a few words what outputs or labels are."""
    if isinstance(obj, Tensor):
        return f"of shape {tuple(obj.shape)} ({str(obj.dtype).removeprefix('torch.')})"
    if isinstance(obj, (list, tuple)):
        items = list(obj)
        first = f", the first {describe(items[0])}" if items else ""
        return f"as a {type(obj).__name__} of {len(items)}{first}"
    if isinstance(obj, Mapping):
        return f"as a {type(obj).__name__} with keys {[str(key) for key in obj]}"
    return f"of type {type(obj).__name__}"
