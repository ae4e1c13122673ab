"""Verify the whole history of a drop folder, by anyone who holds it; with `replay`, recompute every global model.

Every record's signature and place, every artifact's size, digest and header are checked. Only with the coordinator's key does the
outcome say `verified`: without it a wholly forged folder would be consistent too.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedcli import tensors
from fedcli.aggregation.mean import Update, weighted_mean
from fedcli.errors import TrustError, UsageError
from fedcli.exchange import layout, signatures
from fedcli.exchange.signatures import VerifyKey
from fedcli.exchange.store import open_store
from fedcli.operations.folder import Folder
from fedcli.operations.history import read_history
from fedcli.operations.init import read_public_key
from fedcli.operations.party import Status
from fedcli.workspace import write_whole

if TYPE_CHECKING:
    from fedcli.exchange.checks import Verified
    from fedcli.exchange.history import History, Problem
    from fedcli.exchange.records import Artifact, FederationRecord, RoundRecord
    from fedcli.operations.history import Reading
    from fedcli.progress import Progress
    from fedcli.tensors import Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyResult:
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
        replayed: Rounds whose global model was recomputed and is the same, bit for bit.
        problems: What does not hold, with its file.
        unaccounted: Files that no verified record names; they take no part.
    """

    status: Status
    message: str
    verified: bool
    consistent: bool
    coordinator: str
    federation: str
    head: str
    round: int
    rounds: int
    records: int
    artifacts: int
    replayed: int
    problems: tuple[Problem, ...]
    unaccounted: tuple[str, ...]


def fingerprint_of(text: str) -> str:
    """Return the fingerprint that a user gave, itself or by a public key's file.

    Raises:
        UsageError: It is neither.
    """
    if text.startswith("SHA256:"):
        return text
    if Path(text).is_file():
        return read_public_key(Path(text)).fingerprint
    msg = f"{text}: neither a fingerprint (SHA256:…) nor the file of a public key"
    raise UsageError(msg)


def verify(
    drop: str,
    *,
    progress: Progress,
    replay: bool = False,
    coordinator: str | None = None,
    allowed_signers: Path | None = None,
    expect_head: str | None = None,
) -> tuple[VerifyResult, History]:
    """Verify a drop folder.

    Args:
        drop: Its address.
        progress: Told of every artifact and round.
        replay: Whether to recompute every global model.
        coordinator: Fingerprint of the coordinator's first key.
        allowed_signers: Where to write an allowed_signers file for OpenSSH.
        expect_head: Digest, or its beginning, of a round record that must be in the history.

    Raises:
        StoreError: The drop folder cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="fedcli-verify-") as scratch:
        folder = Folder(open_store(drop), coordinator=coordinator, cache=Path(scratch))
        history, reading = read_history(folder)
        artifacts = _check_artifacts(folder, reading, progress, keep=replay)
        replayed = _replay(folder, history, reading, progress) if replay else 0
        _expect_head(history, reading, expect_head)
        if allowed_signers is not None:
            write_whole(allowed_signers, signatures.allowed_signers(_principals(folder.ledger.federations)).encode())
        return _result(history, reading, artifacts, replayed, confirmed=coordinator is not None), history


def _check_artifacts(folder: Folder, reading: Reading, progress: Progress, *, keep: bool) -> int:
    """Copy every artifact that a verified record names, hash it, check its header; return how many hold."""
    named = [(found, artifact) for found in reading.every for artifact in getattr(found.record, "artifacts", ())]
    good = 0
    expected: Layout | None = None
    with progress.track("verifying artifacts", len(named), "files") as advance:
        for found, artifact in named:
            try:
                path = folder.fetch(found, artifact, expected)
                if expected is None:
                    with path.open("rb") as file:
                        expected = tensors.read_layout(file)
                good += 1
            except TrustError as error:
                reading.note(artifact.key, str(error))
            if not keep:
                folder.forget_artifacts()
            advance(1, "")
    return good


def _replay(folder: Folder, history: History, reading: Reading, progress: Progress) -> int:
    """Recompute every global model from what it names; return how many are the same."""
    good = 0
    with progress.track("replaying rounds", max(len(history.rounds) - 1, 0), "rounds") as advance:
        for number, found in enumerate(history.rounds[1:], 1):
            try:
                _replay_round(folder, history, number, found)
                good += 1
            except TrustError as error:
                reading.note(found.key, f"{found.key}: cannot be replayed: {error}")
            advance(1, "")
    return good


def _replay_round(folder: Folder, history: History, number: int, found: Verified[RoundRecord]) -> None:
    base = folder.global_model(number - 1)
    updates: list[Update] = []
    for item in found.record.contributions:
        used = history.updates.get((item.site, number))
        if used is None or used.digest != item.update:
            msg = f"the update of {item.site} does not verify"
            raise TrustError(msg)
        updates.append(Update(site=item.site, path=folder.fetch(used, used.artifact), weight=item.weight))
    target = base.with_name("replayed")
    target.unlink(missing_ok=True)
    measured = weighted_mean(base, updates, target)
    target.unlink()
    if measured.sha256 != found.artifact.content_sha256:
        msg = f"{found.artifact.key}: replay gives {measured.sha256[:12]}, expected {found.artifact.content_sha256[:12]}"
        raise TrustError(msg)


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
        artifacts: tuple[Artifact, ...] = getattr(found.record, "artifacts", ())
        known |= {found.key, layout.signature(found.key, found.digest), *(artifact.key for artifact in artifacts)}
    return tuple(key for key in reading.keys if key not in known)


def _result(history: History, reading: Reading, artifacts: int, replayed: int, *, confirmed: bool) -> VerifyResult:
    ledger = reading.folder.ledger
    begun = bool(ledger.federations)
    coordinator = ledger.first_key.fingerprint if begun else ""
    good = begun and bool(history.rounds) and not reading.problems
    if not begun and not reading.problems:
        reading.note(layout.federation(0), f"{reading.folder.store.address}: holds no federation")
    return VerifyResult(
        status=Status.VERIFIED if good and confirmed else Status.CONSISTENT if good else Status.FAILED,
        message=_statement(reading, coordinator, replayed, good=good, confirmed=confirmed),
        verified=good and confirmed,
        consistent=good,
        coordinator=coordinator,
        federation=ledger.identity if begun else "",
        head=history.rounds[-1].digest if history.rounds else "",
        round=len(history.rounds) - 1,
        rounds=history.plan.rounds if begun else 0,
        records=len(reading.every),
        artifacts=artifacts,
        replayed=replayed,
        problems=tuple(reading.problems),
        unaccounted=_unaccounted(reading),
    )


def _statement(reading: Reading, coordinator: str, replayed: int, *, good: bool, confirmed: bool) -> str:
    """Return in one sentence what holds, and against which key."""
    if not good:
        files = sorted({problem.key for problem in reading.problems})
        return f"NOT verified: {len(reading.problems)} problems, in {', '.join(files[:5])}{' …' if len(files) > 5 else ''}"  # noqa: PLR2004
    extent = f", {replayed} rounds recomputed bit for bit" if replayed else ""
    if confirmed:
        return f"verified against the coordinator's key {coordinator}{extent}"
    return f"consistent; coordinator {coordinator} not confirmed{extent}"
