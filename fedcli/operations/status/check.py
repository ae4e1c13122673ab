"""The state of a federation as one line and a code, as Nagios plug-ins answer: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from fedcli.errors import StoreError, TrustError
from fedcli.notice_settings import NoticeKind
from fedcli.notices.told import Told
from fedcli.operations.status.lasting_notices import HISTORY, MEMBERSHIP, Viewpoint
from fedcli.operations.status.overview import StatusRequest, observe, write_files
from fedcli.operations.status.severity import Severity, severity_of
from fedcli.party.history.newest_rounds import UpdateState
from fedcli.party.next_commands import names
from fedcli.results import Result, Status
from fedcli.text.visible_text import visible
from fedcli.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from fedcli.environment import Environment
    from fedcli.errors import FedcliError
    from fedcli.operations.status.federation_state import StatusResult

_RECENT = timedelta(hours=25)
"""A failure that lasts is told every day; an older one may be of a command that nobody runs any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusCheck(Result):
    """The answer.

    Attributes:
        message: The line: the severity, why, and after a bar the figures.
        severity: ok, warning, critical or unknown.
        code: What the process exits with.
        reasons: Everything that makes it worse than ok, the worst first.
    """

    severity: str
    code: int
    reasons: tuple[str, ...]


def check(request: StatusRequest, environment: Environment) -> StatusCheck:
    """Return whether anything needs this party: its turn is a warning, an overdue or stopped federation is critical.

    A drop folder that cannot be read is unknown, one that does not verify is critical.
    """
    try:
        state, ledger = observe(request.source, environment, newest=request.metrics is None and request.page is None)
        moment = environment.clock()
        workspace = Workspace.open(request.source.workspace) if request.source.workspace is not None else None
        viewpoint = Viewpoint(state=state, ledger=ledger, workspace=workspace, moment=moment)
        write_files(request, viewpoint)
    except StoreError as error:
        return unknown(error)
    except TrustError as error:
        return _result(Severity.CRITICAL, (str(error),), "")
    graded = [(severity_of(notice), notice.text) for notice in viewpoint.notices()]
    graded += [(Severity.CRITICAL, text) for text in _failures(workspace, moment)]
    worst_first = sorted((item for item in graded if item[0]), key=lambda item: -item[0])
    if not worst_first:
        return _result(Severity.OK, (), _figures(state, moment), _calm(state))
    return _result(worst_first[0][0], tuple(text for _, text in worst_first), _figures(state, moment))


def unknown(error: FedcliError) -> StatusCheck:
    """Return the answer where there is nothing to look at."""
    return _result(Severity.UNKNOWN, (str(error),), "")


def _failures(workspace: Workspace | None, moment: datetime) -> Iterator[str]:
    """Yield which of the party's scheduled commands have failed when they were last run."""
    if workspace is None:
        return
    beginning = f"{NoticeKind.FAILED}: "
    keys = Told(workspace.root).lasting(beginning, moment - _RECENT)
    for command in sorted({key.removeprefix(beginning).partition(":")[0] for key in keys} - {HISTORY, MEMBERSHIP}):
        yield f"failed: {command} fails; fedcli.log in the workspace says why"


def _calm(state: StatusResult) -> str:
    """Return what goes on while nothing needs this party."""
    text = f"{state.name}: round {state.round} of {state.rounds}"
    if state.open_round is not None:
        text += f", round {state.open_round} waits for {names(state.awaited) or 'the coordinator'}"
    return text


def _figures(state: StatusResult, moment: datetime) -> str:
    figures = [f"round={state.round};;;0;{state.rounds}", f"problems={len(state.problems)};;;0"]
    if state.open_round is not None and state.waiting_since is not None:
        arrived = len(state.matrix[-1].members(UpdateState.IN))
        seconds = max(0, int((moment - state.waiting_since).total_seconds()))
        figures += [f"updates={arrived};;;0;{len(state.sites)}", f"open={seconds}s;;;0"]
    return " ".join(figures)


def _result(severity: Severity, reasons: tuple[str, ...], figures: str, text: str = "") -> StatusCheck:
    first = text or reasons[0]
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    line = visible(f"FEDCLI {severity.name} - {first}{more}".replace("\n", " ")).replace("|", "/")  # a bar begins the figures
    return StatusCheck(
        status=Status.DONE,
        message=f"{line} | {figures}" if figures else line,
        severity=severity.name.lower(),
        code=severity,
        reasons=reasons,
    )
