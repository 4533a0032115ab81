"""What is shipped: built once, from the source as a release would be."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import surgery

ROOT = Path(surgery.__file__).parent.parent
pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from it."""
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return out


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


def files_of(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_name_and_version_are_those_of_the_source(built: Path) -> None:
    names = {path.name for path in built.iterdir()}
    version = surgery.__version__
    assert names == {
        f"torch_surgery-{version}.tar.gz",
        f"torch_surgery-{version}-py3-none-any.whl",
    }


def test_the_wheel_holds_two_packages_and_nothing_beside(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in files_of(wheel)}
    info = f"torch_surgery-{surgery.__version__}.dist-info"
    assert tops == {"surgery", "surgery_backends", info}


def test_every_file_of_the_source_is_in_the_wheel(wheel: Path) -> None:
    expected: set[str] = set()
    for folder in (ROOT / "surgery", ROOT / "backends" / "surgery_backends"):
        for file in folder.rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                expected.add(file.relative_to(folder.parent).as_posix())
    shipped = {name for name in files_of(wheel) if "dist-info" not in name}
    assert shipped == expected
    assert {"surgery/py.typed", "surgery_backends/py.typed"} <= shipped
    assert any(name.endswith(".json") and "schemas" in name for name in shipped)


def test_the_wheel_passes_the_contents_check(wheel: Path) -> None:
    program = Path(sys.executable).parent / "check-wheel-contents"
    subprocess.run([program, wheel], check=True, cwd=ROOT)


def test_the_metadata_names_program_licence_and_extra(wheel: Path) -> None:
    info = f"torch_surgery-{surgery.__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"{info}/METADATA").decode()
        programs = archive.read(f"{info}/entry_points.txt").decode()
        licence = archive.read(f"{info}/licenses/LICENSE").decode()
    assert "License-Expression: Apache-2.0" in metadata
    assert "Requires-Python: >=3.11" in metadata
    assert "Provides-Extra: hf" in metadata
    assert "surgery = surgery.cli:main" in programs
    assert "Apache License" in licence


def test_the_source_archive_holds_the_tests_and_no_build_products(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    assert {"pyproject.toml", "LICENSE", "Makefile", "tests/conftest.py"} <= set(names)
    assert not [
        n for n in names if "__pycache__" in n or n.startswith((".venv", "runs"))
    ]


def test_the_wheel_runs_beside_a_users_own_backends_package(
    wheel: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    own = tmp_path / "work" / "backends"
    own.mkdir(parents=True)
    (own / "__init__.py").write_text("raise RuntimeError('the user own package')\n")
    code = (
        "import torch, surgery, pathlib\n"
        "assert 'site' in pathlib.Path(surgery.__file__).parts\n"
        "model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.ReLU()).eval()\n"
        "with surgery.ablate(model, '0'):\n"
        "    print(model(torch.ones(2, 3)).abs().sum().item())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "work",
        env={"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
    )
    assert (done.stdout.strip(), done.returncode) == ("0.0", 0), done.stderr
