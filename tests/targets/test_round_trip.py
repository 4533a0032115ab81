"""Every component of real models is named by its text, and found again by it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import timm
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from surgery.anatomy import Component, Kind, Record, components, record
from surgery.targets import parse
from surgery.targets._names import Names
from surgery.targets._resolve import resolve_in

TIMM = ["test_resnet", "test_vit", "test_convnext", "test_nfnet", "densenet121"]
Known = tuple[nn.Module, Names, Record, list[Component]]


def _timm(name: str) -> tuple[nn.Module, dict[str, Any]]:
    with torch.device("meta"):
        model: Any = timm.create_model(name).eval()
        size = model.default_cfg["input_size"][-1]
        return model, {"x": torch.empty(2, 3, size, size)}


def _gpt2() -> tuple[nn.Module, dict[str, Any]]:
    hf: Any = pytest.importorskip("transformers")
    config = hf.GPT2Config(vocab_size=9, n_embd=8, n_head=2, n_layer=2, n_positions=8)
    return hf.GPT2LMHeadModel(config).eval(), {"input_ids": torch.zeros(2, 4).long()}


def _albert() -> tuple[nn.Module, dict[str, Any]]:
    hf: Any = pytest.importorskip("transformers")
    sizes = {"embedding_size": 8, "hidden_size": 8, "intermediate_size": 8}
    config = hf.AlbertConfig(
        vocab_size=9, num_hidden_layers=3, num_attention_heads=2, **sizes
    )
    return hf.AlbertModel(config).eval(), {"input_ids": torch.zeros(2, 4).long()}


@pytest.fixture(scope="module", params=[*TIMM, "gpt2", "albert"])
def known(request: pytest.FixtureRequest) -> Known:
    made = {"gpt2": _gpt2, "albert": _albert}
    model, inputs = made[request.param]() if request.param in made else _timm(
        request.param
    )  # fmt: skip
    seen = record(model, (), inputs)
    kinds: list[Kind] = ["module", "input", "parameter", "channel"]
    listed = components(model, kwargs=inputs, kinds=kinds)
    ran = [c for c in listed if c.facts is None or c.facts.calls]
    return model, Names(model), seen, [*seen.parts, *ran]


def test_every_component_is_found_again_by_its_name(known: Known) -> None:
    _, names, seen, found = known
    assert len({str(component) for component in found}) == len(found)
    parts = [c for c in found if c.kind != "channel"]
    for component in (*parts, *[c for c in found if c.kind == "channel"][::97]):
        target = parse(str(component))
        assert str(target) == str(component)
        assert resolve_in(names, target, seen, True) == (component,), component


def test_every_part_exists_without_a_record_too(known: Known) -> None:
    _, names, seen, _ = known
    for part in seen.parts:
        (found,) = resolve_in(names, parse(str(part)), None, True)
        assert str(found) == str(part)
        if part.kind in ("skip", "branch", "gate") and "#" not in part.name:
            assert found.index is None  # all of them, which is the one
            part = dataclasses.replace(part, index=None)
        assert found == part


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_glob_finds_what_its_modules_have(known: Known, data: st.DataObject) -> None:
    _, names, seen, _ = known
    part = data.draw(st.sampled_from(seen.parts))
    segments = part.path.split(".") if part.path else []
    starred = ["*" if data.draw(st.booleans()) else s for s in segments]
    text = ".".join(starred) + part.name.removeprefix(part.path)
    found = resolve_in(names, parse(text), seen, True)
    assert part in found
    assert {c.kind for c in found} == {part.kind}
    assert len({c.path.count(".") for c in found}) == 1


def test_parts_of_a_module_that_runs_often_have_calls(known: Known) -> None:
    _, names, seen, _ = known
    often = [p for p in seen.parts if seen.facts[p.path].calls > 1]
    for part in often:
        text = f"{part.path}@1{part.name.removeprefix(part.path)}"
        (found,) = resolve_in(names, parse(text), seen, True)
        assert (str(found), found.call, found.kind) == (text, 1, part.kind)
        assert found.place is not None
        assert {site.call for site in found.place.sites} == {1}
        assert resolve_in(names, parse(str(found)), seen, True) == (found,)
