"""What masking asks of updates and round records by themselves.

`party.masking` compares them with the records that they name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.errors import TrustError
from fedcli.exchange.checks import expect
from fedcli.exchange.records import LEAST_PARTICIPANTS, Payload
from fedcli.privacy.masking.shamir import threshold

if TYPE_CHECKING:
    from fedcli.exchange.checks import Signed
    from fedcli.exchange.records import FederationRecord, RoundRecord, UpdateRecord
    from fedcli.plan import Plan


def least_participants(federation: FederationRecord) -> int:
    """Return the number of updates without which a masked round is neither opened nor closed."""
    return max(LEAST_PARTICIPANTS, threshold(len(federation.trainers)))


def check_payload(signed: Signed, record: UpdateRecord, plan: Plan) -> None:
    """An update is masked where the plan masks, and nowhere else; it is a region's mean only where the plan allows regions."""
    expected = Payload.MASKED_SUM if plan.aggregation.masking else Payload.DELTA
    if record.payload is Payload.WEIGHTED_SUM:
        expect(signed, "a region's update (tree.regions of the plan)", plan.tree.regions, actual=True)
        return
    expect(signed, "payload (aggregation.masking of the plan)", expected.value, record.payload.value)


def check_masked(signed: Signed, record: RoundRecord, federation: FederationRecord) -> None:
    """A round whose updates were masked says from which answers its sum came out; any other round says nothing of the kind."""
    masking, masked = federation.plan.aggregation.masking, record.masked
    if record.restart is None:
        expected = masking and record.round > 0
        expect(signed, "what a masked sum was computed from is stated", expected, masked is not None)
    elif masked is not None:
        expect(signed, "aggregation.masking of the plan", expected=True, actual=masking)
    if masked is None:
        return
    expect(signed, "order of answers", sorted({item.site for item in masked.answers}), [item.site for item in masked.answers])
    if record.restart is not None:
        return
    expect(signed, "culprits of a sum", (), masked.culprits)
    if len(record.contributions) < (least := least_participants(federation)):
        msg = f"{signed.key}: {len(record.contributions)} masked updates, expected at least {least}"
        raise TrustError(msg)
    if len(masked.answers) < (needed := threshold(len(federation.trainers))):
        msg = f"{signed.key}: {len(masked.answers)} answers, expected at least {needed}"
        raise TrustError(msg)
