"""What a drop folder holds, verified: the material of the report, of `status` and of the choice of models.

Filled by `operations.history`; the functions here are pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from fedcli.exchange.records import ModelKind, ModelReference

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from fedcli.exchange.checks import Verified
    from fedcli.exchange.records import (
        DatasetRecord,
        EnrolmentRecord,
        EvaluationRecord,
        FederationRecord,
        ModelRecord,
        RoundRecord,
        UpdateRecord,
        ValidationScore,
    )
    from fedcli.plan import Plan

_NONE: Mapping[str, ValidationScore] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that does not hold, and the file where it was found."""

    key: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The verified records of one federation.

    Attributes:
        federations: Federation records, ascending.
        rounds: Round records, ascending.
        updates: Update records by site and round, used or not.
        enrolments: Newest enrolments by site.
        datasets: Each site's newest data set record.
        models: Each site's newest shared model of each kind.
        evaluations: Each site's newest evaluation.
        problems: What did not verify; everything above holds all the same.
    """

    federations: tuple[Verified[FederationRecord], ...]
    rounds: tuple[Verified[RoundRecord], ...]
    updates: dict[tuple[str, int], Verified[UpdateRecord]] = field(default_factory=dict)
    enrolments: dict[str, Verified[EnrolmentRecord]] = field(default_factory=dict)
    datasets: dict[str, Verified[DatasetRecord]] = field(default_factory=dict)
    models: dict[tuple[str, ModelKind], Verified[ModelRecord]] = field(default_factory=dict)
    evaluations: dict[str, Verified[EvaluationRecord]] = field(default_factory=dict)
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
    def finished(self) -> bool:
        """Whether the last round of the plan is there."""
        return len(self.rounds) > self.plan.rounds

    def replayable_from(self, absent: AbstractSet[str]) -> int:
        """Return the first round from which on every global model can be recomputed without the artifacts of these keys."""
        first = 1
        for found in self.rounds[1:]:
            number = found.record.round
            updates = (self.updates.get((item.site, number)) for item in found.record.contributions)
            needed = [*self.rounds[number - 1].artifacts, *(update.artifact for update in updates if update is not None)]
            if any(artifact.key in absent for artifact in needed):
                first = number + 1
        return first

    def global_kappas(self, final: Mapping[str, ValidationScore] = _NONE) -> tuple[float | None, ...]:
        """Return each global model's patient-weighted mean of the sites' validation kappa; None where no site has one.

        The sites score φ(t) when they start round t + 1, and the last one when they evaluate.

        Args:
            final: Scores of the newest global model by site, which stand in for what those sites have published.
        """
        received: list[list[ValidationScore]] = [[] for _ in self.rounds]
        finals: list[dict[str, ValidationScore | None]] = [{} for _ in self.rounds]
        for (_, number), update in sorted(self.updates.items()):
            received[number - 1].append(update.record.received)
        for site, found in self.evaluations.items():
            if found.record.as_of < len(finals):
                finals[found.record.as_of][site] = found.record.final_validation
        if finals:
            finals[-1] |= final
        return tuple(
            _patient_weighted_mean(scores or [score for _, score in sorted(last.items()) if score is not None])
            for scores, last in zip(received, finals, strict=True)
        )

    def global_kappa(self, number: int) -> float | None:
        """Return one of `global_kappas`."""
        return self.global_kappas()[number]

    def best_round(self, final: Mapping[str, ValidationScore] = _NONE) -> int:
        """Return the round of the highest of `global_kappas`: the earliest of equals, the newest where none has any."""
        kappas = [(kappa, -number) for number, kappa in enumerate(self.global_kappas(final)) if kappa is not None]
        return -max(kappas)[1] if kappas else len(self.rounds) - 1


def _patient_weighted_mean(scores: list[ValidationScore]) -> float | None:
    pairs = [(score.patients, score.kappa) for score in scores if score.kappa is not None]
    total = sum(patients for patients, _ in pairs)
    return sum(patients * kappa for patients, kappa in pairs) / total if total else None


def global_reference(found: Verified[RoundRecord]) -> ModelReference:
    """Return the reference under which a round's global model is scored."""
    return ModelReference(
        kind=ModelKind.GLOBAL,
        party=found.record.party,
        round=found.record.round,
        record=found.digest,
        content_sha256=found.artifact.content_sha256,
    )


def model_reference(found: Verified[ModelRecord]) -> ModelReference:
    """Return the reference under which a site's shared model is scored."""
    return ModelReference(
        kind=ModelKind(found.record.kind),
        party=found.record.party,
        round=found.record.round,
        record=found.digest,
        content_sha256=found.artifact.content_sha256,
    )
