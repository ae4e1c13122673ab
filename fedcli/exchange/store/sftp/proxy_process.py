"""The program through which ~/.ssh/config reaches a server: its `ProxyCommand`, or OpenSSH's `ssh -W` for its `ProxyJump`."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.errors import ConfigurationError
from fedcli.text.visible_text import visible

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PLAIN = re.compile(r"[A-Za-z0-9_.:%@+-]*")
_REPORTED = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """How a server is reached.

    Attributes:
        setting: The line of ~/.ssh/config.
        command: The program and its arguments.
    """

    setting: str
    command: tuple[str, ...]

    @classmethod
    def of(cls, config: Mapping[str, str], path: Path, port: int, user: str) -> Proxy | None:
        """Return what a configuration says about a host; None if it is reached directly.

        OpenSSH itself makes such a command of a `ProxyJump`; the way there has the keys and settings that ssh gives it.

        Args:
            config: As paramiko has looked it up.
            path: The file that it was read from.
            port: The server's port.
            user: The account there.

        Raises:
            ConfigurationError: There is no ssh program, or the host's or the user's name could mean something to a shell.
        """
        host, jump, command = config["hostname"], config.get("proxyjump", "none"), config.get("proxycommand", "none")
        if jump.lower() == command.lower() == "none":
            return None
        if _PLAIN.fullmatch(host) is None or _PLAIN.fullmatch(user) is None or host.startswith("-"):
            msg = f"{user}@{host}: reached by ProxyJump or ProxyCommand, which could take these names for something else"
            raise ConfigurationError(msg, hint=f"give the host another name in {path}, with HostName and User")
        if jump.lower() == "none":
            return cls(setting=f"ProxyCommand {command}", command=("/bin/sh", "-c", f"exec {command}"))
        if shutil.which("ssh") is None:
            msg = f"{path}: {host} is reached by ProxyJump, for which there is no ssh program on this machine"
            raise ConfigurationError(msg, hint="install OpenSSH's client")
        *before, last = (hop if "://" in hop else f"ssh://{hop}" for hop in jump.replace(" ", "").split(","))
        hops = ("-J", ",".join(before)) if before else ()
        options = ("-F", str(path), "-o", "BatchMode=yes", *hops, "-W", f"[{host}]:{port}")
        return cls(setting=f"ProxyJump {jump}", command=("ssh", *options, "--", last))


class ProxyProcess:
    """That program at work.

    Attributes:
        socket: What the program carries to the server and back.
    """

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - until `close`
        self.socket, theirs = socket.socketpair()
        with theirs:  # in a session of its own: Ctrl-C does not end it before what is under way ends
            self._process = subprocess.Popen(
                proxy.command, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=self._errors, start_new_session=True
            )

    def explanation(self) -> str:
        """Return which line of the configuration this is, and what the program has said last."""
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - _REPORTED))
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return f"; reached by `{self._proxy.setting}` of ~/.ssh/config" + (f", which says: {visible(lines[-1])}" if lines else "")

    def close(self) -> None:
        """End the program, and what it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait()
        self._errors.close()
