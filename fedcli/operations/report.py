"""Write the report from the drop folder alone: the paper's tables and figures, by anyone who holds the folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.errors import TrustError
from fedcli.operations.verify import VerifyRequest, verify
from fedcli.reporting.attempts import Attempts
from fedcli.reporting.report_files import write_report
from fedcli.reporting.tables import BEST
from fedcli.results import Result, Status

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.environment import Environment
    from fedcli.exchange.history import Problem
    from fedcli.party.source import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRequest:
    """What to report on, and where.

    Attributes:
        source: The drop folder.
        out: The folder to write.
        model: Which model the model card describes: `best`, `final`, `global`, `SITE` or `SITE/KIND`.
    """

    source: Source
    out: Path
    model: str = BEST


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportResult(Result):
    """A report that was written.

    Attributes:
        page: The HTML page.
        card: The model card.
        files: Everything that was written.
        verified: Whether everything in the folder verified against the coordinator's key.
        statement: What was verified, and against which key.
        problems: What did not verify; the page says so at its top.
        failures: Tables and figures that could not be made; likewise.
    """

    page: str
    card: str
    files: tuple[str, ...]
    verified: bool
    statement: str
    problems: tuple[Problem, ...]
    failures: tuple[str, ...]


def report(request: ReportRequest, environment: Environment) -> ReportResult:
    """Verify the drop folder and write the report, naming what is missing or does not hold.

    Raises:
        UsageError: There can be no such model.
        MissingError: That model is not there yet.
        TrustError: The folder holds no federation that verifies.
        StoreError: The drop folder cannot be read.
    """
    verified, history = verify(VerifyRequest(source=request.source), environment)
    if not history.rounds:
        raise TrustError("\n".join(problem.message for problem in verified.problems) or verified.message)
    attempts = Attempts()
    files = write_report(history, verified.message, request.out, request.model, attempts)
    page, card = (next(path for path in files if path.suffix == suffix) for suffix in (".html", ".md"))
    return ReportResult(
        status=Status.DONE,
        message=f"The report is {page}",
        page=str(page),
        card=str(card),
        files=tuple(map(str, files)),
        verified=verified.verified,
        statement=verified.message,
        problems=verified.problems,
        failures=tuple(attempts.failures),
    )
