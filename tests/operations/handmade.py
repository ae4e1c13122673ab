"""Federations whose sites do not train: their updates are written by hand and signed, so that rounds of many sites are quick."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fedcli import tensors, wire
from fedcli.exchange import layout
from fedcli.exchange.keys import create_key, load_signer
from fedcli.exchange.records import FederationRecord, Role, RoundRecord, UpdateRecord, ValidationScore, Versions
from fedcli.operations.aggregate import aggregate
from fedcli.operations.init import init
from fedcli.operations.verify import verify
from fedcli.party.party import Environment, artifact_of
from fedcli.plan import Aggregation, Images, Network, Plan
from fedcli.progress import Silent
from tests.operations.federations import Clock, no_passphrase

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from fedcli.operations.aggregate import AggregateResult
    from fedcli.operations.verify import VerifyResult
    from fedcli.party.update_review import Reviewer
    from fedcli.progress import Progress

VERSIONS = Versions(fedcli="0.1.0", python="3.11.2", numpy="2.4.1")


@dataclass(slots=True)
class Handmade:
    """A coordinator with real commands, and sites that are keys alone.

    Attributes:
        root: Holds the drop folder, the coordinator's workspace and the sites' keys.
        sites: Their names.
        progress: Hears what the coordinator says.
    """

    root: Path
    sites: tuple[str, ...]
    aggregation: Aggregation = field(default_factory=Aggregation)
    rounds: int = 3
    clock: Clock = field(default_factory=Clock)
    progress: Progress = field(default_factory=Silent)
    fingerprint: str = ""

    @property
    def drop(self) -> Path:
        return self.root / "drop"

    @property
    def coordinator(self) -> Path:
        return self.root / "coordinator"

    @property
    def environment(self) -> Environment:
        return Environment(progress=self.progress, passphrase=no_passphrase, clock=self.clock)

    def begin(self) -> Handmade:
        self.root.mkdir(exist_ok=True)
        for site in self.sites:
            create_key(self.root / f"{site}.key", site)
        plan = Plan(
            name="handmade",
            rounds=self.rounds,
            images=Images(size=16),
            network=Network(name="small"),
            aggregation=self.aggregation,
        )
        keys = {site: self.root / f"{site}.key.pub" for site in self.sites}
        self.fingerprint = init(self.coordinator, plan, str(self.drop), None, keys, self.environment).coordinator
        return self

    def record(self, number: int) -> RoundRecord:
        return wire.decode(RoundRecord, (self.drop / layout.round_record(number)).read_bytes())

    def model(self, number: int) -> dict[str, NDArray[Any]]:
        return tensors.read(self.drop / self.record(number).artifacts[0].key)

    def delta(self, site: str, number: int) -> dict[str, NDArray[Any]]:
        """Return a small random delta, the same for the same site and round."""
        generator = np.random.default_rng([number, *site.encode()])
        return {
            name: np.array(3, np.int64)
            if value.dtype == np.int64
            else (generator.standard_normal(value.shape) * 1e-3).astype(np.float32)
            for name, value in self.model(0).items()
        }

    def send(self, site: str, number: int, *, delta: dict[str, NDArray[Any]] | None = None, **facts: Any) -> UpdateRecord:
        """Publish a site's update of a round."""
        delta = self.delta(site, number) if delta is None else delta
        parent = (self.drop / layout.round_record(number - 1)).read_bytes()
        beginning = (self.drop / layout.federation(0)).read_bytes()
        key = layout.update(site, number)
        (self.drop / key).parent.mkdir(parents=True, exist_ok=True)
        measured = tensors.write(self.root / "new", delta)
        artifact = artifact_of(key, Role.UPDATE, measured)
        (self.root / "new").rename(self.drop / artifact.key)
        said = {
            "steps": 10 + len(site),
            "images": 300,
            "patients": 80,
            "received": ValidationScore(patients=20, loss=1.2, kappa=0.4),
            "trained": ValidationScore(patients=20, loss=1.1, kappa=0.5),
            "norm": 1.0,
        }
        record = UpdateRecord(
            federation=wire.sha256(beginning),
            party=site,
            created=self.clock(),
            versions=VERSIONS,
            round=number,
            parent=wire.sha256(parent),
            plan=wire.decode(FederationRecord, beginning).plan.digest,
            dataset=None,
            training_loss=1.0,
            seconds=1.0,
            device="cpu",
            threads=1,
            artifacts=(artifact,),
            **(said | facts),
        )
        data = wire.encode(record)
        signer = load_signer(self.root / f"{site}.key", no_passphrase)
        (self.drop / layout.signature(key, wire.sha256(data))).write_bytes(signer.sign(data))
        (self.drop / key).write_bytes(data)
        return record

    def run(self, rounds: int) -> None:
        """Go through rounds in which every site sends."""
        first = int(max(path.name for path in self.drop.glob("coordinator/round-*")).removeprefix("round-")) + 1
        for number in range(first, first + rounds):
            for site in self.sites:
                self.send(site, number)
            self.aggregate()

    def aggregate(self, reviewer: Reviewer | None = None, without: Mapping[str, str] | None = None) -> AggregateResult:
        return aggregate(self.coordinator, self.environment, without=without, reviewer=reviewer)

    def verify(self) -> VerifyResult:
        """Verify everything, and replay."""
        return verify(str(self.drop), progress=Silent(), replay=True, coordinator=self.fingerprint)[0]

    def resign(self, number: int, **changes: Any) -> None:
        """Replace a round record by what its own coordinator could have signed instead."""
        record = wire.plain(self.record(number)) | changes
        data = wire.encode(wire.decode_mapping(RoundRecord, record))
        key = layout.round_record(number)
        for path in (self.drop / key).parent.glob("round.json*"):
            path.unlink()
        signer = load_signer(self.coordinator / "key", no_passphrase)
        (self.drop / layout.signature(key, wire.sha256(data))).write_bytes(signer.sign(data))
        (self.drop / key).write_bytes(data)
