"""A job script for Slurm."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from fedcli.operations.schedule.scheduled_command import Schedule, ScheduledCommand, ScheduleRequest
from fedcli.results import Status
from fedcli.workspace import PASSPHRASE_FILE_VARIABLE


def slurm(request: ScheduleRequest) -> Schedule:
    """Return a job script that runs the command, and then waits in the queue for its next turn.

    Two minutes before its time is over, Slurm sends SIGTERM: training keeps a checkpoint, from which the job goes on later.

    Raises:
        ConfigurationError: There is no such workspace.
        UsageError: See `ScheduledCommand.of`.
    """
    own = ScheduledCommand.of(request)
    command = list(own.words)
    if own.devices > 1:
        torchrun = str(Path(sys.executable).with_name("torchrun"))
        together = ["--standalone", f"--nproc-per-node={own.devices}", "-m", "fedcli"]
        command = [torchrun, *together, own.verb, "-C", str(own.root)]
    lines = [
        "#!/bin/bash",
        f"# {own.name}: {own.verb}, then again {request.every} minutes later, until `scancel`. Submit it with `sbatch FILE`.",
        f"#SBATCH --job-name={own.name}",
        f"#SBATCH --output={shlex.quote(str(own.root / 'slurm.log'))}",
        "#SBATCH --open-mode=append",
        f"#SBATCH --time={request.hours}:00:00",
        "#SBATCH --signal=B:TERM@120",
        "#SBATCH --requeue",
        "#SBATCH --ntasks=1",
        *([f"#SBATCH --gpus={own.devices}"] if own.on_gpu else []),
        "set -u",
        *([f"export {PASSPHRASE_FILE_VARIABLE}={shlex.quote(str(own.passphrase))}"] if own.passphrase is not None else []),
        "trap '[ -z \"${!-}\" ] || kill -TERM $!' TERM",
        f"{shlex.join(command)} &",
        "wait %1",
        "wait %1  # again, if the signal has ended the first one",
        'scontrol requeue "$SLURM_JOB_ID"',
        f'scontrol update JobId="$SLURM_JOB_ID" StartTime=now+{request.every}minutes',
    ]
    return Schedule(status=Status.DONE, message="\n".join(lines), command=own.words)
