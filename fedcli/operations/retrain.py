"""A site trains a round again, and compares: the update that it sent comes out again, bit for bit, or the result says why not.

Nothing is published, and nothing in the workspace changes: the work is done in a temporary workspace with the same settings.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from fedcli.errors import DataError, UsageError
from fedcli.exchange.overlay import Overlay
from fedcli.exchange.tar import Tar
from fedcli.party.folder import Folder
from fedcli.party.own_keys import keyring_of
from fedcli.party.party import Party
from fedcli.party.transfer.outgoing import prepare_update
from fedcli.plan import OptimizerState, Part, Statistics
from fedcli.privacy.keyring import scratch_of
from fedcli.results import Result, Status
from fedcli.site import training_log
from fedcli.site.learner import Learner
from fedcli.site.local_round import run_local_round
from fedcli.site.processes import gathered
from fedcli.workspace import SETTINGS, Workspace, WorkspaceRole

if TYPE_CHECKING:
    from fedcli.environment import Environment
    from fedcli.exchange.checks import Verified
    from fedcli.exchange.records import UpdateRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainRequest:
    """What to train again.

    Attributes:
        root: The site's workspace.
        round: The round.
        devices: How many devices train together.
        tars: Tars of artifacts that were moved out of the drop folder.
    """

    root: Path
    round: int
    devices: int = 1
    tars: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainResult(Result):
    """Whether the update came out again.

    Attributes:
        site: The site.
        round: The round.
        reproduced: Whether it is the same, bit for bit.
        expected: SHA-256 of the update that was sent.
        actual: SHA-256 of the one that was trained now; null if nothing was trained, since it could not have been the same.
        differences: What is not as it was: data, optimizer state, versions, device, threads.
    """

    site: str
    round: int
    reproduced: bool
    expected: str
    actual: str | None
    differences: tuple[str, ...]


def retrain(request: RetrainRequest, environment: Environment) -> RetrainResult:
    """Train a round again as the update's record says it was trained.

    Raises:
        UsageError: The site has sent no update of that round.
        TrustError: The drop folder does not verify.
        ConfigurationError: There is no such device here.
    """
    workspace = Workspace.open(request.root, WorkspaceRole.SITE)
    keyring = keyring_of(workspace, environment.passphrase)
    with tempfile.TemporaryDirectory(prefix="fedcli-retrain-", dir=scratch_of(keyring)) as scratch:
        party = Party(_temporary_workspace(workspace, Path(scratch) / "workspace"), environment)
        store = Overlay(party.store, *map(Tar, request.tars))
        party.folder = Folder(store, coordinator=workspace.settings.coordinator, cache=Path(scratch) / "cache", keyring=keyring)
        party.folder.synchronise()
        update = _update(party, request.round)
        party.workspace = _as_recorded(party.workspace, update.record)
        plan = party.ledger.in_force(request.round).record.plan
        with gathered(party.workspace, request.devices) as replicas:
            learner = Learner(party.workspace, plan, environment.progress, replicas)
            if lost := _lost(party, workspace, learner, update.record):
                return _result(update, None, lost)
            local_round = run_local_round(party, learner, request.round)
        outgoing = prepare_update(Path(scratch), local_round.delta, plan.updates)
        return _result(update, outgoing.content.sha256, _differences(party, learner, update.record))


def _temporary_workspace(workspace: Workspace, root: Path) -> Workspace:
    """Create a workspace with the same settings, whose drop folder and prepared data are those of the given one."""
    settings, drop = workspace.settings, workspace.drop_address
    return Workspace.create(
        root,
        replace(
            settings,
            drop=drop if "://" in drop else str(Path(drop).resolve()),
            prepared=str(workspace.prepared_path.resolve()),
            ssh_key=str((workspace.root / Path(settings.ssh_key).expanduser()).resolve()) if settings.ssh_key else "",
        ),
    )


def _update(party: Party, number: int) -> Verified[UpdateRecord]:
    update = party.folder.update(party.name, number) if 1 <= number <= party.ledger.newest_round + 1 else None
    if update is None:
        msg = f"{party.name} has sent no update of round {number}"
        raise UsageError(msg, hint="`fedcli status -C WORKSPACE` shows the rounds")
    return update


def _as_recorded(workspace: Workspace, record: UpdateRecord) -> Workspace:
    """Return the temporary workspace with the device and the threads that the record states."""
    device = record.device.split(",")[0].split(" × ")[0]
    (workspace.root / SETTINGS).unlink()
    return Workspace.create(workspace.root, replace(workspace.settings, device=device, threads=record.threads))


def _lost(party: Party, workspace: Workspace, learner: Learner, record: UpdateRecord) -> tuple[str, ...]:
    """Return what the training began with and is not there any more: the update cannot come out again without it."""
    if record.privacy is not None:
        return ("its random numbers came from a secret key, which was erased when the update was put into the outbox",)
    lost: list[str] = []
    try:
        images, data = len(learner.samples(Part.TRAIN)), training_log.data_of(workspace, record.round)
        if images != record.images or data not in {None, learner.data.digest}:
            lost.append("the prepared data have changed")
    except DataError as error:
        lost.append(f"the prepared data: {error}")
    earlier = any(party.folder.update(party.name, number) is not None for number in range(1, record.round))
    if earlier and learner.plan.training.optimizer_state is OptimizerState.KEEP:
        lost.append("the optimizer's state before that round is not kept")
    if earlier and learner.plan.training.statistics is Statistics.LOCAL:
        lost.append("the site's own BatchNorm layers before that round are not kept")
    return tuple(lost)


def _differences(party: Party, learner: Learner, record: UpdateRecord) -> tuple[str, ...]:
    """Return what is not as the record states it, so that other bits may come out."""
    now, then = party.versions(torch=True), record.versions
    facts = [(name, getattr(then, name), getattr(now, name)) for name in ("fedcli", "python", "numpy", "torch")]
    facts += [("device", record.device, learner.machine), ("threads", record.threads, torch.get_num_threads())]
    return tuple(f"{name} {before}, now {after}" for name, before, after in facts if before != after)


def _result(update: Verified[UpdateRecord], actual: str | None, differences: tuple[str, ...]) -> RetrainResult:
    record, expected = update.record, update.artifact.content_sha256
    what, reproduced = f"{record.party}, round {record.round}", actual == expected
    if reproduced:
        message = f"{what}: the update came out again, bit for bit ({expected[:12]})"
    elif actual is None:
        message = f"{what}: cannot be trained again: {'; '.join(differences)}"
    else:
        same = "versions, device and threads are the same"
        gpu = "" if record.device.startswith("cpu") else ", but on a GPU bits can differ"
        reasons = "; ".join(differences) or f"{same}{gpu}"
        message = f"{what}: another update came out, {actual[:12]} instead of {expected[:12]}: {reasons}"
    return RetrainResult(
        status=Status.DONE if reproduced else Status.FAILED,
        message=message,
        site=record.party,
        round=record.round,
        reproduced=reproduced,
        expected=expected,
        actual=actual,
        differences=differences,
    )
