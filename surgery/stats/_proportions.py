"""Paired proportions: the exact McNemar test and an interval never of zero width."""

from __future__ import annotations

import math


def mcnemar(gained: int, lost: int) -> float:
    """Exact two-sided p of McNemar (1947) from the discordant pairs."""
    if gained + lost == 0:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(gained, gained + lost, 0.5).pvalue)


def bonett_price(
    gained: float, lost: float, n: int, confidence: float
) -> tuple[float, float]:
    """Adjusted Wald interval for a difference of paired proportions.

    Bonett and Price (2012), "Adjusted Wald confidence interval for a difference of
    binomial proportions based on paired data", Journal of Educational and
    Behavioral Statistics 37(4). Their f12 and f21 are `gained` and `lost`; with
    p12 = (f12 + 1) / (n + 2) and p21 = (f21 + 1) / (n + 2) the interval is
    p12 - p21 ± z sqrt((p12 + p21 - (p12 - p21)²) / (n + 2)).

    Args:
        gained: Samples with 0 in the baseline and 1 in the variant.
        lost: Samples with 1 in the baseline and 0 in the variant.
        n: All samples.
        confidence: Level of the interval.
    """
    from scipy.special import ndtri

    p12, p21 = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    centre = p12 - p21
    z = float(ndtri((1 + confidence) / 2))
    half = z * math.sqrt((p12 + p21 - centre**2) / (n + 2))
    return max(-1.0, centre - half), min(1.0, centre + half)
