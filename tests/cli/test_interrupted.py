"""Training that is stopped in the middle, gently or not, and on several processes: the same bits in the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from fedcli import disk
from fedcli.plan import Finetuning
from tests.fixtures.command import COMMAND, run, succeed
from tests.fixtures.federation import PLAN, SITES, Federation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SITE = SITES[0]
LONG = replace(PLAN, rounds=1, training=replace(PLAN.training, steps=30, epochs=3), finetuning=Finetuning(epochs=3))
"""Some seconds of training on a slow machine: long enough to be cut off in the middle."""
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@dataclass(slots=True)
class Site:
    """A federation of one open round, and the site at work.

    Attributes:
        federation: The federation; each has keys and a drop folder of its own, and the same data.
    """

    federation: Federation

    @property
    def workspace(self) -> Path:
        return self.federation.site(SITE)

    @property
    def training(self) -> Path:
        return self.workspace / "training"

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Begin a command in a process."""
        return subprocess.Popen(
            [*COMMAND, *arguments, "-C", str(self.workspace)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
        )  # fmt: skip

    def wait_for_checkpoint(self, process: subprocess.Popen[str]) -> None:
        """Return once a checkpoint is there, which the first epoch's end writes."""
        while not list(self.training.glob("*/checkpoint.json")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)

    def updates(self) -> list[str]:
        found = self.federation.drop.glob(f"sites/{SITE}/round-0001/update-*.safetensors")
        return [disk.measure(path).sha256 for path in found]

    def kept(self) -> dict[str, str]:
        """Return digests of the best models: of the rounds, and of local training."""
        paths = [*self.workspace.glob("state/*/*.safetensors"), *self.workspace.glob("models/*/*.safetensors")]
        return {str(path.relative_to(self.workspace)): disk.measure(path).sha256 for path in paths}


@pytest.fixture
def sites(tmp_path: Path, prepared: dict[str, Path]) -> Iterator[Site]:
    one = {SITE: prepared[SITE]}
    return (Site(Federation(root=tmp_path / str(number), prepared=one, plan=LONG).begin()) for number in range(9))


def stopped(site: Site, number: signal.Signals, *arguments: str) -> tuple[int, str]:
    """Begin a command, send it a signal after its first checkpoint, and return its exit code and stderr."""
    process = site.start(*arguments)
    site.wait_for_checkpoint(process)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    return process.returncode, err


def test_stopped_by_any_signal_and_run_again_it_ends_with_the_same_bits(sites: Iterator[Site]) -> None:
    calm = next(sites)
    assert json.loads(calm.start("train-round", "--json").communicate()[0])["steps"] == 90
    for number, code in ((signal.SIGTERM, 130), (signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
        site = next(sites)
        returned, err = stopped(site, number, "train-round")
        assert returned == code, err
        assert ("interrupted" in err) == (code == 130)
        assert site.updates() == []
        assert (site.training / "round-0001" / "checkpoint.json").is_file()
        process = site.start("train-round", "--json")
        out, err = process.communicate(timeout=120)
        assert "round-0001: resuming from epoch" in err
        assert json.loads(out)["steps"] == 90
        assert site.updates() == calm.updates()
        assert site.kept() == calm.kept()
        assert list(site.training.iterdir()) == []


@pytest.mark.slow
def test_finetune_goes_on_too(sites: Iterator[Site]) -> None:
    calm, site = next(sites), next(sites)
    found = json.loads(calm.start("finetune", "--from", "initial", "--json").communicate()[0])
    for number in (signal.SIGTERM, signal.SIGKILL):
        stopped(site, number, "finetune", "--from", "initial")
        assert not (site.workspace / "models" / "local").exists()
    out, err = site.start("finetune", "--from", "initial", "--json").communicate(timeout=120)
    assert "local: resuming from epoch" in err
    again = json.loads(out)
    assert {key: again[key] for key in ("best_epoch", "best_kappa", "start_kappa", "epochs")} == {
        key: found[key] for key in ("best_epoch", "best_kappa", "start_kappa", "epochs")
    }
    assert site.kept() == calm.kept()
    assert list(site.training.iterdir()) == []


@pytest.mark.slow
def test_with_other_threads_it_begins_anew(sites: Iterator[Site]) -> None:
    site = next(sites)
    stopped(site, signal.SIGHUP, "train-round")
    settings = site.workspace / "workspace.toml"
    settings.write_text(settings.read_text().replace("threads = 0", "threads = 2"))
    done = run("train-round", "-C", site.workspace)
    assert "round-0001: starting again, the interrupted training had threads 1, now 2" in done.stderr
    assert len(site.updates()) == 1


def norms(site: Site) -> dict[str, Any]:
    (path,) = site.federation.drop.glob(f"sites/{SITE}/round-0001/update.json")
    return json.loads(path.read_text())


@pytest.mark.slow
def test_devices_and_torchrun_train_together(sites: Iterator[Site]) -> None:
    """Rounding apart, it is the same training: GroupNorm, float32."""
    alone, devices, torchrun = next(sites), next(sites), next(sites)
    succeed("train-round", "-C", alone.workspace)
    out, err = devices.start("train-round", "--devices", "2", "--json").communicate(timeout=120)
    assert json.loads(out)["status"] == "published", err
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "fedcli")
    for status in ("published", "waiting"):  # where there is nothing to train, the second process is let go
        done = subprocess.run(
            [*launcher, "train-round", "--json", "-C", str(torchrun.workspace)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=120, env=ENVIRONMENT,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["status"] == status
    records = [norms(site) for site in (alone, devices, torchrun)]
    assert [record["steps"] for record in records] == [90] * 3
    assert [" × 2" in record["device"] for record in records] == [False, True, True]
    for record in records[1:]:
        assert record["training_loss"] == pytest.approx(records[0]["training_loss"], rel=0.05)
    assert devices.updates() == torchrun.updates()


@pytest.mark.parametrize("device", [pytest.param("cpu", marks=pytest.mark.slow), pytest.param("cuda", marks=pytest.mark.gpu)])
def test_one_process_trains_on_each_device(sites: Iterator[Site], device: str) -> None:
    import torch  # noqa: PLC0415 - takes seconds

    count = torch.cuda.device_count() if device == "cuda" else 2
    site = next(sites)
    settings = site.workspace / "workspace.toml"
    settings.write_text(settings.read_text().replace('device = "auto"', f'device = "{device}"'))
    out, err = site.start("train-round", "--devices", str(count), "--json").communicate(timeout=600)
    assert json.loads(out)["steps"] == 90, err
    record = norms(site)
    assert record["device"].startswith(device)
    assert (f" × {count}" in record["device"]) == (count > 1)
    assert record["training_loss"] < 1.4  # below that of equal probabilities, ln 4 = 1.386, or near it


@pytest.mark.slow
def test_devices_stop_together_and_go_on(sites: Iterator[Site]) -> None:
    calm, site = next(sites), next(sites)
    calm.start("train-round", "--devices", "2").communicate(timeout=120)
    returned, err = stopped(site, signal.SIGTERM, "train-round", "--devices", "2")
    assert returned == 130, err
    out, err = site.start("train-round", "--devices", "2", "--json").communicate(timeout=120)
    assert "resuming from epoch" in err
    assert json.loads(out)["steps"] == 90
    assert site.updates() == calm.updates()
