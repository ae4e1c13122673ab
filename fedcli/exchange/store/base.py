"""What every store does: one protocol for reading a drop folder, and one for reading and writing it.

Keys are relative paths (`exchange.layout`); an implementation refuses anything else, so that no name from a peer reaches a path
unchecked. An artifact's key contains its digest, so that writing one twice is harmless; records are created once.
"""

from __future__ import annotations

import hashlib
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fedcli import machine_errors
from fedcli.disk import CHUNK_BYTES, Measured
from fedcli.errors import ConflictError, StoreError, TooLongError, TrustError
from fedcli.exchange import layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from io import FileIO

    from fedcli.exchange.store.listing import Listing
    from fedcli.exchange.store.rights import Rights

TEMPORARY = ".fedcli-"
"""How the names of temporary files begin; no key begins so."""
STALE_SECONDS = 86_400
"""Age at which a temporary file is removed as the rest of a killed upload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """How a party reaches a store, beyond its address.

    Attributes:
        host_key: SFTP: fingerprint of the server's key (`SHA256:…`); if empty, the known_hosts files decide.
        ssh_key: SFTP: the private key to log in with; None tries what ~/.ssh/config names, an agent, and the usual files.
        endpoint: Object stores: URL of the service; empty means the provider's own.
        timeout: Seconds to wait for an answer before a transfer fails.
    """

    host_key: str = ""
    ssh_key: Path | None = None
    endpoint: str = ""
    timeout: int = 60


class ReadableStore(Protocol):
    """A place from which a drop folder can be read."""

    @property
    def address(self) -> str:
        """The place as the user wrote it."""

    def fetch(self, key: str, target: Path, limit: int) -> Measured:
        """Stream an object to a new private file and return the size and digest of exactly the bytes written.

        Raises:
            MissingError: There is no such key.
            UnreadableError: This account may not read it.
            StoreError: It has more than `limit` bytes, or the place cannot be read.
            MachineError: The file cannot be created or written.
        """

    def read(self, key: str, limit: int) -> bytes:
        """Return a small object.

        Raises:
            MissingError: There is no such key.
            UnreadableError: This account may not read it.
            StoreError: It has more than `limit` bytes, or the place cannot be read.
        """

    def read_soon(self, keys: Sequence[str]) -> None:
        """Prepare to read small objects that were listed: over a network, many at once; what cannot be read is left out."""

    def list(self, prefix: str) -> tuple[str, ...]:
        """Return all keys that begin with `prefix` (empty, or ending in `/`), sorted; names that cannot be keys are left out.

        Raises:
            UnreadableError: A folder cannot be listed.
        """

    def list_each(self, prefixes: Sequence[str], limit: int, *, from_round: int = 0) -> dict[str, Listing]:
        """Return what can be listed below each of several prefixes, of at most `limit` files and folders.

        Args:
            prefixes: The prefixes.
            limit: How many files and folders are listed below each.
            from_round: Folders of earlier rounds are not listed, so that the cost does not grow with them.

        Raises:
            StoreError: The place itself cannot be reached.
        """

    def names(self, prefix: str, limit: int) -> tuple[str, ...]:
        """Return the names of the folders directly below `prefix`, sorted; one more than `limit` at most.

        Raises:
            StoreError: They cannot be listed.
        """

    def stat(self, key: str) -> int | None:
        """Return an object's size in bytes, or None if there is none.

        Raises:
            UnreadableError: This account may not even know whether it exists.
        """

    def local_path(self, key: str) -> Path | None:
        """Return the path of an object that is a regular file on this machine; None otherwise.

        Whoever reads the file must hash what they use: the party that wrote it can change it.

        Raises:
            UnreadableError: This account may not read it.
        """


class Store(ReadableStore, Protocol):
    """A place that holds a drop folder."""

    def put_artifact(self, key: str, source: Path) -> None:
        """Store a file, streamed; whole or not at all under its final name.

        Raises:
            StoreError: The place cannot be written.
        """

    def remove_artifact(self, key: str) -> None:
        """Remove an artifact that is safely kept elsewhere; one that is already gone is no error. Records cannot be removed.

        Raises:
            TrustError: The key is not an artifact's.
            StoreError: The place does not let this account remove it.
        """

    def publish(self, key: str, data: bytes) -> None:
        """Create a small object once: publishing the same bytes again succeeds.

        Raises:
            ConflictError: The key holds other bytes; nothing was changed.
            StoreError: The place cannot be written, or cannot create once.
        """

    def rights(self, key: str) -> Rights | None:
        """Return whose a file is and the modes on the way to it, None if the place has no modes; raises what `read` does."""

    def probe(self, prefix: str) -> None:
        """Publish a probe key under `prefix` twice, and refuse a place that accepts the second one.

        Raises:
            StoreError: The place cannot create once; the hint says what to use instead.
        """


def prove_create_once(store: Store, prefix: str, remove: Callable[[str], None], hint: str) -> None:
    """Publish a probe key twice, the second time other bytes, and remove it.

    Args:
        store: The place.
        prefix: Where the probe is published.
        remove: Removes a key.
        hint: What to use instead.

    Raises:
        StoreError: The second one was accepted.
    """
    key = f"{prefix}probe-{secrets.token_hex(8)}"
    store.publish(key, b"1")
    try:
        store.publish(key, b"2")
    except ConflictError:
        return
    finally:
        remove(key)
    msg = f"{store.address}: an existing file can be created again, so records would not be safe there"
    raise StoreError(msg, hint=hint)


def new_file(target: Path) -> FileIO:
    """Create the file that is fetched into, without a buffer that its disk could refuse later.

    Raises:
        MachineError: It cannot be created, or exists already.
    """
    with machine_errors.writing(target):
        return target.open("xb", buffering=0)


def write_received(key: str, chunks: Iterable[bytes], file: FileIO, limit: int, advance: Callable[[int, str], None]) -> Measured:
    """Write what arrives, and return the size and digest of exactly the bytes written.

    Raises:
        StoreError: There are more than `limit` bytes.
        MachineError: The file cannot be written.
    """
    hasher = hashlib.sha256()
    size = 0
    pending: list[bytes] = []
    target = Path(str(file.name))

    def write(data: bytes) -> None:
        hasher.update(data)
        view = memoryview(data)
        with machine_errors.writing(target):
            while view:
                view = view[file.write(view) :]

    with ThreadPoolExecutor(1) as pool:  # hashing and writing go on while the next bytes arrive
        previous = pool.submit(write, b"")
        for chunk in chunks:
            size += len(chunk)
            check_size(key, size, limit)
            pending.append(chunk)
            advance(len(chunk), "")
            if sum(map(len, pending)) >= CHUNK_BYTES:
                previous.result()
                previous = pool.submit(write, b"".join(pending))
                pending = []
        previous.result()
        write(b"".join(pending))
    return Measured(size=size, sha256=hasher.hexdigest())


def check_size(key: str, size: int, limit: int) -> None:
    """Check the size of an object.

    Raises:
        TooLongError: It has more than `limit` bytes.
    """
    if size > limit:
        msg = f"{key}: more than the {limit} bytes expected at most"
        raise TooLongError(msg)


def checked_key(key: str) -> str:
    """Return a key that is safe to use as a path.

    Raises:
        TrustError: It is not one.
    """
    if not layout.is_key(key):
        msg = f"{key[:200]!r} is not a key of a drop folder"
        raise TrustError(msg)
    return key


def removable_key(key: str) -> str:
    """Return a key that may be removed.

    Raises:
        TrustError: It is not an artifact's.
    """
    if not layout.is_artifact(checked_key(key)):
        msg = f"{key}: only artifacts are ever removed, records and signatures stay"
        raise TrustError(msg)
    return key
