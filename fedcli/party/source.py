"""A drop folder as a command names it: by its address, or by a workspace that knows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedcli.errors import StoreError
from fedcli.exchange.store import LocalStore, StoreOptions, open_store
from fedcli.party.folder import Folder
from fedcli.party.own_keys import keyring_of
from fedcli.privacy.keyring import Keyring
from fedcli.workspace import SETTINGS, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedcli.exchange.store import Store
    from fedcli.party.memory.trusted_records import TrustedRecords
    from fedcli.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A drop folder, how it is reached, and whose it is.

    Attributes:
        address: A path or URL.
        coordinator: Fingerprint of the coordinator's first key; None confirms none.
        options: How it is reached.
        workspace: The workspace that names it; None if the address was given.
        identity: A private key that opens what is sealed; None takes the workspace's keys.
    """

    address: str
    coordinator: str | None = None
    options: StoreOptions = field(default_factory=StoreOptions)
    workspace: Path | None = None
    identity: Path | None = None

    @classmethod
    def of_workspace(cls, workspace: Workspace, *, coordinator: str | None = None) -> Source:
        """Return a workspace's drop folder, with the coordinator's key that is pinned there unless another is given."""
        settings = workspace.settings
        options = StoreOptions(
            host_key=settings.host_key,
            ssh_key=workspace.root / Path(settings.ssh_key).expanduser() if settings.ssh_key else None,
            endpoint=settings.endpoint,
            timeout=settings.timeout,
        )
        return cls(
            address=workspace.drop_address,
            coordinator=coordinator or settings.coordinator,
            options=options,
            workspace=workspace.root,
        )

    def open(self, progress: Progress | None = None) -> Store:
        """Return the store.

        Raises:
            StoreError: It cannot be reached.
        """
        store = open_store(self.address, self.options, progress)
        if self.workspace is not None and isinstance(store, LocalStore) and not Path(store.address).is_dir():
            msg = f"{store.address}: the drop folder is not there"
            named = f"`drop` in {self.workspace / SETTINGS}"
            hint = f"check that the share is mounted; if the folder or the workspace was moved, correct {named}"
            raise StoreError(msg, hint=f"{hint}; a relative path begins at the workspace")
        return store

    def keyring(self, passphrase: Callable[[], str]) -> Keyring | None:
        """Return the keys with which what is sealed can be opened; None where there are none.

        Raises:
            ConfigurationError: A key cannot be read.
        """
        if self.identity is not None:
            return Keyring.of_file(self.identity, passphrase)
        return keyring_of(Workspace.open(self.workspace), passphrase) if self.workspace is not None else None

    def folder(self, cache: Path, memory: TrustedRecords | None = None, keyring: Keyring | None = None) -> Folder:
        """Return the drop folder with nothing trusted yet; see `Folder` for the arguments."""
        return Folder(self.open(), coordinator=self.coordinator, cache=cache, memory=memory, keyring=keyring)


def store_settings(options: StoreOptions) -> dict[str, Any]:
    """Return the settings of a new workspace that say how its drop folder is reached."""
    key = "" if options.ssh_key is None else str(options.ssh_key)
    return {"host_key": options.host_key, "ssh_key": key, "endpoint": options.endpoint, "timeout": options.timeout}
