"""Small models that hold one of everything: what the contract is tried on.

`_by_hand.py` has the same forwards once more, with every place written out.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Reused(nn.Module):
    """An activation called twice, an add in place, a shortcut projected if need be."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, width)
        self.norm = nn.BatchNorm1d(width)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(width, out)
        self.drop = nn.Dropout(0.3)
        self.short = nn.Linear(width, out) if width != out else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm(self.fc1(x)))
        y = self.drop(self.act(self.fc2(y)))
        y += x if self.short is None else self.short(x)
        return F.relu(y)


class Residuals(nn.Module):
    """A stem, an identity block and a projected one, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(6, 6)
        self.a = Reused(6, 6)
        self.b = Reused(6, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.b(self.a(self.stem(x))))
        return out


class FusedAttention(nn.Module):
    """Attention by the fused kernel, from one `qkv` layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.num_heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.proj(y.transpose(1, 2).reshape(batch, tokens, width))
        return out


class PlainAttention(nn.Module):
    """Attention written out with `softmax` and `@`."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.num_heads = heads
        self.q = nn.Linear(width, width)
        self.k = nn.Linear(width, width)
        self.v = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape

        def split(y: Tensor) -> Tensor:
            return y.view(batch, tokens, self.num_heads, -1).transpose(1, 2)

        q, k, v = split(self.q(x)), split(self.k(x)), split(self.v(x))
        scores = (q @ k.transpose(-2, -1)) * q.shape[-1] ** -0.5
        y = scores.softmax(-1) @ v
        out: Tensor = self.proj(y.transpose(1, 2).reshape(batch, tokens, width))
        return out


class Block(nn.Module):
    """Two residual adds, the second of a scaled branch."""

    def __init__(self, width: int, attn: nn.Module) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = attn
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.gamma = nn.Parameter(torch.linspace(0.5, 1.5, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.gamma * self.mlp(self.norm2(x))
        return out


class Tail(nn.Module):
    """Adds in place to a view of what it was given, which it so changes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        tail = x[:, 1:]
        tail += self.mix(2 * tail)
        return x


class Tokens(nn.Module):
    """A small transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(8, 8)
        self.tail = Tail(8)
        self.blocks = nn.ModuleList(
            [Block(8, FusedAttention(8, 2)), Block(8, PlainAttention(8, 4))]
        )
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.tail(self.stem(x))
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.head(x.mean(1))
        return out


class Join(nn.Module):
    """Joins without a skip side: merge, concatenation, stack, gate, product."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.left = nn.Linear(width, width)
        self.right = nn.Linear(width, width)
        self.gate = nn.Linear(width, 2 * width)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.left(x), self.right(x)
        merged = left + right
        piled = torch.stack([torch.tanh(left), right]).sum(0)
        both = torch.cat([merged, x], 1)
        gated = both * torch.sigmoid(self.gate(x))
        return torch.cat((gated, piled, left * right), dim=1)


class Joins(nn.Module):
    """A join in a submodule, and one in the model's own code."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(4, 4)
        self.join = Join(4)
        self.head = nn.Linear(16, 3)
        self.side = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        out: Tensor = self.head(self.join(x)) + self.side(x)
        return out


class Pair(nn.Module):
    """Returns a tensor with something beside it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, width)

    def forward(self, x: Tensor, *, shift: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        y = self.fc(x) - shift
        return y, {"squares": y * y.detach()}


class Structured(nn.Module):
    """Keyword inputs, and outputs in tuples and dicts."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.pair = Pair(4)
        self.head = nn.Linear(4, 3)

    def forward(self, pixels: Tensor, shift: Tensor) -> dict[str, Tensor]:
        x = self.conv(pixels).mean((2, 3))
        y, more = self.pair(x, shift=shift)
        return {"logits": self.head(y), "squares": more["squares"]}
