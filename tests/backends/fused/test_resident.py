"""What the system counts, in a process of its own: never more than the budget."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import ctypes, json, sys
from pathlib import Path
import timm, torch
from surgery.ablation import Variant
from surgery.anatomy import record
from surgery.ops import Clock, Zero
from surgery.targets import resolve_each
from surgery_backends.fused import FusedEvaluator

def kilobytes(name):
    text = Path("/proc/self/status").read_text()
    return int(next(x for x in text.splitlines() if x.startswith(name)).split()[1])

torch.manual_seed(0)
budget, batch, side, targets = json.loads(sys.argv[1])
model = timm.create_model("resnet18").eval()
x = torch.randn(batch, 3, side, side)
with torch.no_grad():
    seen, clock = record(model, (x,), {}), Clock()
    rows = resolve_each(model, targets, seen, called_only=True)
    variants = [Variant(model, found, Zero(), clock) for _, found in rows]
    made = FusedEvaluator(model, variants, memory_budget=budget)
    members = range(len(variants))
    (program, *_) = made.programs((x,), {}, members, model)
    model(x)  # what libraries keep for themselves
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)  # else what is free already hides growth
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
    before = kilobytes("VmRSS")
    outputs = made.evaluate((x,), {}, members, model).outputs
    for variant in outputs:
        outputs[variant]
    grown = (kilobytes("VmHWM") - before) * 1024
print(json.dumps({"grown": grown, "plan": made.plan()}))
"""


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="the system does not tell"
)
@pytest.mark.heavy
@pytest.mark.parametrize(
    ("budget", "batch", "side", "targets"),
    [
        (96_000_000, 8, 128, "layer*.*.*"),
        (48_000_000, 8, 128, "layer*.*.*"),
        (128_000_000, 64, 32, "**"),  # it grew by 260 MB, with 60 in use
    ],
)
def test_the_resident_set_grows_by_no_more_than_the_budget(
    budget: int, batch: int, side: int, targets: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps([budget, batch, side, targets])],
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert max(found["plan"]["peak_bytes"].values()) <= budget
    assert found["grown"] <= budget
