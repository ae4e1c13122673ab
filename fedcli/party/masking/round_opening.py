"""The first step of a masked round: the masks of enough members become its opening."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.errors import SealedError, TrustError, UnreadableError
from fedcli.exchange import layout
from fedcli.exchange.masking.masked_rounds import least_participants
from fedcli.exchange.records import Excused, OpeningRecord, Participant
from fedcli.party.command_lines import party_command
from fedcli.party.masking.masking_files import masks_for, published_masks
from fedcli.party.party import publication
from fedcli.party.received_updates import REASON_LIMIT
from fedcli.party.round_closing import open_deadline
from fedcli.text.visible_text import visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fedcli.exchange.checks import Verified
    from fedcli.exchange.records import MasksRecord
    from fedcli.party.party import Party


def open_round(party: Party, number: int, without: Mapping[str, str], *, below_quorum: bool = False) -> str:
    """Publish the opening of a round, if the masks of enough members are there; return what was done, or what is awaited."""
    ledger = party.ledger
    force = ledger.in_force(number)
    trainers, least = force.record.trainers, least_participants(force.record)
    if len(trainers) < least:
        return f"round {number}: masking needs {least} sites that train, and the federation has {len(trainers)}: admit more"
    before = ledger.rounds[-1].record.masked
    convicted = {item.site for item in before.culprits} if before is not None else set()
    masks = {site: item for site in trainers if site not in without and (item := _sound_masks(party, site, number)) is not None}
    usable = {site: item for site, item in masks.items() if site not in convicted}
    awaited = [site for site in trainers if site not in masks and site not in without]
    needed = sites_needed(party, number, awaited, tuple(without), below_quorum=below_quorum)
    if waiting := reason_to_wait(party, awaited, len(usable), needed, "masks"):
        return f"round {number}: masks of {len(usable)} of {len(trainers)} sites; {waiting}"
    record = OpeningRecord(
        federation=ledger.identity,
        party=layout.COORDINATOR,
        created=party.environment.clock(),
        versions=party.versions(),
        round=number,
        parent=ledger.rounds[-1].digest,
        federation_record=force.digest,
        participants=tuple(Participant(site=site, masks=item.digest) for site, item in usable.items()),
        excused=tuple(Excused(site=site, reason=visible(why)[:REASON_LIMIT]) for site, why in sorted(without.items())),
    )
    party.commit(party.outbox.draft(f"opening-{number:04d}"), publication(layout.opening(number), record))
    return f"round {number} is open: {len(usable)} of {len(trainers)} sites take part; they train, and mask their updates"


def sites_needed(party: Party, number: int, awaited: Sequence[str], left_out: Sequence[str], *, below_quorum: bool) -> int:
    """Return how many sites suffice for the next step."""
    federation = party.ledger.in_force(number).record
    quorum = federation.plan.aggregation.quorum if awaited or (left_out and not below_quorum) else 0
    return max(least_participants(federation), quorum)


def reason_to_wait(party: Party, awaited: Sequence[str], count: int, needed: int, what: str) -> str:
    """Return why the next step waits, or an empty text."""
    deadline, now = open_deadline(party.ledger), party.environment.clock()
    overdue = deadline is not None and now >= deadline
    if count >= needed and (overdue or not awaited):
        return ""
    if not awaited:
        return f"at least {needed} are needed"
    if deadline is not None and not overdue:
        return f"waiting for the {what} of {', '.join(awaited)} until {deadline:%Y-%m-%d %H:%M} UTC, then for at least {needed}"
    words = [word for site in awaited for word in ("--without", site)]
    command = party_command(party.workspace.root, "aggregate", *words, "--reason", "TEXT")
    without = f"; to continue without: `{command}`" if count >= needed else f"; at least {needed} are needed"
    return f"waiting for the {what} of {', '.join(awaited)}{without}"


def _sound_masks(party: Party, site: str, number: int) -> Verified[MasksRecord] | None:
    """Return a site's masks of a round, if they verify and their file holds."""
    masks = masks_for(party.folder, site, number)
    if masks is None:
        return None
    try:
        published_masks(party.folder, masks)
    except SealedError:  # sealed to a key that the federation lists for the coordinator, and that is not here
        raise
    except (TrustError, UnreadableError) as error:
        party.environment.progress.event(f"round {number}: the masks of {site} cannot be used: {error}")
        return None
    return masks
