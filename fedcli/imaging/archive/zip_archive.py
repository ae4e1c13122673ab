"""Zip archives, read in place: a member is a file whose path continues that of the archive, `2024/march.zip/0001.dcm`.

Nothing is unpacked to disk. Of a member at most as many bytes are read as the archive's directory states, and that is bounded.
"""

from __future__ import annotations

import re
import zipfile
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO, cast

from fedcli.imaging.rejection import Reason, RejectedError

if TYPE_CHECKING:
    from pathlib import Path
    from zipfile import ZipFile, ZipInfo

MAX_MEMBERS = 1_000_000
MAX_MEMBER_BYTES = 1 << 31
MAX_RATIO = 200
"""Unpacked bytes of a member per packed byte; deflate reaches 1032 with zeros, a mammogram in a large field of air about 50."""

_ENDING = ".zip"
_WITHIN = re.compile(r"\.zip/", re.IGNORECASE)
_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 1


def is_zip(path: Path) -> bool:
    """Tell whether a file is a zip archive, by its ending and its first bytes."""
    if path.suffix.lower() != _ENDING or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(4) in _SIGNATURES
    except OSError:
        return False


def members_of(path: Path) -> tuple[str, ...]:
    """Return the names of the members that are files.

    Raises:
        RejectedError: The archive cannot be read, is damaged, or has too many members.
    """
    return tuple(name for name, member in _directory(path).NameToInfo.items() if not member.is_dir())


def split(folder: Path, file: str) -> tuple[Path, str] | None:
    """Return the zip archive and the member's name that a path below a folder stands for; None for a file on disk."""
    for match in _WITHIN.finditer(file):
        path = folder / file[: match.end() - 1]
        if path.is_file():
            return path, file[match.end() :]
    return None


def member_of(path: Path, name: str) -> ZipInfo:
    """Return what the archive's directory states about a member.

    Raises:
        RejectedError: The archive cannot be read, is damaged, or has no such member.
    """
    member = _directory(path).NameToInfo.get(name)
    if member is None:
        raise RejectedError(Reason.UNREADABLE)
    return member


def opened(path: Path, name: str, *, whole: bool) -> BinaryIO:
    """Open a member: all of it in memory, checked against its CRC-32, or to read its beginning.

    Raises:
        RejectedError: The member is encrypted, is a zip archive itself, is packed in another way, exceeds a limit, or is damaged.
    """
    member = member_of(path, name)
    if reason := _refusal(member):
        raise RejectedError(reason)
    try:
        file = _directory(path).open(member)
        if not whole:
            return cast("BinaryIO", file)
        with file:
            return BytesIO(file.read())
    except (RejectedError, MemoryError):
        raise
    except OSError as error:
        raise RejectedError(Reason.UNREADABLE) from error
    except Exception as error:  # zipfile and zlib have no error family in common
        raise RejectedError(Reason.ZIP_DAMAGED) from error


def _refusal(member: ZipInfo) -> Reason | None:
    if member.flag_bits & _ENCRYPTED:
        return Reason.ZIP_ENCRYPTED
    if member.filename.lower().endswith(_ENDING):
        return Reason.ZIP_NESTED
    if member.compress_type not in _METHODS:
        return Reason.ZIP_METHOD
    if member.file_size > min(MAX_MEMBER_BYTES, MAX_RATIO * member.compress_size):
        return Reason.ZIP_LIMIT
    return None


def _directory(path: Path) -> ZipFile:
    try:
        status = path.stat()
        return _opened(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise RejectedError(Reason.UNREADABLE) from error


@lru_cache(maxsize=2)  # its directory is read once, not for every member
def _opened(path: Path, size: int, _changed: int) -> ZipFile:
    try:
        archive = zipfile.ZipFile(path)
    except OSError:
        raise
    except Exception as error:  # names that are not UTF-8, numbers out of range
        raise RejectedError(Reason.ZIP_DAMAGED) from error
    members = archive.infolist()
    # Members that overlap have more packed bytes than the archive.
    if len(members) > MAX_MEMBERS or sum(member.compress_size for member in members) > size:
        archive.close()
        raise RejectedError(Reason.ZIP_LIMIT)
    return archive
