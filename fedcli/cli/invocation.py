"""How every command runs: waiting, errors, and what is printed where."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from fedcli import machine_errors
from fedcli.cli import render
from fedcli.cli.passphrase import key_passphrase
from fedcli.cli.render import Narrator
from fedcli.cli.unattended import Unattended
from fedcli.environment import Environment
from fedcli.errors import FedcliError
from fedcli.private_files import BusyError
from fedcli.results import Result, Status
from fedcli.workspace import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

LOG = "fedcli.log"
INTERRUPTED = 130

_IDLE = {Status.WAITING, Status.BUSY, Status.FINISHED}

R = TypeVar("R", bound=Result)


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy(Result):
    """Another command of this party is running."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One run of one command.

    Attributes:
        command: Its name.
        as_json: Whether to print the result as one JSON object.
        root: The workspace, whose log is written if it exists.
        wait: Whether to poll until there is something to do.
        poll: Seconds between two attempts.
        quiet: Whether to print nothing if there is nothing to do and no terminal, as cron needs it.
        party: The workspace whose party is told what is due if there is no terminal; None means `root` if `quiet`, else nobody.
    """

    command: str
    as_json: bool
    root: Path | None = None
    wait: bool = False
    poll: float = 30.0
    quiet: bool = False
    party: Path | None = None

    def run(self, work: Callable[[Environment], R], show: Callable[[Console, R], None] | None = None) -> R | Busy:
        """Do the work, print its result and return it; if it fails, exit with the error's code.

        Args:
            work: The operation.
            show: Prints more than the message.
        """
        if self.root is not None:
            os.umask(0o077)  # what a workspace, prepared data or predictions contain is for nobody else
        out, err = render.consoles()
        log = self.root / LOG if self.root is not None and (self.root / SETTINGS).is_file() else None
        attended = out.is_terminal or err.is_terminal
        party = None if attended else self.root if self.quiet and self.root is not None else self.party
        unattended = Unattended.of(party, self.command, prints=self.quiet and not self.as_json)
        narrator = Narrator(err, log, unattended.is_news)
        environment = Environment(progress=narrator, passphrase=key_passphrase, command=self.command)
        try:
            result = self._repeat(work, environment, lambda: unattended.tell(narrator, err, idle=True))
        except FedcliError as error:
            narrator.log(f"{self.command}: {error}")
            if unattended.tell(narrator, err, failure=error):
                render.print_error(err, self.command, error, as_json=self.as_json)
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            err.print("[bold]interrupted[/]; nothing is half written, run the same command again")
            raise typer.Exit(INTERRUPTED) from error
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise
        except Exception as error:
            unattended.tell(narrator, err, failure=error)
            raise
        narrator.log(f"{self.command}: {result.status}: {result.message}")
        if self.as_json or attended or not (self.quiet and result.status in _IDLE):
            self._show(out, result, show)
        if not isinstance(result, Busy):
            unattended.tell(narrator, err, idle=result.status in _IDLE, ended=result.status is Status.FINISHED)
        return result

    def _show(self, out: Console, result: R | Busy, show: Callable[[Console, R], None] | None) -> None:
        if self.as_json:
            render.print_json(self.command, result)
            return
        if show is not None and not isinstance(result, Busy):
            show(out, result)
        render.print_line(out, result.message)

    def _places(self) -> list[Path]:
        """Return the folders that a command writes to."""
        places = [self.root or Path.cwd()]
        with suppress(FileNotFoundError):  # no disk has room
            places.append(Path(tempfile.gettempdir()))
        return places

    def _repeat(self, work: Callable[[Environment], R], environment: Environment, tell: Callable[[], bool]) -> R | Busy:
        while True:
            try:
                result: R | Busy = work(environment)
            except BusyError as error:
                result = Busy(status=Status.BUSY, message=str(error))
            except (OSError, MemoryError, RuntimeError) as raised:
                raise machine_errors.explained(raised, *self._places()) from raised
            if not self.wait or result.status not in {Status.WAITING, Status.BUSY}:
                return result
            if result.status is Status.WAITING:
                tell()
            time.sleep(self.poll)
