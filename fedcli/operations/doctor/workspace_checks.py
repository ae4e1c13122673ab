"""Checks of a workspace: settings, permissions, key, secret, lock, outbox; then membership, plan and data."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from fedcli import wire
from fedcli.exchange.keys import encryption_key, load_signer
from fedcli.exchange.outbox import Outbox
from fedcli.imaging.dataset import prepared_dataset
from fedcli.party.command_lines import WORKSPACE, party_command
from fedcli.party.membership import removal_in_words, removal_of, unconfirmed_in_words, unconfirmed_key
from fedcli.party.own_keys import ENCRYPTION, keyring_of
from fedcli.private_files import SECRET_BYTES, BusyError, exclusive
from fedcli.text.wording import counted
from fedcli.workspace import Workspace, WorkspaceRole

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fedcli.exchange.ledger import Ledger
    from fedcli.exchange.signatures import VerifyKey
    from fedcli.operations.doctor.findings import Examination

OTHERS_READ = stat.S_IRWXG | stat.S_IRWXO
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def _next(workspace: Workspace) -> str:
    """Return the command that does a party's part of a round."""
    if workspace.settings.role is WorkspaceRole.SITE:
        return "train-round"
    return "relay" if workspace.above_path is not None else "aggregate"


def settings(exam: Examination, root: Path) -> Workspace | None:
    """Read workspace.toml."""
    with exam.check("settings", "correct workspace.toml; `fedcli docs workspace` explains every key") as check:
        workspace = Workspace.open(root)
        check.ok(f"{workspace.settings.role} {workspace.settings.name}, drop folder {workspace.settings.drop}")
        return workspace
    return None


def folder(exam: Examination, workspace: Workspace) -> None:
    """Check who may read and write the workspace, and the prepared data."""
    root, prepared = workspace.root, workspace.prepared_path
    with exam.check("workspace", f"chmod -R go= {root}") as check:
        mode = stat.S_IMODE(root.stat().st_mode)
        if not os.access(root, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
            check.fail(f"mode {mode:04o}: this account cannot write there", f"run as the owner of {root}, or chown it")
        elif mode & OTHERS_WRITE:
            check.warn(f"mode {mode:04o}: others can change its settings and keys")
        elif mode & OTHERS_READ:
            check.warn(f"mode {mode:04o}: other users of this machine can look into it")
        elif prepared.is_dir() and (mode := stat.S_IMODE(prepared.stat().st_mode)) & OTHERS_READ and _open_to_others(prepared):
            check.warn(f"{prepared}, mode {mode:04o}: other users of this machine can see the images", f"chmod -R go= {prepared}")
        else:
            check.ok(f"mode {mode:04o}")


def _open_to_others(path: Path) -> bool:
    """Return whether every folder above lets others through."""
    return all(parent.stat().st_mode & (stat.S_IXGRP | stat.S_IXOTH) for parent in path.resolve().parents)


def signing_key(exam: Examination, workspace: Workspace, passphrase: Callable[[], str]) -> VerifyKey | None:
    """Load the key, and check who may read it."""
    path = workspace.key_path
    with exam.check("signing key", f"chmod 600 {path}") as check:
        key = load_signer(path, passphrase).verify_key
        if (mode := stat.S_IMODE(path.stat().st_mode)) & OTHERS_READ:
            check.fail(f"{path}, mode {mode:04o}: others can read it, and sign as {workspace.settings.name}")
        else:
            check.ok(f"{key.fingerprint}, mode {mode:04o}")
        return key
    return None


def encryption_keys(exam: Examination, workspace: Workspace, ledger: Ledger | None, passphrase: Callable[[], str]) -> None:
    """Load the keys that open what is sealed for this party, and check who may read them."""
    keyring = keyring_of(workspace, passphrase)
    folder = workspace.path(ENCRYPTION)
    with exam.check(
        "encryption keys", f"restore {folder} from a backup; without one: `fedcli docs when-something-breaks`"
    ) as check:
        for path in keyring.digests().values():
            keyring.private(path)
            if (mode := stat.S_IMODE(path.stat().st_mode)) & OTHERS_READ:
                check.fail(
                    f"{path}, mode {mode:04o}: others can read it, and open what is sealed for this party", f"chmod 600 {path}"
                )
                return
        listed = encryption_key(ledger.newest_federation.keys_of(workspace.settings.name)) if ledger is not None else None
        if listed is not None and listed not in keyring.public:
            check.fail(f"{listed.digest[:12]} is listed for {workspace.settings.name}, and is not in {folder}")
        elif keyring.present is None:
            check.warn(f"{folder}: none; an older fedcli made this workspace", "`fedcli rotate-key` makes one")
        else:
            check.ok(f"{counted(len(keyring.public), 'key')}, the newest {keyring.present.digest[:12]}")


def secret(exam: Examination, workspace: Workspace) -> None:
    """Check the secret that keys the hashes of patients."""
    path = workspace.path("secret")
    with exam.check("secret", f"chmod 600 {path}") as check:
        if not path.exists():
            check.skip("not created yet; fedcli prepare creates it")
        elif (size := path.stat().st_size) != SECRET_BYTES:
            check.fail(f"{path}: {size} bytes, expected {SECRET_BYTES}", "restore it from a backup")
        elif (mode := stat.S_IMODE(path.stat().st_mode)) & OTHERS_READ:
            check.fail(f"{path}, mode {mode:04o}: others can read it, and undo the hashes of patients")
        else:
            check.ok(f"{size} bytes, mode {mode:04o}")


def lock(exam: Examination, workspace: Workspace) -> None:
    """Check whether another command is at work."""
    with exam.check("lock", "wait for it, or look for it with ps; the lock is released when the command ends") as check:
        try:
            with exclusive(workspace.path("lock")):
                check.ok("free")
        except BusyError as error:
            check.warn(str(error))


def outbox(exam: Examination, workspace: Workspace) -> None:
    """Check what waits to be published."""
    with exam.check("outbox", f"`{party_command(workspace.root, _next(workspace))}` publishes what waits") as check:
        entries = Outbox(workspace.path("outbox"), workspace.path("state"))
        if held := entries.held():
            command = party_command(workspace.root, "train-round", "--review")
            check.warn(f"held for review: {', '.join(held)}", f"`{command}` shows it and asks")
        elif pending := entries.pending():
            check.warn(f"not published yet: {', '.join(pending)}")
        else:
            check.ok("nothing waits")


def membership(exam: Examination, workspace: Workspace, ledger: Ledger | None, key: VerifyKey | None) -> None:
    """Check whether the federation lists this workspace's key."""
    name = workspace.settings.name
    with exam.check("membership", f"the coordinator runs `{party_command(WORKSPACE, 'admit', name)}`") as check:
        if ledger is None or key is None:
            check.skip("the federation's history or this workspace's key cannot be read")
            return
        record = ledger.in_force(ledger.newest_round + 1).record
        keys = [item.public_key for item in record.keys_of(name)]
        if key.line in keys:
            check.ok(f"{name} is listed with this key")
        elif keys:
            check.fail(f"{name} is listed with another key", "name that key with `key` in workspace.toml, or fedcli rotate-key")
        elif (removal := removal_of(ledger.federations, name)) is not None:
            check.warn(removal_in_words(name, removal))
        else:
            check.warn(f"{name} is not a member yet")


def recovery_key(exam: Examination, workspace: Workspace, ledger: Ledger | None) -> None:
    """Check whether the operator has confirmed a key of the coordinator that the recovery key has brought in, if it has."""
    if ledger is None or ledger.recovery is None:
        return
    command = party_command(workspace.root, "approve", "--coordinator-key", "FINGERPRINT")
    with exam.check("recovery key", f"call the coordinator, and type the fingerprint that it reads to you: `{command}`") as check:
        if (fingerprint := unconfirmed_key(workspace, ledger)) is not None:
            check.fail(unconfirmed_in_words(fingerprint))
        else:
            check.ok("it has replaced the coordinator's key, and the new one is confirmed")


def approval(exam: Examination, workspace: Workspace, ledger: Ledger | None) -> None:
    """Check whether the operator has approved the plan in force."""
    with exam.check("plan", f"`{party_command(workspace.root, 'approve')}` shows the plan and asks") as check:
        approved = workspace.approval
        if workspace.settings.role is WorkspaceRole.COORDINATOR:
            check.skip("the coordinator approves none")
        elif ledger is None:
            check.skip("the plan in force cannot be read")
        elif approved is None:
            check.fail("none was approved")
        elif not workspace.approves(plan := ledger.in_force(ledger.newest_round + 1).record.plan):
            check.fail(f"in force is {plan.digest[: wire.SHORT_DIGEST]}, approved {approved.digest[: wire.SHORT_DIGEST]}")
        else:
            check.ok(f"{plan.digest[: wire.SHORT_DIGEST]} is approved")


def prepared(exam: Examination, workspace: Workspace, ledger: Ledger | None) -> None:
    """Check whether the prepared data fit the plan."""
    with exam.check("prepared data", "prepare them by the plan in force, with fedcli prepare") as check:
        approved = workspace.approval
        if workspace.settings.role is WorkspaceRole.COORDINATOR:
            check.skip("the coordinator has none")
            return
        if ledger is None and approved is None:
            check.skip("the plan cannot be read")
            return
        plan = ledger.in_force(ledger.newest_round + 1).record.plan if ledger else approved.plan if approved else None
        if plan is not None and plan.tree.regions and not workspace.prepared_path.exists():
            check.skip(f"{workspace.prepared_path}: none; a region has none, and its coordinator runs fedcli relay")
        elif plan is not None:
            may_be_empty = workspace.parts_that_may_be_empty(plan)
            data = prepared_dataset.load(workspace.prepared_path, wire.digest(plan.preparation), may_be_empty)
            check.ok(f"{len(data.labels)} images of {len(set(data.patients))} patients")
