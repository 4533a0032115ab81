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

from torch import Tensor, UntypedStorage, nn
from torch.multiprocessing.reductions import StorageWeakRef

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
        normalised: The call in whose own code it was last multiplied or divided by the
            size of something, as a norm does; `None` where that was not the last step.
        softened: Whether it is computed from a softmax, with nothing joined since.
        made_of: Identities of the parameters that it is, or is computed from, where no
            data of the inputs is in it.
        tag: Which attention heads its values came from.
    """

    ancestors: int = 0
    node: int = -1
    origin: int = -1
    parameter: bool = False
    weight: bool = False
    activated: bool = False
    normaliser: bool = False
    normalised: Frame | None = None
    softened: bool = False
    made_of: frozenset[int] = frozenset()
    tag: HeadTag | None = None

    @property
    def live(self) -> bool:
        return self.ancestors != 0


UNKNOWN: Final = Flow()


class _Key(ref[Tensor]):
    __slots__ = ("key",)
    key: int


class Flows:
    """The flow of every tensor that is still in use; keeps none in use."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[_Key, Flow]] = {}
        # What was last written into memory whose tensors do not tell of their base.
        self._written: dict[int, tuple[StorageWeakRef, Flow]] = {}

    def of(self, tensor: Tensor) -> Flow:
        if isinstance(tensor, nn.Parameter):
            made_of = frozenset((id(tensor),))
            return Flow(parameter=True, weight=True, made_of=made_of)
        entry = self._known.get(id(tensor))
        flow = UNKNOWN if entry is None or entry[0]() is not tensor else entry[1]
        if self._written and tensor.is_inference():
            return self._with_written(tensor, flow)
        return flow

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

    def note_written(self, tensor: Tensor, flow: Flow) -> None:
        """A tensor, perhaps a view, was changed in inference mode.

        There a view does not know what it is a view of. What fills the same memory
        is it.
        """
        storage = _storage(tensor)
        if storage is None:
            return
        # The reference keeps the memory's identity from being given to another.
        self._written[storage._cdata] = StorageWeakRef(storage), flow

    def _with_written(self, tensor: Tensor, flow: Flow) -> Flow:
        storage = _storage(tensor)
        if storage is None:
            return flow
        _, last = self._written.get(storage._cdata, (None, UNKNOWN))
        whole = tensor.numel() * tensor.element_size() == storage.nbytes()
        if not whole or last.node <= flow.node:
            return flow
        return Flow(flow.ancestors | last.ancestors, last.node, last.node)

    def clear(self) -> None:
        self._known.clear()
        self._written.clear()

    def _forget(self, key: ref[Tensor]) -> None:
        assert isinstance(key, _Key)
        entry = self._known.get(key.key)
        if entry is not None and entry[0] is key:
            del self._known[key.key]


def _storage(tensor: Tensor) -> UntypedStorage | None:
    try:
        return tensor.untyped_storage()
    except RuntimeError:  # it has none, as a sparse one
        return None


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
        sources: Bits of nodes that are inputs of the outermost module.
        made_of: For nodes that parameters went into, the identities of these.
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
    sources: int = 0
    made_of: dict[int, frozenset[int]] = field(
        default_factory=dict[int, frozenset[int]]
    )

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
