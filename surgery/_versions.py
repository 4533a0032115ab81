"""Versions of what results depend on, for their provenance."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("torch-surgery", "torch", "timm", "numpy", "scipy", "torchmetrics")


def versions() -> dict[str, str]:
    """Those of Python and of the packages that are installed."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a checkout that is not installed
            continue
    return found
