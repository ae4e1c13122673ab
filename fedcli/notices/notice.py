"""One notice: something that has happened in a federation, or a state that needs a person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass as pydantic_dataclass

from fedcli.notice_settings import NoticeKind
from fedcli.text.visible_text import visible
from fedcli.wire import STRICT, Timestamp

if TYPE_CHECKING:
    from datetime import datetime

SCHEMA = "fedcli-notice@1"
_ONCE = {NoticeKind.ROUND_OPEN, NoticeKind.REJECTED, NoticeKind.FINISHED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What a party is told.

    Attributes:
        kind: What it is about.
        subject: What distinguishes it from others of its kind; the same as long as it lasts.
        federation: The federation's name; empty if it is not known.
        party: The party that is told.
        round: The round that it is about; None if it is about none.
        message: What happened, or what is so, in one sentence.
        command: What the party types; empty if nothing is to be typed.
        stops: Whether the party's work is stopped until a person acts.
    """

    kind: NoticeKind
    subject: str
    federation: str
    party: str
    round: int | None
    message: str
    command: str = ""
    stops: bool = False

    @property
    def once(self) -> bool:
        """Whether it is an event, told once; a state is told daily while it lasts."""
        return self.kind in _ONCE

    @property
    def key(self) -> str:
        """Under which name it is remembered that it was told."""
        return f"{self.kind}: {self.subject}"

    @property
    def text(self) -> str:
        """The notice in one line."""
        return visible(f"{self.kind}: {self.message}" + (f": {self.command}" if self.command else ""))

    def sent(self, moment: datetime) -> SentNotice:
        """Return the notice as it leaves."""
        return SentNotice(
            schema=SCHEMA,
            kind=self.kind,
            federation=self.federation,
            party=self.party,
            round=self.round,
            message=visible(self.message),
            command=self.command,
            once=self.once,
            moment=moment,
            text=f"{self.federation or 'fedcli'}, {self.party}: {self.text}",
        )


@pydantic_dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class SentNotice:
    """A notice as a command reads it and as a webhook receives it, as one JSON object.

    Attributes:
        schema: Name and version of this class.
        kind: See `Notice`, as for all that follow.
        moment: When it was sent, in UTC.
        text: Everything in one line, for a chat or a subject.
    """

    schema: Annotated[str, Field(pattern=f"^{SCHEMA}$")]
    kind: NoticeKind
    federation: str
    party: str
    round: int | None
    message: str
    command: str
    once: bool
    moment: Timestamp
    text: str
