"""The records that a party has trusted: private copies, with the same keys as in the drop folder, and a checkpoint.

The checkpoint says under which digests the round records were verified, so that a command reads and decodes only those that it
needs, and verifies only what is new. It counts for the fedcli that wrote it, the coordinator's key that is pinned, and the
federation records in this memory, which every command verifies. A checkpoint that is missing, damaged, of another version or
key, or unlike the records is not used: everything is then verified again from memory. What lies in the drop folder plays no part
in any of this. The checkpoint is as private as the workspace, whose key whoever can write it could replace as well; `verify`
takes nothing from memory.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Literal

from pydantic.dataclasses import dataclass

from fedcli import __version__, wire
from fedcli.disk import write_whole
from fedcli.errors import ConflictError, MissingError, TrustError
from fedcli.exchange import layout
from fedcli.exchange.checks import Verified
from fedcli.exchange.history.lineage import PastRounds, Rounds
from fedcli.exchange.records import MAX_RECORD_BYTES, RoundRecord
from fedcli.exchange.store import LocalStore
from fedcli.party.memory.remembered_updates import append_updates, read_updates
from fedcli.wire import STRICT, Digest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fedcli.exchange.checks import Signed
    from fedcli.exchange.ledger import Ledger
    from fedcli.exchange.records import UpdateRecord

_CHECKPOINT = "checkpoint"
_UPDATES = "updates"
_UNLIMITED = 1 << 40


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class TrustCheckpoint:
    """The history that was verified.

    Attributes:
        fedcli: The version that has verified it.
        coordinator: Fingerprint of the pinned key.
        federations: SHA-256 of each federation record.
        rounds: The rounds.
    """

    schema: Literal["fedcli/checkpoint@1"] = "fedcli/checkpoint@1"
    fedcli: str
    coordinator: str | None
    federations: tuple[Digest, ...]
    rounds: PastRounds

    @classmethod
    def of(cls, ledger: Ledger) -> TrustCheckpoint:
        """Return the checkpoint of a ledger."""
        federations = tuple(item.digest for item in ledger.federations)
        return cls(fedcli=__version__, coordinator=ledger.pinned, federations=federations, rounds=ledger.rounds.past)


class TrustedRecords:
    """A party's memory.

    Attributes:
        store: The copies.

    Args:
        folder: `trusted/` of the workspace; it is made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.store = LocalStore(folder)
        self._path, self._updates = folder / _CHECKPOINT, folder / _UPDATES
        self._written: TrustCheckpoint | None = None

    def checkpoint(self, coordinator: str | None) -> TrustCheckpoint | None:
        """Return the checkpoint that this fedcli has written for this key; None if there is none, or not a whole one."""
        self._written = None
        try:
            digest, _, data = self._path.read_bytes().partition(b"\n")
            checkpoint = wire.decode(TrustCheckpoint, data) if digest.decode() == wire.sha256(data) else None
        except (OSError, UnicodeDecodeError, wire.MalformedError):
            return None
        if checkpoint is not None and (checkpoint.fedcli, checkpoint.coordinator) == (__version__, coordinator):
            self._written = checkpoint
        return self._written

    def keys(self, from_round: int) -> tuple[str, ...]:
        """Return the keys of the coordinator's records, of rounds only those from a number on."""
        prefix = layout.prefix(layout.COORDINATOR)
        (listing,) = self.store.list_each([prefix], _UNLIMITED, from_round=from_round).values()
        return listing.complete(self.store.address)

    def resume(self, ledger: Ledger, checkpoint: TrustCheckpoint) -> bool:
        """Give a ledger the rounds of a checkpoint, if it goes with the federation records and the newest round in memory."""
        past, number = checkpoint.rounds, len(checkpoint.rounds.digests) - 1
        federations = tuple(item.digest for item in ledger.federations[: len(checkpoint.federations)])
        if federations != checkpoint.federations or number < 0:
            return False
        try:
            data = self.store.read(layout.round_record(number), MAX_RECORD_BYTES)
        except MissingError:
            return False
        if wire.sha256(data) != past.digests[number]:
            return False
        ledger.rounds = Rounds(past, self._round)
        return True

    def keep(self, ledger: Ledger) -> None:
        """Write the checkpoint of a ledger, unless it is there already."""
        checkpoint = TrustCheckpoint.of(ledger)
        if checkpoint != self._written and checkpoint.rounds.digests:
            data = wire.encode(checkpoint)
            write_whole(self._path, f"{wire.sha256(data)}\n".encode() + data, mode=0o600)
            self._written = checkpoint

    def forget_checkpoint(self) -> None:
        """Have everything verified again by whoever reads this memory next."""
        self._path.unlink(missing_ok=True)
        shutil.rmtree(self._updates, ignore_errors=True)
        self._written = None

    def updates(self, ledger: Ledger, site: str) -> dict[int, Verified[UpdateRecord]]:
        """Return the updates of a site in closed rounds that were verified before, by round."""
        return read_updates(self._updates / site, ledger)

    def remember_updates(self, ledger: Ledger, site: str, updates: Sequence[Verified[UpdateRecord]]) -> None:
        """Keep verified updates of a site, so that they need not be verified again."""
        if updates:
            append_updates(self._updates / site, ledger, updates)

    def remember(self, signed: Signed) -> None:
        """Keep a copy of a record that was verified.

        Raises:
            TrustError: Another record was trusted in its place.
        """
        try:
            self.store.publish(layout.signature(signed.key, wire.sha256(signed.data)), signed.signature)
            self.store.publish(signed.key, signed.data)
        except ConflictError as error:
            msg = f"{signed.key}: differs from what this party has trusted before"
            raise TrustError(msg) from error

    def put_aside(self, key: str) -> None:
        """Keep a remembered record that is not trusted any more under another name, as evidence."""
        path = self.store.local_path(key)
        if path is not None and path.exists():
            path.rename(path.with_name(f"{path.name}.replaced"))

    def _round(self, number: int, digest: str) -> Verified[RoundRecord]:
        """Return a round record that was verified under this digest.

        Raises:
            TrustError: The copy is another one, or gone. The next command verifies everything in memory.
        """
        key = layout.round_record(number)
        try:
            data = self.store.read(key, MAX_RECORD_BYTES)
            actual = wire.sha256(data)
        except MissingError:
            actual = "missing"
        if actual != digest:
            self.forget_checkpoint()
            msg = f"{key}: in {self.store.address}: expected SHA-256 {digest[:12]}, which was verified, found {actual[:12]}"
            raise TrustError(msg, hint="this workspace was changed; run the command again: it verifies everything remembered")
        return Verified(key=key, digest=digest, record=wire.decode_saved(RoundRecord, data))
