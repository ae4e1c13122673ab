"""Command lines as a reader types them; what only the reader can fill in is in capitals."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from fedcli.exchange.store import StoreOptions
    from fedcli.party.source import Source

WORKSPACE = "WORKSPACE"
"""The workspace of another party."""
FINGERPRINT = "FINGERPRINT"
"""The coordinator's, which the reader knows from the coordinator."""


def party_command(workspace: Path | str, verb: str, *words: str) -> str:
    """Return a command that a party runs in its workspace, which is not named if it is the current folder."""
    where = () if str(workspace) == "." else ("-C", str(workspace))
    return shlex.join(["fedcli", verb, *where, *words])


def reading_command(source: Source, verb: str, *words: str) -> str:
    """Return a command that needs only the drop folder, which the reader has named by a workspace or by its address."""
    if source.workspace is not None:
        return party_command(source.workspace, verb, *words)
    key = source.coordinator or FINGERPRINT
    return shlex.join(["fedcli", verb, source.address, *words, *store_words(source.options), "--coordinator-key", key])


def join_command(source: Source) -> str:
    """Return how a site joins; on a server it has an account and a login key of its own."""
    address = source.address
    if user := urlsplit(address).username:
        address = address.replace(f"//{user}@", "//ACCOUNT@", 1)
    options = source.options
    if options.ssh_key is not None:
        options = replace(options, ssh_key=Path("LOGIN_KEY"))
    key = source.coordinator or FINGERPRINT
    words = ["--drop", address, *store_words(options), "--coordinator-key", key]
    return shlex.join(["fedcli", "join", "SITE", "-C", WORKSPACE, *words])


def store_words(options: StoreOptions) -> list[str]:
    """Return the options that say how a drop folder is reached."""
    named = {"--host-key": options.host_key, "--ssh-key": options.ssh_key, "--endpoint": options.endpoint}
    return [word for option, value in named.items() if value for word in (option, str(value))]
