"""What passes for the same: half precision, small scales, tied weights, other types."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import surgery
from surgery.errors import DataError, OperationError
from tests.excision.test_blocks import how

X = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))


class Interleaved(nn.Module):
    """Keeps queries, keys and values of each head side by side; timm's does not."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads = 2
        self.qkv = nn.Linear(8, 24)
        self.proj = nn.Linear(8, 8)
        self.gone: int | None = None

    def forward(self, x: Tensor) -> Tensor:
        samples, tokens, _ = x.shape
        size = self.qkv.out_features // (3 * self.num_heads)
        joint = self.qkv(x).reshape(samples, tokens, self.num_heads, 3 * size)
        q, k, v = joint.transpose(1, 2).chunk(3, -1)
        out = F.scaled_dot_product_attention(q, k, v)
        if self.gone is not None:
            kept = torch.ones(self.num_heads, 1, 1, dtype=x.dtype)
            kept[self.gone] = 0
            out = out * kept
        found: Tensor = self.proj(out.transpose(1, 2).reshape(samples, tokens, -1))
        return found


class Scaled(nn.Module):
    """The attention as a branch under a layer scale."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.attn = Interleaved()
        self.scale = nn.Parameter(torch.full((8,), scale))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x + self.scale * self.attn(x)
        return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scale", [1.0, 1e-6])
def test_weights_laid_out_in_another_way_are_not_shrunk(
    dtype: torch.dtype, scale: float
) -> None:
    model = Scaled(scale).to(dtype).eval()
    x = X.to(dtype)
    made = surgery.excise(model, "attn:head#0", inputs=x)
    assert how(made) == ["zeroed"]
    model.attn.gone = 0
    assert torch.equal(made.get_submodule("attn")(x), model.attn(x))


class Joined(Interleaved):
    """Keeps all queries, then all keys, then all values, as timm's does."""

    def forward(self, x: Tensor) -> Tensor:
        samples, tokens, _ = x.shape
        size = self.qkv.out_features // (3 * self.num_heads)
        joint = self.qkv(x).reshape(samples, tokens, 3, self.num_heads, size)
        q, k, v = joint.permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v)
        found: Tensor = self.proj(out.transpose(1, 2).reshape(samples, tokens, -1))
        return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [1.0, 1e-6])
def test_right_weights_are_shrunk_in_half_precision_and_under_small_scales(
    dtype: torch.dtype, scale: float
) -> None:
    model = Scaled(scale).to(dtype).eval()
    model.attn.__class__ = Joined
    made = surgery.excise(model, "attn:head#0", inputs=X.to(dtype))
    assert how(made) == ["shrunk"]
    attention = made.get_submodule("attn")
    assert isinstance(attention, Joined)
    assert torch.equal(attention.proj.weight, model.attn.proj.weight[:, 4:])


class Answer:
    def __init__(self, value: Tensor) -> None:
        self.value = value


class Wrapped(Scaled):
    """Gives an object that nothing is known of."""

    def forward(self, x: Tensor) -> Tensor:
        return Answer(super().forward(x))  # type: ignore[return-value]


def test_a_model_that_gives_no_tensors_is_refused() -> None:
    with pytest.raises(DataError, match="no tensors come out of Wrapped"):
        surgery.excise(Wrapped(1.0), "attn:head#0", inputs=X)


class Tied(nn.Module):
    """An embedding whose weight is the last layer's too."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(10, 8)
        self.last = nn.Linear(8, 10, bias=False)
        self.last.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        found: Tensor = self.last(self.embed(tokens).tanh())
        return found


def test_zeros_are_not_written_into_tied_weights() -> None:
    model = Tied().eval()
    made = surgery.excise(model, "last:channel#5", inputs=torch.tensor([[1, 2]]))
    other = torch.tensor([[5, 2]])
    wanted = model(other)
    wanted[..., 5] = 0
    assert torch.equal(made(other), wanted)
    assert how(made) == ["cut built in"]


@pytest.mark.parametrize("mode", ["zero", "mean"])
def test_what_stands_in_follows_the_type_of_the_model(mode: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(10, 8), nn.Linear(8, 8)).eval()
    tokens = torch.tensor([[1, 2], [3, 4]])
    data = (tokens, torch.zeros(2)) if mode == "mean" else None
    made = surgery.excise(model, "0", mode, inputs=tokens, data=data).bfloat16()
    assert how(made) == ["swapped"]
    hidden = model[0](tokens).detach()
    hidden = hidden.mean(0).expand_as(hidden) if mode == "mean" else 0 * hidden
    wanted = model.bfloat16()[1](hidden.bfloat16())
    torch.testing.assert_close(made(tokens), wanted, rtol=1e-2, atol=1e-2)


def test_what_was_excised_under_autocast_runs_without_it_and_within() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)).eval()
    with torch.autocast("cpu", torch.bfloat16):
        made = surgery.excise(model, "0", inputs=X)
        within = made(X)
        wanted = model[1](torch.zeros(2, 5, 8, dtype=torch.bfloat16))
    assert how(made) == ["swapped"]
    assert within.dtype == torch.bfloat16 and torch.equal(within, wanted)
    assert torch.equal(made(X), model[1](torch.zeros(2, 5, 8)))


@pytest.mark.parametrize("mode", ["zero", "reinit", "freeze"])
def test_an_operation_in_effect_must_be_restored_first(mode: str) -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)).eval()
    with surgery.ablate(model, "0", mode):
        with pytest.raises(OperationError, match="restore it first"):
            surgery.excise(model, "1", inputs=X)
        model(X)
    assert torch.equal(surgery.excise(model, "1", inputs=X)(X), torch.zeros(2, 5, 8))


def test_a_model_with_a_cut_built_in_is_excised_again() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)).eval()
    once = surgery.excise(model, "0", inputs=X, dial=0.5)
    assert how(once) == ["cut built in"]
    twice = surgery.excise(once, "1", "identity", inputs=X)
    assert torch.equal(twice(X), 0.5 * model[0](X))
