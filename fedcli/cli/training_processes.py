"""Commands that train: on several devices, as one of torchrun's processes, and stopped cleanly by SIGTERM and SIGHUP."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli import machine_errors
from fedcli.cli import render
from fedcli.cli.invocation import INTERRUPTED
from fedcli.errors import FedcliError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DevicesOption = Annotated[
    int, typer.Option("--devices", min=1, max=64, help="GPUs (or processes on a CPU) that train together on this machine.")
]


def run_training(workspace: Path, command: Callable[[], object]) -> None:
    """Run a command that may train; in torchrun's other processes, help the first one instead."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as SIGINT
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup leaves it
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        command()
        return
    from fedcli.site import processes

    if processes.is_assistant():
        _assist(workspace)
        return
    with processes.led(workspace):
        command()


def _assist(workspace: Path) -> None:
    from fedcli.site import processes

    try:
        processes.assist(workspace)
    except (FedcliError, OSError, MemoryError, RuntimeError) as raised:
        error = machine_errors.explained(raised, workspace)
        _, err = render.consoles()
        render.print_error(err, f"process {os.environ['RANK']}", error, as_json=False)
        raise typer.Exit(error.exit_code) from raised
    except KeyboardInterrupt as error:
        raise typer.Exit(INTERRUPTED) from error
