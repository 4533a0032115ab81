"""TensorBoard's files are read back and hold what the tables say; charts too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from surgery.errors import StudyError
from tests.study.made import arm, factor, layer, results

BASE = arm((), [0.90, 0.92, 0.94])
A = arm(layer("a"), [0.80, None, 0.85])
X = arm(factor("loss.x"), [0.88, 0.91, 0.90])


def read(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    guidance = {"scalars": 0, "tensors": 0, "images": 0}
    events = EventAccumulator(str(folder), size_guidance=guidance)
    events.Reload()
    return events


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_trial_is_a_run_with_its_final_metrics_and_settings(
    tmp_path: Path,
) -> None:
    found = results(BASE, A, X)
    found.to_tensorboard(tmp_path)
    runs = {file.parent for file in tmp_path.glob("trials/**/*tfevents*")}
    assert len(runs) == 9
    for one in found.arms:
        for trial in one.trials:
            events = read(tmp_path / "trials" / one.arm.name / f"seed_{trial.seed}")
            for name, value in trial.metrics.items():
                (final,) = events.Scalars(f"final/{name}")
                assert final.value == pytest.approx(value)
            settings = _settings(events)
            assert settings["arm"] == one.arm.name
            assert settings["seed"] == trial.seed
            assert settings["state"] == str(trial.state)
    x = read(tmp_path / "trials" / "loss.x" / "seed_0")
    assert _settings(x)["loss.x"] == "0.0"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_study_itself_holds_the_rows_the_tables_and_a_chart(
    tmp_path: Path,
) -> None:
    found = results(BASE, A, X)
    found.to_tensorboard(tmp_path)
    events = read(tmp_path)
    for row in found:
        (delta,) = events.Scalars(f"{row.metric} delta/{row.arm}")
        assert delta.value == pytest.approx(row.delta)
    assert set(events.Tags()["images"]) == {"accuracy/bars", "loss/bars"}
    text = events.Tensors("study/text_summary")[0].tensor_proto.string_val[0].decode()
    assert text == found.to_markdown()


def test_writing_again_replaces_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    results(BASE, A, X).to_tensorboard(tmp_path)
    results(BASE, A).to_tensorboard(tmp_path)
    arms = {file.parent.parent.name for file in tmp_path.glob("trials/**/*tfevents*")}
    assert arms == {"base", "a"}
    assert not (tmp_path / "trials" / "loss.x").exists()
    assert (tmp_path / "mine.txt").exists()


def test_the_chart_has_a_bar_per_arm_of_one_setting() -> None:
    arms = [
        arm(one.arm.parts, [0.5, 0.6, 0.8], context=context)
        for context in ("tiny", "large")
        for one in (BASE, A, X)
    ]
    figure = results(*arms).plot(context="large")
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert sorted(labels) == ["a", "loss.x"]
    with pytest.raises(StudyError, match="'tiny', 'large'"):
        results(*arms).plot(context="huge")


def _settings(events: Any) -> dict[str, Any]:
    from tensorboard.plugins.hparams import plugin_data_pb2

    found: dict[str, Any] = {}
    metadata = events.summary_metadata["_hparams_/session_start_info"]
    data = plugin_data_pb2.HParamsPluginData.FromString(metadata.plugin_data.content)
    for name, value in data.session_start_info.hparams.items():
        found[name] = getattr(value, f"{value.WhichOneof('kind')}")
    return found
