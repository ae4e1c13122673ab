"""Whose turn it is, and what they type: read from what a drop folder holds at one moment.

What only the party itself knows stands in capitals (WORKSPACE, TEXT, FINGERPRINT); a party that asks from its own workspace sees
its own command in full.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.exchange.history import reference_to
from fedcli.exchange.layout import COORDINATOR

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fedcli.exchange.history import History
    from fedcli.plan import Aggregation

_NAMED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What can be done next.

    Attributes:
        parties: Who can do it: sites, or the coordinator; nobody in particular where it is empty.
        command: What they type.
        occasion: Why, where nobody in particular can do it, or where the party would not expect it.
    """

    parties: tuple[str, ...]
    command: str
    occasion: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Who asks.

    Attributes:
        name: The party whose workspace it is; None for anybody else.
        root: That workspace, as the reader wrote it.
        drop: The drop folder.
        coordinator: Fingerprint of the coordinator's key, where the reader has pinned it.
        holds: Whether an update is trained, and held in that workspace until a person agrees.
    """

    name: str | None
    root: Path
    drop: str
    coordinator: str | None
    holds: bool = False

    def command(self, party: str, verb: str, *rest: str) -> str:
        """Return a command as the party types it."""
        where = str(self.root) if party == self.name else "WORKSPACE"
        return shlex.join(["fedcli", verb, *(("-C", where) if where != "." else ()), *rest])

    def open_command(self, verb: str, *rest: str) -> str:
        """Return a command that needs the drop folder and no workspace."""
        return shlex.join(["fedcli", verb, self.drop, *rest, "--coordinator-key", self.coordinator or "FINGERPRINT"])


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRound:
    """How the open round stands.

    Attributes:
        present: Members whose update is in.
        awaited: Members that have sent nothing.
        refused: Members whose update does not verify; they cannot send another.
        unapproved: Those awaited that have not worked under the plan in force, so that their operator may have to approve it.
        overdue: Whether its deadline has passed.
        settings: When the coordinator closes it.
    """

    present: tuple[str, ...]
    awaited: tuple[str, ...]
    refused: tuple[str, ...]
    unapproved: tuple[str, ...]
    overdue: bool
    settings: Aggregation

    @property
    def missing(self) -> tuple[str, ...]:
        """Members without whom the round would be closed, sorted."""
        return tuple(sorted(self.awaited + self.refused))

    @property
    def complete(self) -> bool:
        """Whether `aggregate` need not wait for anybody."""
        enough = len(self.present) >= max(self.settings.least, self.settings.quorum)
        return bool(self.present) and (not self.missing or (self.overdue and enough))

    @property
    def can_go_on_without(self) -> bool:
        """Whether the coordinator may well leave out whoever is missing."""
        return len(self.present) >= self.settings.least and (self.overdue or not self.awaited)


def turns(
    history: History, members: tuple[str, ...], applicants: tuple[str, ...], opened: OpenRound | None, reader: Reader
) -> tuple[Turn, ...]:
    """Return what can be done next, the reader's own turn first.

    Args:
        history: What the drop folder holds.
        members: The members of the next round.
        applicants: Sites that have enrolled and are not admitted.
        opened: The open round; None before φ(0) and after the last round.
        reader: Who asks.
    """
    found: list[Turn] = []
    for site in applicants:
        found += _commands(reader, (COORDINATOR,), "admit", site)
    if not history.rounds:
        found += _commands(reader, (COORDINATOR,), "init", "--plan", "PLAN", "--drop", reader.drop)
    elif not members and not applicants:
        key = reader.coordinator or "FINGERPRINT"
        command = shlex.join(["fedcli", "join", "SITE", "-C", "WORKSPACE", "--drop", reader.drop, "--coordinator-key", key])
        found.append(Turn(parties=(), command=command, occasion="no site has joined yet"))
    elif opened is not None:
        found += _round_turns(opened, reader)
    else:
        found += _final_turns(history, members, reader)
    return tuple(sorted(found, key=lambda turn: reader.name not in turn.parties))


def sentence(history: History, found: tuple[Turn, ...], reader: Reader) -> str:
    """Return the turns in one line, after the first problem where there is any."""
    text = "; ".join(f"{_whose(turn, reader)}: {turn.command}" for turn in found)
    text = text[:1].upper() + text[1:]
    if history.finished:
        text = f"All rounds are done. {text}"
    if history.problems:
        number = f"{len(history.problems)} problem" + ("s" if len(history.problems) > 1 else "")
        text = f"{number}, first in {history.problems[0].key}: {reader.open_command('verify')}. {text}"
    return text


def names(sites: tuple[str, ...]) -> str:
    """Return sites in one line, the first ones only where they are many."""
    more = f" and {len(sites) - _NAMED} more" if len(sites) > _NAMED else ""
    return ", ".join(sites[:_NAMED]) + more


def _round_turns(opened: OpenRound, reader: Reader) -> Iterator[Turn]:
    if opened.complete:
        yield from _commands(reader, (COORDINATOR,), "aggregate")
    elif opened.can_go_on_without:
        without = [word for site in opened.missing for word in ("--without", site)]
        yield from _commands(reader, (COORDINATOR,), "aggregate", *without, "--reason", "TEXT")
    for parties in _apart(reader, tuple(site for site in opened.awaited if site not in opened.unapproved)):
        if reader.holds and parties == (reader.name,):
            command = reader.command(parties[0], "train-round", "--review")
            yield Turn(parties=parties, command=command, occasion="the update is held until you agree")
        else:
            yield from _commands(reader, parties, "train-round")
    for parties in _apart(reader, opened.unapproved):
        yield _steps(reader, parties, "approve", "train-round")


def _final_turns(history: History, members: tuple[str, ...], reader: Reader) -> Iterator[Turn]:
    """Yield the evaluations that are missing; a site shares its models when it evaluates, so all do it once, then once more."""
    if late := tuple(site for site in members if site not in history.evaluations):
        for parties in _apart(reader, late):
            yield _steps(reader, parties, "train-round", "finetune", "evaluate")
    elif behind := tuple(site for site in members if _has_not_scored_all(history, site)):
        yield from _commands(reader, behind, "evaluate")
    else:
        yield Turn(parties=(), command=reader.open_command("report", "--out", "report"), occasion="every site has evaluated")


def _has_not_scored_all(history: History, site: str) -> bool:
    """Tell whether a site with test patients has evaluated before a model was there that it can score now."""
    scored = {score.model for score in history.evaluations[site].record.scores}
    there = {reference_to(found) for found in history.models.values()} | {reference_to(history.rounds[-1])}
    return bool(scored) and not there <= scored


def _commands(reader: Reader, parties: tuple[str, ...], verb: str, *rest: str) -> Iterator[Turn]:
    for some in _apart(reader, parties):
        yield Turn(parties=some, command=reader.command(some[0], verb, *rest))


def _steps(reader: Reader, parties: tuple[str, ...], *verbs: str) -> Turn:
    return Turn(parties=parties, command=" && ".join(reader.command(parties[0], verb) for verb in verbs))


def _apart(reader: Reader, parties: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the reader alone, whose command can be written out, then the others together."""
    if reader.name in parties:
        yield (reader.name,)
    if others := tuple(party for party in parties if party != reader.name):
        yield others


def _whose(turn: Turn, reader: Reader) -> str:
    if not turn.parties:
        return turn.occasion
    if turn.parties == (reader.name,):
        return f"your turn, {turn.occasion}" if turn.occasion else "your turn"
    return "the coordinator's turn" if turn.parties == (COORDINATOR,) else f"turn of {names(turn.parties)}"
