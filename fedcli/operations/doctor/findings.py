"""What an examination finds: one line a check, in order, and a remedy on every line that asks for one."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from fedcli.errors import FedcliError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Outcome(StrEnum):
    """How a check ended: `fail` stops a command some day, `warn` weakens something, `skipped` tells why nothing can be told."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line.

    Attributes:
        name: What was looked at.
        outcome: How it stands.
        found: What was found; why nothing was, where it was skipped.
        remedy: What to do about it; empty where nothing is to be done.
    """

    name: str
    outcome: Outcome
    found: str
    remedy: str = ""

    def __post_init__(self) -> None:
        if (self.outcome in {Outcome.WARN, Outcome.FAIL}) != bool(self.remedy):
            msg = f"{self.name}: {self.outcome} and the remedy {self.remedy!r} do not go together"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Line:
    """A line being written: a check calls one of these, once."""

    name: str
    remedy: str
    findings: list[Finding]

    def ok(self, found: str) -> None:
        """It is as it should be."""
        self._add(Outcome.OK, found, "")

    def warn(self, found: str, remedy: str = "") -> None:
        """It works, and should be otherwise."""
        self._add(Outcome.WARN, found, remedy or self.remedy)

    def fail(self, found: str, remedy: str = "") -> None:
        """It stops a command."""
        self._add(Outcome.FAIL, found, remedy or self.remedy)

    def skip(self, reason: str) -> None:
        """It cannot be told, or does not matter here."""
        self._add(Outcome.SKIPPED, reason, "")

    def _add(self, outcome: Outcome, found: str, remedy: str) -> None:
        self.findings.append(Finding(name=self.name, outcome=outcome, found=found, remedy=remedy))


@dataclass(slots=True)
class Examination:
    """The lines so far."""

    findings: list[Finding] = field(default_factory=list)

    @contextmanager
    def line(self, name: str, remedy: str) -> Iterator[Line]:
        """Write one line; an error that fedcli or the system explains is a failure, with its own hint before this remedy."""
        line = Line(name, remedy, self.findings)
        try:
            yield line
        except FedcliError as error:
            line.fail(str(error), error.hint)
        except OSError as error:
            line.fail(f"{error.filename or name}: {error.strerror or error}")
