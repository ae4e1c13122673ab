"""A tree as far as its drop folders are at hand: whether what one federation says of another is what that one says.

A region's update names the record of what the region has summed; a region's round names the record whose model it has. Both are
digests, so that the folder of the one vouches for the record of the other.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedcli.errors import TrustError
from fedcli.exchange import layout
from fedcli.exchange.history import Problem
from fedcli.party.folder import Folder
from fedcli.party.history.history_reader import read_history
from fedcli.party.history.inspection import inspect_artifacts
from fedcli.party.replay import replay
from fedcli.party.tree.regional_sum import regional_figures
from fedcli.text.wording import counted
from fedcli.wire import SHORT_DIGEST

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fedcli.exchange.checks import Verified
    from fedcli.exchange.history import History
    from fedcli.exchange.records import RegionalSum, RoundRecord, UpdateRecord
    from fedcli.party.source import Source
    from fedcli.privacy.keyring import Keyring
    from fedcli.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeFolder:
    """The drop folder of one federation of a tree, as far as it has verified.

    Attributes:
        address: Where it is.
        history: Its verified records; at least the first one.
        problems: What does not hold in it.
        replayed: The number of its rounds that were computed again.
        unopened: Whether rounds could not be, since files are sealed to others.
    """

    address: str
    history: History
    problems: tuple[Problem, ...] = ()
    replayed: int = 0
    unopened: bool = False

    @property
    def identity(self) -> str:
        """SHA-256 of the federation's first record."""
        return self.history.federations[0].digest


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedTree:
    """What a reader could follow.

    Attributes:
        links: References from one federation to another that hold.
        replayed: Rounds of the other federations that were computed again.
        problems: What does not hold.
        unfollowed: What could not be followed, each a sentence.
    """

    links: int
    replayed: int
    problems: tuple[Problem, ...]
    unfollowed: tuple[str, ...]


def read_tree_folder(source: Source, keyring: Keyring | None, progress: Progress, *, replays: bool) -> TreeFolder:
    """Verify the drop folder of another federation of a tree.

    Raises:
        StoreError: It cannot be read.
        TrustError: It contains no federation that verifies.
    """
    scratch = keyring.scratch if keyring is not None else None
    with tempfile.TemporaryDirectory(prefix="fedcli-verify-", dir=scratch) as cache:
        folder = Folder(source.open(), coordinator=source.coordinator, cache=Path(cache), keyring=keyring)
        history, reading = read_history(folder)
        if not history.federations:
            folder.synchronise()  # raises what is wrong
            msg = f"{folder.store.address}: contains no federation"
            raise TrustError(msg)
        replayed = replay(folder, history, progress, history.replayable_from(reading.archived)) if replays else None
        inspect_artifacts(reading, progress, replayed.settled if replayed else frozenset())
        problems = (*reading.problems, *(replayed.problems if replayed else ()))
        return TreeFolder(
            address=folder.store.address,
            history=history,
            problems=tuple(_placed(folder.store.address, item) for item in problems),
            replayed=replayed.rounds if replayed else 0,
            unopened=bool(replayed and replayed.unopened),
        )


def follow(first: TreeFolder, others: Sequence[TreeFolder]) -> FollowedTree:
    """Compare what the federations of a tree say of one another.

    Args:
        first: The folder that is verified; its own problems are not repeated.
        others: Further folders of the tree.
    """
    folders = {item.identity: item for item in (first, *others)}
    problems = [problem for item in others for problem in item.problems]
    unfollowed = [f"{item.address}: a file is sealed to others, so not all was recomputed" for item in others if item.unopened]
    links, named = 0, {identity: _named(folder) for identity, folder in folders.items()}
    for folder in folders.values():
        for identity, words in named[folder.identity].items():
            if (other := folders.get(identity)) is None:
                place = f"{folder.address}: " if folder is not first else ""
                unfollowed.append(f"{place}{words}: the drop folder of federation {identity[:SHORT_DIGEST]} is not at hand")
                continue
            for key, fault in _compared(folder, other):
                links += not fault
                if fault:
                    problems.append(_placed(folder.address, Problem(key=key, message=f"{key}: {fault} in {other.address}")))
    connected = _connected(first.identity, named)
    for item in others:
        if item.identity not in connected:
            message = f"{item.address}: federation {item.identity[:SHORT_DIGEST]} is none that this tree names"
            problems.append(Problem(key=item.address, message=message))
    replayed = sum(item.replayed for item in others)
    return FollowedTree(links=links, replayed=replayed, problems=tuple(problems), unfollowed=tuple(unfollowed))


def _connected(first: str, named: Mapping[str, Mapping[str, str]]) -> frozenset[str]:
    """Return the federations that the first one names or is named by, and so on."""
    connected, num_known = {first}, 0
    while num_known < len(connected):
        num_known = len(connected)
        for identity, others in named.items():
            if identity in connected or connected & others.keys():
                connected |= {identity, *others}
    return frozenset(connected)


def _placed(address: str, problem: Problem) -> Problem:
    return Problem(key=f"{address}: {problem.key}", message=f"{address}: {problem.message}")


def _named(folder: TreeFolder) -> Mapping[str, str]:
    """Return the federations that a folder names, each with what it says of them."""
    named: dict[str, list[int]] = {}
    sites: dict[str, str] = {}
    for update, region in _sums(folder.history):
        named.setdefault(region.federation, []).append(update.record.round)
        sites[region.federation] = update.record.party
    words = {identity: f"{counted(len(rounds), 'update')} of region {sites[identity]}" for identity, rounds in named.items()}
    if above := folder.history.federations[0].record.plan.tree.above:
        words[above] = f"{counted(len(folder.history.rounds), 'model')} taken from above"
    return words


def _sums(history: History) -> Iterator[tuple[Verified[UpdateRecord], RegionalSum]]:
    """Yield the used updates of regions, and what each was computed from."""
    for closed in history.rounds:
        for item in closed.record.contributions:
            update = history.updates.get((item.site, closed.record.round))
            if update is not None and update.record.region is not None:
                yield update, update.record.region


def _compared(folder: TreeFolder, other: TreeFolder) -> Iterator[tuple[str, str]]:
    """Yield each reference of a folder to another one: the record that makes it, and what does not hold, or an empty text."""
    for update, region in _sums(folder.history):
        if region.federation == other.identity:
            yield update.key, _sum_fault(update, region, other.history)
    if folder.history.federations[0].record.plan.tree.above == other.identity:
        for closed in folder.history.rounds:
            yield closed.key, _model_fault(closed, other.history)


def _sum_fault(update: Verified[UpdateRecord], region: RegionalSum, below: History) -> str:
    """Return how a region's update differs from what the region has summed; else an empty text."""
    record = update.record
    summed = below.sums.get(record.round)
    if summed is None or summed.digest != region.record:
        return f"names the sum {region.record[:SHORT_DIGEST]}, which is not {layout.sum_record(record.round)}"
    if update.artifact.content_sha256 != summed.record.content_sha256:
        stated = summed.record.content_sha256[:SHORT_DIGEST]
        return f"has the mean {update.artifact.content_sha256[:SHORT_DIGEST]}, expected {stated}, as {summed.key} says"
    used = [below.updates.get((item.site, record.round)) for item in summed.record.contributions]
    figures = regional_figures([item.record for item in used if item is not None])
    for what in ("steps", "images", "patients", "received", "trained"):
        if (stated := getattr(record, what)) != (expected := getattr(figures, what)):
            return f"{what}: expected {expected}, which follows from the updates that {summed.key} names, found {stated}"
    return ""


def _model_fault(closed: Verified[RoundRecord], above: History) -> str:
    """Return how a region's round differs from the round above whose model it has; else an empty text."""
    record, number = closed.record, closed.record.round
    named = record.relayed.record if record.relayed is not None else ""
    if number >= len(above.rounds) or above.rounds[number].digest != named:
        return f"names the round record {named[:SHORT_DIGEST]}, which is not {layout.round_record(number)}"
    source = above.rounds[number]
    if closed.artifact.content_sha256 != source.artifact.content_sha256:
        digests = f"{closed.artifact.content_sha256[:SHORT_DIGEST]}, expected {source.artifact.content_sha256[:SHORT_DIGEST]}"
        return f"has the model {digests}, that of {source.key}"
    if record.restart != source.record.restart:
        return f"is a restart or none, other than {source.key}"
    return ""
