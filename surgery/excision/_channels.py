"""Output channels: taken out of a chain of layers where that is exact, or zeroed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import (
    _BatchNorm,  # pyright: ignore[reportPrivateUsage]  # the base of all BatchNorms
)

from surgery.anatomy import Component
from surgery.errors import BackendError
from surgery.excision._swap import Unfit
from surgery.excision._trial import require_same
from surgery.excision._watch import Watched
from surgery.excision._weights import (
    is_layer,
    is_shared,
    is_transposed,
    keep_made,
    keep_read,
    makers,
    numbers,
    others,
    set_parameter,
)
from surgery.graphs import trace_own_code

_Chain = tuple[str, tuple[str, ...], str]
"""Paths of the layer that makes channels, of what is between, of what reads them."""


def shrink_channels(
    model: nn.Module,
    path: str,
    components: Sequence[Component],
    seen: Mapping[str, Watched],
) -> str:
    """Take channels out of a chain: layer, norm, activation, layer.

    Exact where what is left of a zeroed channel at the next layer is zero too.

    Raises:
        Unfit: The chain is not known whole, or something else is left of them; nothing
            was changed.
    """
    module = model.get_submodule(path)
    above, _, name = path.rpartition(".")
    if module.training:
        raise Unfit("in train mode a norm makes something of zeros")
    block = model.get_submodule(above)
    chain = _chain(block, name, seen[above])
    maker, between, reader = (
        block.get_submodule(chain[0]),
        [block.get_submodule(part) for part in chain[1]],
        block.get_submodule(chain[2]),
    )
    gone, size = numbers(components), makers(maker)
    kept = others(size, gone)
    if not len(kept):
        raise Unfit("no channel would be left")
    after = between[between.index(module) + 1 :] if module in between else between
    _require_zero(after, size, gone, maker)
    for part in (maker, *between, reader):
        if any(is_shared(model, weight) for weight in part.parameters()):
            raise Unfit("its weights are also parameters of another module")

    def smaller(block: nn.Module) -> None:
        _keep(block, chain, kept)

    def zeroed(block: nn.Module) -> None:
        axis = -1 if type(maker) is not nn.Conv2d else 1
        where = block.get_submodule(name)
        where.register_forward_hook(_Zeros(axis, sorted(gone)))

    require_same(block, seen[above], smaller, zeroed, chain[2])
    smaller(block)
    return f"{len(kept)} of {size} channels left, also in the next layer"


class _Zeros:
    """A forward hook that sets channels to zero."""

    def __init__(self, axis: int, channels: list[int]) -> None:
        self.axis = axis
        self.channels = channels

    def __call__(self, module: nn.Module, args: Any, output: Tensor) -> Tensor:
        gone = torch.tensor(self.channels, device=output.device)
        return output.index_fill(self.axis, gone, 0)


def _keep(block: nn.Module, chain: _Chain, kept: Tensor) -> None:
    keep_made(block.get_submodule(chain[0]), kept)
    for path in chain[1]:
        part = block.get_submodule(path)
        if isinstance(part, _BatchNorm):
            _shrink_norm(part, kept)
    keep_read(block.get_submodule(chain[2]), kept)


def zero_channels(module: nn.Module, components: Sequence[Component]) -> None:
    """Set the weights that make the channels to zero.

    Raises:
        Unfit: Their values are not a plain product of weights.
    """
    transposed = is_transposed(module)
    plain = type(module) in (
        nn.Linear,
        nn.Conv1d,
        nn.Conv2d,
        nn.Conv3d,
        nn.BatchNorm1d,
        nn.BatchNorm2d,
        nn.BatchNorm3d,
        nn.GroupNorm,
    ) or (isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1)
    weight, bias = (getattr(module, name, None) for name in ("weight", "bias"))
    if not (plain or transposed) or not isinstance(weight, nn.Parameter):
        raise Unfit(f"what {type(module).__name__} gives is not weight by weight")
    if not isinstance(bias, nn.Parameter | None):
        raise Unfit("its bias is no parameter")
    channels = sorted(numbers(components))
    with torch.no_grad():
        weight[(slice(None), channels) if transposed else channels] = 0
        if bias is not None:
            bias[channels] = 0


def _chain(block: nn.Module, name: str, seen: Watched) -> _Chain:
    """The layer that makes the channels, what is in between, and the one that reads."""
    if seen.values is None:
        raise Unfit("its block does not run")
    try:
        graph = trace_own_code(block, *seen.values).graph
    except BackendError as error:
        raise Unfit(str(error).split("; use backend")[0]) from error
    nodes = [n for n in graph.nodes if n.op == "call_module" and n.target == name]
    if len(nodes) != 1:
        raise Unfit("its block calls it more or less than once")
    between: list[str] = []
    maker = node = nodes[0]
    while not is_layer(_module(block, maker)):
        between.insert(0, _require_plain(block, maker))
        given = maker.all_input_nodes
        if len(given) != 1 or given[0].op != "call_module" or len(given[0].users) != 1:
            raise Unfit("which layer makes its channels is not known")
        maker = given[0]
    while True:
        users = list(node.users)
        if len(users) != 1 or users[0].op != "call_module":
            raise Unfit("what reads its channels is not one chain of modules")
        node = users[0]
        if is_layer(_module(block, node)):
            break
        between.append(_require_plain(block, node))
    if type(_module(block, maker)) is not type(_module(block, node)):
        raise Unfit("it ends in a layer of another kind")
    shared = [n for n in graph.nodes if n.op == "call_module"]
    if len({n.target for n in shared}) != len(shared):
        raise Unfit("its block calls a module twice")
    return str(maker.target), tuple(between), str(node.target)


def _module(block: nn.Module, node: fx.Node) -> nn.Module:
    return block.get_submodule(str(node.target))


def _require_plain(block: nn.Module, node: fx.Node) -> str:
    module = _module(block, node)
    norm = isinstance(module, _BatchNorm) and module.affine
    own = bool(list(module.parameters()) + list(module.buffers()))
    if not norm and (own or not _is_pointwise(module)):
        raise Unfit(f"{node.target} ({type(module).__name__}) may mix channels")
    return str(node.target)


@torch.no_grad()
def _is_pointwise(module: nn.Module) -> bool:
    """Whether each value that comes out comes of the value at its place alone."""
    x = torch.linspace(-3, 3, 24).reshape(2, 3, 2, 2)
    found = False
    for shape in ((2, 3, 2, 2), (2, 12)):
        try:
            whole = module(x.reshape(shape))
            parts = [module(part.clone()) for part in x.reshape(shape).split(1, 1)]
        except Exception:  # whatever its own code raises
            continue
        found = True
        if whole.shape != shape or not torch.allclose(torch.cat(parts, 1), whole):
            return False
    return found


@torch.no_grad()
def _require_zero(
    after: Sequence[nn.Module], size: int, gone: set[int], maker: Any
) -> None:
    weight: Tensor = maker.weight
    x = weight.new_zeros((2, size, 1, 1) if weight.ndim == 4 else (2, size))
    for part in after:
        x = part(x.clone())
    if bool(x[:, sorted(gone)].any()):
        raise Unfit("what comes after makes something of zeros")


def _shrink_norm(norm: Any, kept: Tensor) -> None:
    for name in ("weight", "bias"):
        set_parameter(norm, name, getattr(norm, name)[kept])
    for name in ("running_mean", "running_var"):
        if getattr(norm, name) is not None:
            setattr(norm, name, getattr(norm, name)[kept].clone())
    norm.num_features = len(kept)
