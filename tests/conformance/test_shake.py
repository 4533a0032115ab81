"""Shaking leaves nothing at its initial value, nor next to zero."""

import torch

from benchmarks.conformance.modes.models import make
from benchmarks.conformance.shake import TINY, shake


def test_shaking_changes_every_parameter_and_leaves_none_tiny() -> None:
    model = make("test_convnext").model
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    scales = [p for name, p in before.items() if name.endswith("gamma")]
    assert scales and all(float(p.abs().max()) < TINY for p in scales)
    shake(model, seed=0)
    for name, parameter in model.named_parameters():
        assert not torch.equal(parameter, before[name]), name
        assert float(parameter.detach().square().mean().sqrt()) > 10 * TINY, name


def test_shaking_moves_running_statistics_and_keeps_variances_positive() -> None:
    model = make("test_resnet").model
    shake(model, seed=0)
    buffers = dict(model.named_buffers())
    assert all(float(b.abs().max()) > 0 for n, b in buffers.items() if "mean" in n)
    assert all(float(b.min()) >= 0.5 for n, b in buffers.items() if "var" in n)
    assert all(int(b) == 7 for n, b in buffers.items() if "tracked" in n)


def test_shaking_depends_on_its_seed_alone() -> None:
    states = []
    for global_seed, seed in ((1, 5), (2, 5), (2, 6)):
        model = make("test_resnet").model
        torch.manual_seed(global_seed)
        before = torch.get_rng_state()
        shake(model, seed)
        assert torch.equal(before, torch.get_rng_state())
        states.append(torch.cat([p.flatten() for p in model.parameters()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[1], states[2])
