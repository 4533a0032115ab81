"""A fused program as a module of torch.fx, against the program itself."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from surgery.anatomy import tensors
from surgery.errors import BackendError
from surgery.ops import sweeping
from surgery_backends.fused import fuse_module
from surgery_backends.fused._plan import Pass
from tests.backends.fused.sweeping import Sweep
from tests.backends.fused.test_program import Averaging, Awkward
from tests.excision.models import example, real_model

TARGETS = ["one", "one@0", "one@1", "two", "act@1", "pair", "last", "input:y"]


def awkward(mode: str) -> Sweep:
    torch.manual_seed(0)
    given = torch.randn(4, 6), torch.randn(4, 6)
    targets = ["one", "two", "act@1"] if mode == "identity" else TARGETS
    return Sweep(Awkward().eval(), given, targets, mode)


@cache
def real(name: str, target: str, mode: str) -> Sweep:
    return Sweep(real_model(name), (example(name)[0],), [target], mode)


@torch.no_grad()
def outputs_of(module: nn.Module, sweep: Sweep) -> list[Tensor]:
    with sweeping(3):
        return list(tensors(module(*sweep.args, **sweep.kwargs)))


def agree(found: list[Tensor], rows: list[list[Tensor]]) -> bool:
    """Whether all tensors hold, row by row, what the program gave."""
    return all(
        len(tensor) == len(rows)
        and all(torch.equal(x, row[i]) for x, row in zip(tensor, rows, strict=True))
        for i, tensor in enumerate(found)
    )


@pytest.mark.parametrize("stack", [1, 3, 8])
@pytest.mark.parametrize("mode", ["zero", "constant", "identity", "noise", "resample"])
def test_the_module_gives_what_the_program_gives_bit_for_bit(
    mode: str, stack: int
) -> None:
    sweep = awkward(mode)
    assert agree(outputs_of(sweep.program(stack).module(), sweep), sweep.fused(stack))


@pytest.mark.parametrize("stack", [1, 4])
@pytest.mark.parametrize(
    ("name", "target", "mode"),
    [
        ("resnet18", "layer*.*:branch", "zero"),
        ("resnet18", "layer*.*.conv1", "reinit"),
        ("resnet18", "layer1.0.bn1:channel#0-1", "zero"),
        ("gpt2", "transformer.h.*.attn:head#*", "zero"),
    ],
)
def test_so_it_does_for_real_models(
    name: str, target: str, mode: str, stack: int
) -> None:
    sweep = real(name, target, mode)
    module = sweep.program(stack).module()
    assert agree(outputs_of(module, sweep), sweep.fused(stack))


def test_outputs_are_nested_as_the_models_with_one_row_per_variant() -> None:
    sweep = awkward("zero")
    found = sweep.program(3).module()(*sweep.args)
    rows = 1 + len(TARGETS)
    assert list(found) == ["logits", "hidden", "n"]
    assert found["logits"].shape == (rows, 4, 3)
    assert [x.shape for x in found["hidden"]] == [(rows, 4, 6), (rows, 6, 4)]
    assert found["n"] == 3


def test_inputs_may_be_given_by_keyword() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(4, 6), torch.randn(4, 6)
    sweep = Sweep(Awkward().eval(), (x,), ["one", "two"], kwargs={"y": y})
    found = sweep.program(1).module()(x, y=y)
    assert agree(list(tensors(found)), sweep.fused(1))


def test_a_variant_without_effect_has_the_row_of_the_baseline() -> None:
    torch.manual_seed(0)

    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.unused = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            self.unused(x)
            out: Tensor = self.body(x)
            return out

    sweep = Sweep(Beside(), (torch.randn(3, 4),), ["unused", "body"])
    order = [v for v in range(2) if sweep.plan.acts(v)]
    assert order == [1]
    program = sweep.program_of(Pass.of([order]))
    (found,) = outputs_of(program.module(), sweep)
    assert torch.equal(found[1], found[0])
    assert not torch.equal(found[2], found[0])


def test_it_holds_the_models_tensors_themselves_under_their_names() -> None:
    sweep = real("resnet18", "layer*.*.conv1", "reinit")
    module = sweep.program(1).module()
    own = sweep.model.state_dict(keep_vars=True)
    found = module.state_dict(keep_vars=True)
    assert {name for name in found if not name.startswith("fused.")} <= set(own)
    assert all(found[name] is own[name] for name in found if name in own)
    changed = [name for name in found if name.startswith("fused.variant0.")]
    assert changed == ["fused.variant0.layer1.0.conv1.weight"]


def test_it_is_a_sound_graph_of_functions_and_operations() -> None:
    sweep = awkward("zero")
    module = sweep.program(3).module()
    module.graph.lint()
    assert {n.op for n in module.graph.nodes} == {
        *("placeholder", "get_attr", "call_function", "call_module", "output")
    }
    assert [n.name for n in module.graph.nodes if n.op == "placeholder"] == ["x", "y"]
    assert "torch.ops.aten.linear" in module.code
    again = fx.GraphModule(module, copy.deepcopy(module.graph))
    assert agree(outputs_of(again, sweep), sweep.fused(3))


@pytest.mark.parametrize("mode", ["zero", "noise", "resample"])
def test_a_copy_gives_the_same_by_itself(mode: str) -> None:
    sweep = awkward(mode)
    module = sweep.program(3).module()
    before = outputs_of(module, sweep)
    duplicate = copy.deepcopy(module)
    del module
    sweep.clock.restart()
    assert all(map(torch.equal, before, outputs_of(duplicate, sweep)))


def test_every_forward_draws_anew_and_alike_for_all_variants() -> None:
    sweep = awkward("noise")
    module = sweep.program(1).module()
    with torch.no_grad():
        first, second = module(*sweep.args), module(*sweep.args)
    assert torch.equal(first["logits"][0], second["logits"][0])
    assert not torch.equal(first["logits"][1], second["logits"][1])


def test_numbers_of_the_batch_at_hand_are_written_into_it() -> None:
    torch.manual_seed(0)
    sweep = Sweep(Averaging(), (torch.randn(3, 4),), ["body"])
    other = torch.randn(5, 4)
    module = sweep.program(1, other).module()
    with torch.no_grad():
        assert agree(list(tensors(module(other))), sweep.fused(1, other))


@pytest.mark.parametrize("together", [None, 1, 2])
def test_fuse_module_is_all_of_it_in_one_call(together: int | None) -> None:
    sweep = awkward("zero")
    module = fuse_module(sweep.model, sweep.variants, sweep.args, together=together)
    assert agree(outputs_of(module, sweep), sweep.fused(together or len(TARGETS)))


def test_fuse_module_stacks_at_least_one_variant() -> None:
    sweep = awkward("zero")
    with pytest.raises(BackendError, match="at least 1: 0"):
        fuse_module(sweep.model, sweep.variants, sweep.args, together=0)


@pytest.mark.parametrize("stack", [1, 8])
def test_torch_compile_takes_it_whole(stack: int) -> None:
    sweep = awkward("zero")
    module: Any = torch.compile(
        sweep.program(stack).module(), fullgraph=True, backend="aot_eager"
    )
    found = [x for x in tree_leaves(outputs_of(module, sweep))]
    for i, tensor in enumerate(found):
        rows = torch.stack([row[i] for row in sweep.fused(stack)])
        torch.testing.assert_close(tensor, rows)
