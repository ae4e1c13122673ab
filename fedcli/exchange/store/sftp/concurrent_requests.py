"""Many small pieces of work on one SFTP session, each asking and waiting for its own answers, all under way at once.

Over a long line every answer takes as long as the way there and back, and a drop folder of hundreds of rounds has thousands of
files. A piece of work is a generator that yields requests and is sent their answers; what the server refuses is raised in it.
"""

from __future__ import annotations

import errno
import stat
from collections import deque
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import paramiko
from paramiko.sftp import CMD_CLOSE, CMD_OPEN, CMD_OPENDIR, CMD_READ, CMD_READDIR, CMD_STAT, CMD_STATUS, SFTP_FLAG_READ, int64

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")
Work = Generator[tuple[Any, ...], paramiko.Message, T]
Folder = dict[str, paramiko.SFTPAttributes]

AT_ONCE = 64
"""Pieces of work under way: each holds a file or folder open on the server, which allows some hundreds."""
_LONGEST_READ = 32 << 10
"""Bytes to ask for at a time: what every server answers."""


class Conversations(Generic[T]):
    """The pieces of work on one session.

    Attributes:
        ahead: What is still to begin; more may be put there at any time.

    Args:
        sftp: The session.
        at_once: How many pieces are under way, at most.
    """

    def __init__(self, sftp: paramiko.SFTPClient, ahead: deque[Work[T]], at_once: int) -> None:
        self.ahead = ahead
        self._sftp = sftp
        self._at_once = at_once
        self._waiting: dict[int, Work[T]] = {}
        self._done: deque[T] = deque()

    def results(self) -> Iterator[T]:
        """Do all of the work; yield what each piece returns, in the order in which they end.

        Raises:
            SSHException: The connection is lost.
            OSError: A piece of work lets the server's refusal pass.
        """
        try:
            while self.ahead or self._waiting:
                while self.ahead and len(self._waiting) < self._at_once:
                    work = self.ahead.popleft()
                    self._go_on(work, work.send, None)
                if self._waiting:
                    self._sftp._read_response()  # noqa: SLF001 - hands over whatever comes next
                while self._done:
                    yield self._done.popleft()
        finally:
            self._waiting.clear()  # answers to what was given up go nowhere

    def _go_on(self, work: Work[T], step: Callable[[Any], tuple[Any, ...]], answer: paramiko.Message | Exception | None) -> None:
        try:
            request = step(answer)
        except StopIteration as end:
            self._done.append(end.value)
            return
        self._waiting[self._sftp._async_request(self, *request)] = work  # noqa: SLF001

    def _async_response(self, kind: int, message: paramiko.Message, number: int) -> None:
        """Take an answer; paramiko calls it."""
        work = self._waiting.pop(number, None)
        if work is None:
            return
        try:
            if kind == CMD_STATUS:
                self._sftp._convert_status(message)  # noqa: SLF001
        except (EOFError, OSError) as error:
            self._go_on(work, work.throw, error)
            return
        self._go_on(work, work.send, message)


def listing(path: str) -> Work[tuple[str, Folder]]:
    """List a folder: its path, and what it holds by name; one that is not there, or gone meanwhile, holds nothing.

    Raises:
        PermissionError: It cannot be listed; the error names it.
    """
    found: Folder = {}
    try:
        handle = (yield CMD_OPENDIR, path).get_binary()
    except FileNotFoundError:
        return path, found
    except PermissionError as error:
        raise PermissionError(error.errno, error.strerror, path) from error
    try:
        while True:
            answer = yield CMD_READDIR, handle
            for _ in range(answer.get_int()):
                if not (name := answer.get_binary().decode(errors="replace")):  # one that is no text is no key
                    break  # the answer is shorter than it says
                answer.get_binary()  # the line that `ls -l` would print
                found[name] = paramiko.SFTPAttributes._from_msg(answer)  # noqa: SLF001
    except EOFError:
        yield CMD_CLOSE, handle
    except OSError:
        yield CMD_CLOSE, handle
        raise
    return path, found


def reading(path: str, limit: int) -> Work[bytes]:
    """Return at most `limit` bytes of a regular file; a pipe that a peer has put in its place must not be waited for.

    Raises:
        FileNotFoundError: There is none.
        PermissionError: It cannot be read.
    """
    found = paramiko.SFTPAttributes._from_msg((yield CMD_STAT, path))  # noqa: SLF001
    if not stat.S_ISREG(found.st_mode or 0):
        raise FileNotFoundError(errno.ENOENT, "not a regular file")
    size = min(limit, int(found.st_size or 0))
    handle = (yield CMD_OPEN, path, SFTP_FLAG_READ, paramiko.SFTPAttributes()).get_binary()
    data = b""
    try:
        while len(data) < size:
            length = min(_LONGEST_READ, size - len(data))
            data += (yield CMD_READ, handle, int64(len(data)), length).get_binary()
    except EOFError:  # it has become shorter
        pass
    except OSError:
        yield CMD_CLOSE, handle
        raise
    yield CMD_CLOSE, handle
    return data
