"""The table [notify] of workspace.toml: which notices a party's machine sends, and over which channels."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from fedcli.wire import STRICT

SMTP_PASSWORD_VARIABLE = "FEDCLI_SMTP_PASSWORD"  # noqa: S105 - the variable's name
"""Holds the password of the mail account."""

Address = Annotated[str, Field(pattern=r"^[A-Za-z0-9.!#$%&'*+/=?^_{|}~-]+@[A-Za-z0-9.-]+$", max_length=254)]
"""A mail address, in ASCII."""


class NoticeKind(StrEnum):
    """What a notice is about."""

    ROUND_OPEN = "round open"
    YOUR_TURN = "your turn"
    OVERDUE = "overdue"
    REJECTED = "rejected"
    PLAN_CHANGED = "plan changed"
    KEY_WAITING = "key waiting"
    FINISHED = "finished"
    FAILED = "failed"


class SmtpSecurity(StrEnum):
    """How the connection to a mail server is encrypted."""

    STARTTLS = "starttls"
    TLS = "tls"
    UNSAFE_PLAINTEXT = "unsafe_plaintext"

    @property
    def port(self) -> int:
        """The usual port."""
        return {SmtpSecurity.STARTTLS: 587, SmtpSecurity.TLS: 465, SmtpSecurity.UNSAFE_PLAINTEXT: 25}[self]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class EmailSettings:
    """[notify.email]: to whom notices are mailed, and by which server.

    Attributes:
        to: The recipients.
        host: The mail server.
        port: Its port; 0 means the usual one.
        security: How the connection is encrypted.
        sender: The address that the mail is from; empty means the first recipient.
        user: The account, where the server wants one.
        password_file: The file of its password, a path relative to the workspace; if empty, the environment has the password.
    """

    to: Annotated[tuple[Address, ...], Field(min_length=1, max_length=20)]
    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:-]{1,253}$")]
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    security: SmtpSecurity = SmtpSecurity.STARTTLS
    sender: Address | None = None
    user: Annotated[str, Field(max_length=200)] = ""
    password_file: Annotated[str, Field(max_length=1000)] = ""

    @model_validator(mode="after")
    def _never_in_the_clear(self) -> EmailSettings:
        if self.user and self.security is SmtpSecurity.UNSAFE_PLAINTEXT:
            msg = 'should have no user with security = "unsafe_plaintext": the password could be read on its way'
            raise ValueError(msg)
        return self


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class NoticeSettings:
    """[notify]: over which channels notices leave.

    Attributes:
        command: A program and its arguments, run without a shell; none if empty.
        webhook: The URL to which each notice is posted as JSON; none if empty.
        email: Mail; None sends none.
        only: The notices to send; empty sends all.
        overdue_hours: A round without a deadline is overdue when it has waited so many hours for a site.
        timeout: Seconds to wait for a command or a server.
    """

    command: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=1000)], ...], Field(max_length=50)] = ()
    webhook: Annotated[
        str, Field(pattern=r"^(https://\S+|http://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?(/\S*)?)?$", max_length=2000)
    ] = ""
    email: EmailSettings | None = None
    only: Annotated[tuple[NoticeKind, ...], Field(max_length=len(NoticeKind))] = ()
    overdue_hours: Annotated[float, Field(ge=1, le=8760)] = 72
    timeout: Annotated[int, Field(ge=1, le=300)] = 30

    def wants(self, kind: NoticeKind) -> bool:
        """Return whether notices of a kind are sent."""
        return not self.only or kind in self.only
