"""A federation of processes, killed at random moments and run again, ends with the same bits."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from fedcli import disk, wire
from fedcli.disk import Measured
from fedcli.exchange.records import RoundRecord
from tests.fixtures.command import COMMAND, succeed
from tests.fixtures.federation import PLAN, SITES

if TYPE_CHECKING:
    from pathlib import Path

TOML = f"""
name = "killed"
seed = {PLAN.seed}
rounds = {PLAN.rounds}
[images]
size = {PLAN.images.size}
[split]
train = {PLAN.split.train}
validation = {PLAN.split.validation}
test = {PLAN.split.test}
[network]
name = "{PLAN.network.name}"
[training]
rate = {PLAN.training.rate}
batch_size = {PLAN.training.batch_size}
optimizer_state = "keep"
[finetuning]
epochs = 1
"""


@dataclass(slots=True)
class Script:
    """Every command of a federation, in its order, each in its own process.

    Attributes:
        root: Holds everything.
        archives: The sites' DICOM archives.
        random: Draws the moments of killing; None kills nothing.
        expected: Seconds that each command took undisturbed, in their order.
        seconds: The same of this run.
        kills: How many processes were killed.
    """

    root: Path
    archives: Path
    random: random.Random | None = None
    expected: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    kills: int = 0

    def command(self, *arguments: str | Path, times: int = 1) -> dict[str, Any]:
        """Run a command; where this run is disturbed, kill it so many times before, each time at a random moment."""
        for _ in range(times if self.random else 0):
            self._kill(*arguments)
        started = time.monotonic()
        found = succeed(*arguments)
        self.seconds.append(time.monotonic() - started)
        return found

    def _kill(self, *arguments: str | Path) -> None:
        """Begin a command and kill it; one that was faster than that is begun again, and killed sooner."""
        assert self.random is not None
        for patience in (1.0, 0.4, 0.1, 0.02):
            process = subprocess.Popen(
                [*COMMAND, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            # The first third is Python's start-up, where nothing happens yet.
            with suppress(subprocess.TimeoutExpired):
                process.wait(patience * self.expected[len(self.seconds)] * self.random.uniform(0.33, 1.0))
            process.send_signal(signal.SIGKILL)
            if process.wait() == -signal.SIGKILL:
                self.kills += 1
                return

    def run(self) -> None:
        """Go the whole way."""
        coordinator, drop = self.root / "coordinator", self.root / "drop"
        self.root.mkdir()
        (self.root / "plan.toml").write_text(TOML)
        begun = self.command("init", "-C", coordinator, "--plan", self.root / "plan.toml", "--drop", drop, times=2)
        for site in SITES:
            workspace = ("-C", self.root / site)
            joined = self.command(
                "join", site, *workspace, "--drop", drop, "--coordinator-key", begun["coordinator"],
                "--approve-plan", begun["plan"], "--share-dataset", "--share-models",
            )  # fmt: skip
            self.command("admit", site, "-C", coordinator, "--fingerprint", joined["fingerprint"])
            archive = self.archives / site
            self.command("prepare", archive, "--labels", archive / "labels.csv", *workspace)
        for _ in range(PLAN.rounds):
            for site in SITES:
                self.command("train-round", "-C", self.root / site, times=2)
            self.command("aggregate", "-C", coordinator, times=2)
        for site in SITES:
            self.command("train-round", "-C", self.root / site)
        self.command("finetune", "-C", self.root / SITES[0])
        self.command("evaluate", "-C", self.root / SITES[0])
        found = succeed("verify", "-C", coordinator, "--replay", "--coordinator-key", begun["coordinator"])
        assert found["verified"]
        assert found["replayed"] == PLAN.rounds

    def models(self) -> list[Measured]:
        """Return the size and digest of every global model, as opened, then of every site's best one and optimizer state."""
        records = sorted(self.root.glob("drop/coordinator/round-*/round.json"))
        decoded = [wire.decode(RoundRecord, record.read_bytes()) for record in records]
        paths = sorted(self.root.glob("*/state/round-*/*.safetensors")) + sorted(self.root.glob("*/models/*/*.safetensors"))
        opened = [Measured(size=file.content_size, sha256=file.content_sha256) for item in decoded for file in item.artifacts]
        return opened + [disk.measure(path) for path in paths]


@pytest.mark.slow
def test_killed_at_random_and_run_again_ends_with_the_same_bits(tmp_path: Path, prepared: dict[str, Path]) -> None:
    archives = prepared[SITES[0]].parent.parent / "archives"
    calm = Script(root=tmp_path / "calm", archives=archives)
    calm.run()
    killed = Script(root=tmp_path / "killed", archives=archives, random=random.Random(20261124), expected=calm.seconds)
    killed.run()
    assert killed.kills >= 20
    assert len(calm.models()) == PLAN.rounds + 1 + len(SITES) + 1
    assert killed.models() == calm.models()
