"""A small transformer whose forward is edited by hand, by replacing its class's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH, HEADS = 64, 4  # quantisers want multiples of 64


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.num_heads = HEADS
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.proj = nn.Linear(WIDTH, WIDTH)

    def mixed(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v)
        return y.transpose(1, 2).reshape(batch, tokens, -1)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.proj(y.transpose(1, 2).reshape(batch, tokens, -1))
        return out


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.attn = Attention()
        self.fc1 = nn.Linear(WIDTH, WIDTH)
        self.fc2 = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm(x))
        out: Tensor = x + self.fc2(torch.relu(self.fc1(x)))
        return out


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(WIDTH, WIDTH)
        self.block = Block()
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.block(self.stem(x)))
        return out


def without_fc1(self: Block, x: Tensor) -> Tensor:
    x = x + self.attn(self.norm(x))
    out: Tensor = x + self.fc2(torch.relu(torch.zeros_like(self.fc1(x))))
    return out


def without_skip(self: Block, x: Tensor) -> Tensor:
    x = x + self.attn(self.norm(x))
    out: Tensor = torch.zeros_like(x) + self.fc2(torch.relu(self.fc1(x)))
    return out


def without_branch(self: Block, x: Tensor) -> Tensor:
    x = x + torch.zeros_like(self.attn(self.norm(x)))
    out: Tensor = x + self.fc2(torch.relu(self.fc1(x)))
    return out


def without_a_head(self: Attention, x: Tensor) -> Tensor:
    y = self.mixed(x).clone()
    size = WIDTH // HEADS
    y[..., size : 2 * size] = 0
    out: Tensor = self.proj(y)
    return out


CUTS: dict[str, tuple[str, type[nn.Module], Callable[..., Tensor]]] = {
    "module": ("block.fc1", Block, without_fc1),
    "skip": ("block:skip#1", Block, without_skip),
    "branch": ("block:branch#0", Block, without_branch),
    "head": ("block.attn:head#1", Attention, without_a_head),
}
"""By column of the table: the target, and the forward of which class by hand."""


def net() -> Any:
    """A model under a fixed seed."""
    torch.manual_seed(0)
    return Net()


def batch() -> Tensor:
    return torch.randn(2, 5, WIDTH, generator=torch.Generator().manual_seed(1))
