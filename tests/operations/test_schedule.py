"""What `fedcli schedule` prints works as it is pasted: without the user's PATH, for any path, with an encrypted key."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tempfile
from typing import TYPE_CHECKING

import pytest

from fedcli.errors import UsageError
from fedcli.operations.schedule.cron import cron
from fedcli.operations.schedule.scheduled_command import ScheduleRequest
from fedcli.operations.schedule.slurm import slurm
from fedcli.operations.schedule.systemd import systemd

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fixtures.federation import Federation

SITE = "north"


@pytest.fixture
def workspace(begun: Federation, tmp_path: Path) -> Path:
    """Return a site's workspace whose path needs quotes, with a key that has a passphrase."""
    root = tmp_path / "100 % $HOME's"
    shutil.copytree(begun.site(SITE), root)
    settings = (root / "workspace.toml").read_text().replace('prepared = "', f'prepared = "{begun.site(SITE)}/')
    (root / "workspace.toml").write_text(settings.replace(f"{begun.site(SITE)}//", "/"))
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "a secret", "-f", root / "key"], check=True, stdin=subprocess.DEVNULL)
    passphrase = root / "passphrase"
    passphrase.write_text("a secret\n")
    passphrase.chmod(0o600)
    return root


def request(workspace: Path, **options: int) -> ScheduleRequest:
    return ScheduleRequest(root=workspace, passphrase=workspace / "passphrase", **options)


def run_as_cron(line: str) -> subprocess.CompletedProcess[str]:
    """Run the command of a crontab's line as cron does: an unescaped % would be a line break."""
    command = line.split(maxsplit=5)[5]
    assert not re.search(r"(?<!\\)%", command)
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nowhere", "SHELL": "/bin/sh"}
    return subprocess.run(
        ["/bin/sh", "-c", command.replace("\\%", "%")],
        env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_a_crontabs_line_works_as_it_is_pasted(workspace: Path) -> None:
    line = cron(request(workspace)).message.splitlines()[-1]
    first = run_as_cron(line)
    assert (first.returncode, "published" in first.stderr) == (0, True), first.stderr
    again = run_as_cron(line)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def test_parties_begin_at_different_minutes(begun: Federation) -> None:
    minutes = [cron(ScheduleRequest(root=begun.site(name))).message.splitlines()[-1].split()[0] for name in ("north", "valley")]
    assert all(re.fullmatch(r"\d+-59/15", minute) for minute in minutes)
    assert len(set(minutes)) == 2
    assert re.fullmatch(r"\d+", cron(ScheduleRequest(root=begun.site("north"), every=60)).message.splitlines()[-1].split()[0])


@pytest.mark.parametrize(
    ("every", "minutes", "words"), [(1, r"\*", "every minute"), (15, r"\d+-59/15", "every 15 minutes"), (60, r"\d+", "every 60")]
)
def test_every_interval_is_one_that_cron_and_systemd_know(begun: Federation, every: int, minutes: str, words: str) -> None:
    wanted = ScheduleRequest(root=begun.site("north"), every=every)
    lines = cron(wanted).message.splitlines()
    assert re.fullmatch(minutes, lines[-1].split()[0])
    assert f"train-round {words}" in lines[0]
    script = systemd(wanted).message
    assert f"of north, {words}" in script
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze")
    (calendar,) = re.findall(r"OnCalendar=(.*)", script)
    subprocess.run(["systemd-analyze", "calendar", calendar], check=True, capture_output=True)


def test_the_coordinator_aggregates(begun: Federation) -> None:
    assert cron(ScheduleRequest(root=begun.coordinator)).command[-3:] == ("aggregate", "-C", str(begun.coordinator))
    with pytest.raises(UsageError, match="--devices 2: the coordinator trains nothing"):
        slurm(ScheduleRequest(root=begun.coordinator, devices=2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 7}, "--every 7: expected a divisor of 60"),
        ({"passphrase": "gone"}, "--passphrase-file .*gone: there is no such"),
    ],
)
def test_what_cannot_be_scheduled_is_said(begun: Federation, options: dict[str, object], message: str) -> None:
    if "passphrase" in options:
        options = {"passphrase": begun.root / "gone"}
    with pytest.raises(UsageError, match=message):
        cron(ScheduleRequest(root=begun.site(SITE), **options))  # type: ignore[arg-type]


def test_systemd_accepts_the_units(workspace: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze")
    script = systemd(request(workspace)).message
    writing = script.partition("systemctl")[0]  # the rest needs the account's own systemd
    subprocess.run(["/bin/sh"], input=writing, env={"HOME": str(tmp_path)}, text=True, check=True)
    units = sorted((tmp_path / ".config/systemd/user").iterdir())
    assert [unit.name for unit in units] == ["fedcli-north.service", "fedcli-north.timer"]
    with tempfile.TemporaryDirectory() as runtime:  # whose path is short enough for the sockets of the account's other units
        done = subprocess.run(
            ["systemd-analyze", "verify", "--user", *units],
            env={"HOME": str(tmp_path), "XDG_RUNTIME_DIR": runtime, "PATH": "/usr/bin:/bin"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("devices", [1, 2])
def test_the_scripts_are_sound(workspace: Path, tmp_path: Path, devices: int) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("there is no shellcheck")
    for name, schedule in {"systemd": systemd, "slurm": slurm}.items():
        path = tmp_path / name
        path.write_text(schedule(request(workspace, devices=devices)).message + "\n")
        subprocess.run(["bash", "-n", path], check=True)
        done = subprocess.run(["shellcheck", "--severity=warning", path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_a_job_trains_with_torchrun_and_queues_again(workspace: Path) -> None:
    lines = slurm(request(workspace, devices=2)).message.splitlines()
    command = next(shlex.split(line.removesuffix("&")) for line in lines if line.endswith("&"))
    assert command[0].endswith("/torchrun")
    assert command[-5:] == ["-m", "fedcli", "train-round", "-C", str(workspace)]
    assert "#SBATCH --gpus=2" in lines
    assert lines[-2].startswith("scontrol requeue")


def test_a_job_waits_for_the_round_that_slurm_stops(workspace: Path, tmp_path: Path) -> None:
    """The batch shell is told first; it passes the signal on, and waits until the checkpoint is kept."""
    script = slurm(request(workspace)).message
    command = next(line for line in script.splitlines() if line.endswith("&"))
    child = tmp_path / "child.sh"
    child.write_text("trap 'sleep 1; echo kept; exit 130' TERM\ntouch started\nwhile :; do sleep 0.1; done\n")
    job = script.replace(command, f"bash {shlex.quote(str(child))} &").replace("scontrol", "echo scontrol")
    with subprocess.Popen(
        ["bash", "-c", job], cwd=tmp_path, env={"PATH": "/usr/bin:/bin", "SLURM_JOB_ID": "7"}, stdout=subprocess.PIPE, text=True
    ) as process:
        while not (tmp_path / "started").exists():
            assert process.poll() is None
        process.terminate()
        assert process.communicate(timeout=30)[0].splitlines()[:2] == ["kept", "scontrol requeue 7"]
