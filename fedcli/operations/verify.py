"""Verify the whole history of a drop folder, by anyone who holds it; with `replay`, recompute every global model.

Every record's signature and place, every artifact's size, digest and header are checked. Only with the coordinator's key does the
outcome say `verified`: without it a wholly forged folder would be consistent too.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedcli.disk import write_whole
from fedcli.exchange import layout, signatures
from fedcli.exchange.overlay import Overlay
from fedcli.exchange.records import EnrolmentRecord
from fedcli.exchange.signatures import VerifyKey
from fedcli.exchange.store import open_store
from fedcli.exchange.tar import Tar
from fedcli.party.folder import Folder
from fedcli.party.history_reader import read_history
from fedcli.party.inspection import inspect_artifacts
from fedcli.party.replay import replay as replay_rounds
from fedcli.results import Result, Status

if TYPE_CHECKING:
    from fedcli.exchange.checks import Verified
    from fedcli.exchange.history import History, Problem
    from fedcli.exchange.records import FederationRecord
    from fedcli.exchange.store import StoreOptions
    from fedcli.party.history_reader import Reading
    from fedcli.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyResult(Result):
    """What holds.

    Attributes:
        status: verified, consistent, or failed.
        verified: Whether everything holds and the coordinator's key is the one that was given.
        consistent: Whether everything holds, by whatever key the folder carries.
        coordinator: Fingerprint of the coordinator's first key, as found.
        federation: Digest of the federation's first record.
        head: Digest of the newest round record.
        round: Its number.
        rounds: All rounds of the plan.
        records: Records verified.
        artifacts: Artifacts verified.
        archived: Artifacts that the coordinator has moved out, and that no tar given here holds.
        replayable_from: First round from which on every global model can be recomputed.
        replayed: Rounds whose global model was recomputed and is the same, bit for bit.
        problems: What does not hold, with its file.
        unaccounted: Files that no verified record names; they take no part.
    """

    verified: bool
    consistent: bool
    coordinator: str
    federation: str
    head: str
    round: int
    rounds: int
    records: int
    artifacts: int
    archived: int
    replayable_from: int
    replayed: int
    problems: tuple[Problem, ...]
    unaccounted: tuple[str, ...]


def verify(
    drop: str,
    *,
    progress: Progress,
    replay: bool = False,
    coordinator: str | None = None,
    allowed_signers: Path | None = None,
    expect_head: str | None = None,
    tars: tuple[Path, ...] = (),
    options: StoreOptions | None = None,
) -> tuple[VerifyResult, History]:
    """Verify a drop folder.

    Args:
        drop: Its address.
        progress: Told of every artifact and round.
        replay: Whether to recompute every global model.
        coordinator: Fingerprint of the coordinator's first key.
        allowed_signers: Where to write an allowed_signers file for OpenSSH.
        expect_head: Digest, or its beginning, of a round record that must be in the history.
        tars: What was moved out of the drop folder.
        options: How the drop folder is reached.

    Raises:
        StoreError: The drop folder or a tar cannot be read.
        TrustError: A tar is none.
    """
    with tempfile.TemporaryDirectory(prefix="fedcli-verify-") as scratch:
        folder = Folder(Overlay(open_store(drop, options), *map(Tar, tars)), coordinator=coordinator, cache=Path(scratch))
        history, reading = read_history(folder)
        replayed = replay_rounds(folder, history, progress, history.replayable_from(reading.archived)) if replay else None
        artifacts = inspect_artifacts(reading, progress, replayed.settled if replayed else frozenset())
        reading.problems.extend(replayed.problems if replayed else ())
        _expect_head(history, reading, expect_head)
        if allowed_signers is not None:
            write_whole(allowed_signers, signatures.allowed_signers(_principals(folder.ledger.federations)).encode())
        rounds = replayed.rounds if replayed else 0
        return _result(history, reading, artifacts, rounds, confirmed=coordinator is not None), history


def _expect_head(history: History, reading: Reading, expect_head: str | None) -> None:
    if expect_head is not None and not any(found.digest.startswith(expect_head) for found in history.rounds):
        newest = history.rounds[-1].digest[:12] if history.rounds else "none"
        reading.note(layout.COORDINATOR, f"round record {expect_head[:12]} is not in the history, whose newest is {newest}")


def _principals(federations: list[Verified[FederationRecord]]) -> list[tuple[str, VerifyKey]]:
    """Return every key that any federation record lists, each once, in order of appearance."""
    found: dict[tuple[str, str], None] = {}
    for item in federations:
        found.update({(layout.COORDINATOR, key.public_key): None for key in item.record.coordinator})
        found.update({(member.site, key.public_key): None for member in item.record.members for key in member.keys})
    return [(name, VerifyKey.parse(line)) for name, line in found]


def _unaccounted(reading: Reading) -> tuple[str, ...]:
    known: set[str] = {problem.key for problem in reading.problems}
    for found in reading.every:
        known |= {found.key, layout.signature(found.key, found.digest), *(artifact.key for artifact in found.artifacts)}
        if isinstance(found.record, EnrolmentRecord) and found.record.number:
            known.add(layout.countersignature(found.key, found.digest))
    return tuple(key for key in reading.keys if key not in known)


def _result(history: History, reading: Reading, artifacts: int, replayed: int, *, confirmed: bool) -> VerifyResult:
    ledger = reading.folder.ledger
    begun = bool(ledger.federations)
    coordinator = ledger.first_key.fingerprint if begun else ""
    first = history.replayable_from(reading.archived)
    good = begun and bool(history.rounds) and not reading.problems
    if not begun and not reading.problems:
        reading.note(layout.federation(0), f"{reading.folder.store.address}: holds no federation")
    return VerifyResult(
        status=Status.VERIFIED if good and confirmed else Status.CONSISTENT if good else Status.FAILED,
        message=_statement(reading, coordinator, replayed, first, good=good, confirmed=confirmed),
        verified=good and confirmed,
        consistent=good,
        coordinator=coordinator,
        federation=ledger.identity if begun else "",
        head=history.rounds[-1].digest if history.rounds else "",
        round=len(history.rounds) - 1,
        rounds=history.plan.rounds if begun else 0,
        records=len(reading.every),
        artifacts=artifacts,
        archived=len(reading.archived),
        replayable_from=first,
        replayed=replayed,
        problems=tuple(reading.problems),
        unaccounted=_unaccounted(reading),
    )


def _statement(reading: Reading, coordinator: str, replayed: int, first: int, *, good: bool, confirmed: bool) -> str:
    """Return in one sentence what holds, against which key, and what cannot be recomputed from here."""
    if not good:
        files = sorted({problem.key for problem in reading.problems})
        return f"NOT verified: {len(reading.problems)} problems, in {', '.join(files[:5])}{' …' if len(files) > 5 else ''}"  # noqa: PLR2004
    extent = f", {replayed} rounds recomputed bit for bit" if replayed else ""
    extent += f", replayable from round {first}" if first > 1 else ""
    if confirmed:
        return f"verified against the coordinator's key {coordinator}{extent}"
    return f"consistent; coordinator {coordinator} not confirmed{extent}"
