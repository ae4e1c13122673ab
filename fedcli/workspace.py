"""A party's private folder: its settings, its key, what it trusts and what it keeps.

workspace.toml    settings that the operator may edit (`Settings`)
key, key.pub      the signing key, unless `key` names another
secret            32 bytes that key the hashes of patients and studies; mode 0600
approval.json     the plan that the operator approved
approval-ahead.json   a plan that the operator approved before it is in force
rotation.json     the key that takes over once the federation lists it
re-enrolment.json the key that was enrolled after this site lost the one before
confirmed-recovery.json   the key of the coordinator that the recovery key has brought in, and the operator has confirmed
trusted/          copies of the verified records of the drop folder: what this party remembers
outbox/           what is about to be published
state/            what rounds keep here: best model, optimizer state, BatchNorm layers that are not sent
training/         checkpoints of unfinished training
models/           this party's own models: local, finetuned
scores/           test scores already computed
cache/            private, hashed copies of artifacts
privacy.json      what each update has cost the patients, where the plan promises privacy
sent.log          what was sent, one line per file
told.json         which notices were told when
fedcli.log        one line per event
lock              held by the running command; the system releases it when the command ends
"""

from __future__ import annotations

import re
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from fedcli import toml_file, wire
from fedcli.disk import write_whole
from fedcli.errors import ConfigurationError
from fedcli.notice_settings import NoticeSettings
from fedcli.plan import Part, Plan
from fedcli.private_files import read_secret
from fedcli.wire import STRICT, Digest, SiteName

T = TypeVar("T")

SETTINGS = "workspace.toml"
ROTATION = "rotation.json"
_AHEAD = "approval-ahead.json"
RE_ENROLMENT = "re-enrolment.json"
CONFIRMED_RECOVERY = "confirmed-recovery.json"
PASSPHRASE_FILE_VARIABLE = "FEDCLI_KEY_PASSPHRASE_FILE"  # noqa: S105 - the variable's name
"""Names the file of the signing key's passphrase."""
PASSPHRASE_CREDENTIAL = "fedcli-passphrase"  # noqa: S105 - the credential's name
"""The systemd credential with the signing key's passphrase."""
FINGERPRINT = r"SHA256:[A-Za-z0-9+/]{43}"
"""Fingerprint of an SSH key, of a party or of a host."""


class WorkspaceRole(StrEnum):
    """Whose workspace it is."""

    COORDINATOR = "coordinator"
    SITE = "site"


class Review(StrEnum):
    """Whether a person reviews an update before it is sent."""

    ASK = "ask"
    AUTO = "auto"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Settings:
    """workspace.toml: what one party decides for itself.

    Attributes:
        role: coordinator or site.
        name: The site's name; `coordinator` for the coordinator.
        drop: The drop folder: a path or URL.
        coordinator: Fingerprint of the coordinator's first key, as pinned when joining.
        key: The signing key, a path relative to the workspace.
        prepared: The prepared data, a path relative to the workspace.
        device: Where to train: auto, cpu, cuda, cuda:1, mps …
        threads: CPU threads for training; 0 uses PyTorch's default. Results are the same to the bit only with the same number.
        review: ask holds every update until a person has reviewed it; auto publishes it.
        share_dataset: Whether aggregate facts of the data (Table 1, Fig. 3, Fig. 4) may be published.
        share_models: Whether this site's best models may be published for evaluation at the other sites.
        tester: Whether all patients of this site are test patients: it does not train, and evaluates the others' models.
        declared_patients: About how many training patients this site has, where the plan promises privacy: a public number.
        host_key: SFTP: fingerprint of the server's host key; if empty, the known_hosts files decide.
        ssh_key: SFTP: the private key to log in with, a path relative to the workspace; empty uses ~/.ssh/config and an agent.
        endpoint: Object stores: URL of the service; empty means the provider's own.
        timeout: Seconds to wait for an answer from a remote drop folder.
        above: A region's coordinator: the workspace of the region's site in the federation above, relative to this one.
        notify: Over which channels notices leave.
    """

    role: WorkspaceRole
    name: SiteName
    drop: Annotated[str, Field(min_length=1, max_length=1000)]
    coordinator: Annotated[str, Field(pattern=rf"^{FINGERPRINT}$")]
    key: Annotated[str, Field(min_length=1, max_length=1000)] = "key"
    prepared: Annotated[str, Field(min_length=1, max_length=1000)] = "prepared"
    device: Annotated[str, Field(pattern=r"^[a-z]+(:[0-9]+)?$")] = "auto"
    threads: Annotated[int, Field(ge=0, le=4096)] = 0
    review: Review = Review.AUTO
    share_dataset: bool = False
    share_models: bool = False
    tester: bool = False
    declared_patients: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    host_key: Annotated[str, Field(pattern=rf"^({FINGERPRINT})?$")] = ""
    ssh_key: Annotated[str, Field(max_length=1000)] = ""
    endpoint: Annotated[str, Field(max_length=1000)] = ""
    timeout: Annotated[int, Field(ge=1, le=3600)] = 60
    above: Annotated[str, Field(max_length=1000)] = ""
    notify: NoticeSettings = Field(default_factory=NoticeSettings)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Approval:
    """The plan that the site's operator agreed to, and its digest."""

    digest: Digest
    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Rotation:
    """The key that takes over once the federation lists it: its file, relative to the workspace, and its public half."""

    key: Annotated[str, Field(min_length=1, max_length=1000)]
    public_key: Annotated[str, Field(min_length=1, max_length=200)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ReEnrolment:
    """The key that a site has enrolled after it lost the one before; until the federation lists it, it lists another."""

    public_key: Annotated[str, Field(min_length=1, max_length=200)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ConfirmedRecovery:
    """The record by which the recovery key has replaced the coordinator's key, which the site's operator has confirmed."""

    record: Digest


class Workspace:
    """An existing workspace.

    Attributes:
        root: The folder.
        settings: What workspace.toml says.
    """

    def __init__(self, root: Path, settings: Settings) -> None:
        self.root = root
        self.settings = settings

    @classmethod
    def open(cls, root: Path, role: WorkspaceRole | None = None) -> Workspace:
        """Read a workspace.

        Raises:
            ConfigurationError: It is not a workspace, its settings are wrong, or it belongs to the other role.
        """
        if not (root / SETTINGS).is_file():
            msg = f"{root.resolve()}: not a workspace, {SETTINGS} is missing"
            raise ConfigurationError(msg, hint="go to the workspace or name it with -C; fedcli init or fedcli join creates one")
        settings = toml_file.load(Settings, root / SETTINGS, hint="`fedcli docs workspace` explains every key")
        if role is not None and settings.role is not role:
            msg = f"{root.resolve()}: the workspace of a {settings.role}, expected that of a {role}"
            raise ConfigurationError(msg, hint="name the right workspace with -C")
        return cls(root, settings)

    @classmethod
    def create(cls, root: Path, settings: Settings) -> Workspace:
        """Write the settings of a new workspace, without notices; an existing one with otherwise the same settings is kept.

        Raises:
            ConfigurationError: The folder holds another workspace.
        """
        if (root / SETTINGS).exists():
            existing = cls.open(root)
            if replace(existing.settings, notify=settings.notify) != settings:
                msg = f"{root.resolve()}: already holds the workspace of {existing.settings.name} at {existing.settings.drop}"
                raise ConfigurationError(msg, hint="use another folder, or edit its workspace.toml")
            return existing
        root.mkdir(parents=True, exist_ok=True)
        root.chmod(0o700)  # whatever the umask, and also for a folder that was there
        write_whole(root / SETTINGS, _settings_text(settings).encode())
        return cls(root, replace(settings, notify=NoticeSettings()))

    def path(self, *parts: str) -> Path:
        """Return a path in the workspace."""
        return self.root.joinpath(*parts)

    @property
    def key_path(self) -> Path:
        """The signing key."""
        return self.root / Path(self.settings.key).expanduser()

    @property
    def rotation(self) -> Rotation | None:
        """The key that takes over, if a rotation has begun."""
        return self.load(Rotation, ROTATION)

    def finish_rotation(self) -> Workspace:
        """Name the key that takes over in workspace.toml, whose other lines do not change."""
        rotation = self.rotation
        if rotation is None:
            return self
        line = f"key = {_toml(rotation.key)}"
        text, replaced = re.subn(r"(?m)^key\s*=.*$", lambda _: line, (self.root / SETTINGS).read_text(encoding="utf-8"))
        write_whole(self.root / SETTINGS, (text if replaced else f"{line}\n{text}").encode())
        self.path(ROTATION).unlink()
        return Workspace.open(self.root)

    @property
    def above_path(self) -> Path | None:
        """A region's workspace in the federation above; None if this is no region's."""
        return self.root / Path(self.settings.above).expanduser() if self.settings.above else None

    @property
    def prepared_path(self) -> Path:
        """The prepared data."""
        return self.root / Path(self.settings.prepared).expanduser()

    @property
    def drop_address(self) -> str:
        """The drop folder; a relative path is relative to the workspace."""
        drop = self.settings.drop
        return drop if "://" in drop else str(self.root / Path(drop).expanduser())

    def parts_that_may_be_empty(self, plan: Plan) -> tuple[Part, ...]:
        """Return the parts that may have no patients here: those that the plan names, at a tester all but the test part."""
        return (Part.TRAIN, Part.VALIDATION) if self.settings.tester else plan.allow_empty

    @property
    def secret(self) -> bytes:
        """The secret that keys patients' hashes, created the first time."""
        return read_secret(self.root / "secret")

    @property
    def approval(self) -> Approval | None:
        """The approved plan, if there is one."""
        return self.load(Approval, "approval.json")

    @property
    def approval_ahead(self) -> Approval | None:
        """The plan that is approved before it is in force, if there is one."""
        return self.load(Approval, _AHEAD)

    @property
    def approved_digests(self) -> frozenset[str]:
        """The digests of the approved plans."""
        return frozenset(item.digest for item in (self.approval, self.approval_ahead) if item is not None)

    def approves(self, plan: Plan) -> bool:
        """Tell whether the operator has approved a plan, or the same plan with fewer rounds."""
        approval = self.approval
        if approval is None or plan.rounds > approval.plan.rounds:
            return plan.digest in self.approved_digests
        return plan.digest in self.approved_digests | {replace(approval.plan, rounds=plan.rounds).digest}

    def approve(self, plan: Plan, *, ahead: bool = False) -> None:
        """Remember that the operator agreed to a plan: to the one in force, or ahead to one that is in force later."""
        self.save(_AHEAD if ahead else "approval.json", Approval(digest=plan.digest, plan=plan))
        if not ahead and (coming := self.approval_ahead) is not None and coming.digest == plan.digest:
            self.path(_AHEAD).unlink()

    def load(self, kind: type[T], name: str) -> T | None:
        """Read a JSON file of the workspace; None if it is missing."""
        path = self.root / name
        if not path.is_file():
            return None
        try:
            return wire.decode(kind, path.read_bytes())
        except wire.MalformedError as error:
            msg = f"{path}: {error}"
            raise ConfigurationError(msg) from error

    def save(self, name: str, value: object) -> None:
        """Write a JSON file of the workspace, whole or not at all."""
        write_whole(self.root / name, wire.encode(value))


def _settings_text(settings: Settings) -> str:
    lines = ["# Settings of this fedcli workspace; `fedcli docs workspace` explains every key."]
    lines += [f"{key} = {_toml(value)}" for key, value in wire.plain(settings).items() if key != "notify"]
    return "\n".join(lines) + "\n"


def _toml(value: str | int) -> str:
    if not isinstance(value, str):
        return str(value).lower()
    return '"' + re.sub(r'[\x00-\x1f\x7f"\\]', lambda match: f"\\u{ord(match[0]):04x}", value) + '"'
