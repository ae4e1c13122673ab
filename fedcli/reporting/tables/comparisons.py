"""Is one of a site's models better than another on its own patients? The paired comparisons of the evaluation records."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fedcli.exchange.records import ModelKind
from fedcli.reporting.formats import ABSENT, count, interval, number, p_value
from fedcli.reporting.tables.pooled import holm

if TYPE_CHECKING:
    from collections.abc import Iterable

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
        sites: At how many sites the same pair of models was tested; the p-value is adjusted for their number.
        adjusted: The p-value after Holm's correction for these sites; None where there was nothing to test.
    """

    site: str
    kind: ModelKind
    other: ModelKind
    result: PairedDifference
    sites: int = 1
    adjusted: float | None = None

    @property
    def pair(self) -> str:
        """Which kappa is subtracted from which."""
        return f"{self.kind.word} minus {self.other.word}"

    @property
    def significant(self) -> bool:
        """Whether the adjusted p-value of the permutation test is below `SIGNIFICANT`."""
        return self.adjusted is not None and self.adjusted < SIGNIFICANT

    @property
    def p(self) -> str:
        """The p-value for a table."""
        value = self.result.p_value
        return ABSENT if value is None else p_value(value, self.result.permutations).removeprefix("= ")

    @property
    def adjusted_p(self) -> str:
        """The adjusted p-value for a table."""
        return ABSENT if self.adjusted is None else f"{self.adjusted:.2g}"

    @property
    def difference_sentence(self) -> str:
        """The difference and its interval in one sentence."""
        first, second = self.kind.word, self.other.word
        difference = self.result.difference
        if difference is None:
            return f"At {self.site}, the kappa of the {first} or the {second} model is undefined, so they cannot be compared."
        apart = f"{number(abs(difference))} {'higher' if difference > 0 else 'lower'} than"
        apart = apart if round(difference, 2) else "the same as"
        bounds = f"95\u00a0% interval of the difference {interval(self.result.interval)}, " if self.result.interval else ""
        cases = f"{count(self.result.cases)} cases"
        return f"At {self.site}, the {first} model's kappa is {apart} the {second} model's ({bounds}{cases})."

    @property
    def test_sentence(self) -> str:
        """The permutation test in one sentence; empty where there is nothing to test."""
        value, permutations = self.result.p_value, self.result.permutations
        if value is None:
            return ""
        outcome = "is significant" if self.significant else "may be due to chance"
        p = f"p {p_value(value, permutations)}"
        p += f", after Holm's correction for {self.sites} sites {self.adjusted_p}" if self.sites > 1 else ""
        return f"Two-sided permutation test with {count(permutations)} permutations: {p}; the difference {outcome}."


def comparisons(history: History) -> tuple[SiteComparison, ...]:
    """Return the comparisons in the sites' newest evaluations, as far as both models are the newest that the site shares."""
    newest = {model.digest for model in history.models.values()}
    return _adjusted(
        site_comparison(site, item)
        for site in history.sites
        if site in history.evaluations
        for item in history.evaluations[site].record.comparisons
        if item.model.record in newest and item.other.record in newest and item.model.party == item.other.party == site
    )


def site_comparison(site: str, comparison: Comparison) -> SiteComparison:
    """Return a comparison from an evaluation record as one site sees it, so that nothing is adjusted for other sites."""
    return SiteComparison(
        site=site,
        kind=comparison.model.kind,
        other=comparison.other.kind,
        result=comparison.result,
        adjusted=comparison.result.p_value,
    )


def _adjusted(compared: Iterable[SiteComparison]) -> tuple[SiteComparison, ...]:
    """Adjust the p-values of each pair of models for the number of sites that tested it."""
    every = tuple(compared)
    tested: dict[str, list[tuple[str, float]]] = {}
    for item in every:
        if item.result.p_value is not None:
            tested.setdefault(item.pair, []).append((item.site, item.result.p_value))
    adjusted = {
        (pair, site): value
        for pair, of_pair in tested.items()
        for (site, _), value in zip(of_pair, holm([p for _, p in of_pair]), strict=True)
    }
    return tuple(
        replace(item, sites=len(tested.get(item.pair, ())), adjusted=adjusted.get((item.pair, item.site))) for item in every
    )


def verdict(compared: tuple[SiteComparison, ...]) -> str:
    """Return in one sentence at how many sites the federated model differs from the local one; empty where none could compare."""
    tested = [
        item
        for item in compared
        if (item.kind, item.other) == (ModelKind.FEDERATED, ModelKind.LOCAL) and item.result.difference is not None
    ]
    if not tested:
        return ""
    differences = [item.result.difference or 0.0 for item in tested if item.significant]
    better, worse = (sum(sign * difference > 0 for difference in differences) or "none" for sign in (1, -1))
    sites = "site" if len(tested) == 1 else "sites"
    return (
        f"The federated model is significantly better than the local-only one at {better} of {len(tested)} {sites}, "
        f"and significantly worse at {worse} ({_threshold(len(tested))})."
    )


def _threshold(num_sites: int) -> str:
    corrected = " after Holm's correction" if num_sites > 1 else ""
    return f"p\u00a0<\u00a0{SIGNIFICANT}{corrected}"
