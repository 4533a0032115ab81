"""Own code: graphs of modules' own forwards, against the forwards themselves."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surgery.anatomy import mapped
from surgery.errors import BackendError
from surgery.graphs import compiled, trace_own_code


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


class Written(nn.Module):
    """A module whose code is one function of itself and its inputs."""

    def __init__(self, code: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        self.code = code
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.code(self, *args, **kwargs)


def traced(code: Callable[..., Any], *args: Any, **parts: Any) -> Any:
    return trace_own_code(Written(code, **parts), args)


def names(own: Any) -> list[str]:
    return [f"{name}#{index}" for name, index in own.sites]


class Block(nn.Module):
    """A residual block in which every spelling of a function occurs."""

    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.scale = nn.Parameter(draw(4))
        self.register_buffer("mask", torch.tensor([1.0, 0.0, 1.0, 0.5]))

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        y = self.inner(x) + 1
        y = torch.add(x, y)
        y += x
        y = y.mul(self.scale) * self.mask
        y = F.relu(y, inplace=True)
        z = torch.cat([y, x.add(y)], dim=1)
        a, b = z.chunk(2, 1)
        out = a - b.clone().relu_()
        return out if other is None else out + other


def test_the_graph_of_a_block_gives_what_the_block_gives_at_any_batch_size() -> None:
    block = Block()
    run = compiled(trace_own_code(block, (draw(2, 4),)).graph)
    for x in (draw(2, 4), draw(5, 4), draw(1, 4)):
        assert torch.equal(run(block, x), block(x))


def test_functions_are_counted_as_they_run_and_joins_with_two_tensors_only() -> None:
    own = trace_own_code(Block(), (draw(2, 4),))
    assert names(own) == [
        *("add#0", "add#1", "mul#0", "mul#1", "relu#0", "add#2", "cat#0"),
        *("chunk#0", "clone#0", "relu#1", "sub#0"),
    ]
    assert [own.sites["add", k].meta["in_place"] for k in (0, 1, 2)] == [0, 1, 0]
    assert own.sites["cat", 0].meta["operands"] == 2


def test_modules_are_leaves_and_run_as_they_are_hooks_and_all() -> None:
    block = Block()
    own = trace_own_code(block, (draw(2, 4),))
    assert [n.target for n in own.graph.nodes if n.op == "call_module"] == ["inner"]
    handle = block.inner.register_forward_hook(lambda m, a, out: out * 0 + 7)
    x = draw(2, 4)
    hooked = compiled(own.graph)(block, x)
    assert torch.equal(hooked, block(x))
    handle.remove()
    assert not torch.equal(hooked, block(x))


def test_gradients_are_those_of_the_module() -> None:
    block, x = Block(), draw(3, 4)
    block(x).sum().backward()
    assert block.scale.grad is not None
    wanted = block.scale.grad.clone()
    block.scale.grad.zero_()
    compiled(trace_own_code(block, (x,)).graph)(block, x).sum().backward()
    assert torch.equal(block.scale.grad, wanted)


def test_tracing_leaves_no_trace_in_the_module() -> None:
    def code(self: Any, x: Tensor) -> Tensor:
        if "table" not in self.cache:
            self.cache["table"] = self.weight * 2
        noisy: Tensor = self.norm(x) + self.cache["table"]
        return noisy

    module: Any = Written(
        code, cache={}, weight=nn.Parameter(draw(4)), norm=nn.BatchNorm1d(4)
    )
    calls: list[Any] = []
    module.norm.register_forward_hook(lambda m, a, out: calls.append(out))
    before, state = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    trace_own_code(module, (draw(3, 4),))
    assert module.cache == {} and calls == []
    assert torch.equal(state, torch.get_rng_state())
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])


def test_an_in_place_result_is_seen_through_the_alias_that_was_kept() -> None:
    def code(self: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        y = x * 2
        kept = y
        y += x
        y[:, 1:] += 1
        return kept, y

    module = Written(code)
    own = trace_own_code(module, (draw(2, 4),))
    got = compiled(own.graph)(module, draw(2, 4))
    assert torch.equal(got[0], module(draw(2, 4))[0])
    assert torch.equal(got[0], got[1])


def test_what_the_caller_leaves_out_takes_its_default() -> None:
    block, x = Block(), draw(2, 4)
    own = trace_own_code(block, (x,))
    assert own.baked == {"other": None}
    given = trace_own_code(block, (x,), {"other": x})
    assert given.baked == {}
    out = compiled(given.graph)(block, x, other=2 * x)
    assert torch.equal(out, block(x, 2 * x))


def test_tensors_are_found_in_tuples_lists_and_keywords() -> None:
    def code(self: Any, xs: list[Tensor], *rest: Tensor, **named: Tensor) -> Any:
        return {"out": torch.cat(xs) + rest[0], "two": (named["y"], None)}

    module = Written(code)
    xs = [draw(2, 4), draw(1, 4)]
    own = trace_own_code(module, (xs, draw(4)), {"y": draw(2)})
    got = compiled(own.graph)(module, xs, draw(4), y=draw(2))
    assert torch.equal(got["out"], torch.cat(xs) + draw(4))
    assert torch.equal(got["two"][0], draw(2)) and got["two"][1] is None


def test_functional_dropout_follows_the_mode() -> None:
    def code(self: Any, x: Tensor) -> Tensor:
        y = F.dropout(x, 0.5, training=self.training)
        return F.scaled_dot_product_attention(
            y, y, y, dropout_p=self.p if self.training else 0.0
        )

    module, x = Written(code, p=0.25), draw(2, 8, 4)
    run = compiled(trace_own_code(module, (x,)).graph)
    for training in (False, True):
        module.train(training)
        torch.manual_seed(0)
        wanted = module(x)
        torch.manual_seed(0)
        assert torch.equal(run(module, x), wanted)
    assert not torch.equal(wanted, module.eval()(x))


def test_a_branch_on_a_size_is_a_requirement_in_the_graph() -> None:
    def code(self: Any, x: Tensor) -> Tensor:
        return x * 2 if x.shape[1] % 2 else x + x

    module = Written(code)
    own = trace_own_code(module, (draw(2, 4),))
    assert own.guards == ("(args[0].shape[1] % 2) is False",)
    run = compiled(own.graph)
    assert torch.equal(run(module, draw(3, 6)), draw(3, 6) * 2)
    with pytest.raises(BackendError, match=r"traced .* where \(args\[0\]\.shape\[1\]"):
        run(module, draw(2, 5))


def test_sizes_may_be_computed_with_unpacked_and_asserted() -> None:
    def code(self: Any, x: Tensor) -> Tensor:
        b, n, c = x.shape
        torch._assert(c == 4, f"got {c} channels")
        grown = torch.zeros(b, dtype=x.dtype) + torch.arange(n).sum()
        return x.reshape(b, n * c // 2, 2).permute(0, 2, 1) + grown.view(b, 1, 1)

    module = Written(code)
    own = trace_own_code(module, (draw(2, 3, 4),))
    assert own.guards == ()
    x = draw(5, 6, 4)
    assert torch.equal(compiled(own.graph)(module, x), module(x))


def test_random_numbers_are_drawn_anew_at_every_run() -> None:
    def code(self: Any, x: Tensor) -> Tensor:
        return x + torch.rand(4)

    module = Written(code)
    run = compiled(trace_own_code(module, (draw(2, 4),)).graph)
    assert not torch.equal(run(module, draw(2, 4)), run(module, draw(2, 4)))


def test_a_cache_of_numbers_is_asked_at_every_run() -> None:
    class Count:
        def __init__(self, value: int) -> None:
            self.value = value

        def get(self) -> int:
            return self.value

    def code(self: Any, x: Tensor, count: Count) -> Tensor:
        return x * count.get()

    module = Written(code)
    own = trace_own_code(module, (draw(2), Count(2)))
    assert torch.equal(compiled(own.graph)(module, draw(2), Count(5)), draw(2) * 5)


class _Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * 2


def _set(self: Any, x: Tensor) -> Tensor:
    self.kept = x * 2
    return x


def _no_grad(self: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        return x * 2


def _other_path(self: Any, x: Tensor) -> Tensor:
    return x * 2 if self.training else x


def _counts(self: Any, x: Tensor) -> Tensor:
    self.n += 1
    out: Tensor = x * self.n
    return out


class _Box:
    def double(self, x: Tensor) -> Tensor:
        return x * 2


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (lambda self, x: x * 2 if x.sum() > 0 else x, "data in a tensor"),
        (lambda self, x: x * x.max().item(), "data in a tensor"),
        (lambda self, x: x + draw(4), "generator|other values|Generator"),
        (lambda self, x: _Double.apply(x), "custom torch.autograd.Function"),
        (_no_grad, "switches gradients"),
        (_other_path, "another path in train mode"),
        (_set, "changes attributes"),
        (_counts, "changes attributes"),
        (lambda self, x: x * 2 if x.requires_grad else x, "asks for requires_grad"),
        (lambda self, x: self.box.double(x) if x.is_cuda else x[undefined], "fails on"),
    ],
)
def test_what_no_graph_can_say_is_refused_by_cause(
    code: Callable[..., Any], cause: str
) -> None:
    module: Any = Written(code, n=0, box=_Box())
    with pytest.raises(BackendError, match=f"(?s)Written cannot be traced.*({cause})"):
        trace_own_code(module, (draw(2, 4),))
    assert module.n == 0 and not hasattr(module, "kept")


undefined: Any = object()


def test_a_path_of_its_own_in_train_mode_is_traced_if_only_one_mode_is_asked_for() -> (
    None
):
    module = Written(_other_path).eval()
    own = trace_own_code(module, (draw(2),), both_modes=False)
    assert torch.equal(compiled(own.graph)(module, draw(2)), draw(2))


def test_code_hidden_in_an_object_that_is_handed_in_is_refused() -> None:
    module = Written(lambda self, x, box: box.double(x) + x)
    with pytest.raises(BackendError, match="computes with tensors inside of a _Box"):
        trace_own_code(module, (draw(2), _Box()))


@pytest.mark.filterwarnings("ignore:`torch.jit.script`")
def test_scripted_modules_are_refused() -> None:
    module = torch.jit.script(nn.ReLU())
    with pytest.raises(BackendError, match="it is TorchScript"):
        trace_own_code(module, (draw(2),))


@pytest.mark.parametrize(
    "name",
    [
        *("resnet18", "test_vit", "test_convnext"),
        *("swin_tiny_patch4_window7_224", "coat_tiny", "densenet121"),
    ],
)
def test_owners_of_joins_in_real_models_trace(name: str) -> None:
    import timm

    fixed: Any = {"img_size": 64} if name.startswith("swin") else {}
    model: Any = timm.create_model(name, **fixed).eval()
    seen: dict[nn.Module, Any] = {}

    def note(module: nn.Module, args: Any, kwargs: Any) -> None:
        # DenseNet's list of features grows after the call.
        seen.setdefault(module, (mapped(args, torch.clone), kwargs))

    wanted = {
        *("BasicBlock", "ResidualBlock", "Block", "ConvNeXtBlock", "DenseLayer"),
        *("SwinTransformerBlock", "WindowAttention", "SerialBlock", "InvertedResidual"),
    }
    for module in model.modules():
        if type(module).__name__ in wanted:
            module.register_forward_pre_hook(note, with_kwargs=True)
    size = (
        model.default_cfg["input_size"]
        if model.default_cfg.get("fixed_input_size") and not fixed
        else (3, 64, 64)
    )
    with torch.no_grad():
        model(draw(2, *size))
    assert seen
    kinds: set[object] = set()
    found = 0
    for module, (args, kwargs) in seen.items():
        if type(module) in kinds:
            continue
        kinds.add(type(module))
        own = trace_own_code(module, args, kwargs)
        assert own.guards == ()
        found += len(own.sites)
    assert found
