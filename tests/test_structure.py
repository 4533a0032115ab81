"""The public door against its list; the direction of imports against their order."""

import ast
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import surgery

ROOT = Path(surgery.__file__).parent
BACKENDS = ROOT.parent / "backends" / "surgery_backends"

DOOR = {
    "Ablation",
    "Component",
    "Components",
    "Engine",
    "Evidence",
    "Excision",
    "Ranking",
    "Scores",
    "Sensitivity",
    "Study",
    "__version__",
    "ablate",
    "components",
    "errors",
    "excise",
    "freeze",
    "ops",
    "rank",
    "synthetic",
    "sensitivity",
}

# Each part imports only from those above it; parts on one line not from each other.
ORDER = (
    ("errors", "_random", "_version", "_versions"),
    ("data", "report", "stats", "synthetic"),
    ("anatomy",),
    ("graphs", "targets"),
    ("ops",),
    ("evaluator",),
    ("backend",),
    ("ablation",),
    ("excision",),
    ("engine",),
    ("measurement",),
    ("ranking",),
    ("sensitivity",),
    ("study",),
    ("testing",),
    ("demos",),
    ("cli", "docs"),
)
# The folders of `study`, likewise; its own files stand above them all.
STUDY_ORDER = (
    ("configs", "columns"),
    ("arms",),
    ("trials",),
    ("storage", "policies", "execution"),
    ("executors", "tracking", "results"),
)
BACKENDS_MAY_IMPORT = {
    "errors",
    "_random",
    "anatomy",
    "graphs",
    "ops",
    "evaluator",
    "backend",
}
# Those on top of the library come in by the door.
PROGRAMS = {"demos", "cli", "docs"}


def rank_of(part: str) -> int:
    for index, parts in enumerate(ORDER):
        if part in parts:
            return index
    raise AssertionError(f"surgery.{part} has no place in the order of imports")


def imported_parts(file: Path) -> set[str]:
    """Top-level names under `surgery` that a file imports; `""` is the door."""
    known = {part for parts in ORDER for part in parts}
    parts: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level == 1:  # a sibling in the same folder
                continue
            assert node.level == 0, f"{file} imports upwards by dots"
            module = node.module or ""
            names = [module]
            if module == "surgery":  # by the door, unless it is a part that is named
                parts_named = {alias.name for alias in node.names} & known
                names = [f"surgery.{name}" for name in parts_named]
                names += ["surgery"] * (len(node.names) > len(parts_named))
        else:
            continue
        for name in names:
            if name.split(".")[0] == "surgery":
                parts.add(name.partition(".")[2].partition(".")[0])
    return parts


def parts_of_surgery() -> dict[str, list[Path]]:
    """The files of each part."""
    found: dict[str, list[Path]] = {}
    for file in sorted(ROOT.rglob("*.py")):
        if file != ROOT / "__init__.py":
            part = file.relative_to(ROOT).parts[0].removesuffix(".py")
            found.setdefault(part, []).append(file)
    return found


def test_the_door_has_the_public_names_and_no_others() -> None:
    public = {
        name
        for name, value in vars(surgery).items()
        if not name.startswith("_")
        and not (isinstance(value, ModuleType) and name not in DOOR)
    }
    assert public | {"__version__"} == DOOR


def test_the_door_only_imports() -> None:
    body = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8")).body
    assert all(isinstance(node, ast.ImportFrom) for node in body[1:])


@pytest.mark.parametrize("part", sorted(parts_of_surgery()))
def test_a_part_imports_only_from_those_before_it(part: str) -> None:
    for file in parts_of_surgery()[part]:
        for other in imported_parts(file) - {part}:
            if other == "":
                assert part in PROGRAMS, f"{file} imports through the door"
            else:
                assert rank_of(other) < rank_of(part), f"{file} imports {other}"


def test_folders_of_study_import_only_from_those_before_them() -> None:
    rank = {name: i for i, names in enumerate(STUDY_ORDER) for name in names}
    for file in sorted((ROOT / "study").rglob("*/*.py")):
        own = file.parent.name
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            if module.startswith("surgery.study"):
                other = module.split(".")[2]
                assert other == own or rank[other] < rank[own], f"{file}: {module}"


def test_backends_import_only_what_is_before_the_seam() -> None:
    for file in sorted(BACKENDS.rglob("*.py")):
        assert imported_parts(file) <= BACKENDS_MAY_IMPORT, file


def test_no_part_of_surgery_imports_the_backends() -> None:
    for file in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] != "surgery_backends", file
            if isinstance(node, ast.Import):
                tops = {alias.name.split(".")[0] for alias in node.names}
                assert "surgery_backends" not in tops, file


def test_every_file_says_what_it_is() -> None:
    for folder in (ROOT, BACKENDS):
        for file in sorted(folder.rglob("*.py")):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            assert ast.get_docstring(tree), f"{file} has no module docstring"


def test_importing_surgery_loads_no_heavy_package() -> None:
    heavy = (
        "timm torchvision transformers torchmetrics sklearn pandas matplotlib "
        "tensorboard typer"
    ).split()
    code = f"import sys, surgery; print([m for m in {heavy!r} if m in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
