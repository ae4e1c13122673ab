"""What is the SFTP store's own: whom it trusts, how it logs in, and what a server can refuse. See test_store.py for the rest."""

from __future__ import annotations

import gc
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from functools import partialmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paramiko
import pytest

from fedcli.disk import CHUNK_BYTES
from fedcli.errors import ConfigurationError, ConflictError, FedcliError, StoreError, UnreadableError, UsageError
from fedcli.exchange.store import StoreOptions, open_store
from fedcli.exchange.store.sftp.connection import Session
from tests.fixtures.files import file_with, pattern
from tests.fixtures.servers import free_port, running_sshd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fedcli.exchange.store import Store
    from tests.fixtures.servers import Sshd

KEY = "record.json"
OTHER_FINGERPRINT = "SHA256:" + "a" * 43


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home with ~/.ssh, and no agent."""
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return tmp_path / "home" / ".ssh"


@pytest.fixture
def below(sshd: Sshd) -> str:
    return sshd.folder("north")


def refused(store: Store, kind: type[FedcliError] = StoreError) -> FedcliError:
    with pytest.raises(kind) as caught:
        store.list("")
    assert store.address in str(caught.value)
    assert caught.value.hint
    return caught.value


def test_a_connection_ends_with_its_store(sshd: Sshd, below: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = []
    monkeypatch.setattr(Session, "__init__", partialmethod(_noting, Session.__init__, sessions))
    store = sshd.store("north", below)
    store.publish(KEY, b"{}")
    (session,) = sessions
    assert session.alive
    del store
    gc.collect()
    until = time.monotonic() + 30
    while session.alive and time.monotonic() < until:
        time.sleep(0.05)
    assert not session.alive


def _noting(session: Session, begin: Callable[..., None], into: list[Session], *arguments: Any) -> None:
    begin(session, *arguments)
    into.append(session)


# ----------------------------------------------------------------------------------------------------- the host's key


def test_a_pinned_fingerprint_is_enough(sshd: Sshd, below: str, home: Path) -> None:
    sshd.store("north", below).publish(KEY, b"{}")
    assert sshd.store("north", below).list("") == (KEY,)


@pytest.mark.usefixtures("home")
def test_another_fingerprint_than_the_pinned_is_refused(sshd: Sshd, below: str) -> None:
    error = refused(sshd.store("north", below, host_key=OTHER_FINGERPRINT))
    assert f"key is {sshd.fingerprint}, expected {OTHER_FINGERPRINT}, as pinned" in str(error)


def test_a_pin_counts_whatever_known_hosts_says(sshd: Sshd, below: str, home: Path) -> None:
    (home / "known_hosts").write_text(sshd.known_host)
    refused(sshd.store("north", below, host_key=OTHER_FINGERPRINT))


@pytest.mark.usefixtures("home")
def test_an_unknown_host_is_refused_and_its_key_shown(sshd: Sshd, below: str) -> None:
    error = refused(sshd.store("north", below, host_key=""))
    assert f"no known_hosts file names [127.0.0.1]:{sshd.port}" in str(error)
    assert sshd.fingerprint in str(error)
    assert "host_key in workspace.toml" in error.hint


def test_a_known_host_is_trusted(sshd: Sshd, below: str, home: Path) -> None:
    (home / "known_hosts").write_text(sshd.known_host)
    assert sshd.store("north", below, host_key="").list("") == ()


def test_a_known_host_with_another_key_is_refused(sshd: Sshd, below: str, home: Path) -> None:
    other = sshd.keys["valley"].with_suffix(".pub").read_text().split()
    (home / "known_hosts").write_text(f"[127.0.0.1]:{sshd.port} {other[0]} {other[1]}\n")
    error = refused(sshd.store("north", below, host_key=""))
    assert re.search(
        rf"its host key is {re.escape(sshd.fingerprint)}, expected SHA256:\S+, as a known_hosts file says", str(error)
    )
    assert "intercepting" in error.hint


# --------------------------------------------------------------------------------------------------------- logging in


def test_a_key_that_the_server_does_not_know_is_refused(sshd: Sshd, below: str, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    error = refused(sshd.store("north", below, ssh_key=tmp_path / "other"))
    assert f"the account {sshd.accounts['north']} was refused; tried {tmp_path / 'other'}" in str(error)


def test_an_encrypted_key_says_so(sshd: Sshd, below: str, tmp_path: Path) -> None:
    shutil.copy(sshd.keys["north"], tmp_path / "locked")
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "a passphrase", "-f", tmp_path / "locked"], check=True, capture_output=True)
    error = refused(sshd.store("north", below, ssh_key=tmp_path / "locked"))
    assert "the private key is encrypted" in str(error)
    assert "ssh-add" in error.hint


def test_a_missing_key_is_a_configuration_error(sshd: Sshd, below: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no such private key"):
        sshd.store("north", below, ssh_key=tmp_path / "none")


@pytest.mark.usefixtures("home")
def test_without_any_key_the_account_is_refused(sshd: Sshd, below: str) -> None:
    error = refused(sshd.store("north", below, ssh_key=None))
    assert "was refused; tried an agent and the usual files" in str(error)


def test_ssh_config_names_host_user_port_and_key(sshd: Sshd, below: str, home: Path) -> None:
    path = sshd.address("north", below).partition(f":{sshd.port}")[2]
    lines = [
        "Host study", "HostName 127.0.0.1", f"Port {sshd.port}", f"User {sshd.accounts['north']}",
        f"IdentityFile {sshd.keys['north']}", f"UserKnownHostsFile {home}/study_hosts", "IdentitiesOnly yes",
    ]  # fmt: skip
    (home / "config").write_text("\n".join(lines) + "\n")
    (home / "study_hosts").write_text(sshd.known_host)
    store = open_store(f"sftp://study{path}", StoreOptions(timeout=20))
    store.publish(KEY, b"{}")
    assert sshd.store("north", below).read(KEY, 10) == b"{}"


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A second server, through which the first one is reached."""
    with running_sshd(tmp_path_factory.mktemp("gate"), apart=False) as server:
        yield server


def hop(name: str, gate: Sshd, home: Path) -> list[str]:
    (home / "gate_hosts").write_text(gate.known_host)
    return [
        f"Host {name}", "HostName 127.0.0.1", f"Port {gate.port}", f"User {gate.accounts['north']}",
        f"IdentityFile {gate.keys['north']}", f"UserKnownHostsFile {home}/gate_hosts", "StrictHostKeyChecking yes",
    ]  # fmt: skip


@pytest.mark.parametrize("hops", ["gate", "gate,again"])
def test_a_server_behind_another_is_reached_by_proxy_jump(sshd: Sshd, gate: Sshd, below: str, home: Path, hops: str) -> None:
    lines = [*hop("gate", gate, home), *hop("again", gate, home), f"Host 127.0.0.1\nProxyJump {hops}"]
    (home / "config").write_text("\n".join(lines) + "\n")
    source = file_with(home, pattern(3 << 20))
    store = sshd.store("north", below)
    store.publish(KEY, b"{}")
    store.put_artifact("sites/north/update-0123456789ab.safetensors", source)
    assert store.fetch("sites/north/update-0123456789ab.safetensors", home / "copy", 4 << 20).size == 3 << 20
    (home / "config").unlink()
    assert sshd.store("north", below).read(KEY, 10) == b"{}"


def test_a_proxy_command_knows_host_port_and_user(sshd: Sshd, gate: Sshd, below: str, home: Path) -> None:
    program = home / "through"
    program.write_text(f'#!/bin/sh\necho "$@" > {home}/said\nexec ssh -F {home}/config -W "$1:$2" gate\n')
    program.chmod(0o700)
    lines = [*hop("gate", gate, home), f"Host 127.0.0.1\nProxyCommand {program} %h %p %r"]
    (home / "config").write_text("\n".join(lines) + "\n")
    sshd.store("north", below).publish(KEY, b"{}")
    assert (home / "said").read_text() == f"127.0.0.1 {sshd.port} {sshd.accounts['north']}\n"


@pytest.mark.parametrize(
    ("line", "said"), [("ProxyJump localhost:{port}", "refused"), ("ProxyCommand sh -c 'echo no way >&2'", "no way")]
)
def test_a_detour_that_leads_nowhere_is_named(sshd: Sshd, below: str, home: Path, line: str, said: str) -> None:
    (home / "config").write_text(f"Host 127.0.0.1\n{line.format(port=free_port())}\n")
    error = refused(sshd.store("north", below))
    assert f"reached by `{line.partition(' ')[0]} " in str(error)
    assert said in str(error)


@pytest.mark.skipif(shutil.which("ssh-agent") is None, reason="no ssh-agent on this machine: apt-get install openssh-client")
@pytest.mark.usefixtures("home")
def test_an_agent_holds_the_key(sshd: Sshd, below: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as folder:  # whose path is short enough for a socket
        place = Path(folder) / "agent"
        agent = subprocess.Popen(["ssh-agent", "-D", "-a", place], stdout=subprocess.DEVNULL)
        try:
            end = time.monotonic() + 10
            while not place.exists() and time.monotonic() < end:
                time.sleep(0.05)
            monkeypatch.setenv("SSH_AUTH_SOCK", str(place))
            subprocess.run(["ssh-add", "-q", sshd.keys["north"]], check=True)
            assert sshd.store("north", below, ssh_key=None).list("") == ()
        finally:
            agent.kill()
            agent.wait()


@pytest.mark.parametrize(
    "address",
    ["sftp://", "sftp://host", "sftp://user:word@host/x", "sftp://host:99999/x", "sftp://host/x?a=b", "sftp://host/x#a"],
)
def test_an_address_of_another_form_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="expected sftp://user@host:port/path") as caught:
        open_store(address)
    assert "key" in caught.value.hint


def test_a_server_that_is_not_there_says_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        store = open_store(f"sftp://127.0.0.1:{taken.getsockname()[1]}/x", StoreOptions(timeout=5))
        assert "cannot be reached: Connection refused" in str(refused(store))


def test_a_request_is_not_kept_back(sshd: Sshd, below: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With Nagle's algorithm a request waits for the answer to the one before, and a download takes twice as long."""
    opened = []
    connect = socket.create_connection
    monkeypatch.setattr(socket, "create_connection", lambda *args: opened.append(connect(*args)) or opened[-1])
    sshd.store("north", below).list("")
    assert [line.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for line in opened] == [1]


# ----------------------------------------------------------------------------------------------------- what is refused


def test_a_drop_folder_that_is_not_there_is_not_an_empty_one(sshd: Sshd, below: str) -> None:
    store = sshd.store("north", f"{below}/none")
    error = refused(store)
    assert "the drop folder is not there" in str(error)
    store.publish("a/b.json", b"{}")
    assert store.list("") == ("a/b.json",)


def test_folders_and_records_are_asked_for_many_at_once(sshd: Sshd, below: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a long line each question takes its time, so the answers must not be waited for one by one."""
    keys = tuple(f"round-{number:04d}/update.json" for number in range(200))
    for key in keys:
        path = sshd.root / below / key
        path.parent.mkdir()
        path.write_bytes(key.encode())
    store = sshd.store("north", below)
    read = paramiko.SFTPClient._read_response  # noqa: SLF001 - the store waits there for answers
    polls: list[int] = []

    def counting(client: Any, waitfor: int | None = None) -> Any:
        polls.append(len(client._expecting))  # noqa: SLF001
        return read(client, waitfor)

    monkeypatch.setattr(paramiko.SFTPClient, "_read_response", counting)
    assert store.list("") == keys
    assert max(polls) >= 50
    polls.clear()
    assert [store.read(key, 100) for key in keys] == [key.encode() for key in keys]
    assert max(polls) >= 50


def test_a_listing_with_a_limit_asks_a_limited_number_of_times(sshd: Sshd, below: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In each of 3,000 folders there is another, and in one of them are 3,000 files."""
    for number in range(3000):
        (sshd.root / below / f"sites/north/round-{number:04d}/x").mkdir(parents=True)
    store = sshd.store("north", below)
    request = paramiko.SFTPClient._async_request  # noqa: SLF001 - the store sends each request by it
    num_requests = 0

    def counting(client: Any, *arguments: Any) -> Any:
        nonlocal num_requests
        num_requests += 1
        return request(client, *arguments)

    monkeypatch.setattr(paramiko.SFTPClient, "_async_request", counting)
    (listing,) = store.list_each(["sites/north/"], 100).values()
    assert listing.fault == "sites/north: more than 100 files and folders, of which the others are ignored"
    assert num_requests <= 4 * (100 + 10)  # to open, read twice and close each


def test_a_server_that_opens_few_files_at_once_is_asked_one_by_one(tmp_path: Path) -> None:
    keys = tuple(f"round-{number:04d}/update.json" for number in range(100))
    (tmp_path / "sshd").mkdir()
    with running_sshd(tmp_path / "sshd", apart=False, before=("prlimit", "--nofile=30:30")) as sshd:
        for key in keys:
            path = sshd.root / "sites/north" / key
            path.parent.mkdir(parents=True)
            path.write_bytes(key.encode())
        store = sshd.store("north", "sites/north")
        assert store.list("") == keys
        assert [store.read(key, 100) for key in keys] == [key.encode() for key in keys]


def test_a_listing_that_is_refused_leaves_the_connection_as_good_as_before(sshd: Sshd, below: str) -> None:
    if os.geteuid() == 0 and not sshd.apart:
        pytest.skip("an account for every party needs useradd")
    keys = tuple(f"round-{number:04d}/update.json" for number in range(100))
    for key in keys:
        (sshd.root / below / key).parent.mkdir()
        (sshd.root / below / key).write_bytes(key.encode())
    for number in (3, 50, 99):
        (sshd.root / below / f"round-{number:04d}").chmod(0)
    store = sshd.store("north", below)
    for _ in range(5):
        with pytest.raises(UnreadableError, match=r"round-00(03|50|99): permission denied"):
            store.list("")
        assert store.read(keys[0], 100) == keys[0].encode()
    for number in (3, 50, 99):
        (sshd.root / below / f"round-{number:04d}").chmod(0o755)
    assert store.list("") == keys
    assert [store.read(key, 100) for key in keys] == [key.encode() for key in keys]


def test_a_name_that_is_no_text_is_none_of_ours(sshd: Sshd, below: str) -> None:
    Path(os.fsdecode(os.fsencode(sshd.root / below) + b"/\xff\xfe")).mkdir()
    store = sshd.store("north", below)
    store.publish(KEY, b"{}")
    assert store.list("") == (KEY,)


def test_what_cannot_be_removed_is_named(sshd: Sshd, below: str, tmp_path: Path) -> None:
    if not sshd.apart:
        pytest.skip("an account for every party needs root and useradd")
    key = "a.safetensors"
    (tmp_path / "source").write_bytes(b"weights")
    sshd.store("north", below).put_artifact(key, tmp_path / "source")
    with pytest.raises(StoreError, match=f"^{key}: permission denied") as caught:
        sshd.store("valley", below).remove_artifact(key)
    assert not isinstance(caught.value, UnreadableError)
    assert sshd.store("valley", below).read(key, 100) == b"weights"


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    """The server may write 200 kB a file: beyond that every write fails, as it does on a full disk."""
    limited = ("sh", "-c", 'trap "" XFSZ; ulimit -f 400; exec "$@"', "sh")
    with running_sshd(tmp_path, apart=False, before=limited) as server:
        below = server.folder("north")
        store = server.store("north", below)
        source = tmp_path / "source"
        source.write_bytes(bytes(10 * CHUNK_BYTES))
        for attempt in (lambda: store.put_artifact("a.safetensors", source), lambda: store.publish(KEY, bytes(300_000))):
            with pytest.raises(StoreError, match="in the drop folder sftp://") as caught:
                attempt()
            assert "disk or quota may be full" in caught.value.hint
        assert list((server.root / below).iterdir()) == []
        store.publish(KEY, b"{}")
        assert store.list("") == (KEY,)


class Overwriting(paramiko.SFTPServerInterface):  # type: ignore[misc]  # paramiko has no types
    """Files in a folder, whose rename replaces what is there, as some servers' does."""

    root = Path()

    def _at(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def _answer(self, work: Any) -> Any:
        try:
            result = work()
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)
        return paramiko.SFTP_OK if result is None or isinstance(result, Path) else result

    def stat(self, path: str) -> Any:
        return self._answer(lambda: paramiko.SFTPAttributes.from_stat(self._at(path).stat()))

    lstat = stat

    def list_folder(self, path: str) -> Any:
        return self._answer(
            lambda: [paramiko.SFTPAttributes.from_stat(item.stat(), item.name) for item in self._at(path).iterdir()]
        )

    def open(self, path: str, flags: int, attr: Any) -> Any:  # noqa: ARG002
        def opened() -> Any:
            mode = "rb" if not flags & (os.O_WRONLY | os.O_RDWR) else "xb"
            handle = paramiko.SFTPHandle(flags)
            handle.readfile = handle.writefile = self._at(path).open(mode)
            return handle

        return self._answer(opened)

    def rename(self, oldpath: str, newpath: str) -> Any:
        return self._answer(lambda: self._at(oldpath).replace(self._at(newpath)))

    def remove(self, path: str) -> Any:
        return self._answer(self._at(path).unlink)

    def mkdir(self, path: str, attr: Any) -> Any:  # noqa: ARG002
        return self._answer(self._at(path).mkdir)


class Anybody(paramiko.ServerInterface):  # type: ignore[misc]
    """Lets every key in."""

    def get_allowed_auths(self, username: str) -> str:  # noqa: ARG002
        return "publickey"

    def check_auth_publickey(self, username: str, key: Any) -> int:  # noqa: ARG002
        return int(paramiko.AUTH_SUCCESSFUL)

    def check_channel_request(self, kind: str, chanid: int) -> int:  # noqa: ARG002
        return int(paramiko.OPEN_SUCCEEDED)


def test_probe_refuses_a_server_whose_rename_overwrites(sshd: Sshd, tmp_path: Path) -> None:
    Overwriting.root = tmp_path / "files"
    Overwriting.root.mkdir()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def serve() -> None:
            transport = paramiko.Transport(listener.accept()[0])
            transport.add_server_key(paramiko.Ed25519Key(filename=str(sshd.keys["host"])))
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer, Overwriting)
            transport.start_server(server=Anybody())

        threading.Thread(target=serve, daemon=True).start()
        address = f"sftp://anybody@127.0.0.1:{listener.getsockname()[1]}/"
        store = open_store(address, sshd.options("north"))
        with pytest.raises(StoreError, match="an existing file can be created again") as caught:
            store.probe("coordinator/")
        assert not isinstance(caught.value, ConflictError)
        assert "rename replaces" in caught.value.hint
        assert store.list("") == ()
        source = tmp_path / "source"
        source.write_bytes(b"artifact")
        store.put_artifact("a.safetensors", source)  # this server knows no posix-rename
        store.put_artifact("a.safetensors", source)
        assert store.read("a.safetensors", 100) == b"artifact"
