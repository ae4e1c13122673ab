"""Write the report from the drop folder alone: the paper's tables and figures, by anyone who holds the folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.errors import TrustError
from fedcli.operations.verify import verify
from fedcli.reporting.report_files import write_report
from fedcli.reporting.tables import BEST
from fedcli.results import Result, Status

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.exchange.history import Problem
    from fedcli.exchange.store import StoreOptions
    from fedcli.progress import Progress


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
    """

    page: str
    card: str
    files: tuple[str, ...]
    verified: bool
    statement: str
    problems: tuple[Problem, ...]


def report(
    drop: str,
    out: Path,
    *,
    progress: Progress,
    coordinator: str | None = None,
    model: str = BEST,
    options: StoreOptions | None = None,
) -> ReportResult:
    """Verify the drop folder and write the report, naming what is missing or does not hold.

    Args:
        drop: The drop folder's address.
        out: The folder to write.
        progress: Told of every artifact.
        coordinator: Fingerprint of the coordinator's first key.
        model: Which model the card describes: `best`, `final`, or `SITE/KIND`.
        options: How the drop folder is reached.

    Raises:
        UsageError: There can be no such model.
        MissingError: That model is not there yet.
        TrustError: The folder holds no federation that verifies.
        StoreError: The drop folder cannot be read.
    """
    found, history = verify(drop, progress=progress, coordinator=coordinator, options=options)
    if not history.rounds:
        raise TrustError("\n".join(problem.message for problem in found.problems) or found.message)
    files = write_report(history, found.message, out, model)
    page, card = (next(path for path in files if path.suffix == suffix) for suffix in (".html", ".md"))
    return ReportResult(
        status=Status.DONE,
        message=f"The report is {page}",
        page=str(page),
        card=str(card),
        files=tuple(map(str, files)),
        verified=found.verified,
        statement=found.message,
        problems=found.problems,
    )
