"""Whose turn it is, and what they type: read from what a drop folder contains at one moment.

A party that asks from its own workspace sees its own command in full; what only other parties know is in capitals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.exchange.history import reference_to
from fedcli.exchange.history.lineage import early_end
from fedcli.exchange.layout import COORDINATOR
from fedcli.party.command_lines import WORKSPACE, join_command, party_command, reading_command, store_words
from fedcli.text.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fedcli.exchange.history import History
    from fedcli.party.masking.masked_turns import MaskedTurn
    from fedcli.party.source import Source
    from fedcli.plan import Aggregation

_LISTED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class NextCommand:
    """What can be done next.

    Attributes:
        parties: Who can do it: sites, or the coordinator; empty if anybody can.
        command: What they type.
        occasion: Why, if anybody can do it, or if the party would not expect it.
    """

    parties: tuple[str, ...]
    command: str
    occasion: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """The person who asks.

    Attributes:
        source: The drop folder as the person named it.
        name: The party whose workspace it was named by; None for anybody else.
        holds: Whether an update is trained, and held in that workspace until a person agrees.
    """

    source: Source
    name: str | None = None
    holds: bool = False

    def command(self, party: str, verb: str, *words: str) -> str:
        """Return a command as the party types it."""
        own = self.source.workspace if party == self.name else None
        return party_command(own or WORKSPACE, verb, *words)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRound:
    """Who has sent an update of the open round, and who has not.

    Attributes:
        present: Members whose update has arrived.
        awaited: Members that have sent nothing.
        refused: Members whose update does not verify; they cannot send another.
        unapproved: Awaited members that have not worked under the plan in force, so that their operator may have to approve it.
        overdue: Whether its deadline has passed.
        settings: When the coordinator closes it.
        masked: The step that it is at, where updates are masked.
        is_region: Whether its model comes from the federation above.
        summed: Whether a region has summed it.
        regions: Awaited members that are regions, as their newest update says.
    """

    present: tuple[str, ...]
    awaited: tuple[str, ...]
    refused: tuple[str, ...]
    unapproved: tuple[str, ...]
    overdue: bool
    settings: Aggregation
    masked: MaskedTurn | None = None
    is_region: bool = False
    summed: bool = False
    regions: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """Members whose update would be missing if the round was closed now, sorted."""
        return tuple(sorted(self.awaited + self.refused))

    @property
    def complete(self) -> bool:
        """Whether `aggregate` need not wait for anybody."""
        enough = len(self.present) >= max(self.settings.least, self.settings.quorum)
        return bool(self.present) and (not self.missing or (self.overdue and enough))

    @property
    def can_go_on_without(self) -> bool:
        """Whether the coordinator can leave out whoever is missing."""
        return len(self.present) >= self.settings.least and (self.overdue or not self.awaited)


def next_commands(
    history: History, members: tuple[str, ...], applicants: tuple[str, ...], opened: OpenRound | None, viewer: Viewer
) -> tuple[NextCommand, ...]:
    """Return what can be done next, the viewer's own command first.

    Args:
        history: What the drop folder contains.
        members: The members of the next round.
        applicants: Sites whose enrolled key is not admitted.
        opened: The open round; None before φ(0) and after the last round.
        viewer: The person who asks.
    """
    commands: list[NextCommand] = []
    for site in applicants:
        commands += _commands(viewer, (COORDINATOR,), "admit", site)
    if not history.rounds:
        words = ("--plan", "PLAN", "--drop", viewer.source.address, *store_words(viewer.source.options))
        commands += _commands(viewer, (COORDINATOR,), "init", *words)
    elif not members and not applicants:
        commands.append(NextCommand(parties=(), command=join_command(viewer.source), occasion="no site has joined yet"))
    elif opened is not None:
        commands += _round_commands(opened, viewer)
    else:
        commands += _final_commands(history, members, viewer)
    return tuple(sorted(commands, key=lambda item: viewer.name not in item.parties))


def summary(history: History, commands: tuple[NextCommand, ...], viewer: Viewer) -> str:
    """Return the next commands in one line, after the first problem if there is one."""
    text = "; ".join(f"{_whose(item, viewer)}: {item.command}" for item in commands[:_LISTED])
    if len(commands) > _LISTED:
        text += f"; and {len(commands) - _LISTED} more"
    text = text[:1].upper() + text[1:]
    if history.finished:
        end = early_end(history.federations)
        text = f"{f'{end}.' if end else 'All rounds are done.'} {text}"
    if history.problems:
        command = reading_command(viewer.source, "verify")
        text = f"{counted(len(history.problems), 'problem')}, first in {history.problems[0].key}: {command}. {text}"
    return text


def names(sites: tuple[str, ...]) -> str:
    """Return sites in one line; of many, only the first ones."""
    more = f" and {len(sites) - _LISTED} more" if len(sites) > _LISTED else ""
    return ", ".join(sites[:_LISTED]) + more


def _round_commands(opened: OpenRound, viewer: Viewer) -> Iterator[NextCommand]:
    if opened.masked is not None and (opened.masked.ready or opened.masked.occasion):
        yield from _masked_commands(opened.masked, viewer)
        return
    if opened.summed:
        command = viewer.command(COORDINATOR, "relay")
        yield NextCommand(parties=(), command=command, occasion="the round is summed; its model comes from the federation above")
        return
    if opened.complete:
        yield from _commands(viewer, (COORDINATOR,), "relay" if opened.is_region else "aggregate")
    elif opened.can_go_on_without:
        without = [word for site in opened.missing for word in ("--without", site)]
        below = ("--below-quorum",) if len(opened.present) < opened.settings.quorum else ()
        yield from _commands(viewer, (COORDINATOR,), "aggregate", *without, "--reason", "TEXT", *below)
    for parties in _split(viewer, opened.regions):
        yield NextCommand(parties=parties, command=party_command(WORKSPACE, "relay"), occasion="in the region's own federation")
    others = (*opened.unapproved, *opened.regions)
    for parties in _split(viewer, tuple(site for site in opened.awaited if site not in others)):
        if viewer.holds and parties == (viewer.name,):
            command = viewer.command(parties[0], "train-round", "--review")
            yield NextCommand(parties=parties, command=command, occasion="the update is held until you agree")
        else:
            yield from _commands(viewer, parties, "train-round")
    for parties in _split(viewer, tuple(site for site in opened.unapproved if site not in opened.regions)):
        yield _steps(viewer, parties, "approve", "train-round")


def _masked_commands(turn: MaskedTurn, viewer: Viewer) -> Iterator[NextCommand]:
    if turn.ready:
        yield from _commands(viewer, (COORDINATOR,), "aggregate")
    for parties in _split(viewer, turn.awaited):
        command = viewer.command(parties[0], "train-round")
        yield NextCommand(parties=parties, command=command, occasion=turn.occasion)


def _final_commands(history: History, members: tuple[str, ...], viewer: Viewer) -> Iterator[NextCommand]:
    """Yield the missing evaluations; a site shares its models when it evaluates, so every site does it twice."""
    testers = tuple(site for site in history.testers if site not in history.evaluations)
    regions = history.regions  # their sites evaluate in their own federations
    members = tuple(site for site in members if site not in regions)
    if late := tuple(site for site in members if site not in history.evaluations):
        for parties in _split(viewer, late):
            yield _steps(viewer, parties, "train-round", "finetune --from initial", "finetune", "evaluate")
    elif behind := (*testers, *(site for site in (*members, *history.testers) if _has_not_scored_all(history, site))):
        yield from _commands(viewer, behind, "evaluate")
    else:
        command = reading_command(viewer.source, "report", "--out", "report")
        yield NextCommand(parties=(), command=command, occasion="every site has evaluated")


def _has_not_scored_all(history: History, site: str) -> bool:
    """Return whether a site with test patients has not scored a model that it can score now."""
    if site not in history.evaluations:
        return False
    scored = {score.model for score in history.evaluations[site].record.scores}
    available = {reference_to(verified) for verified in history.models.values()} | {reference_to(history.rounds[-1])}
    return bool(scored) and not available <= scored


def _commands(viewer: Viewer, parties: tuple[str, ...], verb: str, *rest: str) -> Iterator[NextCommand]:
    for some in _split(viewer, parties):
        yield NextCommand(parties=some, command=viewer.command(some[0], verb, *rest))


def _steps(viewer: Viewer, parties: tuple[str, ...], *steps: str) -> NextCommand:
    return NextCommand(parties=parties, command=" && ".join(viewer.command(parties[0], *step.split()) for step in steps))


def _split(viewer: Viewer, parties: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the viewer, whose command can be written out, then all the others together."""
    if viewer.name in parties:
        yield (viewer.name,)
    if others := tuple(party for party in parties if party != viewer.name):
        yield others


def _whose(item: NextCommand, viewer: Viewer) -> str:
    if not item.parties:
        return item.occasion
    if item.parties == (viewer.name,):
        return f"your turn, {item.occasion}" if item.occasion else "your turn"
    return "the coordinator's turn" if item.parties == (COORDINATOR,) else f"turn of {names(item.parties)}"
