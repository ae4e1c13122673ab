"""Where an SSH connection goes, as whom, and which host keys it trusts: the address, completed by ~/.ssh/config.

The server's host key is always checked, against a pinned fingerprint or the known_hosts files; no unknown key is ever accepted.
Logging in takes a key from a file, an agent or ~/.ssh/config, never a password.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path

import paramiko
from paramiko.hostkeys import InvalidHostKey

from fedcli.errors import ConfigurationError
from fedcli.exchange.store.sftp.proxy_process import Proxy

_KNOWN_HOSTS = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2", "/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Where to connect, and as whom.

    Attributes:
        host: The server's name or address.
        port: Its port.
        user: The account; empty is the local user's name.
        keys: Private keys to try, in order.
        discover: Whether to try an agent and the usual files too.
        known_hosts: Files of trusted host keys.
        proxy: The program through which the server is reached; None connects directly.
    """

    host: str
    port: int
    user: str
    keys: tuple[Path, ...]
    discover: bool
    known_hosts: tuple[Path, ...]
    proxy: Proxy | None

    @classmethod
    def of(cls, host: str, port: int | None, user: str, ssh_key: Path | None) -> Login:
        """Complete an address by what ~/.ssh/config says.

        Raises:
            ConfigurationError: The key is missing, or the configuration cannot be read or used.
        """
        path = Path("~/.ssh/config").expanduser()
        given = [f"Port {port}"] * (port is not None) + [f"User {user}"] * (re.fullmatch(r"[\w.@+-]+", user) is not None)
        try:
            text = path.read_text(encoding="utf-8") if path.is_file() else ""
            # What comes first counts, also where a ProxyCommand contains %p or %r.
            config = paramiko.SSHConfig.from_text("\n".join(["Host *", *given, text])).lookup(host)
        except (OSError, UnicodeDecodeError, paramiko.ConfigParseError) as error:
            msg = f"{path}: cannot be read: {error}"
            raise ConfigurationError(msg) from error
        if ssh_key is not None and not ssh_key.is_file():
            msg = f"{ssh_key}: there is no such private key"
            raise ConfigurationError(msg, hint="ssh_key in workspace.toml names the private key of the SFTP account")
        named = tuple(Path(name).expanduser() for name in config.get("identityfile", ()))
        known = config.get("userknownhostsfile", "").split() + config.get("globalknownhostsfile", "").split()
        port = port or int(config.get("port", paramiko.config.SSH_PORT))
        user = user or config.get("user", "")
        return cls(
            host=config["hostname"],
            port=port,
            user=user,
            keys=(ssh_key,) if ssh_key is not None else tuple(key for key in named if key.is_file()),
            discover=ssh_key is None and config.get("identitiesonly", "no").lower() != "yes",
            known_hosts=tuple(Path(name).expanduser() for name in known or _KNOWN_HOSTS),
            proxy=Proxy.of(config, path, port, user),
        )


class HostKeyError(paramiko.SSHException):  # type: ignore[misc]  # paramiko has no types
    """The server's key is not known; raised through paramiko."""


class _Pinned:
    """Accepts the host key with one fingerprint, whatever known_hosts says."""

    def __init__(self, fingerprint: str) -> None:
        self._fingerprint = fingerprint

    def missing_host_key(self, _client: object, _host: str, key: paramiko.PKey) -> None:
        """Decide on a key; called for every one, since no known_hosts file was loaded."""
        if key.fingerprint != self._fingerprint:
            msg = f"its {key.get_name()} key is {key.fingerprint}, expected {self._fingerprint}, as pinned"
            raise HostKeyError(msg)


class _Known:
    """Refuses every host that no known_hosts file names."""

    def missing_host_key(self, _client: object, host: str, key: paramiko.PKey) -> None:
        """Refuse a key."""
        msg = f"no known_hosts file names {host}; its {key.get_name()} key is {key.fingerprint}"
        raise HostKeyError(msg)


def client_that_trusts(host_key: str, known_hosts: tuple[Path, ...]) -> paramiko.SSHClient:
    """Return a client that connects only to a server with a trusted host key.

    Args:
        host_key: The only fingerprint that is trusted; empty takes the known_hosts files.
        known_hosts: Those files; a missing one is skipped.

    Raises:
        ConfigurationError: A known_hosts file cannot be read.
    """
    logger = logging.getLogger("paramiko")
    if not logger.hasHandlers():
        logger.addHandler(logging.NullHandler())  # its threads would print tracebacks; what matters is raised
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(_Pinned(host_key) if host_key else _Known())
    for path in () if host_key else known_hosts:
        if path.is_file():
            try:
                client.load_system_host_keys(str(path))
            except (OSError, InvalidHostKey) as error:
                msg = f"{path}: cannot be read as a known_hosts file: {error}"
                raise ConfigurationError(msg) from error
    return client
