"""One party at work: its workspace, the drop folder, its outbox and its signing key, wired together.

Every command of a party begins with `Party.at_work`.
"""

from __future__ import annotations

import platform
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from fedcli import __version__, wire
from fedcli.errors import ApprovalError, ConflictError, TrustError
from fedcli.exchange.keys import load_signer, public_keys
from fedcli.exchange.outbox import Outbox, Publication
from fedcli.exchange.records import Versions
from fedcli.exchange.sent_log import Sent, SentLog
from fedcli.exchange.store.rights import unshared
from fedcli.party.command_lines import party_command
from fedcli.party.folder import Folder
from fedcli.party.membership import foreign_key, unconfirmed_in_words, unconfirmed_key
from fedcli.party.memory.trusted_records import TrustedRecords
from fedcli.party.own_keys import AskedPassphrase, keyring_of
from fedcli.party.source import Source
from fedcli.party.transfer.outgoing import artifact_of
from fedcli.private_files import locked
from fedcli.workspace import Workspace, WorkspaceRole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fedcli.disk import Measured
    from fedcli.environment import Environment
    from fedcli.exchange.ledger import Ledger
    from fedcli.exchange.outbox import Draft
    from fedcli.exchange.records import Artifact, FederationRecord, PublicKey, Record
    from fedcli.exchange.signatures import Signer, VerifyKey
    from fedcli.exchange.store import Store
    from fedcli.party.transfer.outgoing import ArtifactFile
    from fedcli.plan import Plan


_FOREIGN_KEY = (
    "if the key was replaced on another machine, use that machine's workspace; if not, stop and call the coordinator, who "
    "removes the site and admits the right key (`fedcli docs when-something-breaks`)"
)


class Party:
    """A workspace at work.

    Attributes:
        workspace: The private folder.
        source: The drop folder that it names.
        store: Where that is.
        keyring: The party's encryption keys.
        folder: The drop folder as this party trusts it.
        outbox: What waits to be published.
        environment: Clock, progress, passphrase.
        published: Outbox entries that this command has published; `at_work` begins with those of an earlier run.
    """

    def __init__(self, workspace: Workspace, environment: Environment) -> None:
        self.workspace = workspace
        self.environment = environment
        self._signer: Signer | None = None
        self.source = Source.of_workspace(workspace)
        self.store: Store = self.source.open(environment.progress)
        self._passphrase = AskedPassphrase(environment.passphrase)
        self.keyring = keyring_of(workspace, self._passphrase)
        self.folder = Folder(
            self.store,
            coordinator=workspace.settings.coordinator,
            cache=workspace.path("cache"),
            memory=TrustedRecords(workspace.path("trusted")),
            keyring=self.keyring,
        )
        self.outbox = Outbox(workspace.path("outbox"), workspace.path("state"))
        self.published: list[str] = []
        self._sent = SentLog(workspace.path("sent.log"))

    @classmethod
    @contextmanager
    def at_work(
        cls, root: Path, role: WorkspaceRole | None, environment: Environment, *, confirmed: bool = True
    ) -> Iterator[Party]:
        """Begin a command: lock the workspace, publish what an earlier run left, and bring the ledger up to date.

        An entry of the outbox whose place another record of this party has taken meanwhile (from a second machine, say) is
        dropped: the command then finds that record and adopts it.

        Args:
            root: The workspace.
            role: The role that its party must have; None accepts both.
            environment: Clock, progress, passphrase.
            confirmed: Whether the operator must have confirmed a coordinator's key that the recovery key has brought in.

        Raises:
            ConfigurationError: There is no such workspace.
            ApprovalError: The operator has not confirmed such a key.
            BusyError: Another command is at work in it.
            TrustError: The drop folder does not verify.
            StoreError: The drop folder cannot be read or written.
        """
        party = cls(Workspace.open(root, role), environment)
        with locked(root):
            pending = party.outbox.pending()
            if pending:
                party.folder.require_history()
            for name in pending:
                party.publish(name)
            party.folder.synchronise()
            party.require_own_keys()
            if confirmed:
                party.require_confirmed_coordinator()
            yield party

    @property
    def name(self) -> str:
        """The party's name."""
        return self.workspace.settings.name

    def command(self, verb: str, *words: str) -> str:
        """Return a command of this party as its operator types it."""
        return party_command(self.workspace.root, verb, *words)

    @property
    def ledger(self) -> Ledger:
        """The history that this party trusts."""
        return self.folder.ledger

    @property
    def plan(self) -> Plan:
        """The plan of the next round."""
        return self.ledger.in_force(self.ledger.newest_round + 1).record.plan

    @property
    def signer(self) -> Signer:
        """The signing key, asked for its passphrase where it has one; a new key takes over once the federation lists it."""
        rotation = self.workspace.rotation
        if rotation is not None and rotation.public_key in self._listed_keys():
            self.workspace, self._signer = self.workspace.finish_rotation(), None
            self.environment.progress.event(f"{self.name}: from now on {rotation.key} signs")
        if self._signer is None:
            self._signer = load_signer(self.workspace.key_path, self._passphrase)
        return self._signer

    def listed_as(self, signing: VerifyKey) -> tuple[PublicKey, ...]:
        """Return this party's keys as records list them: one to sign with, and the newest encryption key."""
        return public_keys(signing, keyring_of(self.workspace, self._passphrase).present)

    def require_own_keys(self) -> None:
        """Raise a TrustError if the federation lists another key for this site, whose holder could sign as the site."""
        if (message := foreign_key(self.workspace, self.ledger)) is not None:
            raise TrustError(message, hint=_FOREIGN_KEY)

    def require_confirmed_coordinator(self) -> None:
        """Raise an ApprovalError until the site's operator has confirmed the key that the recovery key has brought in."""
        if (fingerprint := unconfirmed_key(self.workspace, self.ledger)) is not None:
            command = self.command("approve", "--coordinator-key", "FINGERPRINT")
            hint = f"call the coordinator at a number that you know, and type the fingerprint that it reads to you: `{command}`"
            raise ApprovalError(unconfirmed_in_words(fingerprint), hint=hint)

    def _listed_keys(self) -> tuple[str, ...]:
        """Return this party's keys in the open round; none before the federation has begun."""
        ledger = self.ledger
        if not ledger.federations:
            return ()
        return tuple(key.public_key for key in ledger.in_force(ledger.newest_round + 1).record.keys_of(self.name))

    def approved_plan(self) -> Plan:
        """Return the plan of the next round if the operator has approved it, or the same with fewer rounds.

        Raises:
            ApprovalError: The operator has approved none, or another one.
        """
        plan = self.plan
        ahead = self.workspace.approval_ahead
        if ahead is not None and ahead.digest == plan.digest:
            self.workspace.approve(ahead.plan)
        if not self.workspace.approves(plan):
            approval = self.workspace.approval
            before = f"the approved plan is {approval.digest[:12]}" if approval else "none was approved"
            msg = f"{self.name}: the plan is now {plan.digest[:12]}; {before}"
            raise ApprovalError(msg, hint=f"`{self.command('approve')}` shows the plan and its changes, and asks")
        return plan

    def artifact(self, file: ArtifactFile, record_key: str, federation: FederationRecord) -> tuple[Artifact, Path]:
        """Return how a record that this party publishes under a federation record names a file, and the file to store."""
        return artifact_of(file, record_key, federation, self.ledger.identity, self.name)

    def publish(self, name: str) -> None:
        """Publish an entry of the outbox, or drop it where another record of this party has taken its place."""
        files = self.outbox.files(name)  # none where only the state changes
        try:
            self.outbox.publish(name, self.store, self._tell)
        except ConflictError as error:
            self.environment.progress.event(f"{error}; dropping what was prepared here")
            self.outbox.discard(name)
        else:
            first = bool(files) and not self.published  # what the same command publishes later has the same rights
            if first and (finding := unshared(self.store, files[-1][0])) is not None:
                self.environment.progress.event(f"{finding.message}: {finding.remedy}")
            self.published.append(name)

    def _tell(self, key: str, file: Measured) -> None:
        moment, command = self.environment.clock(), self.environment.command
        self._sent.add(Sent(moment=moment, key=key, bytes=file.size, sha256=file.sha256, command=command))
        if key.endswith(".json"):  # the record is the commit; its signature and artifacts went before
            self.environment.progress.event(f"published {key}")

    def commit(self, draft: Draft, *publications: Publication, note: bytes | None = None, signer: Signer | None = None) -> None:
        """Sign the records of a draft, put it into the outbox, and publish it; with a note it is held there instead."""
        name = self.outbox.commit(draft, publications, signer or self.signer, note=note)
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


def publication(key: str, record: Record, *artifacts: tuple[Artifact, Path], countersigner: Signer | None = None) -> Publication:
    """Return a record and its artifacts' files as the outbox takes them."""
    files = tuple((item.key, path) for item, path in artifacts)
    return Publication(key=key, data=wire.encode(record), artifacts=files, countersigner=countersigner)
