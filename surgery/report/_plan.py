"""The plan of a sweep as a table: what was chosen for speed, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from surgery.report._table import Column, Table

_COLUMNS = (
    Column("batch", "integer", help="samples in a batch"),
    Column("stack", "integer", help="variants computed together"),
    Column("passes", "integer", help="programs per batch, each with its baseline"),
    Column("layout", help="in which images and kernels of convolutions lie"),
    Column("megabytes", "number", help="the most that values take at once"),
    Column("gigaflops", "number", help="operations per batch, all variants"),
    Column("over_least", "number", "over\nleast", help="of the least operations"),
)


def plan_table(plan: Mapping[str, Any]) -> Table:
    """What `provenance["plan"]` says, for people."""
    rows = [_row(plan, size) for size in plan.get("stack", {})]
    since = plan.get("since")
    how = f"evaluated: {plan['evaluator']}"
    if since:
        how += f", from batch {since} on (counted from 0)"
    notes: Sequence[str] = plan.get("notes", ())
    return Table(
        title=f"Plan for {len(plan.get('order', ()))} variants",
        columns=_COLUMNS,
        rows=tuple(rows),
        caption="\n".join([how, *notes]),
    )


def _row(plan: Mapping[str, Any], size: str) -> dict[str, object]:
    def at(name: str) -> Any:
        return plan.get(name, {}).get(size)

    least, flops, peak = at("least_flops"), at("flops"), at("peak_bytes")
    return {
        "batch": int(size),
        "stack": at("stack"),
        "passes": at("passes"),
        "layout": "channels last" if at("channels_last") else "as given",
        "megabytes": (peak + (at("copied_bytes") or 0)) / 1e6 if peak else None,
        "gigaflops": flops / 1e9 if flops else None,
        "over_least": flops / least if flops and least else None,
    }
