"""A small valid history with real keys, real signatures and real tensors, and the means to tamper with it.

Keys are derived from names, so that the same history has the same bytes on every machine.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedcli import tensors, wire
from fedcli.cohort import HISTOGRAM_BINS, Cohort, PartCount
from fedcli.exchange import layout
from fedcli.exchange.checks import Signed
from fedcli.exchange.ledger import Ledger
from fedcli.exchange.records import (
    Artifact,
    Contribution,
    DatasetRecord,
    EnrolmentRecord,
    EvaluationRecord,
    FederationRecord,
    Member,
    ModelKind,
    ModelRecord,
    ModelReference,
    PublicKey,
    Purpose,
    Role,
    RoundRecord,
    TestScore,
    UpdateRecord,
    ValidationScore,
    Versions,
)
from fedcli.exchange.signatures import Signer
from fedcli.measures import Estimate, Measures
from fedcli.plan import Images, Limits, Network, Part, Plan

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedcli.exchange.records import Record
    from fedcli.exchange.store import Store

SITES = ("north", "valley")
MAX_STEPS = 100
MAX_MODEL_BYTES = 10**6
PLAN = Plan(
    name="history",
    seed=3,
    rounds=3,
    images=Images(size=16),
    network=Network(name="small"),
    limits=Limits(steps=MAX_STEPS, model_mb=1),
)
CREATED = datetime(2026, 11, 24, 8, tzinfo=UTC)
VERSIONS = Versions(fedcli="0.1.0", python="3.11.2", numpy="2.4.1")
STEPS = {"north": 40, "valley": 25}


def signer_of(name: str) -> Signer:
    """Return the key of a party: always the same for the same name."""
    return Signer(Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest()))


def keys_of(*names: str) -> tuple[PublicKey, ...]:
    """Return the public keys of parties as records hold them."""
    lines = [signer_of(name).verify_key.line for name in names]
    return tuple(PublicKey(purpose=Purpose.SIGNING, algorithm="ssh-ed25519", public_key=line) for line in lines)


def sign(key: str, record: Record | bytes, signer: str) -> Signed:
    """Return a record, or any bytes, as they lie in the drop folder, signed by a party."""
    data = record if isinstance(record, bytes) else wire.encode(record)
    return Signed(key=key, data=data, signature=signer_of(signer).sign(data))


def changed(signed: Signed, signer: str, *, without: tuple[str, ...] = (), **values: Any) -> Signed:
    """Return a record with some values changed or taken out, signed anew: what a party that lies could write itself."""
    mapping = {key: value for key, value in json.loads(signed.data).items() if key not in without}
    data = (json.dumps(mapping | values, ensure_ascii=False, indent=1) + "\n").encode()
    return sign(signed.key, data, signer)


def changed_artifact(signed: Signed, **values: Any) -> list[dict[str, Any]]:
    """Return a record's artifacts with some values of the first one changed."""
    first, *others = json.loads(signed.data)["artifacts"]
    return [first | values, *others]


def model(value: float) -> dict[str, NDArray[Any]]:
    """Return a small global model: two float tensors and an integer buffer."""
    return {
        "layer.weight": np.full((2, 3), value, dtype=np.float32),
        "layer.bias": np.arange(3, dtype=np.float32) + np.float32(value),
        "num_batches": np.array(7, dtype=np.int64),
    }


def file_of(arrays: tensors.Arrays) -> bytes:
    """Return the canonical safetensors file of some arrays."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        tensors.write(path, arrays)
        return path.read_bytes()


def artifact(record_key: str, role: Role, content: bytes) -> Artifact:
    """Return how a record names a file with this content."""
    sha256 = wire.sha256(content)
    return Artifact(
        role=role,
        key=layout.artifact(record_key, sha256),
        stored_size=len(content),
        stored_sha256=sha256,
        content_size=len(content),
        content_sha256=sha256,
    )


def federation(plan: Plan = PLAN, members: tuple[str, ...] = SITES) -> Signed:
    """Return a federation's first record."""
    record = FederationRecord(
        federation=None,
        party="coordinator",
        created=CREATED,
        versions=VERSIONS,
        number=0,
        previous=None,
        from_round=0,
        coordinator=keys_of("coordinator"),
        members=tuple(Member(site=site, keys=keys_of(site)) for site in members),
        plan=plan,
    )
    return sign(layout.federation(0), record, "coordinator")


def amendment(first: Signed, from_round: int, signer: str = "coordinator", **values: Any) -> Signed:
    """Return the record that amends a federation's first one from a round on, some values changed."""
    header = {"federation": wire.sha256(first.data), "previous": wire.sha256(first.data), "number": 1, "from_round": from_round}
    moved = replace(first, key=layout.federation(1))
    return changed(moved, signer, **(header | values))


def cohort() -> Cohort:
    """Return the facts of a prepared data set."""
    counts = ((40, 10), (8, 2), (12, 3))
    return Cohort(
        preparation=wire.digest(PLAN.preparation),
        megapixels=(4.0, 13.5),
        detectors=("DIRECT",),
        image_types=("2D",),
        bits=(12,),
        parts=tuple(
            PartCount(part=part, patients=patients, images=images, class_images=(images, 0, 0, 0))
            for part, (images, patients) in zip(Part, counts, strict=True)
        ),
        histogram=(100_000, *(0,) * (HISTOGRAM_BINS - 1)),
        rejections=(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Chronicle:
    """Two sites, two rounds, and what a site publishes beside its updates.

    Attributes:
        federation: The federation's first record.
        rounds: Rounds 0 and 1.
        updates: Both sites' updates of round 1, which round 1 used.
        next_update: The first site's update of round 2, which no round has used.
        enrolment: The first site's.
        dataset: The first site's.
        shared: A federated model of the first site's.
        evaluation: The first site's.
        artifacts: Files by their keys.
    """

    federation: Signed
    rounds: tuple[Signed, Signed]
    updates: dict[str, Signed]
    next_update: Signed
    enrolment: Signed
    dataset: Signed
    shared: Signed
    evaluation: Signed
    artifacts: dict[str, bytes]

    @property
    def records(self) -> tuple[Signed, ...]:
        """All records in the order of publishing."""
        of_site = (self.enrolment, self.dataset, self.shared, self.evaluation)
        return (self.federation, self.rounds[0], *self.updates.values(), self.rounds[1], self.next_update, *of_site)

    def ledger(self, rounds: int = 2) -> Ledger:
        """Return a ledger, bound to the coordinator's key, that has taken the federation and its first rounds."""
        ledger = Ledger(signer_of("coordinator").verify_key.fingerprint)
        ledger.add_federation(self.federation)
        for signed in self.rounds[:rounds]:
            ledger.add_round(signed)
        return ledger

    def publish(self, store: Store) -> None:
        """Put everything into a drop folder."""
        with TemporaryDirectory() as folder:
            path = Path(folder) / "artifact"
            for key, content in self.artifacts.items():
                path.write_bytes(content)
                store.put_artifact(key, path)
        for signed in self.records:
            publish(store, signed)


def publish(store: Store, signed: Signed) -> None:
    """Put one record and its signature into a drop folder."""
    store.publish(layout.signature(signed.key, wire.sha256(signed.data)), signed.signature)
    store.publish(signed.key, signed.data)


class _Writer:
    """A chronicle in the making."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.federation = federation(plan)
        self.header = {"federation": wire.sha256(self.federation.data), "created": CREATED, "versions": VERSIONS}
        self.artifacts: dict[str, bytes] = {}

    def hold(self, record_key: str, role: Role, value: float) -> tuple[Artifact, ...]:
        content = file_of(model(value))
        found = artifact(record_key, role, content)
        self.artifacts[found.key] = content
        return (found,)

    def round(self, number: int, parent: Signed | None, used: dict[str, Signed]) -> Signed:
        key = layout.round_record(number)
        record = RoundRecord(
            **self.header,
            party="coordinator",
            round=number,
            parent=wire.sha256(parent.data) if parent else None,
            federation_record=wire.sha256(self.federation.data),
            contributions=tuple(
                Contribution(
                    site=site,
                    update=wire.sha256(signed.data),
                    steps=STEPS[site],
                    images=40,
                    patients=10,
                    weight=STEPS[site],
                    norm=0.5,
                    cosine=0.9,
                )
                for site, signed in used.items()
            ),
            artifacts=self.hold(key, Role.MODEL, float(number)),
        )
        return sign(key, record, "coordinator")

    def update(self, site: str, number: int, parent: Signed) -> Signed:
        key = layout.update(site, number)
        record = UpdateRecord(
            **self.header,
            party=site,
            round=number,
            parent=wire.sha256(parent.data),
            plan=self.plan.digest,
            dataset=None,
            steps=STEPS[site],
            images=40,
            patients=10,
            received=ValidationScore(patients=2, loss=1.4, kappa=0.1),
            trained=ValidationScore(patients=2, loss=1.2, kappa=0.3),
            training_loss=1.3,
            norm=0.5,
            seconds=2.0,
            device="cpu",
            threads=1,
            artifacts=self.hold(key, Role.UPDATE, number + STEPS[site] / 100),
        )
        return sign(key, record, site)

    def enrolment(self, site: str) -> Signed:
        record = EnrolmentRecord(
            **self.header, party=site, number=0, previous=None, plan=self.plan.digest, keys=keys_of(site)
        )  # fmt: skip
        return sign(layout.enrolment(site, 0), record, site)

    def dataset(self, site: str) -> Signed:
        return sign(layout.dataset(site, 1), DatasetRecord(**self.header, party=site, number=1, as_of=0, cohort=cohort()), site)

    def shared(self, site: str, base: Signed) -> Signed:
        key = layout.model(site, 1, ModelKind.FEDERATED)
        record = ModelRecord(
            **self.header,
            party=site,
            number=1,
            as_of=1,
            kind=ModelKind.FEDERATED,
            base=wire.sha256(base.data),
            round=1,
            kappa=0.3,
            artifacts=self.hold(key, Role.MODEL, 0.75),
        )
        return sign(key, record, site)

    def evaluation(self, site: str, scored: Signed) -> Signed:
        record = wire.decode(ModelRecord, scored.data)
        score = TestScore(
            model=ModelReference(
                kind=record.kind,
                party=record.party,
                round=record.round,
                record=wire.sha256(scored.data),
                content_sha256=record.artifacts[0].content_sha256,
            ),
            loss=0.9,
            by_case=measures(3),
            by_image=measures(12),
        )
        final = ValidationScore(patients=2, loss=1.0, kappa=0.4)
        key = layout.evaluation(site, 1)
        return sign(
            key,
            EvaluationRecord(**self.header, party=site, number=1, as_of=1, dataset=None, final_validation=final, scores=(score,)),
            site,
        )


def measures(count: int) -> Measures:
    known = Estimate(value=0.5, interval=(0.1, 0.8))
    return Measures(
        count=count,
        kappa=known,
        quadratic_kappa=known,
        accuracy=known,
        balanced_accuracy=known,
        macro_auc=Estimate(),
        dense_auc=Estimate(),
        calibration_error=known,
        confusion=((count, 0, 0, 0), *((0,) * 4,) * 3),
    )


def write_chronicle(plan: Plan = PLAN) -> Chronicle:
    """Return a valid history: two sites, rounds 0 and 1, and one record of every other kind."""
    writer = _Writer(plan)
    beginning = writer.round(0, None, {})
    updates = {site: writer.update(site, 1, beginning) for site in SITES}
    first = writer.round(1, beginning, updates)
    shared = writer.shared("north", first)
    return Chronicle(
        federation=writer.federation,
        rounds=(beginning, first),
        updates=updates,
        next_update=writer.update("north", 2, first),
        enrolment=writer.enrolment("north"),
        dataset=writer.dataset("north"),
        shared=shared,
        evaluation=writer.evaluation("north", shared),
        artifacts=writer.artifacts,
    )
