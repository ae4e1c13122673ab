"""A drop folder as a command names it: by its address, or by a workspace that knows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedcli.exchange.store import StoreOptions, open_store
from fedcli.party.folder import Folder

if TYPE_CHECKING:
    from fedcli.exchange.store import Store
    from fedcli.progress import Progress
    from fedcli.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A drop folder, how it is reached, and whose it is.

    Attributes:
        address: A path or URL.
        coordinator: Fingerprint of the coordinator's first key; None confirms none.
        options: How it is reached.
        workspace: The workspace that names it; None if the address was given.
    """

    address: str
    coordinator: str | None = None
    options: StoreOptions = field(default_factory=StoreOptions)
    workspace: Path | None = None

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
        return open_store(self.address, self.options, progress)

    def folder(self, cache: Path, memory: Store | None = None) -> Folder:
        """Return the drop folder with nothing trusted yet; see `Folder` for the arguments."""
        return Folder(self.open(), coordinator=self.coordinator, cache=cache, memory=memory)


def store_settings(options: StoreOptions) -> dict[str, Any]:
    """Return the settings of a new workspace that say how its drop folder is reached."""
    key = "" if options.ssh_key is None else str(options.ssh_key)
    return {"host_key": options.host_key, "ssh_key": key, "endpoint": options.endpoint, "timeout": options.timeout}
