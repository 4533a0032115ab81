"""The hooks backend: containers, call-sites, groups, inputs, wrappers, threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import surgery
from surgery.errors import (
    BackendError,
    OperationError,
    ShapeMismatchError,
    SurgeryError,
    TargetError,
)

G = torch.Generator().manual_seed(0)
X = torch.randn(6, 4, generator=G)


class Stages(nn.Module):
    """Iterates over Sequentials at two levels, and calls one."""

    def __init__(self, iterate: bool) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            nn.Sequential(nn.Linear(4, 4), nn.Tanh()),
            nn.Sequential(nn.Linear(4, 4), nn.Tanh()),
        )
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.iterate = iterate

    def forward(self, x: Tensor) -> Tensor:
        if self.iterate:
            for stage in self.stages:
                assert isinstance(stage, nn.Sequential)
                for block in stage:
                    x = block(x)
        else:
            x = self.stages(x)
        for layer in self.layers:
            x = x + layer(x)
        return x


@pytest.mark.parametrize("known", [True, False])
def test_a_container_that_is_iterated_stands_for_its_children(known: bool) -> None:
    torch.manual_seed(0)
    model = Stages(iterate=True)
    inputs = X if known else None
    with surgery.ablate(model, "stages", "identity", inputs=inputs) as op:
        x = X
        for layer in model.layers:
            x = x + layer(x)
        assert torch.equal(model(X), x)
        assert sum(row.fired for row in op.effect(strict=True)) == 4


@pytest.mark.parametrize("known", [True, False])
def test_a_container_that_is_called_acts_as_one(known: bool) -> None:
    model = Stages(iterate=False)
    seen: list[Tensor] = []

    def note(output: Tensor, inputs: tuple[Any, ...]) -> Tensor:
        seen.append(output)
        return output * 0

    with surgery.ablate(model, "stages", note, inputs=X if known else None) as op:
        assert not model(X).allclose(X)
        assert len(seen) == 1 and next(iter(op.effect())).fired == 1


def test_an_iterated_container_has_a_mean_per_child() -> None:
    model = Stages(iterate=True)
    with torch.no_grad():
        outs: list[Tensor] = []
        x = X
        for block in (*model.stages[0], *model.stages[1]):  # type: ignore[misc]
            x = block(x)
            outs.append(x)
        x = outs[-1].mean(0, keepdim=True).expand_as(x)
        for layer in model.layers:
            x = x + layer(x)
        with surgery.ablate(model, "stages", "mean", data=[(X, None)]):
            torch.testing.assert_close(model(X), x)


def test_a_module_list_is_a_group_of_what_is_in_it() -> None:
    model = Stages(iterate=False)
    with surgery.ablate(model, "layers") as op:
        assert torch.equal(model(X), model.stages(X))
    assert [str(c) for c in op.components] == ["layers.0", "layers.1"]


def test_blocks_of_a_vit_whose_features_are_taken_without_calling_them() -> None:
    torch.manual_seed(0)
    model: Any = timm.create_model(
        "vit_tiny_patch16_224", depth=3, img_size=32, num_classes=2
    ).eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        plain = model(x)
        with surgery.ablate(model, "blocks", "identity") as op:
            (last,) = model.forward_intermediates(x, 1, intermediates_only=True)
            hand = model.norm_pre(model._pos_embed(model.patch_embed(x)))
            torch.testing.assert_close(
                last.flatten(2).transpose(1, 2), hand[:, 1:], rtol=0, atol=0
            )
            assert next(iter(op.effect(strict=True))).fired == 3
        assert torch.equal(model(x), plain)


def test_everything_between_two_modules_is_one_group() -> None:
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(4)))
    with surgery.ablate(model, "1..2", "identity") as op:
        assert torch.equal(model(X), model[3](model[0](X)))
    assert [str(c) for c in op.components] == ["1", "2"]


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.act = nn.Tanh()
        self.also = self.act

    def forward(self, x: Tensor) -> list[Tensor]:
        a = self.act(x)
        b = self.also(a + 1)
        return [a, b, self.act(b + 1)]


@pytest.mark.parametrize("site", [0, 1, 2])
def test_one_call_of_a_shared_module_is_ablated_alone(site: int) -> None:
    model = Shared()
    with surgery.ablate(model, f"act@{site}") as op:
        for _ in range(3):
            outs = model(X)
            assert [bool(y.any()) for y in outs] == [i != site for i in range(3)]
        assert next(iter(op.effect(strict=True))).fired == 3


def test_all_calls_of_a_module_are_ablated_and_two_sites_are_a_group() -> None:
    model = Shared()
    with surgery.ablate(model, "act"):
        assert not any(y.any() for y in model(X))
    with surgery.ablate(model, ["act@0", "act@2"]):
        assert [bool(y.any()) for y in model(X)] == [False, True, False]


class Inputs(nn.Module):
    def forward(self, image: Tensor, ids: Tensor, *, mask: Tensor) -> list[Tensor]:
        return [image, ids, mask]


IDS = torch.arange(1, 7)
MASK = torch.ones(6, 2)


def test_the_whole_input_is_every_tensor_that_goes_in() -> None:
    with surgery.ablate(Inputs(), "input") as op:
        model = op._variant._model
        assert not any(x.any() for x in model(X, IDS, mask=MASK))
        assert next(iter(op.effect(strict=True))).fired == 3


@pytest.mark.parametrize(("name", "place"), [("image", 0), ("ids", 1), ("mask", 2)])
@pytest.mark.parametrize("by_keyword", [True, False])
def test_an_input_is_found_by_name_however_it_is_passed(
    name: str, place: int, by_keyword: bool
) -> None:
    model = Inputs()
    x, ids, mask = X.clone(), IDS.clone(), MASK.clone()
    with surgery.ablate(model, f"input:{name}"):
        if by_keyword:
            out = model(ids=ids, image=x, mask=mask)
        else:
            out = model(x, ids, mask=mask)
    assert [bool(t.any()) for t in out] == [i != place for i in range(3)]
    assert bool(x.all() and ids.all() and mask.all()), "the caller's stay as they are"


def test_an_input_that_was_not_given_is_named_with_those_that_were() -> None:
    class Optional(nn.Module):
        def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
            return x

    model = Optional()
    with (
        pytest.raises(TargetError, match="without input 'mask'; it was given x"),
        surgery.ablate(model, "input:mask"),
    ):
        model(X)


@pytest.mark.parametrize(
    ("target", "shape", "index"),
    [
        ("input:channel#1", (2, 3, 4, 4), (slice(None), slice(1, 2))),
        ("input:channel#0-1", (2, 3, 4, 4), (slice(None), slice(0, 2))),
        ("input:feature#3", (6, 4), (..., slice(3, 4))),
        ("input:feature#1-2", (2, 5, 4), (..., slice(1, 3))),
        ("input:token#2-4", (2, 5, 4), (slice(None), slice(2, 5))),
        ("input:token#1", (2, 5), (slice(None), slice(1, 2))),
    ],
)
def test_a_slice_of_the_input_is_ablated_alone(
    target: str, shape: tuple[int, ...], index: Any
) -> None:
    x = torch.randn(shape, generator=G)
    wanted = x.clone()
    wanted[index] = 0
    model = nn.Sequential(nn.Identity())
    with surgery.ablate(model, target):
        assert torch.equal(model(x), wanted)
    mean = x.clone()
    mean[index] = x[index].mean(0, keepdim=True)
    with surgery.ablate(model, target, "mean", data=[(x, None)]):
        torch.testing.assert_close(model(x), mean)


def test_resampling_one_feature_is_permutation_importance() -> None:
    model = nn.Sequential(nn.Identity())
    x = torch.arange(24.0).view(6, 4)
    with surgery.ablate(model, "input:feature#2", "resample"):
        out = model(x)
    assert torch.equal(out[:, [0, 1, 3]], x[:, [0, 1, 3]])
    assert bool((out[:, 2] != x[:, 2]).all())
    assert sorted(out[:, 2].tolist()) == x[:, 2].tolist()


def test_a_slice_outside_the_input_is_refused() -> None:
    model = nn.Sequential(nn.Identity())
    with (
        pytest.raises(ShapeMismatchError, match="features run from 0 to 3"),
        surgery.ablate(model, "input:feature#4"),
    ):
        model(X)


def test_integer_inputs_can_be_zeroed_and_resampled_but_not_averaged() -> None:
    model = nn.Sequential(nn.Embedding(9, 3))
    with surgery.ablate(model, "input"):
        assert torch.equal(model(IDS), model[0](torch.zeros(6).long()))
    with surgery.ablate(model, "input", "resample"):
        assert not torch.equal(model(IDS), model[0](IDS))
    with pytest.raises(OperationError, match=r"gives torch\.int64"):
        surgery.ablate(model, "input", "mean", data=[(IDS, None)])


@pytest.mark.filterwarnings("ignore:`torch.jit.script`")
def test_scripted_modules_are_refused() -> None:
    scripted = torch.jit.script(nn.Sequential(nn.Linear(4, 4)))
    model = nn.Sequential(nn.Linear(4, 4), scripted)
    with pytest.raises(SurgeryError, match="TorchScript"):
        surgery.ablate(model, "1")
    with pytest.raises(SurgeryError, match="TorchScript"):
        surgery.ablate(model, "1", inputs=X)
    with pytest.raises(BackendError, match="TorchScript"):
        surgery.ablate(scripted, "0")
    with surgery.ablate(model, "0", "identity", inputs=X):
        assert torch.equal(model(X), scripted(X))
    with surgery.ablate(model, "1.0.weight"):
        assert torch.equal(model(X), scripted[0].bias.expand(6, 4))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("mode", ["zero", "identity", "mean", "noise", "resample"])
def test_half_precision_models_keep_their_type(mode: str, dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh()).to(dtype)
    x = X.to(dtype)
    data = [(x, None)] if mode == "mean" else None
    for dial in (0.3, 1.0):
        with surgery.ablate(model, "0", mode, data=data, dial=dial):
            y = model(x)
        assert y.dtype == dtype and bool(y.isfinite().all())
        if mode == "identity" and dial == 1:
            assert torch.equal(y, x.tanh())


@pytest.mark.parametrize("mode", ["zero", "identity", "mean", "noise"])
def test_under_autocast_outputs_keep_the_type_they_would_have(mode: str) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    data = [(X, None)] if mode == "mean" else None
    with surgery.ablate(model, "0", mode, data=data), torch.autocast("cpu"):
        seen: list[Tensor] = []
        hook = model[1].register_forward_pre_hook(
            lambda module, args: seen.append(args[0])
        )
        y = model(X)
        hook.remove()
    assert seen[0].dtype == y.dtype == torch.bfloat16
    if mode == "identity":
        assert torch.equal(seen[0], X.bfloat16())


def test_data_parallel_goes_by_the_inner_names() -> None:
    inner = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    model = nn.DataParallel(inner)
    with surgery.ablate(model, "0", "identity") as op:
        assert torch.equal(model(X), X.tanh())
        op.effect(strict=True)


def test_distributed_data_parallel_goes_by_the_inner_names(tmp_path: Path) -> None:
    import torch.distributed as dist

    dist.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    try:
        inner = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
        model = nn.parallel.DistributedDataParallel(inner)
        wanted = ((X + inner[0](X)) / 2).tanh()
        with surgery.ablate(model, "0", "identity", dial=0.5) as op:
            y = model(X)
            torch.testing.assert_close(y, wanted)
            y.sum().backward()
            op.effect(strict=True)
        assert inner[0].weight.grad is not None
    finally:
        dist.destroy_process_group()


def test_a_model_and_data_on_different_devices_raise_torch_s_own_error() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    with pytest.raises(RuntimeError, match="device"), surgery.ablate(model, "1"):
        model(X.to("meta"))


@pytest.mark.parametrize("mode", ["zero", "identity", "mean"])
def test_threads_run_an_ablated_model_at_once(mode: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), _Slow(), nn.Tanh())
    data = [(X, None)] if mode == "mean" else None
    inputs = [torch.randn(5, 4) for _ in range(4)]
    got: list[list[Tensor]] = [[] for _ in inputs]
    failures: list[BaseException] = []
    with torch.no_grad(), surgery.ablate(model, "1", mode, data=data):
        wanted = [model(x) for x in inputs]

        def work(place: int) -> None:
            try:
                with torch.no_grad():
                    for _ in range(50):
                        got[place].append(model(inputs[place]))
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures
    for outs, right in zip(got, wanted, strict=True):
        assert len(outs) == 50 and all(torch.equal(y, right) for y in outs)


class _Slow(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        for _ in range(20):
            x = x + 0.01
        return x


def test_functional_call_and_vmap_see_the_operation() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    twin = nn.Linear(4, 4)
    state = {f"0.{k}": v for k, v in twin.state_dict().items()}
    half: Callable[..., Tensor] = torch.vmap(model)
    with surgery.ablate(model, "1", "identity"):
        assert torch.equal(torch.func.functional_call(model, state, (X,)), twin(X))
        torch.testing.assert_close(half(X), model[0](X))
    with surgery.ablate(model, "1", "zero", dial=0.5):
        torch.testing.assert_close(half(X), model[0](X).tanh() / 2)


def test_per_sample_gradients_are_a_hand_edit_s() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))
    params = {k: v.detach() for k, v in model.named_parameters()}

    def loss(p: dict[str, Tensor], x: Tensor) -> Tensor:
        out: Tensor = torch.func.functional_call(model, p, (x,))
        return out.sum()

    with surgery.ablate(model, "1", "identity"):
        got = torch.vmap(torch.func.grad(loss), in_dims=(None, 0))(params, X)
    last: Any = model[2]
    wanted = last.weight.detach().T @ X[:, None].reshape(6, 1, 4)
    torch.testing.assert_close(got["0.weight"], wanted)


def test_layouts_are_kept_for_code_that_takes_views() -> None:
    class Viewing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.part(x.contiguous(memory_format=torch.channels_last))
            return y.permute(0, 2, 3, 1).view(-1, 3)

    model = Viewing().to(memory_format=torch.channels_last)
    x = torch.randn(2, 3, 4, 4)
    for mode in ("zero", "mean", "identity"):
        data = [(x, None)] if mode == "mean" else None
        with surgery.ablate(model, "part", mode, data=data):
            model(x)


@pytest.mark.filterwarnings("ignore:`torch.jit.script`")
@pytest.mark.parametrize("mode", ["zero", "identity"])
def test_a_container_with_a_scripted_child_is_refused_and_keeps_no_hook(
    mode: str,
) -> None:
    scripted = torch.jit.script(nn.Linear(4, 4))
    stage = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Tanh(), scripted))
    model = nn.Sequential(nn.Linear(4, 4), stage)
    plain = model(X)
    with pytest.raises(BackendError, match=r"1\.1\.1 is a TorchScript module"):
        surgery.ablate(model, "1", mode)
    ours = [model, model[0], stage, *stage, stage[1][0]]  # type: ignore[index]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in ours)
    assert torch.equal(model(X), plain)


def test_a_slice_is_of_the_field_that_was_recorded_however_inputs_are_passed() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            return x * 1, y * 1

    model, y = Two(), torch.ones(4, 4)
    cut = X.clone()
    cut[:, 0] = 0
    for inputs in ((X, y), None):
        with surgery.ablate(model, "input:feature#0", inputs=inputs):
            first, second = model(y=y, x=X)
        assert torch.equal(first, cut) and torch.equal(second, y)


def test_the_batch_size_is_that_of_the_first_argument_of_the_signature() -> None:
    class Placed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, x: Tensor, pos: Tensor) -> Tensor:
            out: Tensor = self.inner(x) + pos
            return out

    model, pos = Placed(), torch.ones(1, 4)
    with surgery.ablate(model, "inner", "resample", seed=3):
        named = model(pos=pos, x=X)
    with surgery.ablate(model, "inner", "resample", seed=3):
        assert torch.equal(model(X, pos), named)
    assert not torch.equal(model(X, pos), named)


def test_channels_stay_on_the_axis_that_was_recorded() -> None:
    class Last(nn.Module):
        """Gives (B, H, W, C), of which a shape with H != W does not tell."""

        def forward(self, x: Tensor) -> Tensor:
            return x * 1

    model = nn.Sequential(Last())
    with surgery.ablate(model, "0:channel#1", inputs=(torch.ones(2, 8, 8, 3),)):
        out = model(torch.ones(2, 8, 4, 3))
    assert torch.equal(out.sum((0, 1, 2)), torch.tensor([64.0, 0.0, 64.0]))


@torch.no_grad()
def test_an_in_place_module_whose_result_nobody_uses_is_ablated() -> None:
    class Ignoring(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 4)
            self.act = nn.ReLU(inplace=True)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.inner(x)
            self.act(y)
            return y

    model = Ignoring()
    with surgery.ablate(model, "act", dial=0.5):
        assert torch.equal(model(X), model.inner(X).relu() / 2)
    with surgery.ablate(model, "act", "identity"):
        assert torch.equal(model(X), model.inner(X))
    model.act.inplace = False
    with surgery.ablate(model, "act"):
        assert torch.equal(model(X), model.inner(X))


def test_an_in_place_module_is_ablated_in_training_too() -> None:
    inner = nn.Linear(4, 4)
    model = nn.Sequential(inner, nn.ReLU(inplace=True))
    with surgery.ablate(model, "1", dial=0.5):
        model(X).sum().backward()
    by_hand = torch.autograd.grad(model(X).sum() / 2, [inner.weight])[0]
    torch.testing.assert_close(inner.weight.grad, by_hand)
