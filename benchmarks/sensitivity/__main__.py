"""Times curves against loops, in turn, and writes what it found."""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import timm
import torch
from torch import Tensor

from benchmarks.sections import write_section
from benchmarks.sensitivity.minimum import flops, least
from benchmarks.sensitivity.ways import copied, evaluator, fused, tuned, wanted
from benchmarks.sweep.config import Case
from benchmarks.sweep.models import make_inputs, make_model
from benchmarks.sweep.ours import chosen

CASES = (
    (Case("resnet50", "branches", 224, 8), "layer*.*"),
    (Case("swin_t", "branches", 224, 8), "layers.*.blocks.*"),
    (Case("resnet50", "branches", 64, 8), "layer*.*"),
    (Case("swin_t", "branches", 64, 8), "layers.*.blocks.*"),
)
BOUNDS = {"copies": 2.5, "tuned": 1.85, "flops": 1.05}


@torch.no_grad()
def measure(case: Case, blocks: str, rounds: int) -> str:
    """One row of the table."""
    model, x = make_model(case), make_inputs(case)
    variants = wanted(model, x, blocks)
    by = evaluator(model, x, variants)

    def ours() -> list[Tensor]:
        return fused(model, x, variants, by)

    built, _ = _seconds(ours)
    spent = flops(ours) / least(model, x, variants)
    ways: dict[str, Callable[[], list[Tensor]]] = {
        "copies": lambda: copied(model, x, variants),
        "tuned": lambda: tuned(model, x, variants),
        "surgery": ours,
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    same = 1.0
    for _ in range(rounds):
        given: dict[str, list[Tensor]] = {}
        for way, run in ways.items():
            took, given[way] = _seconds(run)
            seconds[way].append(took)
        for way in ("copies", "tuned"):
            same = min(same, _same(given[way], given["surgery"]))
    median = {way: statistics.median(times) for way, times in seconds.items()}
    ratios = {way: _ratio(seconds[way], seconds["surgery"]) for way in ways}
    return (
        f"| {case.model} {case.pixels} px b{case.batch} | {len(variants)} | "
        f"{median['copies']:.1f} | {median['tuned']:.1f} | {median['surgery']:.1f} | "
        f"**{ratios['copies']:.2f}** | **{ratios['tuned']:.2f}** | {spent:.3f} | "
        f"{built:.0f} | {chosen(by)} | {same:.2%} |"
    )


def _ratio(theirs: list[float], ours: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(theirs, ours, strict=True))


def _same(theirs: list[Tensor], ours: list[Tensor]) -> float:
    """The share of classes that are the same."""
    return float((torch.stack(theirs) == torch.stack(ours)).double().mean())


def _seconds(run: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    found = run()
    return time.perf_counter() - start, found


def main() -> None:
    """Run the cases and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", default="", help="part of a model's name")
    parser.add_argument("--pixels", type=int, help="only cases of this size")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    lines = [
        "| model | variants | copies, s | in place, s | surgery, s | copies / surgery "
        "| in place / surgery | FLOPs / least | graph and first batch, s "
        "| chose | same classes |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for case, blocks in CASES:
        if options.case in case.model and options.pixels in (None, case.pixels):
            lines.append(measure(case, blocks, options.rounds))
            print(lines[-1], flush=True)
    if not options.case and options.pixels is None:
        stamp = (
            f"{datetime.now(UTC):%Y-%m-%d}, CPU {platform.machine()}, "
            f"{options.threads} torch thread(s), {options.rounds} rounds in turn, "
            f"medians; torch {torch.__version__}, timm {timm.__version__}, Python "
            f"{platform.python_version()}; `python -m benchmarks.sensitivity`"
        )
        section = f"{stamp}\n\n" + "\n".join(lines) + "\n\n" + NOTE
        write_section("Sensitivity against loops", section)


NOTE = (
    "Noise on every block at 5 levels in 3 draws, one batch in memory. Asked for: "
    f"copies at least {BOUNDS['copies']}, in place at least {BOUNDS['tuned']}, FLOPs "
    f"at most {BOUNDS['flops']} of the least. `sensitivity/README.md` says what is "
    "compared.\n"
)

if __name__ == "__main__":
    main()
