"""How every command runs: waiting, errors, and what is printed where."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from fedcli import machine_errors
from fedcli.cli import render
from fedcli.cli.render import Narrator
from fedcli.environment import Environment
from fedcli.errors import ConfigurationError, FedcliError
from fedcli.private_files import BusyError
from fedcli.results import Result, Status
from fedcli.workspace import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

PASSPHRASE_VARIABLE = "FEDCLI_KEY_PASSPHRASE"  # noqa: S105 - the variable's name
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
    """

    command: str
    as_json: bool
    root: Path | None = None
    wait: bool = False
    poll: float = 30.0
    quiet: bool = False

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
        narrator = Narrator(err, log)
        try:
            result = self._repeat(work, Environment(progress=narrator, passphrase=_passphrase, command=self.command))
        except (FedcliError, OSError, MemoryError, RuntimeError) as raised:
            error = machine_errors.explained(raised, *self._places())
            narrator.log(f"{self.command}: {error}")
            render.print_error(err, self.command, error, as_json=self.as_json)
            raise typer.Exit(error.exit_code) from raised
        except KeyboardInterrupt as error:
            err.print("[bold]interrupted[/]; nothing is half written, run the same command again")
            raise typer.Exit(INTERRUPTED) from error
        narrator.log(f"{self.command}: {result.status}: {result.message}")
        if self.as_json:
            render.print_json(self.command, result)
        elif not (self.quiet and result.status in _IDLE and not out.is_terminal and not err.is_terminal):
            if show is not None and not isinstance(result, Busy):
                show(out, result)
            render.print_line(out, result.message)
        return result

    def _places(self) -> list[Path]:
        """Return the folders that a command writes to."""
        places = [self.root or Path.cwd()]
        with suppress(FileNotFoundError):  # no disk has room
            places.append(Path(tempfile.gettempdir()))
        return places

    def _repeat(self, work: Callable[[Environment], R], environment: Environment) -> R | Busy:
        while True:
            try:
                result: R | Busy = work(environment)
            except BusyError as error:
                result = Busy(status=Status.BUSY, message=str(error))
            if not self.wait or result.status not in {Status.WAITING, Status.BUSY}:
                return result
            time.sleep(self.poll)


@cache
def _passphrase() -> str:
    given = os.environ.get(PASSPHRASE_VARIABLE)
    if given is not None:
        return given
    if not os.isatty(0):
        msg = "the signing key is encrypted, and there is no terminal to ask for its passphrase"
        raise ConfigurationError(msg, hint=f"set {PASSPHRASE_VARIABLE}")
    return str(typer.prompt("Passphrase of the signing key", hide_input=True, err=True))
