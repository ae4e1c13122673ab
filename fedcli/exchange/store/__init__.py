"""Where a drop folder can be: one protocol, and one implementation per module."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from fedcli.errors import UsageError
from fedcli.exchange.store.base import ReadableStore, Store, StoreOptions
from fedcli.exchange.store.local import LocalStore

if TYPE_CHECKING:
    from fedcli.progress import Progress

__all__ = ["LocalStore", "ReadableStore", "Store", "StoreOptions", "open_store"]

_OBJECT_SCHEMES = {"s3", "gs", "az"}


def open_store(address: str, options: StoreOptions | None = None, progress: Progress | None = None) -> Store:
    """Return the store at an address: a local path, or a URL whose scheme is file, sftp, s3, gs or az.

    Args:
        address: Where the drop folder is.
        options: How it is reached; None uses what this machine is set up for.
        progress: Told of transfers; None reports nothing.

    Raises:
        UsageError: The address has another scheme, or does not have the form of its scheme.
        ConfigurationError: Keys or credentials on this machine are missing or wrong.
    """
    scheme = urlsplit(address).scheme
    if scheme == "file":
        return LocalStore(Path(unquote(urlsplit(address).path)), progress)
    if scheme == "sftp":
        from fedcli.exchange.store.sftp.store import SftpStore  # noqa: PLC0415 - a local folder needs no paramiko

        return SftpStore(address, options or StoreOptions(), progress)
    if scheme in _OBJECT_SCHEMES:
        from fedcli.exchange.store.objects import ObjectStore  # noqa: PLC0415 - a local folder needs no obstore

        return ObjectStore(address, options or StoreOptions(), progress)
    if scheme and "://" in address:
        msg = f"{address}: a drop folder at {scheme}:// cannot be used"
        raise UsageError(msg, hint="use a path, or a URL of file, sftp, s3, gs or az; a mounted share is a path")
    return LocalStore(Path(address).expanduser(), progress)
