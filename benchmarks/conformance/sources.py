"""What results depend on: a digest of the code, kept beside them."""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from pathlib import Path

import surgery
import surgery_backends

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache" / "conformance"
"""Where results are kept between runs."""

ZOOS = ("torch", "timm", "torchvision", "transformers")
WRITERS = ("__main__.py", "results.py")
"""Names of files that only start checks and show what came out."""


def fingerprint(part: str) -> str:
    """A digest of all code that the results of a part of conformance depend on.

    Args:
        part: `"fused"`, `"modes"` or `"zoo"`.
    """
    digest = hashlib.blake2b(digest_size=8)
    for package in ZOOS:
        digest.update(version(package).encode())
    for module in (surgery, surgery_backends):
        for file in sorted(Path(module.__file__ or "").parent.rglob("*.py")):
            digest.update(file.read_bytes())
    for file in sorted([*HERE.glob("*.py"), *(HERE / part).rglob("*.py")]):
        if file.name not in WRITERS:
            digest.update(file.read_bytes())
    for file in sorted((HERE / part).glob("*.txt")):
        digest.update(file.read_bytes())
    return digest.hexdigest()
