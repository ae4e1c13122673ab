"""Is one model of a site better than another there? The paired comparisons of the evaluation records, in a sentence each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.reporting.formats import count, interval, number
from fedcli.reporting.tables.gaps import MODEL_WORDS

if TYPE_CHECKING:
    from fedcli.exchange.history import History
    from fedcli.exchange.records import Comparison, ModelKind
    from fedcli.measures import PairedDifference

SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteComparison:
    """Two models of a site on its own test patients.

    Attributes:
        site: Whose models and patients.
        kind: The model.
        other: What it is compared with.
        result: The difference of their kappas.
    """

    site: str
    kind: ModelKind
    other: ModelKind
    result: PairedDifference

    @property
    def difference(self) -> str:
        """The difference and its interval in one sentence."""
        first, second = MODEL_WORDS[self.kind], MODEL_WORDS[self.other]
        found = self.result
        if found.difference is None:
            return f"At {self.site}, the kappa of the {first} or of the {second} model is undefined, so they cannot be compared."
        direction = "higher than" if found.difference > 0 else "lower than" if found.difference < 0 else "equal to"
        by = f"{number(abs(found.difference))} " if found.difference else ""
        bounds = f"95 % interval of the difference {interval(found.interval)}, " if found.interval else ""
        return (
            f"At {self.site}, the {first} model's kappa is {by}{direction} the {second} model's "
            f"({bounds}{count(found.cases)} cases)."
        )

    @property
    def test(self) -> str:
        """The permutation test in one sentence; empty where there is nothing to test."""
        found = self.result
        if found.p_value is None:
            return ""
        smallest = 1 / (found.permutations + 1)
        p = f"p ≤ {smallest:.1g}" if found.p_value <= smallest else f"p = {found.p_value:.2g}"
        verdict = "is more than chance explains" if found.p_value < SIGNIFICANT else "may be chance alone"
        return f"Permutation test, two-sided, {count(found.permutations)} exchanges: {p}; the difference {verdict}."


def comparisons(history: History) -> tuple[SiteComparison, ...]:
    """Return what the sites' newest evaluations compare, of the newest models that they share."""
    newest = {found.digest for found in history.models.values()}
    return tuple(
        site_comparison(site, item)
        for site in history.sites
        if site in history.evaluations
        for item in history.evaluations[site].record.comparisons
        if item.model.record in newest and item.other.record in newest and item.model.party == item.other.party == site
    )


def site_comparison(site: str, found: Comparison) -> SiteComparison:
    """Return a comparison as the report tells it."""
    return SiteComparison(site=site, kind=found.model.kind, other=found.other.kind, result=found.result)
