"""Which site scores which site's models: every site all of them, or, by plan, each model a few sites."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from fedcli.plan.plan import Plan


def sites_to_score(plan: Plan, trained_at: str, sites: Collection[str]) -> frozenset[str]:
    """Return the sites at which the models of a site are scored: itself, and as many others as the plan wants.

    The others follow from the plan's seed and the two names, so that everyone draws the same; a site that joins or leaves changes
    the draw of a model by one site at most.
    """

    def rank(site: str) -> bytes:
        return hashlib.sha256(f"{plan.seed}/{trained_at}/{site}".encode()).digest()

    if plan.evaluation.other_sites >= len(sites) - 1:
        return frozenset({trained_at, *sites})
    others = sorted((site for site in sites if site != trained_at), key=rank)
    return frozenset({trained_at, *others[: plan.evaluation.other_sites]})
