"""Parts: what modules' own code holds, each with its name, place and facts."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import surgery
from surgery.anatomy import Component, Place, Site, record

X = torch.arange(32.0).reshape(2, 4, 4) / 32


def parts(model: nn.Module, *args: Any, **kwargs: Any) -> dict[str, Component]:
    return {part.name: part for part in record(model, args, kwargs).parts}


def listed(found: dict[str, Component], *kinds: str) -> list[str]:
    return [
        name
        for name, part in found.items()
        if part.kind in kinds and part.place is not None and part.place.listed
    ]


def place(part: Component) -> Place:
    assert part.place is not None
    return part.place


class Code(nn.Module):
    """A module whose forward is the given function of itself and the input."""

    def __init__(self, code: Callable[[Code, Tensor], object]) -> None:
        super().__init__()
        self.a = nn.Linear(4, 4)
        self.b = nn.Linear(4, 4)
        self.c = nn.Linear(4, 4)
        self.act = nn.GELU()
        self.none = nn.Identity()
        self.scale = nn.Parameter(torch.ones(4))
        self.register_buffer("bias", torch.ones(4))
        self.code = code

    def forward(self, x: Tensor) -> object:
        return self.code(self, x)


def deep(m: Code, x: Tensor) -> Tensor:
    return m.b(m.act(m.a(x)))  # type: ignore[no-any-return]


def in_place(m: Code, x: Tensor) -> Tensor:
    y = deep(m, x)
    y += x
    return y


def sliced(m: Code, x: Tensor) -> Tensor:
    y = x.clone()
    y[:, 1:] += deep(m, y[:, 1:])
    return m.c(y) + y  # type: ignore[no-any-return]


RESIDUAL: dict[str, tuple[Callable[[Code, Tensor], object], list[int]]] = {
    "plain": (lambda m, x: x + deep(m, x), [0]),
    "the other way": (lambda m, x: deep(m, x) + x, [1]),
    "function": (lambda m, x: torch.add(x, deep(m, x), alpha=2), [0]),
    "keyword": (lambda m, x: torch.add(deep(m, x), other=x), [1]),
    "in place": (in_place, [1]),
    "add_, not bound": (lambda m, x: (y := deep(m, x), y.add_(x))[0], [1]),
    "slice in place": (sliced, [0, 1]),
    "two": (lambda m, x: (y := x + m.a(x)) + deep(m, y), [0, 0]),
    "through views": (lambda m, x: x.flatten(1) + deep(m, x).reshape(2, 16), [0]),
    "view of the skip": (lambda m, x: x.mT + deep(m, x.mT.contiguous()), [0]),
    "own code with a parameter": (lambda m, x: x + F.linear(x, m.a.weight), [0]),
    "projected": (lambda m, x: m.c(x) + deep(m, x), [0]),
    "pooled": (lambda m, x: deep(m, x)[:, ::2] + x[:, ::2], [1]),
    "tuple": (lambda m, x: (x + (y := deep(m, x)), y), [0]),
}


@pytest.mark.parametrize("case", RESIDUAL)
def test_the_skip_is_the_operand_that_comes_from_the_input(case: str) -> None:
    code, skips = RESIDUAL[case]
    found = parts(Code(code), X)
    assert len(listed(found, "skip")) == len(listed(found, "branch")) == len(skips)
    for k, operand in enumerate(skips):
        end = f"#{k}" if len(skips) > 1 else ""
        skip, branch = found[f":skip{end}"], found[f":branch{end}"]
        assert place(skip).sites == (Site("", "add", k, operand),)
        assert place(branch).sites == (Site("", "add", k, 1 - operand),)
        assert (skip.index, branch.index) == (k, k)


NO_RESIDUAL: dict[str, Callable[[Code, Tensor], object]] = {
    "branches alike": lambda m, x: m.a(x) + m.b(x),
    "deep branches alike": lambda m, x: deep(m, x) + m.a(m.act(m.c(x))),
    "a bias": lambda m, x: m.a(x) + m.bias,
    "a parameter": lambda m, x: m.a(x) + m.scale,
    "a mask": lambda m, x: m.a(x) + (x > 0).float(),
    "zeros": lambda m, x: m.a(x) + torch.zeros_like(x),
    "a number": lambda m, x: m.a(x) + 1,
    "arithmetic": lambda m, x: x + 0.1 * x**3,
    "itself": lambda m, x: x + x,
    "itself transposed": lambda m, x: x + x.mT,
    "parts of one": lambda m, x: (y := m.a(x).chunk(2, -1))[1] + y[0].relu(),
}


@pytest.mark.parametrize("case", NO_RESIDUAL)
def test_other_adds_have_no_skip(case: str) -> None:
    assert not listed(parts(Code(NO_RESIDUAL[case]), X), "skip", "branch")


def test_a_plain_add_lists_its_operands_and_one_with_a_constant_does_not() -> None:
    found = parts(Code(lambda m, x: m.a(x) + m.b(x) + m.bias), X)
    assert listed(found, "add") == [":add#0.arg0", ":add#0.arg1"]
    assert found[":add#1.arg1"].facts.note == "const operand"  # type: ignore[union-attr]
    assert place(found[":add#0"]).sites == (Site("", "add", 0),)
    part = found[":add#0.arg1"]
    assert (part.kind, part.index, part.operand) == ("add", 0, 1)


def test_data_of_two_inputs_has_no_skip() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 4)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.a(x) + y  # type: ignore[no-any-return]

    found = parts(Two(), X, y=X.clone())
    assert not listed(found, "skip") and listed(found, "add")
    # The same tensor given twice is one input.
    assert listed(parts(Two(), X, y=X), "skip") == [":skip"]


GATES: dict[str, tuple[Callable[[Code, Tensor], object], int]] = {
    "layer scale": (lambda m, x: m.a(x) * m.scale, 1),
    "layer scale, in place": (lambda m, x: m.a(x).mul_(m.scale.view(1, 1, 4)), 1),
    "squeeze-excite": (lambda m, x: m.a(x.mean(1, keepdim=True)).sigmoid() * x, 0),
    "gated": (lambda m, x: m.a(x) * m.act(m.b(x)), 1),
    "gated by other data": (lambda m, x: m.a(x) * (x + m.b(x)).sigmoid(), 1),
    "gated by half": (lambda m, x: (y := m.a(x).chunk(2, -1))[0].tanh() * y[1], 0),
}


@pytest.mark.parametrize("case", GATES)
def test_a_gate_is_the_multiplier(case: str) -> None:
    code, operand = GATES[case]
    found = parts(Code(code), X)
    assert listed(found, "gate", "mul") == [":gate"]
    assert place(found[":gate"]).sites == (Site("", "mul", 0, operand),)


def test_products_without_a_sure_multiplier_are_no_gates() -> None:
    found = parts(Code(lambda m, x: m.a(x) * m.b(x) * m.bias), X)
    assert listed(found, "gate", "mul") == [":mul#0.arg0", ":mul#0.arg1"]


def rms(m: Code, x: Tensor, size: Callable[[Tensor], Tensor]) -> Tensor:
    return (x * size((x * x).mean(-1, keepdim=True) + 1)).to(x.dtype)


NO_GATES: dict[str, Callable[[Code, Tensor], object]] = {
    "normaliser": lambda m, x: rms(m, x, torch.rsqrt),
    "normaliser as a power": lambda m, x: rms(m, x, lambda y: torch.pow(y, -0.5)),
    "norm's weight": lambda m, x: m.scale * rms(m, x, torch.rsqrt),
    "norm's weight, cast": lambda m, x: rms(m, x, torch.rsqrt) * m.scale.float(),
    "weight after a division": lambda m, x: x / x.std(-1, keepdim=True) * m.scale,
    "weight after a function": lambda m, x: F.layer_norm(x, (4,)) * m.scale,
    "swish": lambda m, x: x * torch.sigmoid(x),
    "swish of half": lambda m, x: (y := m.a(x).chunk(2, -1)[0]) * (1.7 * y).sigmoid(),
    "gelu": lambda m, x: 0.5 * x * (1 + torch.tanh(x + 0.04 * torch.pow(x, 3))),
}


@pytest.mark.parametrize("case", NO_GATES)
def test_norms_and_activations_written_out_are_no_gates(case: str) -> None:
    assert not listed(parts(Code(NO_GATES[case]), X), "gate")


def test_a_layer_scale_after_a_norm_stays_a_gate() -> None:
    model = Code(lambda m, x: x + m.scale * m.act(x))
    model.act = nn.LayerNorm(4)  # type: ignore[assignment]
    assert listed(parts(model, X), "gate") == [":gate"]


def test_operands_of_lists_are_counted_in_the_list() -> None:
    def code(m: Code, x: Tensor) -> Tensor:
        return torch.stack([torch.cat((x, m.a(x)), 1), m.b(x).repeat(1, 2, 1)]).sum(0)

    found = parts(Code(code), X)
    assert listed(found, "cat") == [":cat#0.arg0", ":cat#0.arg1"]
    assert listed(found, "stack") == [":stack#0.arg0", ":stack#0.arg1"]
    assert place(found[":stack#0.arg1"]).sites == (Site("", "stack", 0, 1),)


def test_functions_are_counted_by_name_and_views_are_not_listed() -> None:
    def code(m: Code, x: Tensor) -> Tensor:
        return F.relu(torch.relu(x.reshape(2, 16)).view(2, 4, 4)).softmax(-1)

    found = parts(Code(code), X)
    assert listed(found, "function") == [":relu#0", ":relu#1", ":softmax#0"]
    assert {":reshape#0", ":view#0"} <= set(found)
    assert found[":relu#1"].part == "relu"
    assert found[":relu#1"].facts.output_shape == (2, 4, 4)  # type: ignore[union-attr]


def test_what_a_childless_module_returns_is_named_by_the_module() -> None:
    found = parts(Code(lambda m, x: m.act(m.a(x)).sin()), X)
    assert listed(found, "function") == [":sin#0"]
    assert {"a:linear#0", "act:gelu#0"} <= set(found)


def test_the_branch_names_the_modules_that_compute_it() -> None:
    found = parts(Code(lambda m, x: m.c(x) + m.none(deep(m, x))), X)
    assert place(found[":branch"]).modules == ("a", "act", "b", "none")
    assert place(found[":skip"]).modules == ("c",)
    assert place(found[":skip"]).projected
    facts = found[":branch"].facts
    assert facts is not None and facts.identity == "yes" and facts.parameters == 40
    assert found[":skip"].facts.note == "projected"  # type: ignore[union-attr]
    plain = parts(Code(lambda m, x: x + m.a(x)), X)[":skip"]
    assert not place(plain).projected and not place(plain).modules


def test_code_belongs_to_the_innermost_running_module() -> None:
    inner = Code(lambda m, x: x + m.a(x))
    outer = nn.Sequential(inner, Code(lambda m, x: m.b(x)))
    assert listed(parts(outer, X), "skip", "branch") == ["0:skip", "0:branch"]


class Twice(nn.Module):
    def __init__(self, code: Callable[[Code, Tensor], object], calls: int = 2) -> None:
        super().__init__()
        self.block = Code(code)
        self.again = self.block
        self.calls = calls

    def forward(self, x: Tensor) -> Any:
        for _ in range(self.calls):
            x = self.again(x)
        return x


def test_a_part_that_is_in_every_call_is_one_under_the_first_name() -> None:
    found = parts(Twice(lambda m, x: x + m.a(x)), X)
    assert place(found["block:branch"]).sites == (Site("block", "add", 0, 1),)
    assert found["block:branch"].facts.calls == 2  # type: ignore[union-attr]


def test_a_part_that_is_in_some_calls_says_in_which() -> None:
    def code(m: Code, x: Tensor) -> Tensor:
        calls.append(1)
        y: Tensor = m.a(x)
        return x + y if len(calls) % 2 else y.relu()

    calls: list[int] = []

    found = parts(Twice(code, 3), X)
    assert [s.call for s in place(found["block:skip"]).sites] == [0, 2]
    assert [s.call for s in place(found["block:relu#0"]).sites] == [1]


def test_a_failed_call_that_is_caught_does_not_confuse_the_owner() -> None:
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError(f"no {x.sin().shape}")

    class Catches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fails, self.a = Fails(), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            try:
                x = self.fails(x)
            except ValueError:
                pass
            return x + self.a(x)  # type: ignore[no-any-return]

    assert listed(parts(Catches(), X), "skip") == [":skip"]


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0] * 2


ODD: dict[str, Callable[[Code, Tensor], object]] = {
    "autograd function": lambda m, x: x + m.a(Doubled.apply(x)),
    "dict": lambda m, x: {"y": x + m.a(x), "n": None},
    "out=": lambda m, x: torch.add(m.a(x), x, out=torch.empty_like(x)),
    "numpy": lambda m, x: x + m.a(x) + torch.from_numpy(x.numpy()),
    "number": lambda m, x: float((x + m.a(x)).sum().item()),
    "einsum": lambda m, x: x + torch.einsum("bij,kj->bik", x, m.a.weight),
    "boolean index": lambda m, x: (y := x + m.a(x))[y > 0],
    "split and where": lambda m, x: torch.where(x > 0, x + m.a(x), x),
    "no tensor at all": lambda m, x: torch.cat([x + m.a(x), torch.empty(2, 0, 4)], 1),
}


@pytest.mark.parametrize("case", ODD)
def test_odd_code_runs_as_without_recording(case: str) -> None:
    model = Code(ODD[case])
    seen: list[Any] = []
    model.register_forward_hook(lambda m, args, output: seen.append(output))
    with torch.no_grad():
        model(X)
    assert listed(parts(model, X), "skip")
    torch.testing.assert_close(seen[0], seen[1], rtol=0, atol=0)


def test_recording_holds_no_activation() -> None:
    alive: list[weakref.ref[Tensor]] = []

    def code(m: Code, x: Tensor) -> Tensor:
        y: Tensor = m.a(x)
        alive.append(weakref.ref(y))
        y = y.relu() + 1
        assert alive[0]() is None
        return y

    parts(Code(code), X)
    assert alive


MODELS: Sequence[tuple[str, int, int, int]] = [
    ("resnet18", 64, 8, 3),
    ("resnet50", 64, 16, 4),
    ("swin_tiny_patch4_window7_224", 224, 24, 0),
    ("vit_tiny_patch16_224", 224, 24, 0),
    ("eva02_tiny_patch14_336", 56, 24, 0),
    ("convnext_atto", 64, 12, 0),
    ("densenet121", 64, 0, 0),
    ("repvgg_a0", 64, 0, 0),
    ("mvitv2_tiny", 224, 30, 3),
]


@pytest.mark.parametrize(("name", "size", "skips", "projected"), MODELS)
def test_residual_adds_of_real_models_are_counted_exactly(
    name: str, size: int, skips: int, projected: int
) -> None:
    fixed: dict[str, Any] = {"img_size": size} if "eva" in name else {}
    model = timm.create_model(name, **fixed).eval()
    found = parts(model, torch.randn(1, 3, size, size))
    assert len(listed(found, "skip")) == len(listed(found, "branch")) == skips
    count = sum(place(found[skip]).projected for skip in listed(found, "skip"))
    assert count == projected


def test_branches_of_real_blocks_name_their_modules() -> None:
    found = parts(timm.create_model("test_vit").eval(), torch.randn(1, 3, 160, 160))
    names = [f"blocks.0.{m}" for m in ("norm1", "attn", "ls1", "drop_path1")]
    assert list(place(found["blocks.0:branch#0"]).modules) == names
    found = parts(timm.create_model("resnet18").eval(), torch.randn(1, 3, 64, 64))
    assert place(found["layer2.0:skip"]).modules == ("layer2.0.downsample",)
    ran = place(found["layer2.0:branch"]).modules
    assert (ran[0], ran[-1]) == ("layer2.0.conv1", "layer2.0.bn2")


def test_real_gates_are_found() -> None:
    found = parts(timm.create_model("seresnet18").eval(), torch.randn(1, 3, 64, 64))
    assert len(listed(found, "gate")) == 8 and "layer1.0.se:gate" in found
    found = parts(timm.create_model("convnext_atto").eval(), torch.randn(1, 3, 64, 64))
    assert len(listed(found, "gate")) == 12
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
    )
    found = parts(transformers.LlamaModel(config).eval(), torch.arange(6).reshape(1, 6))
    assert listed(found, "gate") == ["layers.0.mlp:gate", "layers.1.mlp:gate"]


@pytest.mark.parametrize("train", [False, True])
def test_the_forward_is_bitwise_what_it_is_without_recording(train: bool) -> None:
    model = timm.create_model("test_resnet", drop_path_rate=0.5).train(train)
    outputs: list[Tensor] = []
    state = {k: v.clone() for k, v in model.state_dict().items()}
    model.register_forward_hook(lambda m, args, output: outputs.append(output))
    x, before = torch.randn(2, 3, 64, 64), torch.get_rng_state()
    record(model, (x,))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    with torch.no_grad():
        model(x)
    assert torch.equal(outputs[0], outputs[1])


class Batch:
    """An object that holds the data, as graph libraries have."""

    def __init__(self, x: Tensor) -> None:
        self.x = x


def test_data_that_comes_in_an_object_is_followed() -> None:
    class Takes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 4)
            self.table = torch.ones(4)  # a plain attribute holds no data

        def forward(self, batch: Batch) -> Tensor:
            x = batch.x + self.table
            return x + self.a(x)  # type: ignore[no-any-return]

    found = parts(Takes(), Batch(X))
    assert listed(found, "skip", "branch", "add") == [":skip", ":branch"]
    assert place(found[":skip"]).sites == (Site("", "add", 1, 0),)


def test_an_object_that_holds_itself_does_not_stop_the_forward() -> None:
    class Holds(nn.Module):
        def forward(self, batch: Batch, x: Tensor) -> Tensor:
            return batch.x + x

    batch, loop = Batch(X), dict[str, object]()
    loop["self"] = loop
    vars(batch)["loop"] = loop
    assert ":add#0" in parts(Holds(), batch, X)


def test_flags_are_data_where_nothing_else_comes_in() -> None:
    class Flags(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 4)

        def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
            x = x.mT.mT.float()
            y = x + self.a(x)
            return y if mask is None else y * mask  # type: ignore[no-any-return]

    assert listed(parts(Flags(), X > 0.5), "skip") == [":skip"]
    masked = parts(Flags(), X, X > 0.5)
    assert listed(masked, "skip", "gate", "mul") == [":skip"]


def test_a_branch_names_the_parameters_that_its_own_code_uses() -> None:
    def code(m: Code, x: Tensor) -> Tensor:
        y = F.linear(m.a(x), m.b.weight) * m.scale.float().exp()
        return x + F.linear(y, m.a.weight)

    branch = place(parts(Code(code), X)[":branch"])
    assert branch.modules == ("a",)
    assert sorted(branch.parameters) == ["b.weight", "scale"]
    inner = parts(nn.Sequential(nn.Linear(4, 4), Code(code)), X)["1:branch"]
    assert sorted(place(inner).parameters) == ["1.b.weight", "1.scale"]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_models_of_nested_tensors_are_recorded_and_cut(layout: torch.layout) -> None:
    class Nested(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 4)
            self.alone = False

        def forward(self, x: Tensor) -> Tensor:
            n = torch.nested.as_nested_tensor([x[0], x[1][:2]], layout=layout)
            y = n if self.alone else n + self.a(n)
            return torch.nested.to_padded_tensor(y, 0.0)  # type: ignore[no-any-return]

    model = Nested()
    found = parts(model, X)
    assert listed(found, "skip", "branch") == [":skip", ":branch"]
    facts = found[":branch"].facts
    assert facts is not None and facts.output_shape is None
    for inputs in (None, (X,)):
        with torch.no_grad(), surgery.ablate(model, ":branch", inputs=inputs):
            got = model(X)
        model.alone = True
        assert torch.equal(got, model(X))
        model.alone = False
