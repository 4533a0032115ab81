"""What TensorBoard is given of curves."""

from __future__ import annotations

from typing import Any

from surgery.report import Session, markdown
from surgery.sensitivity._summary import Summary
from surgery.sensitivity._views import Curved, chart, names_of, tables


def logs(curves: Curved, summary: Summary) -> dict[str, Any]:
    """What `write_tensorboard` takes, by argument.

    The whole result has one group of charts per metric and level; each component is a
    line of the HParams table, with its summaries.
    """
    names = names_of(curves.rows)
    scalars = {
        f"{names[p.group, p.metric]} delta at {p.level:g}/{p.component}": p.delta
        for p in curves.rows
    }
    metrics: dict[str, dict[str, float]] = {}
    for row in summary:
        name = names[row.group, row.metric]
        mine = metrics.setdefault(row.component, {})
        for quantity in ("area", "slope", "critical"):
            for part in ("", "_low", "_high"):
                mine[f"{name}/{quantity}{part}"] = getattr(row, quantity + part)
    perturb = str(curves.provenance.get("perturb", ""))
    sessions = [
        Session(component, {"component": component, "perturb": perturb}, found)
        for component, found in metrics.items()
    ]
    texts = (*tables(curves), *summary.tables())
    return {
        "scalars": scalars,
        "sessions": sessions,
        "figures": {f"{name}/curves": chart(curves, name) for name in names.values()},
        "texts": {"sensitivity": "\n\n".join(map(markdown, texts))},
    }
