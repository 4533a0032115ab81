"""Report: what a backend was tried on, and where it failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from surgery.errors import BackendError
from surgery.report import Column, Table, render

_SHOWN = 10


@final
@dataclass(frozen=True)
class Finding:
    """One thing that was tried.

    Attributes:
        check: What was checked, as `value`, `gradient`, `restored`.
        kind: Kind of the component.
        target: The component, with the model that it is in.
        mode: The operation.
        error: What was wrong, empty if nothing.
    """

    check: str
    kind: str
    target: str
    mode: str
    error: str = ""

    def __str__(self) -> str:
        return f"{self.check} of mode {self.mode!r} at {self.target}: {self.error}"


@final
@dataclass(frozen=True)
class Report:
    """All that was tried on one backend; prints as a table of counts.

    Attributes:
        backend: Its name.
        findings: In the order in which they were tried.
    """

    backend: str
    findings: tuple[Finding, ...]

    @property
    def failures(self) -> tuple[Finding, ...]:
        """What went wrong."""
        return tuple(finding for finding in self.findings if finding.error)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of component that were tried."""
        return tuple(dict.fromkeys(finding.kind for finding in self.findings))

    def require(self) -> Report:
        """This report, if nothing failed.

        Raises:
            BackendError: Something failed, or nothing was tried; says what.
        """
        if not self.findings:
            raise BackendError(
                f"backend {self.backend!r} covers no kind of component that was asked "
                "for: its covers() returned False for every one"
            )
        failures = self.failures
        if failures:
            more = len(failures) - _SHOWN
            raise BackendError(
                f"backend {self.backend!r} breaks its contract in {len(failures)} of "
                f"{len(self.findings)} checks:\n"
                + "\n".join(f"- {failure}" for failure in failures[:_SHOWN])
                + (f"\n... and {more} more" if more > 0 else "")
            )
        return self

    def __str__(self) -> str:
        checks = tuple(dict.fromkeys(finding.check for finding in self.findings))
        rows = [{"kind": kind, **self._counts(kind)} for kind in self.kinds]
        columns = (Column("kind"), *(Column(check) for check in checks))
        failed = len(self.failures)
        return render(
            Table(
                f"Contract of backend {self.backend!r}: {failed} of "
                f"{len(self.findings)} checks failed",
                columns,
                tuple(rows),
            )
        )

    def __repr__(self) -> str:
        return str(self)

    def _counts(self, kind: str) -> dict[str, object]:
        counts: dict[str, object] = {}
        for check in dict.fromkeys(f.check for f in self.findings if f.kind == kind):
            mine = [f for f in self.findings if f.kind == kind and f.check == check]
            failed = sum(bool(f.error) for f in mine)
            counts[check] = (
                f"{failed} of {len(mine)} failed" if failed else str(len(mine))
            )
        return counts
