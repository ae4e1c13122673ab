"""The error families of fedcli, one exit code each.

A message says what failed, for which site, round and file, what was expected and what was found; `hint` says what to do about it.
Only the command line catches all of them.
"""

from __future__ import annotations


class FedcliError(Exception):
    """Any failure that fedcli explains to its user.

    Attributes:
        exit_code: What the process returns; one number per family, listed in docs/commands.md.
        hint: What to do next, in one sentence; empty if the message is enough.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(FedcliError):
    """The command was called in a way that cannot work."""

    exit_code = 2


class ConfigurationError(FedcliError):
    """A plan, a workspace or a key on this machine is missing or wrong."""

    exit_code = 3


class DataError(FedcliError):
    """An archive, a label table or a prepared data set is missing or wrong."""

    exit_code = 4


class StoreError(FedcliError):
    """The drop folder cannot be reached, read or written."""

    exit_code = 5


class MissingError(StoreError):
    """A key that was asked for is not in the drop folder."""


class UnreadableError(StoreError):
    """A key or a folder exists, but cannot be read, by this account or at all; everything else in the drop folder can be used."""


class TooLongError(StoreError):
    """A key holds more bytes than are accepted."""


class ConflictError(StoreError):
    """A key that can be created only once already holds other bytes."""


class TrustError(FedcliError):
    """Something in the drop folder is not what its signature and its place require."""

    exit_code = 6


class SealedError(TrustError):
    """A file is sealed to others, and so it cannot be opened here; nothing is wrong with it."""


class LaterRoundError(TrustError):
    """A record names a round that this history does not have: it has just been published, or it is missing.

    Attributes:
        number: The round.
    """

    def __init__(self, message: str, number: int, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.number = number


class ApprovalError(FedcliError):
    """A person must agree first."""

    exit_code = 7


class TrainingError(FedcliError):
    """Training or inference produced something that must not be used."""

    exit_code = 8


class MachineError(FedcliError):
    """A disk of this machine is full, failing, or not for this account; or the machine has not enough memory."""

    exit_code = 10
