"""The drop folder's places: one protocol, one implementation a module."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from fedcli.errors import UsageError
from fedcli.exchange.store.base import Store
from fedcli.exchange.store.local import LocalStore

__all__ = ["LocalStore", "Store", "open_store"]


def open_store(address: str) -> Store:
    """Return the store at an address: a local path or a file:// URL.

    Raises:
        UsageError: The address has another scheme.
    """
    scheme = urlsplit(address).scheme
    if scheme == "file":
        return LocalStore(Path(unquote(urlsplit(address).path)))
    if scheme and "://" in address:
        msg = f"{address}: a drop folder at {scheme}:// cannot be used"
        raise UsageError(msg, hint="use a local path or a file:// URL; a mounted share is a local path")
    return LocalStore(Path(address).expanduser())
