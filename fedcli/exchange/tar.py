"""A drop folder in transit: a plain POSIX tar whose members are the folder's files, named by their keys.

The same files are the same bytes everywhere: regular files in order of their keys, mode 0644, owner and time 0, no names of
owners; a pax header only before a file of 8 GiB or more; at the end two blocks of zeros, and zeros up to a multiple of 10,240
bytes. A tar is read as strictly as it is written: a header that is not exactly the one of its key and size is refused. This
excludes links, devices, sparse files, names that lead elsewhere, duplicate keys, and wrong sizes.
"""

from __future__ import annotations

import os
import re
import secrets
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from fedcli import disk
from fedcli.disk import CHUNK_BYTES, Measured, measure, write_blocks
from fedcli.errors import MissingError, StoreError, TrustError, UsageError
from fedcli.exchange import layout
from fedcli.exchange.store.base import check_size
from fedcli.exchange.store.listing import Listing, too_many

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

MAX_MEMBERS = 1 << 20

_BLOCK = tarfile.BLOCKSIZE
_PAX = b"x"
_TYPE = slice(156, 157)
_PAX_FIELDS = re.compile(rb"[0-9]{1,3} (path|size)=([!-~]{1,300})\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Extent:
    """Where a file's bytes are in the tar."""

    begin: int
    size: int


def write(target: Path, members: Iterable[tuple[str, bytes | Path]]) -> Measured:
    """Write a tar, whole and flushed to the disk, or not at all; return its size and digest.

    Args:
        target: The new file; an existing one must hold the same bytes.
        members: Keys with their bytes, or with a private file that holds them; in ascending order of the keys.

    Raises:
        UsageError: The target exists and holds something else.
        StoreError: It cannot be written.
    """
    temporary = target.with_name(f".{target.name}-{secrets.token_hex(4)}")
    try:
        measured = write_blocks(temporary, _blocks(members))
        disk.sync(temporary)
        _name(temporary, target, measured)
    except OSError as error:
        msg = f"{target}: cannot be written: {error.strerror}"
        raise StoreError(msg) from error
    finally:
        temporary.unlink(missing_ok=True)
    return measured


class Tar:
    """The files of a tar by their keys; a `ReadableStore`.

    What was read is kept: a record that is read twice is the same bytes, whatever happens to the file in between.
    """

    def __init__(self, path: Path) -> None:
        """Read only the headers.

        Raises:
            StoreError: The file cannot be read.
            TrustError: It is not a tar of a drop folder.
        """
        self._path = path
        self._read: dict[str, bytes] = {}
        try:
            with path.open("rb") as file:
                self._members = _index(path, file)
        except OSError as error:
            msg = f"{path}: cannot be read: {error.strerror}"
            raise StoreError(msg) from error

    @property
    def address(self) -> str:
        """The file's path."""
        return str(self._path)

    def read_soon(self, keys: Sequence[str]) -> None:
        """Do nothing; see `ReadableStore`."""

    def list(self, prefix: str) -> tuple[str, ...]:
        """List keys; see `ReadableStore`."""
        return tuple(key for key in self._members if key.startswith(prefix))

    def list_each(self, prefixes: Sequence[str], limit: int, *, from_round: int = 0) -> dict[str, Listing]:
        """List keys below several prefixes; see `ReadableStore`."""
        listings = {}
        for prefix in prefixes:
            keys = tuple(key for key in self.list(prefix) if not layout.is_before(key, from_round))
            listings[prefix] = Listing(keys=keys[:limit], fault=too_many(prefix, limit) if len(keys) > limit else "")
        return listings

    def names(self, prefix: str, limit: int) -> tuple[str, ...]:
        """List folders; see `ReadableStore`."""
        below = (key.removeprefix(prefix).partition("/") for key in self.list(prefix))
        return tuple(sorted({name for name, slash, _ in below if slash}))[: limit + 1]

    def stat(self, key: str) -> int | None:
        """Return a file's size; see `ReadableStore`."""
        member = self._members.get(key)
        return member.size if member is not None else None

    def read(self, key: str, limit: int) -> bytes:
        """Read a small file; see `ReadableStore`."""
        if key not in self._read:
            member = self._member(key, limit)
            with self._path.open("rb") as file:
                file.seek(member.begin)
                self._read[key] = _exactly(self._path, file, member.size)
        return self._read[key]

    def fetch(self, key: str, target: Path, limit: int) -> Measured:
        """Copy a file out, hashing what is written; see `ReadableStore`."""
        member = self._member(key, limit)
        with self._path.open("rb") as file:
            file.seek(member.begin)
            sizes = (min(CHUNK_BYTES, member.size - position) for position in range(0, member.size, CHUNK_BYTES))
            return write_blocks(target, (_exactly(self._path, file, size) for size in sizes))

    def local_path(self, key: str) -> Path | None:  # noqa: ARG002
        """Return None: a member is not a file of its own; see `ReadableStore`."""
        return None

    def _member(self, key: str, limit: int) -> _Extent:
        member = self._members.get(key)
        if member is None:
            msg = f"{key}: not in {self._path}"
            raise MissingError(msg)
        check_size(key, member.size, limit)
        return member


def _blocks(members: Iterable[tuple[str, bytes | Path]]) -> Iterator[bytes]:
    position = 2 * _BLOCK  # of the zeros at the end
    for key, source in members:
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        header = _header(key, size)
        yield header
        if isinstance(source, bytes):
            yield source
        else:
            with source.open("rb") as content:
                while chunk := content.read(CHUNK_BYTES):
                    yield chunk
        yield bytes(-size % _BLOCK)
        position += len(header) + size + -size % _BLOCK
    yield bytes(2 * _BLOCK + -position % tarfile.RECORDSIZE)


def _name(temporary: Path, target: Path, measured: Measured) -> None:
    if target.exists():
        if measure(target) != measured:
            msg = f"{target}: exists already, and is not overwritten"
            raise UsageError(msg, hint="name another file: this one may be the only copy of what it holds")
        return
    temporary.rename(target)
    disk.sync(target.parent)


def _header(key: str, size: int) -> bytes:
    """Return the only valid header of a file: one block, or three if its size needs a pax header."""
    member = tarfile.TarInfo(key)
    member.size = size
    try:
        return member.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")
    except ValueError:  # 8 GiB and more do not fit into the field
        return member.tobuf(tarfile.PAX_FORMAT, "ascii", "strict")


def _index(path: Path, file: BinaryIO) -> dict[str, _Extent]:
    """Return a tar's members in order of their keys."""
    total = file.seek(0, os.SEEK_END)
    file.seek(0)
    members: dict[str, _Extent] = {}
    before = ""
    while any(head := _exactly(path, file, _BLOCK)):
        key, size = _parse(path, file, head)
        begin = file.tell()
        if key <= before or len(members) == MAX_MEMBERS or begin + size > total:
            msg = f"{path}: {key} of {size} bytes cannot follow {before or 'nothing'}, {total - begin} bytes from the end"
            raise TrustError(msg)
        members[key] = _Extent(begin=begin, size=size)
        before = key
        file.seek(begin + size)
        if any(_exactly(path, file, -size % _BLOCK)):
            msg = f"{path}: {key} is followed by something other than zeros"
            raise TrustError(msg)
    end = file.tell() + _BLOCK  # two blocks of zeros, and more of them up to a whole record
    if total != end + -end % tarfile.RECORDSIZE or any(_exactly(path, file, total - file.tell())):
        msg = f"{path}: does not end as a tar of {len(members)} files must"
        raise TrustError(msg)
    return members


def _parse(path: Path, file: BinaryIO, head: bytes) -> tuple[str, int]:
    """Return the key and the size that a header states, if it is exactly their header."""
    fields: dict[bytes, bytes] = {}
    if head[_TYPE] == _PAX:
        head += _exactly(path, file, 2 * _BLOCK)
        fields = dict(_PAX_FIELDS.findall(head, _BLOCK))
    try:
        member = tarfile.TarInfo.frombuf(head[-_BLOCK:], "ascii", "strict")
        key, size = fields.get(b"path", b"").decode() or member.name, int(fields.get(b"size", member.size))
        if layout.is_key(key) and size >= 0 and _header(key, size) == head:
            return key, size
    except (tarfile.TarError, ValueError) as error:
        msg = f"{path}: there is no valid header at byte {file.tell() - len(head)}: {error}"
        raise TrustError(msg) from error
    msg = f"{path}: {key[:200]!r} is not a plain file under a key of a drop folder, as fedcli export writes it"
    raise TrustError(msg, hint="get the tar again as fedcli export or archive wrote it")


def _exactly(path: Path, file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        msg = f"{path}: cut off at byte {file.tell()}"
        raise TrustError(msg)
    return data
