"""Records as a store holds them: the bytes, and the signature that goes with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli import wire
from fedcli.errors import MissingError, TooLongError, TrustError
from fedcli.exchange import layout, signatures
from fedcli.exchange.checks import Signed

if TYPE_CHECKING:
    from fedcli.exchange.store import ReadableStore


def read_signed(store: ReadableStore, key: str, most: int) -> Signed:
    """Return a record of at most so many bytes, and the signature that goes with its bytes.

    Raises:
        MissingError: There is no such record.
        TrustError: It is too long, or no signature goes with its bytes.
        StoreError: The store cannot be read.
    """
    try:
        data = store.read(key, most)
    except TooLongError as error:
        raise TrustError(str(error)) from error
    return Signed(key=key, data=data, signature=read_signature(store, key, layout.signature(key, wire.sha256(data))))


def read_signature(store: ReadableStore, key: str, name: str) -> bytes:
    """Return a signature of a record by its own name.

    Raises:
        TrustError: It is missing or too long.
        StoreError: The store cannot be read.
    """
    try:
        return store.read(name, signatures.MAX_SIGNATURE_BYTES)
    except MissingError as error:
        msg = f"{key}: unsigned: there is no {name} for its present bytes"
        raise TrustError(msg, hint="the record was changed after it was signed, or its signature was removed") from error
    except TooLongError as error:
        raise TrustError(str(error)) from error
