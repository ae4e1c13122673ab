"""Verify the whole history of a drop folder, by anyone who has a copy; with `replay`, recompute every global model.

Every record's signature and place, every artifact's size, digest and header are checked. The result is `verified` only with the
coordinator's key: without it, a folder that is forged as a whole would be consistent too.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fedcli import __version__
from fedcli.disk import write_whole
from fedcli.errors import SealedError, StoreError, TrustError, UsageError
from fedcli.exchange import layout
from fedcli.exchange.dates import odd_dates
from fedcli.exchange.keys import principals
from fedcli.exchange.overlay import Overlay
from fedcli.exchange.signatures import allowed_signers
from fedcli.exchange.tar import Tar
from fedcli.party.aggregation_input import base_of, layout_of
from fedcli.party.folder import Folder
from fedcli.party.history.history_reader import read_history
from fedcli.party.history.inspection import confirmation, inspect_artifacts
from fedcli.party.replay import replay
from fedcli.party.transfer.tar_members import files_of
from fedcli.party.tree.followed_tree import TreeFolder, follow, read_tree_folder
from fedcli.privacy.keyring import scratch_of
from fedcli.reporting.tables.patient_costs import PatientCost, patient_costs, recomputed_costs, too_quiet, without_floor
from fedcli.reporting.verification_report import (
    CheckedFile,
    CheckOutcome,
    VerificationReport,
    checks_of_records,
    checks_of_rounds,
    checks_of_the_rest,
    render_verification,
    require_suffix,
)
from fedcli.results import Result, Status
from fedcli.text.wording import counted

if TYPE_CHECKING:
    from datetime import datetime

    from fedcli.environment import Environment
    from fedcli.exchange.history import History, Problem
    from fedcli.exchange.ledger import Ledger
    from fedcli.party.history.records_read import Reading
    from fedcli.party.source import Source
    from fedcli.party.tree.followed_tree import FollowedTree
    from fedcli.privacy.keyring import Keyring
    from fedcli.progress import Progress

_LISTED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyRequest:
    """What to verify.

    Attributes:
        source: The drop folder, and the coordinator's key that everything is verified against.
        replay: Whether to recompute every global model.
        allowed_signers: Where to write an allowed_signers file for OpenSSH.
        expect_head: Digest, or its beginning, of a round record that must be in the history.
        tars: Tars of artifacts that were moved out of the drop folder.
        report: Where to write every check with its result: a file that ends in .html or .json.
        tree: Drop folders of other federations of its tree: regions of this one, and the one above.
    """

    source: Source
    replay: bool = False
    allowed_signers: Path | None = None
    expect_head: str | None = None
    tars: tuple[Path, ...] = ()
    report: Path | None = None
    tree: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyResult(Result):
    """What a drop folder was found to be.

    Attributes:
        status: verified, consistent, or failed.
        verified: Whether everything holds and the coordinator's key is the one that was given.
        consistent: Whether everything holds, with whatever key the folder names.
        coordinator: Fingerprint of the coordinator's first key, as the folder names it.
        federation: Digest of the federation's first record.
        head: Digest of the newest round record.
        round: Its number.
        rounds: All rounds of the plan.
        records: Records verified.
        artifacts: Artifacts verified.
        archived: Artifacts that the coordinator has moved out, and that are in none of the given tars.
        replayable_from: First round from which on every global model can be recomputed.
        replayed: Rounds whose global model was recomputed and is the same, bit for bit.
        unopened: Artifacts that are sealed to others: what is stored holds, and what is inside was not seen.
        problems: What does not hold, with its file.
        unaccounted: Files that no verified record names; they are ignored.
        dates: What is odd about the dates in the records; nothing is refused for it.
        privacy: What the sites' updates have cost their training patients, claimed and recomputed; empty if nothing is promised.
        followed: References between the federations of a tree that hold: a region's updates, and models taken from above.
        unfollowed: What of its tree could not be followed, since a drop folder is not at hand, or files are sealed to others.
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
    unopened: int
    problems: tuple[Problem, ...]
    unaccounted: tuple[str, ...]
    dates: tuple[str, ...]
    privacy: tuple[PatientCost, ...]
    followed: int
    unfollowed: tuple[str, ...]


def verify(request: VerifyRequest, environment: Environment) -> tuple[VerifyResult, History]:
    """Verify a drop folder; return what holds, and the history that does.

    Raises:
        UsageError: The report's file is neither HTML nor JSON.
        StoreError: The drop folder or a tar cannot be read.
        TrustError: A tar is not one that fedcli has written.
    """
    source, progress = request.source, environment.progress
    if request.report is not None:
        require_suffix(request.report)
    keyring = source.keyring(environment.passphrase)
    with tempfile.TemporaryDirectory(prefix="fedcli-verify-", dir=scratch_of(keyring)) as scratch:
        store = Overlay(source.open(), *map(Tar, request.tars))
        folder = Folder(store, coordinator=source.coordinator, cache=Path(scratch), keyring=keyring)
        history, reading = read_history(folder)
        history, costs = _recompute_costs(history, reading, progress)
        replayed = replay(folder, history, progress, history.replayable_from(reading.archived)) if request.replay else None
        if replayed is not None and replayed.unopened:
            raise _sealed_to_others(replayed.unopened, source)
        artifacts = inspect_artifacts(reading, progress, replayed.settled if replayed else frozenset())
        reading.problems.extend((*replayed.problems, *_too_quiet(folder, history, progress)) if replayed else ())
        tree = _follow(request, history, keyring, environment) if history.rounds else None
        reading.problems.extend(tree.problems if tree else ())
        _expect_head(history, reading, request.expect_head)
        if request.allowed_signers is not None:
            write_whole(request.allowed_signers, allowed_signers(principals(folder.ledger.federations)).encode())
        rounds = replayed.rounds if replayed else 0
        result = replace(_result(history, reading, artifacts, rounds, environment.clock(), tree), privacy=costs)
        if request.report is not None:
            report = _report(request, history, reading, result, environment.clock())
            write_whole(request.report, render_verification(report, request.report.suffix))
        return result, history


def _follow(request: VerifyRequest, history: History, keyring: Keyring | None, environment: Environment) -> FollowedTree:
    """Verify the other federations of a tree that are at hand, and compare what they say of one another."""
    others = [read_tree_folder(other, keyring, environment.progress, replays=request.replay) for other in request.tree]
    return follow(TreeFolder(address=request.source.address, history=history), others)


def _recompute_costs(history: History, reading: Reading, progress: Progress) -> tuple[History, tuple[PatientCost, ...]]:
    """Compute what every site has spent again; a claim that does not hold is a problem."""
    if not history.federations or not (costs := patient_costs(history)):
        return history, ()
    try:
        costs, problems = recomputed_costs(history)
    except UsageError as error:
        progress.event(f"what the sites claim to have spent is not recomputed: {error}; {error.hint}")
        return history, costs
    reading.problems.extend(problems)
    return replace(history, problems=(*history.problems, *problems)), costs


def _too_quiet(folder: Folder, history: History, progress: Progress) -> tuple[Problem, ...]:
    """Return the updates that are shorter than their stated noise allows, unless the model whose weights count was archived."""
    if not history.plan.privacy.promised or len(history.rounds) == 1:
        return ()
    for sentence in without_floor(history):
        progress.event(sentence)
    try:
        layout = layout_of(base_of(folder, len(history.rounds) - 1))
    except (StoreError, TrustError):  # the replay has named it
        return ()
    return too_quiet(history, sum(math.prod(tensor.shape) for tensor in layout.tensors if tensor.dtype == "F32"))


def _report(
    request: VerifyRequest, history: History, reading: Reading, result: VerifyResult, moment: datetime
) -> VerificationReport:
    """Return every check with its result: first those of the whole folder, then by file."""
    address = reading.folder.store.address
    whole = [
        CheckedFile(
            check="the coordinator's key is the one that was given",
            file=address,
            result=CheckOutcome.HOLDS if request.source.coordinator and history.federations else CheckOutcome.NOT_CHECKED,
            detail=confirmation(reading.folder.ledger) if history.federations else "there is no federation record that verifies",
        )
    ]
    if request.expect_head is not None and any(item.digest.startswith(request.expect_head) for item in history.rounds):
        detail = f"round record {request.expect_head[:12]} is in the history"
        whole.append(CheckedFile(check="the expected head", file=address, result=CheckOutcome.HOLDS, detail=detail))
    broken = {problem.key for problem in reading.problems}
    checks = [
        *checks_of_records(reading.records, reading.archived, broken, reading.unopened),
        *checks_of_rounds(history.rounds, result.replayable_from if request.replay else None, broken),
        *checks_of_the_rest(reading.problems, result.unaccounted),
    ]
    return VerificationReport(
        address=address,
        moment=moment,
        fedcli=__version__,
        status=result.status.value,
        statement=result.message,
        coordinator=result.coordinator,
        federation=result.federation,
        head=result.head,
        checks=(*whole, *sorted(checks, key=lambda item: item.file)),
    )


def _expect_head(history: History, reading: Reading, digest: str | None) -> None:
    if digest is not None and not any(verified.digest.startswith(digest) for verified in history.rounds):
        newest = history.rounds[-1].digest[:12] if history.rounds else "none"
        reading.note(layout.COORDINATOR, f"round record {digest[:12]} is not in the history, whose newest is {newest}")


def _unaccounted(reading: Reading) -> tuple[str, ...]:
    known = {problem.key for problem in reading.problems}
    known |= {file.key for verified in reading.records for file in files_of(verified)}
    return tuple(sorted(reading.keys - known))


def _result(
    history: History, reading: Reading, artifacts: int, replayed: int, now: datetime, tree: FollowedTree | None
) -> VerifyResult:
    ledger = reading.folder.ledger
    begun = bool(ledger.federations)
    if not begun and not reading.problems:
        reading.note(
            layout.federation(0),
            f"{reading.folder.store.address}: contains no federation; if it should, check that the share is mounted",
        )
    good = begun and bool(history.rounds) and not reading.problems
    confirmed = good and ledger.pinned is not None
    first = history.replayable_from(reading.archived)
    return VerifyResult(
        status=Status.VERIFIED if confirmed else Status.CONSISTENT if good else Status.FAILED,
        message=_statement(ledger, replayed, first, len(reading.unopened)) + _of_tree(tree) if good else _failure(reading),
        verified=confirmed,
        consistent=good,
        coordinator=ledger.first_key.fingerprint if begun else "",
        federation=ledger.identity if begun else "",
        head=history.rounds[-1].digest if history.rounds else "",
        round=len(history.rounds) - 1,
        rounds=history.plan.rounds if begun else 0,
        records=len(reading.records),
        artifacts=artifacts,
        archived=len(reading.archived),
        replayable_from=first,
        replayed=replayed,
        unopened=len(reading.unopened),
        problems=tuple(reading.problems),
        unaccounted=_unaccounted(reading),
        dates=odd_dates(history, now),
        privacy=(),
        followed=tree.links if tree else 0,
        unfollowed=tree.unfollowed if tree else (),
    )


def _failure(reading: Reading) -> str:
    files = sorted({problem.key for problem in reading.problems})
    more = " …" if len(files) > _LISTED else ""
    return f"NOT verified: {counted(len(reading.problems), 'problem')}, in {', '.join(files[:_LISTED])}{more}"


def _sealed_to_others(rounds: tuple[int, ...], source: Source) -> SealedError:
    msg = f"{source.address}: {counted(len(rounds), 'round')} cannot be recomputed, the first one is round {rounds[0]}: "
    msg += "files are sealed to others"
    hint = "the coordinator's workspace (-C) or an auditor's key (--identity) opens them; leave --replay out to check the rest"
    return SealedError(msg, hint=hint)


def _statement(ledger: Ledger, replayed: int, first: int, unopened: int) -> str:
    """Return in one sentence what holds, against which key, and what cannot be recomputed from this folder."""
    extent = f", {counted(replayed, 'round')} recomputed bit for bit" if replayed else ""
    extent += f", replayable from round {first}" if first > 1 else ""
    extent += f"; {counted(unopened, 'artifact')} sealed to others, of which only what is stored was checked" if unopened else ""
    return f"{confirmation(ledger)}{extent}"


def _of_tree(tree: FollowedTree | None) -> str:
    """Return what holds of the other federations of a tree, and what could not be followed."""
    if tree is None or not (tree.links or tree.unfollowed):
        return ""
    text = f"; {counted(tree.links, 'reference')} between federations of its tree hold" if tree.links else ""
    text += f", {counted(tree.replayed, 'round')} of the others recomputed" if tree.replayed else ""
    return text + (f"; not followed: {'; '.join(tree.unfollowed[:_LISTED])}" if tree.unfollowed else "")
