"""Checks for what would stop a party's next command, or weaken it; each has a remedy if it fails.

In a workspace everything is checked; with an address, what needs no workspace. Nothing is changed: a probe in the party's own
prefix is removed at once. Records that verify are remembered, as by every command.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.operations.doctor import drop_checks, machine_checks, notice_checks, tree_checks, workspace_checks
from fedcli.operations.doctor.findings import Examination, Finding, Outcome
from fedcli.party.source import Source
from fedcli.results import Result, Status

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.environment import Environment
    from fedcli.exchange.ledger import Ledger
    from fedcli.workspace import Workspace

__all__ = ["DoctorResult", "Finding", "Outcome", "doctor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorRequest:
    """What to check.

    Attributes:
        root: The workspace.
        source: A drop folder to check without a workspace; None checks the workspace and its drop folder.
        notify: Whether to send a test notice over every channel of the workspace's settings.
    """

    root: Path
    source: Source | None = None
    notify: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorResult(Result):
    """The findings of all checks.

    Attributes:
        status: failed if a check fails.
        party: The workspace's party; null if there is no workspace.
        drop: The drop folder; null if it is not known.
        findings: One per check, in order.
    """

    party: str | None
    drop: str | None
    findings: tuple[Finding, ...]


def doctor(request: DoctorRequest, environment: Environment) -> DoctorResult:
    """Check a workspace and its drop folder, or only a drop folder."""
    exam, source, ledger = Examination(), request.source, None
    own = workspace_checks.settings(exam, request.root) if source is None else None
    if own is not None:
        ledger = _examine_workspace(exam, own, environment)
        if request.notify:
            name = ledger.newest_federation.plan.name if ledger is not None else ""
            notice_checks.try_channels(exam, own, name, environment.clock())
    elif source is not None:
        _examine_drop(exam, source, environment)
    machine_checks.decoders(exam)
    machine_checks.torch(exam, own, ledger)
    failed = [finding for finding in exam.findings if finding.outcome is Outcome.FAIL]
    warned = sum(finding.outcome is Outcome.WARN for finding in exam.findings)
    summary = f"{len(exam.findings)} checks: {len(failed)} failed, {warned} with a warning"
    return DoctorResult(
        status=Status.FAILED if failed else Status.DONE,
        message=f"{summary}; first: {failed[0].name}: {failed[0].remedy}" if failed else summary,
        party=own.settings.name if own else None,
        drop=own.drop_address if own else source.address if source else None,
        findings=tuple(exam.findings),
    )


def _examine_workspace(exam: Examination, own: Workspace, environment: Environment) -> Ledger | None:
    workspace_checks.folder(exam, own)
    key = workspace_checks.signing_key(exam, own, environment.passphrase)
    workspace_checks.secret(exam, own)
    workspace_checks.lock(exam, own)
    workspace_checks.outbox(exam, own)
    store = drop_checks.reach(exam, Source.of_workspace(own).open)
    drop_checks.coordinators_key(exam, store, own.settings.coordinator)
    ledger = drop_checks.history(exam, store, own.settings.coordinator, own.path("trusted"))
    drop_checks.own_prefix(exam, store, own)
    drop_checks.others_read(exam, store, own)
    drop_checks.other_prefixes(exam, store, own, ledger)
    drop_checks.new_sites(exam, store)
    drop_checks.clock(exam, store, ledger, environment.clock(), drop_checks.prefix_of(own))
    workspace_checks.encryption_keys(exam, own, ledger, environment.passphrase)
    workspace_checks.membership(exam, own, ledger, key)
    workspace_checks.recovery_key(exam, own, ledger)
    workspace_checks.approval(exam, own, ledger)
    workspace_checks.prepared(exam, own, ledger)
    tree_checks.above(exam, own, ledger)
    machine_checks.space_here(exam, own, store, ledger)
    machine_checks.space_there(exam, store, ledger)
    return ledger


def _examine_drop(exam: Examination, source: Source, environment: Environment) -> None:
    store = drop_checks.reach(exam, source.open)
    drop_checks.coordinators_key(exam, store, source.coordinator)
    ledger = drop_checks.history(exam, store, source.coordinator, None)
    drop_checks.new_sites(exam, store)
    drop_checks.clock(exam, store, ledger, environment.clock(), None)
    machine_checks.space_there(exam, store, ledger)
