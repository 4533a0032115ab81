"""Tables in the console."""

import io
import sys
from typing import Any

import pytest

from surgery.report import Column, Table, draw, render

TABLE = Table(
    "A title",
    (
        Column("name", header="component", styles={"gelu": "red"}),
        Column("delta", "signed", "change"),
        Column("bar", "bar", "", "bar: help."),
        Column("n", "integer"),
    ),
    (
        {"name": "layer1.0", "delta": -0.5, "bar": (-0.5, -0.5, -0.5), "n": 1234},
        {"name": "gelu", "delta": 0.25, "bar": (0.25, 0.0, 0.25), "n": 7},
    ),
    "Below.\n  indented",
)


def test_a_table_is_plain_text_at_a_fixed_width() -> None:
    assert render(TABLE, width=44, color=False) == "\n".join(
        [
            "A title",
            "",
            "component   change                         n",
            "─" * 44,
            "layer1.0   -0.5000   ██████████│       1,234",
            "gelu       +0.2500             │▓▓▓▓▓      7",
            "",
            "bar: help.",
            "Below.",
            "  indented",
        ]
    )


def test_a_narrow_terminal_loses_the_bar_before_any_number() -> None:
    assert render(TABLE, width=30, color=False) == "\n".join(
        [
            "A title",
            "",
            "component   change      n",
            "─────────────────────────",
            "layer1.0   -0.5000  1,234",
            "gelu       +0.2500      7",
            "",
            "Below.",
            "  indented",
        ]
    )


@pytest.mark.parametrize("width", [1, 10, 20, 40, 80, 200])
def test_wide_names_are_folded_and_numbers_never_cut(width: int) -> None:
    name = "encoder.layers.stage3.blocks.17.attention.self.query.lora.weight"
    columns = (Column("name"), Column("delta", "signed"), Column("n", "integer"))
    rows = ({"name": name, "delta": -0.5, "n": 1234567},)
    text = render(Table("", columns, rows), width=width, color=False)
    body = text.splitlines()[2:]
    assert "-0.5000" in body[0]
    assert "1,234,567" in body[0]
    assert "".join(line.split()[0] for line in body) == name


def test_markup_and_escape_sequences_of_users_are_shown_as_they_are() -> None:
    table = Table(
        "[bold]title[/bold]",
        (Column("name", header="[red]head[/red]"),),
        ({"name": "[link=x]a[/link] :smile: \x1b[31m"}, {"name": "[/]"}),
        "[blink]caption[/blink]\x07",
    )
    for color in (False, True):
        text = render(table, width=80, color=color)
        for part in ("[bold]title[/bold]", "[red]head[/red]", "[blink]caption[/blink]"):
            assert part in text
        assert "[link=x]a[/link] :smile: \\x1b[31m" in text
        assert "[/]" in text
        assert "\x07" not in text
        assert "\x1b[31m" not in text


def test_colours_are_used_only_where_asked_or_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "\x1b[31mgelu" in render(TABLE, width=60, color=True)
    assert "\x1b" not in render(TABLE, width=60, color=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" not in render(TABLE, width=60, color=False)
    terminal: Any = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stdout", terminal)
    assert "\x1b" in render(TABLE, width=60)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert "\x1b" not in render(TABLE, width=60)


def test_the_width_is_the_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    assert render(TABLE, color=False) == render(TABLE, width=30, color=False)


def test_standard_output_without_block_characters_gets_ascii(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "ascii"))
    text = render(TABLE, width=60, color=False)
    assert text.isascii()
    assert "#|" in text


def test_sections_have_a_line_between_them_and_a_scale_each() -> None:
    columns = (Column("metric"), Column("bar", "bar"))
    rows = (
        {"metric": "a", "bar": (100.0, 100.0, 100.0)},
        {"metric": "b", "bar": (1.0, 1.0, 1.0)},
    )
    text = render(Table("", columns, rows, section="metric"), width=40, color=False)
    assert text.splitlines()[2:] == [f"a       │{'█' * 30}", "", f"b       │{'█' * 30}"]


def test_missing_values_are_dashes_and_decimal_points_align() -> None:
    columns = (Column("name"), Column("p", "p"), Column("x", "number"))
    rows = (
        {"name": "a", "p": 0.0001, "x": 12.5},
        {"name": None, "p": 0.25, "x": 0},
        {"name": "b"},
    )
    assert render(Table("", columns, rows), width=80, color=False) == "\n".join(
        [
            "name       p        x",
            "─────────────────────",
            "a     <0.001  12.5000",
            "–      0.250   0",
            "b      –       –",
        ]
    )


def test_rich_can_print_a_drawn_table() -> None:
    from rich.console import Console

    console = Console(file=io.StringIO(), width=60)
    console.print(draw(TABLE, 60))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    assert "layer1.0" in text
