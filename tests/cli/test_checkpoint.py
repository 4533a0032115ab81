"""Checkpoint files of several makes, and files that are none."""

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from surgery.cli._checkpoint import load_checkpoint
from surgery.errors import SurgeryError


def make_model() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def weights() -> dict[str, Tensor]:
    model = make_model()
    return {k: torch.rand(v.shape).to(v.dtype) for k, v in model.state_dict().items()}


def assert_loads(path: Path, expected: dict[str, Tensor]) -> None:
    model = make_model()
    load_checkpoint(model, path)
    for name, value in model.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_safetensors_load(tmp_path: Path) -> None:
    state = weights()
    save_file(state, tmp_path / "a.safetensors")
    assert_loads(tmp_path / "a.safetensors", state)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize(
    "nest", [(), ("state_dict",), ("model",), ("model", "state_dict")]
)
def test_nestings_and_prefixes_of_training_scripts_come_off(
    tmp_path: Path, prefix: str, nest: tuple[str, ...]
) -> None:
    state = weights()
    saved: dict[str, object] = {prefix + k: v for k, v in state.items()}
    for key in nest:
        saved = {"epoch": 3, key: saved}
    torch.save(saved, tmp_path / "a.pt")
    assert_loads(tmp_path / "a.pt", state)


def test_differing_keys_are_all_named(tmp_path: Path) -> None:
    state = weights()
    state["0.weights"] = state.pop("0.weight")
    state["0.bias"] = torch.rand(5)
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(SurgeryError) as caught:
        load_checkpoint(make_model(), tmp_path / "a.pt")
    text = str(caught.value)
    assert "it lacks 0.weight;" in text
    assert "it has the unknown 0.weights;" in text
    assert "differs in shape at 0.bias 5 for 4" in text


def test_many_differing_keys_are_counted(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(SurgeryError, match=r"lacks 0\.weight, .* and 4 more"):
        load_checkpoint(make_model(), tmp_path / "a.safetensors")


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("executed",))


def test_code_in_a_checkpoint_is_not_executed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"state_dict": Evil()}, tmp_path / "a.pt")
    (tmp_path / "b.pkl").write_bytes(pickle.dumps(Evil(), protocol=2))
    for name in ("a.pt", "b.pkl"):
        with pytest.raises(SurgeryError, match="cannot be read as weights alone"):
            load_checkpoint(make_model(), tmp_path / name)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt", "a.bin"])
@pytest.mark.parametrize("content", [b"", b"garbage", b"\x80\x02}q\x00"])
def test_a_damaged_file_is_a_clear_error(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SurgeryError, match=name):
        load_checkpoint(make_model(), tmp_path / name)


def test_a_file_without_weights_says_what_it_holds(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "loss": 0.5}, tmp_path / "a.pt")
    with pytest.raises(SurgeryError, match="but a dict with epoch, loss"):
        load_checkpoint(make_model(), tmp_path / "a.pt")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SurgeryError, match=r"no checkpoint .*nothing\.pt"):
        load_checkpoint(make_model(), tmp_path / "nothing.pt")
