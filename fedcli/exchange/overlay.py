"""Several places read as one drop folder: a folder and the tars that belong to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, Protocol, TypeVar

from fedcli.errors import MissingError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fedcli.tensors import Measured

T = TypeVar("T")


class Source(Protocol):
    """The reading half of a `Store`."""

    @property
    def address(self) -> str:
        """See `Store`."""

    def fetch(self, key: str, target: Path, limit: int) -> Measured:
        """See `Store`."""

    def read(self, key: str, limit: int) -> bytes:
        """See `Store`."""

    def list(self, prefix: str) -> tuple[str, ...]:
        """See `Store`."""

    def stat(self, key: str) -> int | None:
        """See `Store`."""

    def local_path(self, key: str) -> Path | None:
        """See `Store`."""


class Layers:
    """A `Store` to read from: a key is what the first source that has it says; nothing can be written.

    Args:
        sources: In the order in which they are asked.
    """

    def __init__(self, *sources: Source) -> None:
        self._sources = sources

    @property
    def address(self) -> str:
        """All addresses."""
        return " + ".join(source.address for source in self._sources)

    def fetch(self, key: str, target: Path, limit: int) -> Measured:
        """Copy a file out; see `Store`."""
        return self._first(key, lambda source: source.fetch(key, target, limit))

    def read(self, key: str, limit: int) -> bytes:
        """Read a small file; see `Store`."""
        return self._first(key, lambda source: source.read(key, limit))

    def list(self, prefix: str) -> tuple[str, ...]:
        """List keys; see `Store`."""
        return tuple(sorted({key for source in self._sources for key in source.list(prefix)}))

    def stat(self, key: str) -> int | None:
        """Return a file's size; see `Store`."""
        return next((size for source in self._sources if (size := source.stat(key)) is not None), None)

    def local_path(self, key: str) -> Path | None:
        """Return a file's path; see `Store`."""
        holder = next((source for source in self._sources if source.stat(key) is not None), None)
        return holder.local_path(key) if holder is not None else None

    def put_artifact(self, key: str, source: Path) -> None:  # noqa: ARG002
        """Refuse."""
        self._refuse(key)

    def publish(self, key: str, data: bytes) -> None:  # noqa: ARG002
        """Refuse."""
        self._refuse(key)

    def remove_artifact(self, key: str) -> None:
        """Refuse."""
        self._refuse(key)

    def probe(self, prefix: str) -> None:
        """Refuse."""
        self._refuse(prefix)

    def _first(self, key: str, attempt: Callable[[Source], T]) -> T:
        for source in self._sources:
            try:
                return attempt(source)
            except MissingError:
                continue
        msg = f"{key}: not in {self.address}"
        raise MissingError(msg)

    def _refuse(self, key: str) -> NoReturn:
        msg = f"{key}: {self.address} can only be read"
        raise StoreError(msg)
