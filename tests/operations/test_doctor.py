"""The doctor: a workspace that is well, and every line made to fail, for real."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fedcli.environment import now
from fedcli.exchange import layout
from fedcli.exchange.keys import create_key
from fedcli.exchange.store import LocalStore
from fedcli.operations.doctor import DoctorRequest, Finding, Outcome, doctor, drop_checks, machine_checks, workspace_checks
from fedcli.operations.doctor.findings import Examination
from fedcli.operations.init import InitRequest, init
from fedcli.operations.join import JoinRequest, inspect, join
from fedcli.operations.train_round import TrainRoundRequest, train_round
from fedcli.party.source import Source
from fedcli.plan import Network, Precision
from fedcli.private_files import locked
from fedcli.results import Status
from fedcli.workspace import Workspace
from tests.fixtures.devices import DEVICES
from tests.fixtures.federation import PLAN, SITES, Clock, Federation
from tests.fixtures.interruption import Unplugged
from tests.fixtures.servers import free_port, running_sshd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fedcli.operations.doctor import DoctorResult
    from tests.fixtures.servers import Sshd

NOBODY = 65534
OF_THE_DROP_FOLDER = ["drop folder", "coordinator's key", "history"]
OF_A_WORKSPACE = [
    "settings", "workspace", "signing key", "secret", "lock", "outbox", *OF_THE_DROP_FOLDER, "own prefix", "others read",
    "others' prefixes", "new sites", "clock", "encryption keys", "membership", "plan", "prepared data", "space here",
    "space there",
]  # fmt: skip
OF_A_MACHINE = ["decoders", "PyTorch", "GPU"]


@pytest.fixture(scope="module")
def well_once(tmp_path_factory: pytest.TempPathFactory, prepared: dict[str, Path]) -> Federation:
    root = tmp_path_factory.mktemp("well") / "f"
    return Federation(root=root, prepared=prepared, clock=Clock(now())).begin()


@pytest.fixture
def well(tmp_path: Path, well_once: Federation) -> Federation:
    """Return a federation that has begun at this very moment: files are dated by a real clock."""
    federation = well_once.copy(tmp_path / "well")
    assert len(Workspace.open(federation.site("north")).secret) == 32
    return federation


def result_of(federation: Federation, name: str = "north", hours: float = 0) -> DoctorResult:
    environment = replace(federation.environment, clock=lambda: now() + timedelta(hours=hours))
    return doctor(DoctorRequest(root=federation.root / name), environment)


def found_by(federation: Federation, name: str = "north", hours: float = 0) -> dict[str, Finding]:
    return {finding.name: finding for finding in result_of(federation, name, hours).findings}


def failed(found: dict[str, Finding]) -> set[str]:
    return {name for name, finding in found.items() if finding.outcome is Outcome.FAIL}


def set_to(federation: Federation, before: str, after: str) -> None:
    path = federation.site("north") / "workspace.toml"
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))


@contextmanager
def without_privileges() -> Iterator[None]:
    """Be nobody for a while, where the tests run as root, whom no permission stops."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def reachable(folder: Path) -> Iterator[None]:
    """Let everybody go through pytest's folders for a while, which are its owner's alone."""
    closed = [(path, path.stat().st_mode) for path in folder.parents if path.stat().st_mode & 0o001 == 0]
    for path, mode in closed:
        path.chmod(mode | 0o011)
    yield
    for path, mode in closed:
        path.chmod(mode)


# ------------------------------------------------------------------------------------------------------------- all is well


@pytest.mark.parametrize("name", ["north", "coordinator"])
def test_a_workspace_that_is_well(well: Federation, name: str) -> None:
    before = {path: path.read_bytes() for path in well.drop.rglob("*") if path.is_file()}
    result = result_of(well, name)
    assert (result.status, result.party, result.drop) == (Status.DONE, name, str(well.drop))
    found = {finding.name: finding for finding in result.findings}
    assert list(found) == OF_A_WORKSPACE + OF_A_MACHINE
    assert {name for name, finding in found.items() if finding.outcome is Outcome.WARN} <= {"others' prefixes", "decoders"}
    skipped = {name for name, finding in found.items() if finding.outcome is Outcome.SKIPPED} - {"GPU"}
    assert skipped == (set() if name == "north" else {"secret", "plan", "prepared data"})
    assert found["history"].found == "test: 2 sites, round 0 of 2"
    assert {path: path.read_bytes() for path in well.drop.rglob("*") if path.is_file()} == before, "a probe was left"


def test_an_address_alone(well: Federation) -> None:
    result = doctor(
        DoctorRequest(root=well.root / "nowhere", source=Source(address=str(well.drop))), replace(well.environment, clock=now)
    )
    assert (result.status, result.party, result.drop) == (Status.DONE, None, str(well.drop))
    names = [finding.name for finding in result.findings]
    assert names == [*OF_THE_DROP_FOLDER, "new sites", "clock", "space there", *OF_A_MACHINE]
    found = {finding.name: finding for finding in result.findings}
    assert found["coordinator's key"].outcome is Outcome.SKIPPED
    assert found["coordinator's key"].found.startswith(well.fingerprint)


@pytest.mark.parametrize(
    ("outcome", "remedy"), [(Outcome.FAIL, ""), (Outcome.WARN, ""), (Outcome.OK, "x"), (Outcome.SKIPPED, "x")]
)
def test_a_remedy_stands_where_one_is_needed_and_nowhere_else(outcome: Outcome, remedy: str) -> None:
    with pytest.raises(ValueError, match="do not go together"):
        Finding(name="lock", outcome=outcome, found="x", remedy=remedy)


# ----------------------------------------------------------------------------------------------------------- the workspace


def test_no_workspace_and_faulty_settings(well: Federation, tmp_path: Path) -> None:
    result = doctor(DoctorRequest(root=tmp_path), well.environment)
    assert (result.status, [finding.name for finding in result.findings]) == (Status.FAILED, ["settings", *OF_A_MACHINE])
    assert "not a workspace" in result.findings[0].found
    assert result.message.startswith("4 checks: 1 failed")
    set_to(well, "threads = 0", "threads = -1")
    assert "threads: should be greater" in found_by(well)["settings"].found


def test_a_workspace_that_others_can_write(well: Federation) -> None:
    well.site("north").chmod(0o777)
    finding = found_by(well)["workspace"]
    assert (finding.outcome, finding.remedy) == (Outcome.WARN, f"chmod -R go= {well.site('north')}")


def test_a_workspace_that_this_account_cannot_write(well: Federation) -> None:
    exam, settings = Examination(), Workspace.open(well.site("north")).settings
    with without_privileges():
        workspace_checks.folder(exam, Workspace(Path("/usr"), settings))
    assert [(finding.outcome, finding.remedy) for finding in exam.findings] == [
        (Outcome.FAIL, "run as the owner of /usr, or chown it")
    ]


def test_a_key_that_others_can_read(well: Federation) -> None:
    (well.site("north") / "key").chmod(0o644)
    found = found_by(well)
    assert failed(found) == {"signing key"}
    assert found["signing key"].remedy == f"chmod 600 {well.site('north') / 'key'}"


def test_a_key_that_is_gone(well: Federation) -> None:
    (well.site("north") / "key").unlink()
    found = found_by(well)
    assert failed(found) == {"signing key"}
    assert found["membership"].outcome is Outcome.SKIPPED


def test_encryption_keys_that_others_can_read_are_damaged_or_gone(well: Federation) -> None:
    folder = well.site("north") / "encryption"
    path = folder / "0001.key"
    path.chmod(0o644)
    assert found_by(well)["encryption keys"].remedy == f"chmod 600 {path}"
    path.write_text("damaged")
    found = found_by(well)
    assert failed(found) == {"encryption keys"}
    assert "not an encryption key" in found["encryption keys"].found
    shutil.rmtree(folder)
    assert "is not in" in found_by(well)["encryption keys"].found


def test_a_secret_that_others_can_read_or_that_is_cut_off(well: Federation) -> None:
    path = well.site("north") / "secret"
    path.chmod(0o640)
    assert found_by(well)["secret"].remedy == f"chmod 600 {path}"
    path.write_bytes(b"short")
    found = found_by(well)
    assert failed(found) == {"secret"}
    assert found["secret"].remedy == "restore it from a backup"


def test_another_command_at_work(well: Federation) -> None:
    with locked(well.site("north")):
        assert found_by(well)["lock"].outcome is Outcome.WARN
    assert found_by(well)["lock"].outcome is Outcome.OK


def test_an_outbox_with_something_in_it(well: Federation) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_round(TrainRoundRequest(root=well.site("north")), replace(well.environment, progress=Unplugged()))
    finding = found_by(well)["outbox"]
    assert (finding.outcome, finding.found) == (Outcome.WARN, "not published yet: round-0001")
    train_round(TrainRoundRequest(root=well.site("valley"), review=True), well.environment)
    finding = found_by(well, "valley")["outbox"]
    assert (finding.found, finding.remedy) == (
        "held for review: round-0001",
        f"`fedcli train-round -C {well.site('valley')} --review` shows it and asks",
    )


# ----------------------------------------------------------------------------------------------------------- the drop folder


def test_a_drop_folder_that_is_not_there(well: Federation) -> None:
    well.drop.rename(well.root / "unmounted")
    found = found_by(well)
    assert failed(found) == {"drop folder"}
    assert found["drop folder"].remedy.startswith("check that the share is mounted; if the folder or the workspace was moved")
    skipped = {name for name, finding in found.items() if finding.outcome is Outcome.SKIPPED} - {"GPU"}
    assert skipped == {"coordinator's key", "history", "own prefix", "others read", "others' prefixes", "new sites", "clock",
                       "membership", "plan", "space here", "space there"}  # fmt: skip
    assert found["prepared data"].outcome is Outcome.OK, "by the plan that was approved"


def test_an_address_of_no_known_scheme(well: Federation) -> None:
    finding = doctor(DoctorRequest(root=well.root, source=Source(address="gopher://host/drop")), well.environment).findings[0]
    assert (finding.name, finding.outcome) == ("drop folder", Outcome.FAIL)


def test_another_federation_than_the_pinned_one(well: Federation) -> None:
    set_to(well, well.fingerprint, "SHA256:" + "A" * 43)
    found = found_by(well)
    assert failed(found) == {"coordinator's key", "history"}
    assert f"it is {well.fingerprint}, expected the pinned" in found["coordinator's key"].found


def test_a_history_that_was_changed(well: Federation) -> None:
    path = well.drop / layout.round_record(0)
    path.write_bytes(path.read_bytes().replace(b'"round": 0', b'"round": 7', 1))
    assert failed(found_by(well)) == {"history"}


def test_a_history_that_was_rolled_back(well: Federation) -> None:
    assert failed(found_by(well)) == set()
    (well.drop / layout.federation(2)).unlink()
    found = found_by(well)
    assert failed(found) == {"history"}
    assert "gone from the drop folder" in found["history"].found


def test_an_own_prefix_that_cannot_be_written(well: Federation) -> None:
    well.drop.joinpath("sites/north").rename(well.root / "away")
    well.drop.joinpath("sites/north").write_text("a file where the folder should be")
    found = found_by(well)
    assert failed(found) == {"own prefix"}
    assert found["own prefix"].remedy == "let this account, and no other, write under sites/north/"


def test_an_own_prefix_that_others_can_write(well: Federation) -> None:
    well.drop.joinpath("sites/north").chmod(0o775)
    finding = found_by(well)["own prefix"]
    assert (finding.outcome, "mode 0775: others can write there too" in finding.found) == (Outcome.WARN, True)


def test_a_record_that_the_others_cannot_read(well: Federation) -> None:
    assert found_by(well)["others read"].outcome is Outcome.OK
    (well.drop / "sites/north").chmod(0o700)
    assert found_by(well)["others read"].outcome is Outcome.OK, "one account writes everything"
    if os.geteuid() != 0:
        pytest.skip("only root can give files to another account")
    for path in (well.drop / "coordinator", *(well.drop / "coordinator").rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    finding = found_by(well)["others read"]
    assert finding.outcome is Outcome.WARN
    assert "mode 0700 of sites/north is for one account only" in finding.found
    assert f"run `chmod -R g+rX {well.drop}/sites/north`" in finding.remedy


def test_a_folder_in_which_no_other_site_can_join(well: Federation) -> None:
    well.drop.chmod(0o2775)
    (well.drop / "sites").chmod(0o2755)
    assert found_by(well)["new sites"].outcome is Outcome.OK, "one account writes everything"
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder to another account")
    os.chown(well.drop / "sites", NOBODY, NOBODY)
    finding = found_by(well, "coordinator")["new sites"]
    assert finding.outcome is Outcome.FAIL
    assert finding.remedy == f"its owner runs `chmod g+w,+t {well.drop}/sites`"
    (well.drop / "sites").chmod(0o3775)
    assert found_by(well)["new sites"].outcome is Outcome.OK


def test_others_prefixes_that_can_be_written(well: Federation) -> None:
    finding = found_by(well)["others' prefixes"]
    assert (finding.outcome, finding.found) == (Outcome.WARN, "this account can write under 2 of them, such as coordinator/")


def test_others_prefixes_that_cannot_be_written(well: Federation) -> None:
    exam, store, own = Examination(), LocalStore(well.drop), Workspace.open(well.site("north"))
    ledger = drop_checks.history(exam, store, None, None)
    others = (well.drop / "coordinator", well.drop / "sites/valley")
    for path in others:
        path.chmod(0o555)
    with reachable(well.drop), without_privileges():
        drop_checks.other_prefixes(exam, store, own, ledger)
    assert (exam.findings[-1].outcome, exam.findings[-1].found) == (Outcome.OK, "this account can write under none of 2")
    for path in others:
        path.chmod(0o777)
    with reachable(well.drop), without_privileges():
        drop_checks.other_prefixes(exam, store, own, ledger)
    assert exam.findings[-1].outcome is Outcome.WARN


@pytest.mark.parametrize(("hours", "said"), [(1, "ahead of the drop folder's clock"), (-1, "behind the drop folder's clock")])
def test_a_clock_that_differs_from_the_file_servers(well: Federation, hours: float, said: str) -> None:
    found = found_by(well, hours=hours)
    assert failed(found) == {"clock"}
    assert said in found["clock"].found


def test_a_clock_behind_the_coordinators_records(well: Federation) -> None:
    result = doctor(
        DoctorRequest(root=well.root, source=Source(address=str(well.drop))),
        replace(well.environment, clock=lambda: well.clock() - timedelta(hours=2)),
    )
    found = {finding.name: finding for finding in result.findings}
    assert failed(found) == {"clock"}
    assert "was made 7200 s after now, by the coordinator's clock" in found["clock"].found


# -------------------------------------------------------------------------------------------------- a drop folder elsewhere


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def remote(well: Federation, sshd: Sshd) -> Federation:
    """Return a federation whose drop folder north reaches by SFTP."""
    shutil.copytree(well.drop, sshd.root, dirs_exist_ok=True)
    for path in (sshd.root, *sshd.root.rglob("*")):  # the server's accounts have no group in common with this one
        path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
    set_to(well, f'drop = "{well.drop}"', f'drop = "{sshd.address("north")}"')
    set_to(well, 'host_key = ""', f'host_key = "{sshd.fingerprint}"')
    set_to(well, 'ssh_key = ""', f'ssh_key = "{sshd.keys["north"]}"')
    return well


def test_a_server_that_is_well(remote: Federation, sshd: Sshd) -> None:
    found = found_by(remote)
    assert failed(found) == set()
    assert found["drop folder"].found.endswith("; the host's key is the trusted one, the account is accepted")
    assert found["own prefix"].outcome is found["clock"].outcome is found["space here"].outcome is Outcome.OK
    assert found["others' prefixes"].found == "this cannot be checked without writing there"
    assert found["space there"].found.endswith("MB needed until the last round; the free space is not known here")
    assert not list(sshd.root.rglob("*probe*"))


def test_a_host_key_that_is_not_the_pinned_one(remote: Federation, sshd: Sshd) -> None:
    set_to(remote, sshd.fingerprint, "SHA256:" + "A" * 43)
    found = found_by(remote)
    assert failed(found) == {"drop folder"}
    assert f"{sshd.fingerprint}, expected SHA256:AAA" in found["drop folder"].found
    assert "host_key in workspace.toml" in found["drop folder"].remedy


def test_an_account_that_is_refused(remote: Federation, sshd: Sshd, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "stranger"], check=True)
    set_to(remote, str(sshd.keys["north"]), str(tmp_path / "stranger"))
    found = found_by(remote)
    assert failed(found) == {"drop folder"}
    assert "was refused" in found["drop folder"].found


def test_a_server_that_is_not_there(remote: Federation, sshd: Sshd) -> None:
    set_to(remote, f":{sshd.port}", f":{free_port()}")
    found = found_by(remote)
    assert failed(found) == {"drop folder"}
    assert "cannot be reached" in found["drop folder"].found


def test_an_account_that_may_not_write_under_the_sites_prefix(remote: Federation, sshd: Sshd) -> None:
    if not sshd.apart:
        pytest.skip("only root can make an account for every party")
    set_to(remote, sshd.address("north"), sshd.address("valley"))
    set_to(remote, str(sshd.keys["north"]), str(sshd.keys["valley"]))
    found = found_by(remote)
    assert failed(found) == {"own prefix"}
    assert "permission denied" in found["own prefix"].found


# ----------------------------------------------------------------------------------------------------------- the federation


def test_a_site_that_is_not_admitted(well: Federation) -> None:
    request = JoinRequest(root=well.site("harbour"), site="harbour", invitation=inspect(well.source()))
    join(replace(request, prepared=str(well.prepared["north"])), well.environment)
    finding = found_by(well, "harbour")["membership"]
    assert (finding.outcome, finding.remedy) == (Outcome.WARN, "the coordinator runs `fedcli admit -C WORKSPACE harbour`")


def test_a_site_that_is_listed_with_another_key(well: Federation) -> None:
    create_key(well.site("north") / "key", "another")
    assert failed(found_by(well)) == {"membership"}


def test_a_plan_that_was_not_approved(well: Federation) -> None:
    plan = replace(well.plan, training=replace(well.plan.training, rate=5e-4))
    well.amend(plan)
    found = found_by(well)
    assert failed(found) == {"plan"}
    assert found["plan"].found == f"in force is {plan.digest[:12]}, approved {well.plan.digest[:12]}"
    (well.site("north") / "approval.json").unlink()
    assert found_by(well)["plan"].found == "none was approved"


def test_data_that_were_not_prepared(well: Federation) -> None:
    set_to(well, str(well.prepared["north"]), "elsewhere")
    assert failed(found_by(well)) == {"prepared data"}


# --------------------------------------------------------------------------------------------------------------- the machine


def test_a_federation_too_large_for_the_disk(well: Federation, tmp_path: Path) -> None:
    key = well.site("north") / "key.pub"
    plan = replace(PLAN, rounds=9999, network=Network(name="small"))
    environment = replace(well.environment, clock=now)
    init(
        InitRequest(
            root=tmp_path / "c",
            plan=plan,
            source=Source(address=str(tmp_path / "d")),
            sites={f"site-{number}": key for number in range(1000)},
        ),
        environment,
    )
    result = doctor(DoctorRequest(root=tmp_path / "c"), environment)
    found = {finding.name: finding for finding in result.findings}
    assert "space there" in failed(found)
    assert "GB needed until the last round" in found["space there"].found
    assert found["space here"].outcome is Outcome.OK


def test_the_space_that_is_needed_there_is_that_of_all_files_to_come(well: Federation) -> None:
    store = LocalStore(well.drop)
    ledger = drop_checks.history(Examination(), store, None, None)
    assert ledger is not None
    artifacts = lambda: sum(path.stat().st_size for path in well.drop.rglob("*.safetensors"))  # noqa: E731
    before = artifacts()
    shared = 3 * len(SITES) * machine_checks.model_bytes(ledger)
    needed = machine_checks.needed_there(store, ledger) - shared
    for _ in range(well.plan.rounds):
        well.train()
        well.aggregate()
    assert artifacts() - before == needed


def test_a_disk_without_room(tmp_path: Path) -> None:
    exam = Examination()
    for need in (1, 1 << 60):
        with exam.check("space here", "make room") as line:
            machine_checks.compare(line, tmp_path, need)
    assert [finding.outcome for finding in exam.findings] == [Outcome.OK, Outcome.FAIL]


def test_a_disk_that_is_gone(tmp_path: Path) -> None:
    exam = Examination()
    with exam.check("space here", "make room") as line:
        machine_checks.compare(line, tmp_path / "nowhere", 1)
    assert [(finding.outcome, finding.remedy) for finding in exam.findings] == [(Outcome.FAIL, "make room")]
    assert "nowhere: No such file" in exam.findings[0].found


def test_a_machine_without_decoders() -> None:
    program = (
        "import sys\n"
        "codecs = [f'imagecodecs._{name}' for name in ('jpeg8', 'jpegls', 'jpeg2k', 'htj2k')]\n"
        "for name in ('PIL', 'gdcm', 'pylibjpeg', *codecs):\n"
        "    sys.modules[name] = None\n"
        "from fedcli.operations.doctor import machine_checks\n"
        "from fedcli.operations.doctor.findings import Examination\n"
        "exam = Examination()\n"
        "machine_checks.decoders(exam)\n"
        "print(exam.findings[0].outcome, exam.findings[0].found, exam.findings[0].remedy, sep='|')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    outcome, found, remedy = done.stdout.strip().split("|")
    missing, _, decoded = found.partition("; decoded here: ")
    assert outcome == "warn"
    assert missing.startswith("not decoded here: JPEG baseline, JPEG extended, JPEG lossless")
    assert missing.endswith("JPEG 2000 lossless, JPEG 2000, HTJ2K lossless, HTJ2K lossless (RPCL), HTJ2K")
    assert decoded == "implicit little endian, explicit little endian, explicit big endian, deflated, RLE"
    assert remedy.endswith("pip install imagecodecs")


@pytest.mark.parametrize("device", DEVICES)
def test_the_device_of_the_settings_is_named(well: Federation, device: str) -> None:
    import torch  # noqa: PLC0415 - takes seconds

    set_to(well, 'device = "auto"', f'device = "{device}"')
    found = found_by(well)
    assert f", trains on {device}, " in found["PyTorch"].found
    if device == "cuda":
        assert found["GPU"].outcome is Outcome.OK
        assert torch.cuda.get_device_name(0) in found["GPU"].found


@pytest.mark.parametrize(("in_hardware", "outcome"), [(False, Outcome.WARN), (True, Outcome.OK)])
def test_bfloat16_that_the_machine_can_only_imitate(
    *, in_hardware: bool, outcome: Outcome, tmp_path: Path, prepared: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch  # noqa: PLC0415 - takes seconds

    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: in_hardware)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    plan = replace(PLAN, training=replace(PLAN.training, precision=Precision.BFLOAT16))
    federation = Federation(root=tmp_path / "f", prepared=prepared, clock=Clock(now()), plan=plan).begin()
    set_to(federation, 'device = "auto"', 'device = "cpu"')
    found = found_by(federation)["PyTorch"]
    assert found.outcome is outcome
    assert ("bfloat16, which cpu can only imitate" in found.found) is not in_hardware
    assert found_by(federation, "coordinator")["PyTorch"].outcome is Outcome.OK


def test_a_device_that_is_not_there(well: Federation) -> None:
    set_to(well, 'device = "auto"', 'device = "cuda:99"')
    found = found_by(well)
    assert failed(found) == {"PyTorch"}
    assert found["PyTorch"].remedy == "set `device` in workspace.toml to auto or cpu"
