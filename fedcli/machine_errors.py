"""What this machine refuses, a disk or memory, said to its user."""

from __future__ import annotations

import errno
import re
import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from fedcli.errors import FedcliError, MachineError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_ROOM = "No usable temporary directory"
"""What `tempfile` says where every disk that it tries is full."""
_REMEDIES = {
    **dict.fromkeys(_FULL, "make room there, and run the same command again: nothing is half written"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "run the command as the account that owns the workspace"),
    errno.EROFS: "mount the disk for writing, and run the same command again",
    errno.EIO: "the disk or its connection fails: see the system's log",
}
_SHORT = re.compile(r"out of memory|allocate memory|unable to allocate|bad_alloc|alloc_failed", re.IGNORECASE)
"""What Python, numpy, torch and CUDA say where memory does not suffice."""
_SPARING = 'end what else uses it, or take a machine with more; device = "cpu" in workspace.toml leaves a small GPU out'


def explained(error: Exception, *places: Path) -> FedcliError:
    """Return an error as a user should read it; raise it again where it is about neither a disk nor memory.

    Args:
        error: What has happened; of a write the system does not say in which file.
        places: Where that may have been.
    """
    if isinstance(error, FedcliError):
        return error
    if isinstance(error, OSError) and (told := refusal(error, *places)) is not None:
        return told
    if isinstance(error, MemoryError) or _SHORT.search(str(error)):
        said = re.sub(r"^\[.*?\] (err == 0\. )?", "", str(error)).partition("\n")[0]
        return MachineError(f"this machine's memory does not suffice: {said or 'no more is free'}", hint=_SPARING)
    raise error


def refusal(error: OSError, *places: Path) -> MachineError | None:
    """Return what a disk has refused; None where the error is about neither room, permission nor a failing disk."""
    number = errno.ENOSPC if str(error.strerror).startswith(_NO_ROOM) else error.errno
    if number not in _REMEDIES:
        return None
    message = f"{error.filename or places[0]}: {error.strerror}"
    if number in _FULL:
        message += "".join(f"; {megabytes:,.0f} MB are free in {folder}" for folder, megabytes in _free(places))
    return MachineError(message, hint=_REMEDIES[number])


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Raise what a file's disk refuses as what it is, wherever the bytes come from.

    Raises:
        MachineError: The file cannot be made or written.
    """
    try:
        yield
    except OSError as error:
        raise refusal(error, target) or MachineError(f"{target}: {error.strerror}") from error


def _free(places: tuple[Path, ...]) -> Iterator[tuple[Path, float]]:
    """Yield the folders that are there, each with its megabytes."""
    for folder in dict.fromkeys(place if place.is_dir() else place.parent for place in places):
        with suppress(OSError):
            yield folder, shutil.disk_usage(folder).free / 1e6
