"""What has arrived on an SSH channel and was not read yet, in the pieces in which it came.

paramiko's own buffer is one array: it copies each piece into the array, moves the rest with every read, and wakes its reader for
each packet of 32 KiB, so that two threads hand the interpreter to one another thousands of times a second. Here a reader is woken
when all bytes that it asked for have arrived, and they are joined once.
"""

from __future__ import annotations

from collections import deque

from paramiko.buffered_pipe import BufferedPipe, PipeTimeout

_MOST = 512 << 10
"""Bytes to wait for at most: well below the window, so that the peer can go on sending."""


class ChannelBuffer(BufferedPipe):  # type: ignore[misc]  # paramiko has no types
    """The bytes of one channel; one thread feeds, one reads."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: deque[bytes | memoryview] = deque()
        self._held = 0
        self._wanted = 1

    def __len__(self) -> int:
        return self._held

    def feed(self, data: bytes) -> None:
        """Take a piece."""
        with self._cv:
            self._pieces.append(data)
            self._held += len(data)
            if self._held >= self._wanted:
                self._cv.notify_all()

    def read(self, nbytes: int, timeout: float | None = None) -> bytes:
        """Return the next bytes: fewer only at the end of the channel, or if more are asked for than are waited for.

        Raises:
            PipeTimeout: Nothing has arrived for `timeout` seconds.
        """
        with self._cv:
            self._wanted = min(nbytes, _MOST)
            while self._held < self._wanted and not self._closed:
                held = self._held
                if not self._cv.wait(timeout) and self._held == held:
                    raise PipeTimeout
            return self._take(nbytes)

    def _take(self, nbytes: int) -> bytes:
        taken: list[bytes | memoryview] = []
        room = nbytes
        while self._pieces and room:
            piece = self._pieces.popleft()
            if len(piece) > room:
                view = memoryview(piece)
                self._pieces.appendleft(view[room:])
                piece = view[:room]
            taken.append(piece)
            room -= len(piece)
        self._held -= nbytes - room
        return b"".join(taken)
