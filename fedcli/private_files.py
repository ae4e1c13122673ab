"""Files that only one party touches: its lock, which one command holds at a time, and its secret."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from fedcli.disk import write_whole
from fedcli.errors import ConfigurationError, FedcliError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

SECRET_BYTES = 32


class BusyError(FedcliError):
    """Another command of the same party is at work; not a failure."""

    exit_code = 0


def locked(root: Path) -> AbstractContextManager[None]:
    """Hold a workspace for one command; the folder is made if it is missing.

    Raises:
        BusyError: Another command holds it.
    """
    return exclusive(root / "lock")


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Hold a lock file, whose folder is made if it is missing; the system frees it when the process dies.

    Raises:
        BusyError: Another process holds it.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=0):
            yield
    except Timeout as error:
        msg = f"another fedcli command is at work in {lock.parent.resolve()}"
        raise BusyError(msg) from error


def read_secret(path: Path) -> bytes:
    """Return the secret in a file, creating it with mode 0600 when it is first asked for."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, secrets.token_bytes(SECRET_BYTES), mode=0o600)
    secret = path.read_bytes()
    if len(secret) != SECRET_BYTES:
        msg = f"{path}: {len(secret)} bytes, expected {SECRET_BYTES}"
        raise ConfigurationError(msg, hint="restore it from a backup; without it hashes of patients cannot be made again")
    return secret
