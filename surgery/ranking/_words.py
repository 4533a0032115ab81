"""What stands above and below a ranking's table, for people who read no docs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from surgery.report import JSONValue, format_value, printable

if TYPE_CHECKING:
    from surgery.ranking._row import Ranked, Row

SHOWN = 5  # causes listed below a table; the rest is counted
_VERDICTS = {
    "important": "the model is clearly worse without it",
    "harmful": "the model is clearly better without it",
    "inconclusive": "these data cannot tell",
    "failed": "it could not be measured",
}
_EFFECTS = {
    "none": "the operation changed nothing",
    "local": "it changed the component's output, not the model's",
    "full": "it changed the model's output",
}


def headline(ranking: Ranked, rows: Sequence[Row], group: str) -> str:
    """Model, metric, what was done, and the baseline with its samples."""
    model = ranking.provenance.get("model")
    model = model.get("name") if isinstance(model, dict) else model
    metrics = list(dict.fromkeys(row.metric for row in rows))
    parts = {row.component for row in rows}
    what = f"without {'each component' if len(parts) > 1 else ''.join(parts)}"
    mode, dial = ranking.provenance.get("mode"), ranking.provenance.get("dial")
    done = f"mode {mode}" if isinstance(mode, str) else ""
    if isinstance(dial, int | float) and dial != 1:
        done += f"{', ' if done else ''}dial {dial:g}"
    head = f"{model or 'model'}: {' and '.join(metrics) or 'nothing ranked'}"
    head += f" {what}" if metrics else ""
    head += f" ({done})" if done else ""
    head = f"{group}. {head}" if group else head
    return "; ".join([head, *(_baseline(rows, metric, metrics) for metric in metrics)])


def _baseline(rows: Sequence[Row], metric: str, metrics: Sequence[str]) -> str:
    mine = [row for row in rows if row.metric == metric]
    name = f"baseline {metric}" if len(metrics) > 1 else "baseline"
    baselines = {format_value(row.baseline, "number") for row in mine}
    if len(baselines) > 1:
        return f"{name} by row"
    counts = {row.n for row in mine}
    samples = "" if len(counts) == 1 else "up to "
    return f"{name} {baselines.pop()} on {samples}{_count(max(counts), 'sample')}"


def caption(ranking: Ranked, rows: Sequence[Row]) -> str:
    """How to read the table, and what is missing from it."""
    lines = [_change(ranking, rows), _evidence(ranking)] if rows else []
    lines += _present("verdict", _VERDICTS, rows)
    if any(row.effect != "full" for row in rows):
        lines += _present("effect", _EFFECTS, rows)
    if ranking.skipped:
        lines.append(f"Skipped: {_count(len(ranking.skipped), 'component')}.")
        lines += _causes(ranking.skipped, "ranking.skipped", "")
    if ranking.failures:
        lines.append(
            "Failed only without the component: "
            f"{_count(len(ranking.failures), 'sample')}, counted against it."
        )
        lines += _causes(ranking.failures, "ranking.failures", "sample")
    return "\n".join(lines)


def _change(ranking: Ranked, rows: Sequence[Row]) -> str:
    metrics = list(dict.fromkeys(row.metric for row in rows))
    better = ranking.provenance.get("higher_is_better")
    better = better if isinstance(better, dict) else {}
    ups = [better.get(metric) for metric in metrics]
    name = metrics[0] if len(metrics) == 1 else "the metric"
    line = f"change: {name} without the component, minus baseline"
    if all(up is True for up in ups):
        return f"{line}; below zero, the model does worse without it."
    if all(up is False for up in ups):
        return f"{line}; above zero, the model does worse without it."
    for up, way in ((True, "higher"), (False, "lower")):
        named = [metric for metric in metrics if better.get(metric) is up]
        line += f"; {way} is better for {', '.join(named)}" if named else ""
    return f"{line}."


def _evidence(ranking: Ranked) -> str:
    confidence = ranking.provenance.get("confidence")
    correction = ranking.provenance.get("correction")
    parts: list[str] = []
    if isinstance(confidence, float):
        parts.append(f"interval: {100 * confidence:g} %, each row on its own")
    if isinstance(correction, str) and correction != "none":
        parts.append(f"p: corrected for the number of comparisons ({correction})")
    else:
        parts.append("p: not corrected for the number of comparisons")
    return "; ".join(parts) + "."


def _present(name: str, words: Mapping[str, str], rows: Sequence[Row]) -> list[str]:
    found = {getattr(row, name) for row in rows}
    told = [f"{word}: {meaning}" for word, meaning in words.items() if word in found]
    return [f"{name} {'; '.join(told)}."] if told else []


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _causes(
    records: Sequence[Mapping[str, JSONValue]], where: str, noun: str
) -> list[str]:
    """A line for each component and cause, since one bug fails many samples."""
    texts = (f"{one.get('component')}: {one.get('cause')}" for one in records)
    counts = Counter(map(printable, texts))
    lines = [
        f"  {text} ({_count(count, noun)})" if noun else f"  {text}"
        for text, count in counts.most_common(SHOWN)
    ]
    more = len(counts) - SHOWN
    return [*lines, f"  and {more:,} more in {where}"] if more > 0 else lines
