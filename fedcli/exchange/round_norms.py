"""The norms that a round record states, against the plan's limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.errors import TrustError
from fedcli.exchange.checks import expect
from fedcli.plan.norm_limits import too_long

if TYPE_CHECKING:
    from fedcli.exchange.checks import Signed
    from fedcli.exchange.records import RoundRecord, SumRecord
    from fedcli.plan import Limits


def check_norms(signed: Signed, record: RoundRecord | SumRecord, limits: Limits) -> None:
    """The updates that are too long by the plan's limits were refused, and nobody else was for that reason."""
    stated = {item.site: item.trained_norm for item in record.contributions}
    refused = {item.site: item.norm for item in record.rejected if item.norm is not None}
    expected = limits.limit_norms and bool(stated)
    for what, norm in (("base_norm", record.base_norm), *((f"trained_norm of {site}", norm) for site, norm in stated.items())):
        expect(signed, f"{what} is stated", expected, norm is not None)
    norms = {site: norm for site, norm in (stated | refused).items() if norm is not None}
    reasons = too_long(limits, norms, record.base_norm or 0.0)
    for site in sorted(stated.keys() & reasons.keys()):
        msg = f"{signed.key}: the update of {site} was used, but {reasons[site]}"
        raise TrustError(msg)
    for site in sorted(refused.keys() - reasons.keys()):
        msg = f"{signed.key}: the update of {site} was refused as too long, but its norm {norms[site]:g} is within the limits"
        raise TrustError(msg)
