"""A federation whose sites publish signed updates without training, and whose coordinator aggregates them for real."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np

from fedcli import tensors
from fedcli.environment import Environment
from fedcli.exchange import layout
from fedcli.exchange.records import Role, UpdateRecord, ValidationScore
from fedcli.operations.admit import AdmitRequest, admit
from fedcli.operations.aggregate.aggregate_result import AggregateRequest
from fedcli.operations.aggregate.coordinator_round import aggregate
from fedcli.operations.init import InitRequest, init
from fedcli.operations.join import JoinRequest, inspect, join
from fedcli.party.party import Party, publication
from fedcli.party.source import Source
from fedcli.party.transfer.outgoing import ArtifactFile
from fedcli.plan import Confidentiality, Plan
from fedcli.progress import Silent
from fedcli.workspace import WorkspaceRole

if TYPE_CHECKING:
    from pathlib import Path

_PROGRAM = """
import atexit, pathlib, sys
target = pathlib.Path(sys.argv.pop(1))
atexit.register(lambda: target.write_text(pathlib.Path("/proc/self/status").read_text()))
from fedcli.__main__ import main
main()
"""
"""The command, and at its end what the system says of its memory (the parent's count of it begins before exec)."""
_UNSCORED = ValidationScore(patients=0, loss=None, kappa=None)


class Rehearsal:
    """The coordinator's workspace and the drop folder, with an update of every site for round 1.

    Args:
        folder: Where everything goes.
        num_sites: How many sites there are.
        plan: The plan; the default is of DenseNet-121, its files in plain, so that others can read them.

    Attributes:
        fingerprint: The coordinator's key.
    """

    def __init__(self, folder: Path, num_sites: int, plan: Plan | None = None) -> None:
        self._folder = folder
        self._environment = Environment(progress=Silent(), passphrase=str)
        self._deltas: list[tuple[str, int]] = []
        self._generator = np.random.default_rng(0)
        coordinator = folder / "coordinator"
        plan = plan or Plan(name="bench", confidentiality=Confidentiality(sealing=False))
        self.fingerprint = init(
            InitRequest(root=coordinator, plan=plan, source=Source(address=str(folder / "drop"))), self._environment
        ).coordinator
        self._base = next((folder / "drop/coordinator/round-0000").glob("global-*"))
        self._steps = {f"s{number:04d}": 100 + number for number in range(num_sites)}
        for site in self._steps:
            source = Source(address=str(folder / "drop"), coordinator=self.fingerprint)
            joined = join(JoinRequest(root=folder / site, site=site, invitation=inspect(source)), self._environment)
            admit(AdmitRequest(root=coordinator, site=site, fingerprint=joined.fingerprint), self._environment)
        self.send()
        shutil.copytree(coordinator, folder / "coordinator.before")
        shutil.copytree(folder / "drop/coordinator", folder / "records.before")

    def send(self) -> None:
        """Publish every site's update of the round that is open."""
        for site, steps in self._steps.items():
            self._send(self._folder / site, steps)

    def go_on(self, num_rounds: int) -> None:
        """Aggregate, send, aggregate, … until so many rounds are done."""
        for number in range(1, num_rounds + 1):
            aggregate(AggregateRequest(root=self._folder / "coordinator"), self._environment)
            if number < num_rounds:
                self.send()

    def job(self, target: Path) -> tuple[str, list[tuple[str, int]], str]:
        """Return the files as the contenders take them."""
        return str(self._base), self._deltas, str(target)

    def aggregate(self) -> tuple[float, int, float]:
        """Run the command on the folder as it was before; return its seconds, peak memory in bytes, and processor time."""
        for place, before in (("coordinator", "coordinator.before"), ("drop/coordinator", "records.before")):
            shutil.rmtree(self._folder / place)
            shutil.copytree(self._folder / before, self._folder / place)
        os.sync()  # what was copied must not be paid for by the command
        said = self._folder / "said"
        command = [sys.executable, "-c", _PROGRAM, str(said), "aggregate", "-C", str(self._folder / "coordinator"), "--json"]
        before_it, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        busy = after.ru_utime + after.ru_stime - before_it.ru_utime - before_it.ru_stime
        assert '"published"' in done.stdout, done.stdout
        return seconds, 1024 * int(said.read_text().split("VmHWM:")[1].split()[0]), busy

    def _send(self, root: Path, steps: int) -> None:
        with Party.at_work(root, WorkspaceRole.SITE, self._environment) as party:
            number = party.ledger.newest_round + 1
            draft = party.outbox.draft(f"round-{number:04d}")
            delta = {name: self._change(value) for name, value in tensors.read(party.folder.global_model(0)).items()}
            key, path = layout.update(party.name, number), draft.folder / "update"
            file = ArtifactFile(role=Role.UPDATE, path=path, content=tensors.write(path, delta))
            artifact, stored = party.artifact(file, key, party.ledger.in_force(number).record)
            record = UpdateRecord(
                federation=party.ledger.identity,
                party=party.name,
                created=self._environment.clock(),
                versions=party.versions(),
                round=number,
                parent=party.ledger.rounds[-1].digest,
                plan=party.plan.digest,
                dataset=None,
                steps=steps,
                images=steps * party.plan.training.batch_size,
                patients=steps,
                received=_UNSCORED,
                trained=_UNSCORED,
                training_loss=0.0,
                norm=0.0,
                seconds=0.0,
                device="cpu",
                threads=1,
                artifacts=(artifact,),
            )
            party.commit(draft, publication(key, record, (artifact, stored)))
            self._deltas.append((str(self._folder / "drop" / artifact.key), steps))

    def _change(self, value: np.ndarray) -> np.ndarray:
        if value.dtype.kind != "f":
            return value + 1
        return self._generator.standard_normal(value.shape, np.float32) * np.float32(1e-3)
