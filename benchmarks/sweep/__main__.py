"""`python -m benchmarks.sweep`: measure, and write what was found to RESULTS.md."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from fnmatch import fnmatch

import torch

from benchmarks.sections import write_section
from benchmarks.sweep.config import Case, Config, load_config
from benchmarks.sweep.measure import Settings, all_ways, measure
from benchmarks.sweep.memory import grow, memory_table
from benchmarks.sweep.ours import ours
from benchmarks.sweep.peers import PEERS
from benchmarks.sweep.rows import Measured, kept, stamp
from benchmarks.sweep.tables import batch_table, bounds_table, folder_table, judge
from benchmarks.sweep.timing import throughput

BUDGET = 128 * 2**20
LAID_OUT = "tuned, channels last"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the chosen cases; 2 if none is called so."""
    options = _parser().parse_args(arguments)
    config = load_config()
    if options.memory:
        _memory(config)
        return 0
    kind = "peers" if options.peers else "ours"
    listed = list(config.peers if options.peers else config.default)
    known = {c.name: c for c in (*listed, *(config.grid if options.all else ()))}
    cases = _chosen(known, config, options.case)
    if not cases:
        print(f"no case is called {options.case}; --list shows all names")
        return 2
    if options.list:
        print("\n".join(case.name for case in cases))
        return 0
    if not options.tables:
        _measure(cases, kind, config, options)
    if not options.case or options.write:
        named = list(dict.fromkeys([*known, *(case.name for case in cases)]))
        _write(kept(kind, named), kind, config)
    return 0


def _chosen(
    known: dict[str, Case], config: Config, patterns: Sequence[str]
) -> list[Case]:
    if not patterns:
        return list(known.values())
    every = {**known, **{case.name: case for case in config.grid}}
    return [
        case
        for name, case in every.items()
        if any(fnmatch(name, p) or p == name for p in patterns)
    ]


def _measure(
    cases: Sequence[Case], kind: str, config: Config, options: argparse.Namespace
) -> None:
    torch.set_num_threads(options.threads)
    settings = Settings(
        options.rounds or config.rounds,
        options.seconds or config.seconds,
        options.device,
        options.memory_format,
        throughput(options.device),
    )
    told = stamp(
        options.device, options.threads, options.memory_format, settings.throughput
    )
    default = ["fused", *PEERS] if kind == "peers" else [LAID_OUT, *ours()]
    ways = list(dict.fromkeys(["tuned", *(options.way or default)]))
    for case in cases:
        rows, rounds = measure(case, ways, settings)
        found = Measured(case.name, rows, rounds, told)
        found.save(kind)
        table = folder_table if case.images else batch_table
        print(table([found]), flush=True)
        if judged := judge(config, [found]):
            print(bounds_table(judged), flush=True)
        print(f"{rounds} rounds\n", flush=True)


def _write(found: Sequence[Measured], kind: str, config: Config) -> None:
    """The section of RESULTS.md, out of all that is kept."""
    command = "python -m benchmarks.sweep" + (" --peers" if kind == "peers" else "")
    single = [m for m in found if " folder " not in m.case]
    whole = [m for m in found if " folder " in m.case]
    parts = [f"`{command}`; medians, ways in turn in one process.", _stamps(found)]
    if single:
        parts += [
            "One batch in memory, baseline and all variants:",
            batch_table(single),
        ]
    if whole:
        parts += ["A ranking over JPEG files in a folder:", folder_table(whole)]
    if kind != "peers" and (judged := judge(config, found)):
        parts += ["What must be shown:", bounds_table(judged)]
    parts.append("`sweep/README.md` says what is compared and what a column means.")
    title = "Sweeps"
    if kind == "peers":
        title = "Sweeps against captum, nnsight and pyvene"
    write_section(title, "\n\n".join(parts))
    print(f"wrote the section {title!r} of benchmarks/RESULTS.md")


def _stamps(found: Sequence[Measured]) -> str:
    """Where rows come from: they may be of several runs."""
    cases: dict[tuple[str, int], list[str]] = {}
    for measured in found:
        cases.setdefault((measured.stamp, measured.rounds), []).append(measured.case)
    if len(cases) == 1:
        ((told, rounds),) = cases
        return f"{told}; {rounds} rounds."
    return "\n".join(
        f"- {told}; {rounds} round(s): {', '.join(names)}"
        for (told, rounds), names in cases.items()
    )


def _memory(config: Config) -> None:
    """Measure memory in fresh processes, and write it."""
    found = [grow(case, budget) for case in config.memory for budget in (None, BUDGET)]
    table = memory_table(found, config.memory_off)
    print(table)
    told = "`python -m benchmarks.sweep --memory`, one thread; " + stamp(
        "cpu", 1, "contiguous", throughput("cpu")
    )
    note = "`sweep/README.md` says what is counted."
    write_section("Memory of the fused program", f"{told}\n\n{table}\n\n{note}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweep")
    parser.add_argument(
        "--case",
        action="append",
        default=[],
        metavar="NAME",
        help="only cases of this name, or that match a pattern; may be repeated",
    )
    parser.add_argument(
        "--way",
        action="append",
        choices=list(all_ways()),
        help="only this way beside the tuned loop; may be repeated",
    )
    parser.add_argument("--rounds", type=int, help="most rounds of a case")
    parser.add_argument("--seconds", type=float, help="no round begins after so long")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument(
        "--memory-format",
        default="contiguous",
        choices=["contiguous", "channels_last"],
        help="of image models and their inputs, for every way",
    )
    parser.add_argument("--all", action="store_true", help="the whole grid too")
    parser.add_argument(
        "--peers", action="store_true", help="against captum, nnsight and pyvene"
    )
    parser.add_argument(
        "--memory", action="store_true", help="bytes held, and what a process grows by"
    )
    parser.add_argument("--list", action="store_true", help="show names, do nothing")
    parser.add_argument(
        "--write", action="store_true", help="write RESULTS.md also for some cases"
    )
    parser.add_argument(
        "--tables",
        action="store_true",
        help="measure nothing, write RESULTS.md from what is kept",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
