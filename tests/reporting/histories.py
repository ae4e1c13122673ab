"""Histories for tests: real records without signatures."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

from fedcli import wire
from fedcli.cohort import HISTOGRAM_BINS, Cohort, PartCount, Rejection
from fedcli.exchange import layout
from fedcli.exchange.checks import Verified
from fedcli.exchange.history import History, model_reference
from fedcli.exchange.records import (
    Artifact,
    Comparison,
    Contribution,
    DatasetRecord,
    EvaluationRecord,
    FederationRecord,
    Late,
    Member,
    ModelKind,
    ModelRecord,
    ModelReference,
    PublicKey,
    Purpose,
    Rejected,
    Role,
    RoundRecord,
    TestScore,
    UpdateRecord,
    ValidationScore,
    Versions,
)
from fedcli.measures import Estimate, Measures, PairedDifference
from fedcli.plan import Part, Plan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fedcli.exchange.records import Record

BEGIN = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
VERSIONS = Versions(fedcli="0.1.0", python="3.11.2", numpy="2.4.1")
KEY = PublicKey(purpose=Purpose.SIGNING, algorithm="ssh-ed25519", public_key="ssh-ed25519 " + "A" * 68)
MODEL_BYTES = 28_139_520


def verified(key: str, record: Record) -> Verified[Record]:
    return Verified(key=key, digest=wire.digest(record), record=record)


def digest_of(text: str) -> str:
    return wire.sha256(text.encode())


def artifact(record_key: str, role: Role, size: int = MODEL_BYTES) -> Artifact:
    sha256 = digest_of(record_key)
    return Artifact(
        role=role,
        key=layout.artifact(record_key, sha256),
        stored_size=size,
        stored_sha256=sha256,
        content_size=size,
        content_sha256=sha256,
    )


def federation(sites: Sequence[str], plan: Plan) -> Verified[FederationRecord]:
    record = FederationRecord(
        federation=None,
        party="coordinator",
        created=BEGIN,
        versions=VERSIONS,
        number=0,
        previous=None,
        from_round=0,
        coordinator=(KEY,),
        members=tuple(Member(site=site, keys=(KEY,)) for site in sorted(sites)),
        plan=plan,
    )
    return verified(layout.federation(0), record)


class Builder:
    """A history that grows record by record, each naming the ones before it."""

    def __init__(self, sites: Sequence[str], plan: Plan) -> None:
        self.sites = tuple(sorted(sites))
        self.plan = plan
        self.history = History(federations=(federation(sites, plan),), rounds=())

    @property
    def header(self) -> dict[str, object]:
        """What every record but the first says."""
        return {"federation": self.history.federations[0].digest, "versions": VERSIONS}

    def when(self, number: int, minutes: int = 0) -> datetime:
        """Return a moment in a round, eight minutes after the one before."""
        return BEGIN + timedelta(minutes=8 * number + minutes)

    def round(
        self,
        *,
        absent: tuple[str, ...] = (),
        rejected: tuple[Rejected, ...] = (),
        late: tuple[Late, ...] = (),
        cosines: Mapping[str, float | None] = MappingProxyType({}),
    ) -> Verified[RoundRecord]:
        """Close the next round with every site that is neither absent nor rejected."""
        number = len(self.history.rounds)
        key = layout.round_record(number)
        out = {*absent, *(item.site for item in rejected)}
        used = [site for site in self.sites if site not in out] if number else []
        record = RoundRecord(
            **self.header,
            party="coordinator",
            created=self.when(number, 5),
            round=number,
            parent=self.history.rounds[-1].digest if number else None,
            federation_record=self.history.federations[-1].digest,
            contributions=tuple(
                Contribution(
                    site=site,
                    update=digest_of(site),
                    steps=100,
                    images=3200,
                    patients=800,
                    weight=100,
                    norm=0.5,
                    cosine=cosines.get(site, 0.9),
                )
                for site in used
            ),
            absent=absent,
            rejected=rejected,
            late=late,
            artifacts=(artifact(key, Role.MODEL),),
        )
        self.history = replace(self.history, rounds=(*self.history.rounds, verified(key, record)))
        return self.history.rounds[-1]

    def update(self, site: str, number: int, received: float | None, trained: float | None, **changes: object) -> None:
        """Add a site's update of a round whose parent exists."""
        key = layout.update(site, number)
        facts = {
            "steps": 100,
            "images": 3200,
            "patients": 800,
            "training_loss": 0.9,
            "norm": 1.25,
            "seconds": 360.0,
            "device": "cuda (NVIDIA H100)",
        }
        record = UpdateRecord(
            **self.header,
            party=site,
            created=self.when(number),
            round=number,
            parent=self.history.rounds[number - 1].digest,
            plan=self.plan.digest,
            dataset=None,
            received=ValidationScore(patients=100, loss=1.1, kappa=received),
            trained=ValidationScore(patients=100, loss=1.0, kappa=trained),
            threads=4,
            artifacts=(artifact(key, Role.UPDATE),),
            **(facts | changes),
        )
        self.history.updates[site, number] = verified(key, record)

    def dataset(self, site: str, cohort: Cohort) -> None:
        """Publish a site's data facts."""
        record = DatasetRecord(**self.header, party=site, created=self.when(0), number=1, as_of=0, cohort=cohort)
        self.history.datasets[site] = verified(layout.dataset(site, 1), record)

    def model(self, site: str, kind: ModelKind, number: int = 1) -> Verified[ModelRecord]:
        """Share a model; a second one of a kind takes the first one's place."""
        key = layout.model(site, number, kind.value)
        record = ModelRecord(
            **self.header,
            party=site,
            created=self.when(len(self.history.rounds), 10),
            number=number,
            as_of=len(self.history.rounds) - 1,
            kind=kind,
            base=self.history.rounds[0].digest,
            round=len(self.history.rounds) - 1,
            kappa=0.7,
            artifacts=(artifact(key, Role.MODEL),),
        )
        self.history.models[site, kind] = verified(key, record)
        return self.history.models[site, kind]

    def evaluation(
        self, site: str, scores: Sequence[TestScore], final: float | None = 0.5, comparisons: tuple[Comparison, ...] = ()
    ) -> None:
        """Publish a site's scores, as of the newest round."""
        record = EvaluationRecord(
            **self.header,
            party=site,
            created=self.when(len(self.history.rounds), 30),
            number=1,
            as_of=len(self.history.rounds) - 1,
            dataset=None,
            final_validation=ValidationScore(patients=100, loss=1.0, kappa=final),
            scores=tuple(scores),
            comparisons=comparisons,
        )
        self.history.evaluations[site] = verified(layout.evaluation(site, 1), record)


def score(model: ModelReference, kappa: float | None, patients: int = 312, width: float = 0.05) -> TestScore:
    by_case = measures(kappa, patients, width)
    return TestScore(model=model, loss=0.8, by_case=by_case, by_image=replace(by_case, count=patients * 4))


def compare(
    model: Verified[ModelRecord],
    other: Verified[ModelRecord],
    difference: float | None,
    p_value: float | None = 0.01,
    cases: int = 312,
) -> Comparison:
    """Compare two shared models of a site."""
    result = PairedDifference(
        cases=cases,
        difference=difference,
        interval=None if difference is None else (round(difference - 0.04, 4), round(difference + 0.04, 4)),
        p_value=None if difference is None else p_value,
        permutations=0 if difference is None else 10_000,
    )
    return Comparison(model=model_reference(model), other=model_reference(other), result=result)


def measures(kappa: float | None, count: int, width: float = 0.05) -> Measures:
    """Return measures that all follow from one kappa."""

    def estimate(value: float | None) -> Estimate:
        if value is None:
            return Estimate()
        return Estimate(value=value, interval=(max(-1.0, round(value - width, 4)), min(1.0, round(value + width, 4))))

    share = None if kappa is None else round(0.5 + kappa / 2, 4)
    return Measures(
        count=count,
        kappa=estimate(kappa),
        quadratic_kappa=estimate(kappa),
        accuracy=estimate(share),
        balanced_accuracy=estimate(share),
        macro_auc=estimate(share),
        dense_auc=estimate(share),
        calibration_error=estimate(0.1),
        confusion=_matrix(count, share or 0.25),
    )


def _matrix(count: int, share: float) -> tuple[tuple[int, ...], ...]:
    """Return a matrix of four equal classes, of which a share is right and the rest is one class off."""
    per_class = count // 4
    right = round(per_class * share)
    rows = [[0] * 4 for _ in range(4)]
    for true, row in enumerate(rows):
        row[true] = right
        row[true + 1 if true < 3 else true - 1] = per_class - right
    return tuple(map(tuple, rows))


def cohort(
    *,
    megapixels: tuple[float, float] = (4.0, 13.63),
    detectors: tuple[str, ...] = ("DIRECT",),
    image_types: tuple[str, ...] = ("2D",),
    bits: tuple[int, ...] = (12,),
    images: tuple[int, int, int] = (700, 100, 200),
    shares: tuple[float, ...] = (0.1, 0.4, 0.4, 0.1),
    peak: float = 0.35,
    rejections: tuple[Rejection, ...] = (),
) -> Cohort:
    parts = []
    for part, num in zip(Part, images, strict=True):
        counts = [round(num * share) for share in shares]
        counts[-1] += num - sum(counts)
        parts.append(PartCount(part=part, patients=num // 4, images=num, class_images=tuple(counts)))
    weights = [4.0 ** (-((index / HISTOGRAM_BINS - peak) ** 2) * 80) for index in range(HISTOGRAM_BINS)]
    bins = [round(weight / sum(weights) * 40_000) for weight in weights]
    bins[0] += 100_000 - sum(bins)
    return Cohort(
        preparation=digest_of("preparation"),
        megapixels=megapixels,
        detectors=detectors,
        image_types=image_types,
        bits=bits,
        parts=tuple(parts),
        histogram=tuple(bins),
        rejections=rejections,
    )
