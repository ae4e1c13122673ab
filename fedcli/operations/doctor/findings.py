"""The findings of an examination: one per check, in order, with a remedy if something is to be done."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from fedcli.errors import FedcliError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Outcome(StrEnum):
    """How a check ended: `fail` stops a command, `warn` weakens something, `skipped` says why the check was not possible."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The finding of one check.

    Attributes:
        name: What was checked.
        outcome: How the check ended.
        found: What was found, or why the check was skipped.
        remedy: What to do about it; empty if nothing is to be done.
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
class Check:
    """A check in progress, which ends with one of these calls."""

    name: str
    remedy: str
    findings: list[Finding]

    def ok(self, found: str) -> None:
        """Everything is as it should be."""
        self._add(Outcome.OK, found, "")

    def warn(self, found: str, remedy: str = "") -> None:
        """It works, but should be different."""
        self._add(Outcome.WARN, found, remedy or self.remedy)

    def fail(self, found: str, remedy: str = "") -> None:
        """It stops a command."""
        self._add(Outcome.FAIL, found, remedy or self.remedy)

    def skip(self, reason: str) -> None:
        """It cannot be checked, or does not matter here."""
        self._add(Outcome.SKIPPED, reason, "")

    def _add(self, outcome: Outcome, found: str, remedy: str) -> None:
        self.findings.append(Finding(name=self.name, outcome=outcome, found=found, remedy=remedy))


@dataclass(slots=True)
class Examination:
    """The findings so far."""

    findings: list[Finding] = field(default_factory=list)

    @contextmanager
    def check(self, name: str, remedy: str) -> Iterator[Check]:
        """Run one check; an error of fedcli or of the system is a failure, and its hint replaces the remedy."""
        check = Check(name, remedy, self.findings)
        try:
            yield check
        except FedcliError as error:
            check.fail(str(error), error.hint)
        except OSError as error:
            check.fail(f"{error.filename or name}: {error.strerror or error}")
