"""`python -m benchmarks.conformance.fused`: the zoo through the fused program."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from benchmarks.conformance.fused.check import CAP, check
from benchmarks.conformance.fused.results import TITLE, written
from benchmarks.conformance.sources import CACHE, HERE, fingerprint
from benchmarks.conformance.zoo.cases import cases
from benchmarks.conformance.zoo.farm import Farm, costs, kept
from benchmarks.conformance.zoo.report import Report, read
from benchmarks.sections import write_section

COSTS = HERE / "zoo" / "seconds.json"
UNKNOWN = 60.0

SAMPLE = (
    "timm.convnext_zepto_rms",
    "timm.cs3darknet_focus_s",
    "timm.densenet121",
    "timm.deit_tiny_patch16_224",
    "timm.dla46x_c",
    "timm.edgenext_xx_small",
    "timm.fasternet_t0",
    "timm.hgnetv2_b0",
    "timm.mobilenetv2_035",
    "timm.swin_tiny_patch4_window7_224",
    "tv.resnet18",
    "tv.squeezenet1_1",
    "tv.shufflenet_v2_x0_5",
    "tv.mobilenet_v3_small",
    "tv.lraspp_mobilenet_v3_large",
    "hf.gpt2",
    "hf.bert",
    "hf.llama",
    "hf.t5",
    "hf.mixtral",
)
"""Small models of many kinds: residual, dense, attention, several outputs, refused."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the chosen models; 1 if anything failed."""
    options = _parser().parse_args(arguments)
    known = cases()
    wanted = options.models or (SAMPLE if options.sample else ("*",))
    chosen = [c for c in known.values() if any(fnmatch(c.name, p) for p in wanted)]
    folder = Path(options.folder)
    sources = fingerprint("fused")
    found = {} if options.fresh else kept(chosen, folder, sources)
    before = costs(folder, COSTS)
    todo = [case for case in chosen if case.name not in found]
    todo.sort(key=lambda case: before.get(case.name, UNKNOWN))
    began = time.monotonic()

    def done(report: Report) -> None:
        found[report.model] = report
        print(
            f"{time.monotonic() - began:6.0f} s  {len(found):3} of {len(chosen)}  "
            f"{report.model}: {_words(report)}",
            flush=True,
        )

    seconds = None if options.minutes is None else 60 * options.minutes
    Farm(folder, sources, options.jobs, options.cap, done, check).run(todo, seconds)
    if not options.models:
        _write(list(known), found, folder, options)
    failed = [report for report in found.values() if report.failures]
    for report in failed:
        for where, why in report.failures:
            print(f"FAILED {report.model} {where}:\n    {why[:400]}")
    print(f"{len(found)} models, {len(failed)} with failures")
    return 1 if failed else 0


def _write(
    order: Sequence[str],
    found: dict[str, Report],
    folder: Path,
    options: argparse.Namespace,
) -> None:
    """The section, with what is kept of other models."""
    every = {r.model: r for r in map(read, sorted(folder.glob("*.json")))} | found
    reports = [every[name] for name in order if name in every]
    command = "python -m benchmarks.conformance.fused"
    command += " --sample" if options.sample else ""
    text = written(reports, command, len(order) - len(reports))
    write_section(TITLE, text, HERE / "RESULTS.md")
    print("wrote its section of benchmarks/conformance/RESULTS.md")


def _words(report: Report) -> str:
    if refused := next((f.refused for f in report.fused if f.refused), ""):
        return f"refused: {refused[:100]}"
    told = ", ".join(f"{f.bitwise}/{f.trials} bitwise {f.how}" for f in report.fused)
    return f"{told}, {len(report.failures)} failures, {report.took:.0f} s"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.conformance.fused")
    parser.add_argument("--sample", action="store_true", help="about 20 small models")
    parser.add_argument(
        "--models", nargs="+", default=[], metavar="NAME", help="only these"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--cap", type=float, default=CAP, help="seconds per model")
    parser.add_argument("--minutes", type=float, help="begin no model after so long")
    parser.add_argument("--fresh", action="store_true", help="forget what was kept")
    parser.add_argument(
        "--folder", default=str(CACHE / "fused"), help="where results are kept"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
