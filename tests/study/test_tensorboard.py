"""What TensorBoard's files hold is what the trials logged and came to."""

from __future__ import annotations

import pytest

from tests.study.conftest import Make


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_trial_has_a_run_with_its_curve_and_final_metrics(make: Make) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from surgery.study.storage import Storage

    study = make(trackers=["tensorboard"])
    study.layers.include("fc2")
    results = study.run(progress=False)
    root = study.folder / "tensorboard"
    with Storage(study.folder) as storage:
        for one in results.arms:
            for trial in one.trials:
                run = root / one.arm.name / f"seed {trial.seed}"
                events = EventAccumulator(str(run), size_guidance={"scalars": 0})
                events.Reload()
                drawn = [(e.step, e.value) for e in events.Scalars("loss")]
                stored = storage.curve(trial.id)["loss"]
                assert [step for step, _ in drawn] == [step for step, _ in stored]
                values = [value for _, value in stored]
                assert [value for _, value in drawn] == pytest.approx(values)
                (final,) = events.Scalars("final/accuracy")
                assert final.value == pytest.approx(trial.metrics["accuracy"])
