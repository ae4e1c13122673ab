"""A workspace under examination: settings, permissions, key, secret, lock, outbox; then what goes with the federation."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from fedcli import wire
from fedcli.exchange.keys import load_signer
from fedcli.exchange.outbox import Outbox
from fedcli.imaging.dataset import prepared_dataset
from fedcli.private_files import SECRET_BYTES, BusyError, exclusive
from fedcli.workspace import Workspace, WorkspaceRole

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fedcli.exchange.ledger import Ledger
    from fedcli.exchange.signatures import VerifyKey
    from fedcli.operations.doctor.findings import Examination

OTHERS_READ = stat.S_IRWXG | stat.S_IRWXO
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_NEXT = {WorkspaceRole.SITE: "fedcli train-round", WorkspaceRole.COORDINATOR: "fedcli aggregate"}


def settings(exam: Examination, root: Path) -> Workspace | None:
    """Read workspace.toml."""
    with exam.line("settings", "correct workspace.toml; docs/workspace.md explains every key") as line:
        found = Workspace.open(root)
        line.ok(f"{found.settings.role} {found.settings.name}, drop folder {found.settings.drop}")
        return found
    return None


def folder(exam: Examination, workspace: Workspace) -> None:
    """Look at who may read and write the workspace."""
    root = workspace.root
    with exam.line("workspace", f"chmod go-w {root}") as line:
        mode = stat.S_IMODE(root.stat().st_mode)
        if not os.access(root, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
            line.fail(f"mode {mode:04o}: this account cannot write there", f"run as the owner of {root}, or chown it")
        elif mode & OTHERS_WRITE:
            line.warn(f"mode {mode:04o}: others can change its settings and keys")
        else:
            line.ok(f"mode {mode:04o}")


def signing_key(exam: Examination, workspace: Workspace, passphrase: Callable[[], str]) -> VerifyKey | None:
    """Load the key, and look at who may read it."""
    path = workspace.key_path
    with exam.line("signing key", f"chmod 600 {path}") as line:
        found = load_signer(path, passphrase).verify_key
        if (mode := stat.S_IMODE(path.stat().st_mode)) & OTHERS_READ:
            line.fail(f"{path}, mode {mode:04o}: others can read it, and sign as {workspace.settings.name}")
        else:
            line.ok(f"{found.fingerprint}, mode {mode:04o}")
        return found
    return None


def secret(exam: Examination, workspace: Workspace) -> None:
    """Look at the secret that keys patients' hashes."""
    path = workspace.path("secret")
    with exam.line("secret", f"chmod 600 {path}") as line:
        if not path.exists():
            line.skip("not made yet; fedcli prepare makes it")
        elif (size := path.stat().st_size) != SECRET_BYTES:
            line.fail(f"{path}: {size} bytes, expected {SECRET_BYTES}", "restore it from a backup")
        elif (mode := stat.S_IMODE(path.stat().st_mode)) & OTHERS_READ:
            line.fail(f"{path}, mode {mode:04o}: others can read it, and undo the hashes of patients")
        else:
            line.ok(f"{size} bytes, mode {mode:04o}")


def lock(exam: Examination, workspace: Workspace) -> None:
    """Look whether another command is at work."""
    with exam.line("lock", "wait for it, or look for it with ps; the lock frees itself when the command dies") as line:
        try:
            with exclusive(workspace.path("lock")):
                line.ok("free")
        except BusyError as error:
            line.warn(str(error))


def outbox(exam: Examination, workspace: Workspace) -> None:
    """Look at what waits to be published."""
    with exam.line("outbox", f"run {_NEXT[workspace.settings.role]}: it publishes what waits") as line:
        found = Outbox(workspace.path("outbox"), workspace.path("state"))
        if held := found.held():
            line.warn(f"held for a person: {', '.join(held)}", "fedcli train-round --review shows it and asks")
        elif pending := found.pending():
            line.warn(f"not published yet: {', '.join(pending)}")
        else:
            line.ok("nothing waits")


def membership(exam: Examination, workspace: Workspace, ledger: Ledger | None, key: VerifyKey | None) -> None:
    """Look whether the federation lists this workspace's key."""
    name = workspace.settings.name
    with exam.line("membership", f"the coordinator runs fedcli admit {name}") as line:
        if ledger is None or key is None:
            line.skip("the federation's history or this workspace's key cannot be read")
            return
        record = ledger.in_force(ledger.newest_round + 1).record
        keys = [item.public_key for item in record.keys_of(name)]
        if key.line in keys:
            line.ok(f"{name} is listed with this key")
        elif keys:
            line.fail(f"{name} is listed with another key", "name that key with `key` in workspace.toml, or fedcli rotate-key")
        else:
            line.warn(f"{name} is not a member yet")


def approval(exam: Examination, workspace: Workspace, ledger: Ledger | None) -> None:
    """Look whether the operator has approved the plan in force."""
    with exam.line("plan", "fedcli approve shows the plan and asks") as line:
        approved = workspace.approval
        if workspace.settings.role is WorkspaceRole.COORDINATOR:
            line.skip("the coordinator approves none")
        elif ledger is None:
            line.skip("the plan in force cannot be read")
        elif approved is None:
            line.fail("none was approved")
        elif (plan := ledger.in_force(ledger.newest_round + 1).record.plan).digest != approved.digest:
            line.fail(f"in force is {plan.digest[: wire.SHORT_DIGEST]}, approved {approved.digest[: wire.SHORT_DIGEST]}")
        else:
            line.ok(f"{plan.digest[: wire.SHORT_DIGEST]} is approved")


def prepared(exam: Examination, workspace: Workspace, ledger: Ledger | None) -> None:
    """Look whether the prepared data fit the plan."""
    with exam.line("prepared data", "fedcli prepare makes them by the plan in force") as line:
        approved = workspace.approval
        if workspace.settings.role is WorkspaceRole.COORDINATOR:
            line.skip("the coordinator has none")
            return
        if ledger is None and approved is None:
            line.skip("the plan cannot be read")
            return
        plan = ledger.in_force(ledger.newest_round + 1).record.plan if ledger else approved.plan if approved else None
        if plan is not None:
            found = prepared_dataset.load(workspace.prepared_path, wire.digest(plan.preparation), plan.allow_empty)
            line.ok(f"{len(found.labels)} images of {len(set(found.patients))} patients")
