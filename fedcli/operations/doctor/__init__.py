"""What would stop a party's next command, or weaken it: a list of small checks, each with a remedy where it fails.

In a workspace everything is looked at; against an address what needs no workspace. Nothing is changed: a probe in the party's
own prefix is removed at once, and what verifies is remembered, as every command does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.exchange.store import open_store
from fedcli.operations.doctor import drop_checks, machine_checks, space_checks, workspace_checks
from fedcli.operations.doctor.findings import Examination, Finding, Outcome
from fedcli.party.party import store_of
from fedcli.results import Result, Status

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.environment import Environment
    from fedcli.exchange.store import StoreOptions
    from fedcli.workspace import Workspace

__all__ = ["DoctorResult", "Finding", "Outcome", "doctor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorResult(Result):
    """What was found.

    Attributes:
        status: failed where a line fails.
        party: Whose workspace it is; null where there is none.
        drop: The drop folder; null where it is not known.
        findings: One a check, in order.
    """

    party: str | None
    drop: str | None
    findings: tuple[Finding, ...]


def doctor(address: str | None, root: Path, environment: Environment, options: StoreOptions | None = None) -> DoctorResult:
    """Examine a workspace and its drop folder, or a drop folder alone.

    Args:
        address: The drop folder; None takes the workspace's.
        root: The workspace; not looked at where an address is given.
        environment: Clock, and the passphrase of an encrypted key.
        options: How the drop folder at the address is reached.
    """
    exam = Examination()
    own = workspace_checks.settings(exam, root) if address is None else None
    if own is not None:
        _examine_workspace(exam, own, environment)
    elif address is not None:
        _examine_address(exam, address, options, environment)
    machine_checks.decoders(exam)
    machine_checks.torch(exam, own)
    failed = [finding for finding in exam.findings if finding.outcome is Outcome.FAIL]
    warned = sum(finding.outcome is Outcome.WARN for finding in exam.findings)
    told = f"{len(exam.findings)} checks: {len(failed)} failed, {warned} with a warning"
    return DoctorResult(
        status=Status.FAILED if failed else Status.DONE,
        message=f"{told}; first: {failed[0].name}: {failed[0].remedy}" if failed else told,
        party=own.settings.name if own else None,
        drop=own.drop_address if own else address,
        findings=tuple(exam.findings),
    )


def _examine_workspace(exam: Examination, own: Workspace, environment: Environment) -> None:
    workspace_checks.folder(exam, own)
    key = workspace_checks.signing_key(exam, own, environment.passphrase)
    workspace_checks.secret(exam, own)
    workspace_checks.lock(exam, own)
    workspace_checks.outbox(exam, own)
    store = drop_checks.reach(exam, lambda: store_of(own))
    drop_checks.coordinators_key(exam, store, own.settings.coordinator)
    ledger = drop_checks.history(exam, store, own.settings.coordinator, own.path("trusted"))
    drop_checks.own_prefix(exam, store, own)
    drop_checks.other_prefixes(exam, store, own, ledger)
    drop_checks.clock(exam, store, ledger, environment.clock(), drop_checks.prefix_of(own))
    workspace_checks.membership(exam, own, ledger, key)
    workspace_checks.approval(exam, own, ledger)
    workspace_checks.prepared(exam, own, ledger)
    space_checks.here(exam, own, store, ledger)
    space_checks.there(exam, store, ledger)


def _examine_address(exam: Examination, address: str, options: StoreOptions | None, environment: Environment) -> None:
    store = drop_checks.reach(exam, lambda: open_store(address, options))
    drop_checks.coordinators_key(exam, store, None)
    ledger = drop_checks.history(exam, store, None, None)
    drop_checks.clock(exam, store, ledger, environment.clock(), None)
    space_checks.there(exam, store, ledger)
