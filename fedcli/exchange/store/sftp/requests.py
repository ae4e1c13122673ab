"""Many requests under way on one SFTP session.

Over a long line each answer takes as long as the way there and back, so requests are sent before earlier ones are answered.
One thread sends and receives. Two kinds of work are built on that: reading one file in order, with as many requests under way as
the window holds, and running many small tasks, each of which waits only for its own answers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, TypeVar

import paramiko
from paramiko.sftp import CMD_READ, CMD_STATUS, int64

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")
Task = Generator[tuple[Any, ...], paramiko.Message, T]
"""Work that yields requests and is sent their answers; what the server refuses is raised in it."""

WINDOW = 4 << 20
"""Bytes of a file that may be under way."""


class Requests:
    """Requests under way, and the answers that have arrived and were not taken yet.

    Args:
        sftp: The session; other requests on it do not disturb these.
    """

    def __init__(self, sftp: paramiko.SFTPClient) -> None:
        self._sftp = sftp
        self.answers: dict[int, paramiko.Message | Exception] = {}

    def send(self, *request: Any) -> int:
        """Send a request and return its number."""
        return int(self._sftp._async_request(self, *request))  # noqa: SLF001

    def receive(self) -> None:
        """Wait for the session's next answer; if it belongs to one of these requests, it is in `answers` afterwards.

        Raises:
            SSHException: The connection is lost.
        """
        self._sftp._read_response()  # noqa: SLF001

    def read(self, handle: bytes, offset: int, length: int) -> int:
        """Send a request for bytes of an open file and return its number."""
        return self.send(CMD_READ, handle, int64(offset), length)

    def data(self, number: int) -> bytes:
        """Wait for the bytes that a request has asked for; none at the end of the file."""
        while number not in self.answers:
            self.receive()
        answer = self.answers.pop(number)
        if isinstance(answer, EOFError):
            return b""
        if isinstance(answer, Exception):
            raise answer
        return bytes(answer.get_binary())

    def _async_response(self, kind: int, message: paramiko.Message, number: int) -> None:
        """Take an answer; paramiko calls this."""
        self.answers[number] = message
        if kind == CMD_STATUS:
            try:
                self._sftp._convert_status(message)  # noqa: SLF001
            except (EOFError, OSError) as error:
                self.answers[number] = error


def read_in_order(sftp: paramiko.SFTPClient, handle: bytes, size: int, step: int) -> Iterator[bytes]:
    """Yield the first `size` bytes of an open file, or all that there are, asking for `step` bytes at a time.

    Raises:
        OSError: The server refuses.
        SSHException: The connection is lost.
    """
    requests = Requests(sftp)
    waiting: deque[tuple[int, int, int]] = deque()
    asked = 0
    while asked < size or waiting:
        while asked < size and len(waiting) * step < WINDOW:
            length = min(step, size - asked)
            waiting.append((requests.read(handle, asked, length), asked, length))
            asked += length
        number, offset, length = waiting.popleft()
        data = requests.data(number)
        while data and length > len(data):  # some servers answer less than they were asked for
            yield data
            offset, length = offset + len(data), length - len(data)
            data = requests.data(requests.read(handle, offset, length))
        if not data:
            return
        yield data


def run_tasks(sftp: paramiko.SFTPClient, tasks: deque[Task[T]], at_once: int) -> Iterator[T]:
    """Run tasks, at most `at_once` at a time, and yield what each returns, in the order in which they end.

    Args:
        sftp: The session.
        tasks: What is still to begin; more may be added at any time.
        at_once: How many tasks are under way at most.

    Raises:
        OSError: A task lets the server's refusal pass.
        SSHException: The connection is lost.
    """
    requests = Requests(sftp)
    waiting: dict[int, Task[T]] = {}
    results: deque[T] = deque()

    def resume(task: Task[T], answer: Any) -> None:
        try:
            request = task.throw(answer) if isinstance(answer, Exception) else task.send(answer)
        except StopIteration as end:
            results.append(end.value)
        else:
            waiting[requests.send(*request)] = task

    while tasks or waiting:
        while tasks and len(waiting) < at_once:
            resume(tasks.popleft(), None)
        if waiting:
            requests.receive()
        while requests.answers:
            number, answer = requests.answers.popitem()
            resume(waiting.pop(number), answer)
        while results:
            yield results.popleft()
