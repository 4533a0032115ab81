"""RESULTS.md by sections: each benchmark writes its own and leaves the others."""

from __future__ import annotations

import re
from pathlib import Path

RESULTS = Path(__file__).parent / "RESULTS.md"


def write_section(title: str, text: str, page: Path = RESULTS) -> None:
    """Put `text` in the section of that title, at the end if there is none yet."""
    old = page.read_text(encoding="utf-8") if page.exists() else "# Measured\n"
    head, *sections = re.split(r"^(?=## )", old, flags=re.MULTILINE)
    new = f"## {title}\n\n{text.strip()}\n"
    titles = [section.splitlines()[0] for section in sections]
    if f"## {title}" in titles:
        sections[titles.index(f"## {title}")] = new
    else:
        sections.append(new)
    parts = [head, *sections]
    page.write_text("\n\n".join(p.strip() for p in parts) + "\n", encoding="utf-8")


def read_section(title: str, page: Path = RESULTS) -> str:
    """What is in the section of that title; empty if there is none."""
    old = page.read_text(encoding="utf-8") if page.exists() else ""
    for section in re.split(r"^## ", old, flags=re.MULTILINE)[1:]:
        head, _, text = section.partition("\n")
        if head == title:
            return text.strip()
    return ""
