"""One party at work: its workspace, the drop folder, its outbox and its signature, wired together.

Every command of a party begins the same way: take the lock, finish what the outbox holds, look at the drop folder.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedcli import __version__, wire
from fedcli.errors import ApprovalError, ConflictError
from fedcli.exchange import layout
from fedcli.exchange.keys import load_signer
from fedcli.exchange.outbox import Outbox, Parcel
from fedcli.exchange.records import Artifact, Role, Versions
from fedcli.exchange.sent_log import Sent, SentLog
from fedcli.exchange.store import LocalStore, StoreOptions, open_store
from fedcli.party.folder import Folder
from fedcli.plan import Updates
from fedcli.workspace import Workspace, WorkspaceRole

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedcli.exchange.outbox import Draft
    from fedcli.exchange.records import Record
    from fedcli.exchange.signatures import Signer
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
        command: What the user runs, for the log of what left; empty where operations are called from Python.
    """

    progress: Progress
    passphrase: Callable[[], str]
    clock: Callable[[], datetime] = now
    command: str = ""


def store_of(workspace: Workspace, progress: Progress | None = None) -> Store:
    """Return the drop folder's place, reached as the workspace's settings say."""
    settings = workspace.settings
    options = StoreOptions(
        host_key=settings.host_key,
        ssh_key=workspace.root / Path(settings.ssh_key).expanduser() if settings.ssh_key else None,
        endpoint=settings.endpoint,
        timeout=settings.timeout,
    )
    return open_store(workspace.drop_address, options, progress)


def store_settings(options: StoreOptions) -> dict[str, Any]:
    """Return what a new workspace's settings say of how its drop folder is reached."""
    key = "" if options.ssh_key is None else str(options.ssh_key)
    return {"host_key": options.host_key, "ssh_key": key, "endpoint": options.endpoint, "timeout": options.timeout}


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
        self._signer: Signer | None = None
        self.store: Store = store_of(workspace, environment.progress)
        memory = workspace.path("trusted")
        memory.mkdir(exist_ok=True)
        self.folder = Folder(
            self.store,
            coordinator=workspace.settings.coordinator,
            cache=workspace.path("cache"),
            memory=LocalStore(memory),
        )
        self.outbox = Outbox(workspace.path("outbox"), workspace.path("state"))
        self._sent = SentLog(workspace.path("sent.log"))

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

    @property
    def signer(self) -> Signer:
        """The signing key, asked for its passphrase where it has one; a new key takes over once the federation lists it."""
        rotation = self.workspace.rotation
        if rotation is not None and rotation.public_key in self._listed_keys():
            self.workspace, self._signer = self.workspace.finish_rotation(), None
            self.environment.progress.event(f"{self.name}: from now on {rotation.key} signs")
        if self._signer is None:
            self._signer = load_signer(self.workspace.key_path, self.environment.passphrase)
        return self._signer

    def _listed_keys(self) -> tuple[str, ...]:
        """Return this party's keys in the open round; none before the federation has begun."""
        ledger = self.folder.ledger
        if not ledger.federations:
            return ()
        return tuple(key.public_key for key in ledger.in_force(ledger.newest_round + 1).record.keys_of(self.name))

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

    def _tell(self, key: str, file: Measured) -> None:
        moment, command = self.environment.clock(), self.environment.command
        self._sent.add(Sent(moment=moment, key=key, bytes=file.size, sha256=file.sha256, command=command))
        if key.endswith(".json"):  # the record is the commit; its signature and artifacts went before
            self.environment.progress.event(f"published {key}")

    def seal(self, draft: Draft, *parcels: Parcel, note: bytes | None = None) -> None:
        """Sign the records of a draft, put it into the outbox, and publish it; with a note it is held there instead."""
        name = self.outbox.seal(draft, parcels, self.signer, note=note)
        if note is None:
            self.publish(name)

    def versions(self, *, torch: bool = False) -> Versions:
        """Return what goes into a record as the software that made it."""
        return Versions(
            fedcli=__version__,
            python=platform.python_version(),
            numpy=np.__version__,
            torch=_torch_version() if torch else None,
        )


def _torch_version() -> str:
    from importlib.metadata import version  # noqa: PLC0415 - a tenth of what a command that does not train takes to start

    return version("torch")


def artifact_of(
    record_key: str, role: Role, content: Measured, *, stored: Measured | None = None, travel: Updates | None = None
) -> Artifact:
    """Return how a record names a safetensors file.

    Args:
        record_key: The record's key.
        role: What the file is to it.
        content: The file's size and digest.
        stored: Those of the packed file; None where it is not packed.
        travel: How it was encoded and packed; None as it is.
    """
    stored, travel = stored or content, travel or Updates()
    return Artifact(
        role=role,
        key=layout.artifact(record_key, stored.sha256),
        stored_size=stored.size,
        stored_sha256=stored.sha256,
        content_size=content.size,
        content_sha256=content.sha256,
        encoding=travel.encoding,
        packing=travel.packing,
    )


def parcel(key: str, record: Record, *artifacts: tuple[Artifact, Path], countersigner: Signer | None = None) -> Parcel:
    """Return a record and its artifacts' files as the outbox takes them."""
    files = tuple((item.key, path) for item, path in artifacts)
    return Parcel(key=key, data=wire.encode(record), artifacts=files, countersigner=countersigner)
