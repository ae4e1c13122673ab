"""The drop folder as one party sees it: the records that it trusts, new records, and private copies of artifacts.

A party remembers every record that it has verified (`trusted/` in its workspace; see `TrustedRecords`). From there on it reads
the drop folder, and refuses an older, a forked or a changed history; of the rounds that it has trusted, it reads only the newest.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from fedcli import wire
from fedcli.errors import MissingError, StoreError, TrustError, UnreadableError
from fedcli.exchange import layout
from fedcli.exchange.bounds import MAX_APPLICANTS
from fedcli.exchange.checks import check_signature
from fedcli.exchange.keys import verify_keys
from fedcli.exchange.ledger import Ledger
from fedcli.party.transfer.artifacts import Artifacts
from fedcli.party.transfer.opening import Opening, read_grants
from fedcli.party.transfer.signed_files import read_signed
from fedcli.privacy.keyring import scratch_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from fedcli.exchange.checks import Signed, Verified
    from fedcli.exchange.records import DatasetRecord, Record, UpdateRecord
    from fedcli.exchange.store import ReadableStore
    from fedcli.exchange.store.listing import Listing
    from fedcli.party.memory.trusted_records import TrustedRecords
    from fedcli.privacy.keyring import Keyring
    from fedcli.tensors import Layout


class Folder:
    """A drop folder, its trusted history, and a cache of its artifacts.

    Attributes:
        store: Where the files lie.
        ledger: The history trusted so far; `synchronise` brings it up to date.
        opening: What the reader can open; None is nothing that is sealed.
        artifacts: Private copies of its artifacts.

    Args:
        store: Where the files lie.
        coordinator: Fingerprint of the coordinator's first key; None confirms none.
        cache: A private folder for artifacts.
        memory: The records trusted before; None remembers nothing.
        keyring: The reader's private keys, to open what is sealed; None opens nothing.
    """

    def __init__(
        self,
        store: ReadableStore,
        *,
        coordinator: str | None,
        cache: Path,
        memory: TrustedRecords | None = None,
        keyring: Keyring | None = None,
    ) -> None:
        self.store = store
        self.ledger = Ledger(coordinator)
        self.opening = Opening(keyring, partial(read_grants, self)) if keyring is not None else None
        self.artifacts = Artifacts(store, cache, self.opening)
        self._memory = memory

    @property
    def scratch(self) -> Path | None:
        """Where temporary copies go; None is the system's place for them."""
        return scratch_of(self.opening.keyring) if self.opening is not None else None

    def beside(self, cache: Path) -> Folder:
        """Return the same folder, trusted as far as this one, with private copies of its own."""
        other = Folder(self.store, coordinator=self.ledger.pinned, cache=cache)
        other.ledger, other.opening = self.ledger, self.opening
        other.artifacts = Artifacts(self.store, cache, self.opening)
        return other

    def synchronise(self) -> None:
        """Bring the ledger up to date: first from memory, then forward from the drop folder.

        Raises:
            TrustError: A record does not verify, or the folder is older than, or differs from, what this party has trusted.
            StoreError: The drop folder cannot be read.
        """
        memory, self.ledger = self._memory, Ledger(self.ledger.pinned)
        if memory is not None:
            self._take_remembered(memory)
        keys = self._records_of_coordinator()
        if memory is not None and self._take_recovery(memory, keys):
            keys = self._records_of_coordinator()
        self._refuse_older_or_forked(keys)
        self._take_federations(self.store, keys)
        self._take_rounds(self.store, keys)
        if memory is not None:
            memory.keep(self.ledger)

    def _records_of_coordinator(self) -> tuple[str, ...]:
        """List the coordinator's files, of rounds only those of the newest trusted one and of later ones."""
        listings = self.list_parties(layout.COORDINATOR, from_round=max(self.ledger.newest_round, 0))
        return listings[layout.COORDINATOR].complete(self.store.address)

    def list_parties(self, *parties: str, limit: int | None = None, from_round: int = 0) -> dict[str, Listing]:
        """Return the files of some parties, of each at most `limit`, or as many as the federation's bounds allow.

        Args:
            parties: Their names.
            limit: How many files and folders are listed of each; None is what the federation's bounds allow.
            from_round: Folders of earlier rounds are not listed.

        Raises:
            StoreError: The drop folder cannot be reached.
        """
        prefixes = [layout.prefix(party) for party in parties]
        listings = self.store.list_each(prefixes, limit or self.ledger.bounds.files, from_round=from_round)
        return {party: listings[layout.prefix(party)] for party in parties}

    def applicants(self) -> tuple[tuple[str, ...], bool]:
        """Return the names under `sites/` that are no members' and never were, and whether there are more.

        Raises:
            StoreError: The drop folder cannot be reached, or `sites/` cannot be listed.
        """
        ever = self.ledger.bounds.sites or frozenset()
        names = self.store.names("sites/", len(ever) + MAX_APPLICANTS)
        others = [name for name in names if name not in ever and layout.is_site(name)]
        return tuple(others[:MAX_APPLICANTS]), len(names) > len(ever) + MAX_APPLICANTS

    def _take_remembered(self, memory: TrustedRecords) -> None:
        """Take what this party remembers; rounds that the checkpoint names are neither read nor verified."""
        checkpoint = memory.checkpoint(self.ledger.pinned)
        keys = memory.keys(max(len(checkpoint.rounds.digests) - 1, 0) if checkpoint is not None else 0)
        self._take_federations(memory.store, keys)
        if checkpoint is None or not memory.resume(self.ledger, checkpoint):
            keys = memory.keys(0)
        self._take_rounds(memory.store, keys)
        memory.keep(self.ledger)

    def _take_recovery(self, memory: TrustedRecords, keys: tuple[str, ...]) -> bool:
        """Take a new record of the recovery key in place of what this party has trusted before; tell whether there is one.

        What it replaces is put aside from the newest on, and the record is remembered last: a run that is killed leaves memories
        that still follow from one another, and the next run takes the record again.
        """
        if not layout.recovery_numbers(keys):
            return False
        remembered = memory.keys(0)
        trusted, known = layout.federation_numbers(remembered), layout.recovery_numbers(remembered)
        length = len(self.ledger.federations)
        new = [number for number in layout.recovery_numbers(keys) if number not in known and number <= length]
        if not trusted or not new:
            return False
        memory.forget_checkpoint()
        self.ledger = Ledger(self.ledger.pinned)
        self._take_federations(memory.store, remembered, before=new[0])
        signed = self._read(self.store, layout.recovery(new[0]))
        self.ledger.add_federation(signed)
        self._take_rounds(memory.store, remembered, replaced=True)
        for number in reversed(trusted):
            if number >= new[0]:
                memory.put_aside(layout.federation(number))
        memory.remember(signed)
        return True

    def read(self, key: str) -> Signed:
        """Read a record and the signature that goes with its bytes.

        Raises:
            MissingError: There is no such record.
            TrustError: The record is too long, or no signature goes with its bytes.
            StoreError: The drop folder cannot be read.
        """
        return self._read(self.store, key)

    def update(self, site: str, number: int) -> Verified[UpdateRecord] | None:
        """Return a site's verified update record of a round, or None.

        An update that a round used is remembered; it is read from the drop folder only once.

        Raises:
            TrustError: It does not verify.
        """
        key = layout.update(site, number)
        used = None
        if number <= self.ledger.newest_round:
            contributions = self.ledger.rounds[number].record.contributions
            used = next((item.update for item in contributions if item.site == site), None)
        if used is not None and self._memory is not None and self._memory.store.stat(key) is not None:
            return self.ledger.update(site, number, self._read(self._memory.store, key))
        try:
            signed = self.read(key)
        except MissingError:
            return None
        update = self.ledger.update(site, number, signed)
        if used is not None:
            if update.digest != used:
                msg = f"{key}: SHA-256 {update.digest[:12]}, expected {used[:12]}, which round {number} used"
                raise TrustError(msg, hint="the site has signed two updates for one round, or the file was replaced")
            if self._memory is not None:
                self._memory.remember(signed)
        return update

    def remembered_updates(self, site: str, keys: Collection[str]) -> dict[int, Verified[UpdateRecord]]:
        """Return the updates of a site in closed rounds that were verified before, and whose signatures are among the keys."""
        updates = self._memory.updates(self.ledger, site) if self._memory is not None else {}
        return {
            number: update
            for number, update in updates.items()
            if number <= self.ledger.newest_round and layout.signature(update.key, update.digest) in keys
        }

    def remember_updates(self, site: str, updates: Sequence[Verified[UpdateRecord]]) -> None:
        """Keep verified updates of closed rounds for `remembered_updates`."""
        if self._memory is not None:
            self._memory.remember_updates(self.ledger, site, updates)

    def datasets(
        self, site: str, digest: str | None = None, keys: tuple[str, ...] | None = None
    ) -> Iterator[Verified[DatasetRecord]]:
        """Yield the data set records of a site that verify, the newest first; or the one of a digest, however old it is.

        Args:
            site: The site.
            digest: Of the one record.
            keys: The site's files, where they are known.
        """
        prefix = f"{layout.prefix(site)}dataset/"
        if keys is None:
            keys = self.store.list_each([prefix], self.ledger.bounds.files)[prefix].keys
        if digest is not None:
            keys = layout.signed_as(keys, (digest,))
        for number in reversed(layout.numbers(keys, f"{prefix}{{}}.json")[-self.ledger.bounds.series :]):
            try:
                yield self.ledger.dataset(site, number, self.read(layout.dataset(site, number)))
            except (TrustError, MissingError):
                continue
            except UnreadableError:
                if digest is not None:
                    raise

    def global_model(self, number: int, expected: Layout | None = None) -> Path:
        """Return a private copy of a round's global model, checked as `Artifacts.fetch` does."""
        published = self.ledger.rounds[number]
        return self.artifacts.fetch(published, published.artifact, expected)

    def _read(self, source: ReadableStore, key: str) -> Signed:
        return read_signed(source, key, self.ledger.bounds.record_bytes(key))

    def _take_federations(self, source: ReadableStore, keys: tuple[str, ...], before: int | None = None) -> None:
        recoveries = layout.recovery_numbers(keys)
        for number in sorted({*layout.federation_numbers(keys), *recoveries}):
            if number >= len(self.ledger.federations) and (before is None or number < before):
                signed = self._read(source, layout.recovery(number) if number in recoveries else layout.federation(number))
                self.ledger.add_federation(signed)
                self._remember(source, signed)

    def _take_rounds(self, source: ReadableStore, keys: tuple[str, ...], *, replaced: bool = False) -> None:
        """Take the next rounds; those that were made under a record that was replaced are not trusted any more."""
        for number in layout.round_numbers(keys):
            if number >= len(self.ledger.rounds):
                signed = self._read(source, layout.round_record(number))
                try:
                    self.ledger.add_round(signed)
                except TrustError:
                    if not replaced or self._memory is None:
                        raise
                    for later in reversed(layout.round_numbers(keys)[number:]):
                        self._memory.put_aside(layout.round_record(later))
                    return
                self._remember(source, signed)

    def require_history(self) -> None:
        """Raise a StoreError if this party remembers a history, and the drop folder has none: nothing must be written there."""
        first = layout.federation(0)
        if self._memory is not None and self._memory.store.stat(first) is not None and self.store.stat(first) is None:
            raise self._empty()

    def _empty(self) -> StoreError:
        msg = f"{self.store.address}: the drop folder is empty, though this party has trusted a history there"
        return StoreError(msg, hint="check that the share is mounted, and that `drop` in workspace.toml names the right place")

    def _refuse_older_or_forked(self, keys: tuple[str, ...]) -> None:
        if not keys and self.ledger.federations and not self.store.names(f"{layout.SITES}/", 1):
            raise self._empty()
        for newest in (*self.ledger.rounds[-1:], *self.ledger.federations[-1:]):
            if newest.key not in keys:
                msg = f"{newest.key}: gone from the drop folder {self.store.address}, though this party has trusted it"
                raise TrustError(
                    msg, hint="the folder was rolled back, or is another one; see `fedcli docs when-something-breaks`"
                )
            signed = self.read(newest.key)
            if wire.sha256(signed.data) != newest.digest:
                self._accuse(signed, newest)

    def _accuse(self, signed: Signed, trusted: Verified[Record]) -> None:
        check_signature(signed, signed.signature, verify_keys(self.ledger.newest_federation.coordinator))
        msg = (
            f"{signed.key}: equivocation: the coordinator has signed {wire.sha256(signed.data)[:12]} here, and before that "
            f"{trusted.digest[:12]}, which this party has trusted"
        )
        raise TrustError(
            msg, hint="stop, keep both records, and ask the coordinator by telephone (`fedcli docs when-something-breaks`)"
        )

    def _remember(self, source: ReadableStore, signed: Signed) -> None:
        if self._memory is not None and source is not self._memory.store:
            self._memory.remember(signed)
