"""How a command ended: what every operation returns, and the command line prints."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How a command ended; all but `failed` are successes."""

    PUBLISHED = "published"
    WAITING = "waiting"
    FINISHED = "finished"
    BUSY = "busy"
    DONE = "done"
    VERIFIED = "verified"
    CONSISTENT = "consistent"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The result of a command; each operation's own adds to it.

    Attributes:
        status: How the command ended.
        message: What happened and what to do next.
    """

    status: Status
    message: str
