"""DDP and FSDP over two processes: operations hold in each, and are undone in each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import sys, torch, torch.distributed as dist
from torch import nn
import surgery
from tests.awkward.model import CUTS, WIDTH, batch, net, without_fc1, Block

rank, store, way = int(sys.argv[1]), sys.argv[2], sys.argv[3]
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
right = net()
model = net()
if way == "ddp":
    # A module under `zero` learns nothing, which DDP has to be told of.
    model = nn.parallel.DistributedDataParallel(model, find_unused_parameters=True)
else:
    from torch.distributed.fsdp import fully_shard
    fully_shard(model.block)
    fully_shard(model)
x = batch() + rank

def run(m):
    with torch.no_grad():
        return m(x)

before = run(model)
torch.testing.assert_close(before, run(right))
for target, owner, by_hand in CUTS.values():
    forward = owner.forward
    with surgery.ablate(model, target) as op:
        got = run(model)
        op.effect(strict=True)
    owner.forward = by_hand
    torch.testing.assert_close(got, run(right))
    owner.forward = forward
    assert not torch.allclose(got, before)
    assert torch.equal(run(model), before)

# One step of training under a cut: gradients are those of both processes' data by hand.
with surgery.ablate(model, "block.fc1"):
    model(x).square().mean().backward()
forward, Block.forward = Block.forward, without_fc1
total = (right(batch()).square().mean() + right(batch() + 1).square().mean()) / 2
total.backward()
Block.forward = forward
whole = lambda t: t.full_tensor() if hasattr(t, "full_tensor") else t
mine = {k.removeprefix("module."): p.grad for k, p in model.named_parameters()}
for name, p in right.named_parameters():
    grad = torch.zeros_like(p) if p.grad is None else p.grad
    got = torch.zeros_like(p) if mine[name] is None else whole(mine[name])
    torch.testing.assert_close(got, grad, rtol=1e-4, atol=1e-5)

# A parameter, in every process (or on every shard).
with surgery.ablate(model, "block.fc1.weight"):
    got = run(model)
with torch.no_grad():
    right.block.fc1.weight.zero_()
torch.testing.assert_close(got, run(right))
assert torch.equal(run(model), before)
dist.destroy_process_group()
print("done", rank)
"""


@pytest.mark.parametrize("way", ["ddp", "fully_shard"])
def test_operations_hold_over_two_processes(way: str, tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    running = [
        subprocess.Popen(
            [sys.executable, "-c", CODE, str(rank), store, way],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=Path(__file__).parent.parent.parent,
        )
        for rank in (0, 1)
    ]
    try:
        told = [process.communicate(timeout=180)[0] for process in running]
    finally:
        for process in running:
            process.kill()
    for rank, text in enumerate(told):
        assert f"done {rank}" in text, text
