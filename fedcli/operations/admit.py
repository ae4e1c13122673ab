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
class Applicant:
    """A site that has enrolled.

    Attributes:
        site: Its name.
        fingerprint: Of the key that it enrolled.
        plan: Digest of the plan that its operator approved.
        plan_is_current: Whether that is the plan in force.
        admitted: Whether this very key is a member's already.
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
    """Return what a site has enrolled, for the operator to compare with what the site says by telephone.

    Raises:
        UsageError: The site has not enrolled.
        TrustError: Its enrolment does not verify.
    """
    with Party.at_work(root, WorkspaceRole.COORDINATOR, environment) as party:
        return _applicant(party, site, _enrolment(party, site))


def admit(root: Path, site: str, fingerprint: str, environment: Environment) -> AdmitResult:
    """Admit the site's key with this fingerprint, or find that it is admitted.

    Raises:
        ApprovalError: The enrolled key has another fingerprint.
    """
    with Party.at_work(root, WorkspaceRole.COORDINATOR, environment) as party:
        enrolment = _enrolment(party, site)
        applicant = _applicant(party, site, enrolment)
        if applicant.fingerprint != fingerprint:
            msg = f"{site}: enrolled the key {applicant.fingerprint}, expected {fingerprint}"
            raise ApprovalError(msg, hint="ask the site by telephone; admit only a fingerprint that it read to you")
        if not applicant.admitted:
            others = (item for item in party.ledger.newest_federation.members if item.site != site)
            member = Member(site=site, keys=enrolment.record.keys)
            amend_federation(party, first_round(party, [site]), members=(*others, member))
        newest = party.ledger.newest_federation
        return AdmitResult(
            status=Status.DONE if applicant.admitted else Status.PUBLISHED,
            message=f"{site} is a member from round {newest.from_round} on; fedcli status shows whose turn it is",
            site=site,
            fingerprint=fingerprint,
            from_round=newest.from_round,
            sites=tuple(member.site for member in newest.members),
        )


def _enrolment(party: Party, site: str) -> Verified[EnrolmentRecord]:
    found = party.folder.enrolments(site)
    if not found:
        known = layout.site_names(party.store.list(""))
        msg = f"{site}: has not enrolled in {party.store.address}; enrolled are {', '.join(known) or 'none'}"
        raise UsageError(msg, hint="the site enrols with fedcli join")
    return found[-1]


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
