"""One party at work: its workspace, the drop folder, its outbox and its signature, wired together.

Every command of a party begins the same way: take the lock, finish what the outbox holds, look at the drop folder.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING

from fedcli import wire
from fedcli.errors import ApprovalError, ConflictError
from fedcli.exchange import layout, signatures
from fedcli.exchange.outbox import Outbox, Parcel
from fedcli.exchange.records import Artifact, PublicKey, Purpose, Role, Versions
from fedcli.exchange.store import LocalStore, open_store
from fedcli.operations.folder import Folder
from fedcli.workspace import Workspace, WorkspaceRole

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fedcli.exchange.outbox import Draft
    from fedcli.exchange.records import Record
    from fedcli.exchange.signatures import Signer, VerifyKey
    from fedcli.exchange.store import Store
    from fedcli.plan import Plan
    from fedcli.progress import Progress
    from fedcli.tensors import Measured


class Status(StrEnum):
    """How a command ended; all but `failed` are successes."""

    PUBLISHED = "published"
    WAITING = "waiting"
    FINISHED = "finished"
    BUSY = "busy"
    DONE = "done"
    VERIFIED = "verified"
    CONSISTENT = "consistent"
    FAILED = "failed"


def now() -> datetime:
    """Return the present second in UTC."""
    return datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What the top hands down.

    Attributes:
        progress: Who listens.
        clock: The present moment, in UTC.
        passphrase: Asked for where a signing key is encrypted.
    """

    progress: Progress
    passphrase: Callable[[], str]
    clock: Callable[[], datetime] = now


class Party:
    """A workspace at work.

    Attributes:
        workspace: The private folder.
        store: The drop folder's place.
        folder: The drop folder as this party trusts it.
        outbox: What waits to be published.
        environment: Clock, progress, passphrase.
    """

    def __init__(self, workspace: Workspace, environment: Environment) -> None:
        self.workspace = workspace
        self.environment = environment
        self.store: Store = open_store(workspace.drop_address)
        memory = workspace.path("trusted")
        memory.mkdir(exist_ok=True)
        self.folder = Folder(
            self.store,
            coordinator=workspace.settings.coordinator,
            cache=workspace.path("cache"),
            memory=LocalStore(memory),
        )
        self.outbox = Outbox(workspace.path("outbox"), workspace.path("state"))

    @classmethod
    def open(cls, root: Path, role: WorkspaceRole, environment: Environment) -> Party:
        """Open a workspace of the given role."""
        return cls(Workspace.open(root, role), environment)

    @property
    def name(self) -> str:
        """The party's name."""
        return self.workspace.settings.name

    @property
    def plan(self) -> Plan:
        """The plan of the next round."""
        ledger = self.folder.ledger
        return ledger.in_force(ledger.newest_round + 1).record.plan

    @cached_property
    def signer(self) -> Signer:
        """The signing key, asked for its passphrase where it has one."""
        return signatures.load_signer(self.workspace.key_path, self.environment.passphrase)

    def approved_plan(self) -> Plan:
        """Return the plan of the next round if the operator has approved it.

        Raises:
            ApprovalError: They have approved none, or another one.
        """
        approval = self.workspace.approval
        found = self.plan.digest
        if approval is None or approval.digest != found:
            before = f"the approved one is {approval.digest[:12]}" if approval else "none was approved"
            msg = f"{self.name}: the plan is now {found[:12]}; {before}"
            raise ApprovalError(msg, hint="fedcli approve shows the plan, and what changed, and asks")
        return self.plan

    def finish_outbox(self) -> tuple[str, ...]:
        """Publish what an earlier run left, and return the names of the entries that are published now.

        An entry whose place was taken meanwhile by a record of this party's own (from a second machine, say) is dropped: the
        command then finds that record and adopts it.
        """
        return tuple(name for name in self.outbox.pending() if self.publish(name))

    def publish(self, name: str) -> bool:
        """Publish an entry of the outbox; tell whether it was this one that took its place."""
        try:
            self.outbox.publish(name, self.store, self._tell)
        except ConflictError as error:
            self.environment.progress.event(f"{error}; dropping what was prepared here")
            self.outbox.discard(name)
            return False
        return True

    def _tell(self, key: str) -> None:
        if key.endswith(".json"):  # the record is the commit; its signature and artifacts went before
            self.environment.progress.event(f"published {key}")

    def seal(self, draft: Draft, *parcels: Parcel) -> None:
        """Sign the records of a draft, put it into the outbox, and publish it."""
        self.publish(self.outbox.seal(draft, parcels, self.signer))

    def versions(self, *, torch: bool = False) -> Versions:
        """Return what goes into a record as the software that made it."""
        return Versions(
            fedcli=version("fedcli"),
            python=platform.python_version(),
            numpy=version("numpy"),
            torch=version("torch") if torch else None,
        )


def public_keys(*keys: VerifyKey) -> tuple[PublicKey, ...]:
    """Return keys as records hold them."""
    return tuple(PublicKey(purpose=Purpose.SIGNING, algorithm="ssh-ed25519", public_key=key.line) for key in keys)


def artifact_of(record_key: str, role: Role, measured: Measured) -> Artifact:
    """Return how a record names a plain safetensors file."""
    return Artifact(
        role=role,
        key=layout.artifact(record_key, measured.sha256),
        stored_size=measured.size,
        stored_sha256=measured.sha256,
        content_size=measured.size,
        content_sha256=measured.sha256,
    )


def parcel(key: str, record: Record, *artifacts: tuple[Artifact, Path]) -> Parcel:
    """Return a record and its artifacts' files as the outbox takes them."""
    return Parcel(key=key, data=wire.encode(record), artifacts=tuple((item.key, path) for item, path in artifacts))
