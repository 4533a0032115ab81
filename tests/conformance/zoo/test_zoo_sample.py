"""A fixed sample of `make conformance`: twelve families, and a run that is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.conformance.sources import HERE, fingerprint
from benchmarks.conformance.zoo.cases import cases
from benchmarks.conformance.zoo.check import check
from benchmarks.conformance.zoo.report import read

pytestmark = pytest.mark.heavy

SAMPLE = (
    "timm.resnet10t",
    "timm.edgenext_xx_small",
    "timm.efficientvit_b0",
    "timm.mambaout_femto",
    "timm.convnext_zepto_rms",
    "tv.resnet18",
    "tv.lraspp_mobilenet_v3_large",
    "hf.gpt2",
    "hf.mixtral",
    "hf.t5",
    "hf.bert",
    "hf.mamba",
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SAMPLE)
def test_a_model_of_the_zoo_passes_in_every_way(name: str) -> None:
    report = check(cases()[name], fingerprint("zoo"))
    assert report.failures == []
    assert report.misses == []
    effects = sum(o.verdict == "effect" for o in report.outcomes)
    assert effects > 0.5 * len(report.outcomes) > 10
    assert len(report.excised) >= 8


def test_a_run_killed_midway_goes_on_where_it_was(tmp_path: Path) -> None:
    names = ["hf.gpt2", "hf.llama"]
    program = [sys.executable, "-m", "benchmarks.conformance", "--models", *names]
    program += ["--folder", str(tmp_path), "--jobs", "1"]
    root = HERE.parents[1]
    first = subprocess.Popen(program, cwd=root, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob("*.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    (done,) = [name for name in names if (tmp_path / f"{name}.json").exists()]
    written = (tmp_path / f"{done}.json").stat().st_mtime_ns
    second = subprocess.run(program, cwd=root, capture_output=True, text=True)
    assert "kept from before: 1 models" in second.stdout, second.stdout
    assert (tmp_path / f"{done}.json").stat().st_mtime_ns == written
    for name in names:
        report = read(tmp_path / f"{name}.json")
        assert report.outcomes and not report.fault
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"{n}.json" for n in names]
