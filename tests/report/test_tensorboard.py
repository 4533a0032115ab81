"""What is written for TensorBoard, read by its own reader."""

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from surgery.report import Bar, Session, bar_chart, write_tensorboard


def _read(folder: Path) -> Any:
    sizes = {"scalars": 0, "images": 0, "tensors": 0}
    reader: Any = EventAccumulator(str(folder), size_guidance=sizes)
    reader.Reload()
    return reader


def _hparams(reader: Any, tag: str) -> Any:
    metadata = reader.SummaryMetadata(tag)
    assert metadata.plugin_data.plugin_name == "hparams"
    return HParamsPluginData.FromString(metadata.plugin_data.content)


def _write(logdir: Path, names: list[str], kind: str = "ranking") -> None:
    write_tensorboard(
        logdir,
        scalars={f"accuracy delta/{name}": i / 7 for i, name in enumerate(names)},
        sessions=[
            Session(name, {"component": name, "dial": 0.5}, {"accuracy/delta": i / 7})
            for i, name in enumerate(names)
        ],
        figures={"accuracy/bars": bar_chart([Bar("a", 1.0, 0.5, 1.5)])},
        texts={"table": "| a |\n| --- |\n"},
        kind=kind,
    )


def _runs(logdir: Path) -> list[Path]:
    runs = (logdir / "components").iterdir()
    return sorted(runs, key=lambda run: int(run.name.split()[0]))


def test_scalars_images_and_text_are_read_back(tmp_path: Path) -> None:
    _write(tmp_path, ["layer1.0", "layer2.0"])
    reader = _read(tmp_path)
    tags = reader.Tags()
    assert tags["scalars"] == ["accuracy delta/layer1.0", "accuracy delta/layer2.0"]
    (event,) = reader.Scalars("accuracy delta/layer2.0")
    assert event.step == 0
    assert event.value == np.float32(1 / 7)
    (image,) = reader.Images("accuracy/bars")
    with Image.open(io.BytesIO(image.encoded_image_string)) as picture:
        assert picture.size == (image.width, image.height)
        assert np.asarray(picture.convert("RGB")).std() > 0
    (text,) = reader.Tensors("table/text_summary")
    assert text.tensor_proto.string_val == [b"| a |\n| --- |\n"]


def test_each_session_has_its_settings_and_metrics(tmp_path: Path) -> None:
    names = [f"layer{i}" for i in range(12)]
    _write(tmp_path, names)
    experiment = _hparams(_read(tmp_path), "_hparams_/experiment").experiment
    assert {info.name for info in experiment.hparam_infos} == {"component", "dial"}
    assert [info.name.tag for info in experiment.metric_infos] == ["accuracy/delta"]
    runs = _runs(tmp_path)
    assert [run.name for run in runs] == [f"{i:02d} layer{i - 1}" for i in range(1, 13)]
    for index, run in enumerate(runs):
        reader = _read(run)
        start = _hparams(reader, "_hparams_/session_start_info").session_start_info
        assert start.hparams["component"].string_value == names[index]
        assert start.hparams["dial"].number_value == 0.5
        end = _hparams(reader, "_hparams_/session_end_info").session_end_info
        assert end.status == 1  # success
        (event,) = reader.Scalars("accuracy/delta")
        assert event.value == np.float32(index / 7)


def test_writing_again_replaces_only_what_was_written_before(tmp_path: Path) -> None:
    other = tmp_path / "events.out.tfevents.1.other"
    other.touch()
    _write(tmp_path, ["a", "b", "c"])
    _write(tmp_path / "x", ["keep"], kind="else")
    (tmp_path / "components" / "1 a" / "notes.txt").touch()
    _write(tmp_path, ["d"])
    runs = [run.name for run in _runs(tmp_path)]
    assert sorted(runs) == ["1 a", "1 d"]
    assert _read(tmp_path).Tags()["scalars"] == ["accuracy delta/d"]
    assert other.exists()
    assert _read(tmp_path / "x").Tags()["scalars"] == ["accuracy delta/keep"]


def test_values_that_are_not_numbers_are_left_out_infinite_ones_kept(
    tmp_path: Path,
) -> None:
    values = {"m/a": math.nan, "m/b": math.inf, "m/c": 1.0}
    sessions = [Session("x", {"component": "x"}, values)]
    write_tensorboard(tmp_path, scalars=values, sessions=sessions, figures={}, texts={})
    for folder in (tmp_path, _runs(tmp_path)[0]):
        reader = _read(folder)
        assert reader.Tags()["scalars"] == ["m/b", "m/c"]
        assert reader.Scalars("m/b")[0].value == math.inf


@pytest.mark.parametrize(
    "name",
    [
        r"re:layer[12]\..*conv\d",
        "**[Conv2d]",
        "a/b:skip#0",
        "层 0",
        "..",
        "",
        "x" * 300,
    ],
)
def test_odd_names_survive(tmp_path: Path, name: str) -> None:
    _write(tmp_path / "log", [name, name + "'"])
    tags = _read(tmp_path / "log").Tags()["scalars"]
    assert tags == [f"accuracy delta/{name}", f"accuracy delta/{name}'"]
    runs = _runs(tmp_path / "log")
    assert len(runs) == 2
    start = _hparams(_read(runs[0]), "_hparams_/session_start_info").session_start_info
    assert start.hparams["component"].string_value == name
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


@settings(max_examples=15, deadline=None)
@given(st.text(st.characters(), max_size=20))
def test_any_name_can_be_written(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    logdir = tmp_path_factory.mktemp("log")
    sessions = [Session(name, {"component": name}, {"m": 1.0})]
    write_tensorboard(logdir, scalars={}, sessions=sessions, figures={}, texts={})
    assert _read(_runs(logdir)[0]).Scalars("m")[0].value == 1.0
