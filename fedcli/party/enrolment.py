"""A site enrols its key, first when it joins and again when it rotates the key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.exchange import layout
from fedcli.exchange.keys import public_keys
from fedcli.exchange.records import EnrolmentRecord
from fedcli.party.party import publication

if TYPE_CHECKING:
    from fedcli.exchange.checks import Verified
    from fedcli.exchange.signatures import Signer
    from fedcli.party.party import Party


def publish_enrolment(party: Party, key: Signer, plan: str, before: Verified[EnrolmentRecord] | None = None) -> None:
    """Publish a site's enrolment.

    Args:
        party: The site.
        key: The key to enrol; after the first enrolment it countersigns.
        plan: Digest of the plan that the operator approved.
        before: The enrolment before this one.
    """
    number = 0 if before is None else before.record.number + 1
    record = EnrolmentRecord(
        federation=party.ledger.identity,
        party=party.name,
        created=party.environment.clock(),
        versions=party.versions(),
        number=number,
        previous=before.digest if before else None,
        plan=plan,
        keys=public_keys(key.verify_key),
    )
    countersigner = key if before else None
    party.commit(
        party.outbox.draft(f"enrolment-{number:04d}"),
        publication(layout.enrolment(party.name, number), record, countersigner=countersigner),
    )
