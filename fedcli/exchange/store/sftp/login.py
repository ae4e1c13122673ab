"""Where an SSH connection goes and as whom: the address, completed by ~/.ssh/config."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import paramiko

from fedcli.errors import ConfigurationError

_KNOWN_HOSTS = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2", "/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
_INDIRECT = ("proxycommand", "proxyjump")


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
    """

    host: str
    port: int
    user: str
    keys: tuple[Path, ...]
    discover: bool
    known_hosts: tuple[Path, ...]

    @classmethod
    def of(cls, host: str, port: int | None, user: str, ssh_key: Path | None) -> Login:
        """Fill in what ~/.ssh/config says.

        Raises:
            ConfigurationError: The key is missing, or the configuration asks for what is not supported.
        """
        path = Path("~/.ssh/config").expanduser()
        try:
            found = (paramiko.SSHConfig.from_path(str(path)) if path.is_file() else paramiko.SSHConfig()).lookup(host)
        except (OSError, paramiko.ConfigParseError) as error:
            msg = f"{path}: cannot be read: {error}"
            raise ConfigurationError(msg) from error
        if indirect := [name for name in _INDIRECT if found.get(name, "none").lower() != "none"]:
            msg = f"{path}: {host} is reached by {indirect[0]}, which fedcli does not support"
            raise ConfigurationError(msg, hint="open a tunnel with ssh -L and use its local port, or mount the folder with sshfs")
        if ssh_key is not None and not ssh_key.is_file():
            msg = f"{ssh_key}: there is no such private key"
            raise ConfigurationError(msg, hint="ssh_key in workspace.toml names the private key of the SFTP account")
        named = tuple(Path(name).expanduser() for name in found.get("identityfile", ()))
        known = found.get("userknownhostsfile", "").split() + found.get("globalknownhostsfile", "").split()
        return cls(
            host=found["hostname"],
            port=port or int(found.get("port", paramiko.config.SSH_PORT)),
            user=user or found.get("user", ""),
            keys=(ssh_key,) if ssh_key is not None else tuple(key for key in named if key.is_file()),
            discover=ssh_key is None and found.get("identitiesonly", "no").lower() != "yes",
            known_hosts=tuple(Path(name).expanduser() for name in known or _KNOWN_HOSTS),
        )
