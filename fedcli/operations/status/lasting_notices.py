"""What the state of a federation means for one party: the notices that hold now, whether or not they were told before."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from fedcli import wire
from fedcli.exchange import layout
from fedcli.exchange.history.lineage import early_end
from fedcli.notice_settings import NoticeKind, NoticeSettings
from fedcli.notices.notice import Notice
from fedcli.party.command_lines import party_command
from fedcli.party.history.newest_rounds import UpdateState
from fedcli.party.masking.roster import roster_fingerprint, unapproved_roster
from fedcli.party.membership import foreign_key, removal_in_words, removal_of, unconfirmed_in_words, unconfirmed_key
from fedcli.party.next_commands import names
from fedcli.results import Status
from fedcli.text.wording import duration
from fedcli.workspace import WorkspaceRole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from fedcli.exchange.ledger import Ledger
    from fedcli.operations.status.federation_state import StatusResult
    from fedcli.party.history.newest_rounds import MemberRound
    from fedcli.workspace import Workspace

HISTORY = "history"
"""The subject of a notice about records that do not verify."""
MEMBERSHIP = "membership"
"""The subject of a notice that this party is no member, or that its key is not its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewpoint:
    """A federation as one party sees it.

    Attributes:
        state: The federation.
        ledger: Its verified history.
        workspace: The party's; None for somebody who has only the drop folder's address, and is told what concerns all.
        moment: Now.
        command: What the party has just run, and will run again; what only needs that is nobody's turn. Empty if nothing.
    """

    state: StatusResult
    ledger: Ledger
    workspace: Workspace | None
    moment: datetime
    command: str = ""

    @property
    def party(self) -> str:
        """The party's name; empty for somebody without a workspace."""
        return self.workspace.settings.name if self.workspace is not None else ""

    def notices(self) -> tuple[Notice, ...]:
        """Return what holds now, what stops the party first."""
        urgent = (*self._unverified(), *self._membership(), *self._plan(), *self._roster(), *self._keys(), *self._overdue())
        return (*urgent, *self._rejected(), *self._turns(urgent), *self._round_open(), *self._finished())

    def _notice(
        self,
        kind: NoticeKind,
        subject: str,
        message: str,
        command: str = "",
        *,
        number: int | None = None,
        stops: bool = False,
    ) -> Notice:
        return Notice(
            kind=kind,
            subject=subject,
            federation=self.state.name,
            party=self.party,
            round=number,
            message=message,
            command=command,
            stops=stops,
        )

    def _typed(self, verb: str, *words: str) -> str:
        return party_command(self.workspace.root, verb, *words) if self.workspace is not None else ""

    @property
    def _is_site(self) -> bool:
        return self.workspace is not None and self.workspace.settings.role is WorkspaceRole.SITE

    def _unverified(self) -> Iterator[Notice]:
        """Yield what does not verify of the coordinator's records, on which everything else depends."""
        for problem in self.state.problems:
            if problem.key == layout.COORDINATOR:
                yield self._notice(NoticeKind.FAILED, HISTORY, problem.message, self._typed("verify"), stops=True)
                return

    def _membership(self) -> Iterator[Notice]:
        if self.workspace is None or not self._is_site:
            return
        if (removal := removal_of(self.ledger.federations, self.party)) is not None:
            yield self._notice(NoticeKind.FAILED, MEMBERSHIP, removal_in_words(self.party, removal), stops=True)
        elif (message := foreign_key(self.workspace, self.ledger)) is not None:
            yield self._notice(NoticeKind.FAILED, MEMBERSHIP, message, self._typed("doctor"), stops=True)

    def _plan(self) -> Iterator[Notice]:
        """Yield that the plan in force, or the one that comes after it, is not approved."""
        if self.workspace is None or not self._is_site or self.state.status is Status.FINISHED:
            return
        force, newest = self.ledger.in_force(self.ledger.newest_round + 1).record, self.ledger.newest_federation
        stopped = not self.workspace.approves(force.plan)
        plan, since = (force.plan, force.from_round) if stopped else (newest.plan, newest.from_round)
        if stopped or not (plan == force.plan or self.workspace.approves(plan)):
            digest = plan.digest[: wire.SHORT_DIGEST]
            message = f"from round {since} on, the plan is {digest}, which you have not approved"
            yield self._notice(NoticeKind.PLAN_CHANGED, digest, message, self._typed("approve"), number=since, stops=stopped)

    def _roster(self) -> Iterator[Notice]:
        """Yield that the members are not approved among whom this site would share the secrets of its masks."""
        if self.workspace is None or not self._is_site or self.state.status is Status.FINISHED:
            return
        roster = unapproved_roster(self.workspace, self.ledger)
        if roster is not None and self.party in roster.trainers:
            fingerprint = roster_fingerprint(roster)
            message = (
                f"{names(roster.trainers)} have the fingerprint {fingerprint}, which you have not approved: compare it with them"
            )
            stops = roster == self.ledger.in_force(self.ledger.newest_round + 1).record
            command = self._typed("approve")
            yield self._notice(NoticeKind.PLAN_CHANGED, fingerprint, message, command, number=roster.from_round, stops=stops)

    def _keys(self) -> Iterator[Notice]:
        if self.workspace is None:
            return
        if (fingerprint := unconfirmed_key(self.workspace, self.ledger)) is not None:
            message = f"{unconfirmed_in_words(fingerprint)}; call the coordinator before you type"
            command = self._typed("approve", "--coordinator-key", "FINGERPRINT")
            yield self._notice(NoticeKind.KEY_WAITING, fingerprint, message, command, stops=True)
        if not self._is_site:
            for site in self.state.applicants:
                yield self._notice(NoticeKind.KEY_WAITING, site, f"{site} wants to join", self._typed("admit", site))
            for site in self.state.renewed:
                message = f"{site} has enrolled a new key"
                yield self._notice(NoticeKind.KEY_WAITING, site, message, self._typed("admit", site))

    def _overdue(self) -> Iterator[Notice]:
        """Yield that the open round has waited too long, at a site only if it waits for that site."""
        number, opened = self.state.open_round, self.state.waiting_since
        if number is None or opened is None:
            return
        awaited = {item.site: item.since or opened for item in self._members() if item.standing is UpdateState.AWAITED}
        if self._is_site and self.party not in awaited:
            return
        since = awaited[self.party] if self._is_site else min(awaited.values(), default=opened)
        if self.state.deadline is not None:
            late = self.state.overdue
            text = f"the deadline of round {number} passed {self._ago(self.state.deadline)} ago"
        else:
            late = self.moment - since >= timedelta(hours=self._settings.overdue_hours)
            text = f"round {number} has been open for {self._ago(since)}"
        if late:
            text += ", and waits for you" if self._is_site else f", and waits for {names(tuple(awaited)) or 'the coordinator'}"
            command = next((item.command for item in self.state.turns if self.party and item.parties == (self.party,)), "")
            yield self._notice(NoticeKind.OVERDUE, f"round {number}", text, command, number=number)

    def _rejected(self) -> Iterator[Notice]:
        """Yield the rejected updates of the newest rounds, at a site only its own."""
        for row in self.state.matrix:
            for item in row.sites if row.restart is None else ():
                own = item.site == self.party
                if item.standing is UpdateState.REJECTED and (own or not self._is_site):
                    whose = "your update" if own else f"the update of {item.site}"
                    message = f"{whose} of round {row.round} is rejected: {item.reason}"
                    stops = own and row.created is None
                    subject = f"round {row.round}, {item.site}"
                    yield self._notice(NoticeKind.REJECTED, subject, message, number=row.round, stops=stops)

    def _turns(self, urgent: tuple[Notice, ...]) -> Iterator[Notice]:
        """Yield what this party can do that none of the other notices tells it to do."""
        known = {notice.command for notice in urgent} | {self._typed(self.command)}
        approval = any(notice.kind is NoticeKind.PLAN_CHANGED and notice.stops for notice in urgent)
        number = self.state.open_round
        for item in self.state.turns:
            if not self.party or item.parties != (self.party,) or item.command in known:
                continue
            verb = shlex.split(item.command)[1]
            if verb == "approve" and approval:
                continue
            place = f"round {number}" if number is not None else "the end"
            message = item.occasion or (f"round {number} waits for you" if number is not None else "the federation waits for you")
            yield self._notice(NoticeKind.YOUR_TURN, f"{place}, {item.command}", message, item.command, number=number)

    def _round_open(self) -> Iterator[Notice]:
        number = self.state.open_round
        if number is None or self.workspace is None:
            return
        if not self._is_site or self.party in self.ledger.in_force(number).record.trainers:
            message = f"round {number} of {self.state.rounds} is open"
            yield self._notice(NoticeKind.ROUND_OPEN, f"round {number}", message, number=number)

    def _finished(self) -> Iterator[Notice]:
        if self.state.status is Status.FINISHED:
            message = str(early_end(self.ledger.federations) or f"all {self.state.rounds} rounds are done")
            yield self._notice(NoticeKind.FINISHED, f"round {self.state.round}", message, number=self.state.round)

    def _members(self) -> tuple[MemberRound, ...]:
        return self.state.matrix[-1].sites if self.state.matrix else ()

    @property
    def _settings(self) -> NoticeSettings:
        return self.workspace.settings.notify if self.workspace is not None else NoticeSettings()

    def _ago(self, since: datetime) -> str:
        return duration(max(0.0, (self.moment - since).total_seconds()))
