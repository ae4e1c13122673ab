"""Several stores read as one drop folder: a folder and the tars that belong to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from fedcli.errors import MissingError
from fedcli.exchange.store.listing import Listing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from fedcli.disk import Measured
    from fedcli.exchange.store import ReadableStore

T = TypeVar("T")


class Overlay:
    """A `ReadableStore` made of several: each key is read from the first store that has it.

    Args:
        stores: In the order in which they are asked.
    """

    def __init__(self, *stores: ReadableStore) -> None:
        self._stores = stores

    @property
    def address(self) -> str:
        """All addresses."""
        return " + ".join(store.address for store in self._stores)

    def fetch(self, key: str, target: Path, limit: int) -> Measured:
        """Copy a file out; see `ReadableStore`."""
        return self._first(key, lambda store: store.fetch(key, target, limit))

    def read(self, key: str, limit: int) -> bytes:
        """Read a small file; see `ReadableStore`."""
        return self._first(key, lambda store: store.read(key, limit))

    def read_soon(self, keys: Sequence[str]) -> None:
        """Prepare to read; see `ReadableStore`."""
        for store in self._stores:
            store.read_soon(keys)

    def list(self, prefix: str) -> tuple[str, ...]:
        """List keys; see `ReadableStore`."""
        return tuple(sorted({key for store in self._stores for key in store.list(prefix)}))

    def list_each(self, prefixes: Sequence[str], limit: int, *, from_round: int = 0) -> dict[str, Listing]:
        """List keys below several prefixes; see `ReadableStore`."""
        listings = [store.list_each(prefixes, limit, from_round=from_round) for store in self._stores]
        return {
            prefix: Listing.of(
                {key for listing in listings for key in listing[prefix].keys},
                [listing[prefix].fault for listing in listings if listing[prefix].fault],
            )
            for prefix in prefixes
        }

    def names(self, prefix: str, limit: int) -> tuple[str, ...]:
        """List folders; see `ReadableStore`."""
        return tuple(sorted({name for store in self._stores for name in store.names(prefix, limit)}))[: limit + 1]

    def stat(self, key: str) -> int | None:
        """Return a file's size; see `ReadableStore`."""
        return next((size for store in self._stores if (size := store.stat(key)) is not None), None)

    def local_path(self, key: str) -> Path | None:
        """Return a file's path; see `ReadableStore`."""
        holder = next((store for store in self._stores if store.stat(key) is not None), None)
        return holder.local_path(key) if holder is not None else None

    def _first(self, key: str, attempt: Callable[[ReadableStore], T]) -> T:
        for store in self._stores:
            try:
                return attempt(store)
            except MissingError:
                continue
        msg = f"{key}: not in {self.address}"
        raise MissingError(msg)
