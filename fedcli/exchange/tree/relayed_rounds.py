"""What a tree asks of round records by themselves; `party.tree` compares them with the records that they name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.exchange.checks import expect
from fedcli.plan import Rule

if TYPE_CHECKING:
    from fedcli.exchange.checks import Signed
    from fedcli.exchange.records import RoundRecord
    from fedcli.plan import Plan


def check_relayed(signed: Signed, record: RoundRecord, plan: Plan) -> None:
    """The model of a region's round is taken from the federation above, and no other round's model is."""
    expect(signed, "relayed (tree.above of the plan)", bool(plan.tree.above), record.relayed is not None)
    if record.relayed is not None:
        expect(signed, "rule", Rule.MEAN, record.rule)
