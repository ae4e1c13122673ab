"""The coordinator admits a site: its enrolled key becomes a member's, from the next round on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.errors import ApprovalError, UsageError
from fedcli.exchange import layout
from fedcli.exchange.keys import verify_keys
from fedcli.exchange.records import Member
from fedcli.party.amendment import amend_federation, first_round
from fedcli.party.party import Party
from fedcli.results import Result, Status
from fedcli.workspace import WorkspaceRole

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.environment import Environment
    from fedcli.exchange.checks import Verified
    from fedcli.exchange.records import EnrolmentRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmitRequest:
    """Whom to admit.

    Attributes:
        root: The coordinator's workspace.
        site: The site.
        fingerprint: Fingerprint of its key, as the site has told the coordinator.
    """

    root: Path
    site: str
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Applicant:
    """A site that has enrolled.

    Attributes:
        site: Its name.
        fingerprint: Fingerprint of the key that it enrolled.
        plan: Digest of the plan that its operator approved.
        plan_is_current: Whether that is the plan in force.
        admitted: Whether this key is admitted already.
    """

    site: str
    fingerprint: str
    plan: str
    plan_is_current: bool
    admitted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmitResult(Result):
    """A site that is a member from a round on."""

    site: str
    fingerprint: str
    from_round: int
    sites: tuple[str, ...]


def inspect(root: Path, site: str, environment: Environment) -> Applicant:
    """Return what a site has enrolled, for the operator to compare with what the site says on the telephone.

    Raises:
        UsageError: The site has not enrolled.
        TrustError: Its enrolment does not verify.
    """
    with Party.at_work(root, WorkspaceRole.COORDINATOR, environment) as party:
        return _applicant(party, site, _enrolment(party, site))


def admit(request: AdmitRequest, environment: Environment) -> AdmitResult:
    """Admit the site's key with this fingerprint, unless it is admitted already.

    Raises:
        ApprovalError: The enrolled key has another fingerprint.
    """
    site = request.site
    with Party.at_work(request.root, WorkspaceRole.COORDINATOR, environment) as party:
        enrolment = _enrolment(party, site)
        applicant = _applicant(party, site, enrolment)
        if applicant.fingerprint != request.fingerprint:
            msg = f"{site}: enrolled the key {applicant.fingerprint}, expected {request.fingerprint}"
            raise ApprovalError(msg, hint="ask the site by telephone; admit only a fingerprint that the site has read to you")
        if not applicant.admitted:
            others = (item for item in party.ledger.newest_federation.members if item.site != site)
            member = Member(site=site, keys=enrolment.record.keys)
            amend_federation(party, first_round(party, [site]), members=(*others, member))
        newest = party.ledger.newest_federation
        return AdmitResult(
            status=Status.DONE if applicant.admitted else Status.PUBLISHED,
            message=f"{site} is a member from round {newest.from_round} on; `{party.command('status')}` shows whose turn it is",
            site=site,
            fingerprint=applicant.fingerprint,
            from_round=newest.from_round,
            sites=tuple(member.site for member in newest.members),
        )


def _enrolment(party: Party, site: str) -> Verified[EnrolmentRecord]:
    enrolments = party.folder.enrolments(site)
    if not enrolments:
        known = layout.site_names(party.store.list(""))
        msg = f"{site}: has not enrolled in {party.store.address}; enrolled sites: {', '.join(known) or 'none'}"
        raise UsageError(msg, hint="the site enrols with fedcli join")
    return enrolments[-1]


def _applicant(party: Party, site: str, enrolment: Verified[EnrolmentRecord]) -> Applicant:
    newest = party.ledger.newest_federation
    key = enrolment.record.keys[0]
    return Applicant(
        site=site,
        fingerprint=verify_keys([key])[0].fingerprint,
        plan=enrolment.record.plan,
        plan_is_current=enrolment.record.plan == newest.plan.digest,
        admitted=enrolment.record.keys == newest.keys_of(site),
    )
