"""Connections that are cut, or fall silent, at many points of a transfer: an error in time, and nothing half written."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from fedcli.errors import MissingError, StoreError
from fedcli.exchange.store import open_store
from fedcli.wire import sha256
from tests.fixtures.servers import BUCKET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fedcli.exchange.store import Store
    from tests.fixtures.servers import S3, Sshd

TIMEOUT = 2
SIZE = 9 << 20
"""More than one part of a multipart upload."""
OFFSETS = [0, 1, 10, 50, 200, 500, 1000, 1500, 2000, 2500, 3000, 4000, 6000, 10_000, 50_000, 200_000, 600_000, 1_500_000,
           3_000_000, 5_000_000, 7_000_000, 8_500_000, 9_000_000]  # fmt: skip
KEY = "sites/north/round-0001/update-0123456789ab.safetensors"


@dataclass(slots=True)
class Gate:
    """Passes bytes on between clients and a server, up to a point.

    Attributes:
        port: Of the server.
        limit: Bytes that pass in one direction, of all connections together.
        upwards: Whether those to the server are counted, or those from it.
        cut: Whether everything is then closed, or falls silent.
        heals: Whether connections that are made later pass.
    """

    port: int
    limit: int
    upwards: bool
    cut: bool
    heals: bool = False
    passed: int = 0
    held: list[socket.socket] = field(default_factory=list)

    @contextmanager
    def opened(self) -> Iterator[int]:
        """Yield the port to connect to."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
            try:
                yield listener.getsockname()[1]
            finally:
                listener.shutdown(socket.SHUT_RDWR)
                for item in self.held:
                    item.close()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # the test is over
            while True:
                client = listener.accept()[0]
                server = socket.create_connection(("127.0.0.1", self.port))
                self.held += [client, server]
                counts = not (self.heals and self.passed >= self.limit)
                threading.Thread(target=self._pass, args=(client, server, counts), daemon=True).start()

    def _pass(self, client: socket.socket, server: socket.socket, counts: bool) -> None:  # noqa: FBT001
        counted = (client if self.upwards else server) if counts else None
        ended = False
        with suppress(OSError), selectors.DefaultSelector() as selector:  # one end has gone
            selector.register(client, selectors.EVENT_READ, server)
            selector.register(server, selectors.EVENT_READ, client)
            while not ended and (counted is None or self.passed < self.limit):
                for chosen, _ in selector.select(0.05):
                    source: socket.socket = chosen.fileobj  # type: ignore[assignment]
                    room = max(1, self.limit - self.passed) if source is counted else 65_536
                    data = source.recv(min(65_536, room))
                    ended = ended or not data
                    chosen.data.sendall(data)
                    self.passed += len(data) if source is counted else 0
        if self.cut or ended:
            client.close()
            server.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server, and the store that reaches it through a port.

    Attributes:
        port: Of the server itself.
        through: Returns the store through a port.
    """

    port: int
    through: Callable[[int], Store]


@pytest.fixture(params=["sftp", "s3"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Server:
    if request.param == "sftp":
        sshd: Sshd = request.getfixturevalue("sshd")
        below = sshd.folder("north")
        # 127.0.0.1 with another port is another host to known_hosts; the pinned fingerprint holds anyhow
        return Server(
            port=sshd.port,
            through=lambda port: open_store(sshd.address("north", below, port), sshd.options("north", timeout=TIMEOUT)),
        )
    s3: S3 = request.getfixturevalue("s3")
    for name, value in s3.environment("north").items():
        monkeypatch.setenv(name, value)
    address = f"s3://{BUCKET}/sites/north/{id(monkeypatch):x}"
    return Server(
        port=s3.port,
        through=lambda port: open_store(address, s3.options(endpoint=f"http://127.0.0.1:{port}", timeout=TIMEOUT)),
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"".join(number.to_bytes(8, "big") for number in range(SIZE // 8)))
    return path


def fail(work: Callable[[], object]) -> None:
    """Do what must fail, in time and with an explanation."""
    begun = time.monotonic()
    with pytest.raises(StoreError) as caught:
        work()
    assert time.monotonic() - begun < TIMEOUT + 10
    assert not isinstance(caught.value, MissingError)
    assert caught.value.hint


@pytest.mark.parametrize("cut", [True, False], ids=["cut", "silent"])
def test_an_upload_that_is_broken_off_fails_in_time_and_leaves_nothing(server: Server, source: Path, *, cut: bool) -> None:
    def attempt(offset: int) -> None:
        with Gate(port=server.port, limit=offset, upwards=True, cut=cut).opened() as port:
            store = server.through(port)
            fail(lambda: store.put_artifact(f"{offset}/{KEY}", source))

    with ThreadPoolExecutor(len(OFFSETS)) as pool:
        list(pool.map(attempt, OFFSETS))
    assert server.through(server.port).list("") == ()


@pytest.mark.parametrize("cut", [True, False], ids=["cut", "silent"])
def test_a_download_that_is_broken_off_fails_in_time(server: Server, source: Path, tmp_path: Path, *, cut: bool) -> None:
    server.through(server.port).put_artifact(KEY, source)

    def attempt(offset: int) -> None:
        with Gate(port=server.port, limit=offset, upwards=False, cut=cut).opened() as port:
            store = server.through(port)
            fail(lambda: store.fetch(KEY, tmp_path / f"target-{offset}", SIZE))

    with ThreadPoolExecutor(len(OFFSETS)) as pool:
        list(pool.map(attempt, OFFSETS))
    assert server.through(server.port).fetch(KEY, tmp_path / "whole", SIZE).sha256 == sha256(source.read_bytes())


@pytest.mark.parametrize("cut", [True, False], ids=["cut", "silent"])
def test_reading_many_records_that_is_broken_off_fails_in_time(server: Server, *, cut: bool) -> None:
    """They are read ahead, many at once: the time-out counts once, not once a record."""
    keys = tuple(f"round-{number:04d}/update.json" for number in range(100))
    store = server.through(server.port)
    for key in keys:
        store.publish(key, b"x" * 1000)

    def read_all(port: int) -> None:
        reader = server.through(port)
        assert reader.list("") == keys
        assert all(reader.read(key, 2000) for key in keys)

    def attempt(offset: int) -> None:
        with Gate(port=server.port, limit=offset, upwards=False, cut=cut).opened() as port:
            fail(lambda: read_all(port))

    read_all(server.port)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(attempt, [5000, 15_000, 30_000, 60_000, 80_000, 100_000]))


@pytest.mark.parametrize("offset", [1, 1000, 6000, 1_500_000, 8_500_000])
def test_a_connection_that_is_lost_once_is_made_again(sshd: Sshd, source: Path, tmp_path: Path, offset: int) -> None:
    below = sshd.folder("north")
    with Gate(port=sshd.port, limit=offset, upwards=True, cut=True, heals=True).opened() as port:
        store = open_store(sshd.address("north", below, port), sshd.options("north"))
        if offset < 6000:  # lost before there was one: there is nothing to make again
            fail(lambda: store.put_artifact(KEY, source))
        store.put_artifact(KEY, source)
    assert sshd.store("north", below).fetch(KEY, tmp_path / "whole", SIZE).sha256 == sha256(source.read_bytes())


@pytest.mark.parametrize("offset", range(4000, 9000, 700))
def test_a_record_whose_answer_is_lost_is_published_once(sshd: Sshd, offset: int) -> None:
    """The cut falls on each step of publishing; whether the rename was done before it is found out by reading back."""
    below = sshd.folder("north")
    with Gate(port=sshd.port, limit=offset, upwards=False, cut=True, heals=True).opened() as port:
        store = open_store(sshd.address("north", below, port), sshd.options("north"))
        store.stat("a")
        store.publish("a/record.json", b"mine" * 100)
        store.publish("a/record.json", b"mine" * 100)
        assert store.list("") == ("a/record.json",)
        assert store.read("a/record.json", 1000) == b"mine" * 100
