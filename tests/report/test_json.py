"""Saved JSON: strict, versioned, written whole."""

import json
import math
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surgery.errors import SurgeryError
from surgery.report import FileKind, load_json, plain_json, save_json

KIND = FileKind("thing", 1)
values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def _refuse(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


@given(values)
def test_everything_becomes_strict_json_once(value: Any) -> None:
    plain = plain_json(value)
    text = json.dumps(plain, allow_nan=False)
    assert json.loads(text, parse_constant=_refuse) == plain
    assert plain_json(plain) == plain


@given(st.floats())
def test_python_reads_every_number_back(number: float) -> None:
    back = float(plain_json(number))  # type: ignore[arg-type]
    assert back == number or (math.isnan(back) and math.isnan(number))


def test_tuples_arrays_scalars_and_odd_keys_become_plain() -> None:
    value = {1: (np.float32(0.5), np.int64(3)), "b": np.bool_(True), "n": np.nan}
    assert plain_json(value) == {"1": [0.5, 3], "b": True, "n": "NaN"}


@pytest.mark.parametrize("value", [object(), b"x", {1, 2}, np.zeros(3), 1j])
def test_what_is_not_plain_is_refused(value: object) -> None:
    with pytest.raises(SurgeryError, match="only plain values can be saved as JSON"):
        plain_json(value)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "thing.json"
    save_json(path, KIND, {"x": [1.5, math.inf, "ü\ud800"]})
    assert load_json(path, KIND) == {"x": [1.5, "Infinity", "ü\ud800"]}
    assert list(path.parent.iterdir()) == [path]
    document = json.loads(path.read_text(), parse_constant=_refuse)
    assert (document["kind"], document["version"]) == ("thing", 1)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "thing.json"
    save_json(path, KIND, {"x": 1})

    def full(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        save_json(path, KIND, {"x": 2})
    with pytest.raises(SurgeryError, match="only plain values"):
        save_json(path, KIND, {"x": object()})
    assert load_json(path, KIND) == {"x": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="modes and links are POSIX's")
def test_links_and_modes_survive_a_second_save(tmp_path: Path) -> None:
    path, link = tmp_path / "thing.json", tmp_path / "link.json"
    save_json(path, KIND, {"x": 1})
    path.chmod(0o640)
    link.symlink_to(path)
    save_json(link, KIND, {"x": 2})
    assert link.is_symlink()
    assert load_json(path, KIND) == {"x": 2}
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_every_older_version_is_upgraded_step_by_step(tmp_path: Path) -> None:
    path = tmp_path / "thing.json"
    save_json(path, KIND, {"a": 1})
    third = FileKind(
        "thing", 3, {1: lambda b: {"b": b["a"]}, 2: lambda b: {"c": [b["b"]]}}
    )
    assert load_json(path, third) == {"c": [1]}
    save_json(path, FileKind("thing", 2), {"b": 2})
    assert load_json(path, third) == {"c": [2]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "it is not JSON .*; save it again"),
        ("[1]", "is not a saved thing: its kind is None"),
        ('{"kind": "other", "version": 1}', "its kind is 'other'; load it with"),
        ('{"kind": "thing"}', "no usable version, got None"),
        ('{"kind": "thing", "version": true}', "no usable version, got True"),
        ('{"kind": "thing", "version": 0}', "no usable version, got 0"),
        (
            '{"kind": "thing", "version": 2}',
            "version 2, this release knows up to 1.*pip install --upgrade",
        ),
    ],
)
def test_a_file_that_cannot_be_read_says_why(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "thing.json"
    path.write_text(text)
    with pytest.raises(SurgeryError, match=message):
        load_json(path, KIND)


def test_bytes_that_are_no_text_say_so(tmp_path: Path) -> None:
    path = tmp_path / "thing.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SurgeryError, match="it is not JSON"):
        load_json(path, KIND)
