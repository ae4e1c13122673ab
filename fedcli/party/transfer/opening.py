"""Opening sealed files: which of a reader's keys opens one, by the file's own record or by a grant."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from fedcli.errors import MissingError, SealedError, TrustError, UnreadableError
from fedcli.exchange import layout
from fedcli.exchange.bounds import MAX_PARTY_BYTES
from fedcli.privacy import sealing
from fedcli.privacy.sealing import Place, SealError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from fedcli.exchange.checks import Verified
    from fedcli.exchange.records import Artifact, GrantRecord, Record
    from fedcli.party.folder import Folder
    from fedcli.privacy.keyring import Keyring


@dataclass(frozen=True, slots=True, kw_only=True)
class _Box:
    """A content key wrapped for one of the reader's keys, and whether a grant has it, not the file's own record."""

    wrapped: str
    key: Path
    granted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentKey:
    """A key that may open a sealed file: whoever granted it may have lied.

    Attributes:
        key: The content key.
        granted: Whether it comes from a grant; otherwise the file's own author has wrapped it.
    """

    key: bytes
    granted: bool


class Opening:
    """What a reader can open.

    Args:
        keyring: The reader's keys.
        grants: Returns the verified grant records of the drop folder; it is called only where a file's own record has no box for
            the reader, and once.
    """

    def __init__(self, keyring: Keyring, grants: Callable[[], Iterable[Verified[GrantRecord]]]) -> None:
        self.keyring = keyring
        self._grants = grants
        self._granted: dict[str, dict[str, _Box]] | None = None
        self._reading = Lock()

    def content_keys(self, owner: Verified[Record], artifact: Artifact) -> Iterator[ContentKey]:
        """Yield the keys that may open a sealed file: those of its own record, then those of grants, the coordinator's first.

        A grant that does not open is passed over: another party's may.

        Raises:
            TrustError: The file's own record has a box for the reader that does not open, and no key has been of use.
            SealedError: No key has been of use, and the file's own record has none for the reader.
        """
        place, failure = place_of(owner, artifact), None
        for box in self._boxes(artifact):
            try:
                key = sealing.unwrap(base64.b64decode(box.wrapped), self.keyring.private(box.key), place)
                yield ContentKey(key=key, granted=box.granted)
            except SealError as error:
                if not box.granted:
                    failure = f"{artifact.key}: {error}, though {owner.record.party} has wrapped it"
        if failure is not None:
            raise TrustError(failure)
        names = ", ".join(item.party for item in artifact.encryption.recipients[:_NAMED]) if artifact.encryption else ""
        msg = f"{artifact.key}: sealed, and no key here opens it; {owner.key} names {names or 'nobody'}"
        raise SealedError(msg, hint=_HINT)

    def _boxes(self, artifact: Artifact) -> Iterator[_Box]:
        own = self.keyring.digests()
        recipients = artifact.encryption.recipients if artifact.encryption is not None else ()
        boxes = [_Box(wrapped=item.wrapped, key=own[item.key], granted=False) for item in recipients if item.key in own]
        yield from reversed(boxes)
        yield from self._boxes_of_grants(own).get(artifact.stored_sha256, {}).values()

    def _boxes_of_grants(self, own: dict[str, Path]) -> dict[str, dict[str, _Box]]:
        """Return by the digest of the sealed file each party's newest box for the reader; several threads may ask."""
        with self._reading:
            if self._granted is None:
                granted: dict[str, dict[str, _Box]] = {}
                for grant in (item.record for item in self._grants() if item.record.key in own) if own else ():
                    for item in grant.granted:
                        box = _Box(wrapped=item.wrapped, key=own[grant.key], granted=True)
                        granted.setdefault(item.stored_sha256, {})[grant.party] = box
                self._granted = granted
            return self._granted


def read_grants(folder: Folder) -> Iterator[Verified[GrantRecord]]:
    """Yield the grant records that verify, the coordinator's first; a file that does not verify is passed over."""
    for party in (layout.COORDINATOR, *sorted(folder.ledger.bounds.sites or ())):
        prefix = f"{layout.prefix(party)}grants/"
        keys = folder.store.list_each([prefix], folder.ledger.bounds.files)[prefix].keys
        read = 0
        for number in layout.numbers(keys, f"{prefix}{{}}.json")[-folder.ledger.bounds.series :]:
            if read > MAX_PARTY_BYTES:
                break
            try:
                signed = folder.read(layout.grant(party, number))
                read += len(signed.data)
                yield folder.ledger.grant(party, number, signed)
            except (TrustError, MissingError, UnreadableError):
                continue


def place_of(owner: Verified[Record], artifact: Artifact) -> Place:
    """Return what a sealed file is bound to."""
    return Place(
        federation=owner.record.federation or "",
        record=owner.key,
        role=artifact.role.value,
        content=artifact.content_sha256,
    )


_NAMED = 5
_HINT = (
    "at a member: the coordinator's `fedcli admit SITE` grants it; at the coordinator: restore `encryption` from a backup, or "
    "see `fedcli docs when-something-breaks`; an auditor needs --identity KEY"
)
