"""Flow: where the data in a tensor came from, and what was last done to it.

Every result of an operation on live data is a node of the data's graph. A tensor's
ancestors are the nodes it was computed from, as the bits of one integer: a question
about ancestry is one bitwise operation, also in models of thousands of operations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from weakref import ref

from torch import Tensor, nn

from surgery.anatomy._frame import Frame


@dataclass(frozen=True, slots=True)
class HeadTag:
    """For every value of a tensor, from which attention head it came.

    Attributes:
        owner: Path of the module whose own code computed the attention.
        heads: How many heads it has.
        guesses: Tensors of head numbers in the tensor's shape, one for each axis that
            may be the heads'; what they become decides. -1 is from no head.
    """

    owner: str
    heads: int
    guesses: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Flow:
    """What is known of a tensor's data.

    Attributes:
        ancestors: Bits of the nodes it was computed from, its own included; 0 where no
            data of the outermost module's inputs is in it.
        node: Its own node.
        origin: The node that holds the same values in another order, shape or type.
        parameter: Whether it is a parameter, or a view of one.
        weight: Whether it is computed from parameters alone.
        activated: Whether a nonlinearity is the last that was computed.
        normaliser: Whether it is the size of something, as normalising code uses.
        softened: Whether it is computed from a softmax, with nothing joined since.
        tag: Which attention heads its values came from.
    """

    ancestors: int = 0
    node: int = -1
    origin: int = -1
    parameter: bool = False
    weight: bool = False
    activated: bool = False
    normaliser: bool = False
    softened: bool = False
    tag: HeadTag | None = None

    @property
    def live(self) -> bool:
        return self.ancestors != 0


UNKNOWN: Final = Flow()
_PARAMETER: Final = Flow(parameter=True, weight=True)


class _Key(ref[Tensor]):
    __slots__ = ("key",)
    key: int


class Flows:
    """The flow of every tensor that is still in use; keeps none in use."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[_Key, Flow]] = {}

    def of(self, tensor: Tensor) -> Flow:
        if isinstance(tensor, nn.Parameter):
            return _PARAMETER
        entry = self._known.get(id(tensor))
        if entry is None or entry[0]() is not tensor:
            return UNKNOWN
        return entry[1]

    def note(self, tensor: Tensor, flow: Flow) -> None:
        if isinstance(tensor, nn.Parameter):
            return
        entry = self._known.get(id(tensor))
        if entry is not None and entry[0]() is tensor:
            self._known[id(tensor)] = entry[0], flow
            return
        if flow is UNKNOWN:
            return
        key = _Key(tensor, self._forget)
        key.key = id(tensor)
        self._known[id(tensor)] = key, flow

    def clear(self) -> None:
        self._known.clear()

    def _forget(self, key: ref[Tensor]) -> None:
        assert isinstance(key, _Key)
        entry = self._known.get(key.key)
        if entry is not None and entry[0] is key:
            del self._known[key.key]


@dataclass
class Nodes:
    """The data's graph: what computed each node.

    Attributes:
        frames: For each node, the call in whose own code it was computed.
        depths: For each node, how many weight layers lie on the longest way to it.
        parts: For nodes that are only a part of another node's values, that node.
        chosen: The first node for every choice of a part: of which node, and how.
        passed: For each node, calls that let it through as it is.
        joins: Bits of nodes that bring together what was computed apart.
        activations: Bits of nodes that a nonlinearity gave.
        parametric: Bits of nodes that parameters went into.
    """

    frames: list[Frame] = field(default_factory=list[Frame])
    depths: list[int] = field(default_factory=list[int])
    parts: dict[int, int] = field(default_factory=dict[int, int])
    chosen: dict[tuple[int, str, str], int] = field(
        default_factory=dict[tuple[int, str, str], int]
    )
    passed: dict[int, list[Frame]] = field(default_factory=dict[int, list[Frame]])
    joins: int = 0
    activations: int = 0
    parametric: int = 0

    def add(self, frame: Frame, depth: int) -> int:
        self.frames.append(frame)
        self.depths.append(depth)
        return len(self.frames) - 1


def bits(number: int) -> Iterator[int]:
    """The places of the bits that are set, lowest first."""
    while number:
        low = number & -number
        yield low.bit_length() - 1
        number ^= low
