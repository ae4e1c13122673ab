"""What `fedcli access` prints, and that real servers under it let a party write its own part alone."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import obstore
import paramiko
import pytest
from obstore.exceptions import BaseError

from fedcli.errors import ConflictError, StoreError, UsageError
from fedcli.exchange import layout
from fedcli.operations.access.bucket import S3AccessRequest, s3_access
from fedcli.operations.access.sshd import SshdAccessRequest, sshd_access
from tests.fixtures.servers import BUCKET, PARTIES, READER, SITES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.fixtures.servers import S3, Sshd

PREFIXES = {"coordinator": "coordinator/", **{site: layout.prefix(site) for site in SITES}}


@pytest.fixture
def apart(sshd: Sshd) -> Sshd:
    """The SFTP server, every party with its own record."""
    if not sshd.apart:
        pytest.skip("an account for every party needs root and useradd")
    for party, prefix in PREFIXES.items():
        sshd.store(party).publish(f"{prefix}record.json", party.encode())
    return sshd


# ------------------------------------------------------------------------------------------------------------------ sshd


@pytest.mark.parametrize("party", [*PARTIES, READER])
def test_sshd_a_party_writes_its_own_part_and_reads_all(apart: Sshd, tmp_path: Path, party: str) -> None:
    store = apart.store(party)
    (tmp_path / "source").write_bytes(b"weights")
    for other, prefix in PREFIXES.items():
        assert store.read(f"{prefix}record.json", 100) == other.encode()
        assert f"{prefix}record.json" in store.list(prefix)
        if other == party:
            store.publish(f"{prefix}round-0001/update.json", b"{}")
            store.put_artifact(f"{prefix}round-0001/a.safetensors", tmp_path / "source")
            store.remove_artifact(f"{prefix}round-0001/a.safetensors")
            store.probe(prefix)
            continue
        attempts: list[Callable[[], object]] = [
            lambda prefix=prefix: store.publish(f"{prefix}new.json", b"x"),  # type: ignore[misc]
            lambda prefix=prefix: store.publish(f"{prefix}deep/new.json", b"x"),  # type: ignore[misc]
            lambda prefix=prefix: store.put_artifact(f"{prefix}new.safetensors", tmp_path / "source"),  # type: ignore[misc]
            lambda prefix=prefix: store.probe(prefix),  # type: ignore[misc]
        ]
        for attempt in attempts:
            with pytest.raises(StoreError, match="permission denied") as caught:
                attempt()
            assert "fedcli access sshd" in caught.value.hint
        with pytest.raises(StoreError):
            store.publish(f"{prefix}record.json", b"x")
    with pytest.raises(StoreError, match="permission denied"):
        store.publish("sites/intruder/enrolment-0000.json", b"x")
    with pytest.raises(StoreError, match="permission denied"):
        store.publish("elsewhere.json", b"x")


@pytest.mark.parametrize("party", [*SITES, READER])
def test_sshd_no_request_of_a_site_touches_what_is_anothers(apart: Sshd, party: str) -> None:
    """Every request that SFTP has, below the store: nothing of the coordinator's or another site's changes."""
    before = snapshot(apart.root)
    own = PREFIXES.get(party, "")
    with logged_in(apart, party) as sftp:
        for other, prefix in PREFIXES.items():
            if other == party:
                continue
            path, folder = f"/{prefix}record.json", f"/{prefix}".rstrip("/")
            for attempt in (
                lambda path=path: sftp.open(path, "w"),
                lambda path=path: sftp.open(path, "a"),
                lambda path=path: sftp.open(path, "r+"),
                lambda path=path: sftp.remove(path),
                lambda path=path: sftp.truncate(path, 0),
                lambda path=path: sftp.chmod(path, 0o777),
                lambda path=path: sftp.utime(path, (0, 0)),
                lambda path=path: sftp.rename(path, f"/{own}stolen.json"),
                lambda path=path: sftp.posix_rename(path, f"/{own}stolen.json"),
                lambda path=path: sftp.posix_rename(f"/{own}record.json", path),
                lambda folder=folder: sftp.rename(folder, f"{folder}-moved"),
                lambda folder=folder: sftp.mkdir(f"{folder}/new"),
                lambda folder=folder: sftp.rmdir(folder),
                lambda folder=folder: sftp.symlink("/etc", f"{folder}/link"),
                lambda folder=folder: sftp.chmod(folder, 0o777),
            ):
                with pytest.raises(OSError):  # noqa: PT011 - servers word refusals as they like
                    attempt()
        with pytest.raises(OSError, match="No such file"):
            sftp.stat("/etc/passwd")
    assert snapshot(apart.root) == before


def test_sshd_an_account_is_good_for_nothing_else(apart: Sshd) -> None:
    common = [
        "-p",
        str(apart.port),
        "-i",
        apart.keys["north"],
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
    ]
    command = ["ssh", *common, "-o", "BatchMode=yes", f"{apart.accounts['north']}@127.0.0.1", "id"]
    done = subprocess.run([str(item) for item in command], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode != 0
    assert "uid=" not in done.stdout


def test_sshd_nobody_else_on_the_server_reads_the_drop_folder(apart: Sshd) -> None:
    folders = [apart.root / prefix for prefix in PREFIXES.values()]
    assert all(stat.S_IMODE(folder.stat().st_mode) & 0o007 == 0 for folder in folders)
    apart.store("north").publish("sites/north/round-0002/update.json", b"{}")
    made = apart.root / "sites/north/round-0002"
    assert stat.S_IMODE(made.stat().st_mode) & 0o027 == 0
    assert stat.S_IMODE((made / "update.json").stat().st_mode) & 0o037 == 0


@pytest.mark.parametrize(
    ("sites", "root", "name"),
    [
        (("North",), "/srv/x", "fedcli"),
        (("coordinator",), "/srv/x", "fedcli"),
        (("a", "a"), "/srv/x", "fedcli"),
        (("a",), "srv/x", "fedcli"),
        (("a",), "/srv/../etc", "fedcli"),
        (("a",), "/srv/x; reboot", "fedcli"),
        (("a",), "/srv/$(reboot)", "fedcli"),
        (("a",), "/", "fedcli"),
        (("a",), "/srv/x", "Fed Cli"),
        (("a",), "/srv/x", "a-name-that-is-too-long-for-accounts"),
    ],
)
def test_sshd_names_that_a_shell_or_a_server_would_take_otherwise_are_refused(
    sites: tuple[str, ...], root: str, name: str
) -> None:
    with pytest.raises(UsageError):
        sshd_access(SshdAccessRequest(sites=sites, root=root, name=name))


# -------------------------------------------------------------------------------------------------------------------- s3


@pytest.mark.parametrize("party", [*PARTIES, READER])
def test_s3_a_party_writes_its_own_part_and_reads_all(
    s3: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, party: str
) -> None:
    for other, prefix in PREFIXES.items():
        s3.store(other, monkeypatch).publish(f"{prefix}record.json", other.encode())
    (tmp_path / "source").write_bytes(bytes(9 << 20))
    store = s3.store(party, monkeypatch)
    for other, prefix in PREFIXES.items():
        assert store.read(f"{prefix}record.json", 100) == other.encode()
        assert f"{prefix}record.json" in store.list("")
        if other == party:
            store.publish(f"{prefix}{party}/update.json", b"{}")
            store.put_artifact(f"{prefix}a.safetensors", tmp_path / "source")
            store.remove_artifact(f"{prefix}a.safetensors")
            store.probe(prefix)
            continue
        attempts: list[Callable[[], object]] = [
            lambda prefix=prefix: store.publish(f"{prefix}new.json", b"x"),  # type: ignore[misc]
            lambda prefix=prefix: store.publish(f"{prefix}record.json", b"x"),  # type: ignore[misc]
            lambda prefix=prefix: store.put_artifact(f"{prefix}new.safetensors", tmp_path / "source"),  # type: ignore[misc]
            lambda prefix=prefix: store.remove_artifact(f"{prefix}new.safetensors"),  # type: ignore[misc]
            lambda prefix=prefix: store.probe(prefix),  # type: ignore[misc]
        ]
        for attempt in attempts:
            with pytest.raises(StoreError, match="AccessDenied") as caught:
                attempt()
            assert not isinstance(caught.value, ConflictError)
            assert "fedcli access s3" in caught.value.hint
    with pytest.raises(StoreError, match="AccessDenied"):
        store.publish("elsewhere.json", b"x")


@pytest.mark.parametrize("party", [*PARTIES, READER])
def test_s3_no_request_touches_what_is_anothers_nor_a_record_at_all(s3: S3, monkeypatch: pytest.MonkeyPatch, party: str) -> None:
    for other, prefix in PREFIXES.items():
        s3.store(other, monkeypatch).publish(f"{prefix}record.json", other.encode())
    service = obstore.store.S3Store(
        BUCKET,
        endpoint=s3.endpoint,
        region="us-east-1",
        access_key_id=party,
        secret_access_key=f"secret of {party}",
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )
    for other, prefix in PREFIXES.items():
        key = f"{prefix}record.json"
        attempts: list[Callable[[], object]] = [
            lambda key=key: obstore.delete(service, key),  # type: ignore[misc]
            lambda key=key: obstore.rename(service, key, f"{PREFIXES.get(party, '')}stolen.json"),  # type: ignore[misc]
        ]
        if other != party:
            attempts += [
                lambda key=key: obstore.put(service, key, b"x"),  # type: ignore[misc]
                lambda key=key: obstore.put(service, key, [bytes(6 << 20)] * 2),  # type: ignore[misc]
                lambda key=key: obstore.copy(service, f"{PREFIXES.get(party, 'sites/north/')}record.json", key),  # type: ignore[misc]
            ]
        for attempt in attempts:
            with pytest.raises(BaseError):
                attempt()
        assert s3.store("coordinator", monkeypatch).read(key, 100) == other.encode()


def test_s3_a_drop_folder_below_a_prefix_has_its_own_policies() -> None:
    policies = {
        party: json.loads(text)
        for party, text in s3_access(S3AccessRequest(sites=("north",), bucket="fed", prefix="study/a")).policies.items()
    }
    text = json.dumps(policies["north"])
    assert "arn:aws:s3:::fed/study/a/sites/north/*" in text
    assert "arn:aws:s3:::fed/sites" not in text
    assert "coordinator" not in text
    assert "arn:aws:s3:::fed/study/a/coordinator/*" in json.dumps(policies["coordinator"])


@pytest.mark.parametrize(("bucket", "prefix"), [("Fed", ""), ("a/b", ""), ("fed", "../x"), ("fed", "A"), ("fed", "a*")])
def test_s3_names_that_cannot_be_are_refused(bucket: str, prefix: str) -> None:
    with pytest.raises(UsageError):
        s3_access(S3AccessRequest(sites=("north",), bucket=bucket, prefix=prefix))


def test_the_command_prints_what_the_operation_makes() -> None:
    command = [sys.executable, "-m", "fedcli", "access", "sshd", "north", "--root", "/srv/study"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == sshd_access(SshdAccessRequest(sites=("north",), root="/srv/study", name="fedcli")).message + "\n"
    command = [sys.executable, "-m", "fedcli", "access", "s3", "north", "--bucket", "study", "--json"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert found["policies"] == dict(s3_access(S3AccessRequest(sites=("north",), bucket="study")).policies)
    assert found["status"] == "done"


def logged_in(server: Sshd, party: str) -> paramiko.SFTPClient:
    transport = paramiko.Transport(("127.0.0.1", server.port))
    transport.connect(username=server.accounts[party], pkey=paramiko.Ed25519Key(filename=str(server.keys[party])))
    return paramiko.SFTPClient.from_transport(transport)


def snapshot(root: Path) -> dict[Path, tuple[int, int, float, bytes]]:
    found = {}
    for path in root.rglob("*"):
        facts = path.lstat()
        found[path] = (facts.st_mode, facts.st_uid, facts.st_mtime, path.read_bytes() if path.is_file() else b"")
    return found
