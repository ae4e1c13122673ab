"""Files that only one party touches: its lock, which one command holds at a time, and its secret."""

from __future__ import annotations

import errno
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from fedcli.disk import write_whole
from fedcli.errors import ConfigurationError, FedcliError, MachineError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

SECRET_BYTES = 32
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
"""What `flock` answers on NFS without a lock service, and on Lustre without -o flock."""
_WITH_LOCKS = "use a folder on a local disk, or mount this one with locks: NFS 4, NFS 3 with rpc.statd, Lustre with -o flock"


class BusyError(FedcliError):
    """Another command of the same party is running; this is not a failure."""

    exit_code = 0


def locked(root: Path) -> AbstractContextManager[None]:
    """Lock a workspace for one command; the folder is created if it is missing.

    Raises:
        BusyError: Another command has locked it.
    """
    return exclusive(root / "lock")


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Hold a lock file, whose folder is created if it is missing; the system releases it when the process ends.

    A file system without locks is refused: a lock that outlives its process would stop every later command.

    Raises:
        BusyError: Another process holds it.
        MachineError: The file system has no locks.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        hold = FileLock(lock, timeout=0, fallback_to_soft=False).acquire()
    except Timeout as error:
        msg = f"another fedcli command is running in {lock.parent.resolve()}"
        raise BusyError(msg) from error
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise
        msg = f"{lock.parent.resolve()}: the file system there has no locks, so that two commands could run at once: {error}"
        raise MachineError(msg, hint=_WITH_LOCKS) from error
    with hold:
        yield


def read_secret(path: Path) -> bytes:
    """Return the secret in a file, which is created with mode 0600 the first time."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, secrets.token_bytes(SECRET_BYTES), mode=0o600)
    secret = path.read_bytes()
    if len(secret) != SECRET_BYTES:
        msg = f"{path}: {len(secret)} bytes, expected {SECRET_BYTES}"
        raise ConfigurationError(msg, hint="restore it from a backup; without it, patients' hashes cannot be computed again")
    return secret
