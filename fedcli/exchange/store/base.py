"""What a drop folder's place must do: seven verbs, the same everywhere.

Keys are relative paths (`exchange.layout`); an implementation refuses anything else, so that no name from a peer reaches a path
unchecked. Artifacts lie under their digest's name, so that writing one twice is harmless; records are created once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from fedcli.errors import TrustError
from fedcli.exchange import layout

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.tensors import Measured

PROBE_NAME = "probe"


class Store(Protocol):
    """A place that holds a drop folder."""

    @property
    def address(self) -> str:
        """The place as the user wrote it."""

    def put_artifact(self, key: str, source: Path) -> None:
        """Store a file, streamed; whole or not at all under its final name.

        Raises:
            StoreError: The place cannot be written.
        """

    def publish(self, key: str, data: bytes) -> None:
        """Create a small object once: publishing the same bytes again succeeds.

        Raises:
            ConflictError: The key holds other bytes; nothing was changed.
            StoreError: The place cannot be written, or cannot create once.
        """

    def fetch(self, key: str, target: Path, limit: int) -> Measured:
        """Stream an object to a new private file and return the size and digest of the very bytes written.

        Raises:
            MissingError: There is no such key.
            StoreError: It has more than `limit` bytes, or the place cannot be read.
        """

    def read(self, key: str, limit: int) -> bytes:
        """Return a small object.

        Raises:
            MissingError: There is no such key.
            StoreError: It has more than `limit` bytes, or the place cannot be read.
        """

    def list(self, prefix: str) -> tuple[str, ...]:
        """Return all keys that begin with `prefix` (empty, or ending in `/`), sorted; names that cannot be keys are left out."""

    def stat(self, key: str) -> int | None:
        """Return an object's size in bytes, or None where there is none."""

    def probe(self, prefix: str) -> None:
        """Publish a probe key under `prefix` twice, and refuse a place that lets the second one through.

        Raises:
            StoreError: The place cannot create once; the hint says why and what to use instead.
        """


def checked(key: str) -> str:
    """Return a key that is safe to use as a path.

    Raises:
        TrustError: It is not one.
    """
    if not layout.is_key(key):
        msg = f"{key[:200]!r} is not a key of a drop folder"
        raise TrustError(msg)
    return key
