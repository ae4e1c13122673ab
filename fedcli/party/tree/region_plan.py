"""The plan of a region, held against that of the federation above."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import ValidationError

from fedcli.errors import ConfigurationError
from fedcli.plan import Beginning
from fedcli.wire import SHORT_DIGEST

if TYPE_CHECKING:
    from fedcli.exchange.ledger import Ledger
    from fedcli.plan import Plan


def region_plan(plan: Plan, above: Ledger) -> Plan:
    """Return a plan as that of a region of the federation above.

    Raises:
        ConfigurationError: It names another federation, or does not fit this one.
    """
    identity, model = above.identity, above.newest_federation.plan
    if plan.tree.above not in {"", identity}:
        digests = f"expected {identity[:SHORT_DIGEST]}, found {plan.tree.above[:SHORT_DIGEST]}"
        msg = f"tree.above of the plan: {digests}"
        raise ConfigurationError(msg, hint="leave tree.above out, and init fills it in")
    if plan.network.weights is not Beginning.NONE:
        msg = f'network.weights of the plan: expected "none", found "{plan.network.weights}"'
        raise ConfigurationError(msg, hint="a region begins from φ(0) of the federation above")
    network = replace(model.network, weights=Beginning.NONE)
    for what, expected, found in (
        ("classes", ", ".join(model.classes), ", ".join(plan.classes)),
        ("network.name", network.name, plan.network.name),
        ("network.normalisation", network.normalisation, plan.network.normalisation),
        ("confidentiality.sealing", model.confidentiality.sealing, plan.confidentiality.sealing),
    ):
        if expected != found:
            msg = f"{what} of the plan: expected {expected}, as in the federation above, found {found}"
            raise ConfigurationError(msg, hint="a region's models are those of the federation above")
    try:
        return replace(plan, tree=replace(plan.tree, above=identity))
    except ValidationError as error:
        reasons = "; ".join(item["msg"].removeprefix("Value error, ") for item in error.errors())
        msg = f"the plan cannot be a region's: {reasons}"
        raise ConfigurationError(msg) from error
