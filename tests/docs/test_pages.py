"""The documentation: its examples run, its table is the code's, its links lead."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import surgery
from surgery.ops import KIND_MODES
from tests.docs import titanic

ROOT = Path(surgery.__file__).parent.parent
DOCS = ROOT / "surgery" / "docs"
PAGES = [ROOT / "README.md", *sorted((DOCS / "pages").glob("*.md"))]


def examples(page: Path) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def namespace() -> dict[str, object]:
    """What the examples take as given: a trained ResNet, its data, functions."""
    torch.manual_seed(0)
    model: nn.Module = timm.create_model(
        "resnet18", channels=(4, 4, 8, 8), in_chans=1, num_classes=10
    )
    nn.init.ones_(model.get_parameter("layer2.0.bn2.weight"))
    x, y = torch.randn(24, 1, 32, 32), torch.randint(10, (24,))
    loader = DataLoader(TensorDataset(x, y), batch_size=8)

    def evaluate(model: nn.Module) -> float:
        with torch.no_grad():
            return float((model(x).argmax(1) == y).float().mean())

    given = {"model": model.eval(), "x": x, "loader": loader, "evaluate": evaluate}
    of_studies = {n: getattr(titanic, n) for n in ("train", "make_model", "make_data")}
    return {**given, **of_studies, "surgery": surgery}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_examples_of_a_page_run_in_order(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = namespace()
    for example in examples(page):
        exec(compile(example, str(page), "exec"), given)


def test_there_are_examples_to_run() -> None:
    assert sum(len(examples(page)) for page in PAGES) >= 8


def test_the_readme_runs_before_line_30() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert any("surgery demo" in line or "make demo" in line for line in lines[:30])


def test_the_table_of_kinds_and_modes_is_that_of_the_code() -> None:
    hooks = runpy.run_path(str(DOCS / "hooks.py"))
    page = (DOCS / "pages" / "operations.md").read_text(encoding="utf-8")
    rendered: str = hooks["on_page_markdown"](page)
    header, _, *rows = [
        [cell.strip() for cell in line.strip("| ").split(" | ")]
        for line in hooks["kind_mode_table"]().splitlines()
    ]
    assert hooks["TABLE"] in page and hooks["TABLE"] not in rendered
    assert set(header) - {""} == {m for row in KIND_MODES.values() for m in row}
    assert {row[0] for row in rows} == set(KIND_MODES)
    said = rendered.count("| yes")
    assert said == sum(len(row) for row in KIND_MODES.values())


def test_the_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    program = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    where = ["--config-file", f"{DOCS}/mkdocs.yml", "--site-dir", str(tmp_path)]
    done = subprocess.run(
        [*program, *where],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "parameter" in (tmp_path / "operations.html").read_text(encoding="utf-8")
