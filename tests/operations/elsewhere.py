"""Drop folders on real servers: a federation whose local drop folder is moved to one goes on there."""

from __future__ import annotations

import re
import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from fedcli.exchange import layout
from fedcli.exchange.store import open_store
from fedcli.party.party import store_settings
from tests.exchange.servers import BUCKET

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from fedcli.exchange.store import Store, StoreOptions
    from tests.exchange.servers import S3, Sshd


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """A place for a drop folder, where one account writes everything.

    Attributes:
        address: Of the place.
        options: How it is reached.
        environment: Variables with credentials, where it is on a server.
    """

    address: str
    options: StoreOptions
    environment: Mapping[str, str] | None

    @contextmanager
    def acting(self) -> Iterator[None]:
        """Have the credentials in the environment."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in (self.environment or {}).items():
                patch.setenv(name, value)
            yield

    def store(self) -> Store:
        with self.acting():
            return open_store(self.address, self.options)

    def take_over(self, drop: Path, workspaces: Iterable[Path]) -> None:
        """Copy a local drop folder here, and let workspaces work here from now on."""
        store = self.store()
        for path in sorted(path for path in drop.rglob("*") if path.is_file()):
            key = path.relative_to(drop).as_posix()
            if layout.is_artifact(key):
                store.put_artifact(key, path)
            else:
                store.publish(key, path.read_bytes())
        for workspace in workspaces:
            file = workspace / "workspace.toml"
            text = file.read_text()
            for name, value in (store_settings(self.options) | {"drop": self.address}).items():
                line = f"{name} = {value}" if isinstance(value, int) else f'{name} = "{value}"'
                text, found = re.subn(rf"(?m)^{name} = .*$", line, text)
                assert found == 1
            file.write_text(text)


def on_sftp(sshd: Sshd) -> Elsewhere:
    return Elsewhere(address=sshd.address("north", sshd.folder("north")), options=sshd.options("north"), environment={})


def on_s3(s3: S3) -> Elsewhere:
    """The environment names the service, so that a process may put something in between."""
    address = f"s3://{BUCKET}/sites/north/{secrets.token_hex(6)}"
    environment = {**s3.environment("north"), "AWS_ENDPOINT_URL": s3.endpoint}
    return Elsewhere(address=address, options=s3.options(endpoint=""), environment=environment)
