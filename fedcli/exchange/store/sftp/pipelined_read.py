"""A file on an SFTP server, read in order with many requests under way.

paramiko's own prefetch asks from a second thread, which races with the answers: now and then a download falls back to one request
at a time. Here one thread asks and listens, and never has more under way than it may hold.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from paramiko.sftp import CMD_DATA, CMD_READ, int64

if TYPE_CHECKING:
    from collections.abc import Iterator

    import paramiko

WINDOW = 4 << 20
"""Bytes that may be under way."""


class Pipeline:
    """The requests of one file.

    Args:
        sftp: The session.
        file: The open file.
        request: Bytes to ask for at a time.
    """

    def __init__(self, sftp: paramiko.SFTPClient, file: paramiko.SFTPFile, request: int) -> None:
        self._sftp = sftp
        self._handle = file.handle
        self._request = request
        self._arrived: dict[int, bytes] = {}

    def read(self, size: int) -> Iterator[bytes]:
        """Yield the first `size` bytes, or all that there are.

        Raises:
            OSError: The server refuses, or the connection is lost.
        """
        waiting: deque[tuple[int, int, int]] = deque()
        asked = 0
        while True:
            while asked < size and len(waiting) * self._request < WINDOW:
                length = min(self._request, size - asked)
                waiting.append((self._ask(asked, length), asked, length))
                asked += length
            if not waiting:
                return
            number, offset, length = waiting.popleft()
            data = self._answer(number)
            while data and length > len(data):  # some servers answer less than they were asked for
                yield data
                offset, length = offset + len(data), length - len(data)
                data = self._answer(self._ask(offset, length))
            if not data:
                return
            yield data

    def _ask(self, offset: int, length: int) -> int:
        return int(self._sftp._async_request(self, CMD_READ, self._handle, int64(offset), length))  # noqa: SLF001

    def _answer(self, number: int) -> bytes:
        while number not in self._arrived:
            self._sftp._read_response()  # noqa: SLF001 - hands over whatever comes next
        return self._arrived.pop(number)

    def _async_response(self, kind: int, message: Any, number: int) -> None:
        """Take an answer; paramiko calls it."""
        if kind == CMD_DATA:
            self._arrived[number] = message.get_string()
            return
        try:
            self._sftp._convert_status(message)  # noqa: SLF001
        except EOFError:
            self._arrived[number] = b""
