"""Tables as Markdown, read back through TensorBoard's own renderer."""

import html
import re
import warnings

from hypothesis import given
from hypothesis import strategies as st

from surgery.report import Column, Table, markdown, printable

with warnings.catch_warnings():
    # TensorBoard's copy of bleach warns on import that its html5lib is old.
    warnings.simplefilter("ignore", DeprecationWarning)
    from tensorboard.plugin_util import markdown_to_safe_html

NASTY = r"<script>alert(1)</script> [a](http://x) **b** `c` | \| re:l\d+_x_ $y$ &amp;"


def _cells(text: str) -> list[str]:
    found = re.findall(r"<td[^>]*>(.*?)</td>", text, flags=re.DOTALL)
    return [html.unescape(cell) for cell in found]


def test_a_table_is_plain_markdown() -> None:
    table = Table(
        "A title",
        (Column("name"), Column("delta", "signed"), Column("bar", "bar")),
        ({"name": "layer1.0", "delta": -0.5, "bar": (1, 1, 1)},),
        "Below.\n  more",
    )
    assert markdown(table) == (
        "**A title**\n\n| name | delta |\n| --- | ---: |\n| layer1.0 | -0.5000 |\n"
        "\nBelow.\n\nmore\n"
    )


def test_nasty_names_show_as_they_are_and_nothing_else() -> None:
    columns = (Column("name"), Column("n", "integer"))
    table = Table(NASTY, columns, ({"name": NASTY, "n": 1},), NASTY)
    safe = markdown_to_safe_html(markdown(table))
    assert _cells(safe) == [NASTY, "1"]
    assert html.unescape(safe).count(NASTY) == 3
    assert set(re.findall(r"<(\w+)", safe)) <= {
        *("p", "strong", "table", "thead", "tbody", "tr", "th", "td")
    }


@given(st.text(min_size=1, max_size=30))
def test_any_name_survives_in_a_cell(name: str) -> None:
    table = Table("", (Column("name"), Column("n")), ({"name": name, "n": "end"},))
    shown = _cells(markdown_to_safe_html(markdown(table)))
    assert shown == [printable(name), "end"]
