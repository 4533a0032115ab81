"""Times forwards in turn: untouched, restored, and with one skip cut."""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import get_args

import timm
import torch
from torch import Tensor, nn

import surgery
from benchmarks.sections import write_section
from surgery.anatomy import Kind
from surgery.errors import OperationError

PIXELS, BATCH = 224, 8
MODELS = {
    "resnet18": "layer2.1:skip",
    "swin_tiny_patch4_window7_224": "layers.2.blocks.2:skip#0",
}
STATES = {
    "restored": (0.97, 1.03),
    "skip cut, recorded": (0.0, 1.05),
    "skip cut, by name": (0.0, 1.05),
}
"""What is timed against an untouched model, and the ratios that are promised."""


@dataclass(frozen=True)
class Timed:
    """Seconds of every state in every round, `untouched` among them."""

    seconds: dict[str, list[float]]

    def ratio(self, state: str) -> float:
        """Median of the per-round ratios to untouched."""
        pairs = zip(self.seconds[state], self.seconds["untouched"], strict=True)
        return statistics.median(mine / plain for mine, plain in pairs)


def measure(name: str, rounds: int) -> Timed:
    """Time all states of one model, in turn."""
    x = torch.randn(
        BATCH, 3, PIXELS, PIXELS, generator=torch.Generator().manual_seed(0)
    )
    states: dict[str, nn.Module] = {"untouched": _make(name), "restored": _make(name)}
    operate_everywhere(states["restored"], x[:1])
    if hooks := hook_tables(states["restored"]):
        raise SystemExit(f"{name}: after restore hooks are left at {hooks[:5]}")
    states["skip cut, recorded"] = _make(name)
    surgery.ablate(states["skip cut, recorded"], MODELS[name], inputs=x[:1])
    states["skip cut, by name"] = _make(name)
    surgery.ablate(states["skip cut, by name"], MODELS[name])
    _require_agreement(name, states, x)
    seconds: dict[str, list[float]] = {state: [] for state in states}
    order = list(states)
    for _ in range(rounds):
        for state in order:
            seconds[state].append(_time(states[state], x))
        order = order[1:] + order[:1]
    return Timed(seconds)


def operate_everywhere(model: nn.Module, x: Tensor) -> set[str]:
    """Put one operation in effect on one component of each kind, run, restore.

    Returns:
        The kinds that were operated on.
    """
    kinds: set[str] = set()
    everything = surgery.components(model, x, kinds=get_args(Kind))
    for component in everything:
        if component.kind in kinds or not component.name:
            continue
        try:
            with surgery.ablate(model, component, inputs=x), torch.no_grad():
                model(x)
        except OperationError:
            continue
        kinds.add(component.kind)
    return kinds


def hook_tables(model: nn.Module) -> list[str]:
    """Where hooks, or a `forward` of its own, are left in a model."""
    return [
        f"{path}.{name}"
        for path, module in model.named_modules()
        for name, value in vars(module).items()
        if name == "forward" or (name.endswith("hooks") and value)
    ]


def _make(name: str) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = timm.create_model(name, num_classes=10).eval()
    for parameter in model.parameters():
        if not parameter.detach().any():  # branches must not be zero
            nn.init.constant_(parameter, 0.1)
    return model


def _require_agreement(name: str, states: dict[str, nn.Module], x: Tensor) -> None:
    with torch.no_grad():
        plain, restored, recorded, named = (m(x[:1]) for m in states.values())
    if not (torch.equal(plain, restored) and torch.equal(recorded, named)):
        raise SystemExit(f"{name}: results disagree")
    if torch.equal(plain, named):
        raise SystemExit(f"{name}: the cut changes nothing")


@torch.no_grad()
def _time(model: Callable[[Tensor], object], x: Tensor) -> float:
    start = time.perf_counter()
    model(x)
    return time.perf_counter() - start


def row(name: str, timed: Timed) -> str:
    """One line of the table."""
    plain = statistics.median(timed.seconds["untouched"]) * 1000
    ratios = " | ".join(f"{timed.ratio(state):.3f}" for state in STATES)
    return f"| {name}, {PIXELS} px, batch {BATCH} | {plain:.0f} | {ratios} |"


def main() -> None:
    """Run the models and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=list(MODELS))
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    lines = [
        f"| model | untouched, ms | {' | '.join(STATES)} |",
        f"|---|---|{'---|' * len(STATES)}",
    ]
    missed: list[str] = []
    for name in MODELS:
        if options.model not in (None, name):
            continue
        timed = measure(name, options.rounds)
        lines.append(row(name, timed))
        print(lines[-1], flush=True)
        for state, (low, high) in STATES.items():
            if not low <= timed.ratio(state) <= high:
                missed.append(f"{name}: {state} {timed.ratio(state):.3f}")
    if options.model is None:
        write_section("What a cut costs", _section(lines, options))
    if missed:
        raise SystemExit(f"outside of what is promised: {'; '.join(missed)}")


def _section(lines: list[str], options: argparse.Namespace) -> str:
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, CPU {platform.machine()}, {options.threads} "
        f"torch thread(s), {options.rounds} rounds in turn, medians of the per-round "
        f"ratios to untouched; torch {torch.__version__}, timm {timm.__version__}, "
        f"Python {platform.python_version()}; `python -m benchmarks.cuts`\n\n"
        + "\n".join(lines)
        + "\n\n1: costs nothing. `cuts/README.md` says what is compared.\n"
    )


if __name__ == "__main__":
    main()
