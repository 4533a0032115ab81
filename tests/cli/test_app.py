"""The program as a user calls it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import surgery
from surgery.cli._app import app

RESNET = "timm:resnet10t?in_chans=1&num_classes=10"
SMALL = ["--input-size", "32", "--limit", "20", "--no-progress"]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "100"})


def test_the_version_is_printed() -> None:
    assert run("--version").output.strip() == surgery.__version__


@pytest.mark.parametrize("command", ["components", "rank"])
def test_help_shows_examples(command: str) -> None:
    output = run(command, "--help").output
    assert "Examples" in output and f"surgery {command} timm:resnet18" in output


def test_components_prints_a_table() -> None:
    result = run("components", RESNET, "--input-size", "32")
    assert result.exit_code == 0, result.output
    assert re.search(r"^layer3\.0 +module +BasicBlock", result.stdout, re.MULTILINE)


def test_components_prints_json_and_nothing_else() -> None:
    result = run("components", RESNET, "--input-size", "32", "--json")
    rows = {row["component"]: row for row in json.loads(result.stdout)}
    assert rows["layer3.0"]["output_shape"] == [1, 256, 2, 2]
    assert rows["layer3.0"]["kind"] == "module"


def test_components_lists_the_kinds_asked_for() -> None:
    result = run("components", RESNET, "--kind", "parameter", "--json")
    rows = json.loads(result.stdout)
    assert {row["kind"] for row in rows} == {"parameter"}


def test_components_of_a_model_of_ones_own_take_an_input_shape() -> None:
    linear = "timm.layers:Mlp?in_features=3&hidden_features=4&out_features=2"
    asked = run("components", linear)
    assert asked.exit_code == 2 and "--input-shape 1,16" in asked.stderr
    result = run("components", linear, "--input-shape", "5,3", "--json")
    rows = {row["component"]: row for row in json.loads(result.stdout)}
    assert rows["fc2"]["output_shape"] == [5, 2]
    wrong = run("components", linear, "--input-shape", "a,b")
    assert wrong.exit_code == 2 and "is not a shape" in wrong.stderr


def test_rank_prints_a_table_and_warns_of_random_weights() -> None:
    result = run("rank", RESNET, "digits", "layer3.*", "layer4", *SMALL)
    assert result.exit_code == 0, result.output
    assert "layer3.0" in result.stdout and "accuracy" in result.stdout
    assert "random weights" in result.stderr


def test_rank_writes_json_logs_and_a_file_that_loads(tmp_path: Path) -> None:
    result = run(
        "rank",
        RESNET,
        "digits",
        "layer4.*",
        *SMALL,
        *("--mode", "identity", "--dial", "0.5", "--seed", "3"),
        *("--metric", "accuracy", "--metric", "cross_entropy"),
        *("--confidence", "0.9", "--correction", "bonferroni"),
        *("--save", str(tmp_path / "r.json"), "--tensorboard", str(tmp_path / "tb")),
        "--json",
    )
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert printed == json.loads((tmp_path / "r.json").read_text())
    ranking = surgery.Ranking.load(tmp_path / "r.json")
    assert [row.metric for row in ranking] == ["accuracy", "cross_entropy"]
    told = ranking.provenance
    assert (told["confidence"], told["correction"]) == (0.9, "bonferroni")
    assert (told["dial"], told["seed"]) == (0.5, 3)
    assert list((tmp_path / "tb").rglob("*tfevents*"))


def test_a_rank_by_hand_and_one_by_the_program_agree(tmp_path: Path) -> None:
    from surgery.cli._models import load_model
    from surgery.demos import load_digits

    spec = "torchvision:squeezenet1_1?num_classes=10"
    model = load_model(spec)
    from safetensors.torch import save_file

    save_file(model.state_dict(), tmp_path / "w.safetensors")
    weights = ("--checkpoint", str(tmp_path / "w.safetensors"))
    size = ("--input-size", "32", "--no-progress", "--json")
    metric = ("--metric", "cross_entropy")
    result = run("rank", spec, "digits", "features.6", *weights, *size, *metric)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    pair = load_digits("test", size=(32, 32), channels=3, mean=mean, std=std)
    ranking = surgery.rank(
        model, pair, "features.6", metric="cross_entropy", progress=False
    )
    (row,) = json.loads(result.stdout)["rows"]
    assert row["value"] == pytest.approx(ranking.rows[0].value, abs=1e-6)
    assert row["n"] == 450


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([RESNET, "digits", "layer9"], "layer9"),
        ([RESNET, "digits", "layer1", "--metric", "acuracy"], "acuracy"),
        ([RESNET, "nothing", "layer1"], "does not name data"),
        (["timm:resnt18", "digits", "layer1"], "nearest: resnet18"),
        ([RESNET, "digits", "layer1", "--confidence", "1.5"], "confidence"),
        ([RESNET, "digits", "layer1", "--checkpoint", "no.pt"], "no checkpoint"),
    ],
)
def test_a_users_error_is_one_line_and_exit_code_2(
    arguments: list[str], message: str
) -> None:
    result = run("rank", *arguments, *SMALL)
    assert result.exit_code == 2
    lines = [x for x in result.stderr.splitlines() if not x.startswith("warning:")]
    assert len(lines) == 1 and lines[0].startswith("error: ") and message in lines[0]
    assert result.stdout == ""


def test_debug_shows_the_traceback() -> None:
    result = run("--debug", "components", "timm:resnt18")
    assert isinstance(result.exception, surgery.errors.SurgeryError)


def test_the_console_script_runs_beside_the_users_own_modules(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "def make():\n"
        "    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))\n"
    )
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "d.npz", x=rng.random((30, 4)), y=rng.integers(0, 2, 30))
    program = Path(sys.executable).parent / "surgery"
    done = subprocess.run(
        [program, "rank", "mine:make", "npz:d.npz", "**[Linear]", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert {row["component"] for row in rows} == {"0", "2"}
