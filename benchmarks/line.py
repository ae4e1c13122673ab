"""A long line: what is sent through it arrives after a while, as between two hospitals, and its bytes are counted."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_COUNTING = threading.Lock()


@contextmanager
def long_line(port: int, seconds: float, carried: Counter[str] | None = None) -> Iterator[int]:
    """Yield a port of this machine that leads to another one; there and back take so many seconds.

    Args:
        port: The other one.
        seconds: Of a round trip.
        carried: Is given the bytes that have gone `up`, to the other port, and come `down`.
    """
    carried = Counter() if carried is None else carried
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, port, seconds / 2, carried), daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, port: int, delay: float, carried: Counter[str]) -> None:
    with suppress(OSError):  # the line is closed
        while True:
            ends = (listener.accept()[0], socket.create_connection(("127.0.0.1", port)))
            for name, source, target in (("up", *ends), ("down", *ends[::-1])):
                target.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                way: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
                threading.Thread(target=_enter, args=(source, way, delay, carried, name), daemon=True).start()
                threading.Thread(target=_leave, args=(target, way), daemon=True).start()


def _enter(
    source: socket.socket, way: queue.SimpleQueue[tuple[float, bytes]], delay: float, carried: Counter[str], name: str
) -> None:
    data = b"-"
    while data:
        try:
            data = source.recv(1 << 16)
        except OSError:
            data = b""
        with _COUNTING:
            carried[name] += len(data)
        way.put((time.monotonic() + delay, data))


def _leave(target: socket.socket, way: queue.SimpleQueue[tuple[float, bytes]]) -> None:
    with suppress(OSError):  # the other end has gone
        while True:
            due, data = way.get()
            time.sleep(max(0.0, due - time.monotonic()))
            if not data:
                target.shutdown(socket.SHUT_WR)
                return
            target.sendall(data)
