"""How every command runs: options they share, waiting, errors, and what goes where."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from fedcli import machine_errors
from fedcli.cli import render
from fedcli.cli.render import Narrator
from fedcli.environment import Environment
from fedcli.errors import ConfigurationError, FedcliError, UsageError
from fedcli.private_files import BusyError
from fedcli.results import Result, Status
from fedcli.workspace import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

PASSPHRASE_VARIABLE = "FEDCLI_KEY_PASSPHRASE"  # noqa: S105 - the variable's name
LOG = "fedcli.log"
INTERRUPTED = 130

WorkspaceOption = Annotated[Path, typer.Option("-C", "--workspace", help="This party's workspace.", show_default="here")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]
CoordinatorKeyOption = Annotated[
    str | None,
    typer.Option("--coordinator-key", metavar="FILE|FINGERPRINT", help="The coordinator's first key, not from the folder."),
]
WaitOption = Annotated[bool, typer.Option("--wait", help="Poll until there is something to do.")]
PollOption = Annotated[float, typer.Option("--poll", min=1, help="Seconds between two looks with --wait.")]

_IDLE = {Status.WAITING, Status.BUSY, Status.FINISHED}


R = TypeVar("R", bound=Result)


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy(Result):
    """Another command of this party is at work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conduct:
    """One run of one command.

    Attributes:
        command: Its name.
        as_json: Whether the result is one JSON object.
        root: The workspace, whose log is written where it exists.
        wait: Whether to poll until there is something to do.
        poll: Seconds between two looks.
        quiet: Whether to say nothing off a terminal when there is nothing to do, as cron wants it.
    """

    command: str
    as_json: bool
    root: Path | None = None
    wait: bool = False
    poll: float = 30.0
    quiet: bool = False

    def run(self, work: Callable[[Environment], R], show: Callable[[Console, R], None] | None = None) -> None:
        """Do the work, print its result, and leave with the error's exit code where it fails.

        Args:
            work: The operation.
            show: Prints more than the message.
        """
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
            out.print(result.message, highlight=False, markup=False, soft_wrap=True)

    def _places(self) -> list[Path]:
        """Return where a command writes."""
        found = [self.root or Path.cwd()]
        with suppress(FileNotFoundError):  # no disk that has room
            found.append(Path(tempfile.gettempdir()))
        return found

    def _repeat(self, work: Callable[[Environment], R], environment: Environment) -> R | Busy:
        while True:
            try:
                result: R | Busy = work(environment)
            except BusyError as error:
                result = Busy(status=Status.BUSY, message=str(error))
            if not self.wait or result.status not in {Status.WAITING, Status.BUSY}:
                return result
            time.sleep(self.poll)


def attended() -> bool:
    """Tell whether there is a person to ask: questions go to stderr, and answers come from stdin."""
    _, err = render.consoles()
    return err.is_terminal and os.isatty(0)


def confirm(question: str) -> bool:
    """Ask a person; without a terminal the answer is no."""
    return attended() and typer.confirm(question, err=True)


def named_paths(values: list[str], option: str) -> dict[str, Path]:
    """Return options of the form NAME=PATH as a mapping.

    Raises:
        UsageError: A value has another form, or a name is given twice.
    """
    found: dict[str, Path] = {}
    for value in values:
        name, separator, path = value.partition("=")
        if not (name and separator and path) or name in found:
            msg = f"{option} {value}: expected NAME=PATH, each name once"
            raise UsageError(msg)
        found[name] = Path(path)
    return found


def absolute(drop: str) -> str:
    """Return a drop folder's address that holds from any folder."""
    return drop if "://" in drop else str(Path(drop).expanduser().resolve())


@cache
def _passphrase() -> str:
    given = os.environ.get(PASSPHRASE_VARIABLE)
    if given is not None:
        return given
    if not os.isatty(0):
        msg = "the signing key is encrypted, and there is no terminal to ask for its passphrase"
        raise ConfigurationError(msg, hint=f"set {PASSPHRASE_VARIABLE}")
    return str(typer.prompt("Passphrase of the signing key", hide_input=True, err=True))
