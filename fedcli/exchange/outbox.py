"""The outbox: what a command is about to publish, kept until it has been.

An entry is one folder, created by one rename before anything is uploaded: the files to publish, in order, and the new local state
(best model, optimizer state) that belongs to them. Publishing may be interrupted anywhere and started again: it uploads the same
bytes, which the store accepts, installs the state by one rename, and removes the entry. So a command that finds an entry finishes
it, and never does the work again.

An entry may be committed with a note: it is then held, and no command publishes it, until a person has seen the note and
`release` is called.

    outbox/<name>/manifest.json    the files in the order of publishing
    outbox/<name>/000, 001, …      their bytes
    outbox/<name>/state/           the new local state, if the command changes it
    outbox/<name>/held             the note, while the entry is held
"""

from __future__ import annotations

import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass as plain_dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from fedcli import disk, wire
from fedcli.exchange import layout
from fedcli.wire import STRICT, ShortText

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fedcli.disk import Measured
    from fedcli.exchange.signatures import Signer
    from fedcli.exchange.store import Store

MANIFEST = "manifest.json"
STATE = "state"
HELD = "held"


class Kind(StrEnum):
    """How a file is published."""

    ARTIFACT = "artifact"
    ONCE = "once"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Entry:
    """One file of an outbox entry: its key, its file's name in the entry, and how it is published."""

    key: ShortText
    file: Annotated[str, Field(pattern=r"^[0-9]{3}$")]
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Manifest:
    """The files of an entry in the order of publishing: artifacts, then each record's signature and the record."""

    entries: Annotated[tuple[Entry, ...], Field(max_length=999)]


@plain_dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An entry that is not committed yet: a private folder into which artifacts and state are written."""

    folder: Path

    @property
    def state(self) -> Path:
        """The folder for the new local state."""
        return self.folder / STATE


@plain_dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A record that is to be published.

    Attributes:
        key: Its key.
        data: Its bytes.
        artifacts: The keys and files of its artifacts.
        countersigner: The new key of an enrolment that brings one in.
    """

    key: str
    data: bytes
    artifacts: tuple[tuple[str, Path], ...] = ()
    countersigner: Signer | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of the record."""
        return wire.sha256(self.data)


class Outbox:
    """The outbox of one workspace.

    Args:
        folder: Where entries are.
        states: Where installed states are: one folder per entry, under the entry's name.
    """

    def __init__(self, folder: Path, states: Path) -> None:
        self._folder = folder
        self._states = states

    def draft(self, name: str) -> Draft:
        """Begin an entry, and remove what interrupted commands left of earlier drafts and published entries."""
        folder = self._folder / f".{name}"
        for leftover in self._folder.glob(".*"):
            _remove_if_possible(leftover)
        if folder.exists():
            folder.rename(self._unused(name))
        folder.mkdir(parents=True)
        return Draft(folder=folder)

    def commit(self, draft: Draft, publications: tuple[Publication, ...], signer: Signer, *, note: bytes | None = None) -> str:
        """Sign the records, turn the draft into an entry by one rename, and return its name.

        Args:
            draft: The folder, with its artifacts and state.
            publications: The records, in the order of publishing.
            signer: Signs them.
            note: What a person must see first; the entry is held until `release`. None does not hold it.
        """
        entries: list[Entry] = []

        def add(key: str, kind: Kind, data: bytes | Path) -> None:
            target = draft.folder / f"{len(entries):03d}"
            if isinstance(data, bytes):
                disk.write_whole(target, data)
            else:
                disk.sync(data)
                data.rename(target)
            entries.append(Entry(key=key, file=target.name, kind=kind))

        for item in publications:
            for key, path in item.artifacts:
                add(key, Kind.ARTIFACT, path)
            add(layout.signature(item.key, item.digest), Kind.ONCE, signer.sign(item.data))
            if item.countersigner is not None:
                add(layout.countersignature(item.key, item.digest), Kind.ONCE, item.countersigner.sign(item.data))
            add(item.key, Kind.ONCE, item.data)
        disk.write_whole(draft.folder / MANIFEST, wire.encode(Manifest(entries=tuple(entries))))
        if note is not None:
            disk.write_whole(draft.folder / HELD, note)
        if draft.state.is_dir():
            disk.sync(draft.state)
        disk.sync(draft.folder)
        name = draft.folder.name.removeprefix(".")
        draft.folder.rename(self._folder / name)
        disk.sync(self._folder)
        return name

    def pending(self) -> tuple[str, ...]:
        """Return the names of the entries that wait to be published, oldest name first."""
        return tuple(item.name for item in self._entries() if not (item / HELD).exists())

    def held(self) -> tuple[str, ...]:
        """Return the names of the entries that are held, oldest name first."""
        return tuple(item.name for item in self._entries() if (item / HELD).exists())

    def note(self, name: str) -> bytes:
        """Return the note of an entry that is held."""
        return (self._folder / name / HELD).read_bytes()

    def release(self, name: str) -> None:
        """Stop holding an entry: from now on any command publishes it."""
        (self._folder / name / HELD).unlink()
        disk.sync(self._folder / name)

    def files(self, name: str) -> tuple[tuple[str, Path], ...]:
        """Return what an entry publishes: each key and the file with its bytes, in order."""
        folder = self._folder / name
        return tuple((entry.key, folder / entry.file) for entry in _manifest(folder).entries)

    def publish(self, name: str, store: Store, sent: Callable[[str, Measured], None]) -> None:
        """Publish an entry, install its state, and remove it.

        `sent` is called with each file that the store has accepted, before the next one is sent.

        Raises:
            ConflictError: A record's key holds other bytes; the entry stays.
            StoreError: The drop folder failed; the entry stays and is finished by the next run.
        """
        folder = self._folder / name
        for entry in _manifest(folder).entries:
            source = folder / entry.file
            if entry.kind is Kind.ARTIFACT:
                store.put_artifact(entry.key, source)
            else:
                store.publish(entry.key, source.read_bytes())
            sent(entry.key, disk.measure(source))
        if (folder / STATE).is_dir():
            self._states.mkdir(parents=True, exist_ok=True)
            if (self._states / name).exists():  # the work was done again: its records were removed from the drop folder
                self._remove(self._states / name)
            (folder / STATE).rename(self._states / name)
            disk.sync(self._states)
        self.discard(name)

    def discard(self, name: str) -> None:
        """Remove an entry, by one rename first, so that half an entry is never left."""
        self._remove(self._folder / name)

    def _entries(self) -> list[Path]:
        folders = self._folder.iterdir() if self._folder.is_dir() else ()
        return sorted(folder for folder in folders if not folder.name.startswith("."))

    def _unused(self, name: str) -> Path:
        return self._folder / f".gone-{name}-{secrets.token_hex(4)}"

    def _remove(self, folder: Path) -> None:
        gone = self._unused(folder.name)
        folder.rename(gone)
        _remove_if_possible(gone)


def _remove_if_possible(path: Path) -> None:
    """Remove a file or folder that nothing needs; one that cannot be removed, such as a file that NFS holds open, stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _manifest(folder: Path) -> Manifest:
    return wire.decode(Manifest, (folder / MANIFEST).read_bytes())
