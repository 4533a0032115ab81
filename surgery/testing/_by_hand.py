"""The forwards of `_models.py` written once more, with a place at every part.

`at(name, value, *given)` is where the part of that name has computed `value` from
`given`: it returns what goes on instead. This is the slow, obvious truth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Given = tuple[Tensor, ...]
Change = Callable[[Tensor, Given, int], Tensor]
"""(value, what it was computed from, how often the part ran before) -> instead."""


@dataclass
class At:
    """The places of one forward, and what is done at some of them.

    Attributes:
        changes: Target and change, in the order in which they act.
        visits: How often each target was reached.
    """

    changes: tuple[tuple[str, Change], ...] = ()
    visits: dict[str, int] = field(default_factory=dict[str, int])

    def __call__(self, name: str, value: Tensor, *given: Tensor) -> Tensor:
        """One place has been reached."""
        seen: dict[str, int] = {}
        for target, change in self.changes:
            if target in (name, *_wider(name)):
                if target not in seen:
                    seen[target] = self.visits.get(target, 0)
                    self.visits[target] = seen[target] + 1
                value = change(value, given, seen[target])
        return value

    def part(
        self, name: str, value: Tensor, axis: int, first: int, last: int
    ) -> Tensor:
        """One place that is a range of an axis."""
        before, after = (
            value.narrow(axis, 0, first),
            value.narrow(axis, last + 1, value.shape[axis] - last - 1),
        )
        middle = self(name, value.narrow(axis, first, last + 1 - first))
        return torch.cat([before, middle, after], axis)


def _wider(name: str) -> tuple[str, ...]:
    """Other targets that name a place: `act` for `act@1`, `b:skip` for `b:skip#0`."""
    path, at, rest = name.partition("@")
    if at:
        return (path,)
    path, colon, rest = name.partition(":")
    if colon and rest.partition("#")[0] in ("skip", "branch", "gate"):
        return (name.partition("#")[0],)
    return ()


def reused(m: Any, at: At, name: str, x: Tensor) -> Tensor:
    given = x.clone()
    y = at(f"{name}.fc1", m.fc1(x), x)
    y = at.part(f"{name}.fc1:channel#1-2", y, 1, 1, 2)
    y = at(f"{name}.norm", m.norm(y), y)
    y = at(f"{name}.act@0", m.act(y), y)
    y = at(f"{name}.fc2", m.fc2(y), y)
    y = at(f"{name}.act@1", m.act(y), y)
    y = at(f"{name}.drop", m.drop(y), y)
    if m.short is None:
        skip = at(f"{name}:skip#0", x)
    else:
        skip = at(f"{name}.short", m.short(x), x)
        skip = at(f"{name}:skip#0", skip, given)
    y = at(f"{name}:branch#0", y, given) + skip
    y = at(f"{name}:relu#0", F.relu(y), y)
    return at(name, y, given)


def residuals(m: Any, at: At, x: Tensor) -> Tensor:
    x = at("input", x)
    x = at.part("input:feature#1", x, 1, 1, 1)
    x = at("stem", m.stem(x), x)
    x = reused(m.a, at, "a", x)
    x = reused(m.b, at, "b", x)
    return at("head", m.head(x), x)


def heads(at: At, name: str, y: Tensor, count: int) -> Tensor:
    """(batch, heads, tokens, size) to (batch, tokens, width), head by head."""
    size = y.shape[-1]
    y = y.transpose(1, 2).reshape(y.shape[0], y.shape[2], -1)
    for head in range(count):
        last = (head + 1) * size - 1
        y = at.part(f"{name}:head#{head}", y, 2, head * size, last)
    return y


def fused_attention(m: Any, at: At, name: str, x: Tensor) -> Tensor:
    qkv = at(f"{name}.qkv", m.qkv(x), x)
    qkv = qkv.reshape(*x.shape[:2], 3, m.num_heads, -1)
    q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    y = F.scaled_dot_product_attention(q, k, v)
    y = heads(at, name, y, m.num_heads)
    return at(name, at(f"{name}.proj", m.proj(y), y), x)


def plain_attention(m: Any, at: At, name: str, x: Tensor) -> Tensor:
    def split(y: Tensor) -> Tensor:
        return y.view(*x.shape[:2], m.num_heads, -1).transpose(1, 2)

    q, k, v = split(m.q(x)), split(m.k(x)), split(m.v(x))
    scores = (q @ k.transpose(-2, -1)) * q.shape[-1] ** -0.5
    attention = at(f"{name}:softmax#0", scores.softmax(-1), scores)
    y = heads(at, name, attention @ v, m.num_heads)
    return at(name, at(f"{name}.proj", m.proj(y), y), x)


def block(m: Any, at: At, name: str, x: Tensor, attention: Any) -> Tensor:
    given = x
    y = attention(m.attn, at, f"{name}.attn", m.norm1(x))
    x = at(f"{name}:skip#0", x) + at(f"{name}:branch#0", y, x)
    middle = x
    y = m.norm2(x)
    y = at(f"{name}.mlp", m.mlp(y), y)
    y = at(f"{name}:gate#0", m.gamma) * y
    x = at(f"{name}:skip#1", x) + at(f"{name}:branch#1", y, middle)
    return at(name, x, given)


def tokens(m: Any, at: At, x: Tensor) -> Tensor:
    x = at("input", x)
    x = at.part("input:token#1", x, 1, 1, 1)
    x = at("stem", m.stem(x), x)
    first, rest = x[:, :1], x[:, 1:]
    y = at("tail.mix", m.tail.mix(2 * rest), 2 * rest)
    new = at("tail:skip#0", rest) + at("tail:branch#0", y, rest)
    x = at("tail", torch.cat([first, new], 1), x)
    x = block(m.blocks[0], at, "blocks.0", x, fused_attention)
    x = block(m.blocks[1], at, "blocks.1", x, plain_attention)
    return at("head", m.head(x.mean(1)), x.mean(1))


def join(m: Any, at: At, x: Tensor) -> Tensor:
    left = at("join.left", m.left(x), x)
    right = at("join.right", m.right(x), x)
    merged = at("join:add#0.arg0", left) + at("join:add#0.arg1", right)
    merged = at("join:add#0", merged)
    curved = at("join:tanh#0", torch.tanh(left), left)
    curved, other = at("join:stack#0.arg0", curved), at("join:stack#0.arg1", right)
    piled = curved + other
    both = [at("join:cat#0.arg0", merged), at("join:cat#0.arg1", x)]
    gate = torch.sigmoid(m.gate(x))
    gated = torch.cat(both, 1) * at("join:gate#0", gate)
    factors = at("join:mul#1.arg0", left), at("join:mul#1.arg1", right)
    product = factors[0] * factors[1]
    last = [at("join:cat#1.arg0", gated), at("join:cat#1.arg1", piled)]
    y = torch.cat([*last, at("join:cat#1.arg2", product)], 1)
    return at("join", y, x)


def joins(m: Any, at: At, x: Tensor) -> Tensor:
    x = at("stem", m.stem(at("input", x)), x)
    y = at("head", m.head(join(m.join, at, x)))
    return at(":add#0.arg0", y) + at(":add#0.arg1", m.side(x))


def structured(m: Any, at: At, pixels: Tensor, shift: Tensor) -> dict[str, Tensor]:
    pixels = at("input:pixels", pixels)
    pixels = at.part("input:channel#1", pixels, 1, 1, 1)
    shift = at("input:shift", shift)
    x = at("conv", m.conv(pixels), pixels)
    x = at.part("conv:channel#0-1", x, 1, 0, 1).mean((2, 3))
    y = at("pair.fc", m.pair.fc(x), x) - shift
    squares = y * y.detach()
    y = at("pair", y, x, shift)
    return {"logits": m.head(y), "squares": squares}
