"""The error families of fedcli, one exit code each.

A message says what failed, for which site, round and file, what was expected and what was found; `hint` says what to do about
it. Only the command line catches these: everything below lets them pass.
"""

from __future__ import annotations


class FedcliError(Exception):
    """Any failure that fedcli explains to its user.

    Attributes:
        exit_code: What the process returns; one number per family, listed in docs/commands.md.
        hint: The next thing to do, in one sentence; empty where the message says it all.
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
    """A key is there, but this account may not read it; whatever else the drop folder holds can be used."""


class ConflictError(StoreError):
    """A key that may be created only once holds other bytes already."""


class TrustError(FedcliError):
    """Something in the drop folder is not what its signer and its place promise."""

    exit_code = 6


class ApprovalError(FedcliError):
    """A person has to agree first."""

    exit_code = 7


class TrainingError(FedcliError):
    """Training or inference produced something that must not be used."""

    exit_code = 8


class MachineError(FedcliError):
    """A disk of this machine is full, fails, or is not for this account; or its memory does not suffice."""

    exit_code = 10
