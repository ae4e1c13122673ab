"""The drop folder as one party sees it: what it trusts, what is new there, and private copies of artifacts.

A party remembers every record that it has verified (`trusted/` in its workspace, a small local store with the same keys). A
look at the drop folder goes forward from there: an older, a forked or a changed history is refused.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from fedcli import tensors, wire
from fedcli.errors import ConflictError, MissingError, StoreError, TrustError
from fedcli.exchange import checks, layout, signatures
from fedcli.exchange.checks import Signed
from fedcli.exchange.ledger import Ledger
from fedcli.exchange.records import MAX_RECORD_BYTES

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.exchange.checks import Verified
    from fedcli.exchange.records import Artifact, Record, UpdateRecord
    from fedcli.exchange.store import Store
    from fedcli.tensors import Layout


class Folder:
    """A drop folder, its trusted history, and a cache of its artifacts.

    Attributes:
        store: Where the files lie.
        ledger: The history trusted so far; `synchronise` brings it up to date.

    Args:
        store: Where the files lie.
        coordinator: Fingerprint of the coordinator's first key; None confirms none.
        cache: A private folder for artifacts.
        memory: A private store of the records trusted before; None remembers nothing.
    """

    def __init__(self, store: Store, *, coordinator: str | None, cache: Path, memory: Store | None = None) -> None:
        self.store = store
        self.ledger = Ledger(coordinator)
        self._cache = cache
        self._memory = memory

    def synchronise(self) -> None:
        """Bring the ledger up to date: first from memory, then forward from the drop folder.

        Raises:
            TrustError: A record does not verify, or the folder is older than, or differs from, what this party has trusted.
            StoreError: The drop folder cannot be read.
        """
        self.ledger = Ledger(self.ledger.pinned)
        if self._memory is not None:
            keys = self._memory.list(f"{layout.COORDINATOR}/")
            self._take_federations(self._memory, keys)
            self._take_rounds(self._memory, keys)
        keys = self.store.list(f"{layout.COORDINATOR}/")
        self._refuse_older_or_forked(keys)
        self._take_federations(self.store, keys)
        self._take_rounds(self.store, keys)

    def read(self, key: str) -> Signed:
        """Read a record and the signature that goes with its bytes.

        Raises:
            MissingError: There is no such record.
            TrustError: The record is too long, or no signature goes with its bytes.
            StoreError: The drop folder cannot be read.
        """
        return _read(self.store, key)

    def update(self, site: str, number: int) -> Verified[UpdateRecord] | None:
        """Return a site's verified update record of a round, or None where there is none.

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
            return self.ledger.update(site, number, _read(self._memory, key))
        try:
            signed = self.read(key)
        except MissingError:
            return None
        found = self.ledger.update(site, number, signed)
        if used is not None:
            if found.digest != used:
                msg = f"{key}: SHA-256 {found.digest[:12]}, expected {used[:12]}, which round {number} used"
                raise TrustError(msg, hint="the site has signed two updates for one round, or the file was replaced")
            self._remember(signed)
        return found

    def fetch(self, found: Verified[Record], artifact: Artifact, expected: Layout | None = None) -> Path:
        """Return a private copy of an artifact: hashed while it was copied, its header checked.

        Raises:
            TrustError: Size, digest or layout are not what the record says.
        """
        path = self._cache / f"{artifact.stored_sha256}.safetensors"
        if not path.exists():
            size = self.store.stat(artifact.key)
            if size != artifact.stored_size:
                msg = f"{artifact.key}: {size} bytes" if size is not None else f"{artifact.key}: missing"
                msg += f", expected {artifact.stored_size} bytes, named by {found.key}"
                raise TrustError(msg)
            self._cache.mkdir(parents=True, exist_ok=True)
            partial = self._cache / f".{secrets.token_hex(8)}"
            try:
                measured = self.store.fetch(artifact.key, partial, artifact.stored_size)
                checks.check_copy(found.key, artifact, measured)
                with partial.open("rb") as file:
                    checks.check_artifact(found.key, artifact, measured, tensors.read_layout(file), expected)
                partial.rename(path)
            finally:
                partial.unlink(missing_ok=True)
        elif expected is not None:
            with path.open("rb") as file:
                if difference := expected.difference(tensors.read_layout(file)):
                    msg = f"{artifact.key}: not the federation's model: {difference}"
                    raise TrustError(msg)
        return path

    def global_model(self, number: int) -> Path:
        """Return a private copy of a round's global model."""
        found = self.ledger.rounds[number]
        return self.fetch(found, found.artifact)

    def forget_artifacts(self, *keep: Path) -> None:
        """Empty the cache but for the given files."""
        for path in self._cache.glob("*") if self._cache.is_dir() else ():
            if path not in keep:
                path.unlink(missing_ok=True)

    def _take_federations(self, source: Store, keys: tuple[str, ...]) -> None:
        for number in layout.federation_numbers(keys):
            if number >= len(self.ledger.federations):
                signed = _read(source, layout.federation(number))
                self.ledger.add_federation(signed)
                if source is not self._memory:
                    self._remember(signed)

    def _take_rounds(self, source: Store, keys: tuple[str, ...]) -> None:
        for number in layout.round_numbers(keys):
            if number >= len(self.ledger.rounds):
                signed = _read(source, layout.round_record(number))
                self.ledger.add_round(signed)
                if source is not self._memory:
                    self._remember(signed)

    def _refuse_older_or_forked(self, keys: tuple[str, ...]) -> None:
        for newest in self.ledger.rounds[-1:] + self.ledger.federations[-1:]:
            if newest.key not in keys:
                msg = f"{newest.key}: gone from the drop folder {self.store.address}, though this party has trusted it"
                raise TrustError(msg, hint="the folder was rolled back, or it is another one; ask the coordinator")
            signed = self.read(newest.key)
            if wire.sha256(signed.data) != newest.digest:
                self._accuse(signed, newest)

    def _accuse(self, signed: Signed, trusted: Verified[Record]) -> None:
        keys = [signatures.VerifyKey.parse(key.public_key) for key in self.ledger.newest_federation.coordinator]
        signatures.verify(signed.signature, signed.data, keys)
        msg = (
            f"{signed.key}: equivocation: the coordinator has signed {wire.sha256(signed.data)[:12]} here, and before that "
            f"{trusted.digest[:12]}, which this party has trusted"
        )
        raise TrustError(msg, hint="stop, keep both records, and ask the coordinator by telephone")

    def _remember(self, signed: Signed) -> None:
        if self._memory is None:
            return
        try:
            self._memory.publish(layout.signature(signed.key, wire.sha256(signed.data)), signed.signature)
            self._memory.publish(signed.key, signed.data)
        except ConflictError as error:
            msg = f"{signed.key}: differs from what this party has trusted before"
            raise TrustError(msg) from error


def _read(store: Store, key: str) -> Signed:
    try:
        data = store.read(key, MAX_RECORD_BYTES)
    except MissingError:
        raise
    except StoreError as error:
        if (store.stat(key) or 0) > MAX_RECORD_BYTES:
            raise TrustError(str(error)) from error
        raise
    name = layout.signature(key, wire.sha256(data))
    try:
        signature = store.read(name, signatures.MAX_SIGNATURE_BYTES)
    except MissingError as error:
        msg = f"{key}: unsigned: there is no {name} for its present bytes"
        raise TrustError(msg, hint="the record was changed after it was signed, or its signature was removed") from error
    except StoreError as error:
        if (store.stat(name) or 0) > signatures.MAX_SIGNATURE_BYTES:
            raise TrustError(str(error)) from error
        raise
    return Signed(key=key, data=data, signature=signature)
