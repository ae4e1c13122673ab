"""The ledger's part for regions: takes signed bytes, and returns the verified record of a sum.

The checks are those of the ledger, in its order. No I/O.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.errors import TrustError
from fedcli.exchange import layout
from fedcli.exchange.checks import check_members, check_weights, expect
from fedcli.exchange.keys import verify_keys
from fedcli.exchange.records import SumRecord
from fedcli.exchange.round_norms import check_norms

if TYPE_CHECKING:
    from fedcli.exchange.checks import Signed, Verified
    from fedcli.exchange.ledger import Ledger


def verify_sum(ledger: Ledger, number: int, signed: Signed) -> Verified[SumRecord]:
    """Verify a region's record of what it has summed in a round; the ledger must hold the round before.

    Raises:
        TrustError: It does not verify.
    """
    force = ledger.in_force(number)
    plan = force.record.plan
    verified = ledger.open_signed(signed, SumRecord, layout.COORDINATOR, verify_keys(force.record.coordinator))
    record = verified.record
    expect(signed, "round", number, record.round)
    expect(signed, "parent round", ledger.rounds.digests[number - 1], record.parent)
    expect(signed, "federation record in force", force.digest, record.federation_record)
    expect(signed, "the federation is a region (tree.above of the plan)", expected=True, actual=bool(plan.tree.above))
    check_members(signed, record, force.record)
    check_weights(signed, record, plan.aggregation)
    check_norms(signed, record, plan.limits)
    if record.content_size > (cap := plan.limits.model_mb * 10**6):
        msg = f"{signed.key}: the mean has {record.content_size} bytes, expected at most {cap} (limits.model_mb of the plan)"
        raise TrustError(msg)
    return verified
