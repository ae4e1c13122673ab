"""The drop folder as one party sees it: the records that it trusts, new records, and private copies of artifacts.

A party remembers every record that it has verified (`trusted/` in its workspace, a small local store with the same keys). From
there on it reads the drop folder, and refuses an older, a forked or a changed history.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli import wire
from fedcli.errors import ConflictError, MissingError, TooLongError, TrustError, UnreadableError
from fedcli.exchange import layout, signatures
from fedcli.exchange.bounds import MAX_APPLICANTS
from fedcli.exchange.checks import Signed, check_signature
from fedcli.exchange.keys import verify_keys
from fedcli.exchange.ledger import Ledger
from fedcli.party.artifacts import Artifacts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fedcli.exchange.checks import Verified
    from fedcli.exchange.records import DatasetRecord, EnrolmentRecord, Record, UpdateRecord
    from fedcli.exchange.store import ReadableStore, Store
    from fedcli.exchange.store.listing import Listing
    from fedcli.tensors import Layout


class Folder:
    """A drop folder, its trusted history, and a cache of its artifacts.

    Attributes:
        store: Where the files lie.
        ledger: The history trusted so far; `synchronise` brings it up to date.
        artifacts: Private copies of its artifacts.

    Args:
        store: Where the files lie.
        coordinator: Fingerprint of the coordinator's first key; None confirms none.
        cache: A private folder for artifacts.
        memory: A private store of the records trusted before; None remembers nothing.
    """

    def __init__(self, store: ReadableStore, *, coordinator: str | None, cache: Path, memory: Store | None = None) -> None:
        self.store = store
        self.ledger = Ledger(coordinator)
        self.artifacts = Artifacts(store, cache)
        self._memory = memory

    def synchronise(self) -> None:
        """Bring the ledger up to date: first from memory, then forward from the drop folder.

        Raises:
            TrustError: A record does not verify, or the folder is older than, or differs from, what this party has trusted.
            StoreError: The drop folder cannot be read.
        """
        self.ledger = Ledger(self.ledger.pinned)
        if self._memory is not None:
            keys = self._memory.list(layout.prefix(layout.COORDINATOR))
            self._take_federations(self._memory, keys)
            self._take_rounds(self._memory, keys)
        keys = self.list_parties(layout.COORDINATOR)[layout.COORDINATOR].complete(self.store.address)
        if self._memory is not None:
            self._take_recovery(self._memory, keys)
        self._refuse_older_or_forked(keys)
        self._take_federations(self.store, keys)
        self._take_rounds(self.store, keys)

    def list_parties(self, *parties: str, limit: int | None = None) -> dict[str, Listing]:
        """Return the files of some parties, of each at most `limit`, or as many as the federation's bounds allow.

        Raises:
            StoreError: The drop folder cannot be reached.
        """
        listings = self.store.list_each([layout.prefix(party) for party in parties], limit or self.ledger.bounds.files)
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

    def _take_recovery(self, memory: Store, keys: tuple[str, ...]) -> None:
        """Take a new record of the recovery key in place of what this party has trusted before."""
        remembered = memory.list(layout.prefix(layout.COORDINATOR))
        trusted, known = layout.federation_numbers(remembered), layout.recovery_numbers(remembered)
        length = len(self.ledger.federations)
        new = [number for number in layout.recovery_numbers(keys) if number not in known and number <= length]
        if not trusted or not new:
            return
        self.ledger = Ledger(self.ledger.pinned)
        self._take_federations(memory, remembered, before=new[0])
        self._take_federations(self.store, (layout.recovery(new[0]),))
        for number in trusted:
            if number >= new[0]:
                _put_aside(memory, layout.federation(number))
        self._take_rounds(memory, remembered, replaced=True)

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
        if used is not None and self._memory is not None and self._memory.stat(key) is not None:
            return self.ledger.update(site, number, self._read(self._memory, key))
        try:
            signed = self.read(key)
        except MissingError:
            return None
        update = self.ledger.update(site, number, signed)
        if used is not None:
            if update.digest != used:
                msg = f"{key}: SHA-256 {update.digest[:12]}, expected {used[:12]}, which round {number} used"
                raise TrustError(msg, hint="the site has signed two updates for one round, or the file was replaced")
            self._remember(signed)
        return update

    def datasets(self, site: str, digest: str | None = None) -> Iterator[Verified[DatasetRecord]]:
        """Yield the data set records of a site that verify, the newest first; or the one of a digest, however old it is."""
        prefix = f"{layout.prefix(site)}dataset/"
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

    def later_enrolment(
        self, site: str, number: int, before: Verified[EnrolmentRecord] | None, signed: Signed
    ) -> Verified[EnrolmentRecord]:
        """Verify an enrolment after a site's first, with the countersignature of the key that it brings in.

        Raises:
            TrustError: It does not verify.
        """
        name = layout.countersignature(signed.key, wire.sha256(signed.data))
        return self.ledger.later_enrolment(site, number, before, signed, _read_signature(self.store, signed.key, name))

    def global_model(self, number: int, expected: Layout | None = None) -> Path:
        """Return a private copy of a round's global model, checked as `Artifacts.fetch` does."""
        published = self.ledger.rounds[number]
        return self.artifacts.fetch(published, published.artifact, expected)

    def _read(self, source: ReadableStore, key: str) -> Signed:
        return _read(source, key, self.ledger.bounds.record_bytes(key))

    def _take_federations(self, source: ReadableStore, keys: tuple[str, ...], before: int | None = None) -> None:
        recoveries = layout.recovery_numbers(keys)
        for number in sorted({*layout.federation_numbers(keys), *recoveries}):
            if number >= len(self.ledger.federations) and (before is None or number < before):
                signed = self._read(source, layout.recovery(number) if number in recoveries else layout.federation(number))
                self.ledger.add_federation(signed)
                if source is not self._memory:
                    self._remember(signed)

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
                    for later in layout.round_numbers(keys)[number:]:
                        _put_aside(self._memory, layout.round_record(later))
                    return
                if source is not self._memory:
                    self._remember(signed)

    def _refuse_older_or_forked(self, keys: tuple[str, ...]) -> None:
        for newest in self.ledger.rounds[-1:] + self.ledger.federations[-1:]:
            if newest.key not in keys:
                msg = f"{newest.key}: gone from the drop folder {self.store.address}, though this party has trusted it"
                raise TrustError(msg, hint="the folder was rolled back, or is another one; see docs/when-something-breaks.md")
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
            msg, hint="stop, keep both records, and ask the coordinator by telephone (docs/when-something-breaks.md)"
        )

    def _remember(self, signed: Signed) -> None:
        if self._memory is None:
            return
        try:
            self._memory.publish(layout.signature(signed.key, wire.sha256(signed.data)), signed.signature)
            self._memory.publish(signed.key, signed.data)
        except ConflictError as error:
            msg = f"{signed.key}: differs from what this party has trusted before"
            raise TrustError(msg) from error


def _put_aside(memory: Store, key: str) -> None:
    """Keep a remembered record that is not trusted any more under another name, as evidence."""
    path = memory.local_path(key)
    if path is not None and path.exists():
        path.rename(path.with_name(f"{path.name}.replaced"))


def _read(store: ReadableStore, key: str, most: int) -> Signed:
    try:
        data = store.read(key, most)
    except TooLongError as error:
        raise TrustError(str(error)) from error
    return Signed(key=key, data=data, signature=_read_signature(store, key, layout.signature(key, wire.sha256(data))))


def _read_signature(store: ReadableStore, key: str, name: str) -> bytes:
    try:
        return store.read(name, signatures.MAX_SIGNATURE_BYTES)
    except MissingError as error:
        msg = f"{key}: unsigned: there is no {name} for its present bytes"
        raise TrustError(msg, hint="the record was changed after it was signed, or its signature was removed") from error
    except TooLongError as error:
        raise TrustError(str(error)) from error
