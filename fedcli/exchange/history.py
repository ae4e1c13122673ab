"""The verified records of a drop folder, from which the report, `status` and the choice of models are made.

`party.history_reader` fills a `History`; the functions here are pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from statistics import median_low
from types import MappingProxyType
from typing import TYPE_CHECKING

from fedcli.exchange.lineage import lineage, untrained
from fedcli.exchange.records import SHARED_KINDS, ModelKind, ModelRecord, ModelReference
from fedcli.measures import SMOOTHED_OVER, Merit, smoothed
from fedcli.plan import Choice, Part

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from fedcli.exchange.checks import Verified
    from fedcli.exchange.records import (
        ClosingRecord,
        DatasetRecord,
        EnrolmentRecord,
        EvaluationRecord,
        FederationRecord,
        MasksRecord,
        OpeningRecord,
        RoundRecord,
        SumRecord,
        UnmaskRecord,
        UpdateRecord,
        ValidationScore,
    )
    from fedcli.plan import Plan

_MOST_MEDIANS = 2
"""No site counts by more than so many times the median of the sites' validation patients. Its loss is bounded likewise."""
_NONE: Mapping[str, ValidationScore] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that is wrong, and the file in which it is."""

    key: str
    message: str


class Weighting(StrEnum):
    """How the sites count in a mean: by the patients that they claim, by no more than they have published, or equally."""

    CLAIMED = "weighted by the validation patients that each site claims"
    BOUNDED = "weighted by validation patients, at most those of each site's data set record and twice their median"
    EQUAL = "each site counting the same, since not all have published a data set record"


@dataclass(frozen=True, slots=True, kw_only=True)
class BestRound:
    """The round whose global model is the best.

    Attributes:
        round: The round.
        by_loss: Whether its kappa equals another round's, so that the loss decided.
        scored: Whether it was chosen by any figure; otherwise it is the newest.
    """

    round: int
    by_loss: bool = False
    scored: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The verified records of one federation.

    Attributes:
        federations: Federation records, ascending.
        rounds: Round records, ascending.
        updates: Update records by site and round, used or not.
        enrolments: By site, the newest enrolment whose key the federation has listed, or the first if it has listed none.
        waiting: By site, the enrolments whose key the federation has never listed.
        datasets: Each site's newest data set record.
        models: Each site's newest shared model of each kind.
        evaluations: Each site's newest evaluation.
        openings: The openings of masked rounds that are open, or that a round record names.
        closings: Their closings.
        unmasks: The answers to these, by site and round.
        sums: What a region has summed, by round.
        masks: The masks that sites have prepared, by site and digest.
        problems: What did not verify; everything above did.
    """

    federations: tuple[Verified[FederationRecord], ...]
    rounds: tuple[Verified[RoundRecord], ...]
    updates: dict[tuple[str, int], Verified[UpdateRecord]] = field(default_factory=dict)
    enrolments: dict[str, Verified[EnrolmentRecord]] = field(default_factory=dict)
    waiting: dict[str, tuple[Verified[EnrolmentRecord], ...]] = field(default_factory=dict)
    datasets: dict[str, Verified[DatasetRecord]] = field(default_factory=dict)
    models: dict[tuple[str, ModelKind], Verified[ModelRecord]] = field(default_factory=dict)
    evaluations: dict[str, Verified[EvaluationRecord]] = field(default_factory=dict)
    openings: dict[int, Verified[OpeningRecord]] = field(default_factory=dict)
    closings: dict[int, Verified[ClosingRecord]] = field(default_factory=dict)
    unmasks: dict[tuple[str, int], Verified[UnmaskRecord]] = field(default_factory=dict)
    sums: dict[int, Verified[SumRecord]] = field(default_factory=dict)
    masks: dict[tuple[str, str], Verified[MasksRecord]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    @property
    def plan(self) -> Plan:
        """The newest plan."""
        return self.federations[-1].record.plan

    @property
    def sites(self) -> tuple[str, ...]:
        """The members' names, sorted."""
        return tuple(member.site for member in self.federations[-1].record.members)

    @property
    def trainers(self) -> tuple[str, ...]:
        """The members that train, sorted."""
        return self.federations[-1].record.trainers

    @property
    def testers(self) -> tuple[str, ...]:
        """The members that only test, sorted."""
        return self.federations[-1].record.testers

    @property
    def finished(self) -> bool:
        """Whether the last round of the plan is closed."""
        return len(self.rounds) > self.plan.rounds

    @property
    def regions(self) -> frozenset[str]:
        """The sites that are regions, as their newest updates say."""
        newest = {site: update.record.region for (site, _), update in sorted(self.updates.items())}
        return frozenset(site for site, region in newest.items() if region is not None)

    def replayable_from(self, absent: AbstractSet[str]) -> int:
        """Return the first round from which every global model can be recomputed without the artifacts under these keys.

        An update that was refused for its norm is measured again.
        """
        first = 1
        for number, verified in enumerate(self.rounds[1:], 1):
            if not verified.record.aggregates:
                continue  # it computes nothing
            sites = [item.site for item in verified.record.contributions]
            sites += [item.site for item in verified.record.rejected if item.norm is not None]
            updates = (self.updates.get((site, number)) for site in sites)
            needed = [*self.rounds[number - 1].artifacts, *(update.artifact for update in updates if update is not None)]
            if any(artifact.key in absent for artifact in needed):
                first = number + 1
        return first

    def global_kappas(self) -> tuple[float | None, ...]:
        """Return each global model's mean of the sites' validation kappas, as `weighting` says; None if no site has one."""
        return tuple(merit.kappa for merit in self.global_merits())

    def global_merits(self, final: Mapping[str, ValidationScore] = _NONE) -> tuple[Merit, ...]:
        """Return the means of the sites' validation kappas and losses of each global model.

        The sites score φ(t) when they start round t + 1, and the last one when they evaluate.

        Args:
            final: Scores of the newest global model by site, in place of those that the sites have published.
        """
        received: list[dict[str, ValidationScore | None]] = [{} for _ in self.rounds]
        finals: list[dict[str, ValidationScore | None]] = [{} for _ in self.rounds]
        for (site, number), update in sorted(self.updates.items()):
            received[number - 1][site] = update.record.received
        for site, evaluation in sorted(self.evaluations.items()):
            if evaluation.record.as_of < len(finals):
                finals[evaluation.record.as_of][site] = evaluation.record.final_validation
        if finals:
            finals[-1] |= final
        every = (scores or last for scores, last in zip(received, finals, strict=True))
        known = ({site: score for site, score in scores.items() if score is not None} for scores in every)
        weighting = self.weighting  # it looks at all updates, and is the same for all rounds
        return tuple(self._merit(weighting, scores) for scores in known)

    @property
    def weighting(self) -> Weighting:
        """How the sites count in the mean kappa of a global model."""
        if not self.plan.evaluation.bounded_weights:
            return Weighting.CLAIMED
        scoring = {site for (site, _), update in self.updates.items() if update.record.received.kappa is not None}
        return Weighting.BOUNDED if scoring <= self.datasets.keys() else Weighting.EQUAL

    def _merit(self, weighting: Weighting, scores: Mapping[str, ValidationScore]) -> Merit:
        kappas = {site: (score.patients, score.kappa) for site, score in sorted(scores.items()) if score.kappa is not None}
        losses = {site: (score.patients, score.loss) for site, score in sorted(scores.items()) if score.loss is not None}
        if losses:
            most = _MOST_MEDIANS * median_low(loss for _, loss in losses.values())  # one site's 1e50 would decide
            losses = {site: (patients, min(loss, most)) for site, (patients, loss) in losses.items()}
        patients = sum(self._patients(weighting, kappas).values())
        return Merit(kappa=self._mean(weighting, kappas), loss=self._mean(weighting, losses), patients=patients)

    def _mean(self, weighting: Weighting, figures: Mapping[str, tuple[int, float]]) -> float | None:
        """Return the mean of the sites' figures, each with the number of validation patients behind it."""
        weights = self._patients(weighting, figures) if weighting is not Weighting.EQUAL else dict.fromkeys(figures, 1)
        total = sum(weights.values())
        return sum(weights[site] * figure for site, (_, figure) in figures.items()) / total if total else None

    def _patients(self, weighting: Weighting, figures: Mapping[str, tuple[int, float]]) -> dict[str, int]:
        """Return the validation patients behind each site's figure: claimed, and at most the bounds of the weighting."""
        claimed = {site: patients for site, (patients, _) in figures.items()}
        if weighting is Weighting.CLAIMED or not claimed:
            return claimed
        known = {site: self.validation_patients(site) for site in claimed} if weighting is Weighting.BOUNDED else claimed
        most = _MOST_MEDIANS * median_low(known.values())  # a record is its site's own word
        return {site: min(patients, known[site], most) for site, patients in claimed.items()}

    def validation_patients(self, site: str) -> int:
        """Return the validation patients of a site's data set record, 0 where there is none."""
        known = self.datasets.get(site)
        return known.record.cohort.part(Part.VALIDATION).patients if known else 0

    def best_round(self, final: Mapping[str, ValidationScore] = _NONE) -> BestRound:
        """Return the best trained round by the plan's choice, or the newest round if none has a figure.

        Only rounds that led to the newest model count: the others were given up by a restart. With the choice "smoothed", means
        are taken of these, without those that have no figure.
        """
        best, merits = None, list(self.global_merits(final))
        scored = [
            number
            for number in lineage(self.rounds, len(self.rounds) - 1)
            if merits[number].known and not untrained(self.rounds, number)
        ]
        highest = max((merits[number].kappa or 0.0 for number in scored), default=0.0)
        if highest > 0 and self.plan.evaluation.choice is Choice.WITHIN_ERROR:
            return BestRound(round=max(number for number in scored if merits[number].is_near(highest)))
        kappas = [merits[number].kappa for number in scored]
        for count, number in enumerate(scored, 1):
            merits[number] = merits[number].judged(
                self.plan.evaluation.choice, smoothed(kappas[max(count - SMOOTHED_OVER, 0) : count])
            )
        for number in scored:
            by_loss = best is not None and merits[number].differs_by_loss(merits[best.round])
            if best is None or merits[number].beats(merits[best.round]):
                best = BestRound(round=number, by_loss=by_loss)
            elif by_loss:
                best = replace(best, by_loss=True)
        return best or BestRound(round=len(self.rounds) - 1, scored=False)


def shared_kinds(plan: Plan) -> tuple[ModelKind, ...]:
    """Return the kinds of models that sites share: under a promise of privacy only those that are trained with noise."""
    return (ModelKind.FEDERATED,) if plan.privacy.promised else SHARED_KINDS


def reference_to(verified: Verified[RoundRecord] | Verified[ModelRecord]) -> ModelReference:
    """Return the reference under which a round's global model, or a site's shared model, is scored."""
    record = verified.record
    return ModelReference(
        kind=record.kind if isinstance(record, ModelRecord) else ModelKind.GLOBAL,
        party=record.party,
        round=record.round,
        record=verified.digest,
        content_sha256=verified.artifact.content_sha256,
    )
