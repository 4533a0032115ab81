"""Metrics of whole sequences, each of which returns several named scores."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import torch
from torch import Tensor

from surgery.errors import DataError
from surgery.synthetic._sequences import starts


def segment_scores(
    predicted: Sequence[Tensor], truth: Sequence[Tensor], *, overlap: float = 0.5
) -> dict[str, float]:
    """How well the classes of frames are told, by frame and by segment.

    Args:
        predicted: The class of every frame of each sequence, `(length,)`.
        truth: The true ones.
        overlap: Intersection over union from which a segment counts as found.

    Returns:
        `frames`: the share of frames that are right; `edit`: 1 less the edit distance
        of the sequences of segments over the longer one's length, averaged;
        `segment_f1`: F1 of segments found (Lea et al. 2017, "F1@k").
    """
    _require(predicted, truth)
    right = sum(int((p == t).sum()) for p, t in zip(predicted, truth, strict=True))
    edits: list[float] = []
    hits = found = wanted = 0
    for p, t in zip(predicted, truth, strict=True):
        ours, theirs = _segments(p), _segments(t)
        distance = _distance([c for c, *_ in ours], [c for c, *_ in theirs])
        edits.append(1 - distance / max(len(ours), len(theirs), 1))
        hits += _hits(ours, theirs, overlap)
        found, wanted = found + len(ours), wanted + len(theirs)
    return {
        "frames": right / max(sum(map(len, truth)), 1),
        "edit": statistics.fmean(edits),
        "segment_f1": 2 * hits / max(found + wanted, 1),
    }


def boundary_scores(
    predicted: Sequence[Tensor], truth: Sequence[Tensor], *, tolerance: int = 0
) -> dict[str, float]:
    """How well the beginnings of segments are told; a sequence's first is given.

    Args:
        predicted: Which frames begin a segment, `(length,)` of booleans.
        truth: Which do.
        tolerance: How many frames a beginning may be off.

    Returns:
        `boundary_f1`; and `segments`: 1 less the mean difference between the number of
        segments told and the true one, over the true one, and at least 0.
    """
    _require(predicted, truth)
    hits = found = wanted = 0
    counts: list[float] = []
    for p, t in zip(predicted, truth, strict=True):
        ours = [int(i) + 1 for i in p[1:].nonzero()]
        theirs = [int(i) + 1 for i in t[1:].nonzero()]
        counts.append(abs(len(ours) - len(theirs)) / (len(theirs) + 1))
        found, wanted = found + len(ours), wanted + len(theirs)
        for place in ours:  # each true one is found once
            near = [one for one in theirs if abs(one - place) <= tolerance]
            if near:
                theirs.remove(min(near, key=lambda one: abs(one - place)))
                hits += 1
    # Where there is nothing to find and nothing was said, all is right.
    f1 = 2 * hits / (found + wanted) if found + wanted else 1.0
    return {"boundary_f1": f1, "segments": max(0.0, 1 - statistics.fmean(counts))}


def _segments(classes: Tensor) -> list[tuple[int, int, int]]:
    """Class, first frame and the frame after the last of each."""
    begin: list[int] = starts(classes).nonzero()[:, 0].tolist()
    ends = [*begin[1:], len(classes)]
    return [(int(classes[b]), b, e) for b, e in zip(begin, ends, strict=False)]


def _hits(
    ours: list[tuple[int, int, int]], theirs: list[tuple[int, int, int]], overlap: float
) -> int:
    """Segments that overlap enough with a true one of their class, each used once."""
    used: set[int] = set()
    for kind, begin, end in ours:
        best, place = 0.0, -1
        for index, (other, first, last) in enumerate(theirs):
            if other != kind or index in used:
                continue
            common = min(end, last) - max(begin, first)
            ratio = common / (max(end, last) - min(begin, first))
            if ratio > best:
                best, place = ratio, index
        if best >= overlap and place >= 0:
            used.add(place)
    return len(used)


def _distance(one: list[int], other: list[int]) -> int:
    """Levenshtein's."""
    row = list(range(len(other) + 1))
    for index, item in enumerate(one, 1):
        before, row[0] = row[0], index
        for place, thing in enumerate(other, 1):
            cost = min(row[place] + 1, row[place - 1] + 1, before + (item != thing))
            before, row[place] = row[place], cost
    return row[-1]


def _require(predicted: Sequence[Tensor], truth: Sequence[Tensor]) -> None:
    ours, theirs = [len(p) for p in predicted], [len(t) for t in truth]
    if not truth or ours != theirs or not all(theirs):
        raise DataError(
            "predictions and truth need the same sequences, one frame or more each; "
            f"got lengths {ours[:5]} and {theirs[:5]}"
        )
    if any(not isinstance(t, torch.Tensor) for t in (*predicted, *truth)):
        raise DataError("predictions and truth are tensors, one per sequence")
