"""What a plan says of a tree of federations: the one above, of which this one is a site, and the regions below."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from fedcli.plan.choices import Encoding, Rule, Weights
from fedcli.wire import STRICT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fedcli.plan.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Tree:
    """Whose site this federation is, and whether its own sites may be federations.

    Attributes:
        above: SHA-256 of the first record of the federation of which this one, a region, is a site; empty if it is no region.
        regions: Whether a site may be a region: a federation of its own, which sends the weighted mean of its sites' updates.
    """

    above: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    regions: bool = False


def tree_conflicts(plan: Plan) -> Iterator[str]:
    """Yield why a plan can be neither that of a region nor that of a federation of regions; nothing if it can."""
    settings = plan.aggregation
    if plan.tree.above and settings.rule is not Rule.MEAN:
        yield f'tree.above needs aggregation.rule = "mean", found {settings.rule}: other rules are for the top of the tree'
    if plan.tree.above and settings.weights is Weights.EQUAL:
        yield "tree.above needs aggregation.weights that can be added up, found equal"
    if (plan.tree.above or plan.tree.regions) and settings.masking:
        yield "tree.above and tree.regions need aggregation.masking = false: a sum of sums cannot be unmasked"
    if plan.tree.regions and plan.privacy.promised:
        yield 'tree.regions needs privacy.mechanism = "none": a region\'s mean carries no claim of a single site'
    if plan.tree.regions and plan.updates.encoding is not Encoding.FLOAT32:
        yield f'tree.regions needs updates.encoding = "float32", found {plan.updates.encoding}: a mean is compared bit for bit'
