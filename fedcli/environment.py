"""What an operation gets from its caller beside the request: who listens, a clock, a passphrase."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fedcli.errors import ConfigurationError
from fedcli.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedcli.progress import Progress


def now() -> datetime:
    """Return the current second in UTC."""
    return datetime.now(UTC).replace(microsecond=0)


def no_passphrase() -> str:
    """Raise a ConfigurationError: an encrypted key cannot be used."""
    msg = "the signing key is encrypted, and no passphrase was given"
    raise ConfigurationError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The caller's side of an operation.

    Attributes:
        progress: Who listens.
        passphrase: Called where a signing key is encrypted.
        clock: Returns the current time in UTC.
        command: What the user runs, for the log of sent files; empty where an operation is called from Python.
    """

    progress: Progress = field(default_factory=Silent)
    passphrase: Callable[[], str] = no_passphrase
    clock: Callable[[], datetime] = now
    command: str = ""
