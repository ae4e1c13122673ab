"""The updates of closed rounds that a party has verified, in one file per site.

`status` and `evaluate` need the scores of all of them. The file begins with a line that says what has verified them: another
fedcli, pinned key or federation does not use it. Each line begins with its own SHA-256; a file with a line that does not hold
is made again. An update counts only where its round follows the same round record as when it was verified.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass

from fedcli import __version__, wire
from fedcli.exchange import layout
from fedcli.exchange.checks import Verified
from fedcli.exchange.records import UpdateRecord
from fedcli.wire import STRICT, Digest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from fedcli.exchange.ledger import Ledger


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class RememberedUpdate:
    """An update, and the digest of its record as it was verified."""

    sha256: Digest
    record: UpdateRecord


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Verifier:
    """What verified the updates of a file: the version of fedcli, for which pinned key, in which federation."""

    fedcli: str
    coordinator: str | None
    federation: Digest


def read_updates(path: Path, ledger: Ledger) -> dict[int, Verified[UpdateRecord]]:
    """Return the updates of one site by round; none if the file does not hold, which is then removed."""
    updates = {}
    try:
        first, *lines = map(_opened, path.read_bytes().splitlines())
        for line in lines if first == _header(ledger) else ():
            saved = wire.decode_saved(RememberedUpdate, line)
            number, digests = saved.record.round, ledger.rounds.digests
            if number <= len(digests) and digests[number - 1] == saved.record.parent:
                key = layout.update(saved.record.party, number)
                updates[number] = Verified(key=key, digest=saved.sha256, record=saved.record)
    except FileNotFoundError:
        return {}
    except (ValueError, wire.MalformedError):
        updates = {}
    if not updates:  # damaged, or not verified by this fedcli for this federation
        path.unlink(missing_ok=True)
    return updates


def append_updates(path: Path, ledger: Ledger, updates: Iterable[Verified[UpdateRecord]]) -> None:
    """Add updates of one site to its file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    saved = (RememberedUpdate(sha256=item.digest, record=item.record) for item in updates)
    lines = [_closed(wire.encode_line(item)) for item in saved]
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as file:
        file.write(b"".join([*([] if file.tell() else [_closed(_header(ledger))]), *lines]))


def _header(ledger: Ledger) -> bytes:
    return wire.encode_line(Verifier(fedcli=__version__, coordinator=ledger.pinned, federation=ledger.identity))


def _closed(line: bytes) -> bytes:
    return wire.sha256(line).encode() + b" " + line


def _opened(line: bytes) -> bytes:
    """Return a line without its digest.

    Raises:
        ValueError: The digest is another one.
    """
    digest, _, rest = line.partition(b" ")
    if wire.sha256(rest + b"\n").encode() != digest:
        raise ValueError
    return rest + b"\n"
