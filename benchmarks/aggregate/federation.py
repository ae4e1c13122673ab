"""A federation that has reached the end of a round: every site has published a signed update of DenseNet-121, untrained."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np

from fedcli import tensors
from fedcli.exchange import layout
from fedcli.exchange.records import Role, UpdateRecord, ValidationScore
from fedcli.operations.admit import admit
from fedcli.operations.init import init
from fedcli.operations.join import JoinRequest, inspect, join
from fedcli.operations.party import Environment, Party, artifact_of, parcel
from fedcli.plan import Plan
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
    """The coordinator's workspace and the drop folder, as they are before round 1 is aggregated.

    Args:
        folder: Where everything goes.
        num_sites: How many sites have sent an update.
    """

    def __init__(self, folder: Path, num_sites: int) -> None:
        self._folder = folder
        self._environment = Environment(progress=Silent(), passphrase=str)
        self._deltas: list[tuple[str, int]] = []
        coordinator = folder / "coordinator"
        fingerprint = init(coordinator, Plan(name="bench"), str(folder / "drop"), None, {}, self._environment).coordinator
        self._base = next((folder / "drop/coordinator/round-0000").glob("global-*"))
        generator = np.random.default_rng(0)
        for number in range(num_sites):
            site = f"s{number:04d}"
            request = JoinRequest(root=folder / site, site=site, drop=str(folder / "drop"))
            joined = join(request, inspect(request.drop, fingerprint), self._environment)
            admit(coordinator, site, joined.fingerprint, self._environment)
            self._send(folder / site, 100 + number, generator)
        shutil.copytree(coordinator, folder / "coordinator.before")
        shutil.copytree(folder / "drop/coordinator", folder / "records.before")

    def job(self, target: Path) -> tuple[str, list[tuple[str, int]], str]:
        """Return the files as the contenders take them."""
        return str(self._base), self._deltas, str(target)

    def aggregate(self) -> tuple[float, int]:
        """Run the command on the folder as it was before; return its seconds and its peak memory in bytes."""
        for place, before in (("coordinator", "coordinator.before"), ("drop/coordinator", "records.before")):
            shutil.rmtree(self._folder / place)
            shutil.copytree(self._folder / before, self._folder / place)
        said = self._folder / "said"
        command = [sys.executable, "-c", _PROGRAM, str(said), "aggregate", "-C", str(self._folder / "coordinator"), "--json"]
        started = time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds = time.perf_counter() - started
        assert '"published"' in done.stdout, done.stdout
        return seconds, 1024 * int(said.read_text().split("VmHWM:")[1].split()[0])

    def _send(self, root: Path, steps: int, generator: np.random.Generator) -> None:
        party = Party.open(root, WorkspaceRole.SITE, self._environment)
        party.folder.synchronise()
        draft = party.outbox.draft("round-0001")
        delta = {
            name: generator.standard_normal(value.shape, np.float32) * np.float32(1e-3) if value.dtype.kind == "f" else value + 1
            for name, value in tensors.read(self._base).items()
        }
        key = layout.update(party.name, 1)
        artifact = artifact_of(key, Role.UPDATE, tensors.write(draft.folder / "update", delta))
        record = UpdateRecord(
            federation=party.folder.ledger.identity,
            party=party.name,
            created=self._environment.clock(),
            versions=party.versions(),
            round=1,
            parent=party.folder.ledger.rounds[0].digest,
            plan=party.plan.digest,
            dataset=None,
            steps=steps,
            images=steps,
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
        party.seal(draft, parcel(key, record, (artifact, draft.folder / "update")))
        self._deltas.append((str(self._folder / "drop" / artifact.key), steps))
