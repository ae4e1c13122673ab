"""An SSH connection for SFTP: how it is opened, how long it waits, and when it is lost."""

from __future__ import annotations

import errno
import re
import socket
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import paramiko

from fedcli.errors import StoreError
from fedcli.exchange.store.sftp.channel_buffer import ChannelBuffer
from fedcli.exchange.store.sftp.login import HostKeyError, client_that_trusts
from fedcli.exchange.store.sftp.proxy_process import ProxyProcess
from fedcli.exchange.store.sftp.requests import WINDOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fedcli.exchange.store.base import StoreOptions
    from fedcli.exchange.store.sftp.login import Login

LOSSES = (paramiko.SSHException, EOFError, ConnectionError)
"""What paramiko raises when the connection is lost."""
FAILURES = (*LOSSES, paramiko.SFTPError, OSError)
"""What paramiko raises: that, and the server's answers."""

_KEEP_ALIVE_SECONDS = 30
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")
_LARGE_REQUESTS = re.compile(r"SSH-2\.0-OpenSSH_(9|[1-9][0-9])")


class TimedSocket:
    """A TCP socket that gives up: while somebody waits, some seconds without a byte from the peer end the connection.

    SSH acknowledges whatever is sent, so a peer that is silent for so long is gone, even if the system does not know it yet.
    paramiko polls `recv` ten times a second, so that the time-out needs no thread of its own.

    Attributes:
        gave_up: Whether that has happened.
    """

    def __init__(self, connected: socket.socket, patience: float) -> None:
        self._socket = connected
        self._patience = patience
        self._heard: float | None = None
        self.gave_up = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def recv(self, size: int) -> bytes:
        """Receive; see `socket.recv`."""
        try:
            data = self._socket.recv(size)
        except TimeoutError:
            if self._heard is not None and time.monotonic() - self._heard > self._patience:
                self.gave_up = True
                raise ConnectionAbortedError(errno.ECONNABORTED, "no answer") from None
            raise
        if self._heard is not None:
            self._heard = time.monotonic()
        return data

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the seconds of silence from now on."""
        self._heard = time.monotonic()
        try:
            yield
        finally:
            self._heard = None


class Session:
    """A live SFTP session.

    Attributes:
        sftp: paramiko's client.
    """

    def __init__(self, address: str, login: Login, options: StoreOptions) -> None:
        """Connect and log in.

        Raises:
            StoreError: The server cannot be reached, is not the one that is trusted, or refuses the account.
        """
        self._timeout = options.timeout
        self._client = client_that_trusts(options.host_key, login.known_hosts)
        self._proxy: ProxyProcess | None = None
        try:
            self._socket = TimedSocket(self._connected(login), options.timeout)
        except OSError as error:
            msg = f"{address}: {login.host} port {login.port} cannot be reached: {error.strerror or error}"
            raise StoreError(msg, hint="check the address, the network and the firewall") from error
        try:
            with self._socket.waiting():
                self._log_in(login)
        except (paramiko.SSHException, EOFError, OSError) as error:
            detour = self._proxy.explanation() if self._proxy is not None else ""
            self.close()
            raise _refusal(address, login, options, error, gave_up=self._socket.gave_up, detour=detour) from error
        except BaseException:
            self.close()
            raise

    def _connected(self, login: Login) -> socket.socket:
        if login.proxy is not None:
            self._proxy = ProxyProcess(login.proxy)
            self._proxy.socket.settimeout(self._timeout)
            return self._proxy.socket
        connected = socket.create_connection((login.host, login.port), self._timeout)
        # A request is small; Nagle's algorithm would hold it back until the one before it is acknowledged.
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connected

    def _log_in(self, login: Login) -> None:
        self._client.connect(
            login.host,
            login.port,
            login.user or None,
            sock=self._socket,
            key_filename=[str(key) for key in login.keys],
            allow_agent=login.discover,
            look_for_keys=login.discover,
            timeout=self._timeout,
            banner_timeout=self._timeout,
            auth_timeout=self._timeout,
            channel_timeout=self._timeout,
            transport_factory=_transport,
        )
        self._transport = transport = self._client.get_transport()
        transport.set_keepalive(_KEEP_ALIVE_SECONDS)
        large = _LARGE_REQUESTS.match(transport.remote_version) is not None
        self._request = 254 << 10 if large else 32 << 10  # more than 32 KiB is more than the protocol promises
        self.sftp = paramiko.SFTPClient.from_transport(transport, window_size=WINDOW, max_packet_size=256 << 10)
        channel = self.sftp.get_channel()
        channel.in_buffer = ChannelBuffer()  # nothing is under way now
        channel.settimeout(self._timeout + 3)  # for a server that sends, but does not answer

    @property
    def alive(self) -> bool:
        """Whether the connection exists; if it does, an error was the server's answer."""
        return bool(self._transport.is_active() and not self.sftp.get_channel().closed)

    @property
    def gave_up(self) -> bool:
        """Whether the server was silent for too long."""
        return self._socket.gave_up

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Expect answers within the time-out."""
        with self._socket.waiting():
            yield

    @contextmanager
    def open(self, path: str, mode: str) -> Iterator[paramiko.SFTPFile]:
        """Open a file; after silence it is not closed, which would be a second wait."""
        file = self.sftp.open(path, mode)
        file.MAX_REQUEST_SIZE = self._request
        try:
            yield file
        except TimeoutError:
            self.close()
            raise
        except BaseException:
            file.close()
            raise
        file.close()

    def drop(self) -> None:
        """End the connection at once, from whichever thread: it waits for nothing, and paramiko's thread ends by itself."""
        with suppress(OSError):  # it has ended before
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the connection without asking the server."""
        self._socket.close()
        self._client.close()
        if self._proxy is not None:
            self._proxy.close()


def _transport(sock: TimedSocket, **options: Any) -> paramiko.Transport:
    transport = paramiko.Transport(sock, **options)
    transport.get_security_options().ciphers = _CIPHERS
    return transport


def _refusal(address: str, login: Login, options: StoreOptions, error: Exception, *, gave_up: bool, detour: str) -> StoreError:
    """Explain why there is no session."""
    what, hint = f"no SFTP session: {error or 'the connection was lost'}", "try again later"
    if isinstance(error, paramiko.BadHostKeyException):
        what = f"its host key is {error.key.fingerprint}, expected {error.expected_key.fingerprint}, as a known_hosts file says"
        hint = "somebody may be intercepting the connection: ask the server's operator before you trust the new key"
    elif isinstance(error, HostKeyError):
        what = f"the host is not trusted: {error}"
        hint = "ask the server's operator for the fingerprint of the host key, then set host_key in workspace.toml"
    elif gave_up or isinstance(error, TimeoutError):
        what, hint = f"no answer for {options.timeout} s", "try again later; a slow link needs a longer timeout in workspace.toml"
    elif "transport shut down" in str(error):  # paramiko reports a cut while logging in as a refusal
        what = "the connection was lost while logging in"
    elif isinstance(error, paramiko.PasswordRequiredException):
        what, hint = "the private key is encrypted", "add it to an agent with ssh-add"
    elif isinstance(error, paramiko.AuthenticationException) or "No authentication methods" in str(error):
        tried = ", ".join(map(str, login.keys)) or "an agent and the usual files"
        what = f"the account {login.user or 'of the local user'} was refused; tried {tried}"
        hint = "check the user in the address, and that the server's operator has this public key"
    return StoreError(f"{address}: {login.host} port {login.port}: {what}{detour}", hint=hint)
