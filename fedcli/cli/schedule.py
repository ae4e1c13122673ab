"""The command schedule."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcli.cli.invocation import Invocation
from fedcli.cli.options import JsonOption, WorkspaceOption
from fedcli.cli.training_processes import DevicesOption

if TYPE_CHECKING:
    from fedcli.environment import Environment
    from fedcli.operations.schedule.scheduled_command import Schedule

EXAMPLE = "Example: fedcli schedule systemd -C north | sh"


class Scheduler(StrEnum):
    """What runs commands again and again."""

    CRON = "cron"
    SYSTEMD = "systemd"
    SLURM = "slurm"


def schedule(
    scheduler: Annotated[Scheduler, typer.Argument(help="What runs the command.")],
    workspace: WorkspaceOption = Path(),
    every: Annotated[int, typer.Option("--every", min=1, max=60, help="Minutes from one run to the next.")] = 15,
    hours: Annotated[
        int, typer.Option("--hours", min=1, max=240, help="A run that takes longer is stopped; the next one goes on from there.")
    ] = 12,
    passphrase_file: Annotated[
        Path | None,
        typer.Option("--passphrase-file", help="The file of the signing key's passphrase, readable by its owner only."),
    ] = None,
    devices: DevicesOption = 1,
    json: JsonOption = False,
) -> None:
    """Print what makes a machine run this party's command again and again: a crontab's line, or a script."""

    def work(_environment: Environment) -> Schedule:
        from fedcli.operations.schedule.cron import cron
        from fedcli.operations.schedule.scheduled_command import ScheduleRequest
        from fedcli.operations.schedule.slurm import slurm
        from fedcli.operations.schedule.systemd import systemd

        request = ScheduleRequest(root=workspace, every=every, hours=hours, passphrase=passphrase_file, devices=devices)
        return {Scheduler.CRON: cron, Scheduler.SYSTEMD: systemd, Scheduler.SLURM: slurm}[scheduler](request)

    Invocation(command="schedule", as_json=json).run(work)
