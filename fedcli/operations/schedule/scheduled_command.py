"""The command that a party's machine runs again and again."""

from __future__ import annotations

import sys
import sysconfig
import zlib
from dataclasses import dataclass
from pathlib import Path

from fedcli.errors import UsageError
from fedcli.results import Result
from fedcli.workspace import Workspace, WorkspaceRole


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRequest:
    """Whose command is to be run, and how often.

    Attributes:
        root: The workspace.
        every: Minutes from one run to the next; a divisor of 60.
        hours: A run that takes longer is stopped, and the next one goes on from its checkpoint.
        passphrase: The file of the signing key's passphrase; None for a key without one.
        devices: GPUs (or processes on a CPU) that train together.
    """

    root: Path
    every: int = 15
    hours: int = 12
    passphrase: Path | None = None
    devices: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule(Result):
    """What a machine is given.

    Attributes:
        message: The lines, or the script, as they are pasted.
        command: The command that is run, with absolute paths.
    """

    command: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledCommand:
    """One party's command, with everything absolute: a schedule has neither a current folder nor the user's PATH.

    Attributes:
        party: The site's name, or `coordinator`.
        verb: The command.
        program: How fedcli is started.
        root: The workspace.
        passphrase: The file of the signing key's passphrase.
        devices: GPUs (or processes on a CPU) that train together.
        on_gpu: Whether it can use a GPU.
    """

    party: str
    verb: str
    program: tuple[str, ...]
    root: Path
    passphrase: Path | None
    devices: int
    on_gpu: bool

    @classmethod
    def of(cls, request: ScheduleRequest) -> ScheduledCommand:
        """Return the command that the party of a workspace runs.

        Raises:
            ConfigurationError: There is no such workspace.
            UsageError: The minutes are no divisor of 60, the file of the passphrase is missing, a path has a line break, or the
                coordinator, who trains nothing, is given several devices.
        """
        settings = Workspace.open(request.root).settings
        trains = settings.role is WorkspaceRole.SITE
        if request.devices > 1 and not trains:
            msg = f"--devices {request.devices}: the coordinator trains nothing"
            raise UsageError(msg)
        if request.every < 1 or 60 % request.every:
            msg = f"--every {request.every}: expected a divisor of 60"
            raise UsageError(msg)
        if request.passphrase is not None and not request.passphrase.is_file():
            msg = f"--passphrase-file {request.passphrase}: there is no such file"
            raise UsageError(msg)
        own = cls(
            party=settings.name,
            verb="train-round" if trains else "relay" if settings.above else "aggregate",
            program=program(),
            root=request.root.resolve(),
            passphrase=request.passphrase.resolve() if request.passphrase is not None else None,
            devices=request.devices,
            on_gpu=trains and settings.device != "cpu",
        )
        if any("\n" in word for word in (*own.words, str(own.passphrase))):
            msg = f"{str(own.root)!r}: a path with a line break cannot be scheduled"
            raise UsageError(msg)
        return own

    @property
    def words(self) -> tuple[str, ...]:
        """The command as it is run."""
        together = ("--devices", str(self.devices)) if self.devices > 1 else ()
        return (*self.program, self.verb, "-C", str(self.root), *together)

    @property
    def name(self) -> str:
        """What the schedule is called."""
        return f"fedcli-{self.party}"

    def minute(self, every: int) -> int:
        """Return the minute at which it begins, by the party's name, so that not all parties ask the store at once."""
        return zlib.crc32(self.party.encode()) % every


def interval(minutes: int) -> str:
    """Return in words how often something runs."""
    return "every minute" if minutes == 1 else f"every {minutes} minutes"


def program() -> tuple[str, ...]:
    """Return how this fedcli is started, wherever it is installed."""
    script = Path(sysconfig.get_path("scripts")) / "fedcli"
    return (str(script),) if script.is_file() else (sys.executable, "-m", "fedcli")
