"""A site's own masks: made ahead for a run of rounds, published, and their secrets kept until its update is masked.

    state/masks-0001/round-0005.json    the seed and the private key of round 5, from the masks record 0001

The outbox installs the folder by the rename that ends the publication. A round's file is erased when the masked update of the
round is committed: nobody can mask another update with the same keys then.
"""

from __future__ import annotations

import base64
import secrets
from functools import partial
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from fedcli import disk, wire
from fedcli.errors import SealedError, TrustError
from fedcli.exchange import layout
from fedcli.exchange.keys import encryption_key
from fedcli.exchange.records import LEAST_PARTICIPANTS, MAX_MASKED_ROUNDS, MasksRecord, Role
from fedcli.exchange.succession import newest_seen
from fedcli.party.masking.masking_files import masks_for, published_masks
from fedcli.party.masking.roster import is_approved
from fedcli.party.party import publication
from fedcli.party.transfer.outgoing import ArtifactFile
from fedcli.privacy.masking.mask_file import PublishedMasks, box_info, write_masks
from fedcli.privacy.masking.mask_keys import public_key_of
from fedcli.privacy.masking.share_boxes import RoundSecrets, deal, new_secrets
from fedcli.wire import STRICT

if TYPE_CHECKING:
    from fedcli.exchange.checks import Verified
    from fedcli.exchange.records import FederationRecord
    from fedcli.party.party import Party
    from fedcli.privacy.masking.share_boxes import Dealing


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class KeptSecrets:
    """A round's secrets in the workspace: 32 bytes each, in base64."""

    seed: Annotated[str, Field(min_length=44, max_length=44)]
    private_key: Annotated[str, Field(min_length=44, max_length=44)]


def prepare_masks(party: Party, number: int) -> bool:
    """Publish masks for the open round and those after it where they are lacking; return whether any were published.

    The round after the open one is covered too, so that the coordinator can open it together with the record of this one.

    Args:
        party: The site.
        number: The open round.
    """
    ledger, published = party.ledger, False
    for wanted in (number, number + 1):
        federation = ledger.in_force(wanted).record
        trains = party.name in federation.trainers and wanted <= federation.plan.rounds
        enough = len(federation.trainers) >= LEAST_PARTICIPANTS  # with fewer, the roster must change first
        approved = federation.plan.aggregation.masking and is_approved(party.workspace, federation)
        if trains and enough and approved and usable_masks(party, wanted) is None:
            _publish(party, wanted)
            published = True
    return published


def usable_masks(party: Party, number: int) -> Verified[MasksRecord] | None:
    """Return the site's newest masks of a round, if they hold, and this workspace has made them and still has the secrets."""
    masks = masks_for(party.folder, party.name, number)
    try:
        if masks is None or kept_secrets(party, masks, number) is None:
            return None
        party.folder.artifacts.check_stored(masks, masks.artifact)  # a private copy says nothing about the drop folder's file
        return masks  # noqa: TRY300 - in an else clause it would be further from the check
    except SealedError:
        raise
    except TrustError as error:
        party.environment.progress.event(f"{party.name}: preparing other masks for round {number}: {error}")
        return None


def kept_secrets(party: Party, masks: Verified[MasksRecord], number: int) -> RoundSecrets | None:
    """Return the secrets of a round that go with a masks record; None if they were erased, or never were in this workspace."""
    kept = party.workspace.load(KeptSecrets, _name(masks.record.number, number))
    if kept is None:
        return None
    held = RoundSecrets(seed=base64.b64decode(kept.seed), private_key=base64.b64decode(kept.private_key))
    published = published_masks(party.folder, masks).commitments[number - masks.record.first_round]
    return held if public_key_of(held.private_key) == published.public_key else None


def erase_secrets(party: Party, last: int) -> None:
    """Erase the secrets of all rounds up to one, and folders in which none are left."""
    for folder in party.workspace.path("state").glob("masks-*"):
        for path in folder.glob("round-*.json"):
            if int(path.stem.removeprefix("round-")) <= last:
                path.unlink()
        if not any(folder.iterdir()):
            folder.rmdir()


def _name(record: int, number: int) -> str:
    return f"state/masks-{record:04d}/round-{number:04d}.json"


def _publish(party: Party, first_round: int) -> None:
    force = party.ledger.in_force(first_round)
    federation = force.record
    last = min(federation.plan.rounds, first_round + MAX_MASKED_ROUNDS - 1, layout.MOST_NUMBER)
    number = layout.free_number(0, partial(layout.masks, party.name), party.store.stat)
    key, draft = layout.masks(party.name, number), party.outbox.draft(f"masks-{number:04d}")
    secret = [new_secrets(secrets.token_bytes) for _ in range(first_round, last + 1)]
    draft.state.mkdir()
    for offset, of_round in enumerate(secret):
        kept = KeptSecrets(seed=_text(of_round.seed), private_key=_text(of_round.private_key))
        path = draft.state / f"round-{first_round + offset:04d}.json"
        disk.write_whole(path, wire.encode(kept), mode=0o600)
    dealing = deal(secret, len(federation.trainers), secrets.token_bytes)
    path = draft.folder / "masks"
    content = write_masks(path, PublishedMasks(commitments=dealing.commitments, boxes=_boxes(party, federation, key, dealing)))
    artifact, stored = party.artifact(ArtifactFile(role=Role.MASKS, path=path, content=content), key, federation)
    record = MasksRecord(
        federation=party.ledger.identity,
        party=party.name,
        created=party.environment.clock(),
        versions=party.versions(),
        seen=newest_seen(party.ledger.rounds),
        number=number,
        federation_record=force.digest,
        first_round=first_round,
        num_rounds=len(secret),
        artifacts=(artifact,),
    )
    party.commit(draft, publication(key, record, (artifact, stored)))


def _boxes(party: Party, federation: FederationRecord, key: str, dealing: Dealing) -> tuple[bytes, ...]:
    """Return each member's shares as only that member can open them."""
    boxes = []
    for holder, content in zip(federation.trainers, dealing.boxes, strict=True):
        recipient = encryption_key(federation.keys_of(holder))
        if recipient is None:  # a plan that masks also seals, for which every member has such a key
            raise AssertionError(holder)
        boxes.append(recipient.encrypt(content, box_info(party.ledger.identity, party.name, holder, key)))
    return tuple(boxes)


def _text(secret: bytes) -> str:
    return base64.b64encode(secret).decode()
