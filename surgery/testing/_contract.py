"""Kept: what a policy, an executor or a tracker was tried on, and what it broke."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import final

from surgery.errors import StudyError


class Breach(Exception):
    """A promise that was broken, in words."""


@final
@dataclass(frozen=True)
class Kept:
    """The promises of a contract, and what was wrong with each.

    Attributes:
        what: What was tried.
        promises: What was wrong, by promise; empty where it was kept.
    """

    what: str
    promises: dict[str, str]

    @property
    def broken(self) -> dict[str, str]:
        """The promises that were not kept."""
        return {name: error for name, error in self.promises.items() if error}

    def require(self) -> Kept:
        """This, if everything was kept.

        Raises:
            StudyError: Something was not; says what.
        """
        if self.broken:
            lines = [f"- {name}: {error}" for name, error in self.broken.items()]
            raise StudyError(
                f"{self.what} breaks {len(lines)} of {len(self.promises)} promises:\n"
                + "\n".join(lines)
            )
        return self


def tried(what: str, checks: Iterable[tuple[str, Callable[[], None]]]) -> Kept:
    """Each check by itself: one that raises has found something."""
    found: dict[str, str] = {}
    for name, check in checks:
        try:
            check()
        except Breach as breach:
            found[name] = str(breach)
        except Exception as error:  # a third party's code may raise anything
            found[name] = f"{type(error).__name__}: {error}"
        else:
            found[name] = ""
    return Kept(what, found)
