"""What follows what: which record may amend the federation, and which rounds a site's record follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.errors import LaterRoundError, TrustError
from fedcli.exchange.checks import Signed, expect
from fedcli.exchange.keys import verify_keys
from fedcli.exchange.records import Record, SeenRound, SiteRecord, UpdateRecord
from fedcli.wire import SHORT_DIGEST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedcli.exchange.checks import Verified
    from fedcli.exchange.records import FederationRecord, RoundRecord
    from fedcli.exchange.signatures import VerifyKey


def amending_keys(signed: Signed, newest: FederationRecord, *, recovered: bool) -> tuple[VerifyKey, ...]:
    """Return the keys that may sign the next federation record: the coordinator's, or the recovery key."""
    if not recovered:
        return verify_keys(newest.coordinator)
    if newest.recovery is None:
        msg = f"{signed.key}: the federation names no recovery key"
        raise TrustError(msg)
    return verify_keys([newest.recovery])


def check_amendment(signed: Signed, record: FederationRecord, first: FederationRecord) -> None:
    """Every model is of one network, no patient moves from the training part to the test part, and all files are sealed or none.

    The patients' privacy is promised for all rounds or for none, and a region stays one of the same federation.

    Federations begun before the first record could say `split_fixed` may have changed the split, and stay valid.
    """
    expect(signed, "split_fixed", first.split_fixed, record.split_fixed)
    for what in ("classes", "network", *(("seed", "split") if first.split_fixed else ())):
        expect(signed, f"{what} of the plan", getattr(first.plan, what), getattr(record.plan, what))
    sealing = (item.plan.confidentiality.sealing for item in (first, record))
    expect(signed, "confidentiality.sealing of the plan", *sealing)
    expect(signed, "tree.above of the plan", first.plan.tree.above, record.plan.tree.above)
    expect(signed, "privacy.mechanism of the plan", *(item.plan.privacy.mechanism for item in (first, record)))


def check_recovery(signed: Signed, record: FederationRecord, before: FederationRecord, *, recovered: bool) -> None:
    """The recovery key replaces the coordinator's keys and nothing else, and only it replaces itself.

    Args:
        signed: The record as the drop folder holds it.
        record: What it says.
        before: The record before it; for one by the recovery key, the record in force for its first round until now.
        recovered: Whether the recovery key has signed it.
    """
    if (
        recovered
        and record.coordinator != before.coordinator
        and verify_keys(record.coordinator) == verify_keys(before.coordinator)
    ):
        msg = f"{signed.key}: the recovery key replaces the coordinator's encryption key only, expected a new signing key too"
        raise TrustError(msg, hint="sites compare the signing key, which is to vouch for the other one")
    kept = ("members", "plan") if recovered else ("recovery",)
    for what in kept:
        if getattr(record, what) != getattr(before, what):
            signer = "the recovery key" if recovered else "a key of the coordinator"
            msg = f"{signed.key}: signed by {signer}, which cannot change {what}"
            raise TrustError(msg)


def check_seen(signed: Signed, record: Record, rounds: Sequence[Verified[RoundRecord]]) -> None:
    """The newest round that a site had verified is one of these; another one is evidence of a fork, or of an end that is gone."""
    seen = record.seen if isinstance(record, SiteRecord) else None
    if isinstance(record, UpdateRecord):
        start = SeenRound(round=record.round - 1, sha256=record.parent)
        expect(signed, "newest round seen", start, seen or start)
        seen = start
    if seen is None:
        return
    text = f"{signed.key}: {record.party} has signed that it verified {seen}; here"
    hint = f"ask {record.party} and the coordinator by telephone for the digests of their rounds; or {record.party} lies"
    if seen.round >= len(rounds):
        msg = f"{text} the newest round is {len(rounds) - 1}: evidence that the end of the history is missing"
        raise LaterRoundError(msg, seen.round, hint=hint)
    if (own := rounds[seen.round].digest) != seen.sha256:
        msg = f"{text} round {seen.round} is {own[:SHORT_DIGEST]}: evidence of a fork"
        raise TrustError(msg, hint=hint)


def newest_seen(rounds: Sequence[Verified[RoundRecord]]) -> SeenRound | None:
    """Return the newest round as a site's record names it."""
    return SeenRound(round=rounds[-1].record.round, sha256=rounds[-1].digest) if rounds else None
