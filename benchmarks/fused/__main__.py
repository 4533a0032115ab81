"""Times the fused program against a tuned loop, in turn, and writes what it found."""

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
from torch import Tensor, nn

from benchmarks.fused.cases import CASES, Case
from benchmarks.sections import write_section
from surgery.ablation import Variant
from surgery.anatomy import record
from surgery.anatomy._watch import flop_counter
from surgery.ops import Clock, Zero
from surgery.targets import resolve_each
from surgery_backends.fused import FusedEvaluator

Outputs = list[Tensor]


def zeroed(module: nn.Module, args: object, output: Tensor) -> Tensor:
    """The hook of the loop."""
    return torch.zeros_like(output)


def measure(case: Case, rounds: int) -> str:
    """One row of the table."""
    model, x = case.make(), case.inputs()
    with torch.no_grad():
        seen = record(model, (x[:2],), {})
        rows = resolve_each(model, case.targets(model), seen, called_only=True)
        names = [name for name, _ in rows]
        clock = Clock()
        variants = [Variant(model, found, Zero(), clock) for _, found in rows]
        evaluator = FusedEvaluator(model, variants)

        def loop() -> Outputs:
            found = [model(x).argmax(-1)]
            for name in names:
                handle = model.get_submodule(name).register_forward_hook(zeroed)
                found.append(model(x).argmax(-1))
                handle.remove()
            return found

        def fused() -> Outputs:
            wanted = range(len(variants))
            outputs = evaluator.evaluate((x,), {}, wanted, model).outputs
            keys = (None, *wanted)
            return [outputs[key].argmax(-1) for key in keys]

        built = _seconds(fused)[0]
        seconds: dict[str, list[float]] = {"loop": [], "fused": []}
        ways: dict[str, Callable[[], Outputs]] = {"loop": loop, "fused": fused}
        agree = True
        for _ in range(rounds):
            given: dict[str, Outputs] = {}
            for way, run in ways.items():
                took, given[way] = _seconds(run)
                seconds[way].append(took)
            agree &= all(map(torch.equal, given["loop"], given["fused"]))
        limit = _flops(loop) / _flops(fused)
    median = {way: statistics.median(times) for way, times in seconds.items()}
    pairs = zip(seconds["loop"], seconds["fused"], strict=True)
    ratio = statistics.median(a / b for a, b in pairs)
    stack = next(iter(evaluator.plan()["stack"].values()))
    return (
        f"| {case.name} | {len(names)} | {stack} | {median['loop']:.2f} | "
        f"{median['fused']:.2f} | **{ratio:.2f}** | {limit:.2f} | {built:.0f} | "
        f"{'yes' if agree else 'no'} |"
    )


def _seconds(run: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    found = run()
    return time.perf_counter() - start, found


def _flops(run: Callable[[], Any]) -> int:
    with flop_counter() as counter:
        run()
    return int(counter.get_total_flops())


def main() -> None:
    """Run the cases and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", default="", help="part of a case's name")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    lines = [
        "| case | variants | stacked | loop, s | fused, s | loop / fused "
        "| limit by FLOPs | graph and plan, s | same classes |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for case in CASES:
        if options.case in case.name:
            lines.append(measure(case, options.rounds))
            print(lines[-1], flush=True)
    if not options.case:
        stamp = (
            f"{datetime.now(UTC):%Y-%m-%d}, CPU {platform.machine()}, "
            f"{options.threads} torch thread(s), {options.rounds} rounds in turn, "
            f"medians; torch {torch.__version__}, timm {timm.__version__}, Python "
            f"{platform.python_version()}; `python -m benchmarks.fused`"
        )
        section = f"{stamp}\n\n" + "\n".join(lines) + "\n\n" + NOTE
        write_section("The fused program against a tuned loop", section)


NOTE = (
    "One batch in memory, baseline and all variants. Loop: a forward hook that zeroes, "
    "per component, no gradients. Limit: the loop's FLOPs over the program's. "
    "`fused/README.md` says what is compared.\n"
)

if __name__ == "__main__":
    main()
