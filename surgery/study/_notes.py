"""Notes: what is said of several arms alike is said once."""

from __future__ import annotations

from collections.abc import Collection, Iterable


def joined(notes: Iterable[str], arms: Collection[str]) -> tuple[str, ...]:
    """The notes in order, each once; `a: why` and `b: why` become `a, b: why`.

    Args:
        notes: Some of which begin with the name of the arm that they are about.
        arms: The names of arms.
    """
    about: dict[str, list[str]] = {}
    for note in notes:
        # Names of arms may have a colon themselves: the longest one counts.
        heads = [name for name in arms if note.startswith(f"{name}: ")]
        head = max(heads, key=len, default="")
        text = note.removeprefix(f"{head}: ") if head else note
        named = about.setdefault(text, [])
        if head and head not in named:
            named.append(head)
    return tuple(
        f"{', '.join(named)}: {text}" if named else text
        for text, named in about.items()
    )
