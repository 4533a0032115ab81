"""Tables as LaTeX: every character from users is text, never a command."""

import re

from hypothesis import given
from hypothesis import strategies as st

from surgery.report import Column, Table, latex, printable
from surgery.report._latex import _SPECIAL


def test_a_table_is_a_booktabs_table() -> None:
    table = Table(
        "100 % of fc_1",
        (
            Column("arm"),
            Column("delta", "signed", "the\nchange"),
            Column("interval", "interval"),
            Column("bar", "bar"),
        ),
        (
            {"arm": "fc_1", "delta": -0.5, "interval": (-1.0, 0.25), "s": 1},
            {"arm": "[b]", "delta": None, "s": 2},
        ),
        section="s",
    )
    assert latex(table, label="tab:a").splitlines() == [
        r"\begin{table}",
        r"  \centering",
        r"  \caption{100 \% of fc\_1}",
        r"  \label{tab:a}",
        r"  \begin{tabular}{lrr}",
        r"    \toprule",
        r"    arm & the change & interval \\",
        r"    \midrule",
        r"    fc\_1 & $-$0.5000 & [$-$1.0000, +0.2500] \\",
        r"    \midrule",
        r"    {}[b] & -- & -- \\",
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]


@given(st.text())
def test_any_text_comes_back_from_its_escapes(text: str) -> None:
    table = Table("", (Column("other"), Column("name")), ({"other": 1, "name": text},))
    row = latex(table).splitlines()[6]
    cell = row.removeprefix("    1 & ").removesuffix(r" \\")
    back = {escaped: char for char, escaped in _SPECIAL.items()}
    pattern = "|".join(map(re.escape, sorted(back, key=len, reverse=True)))
    plain = re.sub(pattern, lambda match: back[match[0]], cell)
    assert plain.replace("–", "--") == printable(text).replace("–", "--")
