"""Measures what papers claim, judges it, draws it, and writes it down."""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.published import atp, michel, molchanov, morcos, shortgpt, veit, zhang
from benchmarks.published.claim import SEEDS, Script, judge
from benchmarks.published.store import CACHE, all_kept, keep, kept
from benchmarks.published.tables import section, summary, table, verdict
from benchmarks.sections import RESULTS, write_section

SCRIPTS: dict[str, Script[Any]] = {
    module.SCRIPT.claim.name: module.SCRIPT
    for module in (veit, zhang, michel, molchanov, shortgpt, morcos, atp)
}
NEEDED = 6
"""So many of the claims are to hold."""
PLOTS = Path(__file__).parent / "plots"


def run(script: Script[Any], seeds: Sequence[int], folder: Path, again: bool) -> None:
    """Measures seeds that are not kept, shows the table, draws the plot."""
    name = script.claim.name
    for seed in seeds:
        if again or kept(script, seed, folder) is None:
            start = time.perf_counter()
            found = script.measure(script.full, seed, folder)
            seconds = time.perf_counter() - start
            keep(script, found, _stamp(), folder)
            print(f"{name}, seed {seed}: {seconds:.0f} s", flush=True)
    measured, _ = all_kept(script, seeds, folder)
    judged = judge(script.claim, measured)
    print(f"\n{name}: {verdict(judged)}\n{table(judged, seeds)}\n", flush=True)


def write(folder: Path, page: Path = RESULTS, plots: Path = PLOTS) -> int:
    """Plots, and the section of the results, of all that is kept.

    Returns:
        How many claims hold.
    """
    claims = [(s.claim, all_kept(s, SEEDS, folder)[0]) for s in SCRIPTS.values()]
    stamps = {
        stamp for s in SCRIPTS.values() for stamp in all_kept(s, SEEDS, folder)[1]
    }
    verdicts = [verdict(judge(*one)) for one in claims]
    holding, open_ = verdicts.count("holds"), sum(v.startswith("not") for v in verdicts)
    parts = [
        f"`python -m benchmarks.published`; {'; '.join(sorted(stamps))}",
        f"{holding} of {len(claims)} hold, by medians of {len(SEEDS)} seeds"
        f"{f'; {open_} are not measured yet' if open_ else ''}. Criteria were written "
        "down before anything was measured, and not moved since; where an experiment "
        "was changed after its first outcome, its remark tells of it.",
        summary(claims),
    ]
    plots.mkdir(parents=True, exist_ok=True)
    for script, (claim, found) in zip(SCRIPTS.values(), claims, strict=True):
        if found:
            path = plots / f"{claim.name}.png"
            script.draw(found).savefig(path)
            parts.append(section(claim, found, f"published/plots/{path.name}"))
    parts.append("`published/README.md` says what is compared and how to read it.")
    write_section("Published results", "\n\n".join(parts), page)
    return holding


def _stamp() -> str:
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, CPU {platform.machine()}, one torch thread; "
        f"torch {torch.__version__}, Python {platform.python_version()}"
    )


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "papers", nargs="*", metavar="paper", help=f"of {', '.join(SCRIPTS)}"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--again", action="store_true", help="measure what is kept too")
    parser.add_argument(
        "--tables", action="store_true", help="only write plots and RESULTS.md again"
    )
    parser.add_argument("--folder", type=Path, default=CACHE)
    options = parser.parse_args()
    if unknown := set(options.papers) - set(SCRIPTS):
        parser.error(f"no paper is called {', '.join(sorted(unknown))}")
    torch.set_num_threads(1)
    if not options.tables:
        for name in options.papers or SCRIPTS:
            run(SCRIPTS[name], options.seeds, options.folder, options.again)
    if options.tables or (not options.papers and options.seeds == list(SEEDS)):
        holding = write(options.folder)
        if holding < NEEDED:
            raise SystemExit(f"{holding} of {len(SCRIPTS)} claims hold, not {NEEDED}")


if __name__ == "__main__":
    main()
