"""A survivor's answer to the closing of its round: shares that remove the masks from the sum, and from nothing else.

A site answers one closing of a round, and remembers which before it publishes (`answered/round-0005.json`): two closings could
ask for both secrets of one site. It first verifies the update of every survivor, so that nobody can be made up.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from pydantic.dataclasses import dataclass

from fedcli.errors import TrustError
from fedcli.exchange import layout
from fedcli.exchange.keys import encryption_key
from fedcli.exchange.records import Complaint, UnmaskRecord
from fedcli.exchange.succession import newest_seen
from fedcli.party.masking.masked_update import made_update
from fedcli.party.masking.masking_files import participants_masks, published_masks, read_closing, read_opening
from fedcli.party.party import publication
from fedcli.privacy.masking.mask_file import box_info
from fedcli.privacy.masking.share_boxes import SecretKind, WrongBoxError, opened_shares
from fedcli.wire import SHORT_DIGEST, STRICT, Digest

if TYPE_CHECKING:
    from fedcli.exchange.checks import Verified
    from fedcli.exchange.records import ClosingRecord, MasksRecord, OpeningRecord
    from fedcli.party.party import Party
    from fedcli.privacy.encryption_keys import DecryptionKey


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class AnsweredClosing:
    """The closing of a round that this site has answered, or is about to answer."""

    closing: Digest


def answer(party: Party, number: int) -> str:
    """Answer the closing of the open round, if there is one that this site may answer; return what was done, or nothing.

    Raises:
        TrustError: The closing is not one that this site may answer.
    """
    opening = read_opening(party.folder, number)
    closing = read_closing(party.folder, opening) if opening is not None else None
    if opening is None or closing is None or party.name not in closing.record.sites:
        return ""
    if party.store.stat(layout.unmask(party.name, number)) is not None:
        return ""
    _require_own(party, opening, closing)
    _require_updates(party, opening, closing)
    _require_only_closing(party, closing)
    shares, complaints = _shares(party, opening, closing)
    record = UnmaskRecord(
        federation=party.ledger.identity,
        party=party.name,
        created=party.environment.clock(),
        versions=party.versions(),
        seen=newest_seen(party.ledger.rounds),
        round=number,
        closing=closing.digest,
        shares=shares,
        complaints=complaints,
    )
    party.commit(party.outbox.draft(f"unmask-{number:04d}"), publication(layout.unmask(party.name, number), record))
    return f"{party.name} has answered the closing of round {number}; it is the coordinator's turn"


def _require_own(party: Party, opening: Verified[OpeningRecord], closing: Verified[ClosingRecord]) -> None:
    """This workspace made the update that the closing names, under the opening that it names."""
    number, made = opening.record.round, made_update(party, opening.record.round)
    named = next(item.update for item in closing.record.survivors if item.site == party.name)
    if made is None:
        msg = f"{party.name}: this workspace did not make the update of round {number}, and does not answer for it"
        raise TrustError(msg, hint="where it was made, run train-round; if that workspace is lost, tell the coordinator")
    if (made.opening, made.update) != (opening.digest, named):
        msg = (
            f"{closing.key}: opening {opening.digest[:SHORT_DIGEST]} and update {named[:SHORT_DIGEST]}, expected "
            f"{made.opening[:SHORT_DIGEST]} and {made.update[:SHORT_DIGEST]}, which {party.name} has made"
        )
        raise TrustError(msg, hint=_EVIDENCE)


def _require_updates(party: Party, opening: Verified[OpeningRecord], closing: Verified[ClosingRecord]) -> None:
    """Every survivor has signed the update that the closing names, under this opening."""
    for item in closing.record.survivors:
        update = party.folder.update(item.site, opening.record.round)
        found = update.digest[:SHORT_DIGEST] if update is not None else "none"
        if update is None or update.digest != item.update:
            msg = f"{closing.key}: names the update {item.update[:SHORT_DIGEST]} of {item.site}, and its folder has {found}"
            raise TrustError(msg, hint=f"if the folder is being copied, wait; otherwise {_EVIDENCE}")
        if update.record.opening != opening.digest:
            msg = f"{update.key}: masked under the opening {str(update.record.opening)[:SHORT_DIGEST]}, and the round's is "
            raise TrustError(msg + opening.digest[:SHORT_DIGEST], hint=_EVIDENCE)


def _require_only_closing(party: Party, closing: Verified[ClosingRecord]) -> None:
    """Remember the closing; refuse another one of a round that was answered."""
    name = f"answered/round-{closing.record.round:04d}.json"
    answered = party.workspace.load(AnsweredClosing, name)
    if answered is None:
        party.workspace.save(name, AnsweredClosing(closing=closing.digest))
    elif answered.closing != closing.digest:
        msg = (
            f"{closing.key}: equivocation: {party.name} has answered the closing {answered.closing[:SHORT_DIGEST]} of this "
            f"round, and does not answer another one, {closing.digest[:SHORT_DIGEST]}"
        )
        raise TrustError(msg, hint=_EVIDENCE)


def _shares(
    party: Party, opening: Verified[OpeningRecord], closing: Verified[ClosingRecord]
) -> tuple[tuple[str | None, ...], tuple[Complaint, ...]]:
    """Return a share of every participant: of a survivor's seed, of any other's private key; and whose are missing."""
    private = _private_key(party, opening)
    shares: list[str | None] = []
    complaints: list[Complaint] = []
    for site, masks in participants_masks(party.folder, opening).items():
        kind = SecretKind.SEED if site in closing.record.sites else SecretKind.PRIVATE_KEY
        try:
            shares.append(base64.b64encode(_share(party, private, masks, opening.record.round, kind)).decode())
        except (WrongBoxError, InvalidTag, ValueError) as error:
            fault = str(error) if isinstance(error, WrongBoxError) else f"the box of shares for {party.name} does not open"
            shares.append(None)
            complaints.append(Complaint(dealer=site, fault=fault[:200]))
    return tuple(shares), tuple(complaints)


def _share(party: Party, private: DecryptionKey, masks: Verified[MasksRecord], number: int, kind: SecretKind) -> bytes:
    members = party.ledger.in_force(number).record.trainers
    position, dealer = members.index(party.name) + 1, masks.record.party
    published = published_masks(party.folder, masks)
    info = box_info(party.ledger.identity, dealer, party.name, masks.key)
    box = private.decrypt(published.boxes[position - 1], info)
    return opened_shares(box, dealer, party.name, position, published.commitments)[number - masks.record.first_round].of(kind)


def _private_key(party: Party, opening: Verified[OpeningRecord]) -> DecryptionKey:
    """Return the key to which the boxes of a round were encrypted."""
    listed = encryption_key(party.ledger.in_force(opening.record.round).record.keys_of(party.name))
    path = party.keyring.digests().get(listed.digest) if listed is not None else None
    if listed is None or path is None:
        msg = f"{party.name}: the encryption key that the federation lists is not in this workspace, so no box of shares opens"
        raise TrustError(msg, hint="restore `encryption` from a backup")
    return party.keyring.private(path)


_EVIDENCE = "keep the records, and ask the coordinator by telephone (`fedcli docs when-something-breaks`)"
