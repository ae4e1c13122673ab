"""Processes that are killed by SIGKILL at a chosen point of their writing.

To a disk: before each call that makes, links, renames, flushes or removes something, before a file is opened for writing, and
in the midst of a write. To a remote store: around each request that changes something there. Of SFTP (make a folder, open for
writing, write, close, rename, remove): before it is sent, and when it was sent and nobody has heard the answer. Of HTTP (PUT,
POST, DELETE), between client and service: before it passes, when half of its body has passed, and when the service has done it
and the answer is still held.
"""

from __future__ import annotations

import io
import itertools
import multiprocessing
import os
import re
import signal
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import paramiko
import pytest
from paramiko.sftp import CMD_CLOSE, CMD_EXTENDED, CMD_MKDIR, CMD_OPEN, CMD_REMOVE, CMD_RENAME, CMD_WRITE, SFTP_FLAG_WRITE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

EVERY = pytest.param(10_000, marks=pytest.mark.slow, id="every")
"""As many points as there are: slow, so that a few of them are a test of their own."""
ENDPOINT = "AWS_ENDPOINT_URL"
"""Names the service; a dying process puts itself in between."""
_CHANGES = {CMD_CLOSE, CMD_EXTENDED, CMD_MKDIR, CMD_REMOVE, CMD_RENAME, CMD_WRITE}
_CHANGING_METHODS = {"PUT", "POST", "DELETE"}


def run_dying(number: int, work: Callable[[], object], folder: Path, environment: Mapping[str, str] | None = None) -> int | None:
    """Do some work in a process of its own, which is killed at a point; points are counted from 1, 0 kills nothing.

    Args:
        number: The point.
        work: What to do; it can be pickled.
        folder: Where the process may write what it has to say.
        environment: Variables that are set there; the points are then those of remote stores, without it those of the disk.

    Returns:
        How many points there were; None where the process was killed.
    """
    context = multiprocessing.get_context("forkserver")  # whose server has no threads, so that forking it is safe
    context.set_forkserver_preload(["tests.exchange.dying", "torch", "fedcli.operations.train_round"])
    folder.mkdir(parents=True, exist_ok=True)
    child = context.Process(target=_die_at, args=(number, work, folder, environment))
    child.start()
    child.join(120)
    if child.exitcode == -signal.SIGKILL:
        return None
    assert child.exitcode == 0, (folder / "said").read_text()
    return int((folder / "points").read_text())


def killed_everywhere(folder: Path, work: Callable[[Path], None], prepare: Callable[[Path], None] = Path.mkdir) -> list[Path]:
    """Do some work in a process of its own, again and again, each time killed at its next write point.

    Args:
        folder: Where every run gets a folder of its own.
        work: Told its folder.
        prepare: Makes that folder.

    Returns:
        The folders of the runs that were killed, in the order of the points; one run more has ended undisturbed.
    """
    context = multiprocessing.get_context("fork")
    killed: list[Path] = []
    for number in itertools.count(1):
        place = folder / f"killed-{number:03d}"
        prepare(place)
        child = context.Process(target=_die_writing, args=(number, lambda place=place: work(place)))
        child.start()
        child.join()
        if child.exitcode == 0:
            return killed
        assert child.exitcode == -signal.SIGKILL
        killed.append(place)
    raise AssertionError


def _die_writing(number: int, work: Callable[[], None]) -> None:
    _watch_disk(_Points(number))
    work()


def chosen(total: int, most: int) -> list[int]:
    """Return so many of a number of points at most, evenly spread, the first and the last among them."""
    return sorted({1 + round(index * (total - 1) / (most - 1)) for index in range(most)})


class _Points:
    """Counts points, in whatever thread they are met."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._counter = itertools.count(1)
        self._lock = threading.Lock()
        self.met = 0

    def __call__(self, before: Callable[[], object] = lambda: None) -> None:
        with self._lock:
            self.met = next(self._counter)
            if self.met == self._number:
                before()
                os.kill(os.getpid(), signal.SIGKILL)
                signal.pause()


def _die_at(number: int, work: Callable[[], object], folder: Path, environment: Mapping[str, str] | None) -> None:
    said = os.open(folder / "said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    points = _Points(number)
    if environment is None:
        _watch_disk(points)
    else:
        os.environ.update(environment)
        _watch_sftp(points)
    if environment is not None and ENDPOINT in environment:
        os.environ[ENDPOINT] = _gate(environment[ENDPOINT], points)
    work()
    (folder / "points").write_text(str(points.met))


class _TornFile(io.FileIO):
    """A file whose every write is a point to be killed at, half of the bytes written."""

    def __init__(self, path: Path, mode: str, point: _Points) -> None:
        super().__init__(path, mode)
        self._point = point

    def write(self, data: Any) -> int:
        self._point(lambda: super(_TornFile, self).write(memoryview(data)[: len(data) // 2]))
        return super().write(data)


def _watch_disk(point: _Points) -> None:

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            point()
            return call(*arguments, **options)

        return wrapped

    def opened(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if mode not in {"xb", "wb"}:
            return plain_open(path, mode, *arguments, **options)
        point()
        return _TornFile(path, mode, point)

    plain_open = io.open
    for name in ("link", "fsync", "rename", "replace", "unlink", "rmdir", "mkdir"):
        setattr(os, name, counted(getattr(os, name)))
    io.open = opened  # type: ignore[assignment]  # Path.open goes through it


def _watch_sftp(point: _Points) -> None:
    plain = paramiko.SFTPClient._async_request

    def request(client: paramiko.SFTPClient, file: object, kind: int, *arguments: Any) -> Any:
        changes = kind in _CHANGES or (kind == CMD_OPEN and arguments[1] & SFTP_FLAG_WRITE)
        if changes:
            point()
        number = plain(client, file, kind, *arguments)
        if changes:
            point()
        return number

    paramiko.SFTPClient._async_request = request


def _gate(endpoint: str, point: _Points) -> str:
    """Put oneself between this process and a service; return the URL that leads through."""
    parts = urlsplit(endpoint)
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            client = listener.accept()[0]
            threading.Thread(target=_pass_on, args=(client, (str(parts.hostname), parts.port or 80), point), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def _pass_on(client: socket.socket, service: tuple[str, int], point: _Points) -> None:
    """Pass on one request and its answer, whole; a connection is good for one."""
    with client, suppress(ConnectionError), client.makefile("rb") as stream:
        lines = list(iter(stream.readline, b"\r\n"))
        if not lines[:1] or not lines[0]:
            return  # a connection that was opened and not used
        head = b"".join(line for line in lines if not line.lower().startswith(b"connection:"))
        length = int(re.search(rb"(?i)\r\ncontent-length: *(\d+)", head + b"\r\ncontent-length: 0")[1])  # type: ignore[index]
        body = stream.read(length)
        changes = head.split(b" ", 1)[0].decode() in _CHANGING_METHODS
        if changes:
            point()
        with socket.create_connection(service) as server:
            server.sendall(head + b"Connection: close\r\n\r\n" + body[: length // 2])
            if changes and length:
                point()
            server.sendall(body[length // 2 :])
            answer = b"".join(iter(lambda: server.recv(1 << 20), b""))
        if changes:
            point()
        client.sendall(answer)
