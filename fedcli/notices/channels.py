"""The three ways by which a notice leaves: a command, mail, and a webhook."""

from __future__ import annotations

import os
import smtplib
import ssl
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from fedcli import __version__, wire
from fedcli.errors import FedcliError
from fedcli.notice_settings import SMTP_PASSWORD_VARIABLE, EmailSettings, SmtpSecurity
from fedcli.text.visible_text import visible
from fedcli.text.wording import counted

if TYPE_CHECKING:
    from fedcli.notices.notice import SentNotice
    from fedcli.workspace import Workspace

_SECRETS = "FEDCLI_KEY_PASSPHRASE", SMTP_PASSWORD_VARIABLE
"""Variables that a command is not given."""
_MOST_SAID = 300
"""Characters of what a command or a server says that are repeated."""


class ChannelError(FedcliError):
    """A notice could not be sent."""

    exit_code = 5


class Channel(Protocol):
    """A way by which notices leave."""

    @property
    def name(self) -> str:
        """Its key in [notify]."""

    def send(self, notice: SentNotice) -> str:
        """Send a notice; return what is to be said about it, such as a recipient that was refused, or an empty text.

        Raises:
            ChannelError: It could not be sent.
        """


def channels_of(workspace: Workspace) -> tuple[Channel, ...]:
    """Return the channels that a workspace's settings name."""
    chosen, root = workspace.settings.notify, workspace.root
    channels: list[Channel] = []
    if chosen.command:
        channels.append(CommandChannel(words=chosen.command, folder=root, timeout=chosen.timeout))
    if chosen.email is not None:
        channels.append(EmailChannel(settings=chosen.email, folder=root, timeout=chosen.timeout))
    if chosen.webhook:
        channels.append(WebhookChannel(url=chosen.webhook, timeout=chosen.timeout))
    return tuple(channels)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandChannel:
    """A program that reads the notice from stdin as JSON, and finds it in its environment too.

    Attributes:
        words: The program and its arguments; no shell reads them.
        folder: Where it runs.
        timeout: Seconds until it is stopped.
    """

    words: tuple[str, ...]
    folder: Path
    timeout: int
    name: str = "command"

    def send(self, notice: SentNotice) -> str:
        """Run the program; see `Channel`."""
        environment = {name: value for name, value in os.environ.items() if name not in _SECRETS}
        for name, value in wire.plain(notice).items():
            environment[f"FEDCLI_NOTICE_{name.upper()}"] = "" if value is None else str(value)
        with tempfile.TemporaryFile() as said:  # a pipe would be waited for while a child of the program holds it
            try:
                done = subprocess.run(
                    self.words,
                    cwd=self.folder,
                    env=environment,
                    input=wire.encode_line(notice),
                    stdout=subprocess.DEVNULL,
                    stderr=said,
                    timeout=self.timeout,
                    check=False,
                )
            except subprocess.TimeoutExpired as error:
                msg = f"{self.words[0]} has run for {self.timeout} s and was stopped"
                raise ChannelError(msg, hint="timeout in [notify] gives it more time") from error
            except OSError as error:
                msg = f"{self.words[0]} cannot be run: {error.strerror}"
                raise ChannelError(msg, hint="name the program with its whole path, and make it executable") from error
            if done.returncode:
                said.seek(0)
                lines = said.read(_MOST_SAID).decode(errors="replace").strip().splitlines()
                msg = f"{self.words[0]} exited with {done.returncode}" + (f": {visible(lines[0])}" if lines else "")
                raise ChannelError(msg)
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailChannel:
    """Mail through an SMTP server.

    Attributes:
        settings: Who receives it, and by which server.
        folder: The workspace, to which the password's file is relative.
        timeout: Seconds to wait for the server.
    """

    settings: EmailSettings
    folder: Path
    timeout: int
    name: str = "email"

    def send(self, notice: SentNotice) -> str:
        """Hand the mail to the server; see `Channel`."""
        chosen, port = self.settings, self.settings.port or self.settings.security.port
        password = self._password() if chosen.user else ""
        tls, place = ssl.create_default_context(), f"{chosen.host}:{port}"
        try:
            if chosen.security is SmtpSecurity.TLS:
                server: smtplib.SMTP = smtplib.SMTP_SSL(chosen.host, port, timeout=self.timeout, context=tls)
            else:
                server = smtplib.SMTP(chosen.host, port, timeout=self.timeout)
            with server:
                if chosen.security is SmtpSecurity.STARTTLS:
                    server.starttls(context=tls)
                if chosen.user:
                    server.login(chosen.user, password)
                refused = server.send_message(self._mail(notice))
        except smtplib.SMTPRecipientsRefused as error:
            msg = f"{place}: refuses {', '.join(sorted(error.recipients))}"
            raise ChannelError(msg, hint="check `to` in [notify.email]") from error
        except (OSError, smtplib.SMTPException, ValueError) as error:
            msg = f"{place}: {_said(error)}"
            raise ChannelError(msg, hint="check host, port and security in [notify.email]") from error
        return f"{place}: {counted(len(refused), 'recipient')} refused: {', '.join(sorted(refused))}" if refused else ""

    def _mail(self, notice: SentNotice) -> EmailMessage:
        chosen = self.settings
        sender = chosen.sender or chosen.to[0]
        mail = EmailMessage()
        mail["Subject"] = f"[fedcli] {notice.federation or notice.party}: {notice.kind}"
        mail["From"] = sender
        mail["To"] = ", ".join(chosen.to)
        mail["Date"] = format_datetime(notice.moment)
        mail["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
        mail["Auto-Submitted"] = "auto-generated"
        lines = [f"{notice.message[:1].upper()}{notice.message[1:]}.", ""]
        if notice.command:
            lines += ["Type:", f"    {notice.command}", ""]
        again = "This is sent once." if notice.once else "This is sent again every day while it lasts."
        where = f"Federation {notice.federation or 'unknown'}, party {notice.party}, {notice.moment:%Y-%m-%d %H:%M} UTC."
        mail.set_content("\n".join([*lines, where, again, ""]))
        return mail

    def _password(self) -> str:
        name = self.settings.password_file
        if not name:
            password = os.environ.get(SMTP_PASSWORD_VARIABLE)
            if password is None:
                msg = f"there is no password for {self.settings.user}"
                raise ChannelError(
                    msg, hint=f"name its file with password_file in [notify.email], or set {SMTP_PASSWORD_VARIABLE}"
                )
            return password
        path = self.folder / Path(name).expanduser()
        try:
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                msg = f"{path}: the password can be read by other accounts"
                raise ChannelError(msg, hint=f"chmod 600 {path}")
            return path.read_text(encoding="utf-8").partition("\n")[0]
        except (OSError, UnicodeDecodeError) as error:
            msg = f"{path}: the password cannot be read: {error}"
            raise ChannelError(msg, hint="password_file in [notify.email] names the file") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookChannel:
    """A URL to which the notice is posted as JSON. The URL may hold a secret, so no message repeats more of it than the host.

    Attributes:
        url: Where to.
        timeout: Seconds to wait for the server.
    """

    url: str
    timeout: int
    name: str = "webhook"

    def send(self, notice: SentNotice) -> str:
        """Post the notice; see `Channel`."""
        headers = {"Content-Type": "application/json", "User-Agent": f"fedcli/{__version__}"}
        host = urlsplit(self.url).hostname or "the webhook"
        try:
            request = Request(self.url, data=wire.encode_line(notice), headers=headers, method="POST")  # noqa: S310 - http(s) only
            with build_opener(_NoRedirects).open(request, timeout=self.timeout):
                return ""
        except HTTPError as error:
            error.close()
            msg = f"{host} answers {error.code}, expected 200 to 299"
            raise ChannelError(msg, hint="check `webhook` in [notify]") from error
        except (OSError, HTTPException, ValueError) as error:
            reason = error.reason if isinstance(error, URLError) and isinstance(error.reason, Exception) else error
            msg = f"{host}: {_said(reason)}"
            raise ChannelError(msg, hint="check `webhook` in [notify], and the proxies") from error


class _NoRedirects(HTTPRedirectHandler):
    """A notice goes where the settings say, or nowhere."""

    def redirect_request(self, *_: object) -> None:
        """Return no other request: the answer is an error."""


def _said(error: Exception) -> str:
    """Return an error in one short line."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, smtplib.SMTPResponseException):
        answer = error.smtp_error
        text = answer.decode(errors="replace") if isinstance(answer, bytes) else str(answer)
        return visible(f"answers {error.smtp_code} {text}".partition("\n")[0])[:_MOST_SAID]
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return visible((text or type(error).__name__).partition("\n")[0])[:_MOST_SAID]
