"""Is one model of a site better than another there? The paired comparisons of the evaluation records, in a sentence each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.exchange.records import ModelKind
from fedcli.reporting.formats import ABSENT, count, interval, number, p_value
from fedcli.reporting.tables.gaps import MODEL_WORDS

if TYPE_CHECKING:
    from fedcli.exchange.history import History
    from fedcli.exchange.records import Comparison
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
    def pair(self) -> str:
        """What is taken from what."""
        return f"{MODEL_WORDS[self.kind]} less {MODEL_WORDS[self.other]}"

    @property
    def significant(self) -> bool:
        """Whether the permutation test finds more than chance explains."""
        return self.result.p_value is not None and self.result.p_value < SIGNIFICANT

    @property
    def p(self) -> str:
        """The p-value as a table has it."""
        found = self.result
        return ABSENT if found.p_value is None else p_value(found.p_value, found.permutations).removeprefix("= ")

    @property
    def difference(self) -> str:
        """The difference and its interval in one sentence."""
        first, second = MODEL_WORDS[self.kind], MODEL_WORDS[self.other]
        found = self.result
        if found.difference is None:
            return f"At {self.site}, the kappa of the {first} or of the {second} model is undefined, so they cannot be compared."
        by = number(abs(found.difference))
        apart = f"{by} {'higher' if found.difference > 0 else 'lower'} than" if round(found.difference, 2) else "as good as"
        bounds = f"95\u00a0% interval of the difference {interval(found.interval)}, " if found.interval else ""
        return f"At {self.site}, the {first} model's kappa is {apart} the {second} model's ({bounds}{count(found.cases)} cases)."

    @property
    def test(self) -> str:
        """The permutation test in one sentence; empty where there is nothing to test."""
        found = self.result
        if found.p_value is None:
            return ""
        p = f"p {p_value(found.p_value, found.permutations)}"
        verdict = "is more than chance explains" if self.significant else "may be chance alone"
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


def verdict(found: tuple[SiteComparison, ...]) -> str:
    """Return in one sentence at how many sites the federated model differs from the local one; empty where none could compare."""
    tested = [
        item
        for item in found
        if (item.kind, item.other) == (ModelKind.FEDERATED, ModelKind.LOCAL) and item.result.difference is not None
    ]
    if not tested:
        return ""
    apart = [item.result.difference or 0.0 for item in tested if item.significant]
    better, worse = (sum(sign * difference > 0 for difference in apart) or "none" for sign in (1, -1))
    sites = "site" if len(tested) == 1 else "sites"
    return (
        f"At {better} of {len(tested)} {sites} the federated model is better than the local one beyond chance "
        f"(p\u00a0<\u00a0{SIGNIFICANT}), at {worse} worse."
    )
