"""A party's private folder: its settings, its key, what it trusts and what it keeps.

workspace.toml    settings that the operator may edit (`Settings`)
key, key.pub      the signing key, unless `key` names another
secret            32 bytes that key the hashes of patients and studies; mode 0600
approval.json     the plan that the operator approved
trusted/          copies of the verified records of the drop folder: what this party remembers
outbox/           what is about to be published
state/            what the rounds leave here: best model, optimizer state
models/           this party's own models: local, finetuned
scores/           test scores already computed
cache/            private, hashed copies of artifacts
fedcli.log        events
lock              held by the command at work; the system frees it when the command dies
"""

from __future__ import annotations

import os
import re
import secrets
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

from filelock import FileLock, Timeout
from pydantic import Field
from pydantic.dataclasses import dataclass

from fedcli import toml_file, wire
from fedcli.errors import ConfigurationError, FedcliError
from fedcli.plan import Plan
from fedcli.wire import STRICT, Digest, SiteName

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

T = TypeVar("T")

SETTINGS = "workspace.toml"
SECRET_BYTES = 32


class BusyError(FedcliError):
    """Another command of the same party is at work; not a failure."""

    exit_code = 0


class WorkspaceRole(StrEnum):
    """Whose workspace it is."""

    COORDINATOR = "coordinator"
    SITE = "site"


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
        threads: CPU threads for training; 0 takes what PyTorch takes. Results are the same bits only for the same number.
        share_dataset: Whether aggregate facts of the data (Table 1, Fig. 3, Fig. 4) may be published.
        share_models: Whether this site's best models may be published for evaluation at the other sites.
    """

    role: WorkspaceRole
    name: SiteName
    drop: Annotated[str, Field(min_length=1, max_length=1000)]
    coordinator: Annotated[str, Field(pattern=r"^SHA256:[A-Za-z0-9+/]{43}$")]
    key: Annotated[str, Field(min_length=1, max_length=1000)] = "key"
    prepared: Annotated[str, Field(min_length=1, max_length=1000)] = "prepared"
    device: Annotated[str, Field(pattern=r"^[a-z]+(:[0-9]+)?$")] = "auto"
    threads: Annotated[int, Field(ge=0, le=4096)] = 0
    share_dataset: bool = False
    share_models: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Approval:
    """The plan that the site's operator agreed to, and its digest."""

    digest: Digest
    plan: Plan


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
            ConfigurationError: It is none, its settings are wrong, or it belongs to the other role.
        """
        if not (root / SETTINGS).is_file():
            msg = f"{root.resolve()}: not a workspace, {SETTINGS} is missing"
            raise ConfigurationError(msg, hint="go to the workspace or name it with -C; fedcli init or fedcli join makes one")
        settings = toml_file.load(Settings, root / SETTINGS, hint="docs/workspace.md explains every key")
        if role is not None and settings.role is not role:
            msg = f"{root.resolve()}: the workspace of a {settings.role}, expected that of a {role}"
            raise ConfigurationError(msg, hint="name the right workspace with -C")
        return cls(root, settings)

    @classmethod
    def create(cls, root: Path, settings: Settings) -> Workspace:
        """Write the settings of a new workspace; an existing one with the same settings is kept.

        Raises:
            ConfigurationError: Another workspace is there.
        """
        if (root / SETTINGS).exists():
            found = cls.open(root)
            if found.settings != settings:
                msg = f"{root.resolve()}: holds the workspace of {found.settings.name} at {found.settings.drop} already"
                raise ConfigurationError(msg, hint="use another folder, or edit its workspace.toml")
            return found
        root.mkdir(parents=True, exist_ok=True)
        write_whole(root / SETTINGS, _settings_text(settings).encode())
        return cls(root, settings)

    def path(self, *parts: str) -> Path:
        """Return a path in the workspace."""
        return self.root.joinpath(*parts)

    @property
    def key_path(self) -> Path:
        """The signing key."""
        return self.root / Path(self.settings.key).expanduser()

    @property
    def prepared_path(self) -> Path:
        """The prepared data."""
        return self.root / Path(self.settings.prepared).expanduser()

    @property
    def drop_address(self) -> str:
        """The drop folder; a relative path is relative to the workspace."""
        drop = self.settings.drop
        return drop if "://" in drop else str(self.root / Path(drop).expanduser())

    @property
    def secret(self) -> bytes:
        """The secret that keys patients' hashes, made when first asked for."""
        return read_secret(self.root / "secret")

    @property
    def approval(self) -> Approval | None:
        """The approved plan, if there is one."""
        return self.load(Approval, "approval.json")

    def approve(self, plan: Plan) -> None:
        """Remember that the operator agreed to a plan."""
        self.save("approval.json", Approval(digest=plan.digest, plan=plan))

    def load(self, kind: type[T], name: str) -> T | None:
        """Read a JSON file of the workspace; None where it is not there."""
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

    def locked(self) -> AbstractContextManager[None]:
        """Hold the workspace for one command; see `locked`."""
        return locked(self.root)


def locked(root: Path) -> AbstractContextManager[None]:
    """Hold a workspace for one command; the folder is made if it is missing.

    Raises:
        BusyError: Another command holds it.
    """
    return exclusive(root / "lock")


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Hold a lock file, whose folder is made if it is missing; the system frees it when the process dies.

    Raises:
        BusyError: Another process holds it.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=0):
            yield
    except Timeout as error:
        msg = f"another fedcli command is at work in {lock.parent.resolve()}"
        raise BusyError(msg) from error


def read_secret(path: Path) -> bytes:
    """Return the secret in a file, creating it with mode 0600 when it is first asked for."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, secrets.token_bytes(SECRET_BYTES), mode=0o600)
    secret = path.read_bytes()
    if len(secret) != SECRET_BYTES:
        msg = f"{path}: {len(secret)} bytes, expected {SECRET_BYTES}"
        raise ConfigurationError(msg, hint="restore it from a backup; without it hashes of patients cannot be made again")
    return secret


def write_whole(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a file so that it is whole or not there: a temporary one beside it, flushed, renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _settings_text(settings: Settings) -> str:
    lines = ["# Settings of this fedcli workspace; docs/workspace.md explains every key."]
    for key, value in wire.plain(settings).items():
        lines.append(f"{key} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def _toml(value: str | int) -> str:
    if not isinstance(value, str):
        return str(value).lower()
    return '"' + re.sub(r'[\x00-\x1f\x7f"\\]', lambda found: f"\\u{ord(found[0]):04x}", value) + '"'
