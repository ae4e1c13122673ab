"""What this machine's disks or memory refuse, explained to its user."""

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
_NO_TEMPORARY = "No usable temporary directory"
"""What `tempfile` says if every disk that it tries is full."""
_REMEDIES = {
    **dict.fromkeys(_FULL, "make room there, and run the same command again: nothing is half written"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "run the command as the account that owns the workspace"),
    errno.EROFS: "mount the disk for writing, and run the same command again",
    errno.EIO: "the disk or its connection is failing: see the system's log",
}
_OUT_OF_MEMORY = re.compile(r"out of memory|allocate memory|unable to allocate|bad_alloc|alloc_failed", re.IGNORECASE)
"""What Python, numpy, torch and CUDA say if memory runs out."""
_MEMORY_HINT = 'stop what else uses it, or use a machine with more; device = "cpu" in workspace.toml avoids a small GPU'


def explained(error: Exception, *places: Path) -> FedcliError:
    """Return an error as a user should read it; raise it again if it is about neither a disk nor memory.

    Args:
        error: What happened; for a write, the system does not say in which file.
        places: Where that may have been.
    """
    if isinstance(error, FedcliError):
        return error
    if isinstance(error, OSError) and (refused := refusal(error, *places)) is not None:
        return refused
    if isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(str(error)):
        reason = re.sub(r"^\[.*?\] (err == 0\. )?", "", str(error)).partition("\n")[0]
        return MachineError(f"this machine has not enough memory: {reason or 'none is free'}", hint=_MEMORY_HINT)
    raise error


def refusal(error: OSError, *places: Path) -> MachineError | None:
    """Return what a disk has refused; None if the error is not about space, permission or a failing disk."""
    number = errno.ENOSPC if str(error.strerror).startswith(_NO_TEMPORARY) else error.errno
    if number not in _REMEDIES:
        return None
    message = f"{error.filename or places[0]}: {error.strerror}"
    if number in _FULL:
        message += "".join(f"; {megabytes:,.0f} MB are free in {folder}" for folder, megabytes in _free(places))
    return MachineError(message, hint=_REMEDIES[number])


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Raise what a file's disk refuses as a `MachineError`, wherever the bytes come from.

    Raises:
        MachineError: The file cannot be created or written.
    """
    try:
        yield
    except OSError as error:
        raise refusal(error, target) or MachineError(f"{target}: {error.strerror}") from error


def _free(places: tuple[Path, ...]) -> Iterator[tuple[Path, float]]:
    """Yield the folders that exist, each with its free megabytes."""
    for folder in dict.fromkeys(place if place.is_dir() else place.parent for place in places):
        with suppress(OSError):
            yield folder, shutil.disk_usage(folder).free / 1e6
