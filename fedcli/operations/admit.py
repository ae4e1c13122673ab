"""The coordinator admits a site: its enrolled key becomes a member's, from the next round on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.errors import ApprovalError, TrustError, UsageError
from fedcli.exchange.keys import verify_keys
from fedcli.exchange.recipients import Reader
from fedcli.exchange.records import Member, Purpose, key_for
from fedcli.party.amendment import amend_federation, first_round
from fedcli.party.enrolment import read_enrolments
from fedcli.party.grants import grant_models
from fedcli.party.party import Party
from fedcli.results import Result, Status
from fedcli.text.wording import counted
from fedcli.workspace import WorkspaceRole

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.environment import Environment
    from fedcli.exchange.checks import Verified
    from fedcli.exchange.records import EnrolmentRecord
    from fedcli.party.enrolment import EnrolmentSeries

_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmitRequest:
    """Whom to admit.

    Attributes:
        root: The coordinator's workspace.
        site: The site.
        fingerprint: Fingerprint of its key, as the site has told the coordinator; it chooses among several enrolments.
        tester: Whether it is admitted as a tester, which is to be what it has enrolled as.
    """

    root: Path
    site: str
    fingerprint: str
    tester: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Applicant:
    """A site that has enrolled.

    Attributes:
        site: Its name.
        fingerprint: Fingerprint of the key that it enrolled.
        plan: Digest of the plan that its operator approved.
        plan_is_current: Whether that is the plan in force.
        admitted: Whether this key is admitted already.
        present: Fingerprint of the key that the federation lists for it now; None if it is no member.
        vouched: Whether that key has signed for this one.
        tester: Whether it has enrolled as a tester.
    """

    site: str
    fingerprint: str
    plan: str
    plan_is_current: bool
    admitted: bool
    present: str | None
    vouched: bool
    tester: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmitResult(Result):
    """A site that is a member from a round on.

    Attributes:
        retired: Fingerprint of the key that this one replaces from then on; null if it replaces none.
    """

    site: str
    fingerprint: str
    retired: str | None
    from_round: int
    sites: tuple[str, ...]


def inspect(root: Path, site: str, environment: Environment) -> Applicant:
    """Return what a site has enrolled, for the operator to compare with what the site says on the telephone.

    Raises:
        UsageError: The site has not enrolled, or several of its keys wait.
        TrustError: No enrolment of it verifies.
    """
    with Party.at_work(root, WorkspaceRole.COORDINATOR, environment) as party:
        series = _enrolments(party, site)
        waiting = tuple(item for item in series.verified if not party.ledger.has_listed(site, item.record.keys))
        if len(waiting) > 1:
            fingerprints = ", ".join(_fingerprint(item) for item in waiting)
            msg = f"{site}: several enrolled keys wait: {fingerprints}"
            command = party.command("admit", site, "--fingerprint", "FINGERPRINT")
            raise UsageError(msg, hint=f"ask the site by telephone, then name the key that it reads to you: `{command}`")
        return _applicant(party, series, (waiting or series.verified)[-1])


def admit(request: AdmitRequest, environment: Environment) -> AdmitResult:
    """Admit the site's key with this fingerprint, unless it is admitted already; it retires the key before it.

    Raises:
        ApprovalError: No enrolled key has this fingerprint, or it is retired; or the site has enrolled for the other role.
    """
    site = request.site
    with Party.at_work(request.root, WorkspaceRole.COORDINATOR, environment) as party:
        enrolment = _chosen(party, _enrolments(party, site), request.fingerprint)
        if enrolment.record.tester is not request.tester:
            raise _other_role(party, request, enrolment)
        before = party.ledger.newest_federation.keys_of(site)
        admitted = enrolment.record.keys == before
        if not admitted:
            others = (item for item in party.ledger.newest_federation.members if item.site != site)
            member = Member(site=site, keys=enrolment.record.keys, tester=request.tester)
            _require_encryption_key(party, member)
            amend_federation(party, first_round(party, [site]), members=(*others, member))
        newest = party.ledger.newest_federation
        granted = _grant(party, site)
        retired = verify_keys(before)[0].fingerprint if before and not admitted else None
        replaced = f" with its new key, and {retired} signs nothing from then on" if retired else ""
        return AdmitResult(
            status=Status.DONE if admitted and not granted else Status.PUBLISHED,
            message=(
                f"{site} is a {'tester' if request.tester else 'member'} from round {newest.from_round} on{replaced}; "
                f"`{party.command('status')}` shows whose turn it is"
                + (f"; it can now open {counted(granted, 'model')} sealed before" if granted else "")
            ),
            site=site,
            fingerprint=request.fingerprint,
            retired=retired,
            from_round=newest.from_round,
            sites=tuple(member.site for member in newest.members),
        )


def _require_encryption_key(party: Party, member: Member) -> None:
    """Refuse a site to which nothing could be sealed, where the plan seals."""
    sealing = party.ledger.newest_federation.plan.confidentiality.sealing
    if sealing and key_for(Purpose.ENCRYPTION, member.keys) is None:
        msg = f"{member.site}: has enrolled no encryption key, and the plan seals files (confidentiality.sealing)"
        raise ApprovalError(msg, hint="the site installs a newer fedcli, and enrols again: `fedcli rotate-key`")


def _grant(party: Party, site: str) -> int:
    """Grant a site the models that it works with; return how many it could not open before."""
    key = key_for(Purpose.ENCRYPTION, party.ledger.newest_federation.keys_of(site))
    if key is None or not party.ledger.newest_federation.plan.confidentiality.sealing:
        return 0
    return grant_models(party, Reader(site, key.public_key))


def _other_role(party: Party, request: AdmitRequest, enrolment: Verified[EnrolmentRecord]) -> ApprovalError:
    """Return the error where a site has enrolled for the other role."""
    site, words = request.site, ("a member that trains", "a tester")
    message = f"{site}: has enrolled as {words[enrolment.record.tester]}, expected {words[request.tester]}"
    role = ("--tester",) if enrolment.record.tester else ()
    command = party.command("admit", site, "--fingerprint", request.fingerprint, *role)
    return ApprovalError(message, hint=f"ask the site; to admit it as what it has enrolled as: `{command}`")


def _enrolments(party: Party, site: str) -> EnrolmentSeries:
    series = read_enrolments(party.folder, site)
    if not series.verified:
        if series.problems:
            raise TrustError(series.problems[0].message)
        known = sorted({*(member.site for member in party.ledger.newest_federation.members), *party.folder.applicants()[0]})
        msg = f"{site}: has not enrolled in {party.store.address}; enrolled sites: {', '.join(known) or 'none'}"
        raise UsageError(msg, hint="the site enrols with fedcli join")
    return series


def _chosen(party: Party, series: EnrolmentSeries, fingerprint: str) -> Verified[EnrolmentRecord]:
    """Return the enrolment whose key has a fingerprint."""
    site = series.site
    chosen = next((item for item in series.verified if _fingerprint(item) == fingerprint), None)
    if chosen is None:
        if series.problems:  # it may be the one that the site means
            raise TrustError(series.problems[-1].message)
        fingerprints = ", ".join(_fingerprint(item) for item in series.verified[-_NAMED:])
        msg = f"{site}: enrolled the key {fingerprints}, expected {fingerprint}"
        raise ApprovalError(msg, hint="ask the site by telephone; admit only a fingerprint that the site has read to you")
    present = party.ledger.newest_federation.keys_of(site)
    last = next((keys for item in reversed(party.ledger.federations) if (keys := item.record.keys_of(site))), ())
    if chosen.record.keys not in {present, last} and party.ledger.has_listed(site, chosen.record.keys):
        msg = f"{site}: {fingerprint} is a retired key, which {verify_keys(last)[0].fingerprint} has replaced"
        raise ApprovalError(msg, hint="the site enrols a new key: `fedcli rotate-key`, or `fedcli join --re-enrol`")
    return chosen


def _applicant(party: Party, series: EnrolmentSeries, enrolment: Verified[EnrolmentRecord]) -> Applicant:
    newest = party.ledger.newest_federation
    present = newest.keys_of(series.site)
    before = next((item for item in series.verified if item.digest == enrolment.record.previous), None)
    return Applicant(
        site=series.site,
        fingerprint=_fingerprint(enrolment),
        plan=enrolment.record.plan,
        plan_is_current=enrolment.record.plan == newest.plan.digest,
        admitted=enrolment.record.keys == present,
        present=verify_keys(present)[0].fingerprint if present else None,
        vouched=enrolment.digest in series.rotations and before is not None and before.record.keys == present,
        tester=enrolment.record.tester,
    )


def _fingerprint(enrolment: Verified[EnrolmentRecord]) -> str:
    return verify_keys(enrolment.record.keys)[0].fingerprint
