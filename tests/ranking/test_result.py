"""Rankings: order, tables, files, charts and logs."""

import dataclasses
import importlib.resources
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from surgery.errors import SurgeryError
from surgery.ranking import Ranking, Row
from surgery.ranking._result import FILE

NAN = math.nan
CONTRACT = (
    "component, metric, baseline, value, delta, low, high, p, p_adjusted, verdict, "
    "effect, n"
).split(", ")
PROVENANCE: dict[str, Any] = {
    "versions": {"torch": "2.9"},
    "model": "resnet",
    "mode": "zero",
    "dial": 1.0,
    "seed": 0,
    "confidence": 0.95,
    "correction": "holm",
    "higher_is_better": {"accuracy": True, "loss": False, "odd": None},
    "skipped": [],
    "failures": [],
    "seconds": 1.5,
}


def _row(component: str, delta: float, metric: str = "accuracy", **changes: Any) -> Row:
    low, high = delta - 0.05, delta + 0.05
    sure = low > 0 or high < 0
    worse = (delta < 0) == (metric != "loss")
    verdict = ("important" if worse else "harmful") if sure else "inconclusive"
    p = 0.0001 if sure else 0.4
    row = Row(
        *(component, metric, 0.75, 0.75 + delta, delta, low, high, p, p * 2),
        *(verdict, "full", 400),  # type: ignore[arg-type]
    )
    return dataclasses.replace(row, **changes)


FAILED = _row("bad", NAN, value=NAN, p=NAN, p_adjusted=NAN, verdict="failed", n=0)
ROWS = (FAILED, _row("b", 0.0), _row("c", 0.125), _row("a", -0.5))

numbers = st.floats()
names = st.text(max_size=12)
rows = st.builds(
    Row,
    *([names] * 2),
    *([numbers] * 7),
    st.sampled_from(["important", "harmful", "inconclusive", "failed"]),
    st.sampled_from(["none", "local", "full"]),
    st.integers(0),
    names,
    st.integers(0),
    names,
)


def _json(value: str) -> Any:
    return json.loads(value, parse_constant=lambda name: pytest.fail(name))


def _schema() -> Any:
    folder = importlib.resources.files("surgery.report") / "schemas"
    return _json((folder / f"ranking-{FILE.version}.json").read_text())


def test_the_columns_are_the_contract() -> None:
    names = [field.name for field in dataclasses.fields(Row)]
    assert names == [*CONTRACT, "group", "failed", "note"]
    columns = list(Ranking(ROWS, PROVENANCE).to_pandas().columns)
    assert columns == [*CONTRACT, "failed", "note"]
    assert list(Ranking((), {}).to_pandas().columns) == columns


def test_the_group_is_a_column_only_where_there_are_several() -> None:
    two = (_row("a", 0.0, group="x"), _row("a", 0.0, group="y"))
    frame = Ranking(two, PROVENANCE).to_pandas()
    assert list(frame.columns) == ["group", *CONTRACT, "failed", "note"]
    assert list(frame["group"]) == ["x", "y"]


def test_pandas_holds_the_rows_values() -> None:
    ranking = Ranking(ROWS, PROVENANCE)
    records = ranking.to_pandas().to_dict("records")
    for row, record in zip(ranking, records, strict=True):
        for name, value in record.items():
            truth = getattr(row, str(name))
            assert value == truth or (value != value and truth != truth)


def test_the_most_harmful_loss_comes_first_and_failures_last() -> None:
    ranking = Ranking(ROWS, PROVENANCE)
    assert [row.component for row in ranking] == ["a", "b", "c", "bad"]
    assert len(ranking) == 4
    assert ranking.rows[0] is ROWS[3]


def test_order_follows_what_is_better() -> None:
    for metric, order in (("loss", "cba"), ("odd", "acb"), ("unknown", "acb")):
        changed = [dataclasses.replace(row, metric=metric) for row in ROWS[1:]]
        ranking = Ranking(tuple(changed), PROVENANCE)
        assert "".join(row.component for row in ranking) == order


def test_groups_and_metrics_keep_their_order_and_equal_rows_theirs() -> None:
    mixed = (
        _row("a", 0.0, "loss", group="g"),
        _row("b", -0.5, group="g"),
        _row("c", -0.5, group="f"),
        _row("b", 0.25, "loss", group="g"),
        _row("a", -0.5, group="g"),
    )
    ranking = Ranking(mixed, PROVENANCE)
    order = [(row.group, row.metric, row.component) for row in ranking]
    assert order == [
        ("g", "loss", "b"),
        ("g", "loss", "a"),
        ("g", "accuracy", "b"),
        ("g", "accuracy", "a"),
        ("f", "accuracy", "c"),
    ]


def test_top_gives_the_first_rows_of_a_metric() -> None:
    ranking = Ranking((*ROWS, _row("z", 0.5, "loss")), PROVENANCE)
    assert [row.component for row in ranking.top(2)] == ["a", "b"]
    assert [row.component for row in ranking.top()] == ["a", "b", "c", "bad"]
    assert [row.component for row in ranking.top(metric="loss")] == ["z"]
    assert ranking.top(0) == ranking.top(-1) == ()
    assert Ranking((), {}).top() == ()
    with pytest.raises(SurgeryError, match="no metric 'f1'; it has accuracy, loss"):
        ranking.top(metric="f1")


def test_a_ranking_prints_as_a_table_that_explains_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "110")
    ranking = Ranking(ROWS[1:], PROVENANCE)
    expected = """\
resnet: accuracy without each component (mode zero); baseline 0.7500 on 400 samples

             accuracy
component  without it   change  95 % interval                                             p  verdict
─────────────────────────────────────────────────────────────────────────────────────────────────────────
a              0.2500  -0.5000  [-0.5500, -0.4500]   ░░▓▓██████████████████│         <0.001  important
b              0.7500   0       [-0.0500, +0.0500]                       ░░│░░        0.800  inconclusive
c              0.8750  +0.1250  [+0.0750, +0.1750]                         │███▓▓░░  <0.001  harmful

bar: █ to the near end of the interval, ▓ to the change, ░ to the far end.
change: accuracy without the component, minus baseline; below zero, the model does worse without it.
interval: 95 %, each row on its own; p: corrected for the number of comparisons (holm).
verdict important: the model is clearly worse without it; harmful: the model is clearly better without it;
inconclusive: these data cannot tell."""  # noqa: E501 (it is what is printed)
    assert str(ranking) == repr(ranking) == expected


def test_what_differs_between_rows_gets_a_column() -> None:
    plain = Ranking(ROWS[1:], PROVENANCE).render(120, False)
    for word in ("effect", "baseline  ", "failed\n", "note"):
        assert word not in plain.splitlines()[3]
    odd = _row("d", 0.0, effect="local", n=7, failed=3, note="adapter", baseline=0.5)
    text = Ranking((*ROWS[1:], odd), PROVENANCE).render(160, False)
    head = text.splitlines()[3].split()
    for word in ("baseline", "effect", "n", "samples", "note"):
        assert word in head
    assert "baseline by row" in text
    assert "local: it changed the component's output, not the model's" in text
    fewer = Ranking((_row("d", 0.0, n=7), *ROWS[1:]), PROVENANCE).render(120, False)
    assert "baseline 0.7500 on up to 400 samples" in fewer


def test_each_group_has_a_table_and_each_metric_a_section() -> None:
    some = (
        _row("a", -0.5, group="x"),
        _row("a", 0.5, "loss", group="x"),
        _row("a", 0.0, "odd", group="y"),
    )
    text = Ranking(some, {**PROVENANCE, "dial": 0.5}).render(160, False)
    assert text.count("component ") == 2
    assert "x. resnet: accuracy and loss without a (mode zero, dial 0.5); " in text
    assert "baseline accuracy 0.7500 on 400 samples; baseline loss 0.7500" in text
    assert "higher is better for accuracy; lower is better for loss." in text
    assert "y. resnet: odd without a" in text


def test_a_metric_where_lower_is_better_says_so() -> None:
    text = Ranking((_row("a", 0.5, "loss"),), PROVENANCE).render(160, False)
    assert "minus baseline; above zero, the model does worse without it." in text
    plain = {**PROVENANCE, "correction": "none"}
    text = Ranking((_row("a", 0.5, "odd"),), plain).render(160, False)
    assert "change: odd without the component, minus baseline." in text
    assert "p: not corrected for the number of comparisons" in text


def test_what_was_skipped_or_failed_is_shown_below_the_table() -> None:
    provenance = PROVENANCE | {
        "skipped": [{"component": "s", "cause": "no [red]adapter"}],
        "failures": [
            {"component": f"c{i // 3}", "sample": i, "cause": "boom\nbang"}
            for i in range(21)
        ],
    }
    ranking = Ranking(ROWS, provenance)
    text = ranking.render(120, False)
    assert "Skipped: 1 component.\n  s: no [red]adapter\n" in text
    assert "Failed only without the component: 21 samples, counted against it." in text
    assert "  c0: boom bang (3 samples)" in text
    assert "  and 2 more in ranking.failures" in text
    assert ranking.skipped == ({"component": "s", "cause": "no [red]adapter"},)
    assert [one["sample"] for one in ranking.failures] == list(range(21))
    assert Ranking(ROWS, {}).failures == ()


def test_an_empty_ranking_prints() -> None:
    assert str(Ranking((), {})).startswith("model: nothing ranked\n")


def test_names_of_users_are_not_markup() -> None:
    name = "[bold]x[/]"
    ranking = Ranking(
        (_row(name, -0.5, name, group=name, note=name),), {"model": name, "mode": name}
    )
    for color in (True, False):
        assert ranking.render(200, color).count(name) >= 6


def test_rich_prints_a_ranking_in_colour() -> None:
    from rich.console import Console

    stream = io.StringIO()
    Console(file=stream, force_terminal=True, width=100).print(Ranking(ROWS, {}))
    assert "\x1b[1mimportant" in stream.getvalue()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(rows, max_size=4))
def test_a_saved_ranking_loads_exactly_and_fits_its_schema(
    tmp_path: Path, rows: list[Row]
) -> None:
    path = tmp_path / "ranking.json"
    provenance = {**PROVENANCE, "plan": (1, NAN), "n": np.int64(3)}
    ranking = Ranking(tuple(rows), provenance)
    ranking.save(path)
    loaded = Ranking.load(path)
    assert [repr(row) for row in loaded] == [repr(row) for row in ranking]
    assert loaded.provenance == ranking.provenance
    assert ranking.provenance["plan"] == [1, "NaN"]
    jsonschema.Draft202012Validator(_schema()).validate(_json(path.read_text()))


def test_the_schema_is_itself_valid_and_refuses_other_rows(tmp_path: Path) -> None:
    schema = _schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    Ranking(ROWS, PROVENANCE).save(tmp_path / "r.json")
    document = _json((tmp_path / "r.json").read_text())
    for name, value in (("verdict", "maybe"), ("delta", "x"), ("n", -1), ("new", 1)):
        broken = {**document, "rows": [{**document["rows"][0], name: value}]}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema)


def test_every_older_version_has_its_schema_and_upgrader() -> None:
    assert set(FILE.upgraders) == set(range(1, FILE.version))
    folder = importlib.resources.files("surgery.report") / "schemas"
    for version in range(1, FILE.version + 1):
        assert (folder / f"ranking-{version}.json").is_file()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: d.pop("rows"), "lacks its rows or its provenance"),
        (lambda d: d.update(provenance=[]), "lacks its rows or its provenance"),
        (lambda d: d["rows"][0].pop("delta"), "a row cannot be read .it has the fi"),
        (lambda d: d["rows"][0].update(x=1), "a row cannot be read .it has the fi"),
        (lambda d: d["rows"].append(3), "it has the fields of no row"),
        (lambda d: d["rows"][0].update(delta=None), "got None where float belongs"),
        (lambda d: d["rows"][0].update(delta="x"), "could not convert string"),
        (lambda d: d["rows"][0].update(n=1.5), "got 1.5 where int belongs"),
        (lambda d: d["rows"][0].update(verdict="x"), "got 'x' where Verdict belongs"),
        (lambda d: d.update(version=99), "version 99.*pip install --upgrade"),
        (lambda d: d.update(kind="x"), "is not a saved surgery.Ranking"),
    ],
)
def test_a_damaged_file_says_what_is_wrong(
    tmp_path: Path, damage: Callable[[Any], object], message: str
) -> None:
    path = tmp_path / "ranking.json"
    Ranking(ROWS, PROVENANCE).save(path)
    document = json.loads(path.read_text())
    damage(document)
    path.write_text(json.dumps(document))
    with pytest.raises(SurgeryError, match=message):
        Ranking.load(path)


def test_provenance_that_cannot_be_saved_is_refused_at_once() -> None:
    with pytest.raises(SurgeryError, match="only plain values can be saved"):
        Ranking((), {"plan": object()})  # type: ignore[dict-item]


def test_a_plot_shows_one_metric_with_fill_by_verdict() -> None:
    ranking = Ranking((*ROWS, _row("z", 0.5, "loss")), PROVENANCE)
    figure = ranking.plot()
    axes = figure.axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["a", "b", "c", "bad"]
    widths = [patch.get_width() for patch in axes.patches]  # type: ignore[attr-defined]
    assert widths == [-0.5, 0.0, 0.125]
    assert [text.get_text() for text in axes.texts] == ["failed"]
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert told == [
        "important: worse without it",
        "harmful: better without it",
        "inconclusive",
    ]
    assert ranking.plot("loss").axes[0].get_xlabel() == "change of loss"
    with pytest.raises(SurgeryError, match="has no metric 'x'"):
        ranking.plot("x")


def test_tensorboard_reads_back_the_table(tmp_path: Path) -> None:
    ranking = Ranking((*ROWS, _row("a", 0.5, "loss")), PROVENANCE)
    ranking.to_tensorboard(tmp_path)
    root = _read(tmp_path)
    finite = [row for row in ranking if row.verdict != "failed"]
    tags = {
        f"{row.metric} {quantity}/{row.component}": getattr(row, quantity)
        for row in finite
        for quantity in ("delta", "value")
    }
    assert {t: root.Scalars(t)[0].value for t in root.Tags()["scalars"]} == {
        tag: np.float32(value) for tag, value in tags.items()
    }
    assert root.Tags()["images"] == ["accuracy/bars", "loss/bars"]
    (text,) = root.Tensors("ranking/text_summary")
    table = text.tensor_proto.string_val[0].decode()
    assert "| a | accuracy | 0.2500 | -0.5000 | &#91;-0.5500, -0.4500&#93; |" in table

    found: dict[str, dict[str, Any]] = {}
    for run in (tmp_path / "components").iterdir():
        reader = _read(run)
        content = reader.SummaryMetadata("_hparams_/session_start_info")
        start = HParamsPluginData.FromString(content.plugin_data.content)
        hparams = start.session_start_info.hparams
        name = hparams["component"].string_value
        assert hparams["mode"].string_value == "zero"
        assert hparams["dial"].number_value == 1.0
        found[name] = {t: reader.Scalars(t)[0].value for t in reader.Tags()["scalars"]}
        found[name]["verdict"] = hparams["verdict accuracy"].string_value
    truth: dict[str, dict[str, Any]] = {row.component: {} for row in ranking}
    for row in ranking:
        for quantity in ("delta", "value", "low", "high", "p_adjusted"):
            if not math.isnan(getattr(row, quantity)):
                tag = f"{row.metric}/{quantity}"
                truth[row.component][tag] = np.float32(getattr(row, quantity))
        if row.metric == "accuracy":
            truth[row.component]["verdict"] = row.verdict
    assert found == truth


def test_tensorboard_names_the_group_where_there_are_several(tmp_path: Path) -> None:
    two = (_row("a", 0.25, group="x"), _row("a", -0.25, group="y"))
    Ranking(two, PROVENANCE).to_tensorboard(tmp_path)
    assert _read(tmp_path).Tags()["scalars"] == [
        "x/accuracy delta/a",
        "x/accuracy value/a",
        "y/accuracy delta/a",
        "y/accuracy value/a",
    ]


def _read(folder: Path) -> Any:
    sizes = {"scalars": 0, "images": 0, "tensors": 0}
    reader: Any = EventAccumulator(str(folder), size_guidance=sizes)
    reader.Reload()
    return reader
