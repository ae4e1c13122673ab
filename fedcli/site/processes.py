"""The processes of one command that train together: `--devices` starts them, or torchrun has brought them.

The first one is the command itself: it alone holds the workspace, verifies, scores, writes and publishes. The others wait to be
told what to train, do their share, and leave when the first one has done.
"""

from __future__ import annotations

import gc
import os
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from torch import distributed
from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.multiprocessing.spawn import start_processes

from fedcli import wire
from fedcli.errors import TrainingError
from fedcli.learning.training.data_parallel import SINGLE_PROCESS, Replicas
from fedcli.progress import Silent
from fedcli.site.learner import Learner, choose_device
from fedcli.site.training_job import TrainingJob, join_job
from fedcli.workspace import Workspace, WorkspaceRole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TORCHRUN = "TORCHELASTIC_RUN_ID"
_LOOPBACK = "127.0.0.1"
_MEETING = timedelta(minutes=10)
_PATIENCE = timedelta(days=7)
"""How long one process may score, or wait for its turn in the federation, before the others give up."""


@contextmanager
def gathered(workspace: Workspace, devices: int) -> Iterator[Replicas]:
    """Yield the first process among all that train; those that are started here end with the block.

    Raises:
        TrainingError: Another process failed.
    """
    if _TORCHRUN in os.environ:
        yield _joined_by_torchrun(workspace)
        return
    if devices == 1:
        yield SINGLE_PROCESS
        return
    store = TCPStore(_LOOPBACK, 0, devices, is_master=True, timeout=_MEETING, wait_for_workers=False)
    others = start_processes(  # type: ignore[no-untyped-call]
        _started, (workspace.root, store.port, devices), devices - 1, join=False, daemon=True, start_method="spawn"
    )
    assert others is not None  # noqa: S101 - for mypy: so it is with join=False
    try:
        replicas = _join(workspace, Replicas(rank=0, size=devices), store)
        yield replicas
        replicas.broadcast_message(b"")
        _part()
        others.join()
    except RuntimeError as error:
        msg = f"a process that trains along failed: {str(error).splitlines()[0]}"
        raise TrainingError(msg, hint="run the same command again, with fewer --devices if it fails again") from error
    finally:
        for process in others.processes:
            process.terminate()
        if distributed.is_initialized():
            distributed.destroy_process_group()


def is_assistant() -> bool:
    """Tell whether torchrun started this process to help the first one."""
    return int(os.environ.get("RANK", "0")) > 0


@contextmanager
def led(root: Path) -> Iterator[None]:
    """Let torchrun's other processes go when the block is done, trained or not."""
    yield
    if _TORCHRUN in os.environ:
        _joined_by_torchrun(Workspace.open(root, WorkspaceRole.SITE)).broadcast_message(b"")
        _part()


def assist(root: Path) -> None:
    """Help torchrun's first process until it has done."""
    workspace = Workspace.open(root, WorkspaceRole.SITE)
    _follow(workspace, _joined_by_torchrun(workspace))


def _started(index: int, root: Path, port: int, size: int) -> None:
    """Be a process that `gathered` started."""
    workspace = Workspace.open(root, WorkspaceRole.SITE)
    store = TCPStore(_LOOPBACK, port, size, is_master=False, timeout=_MEETING)
    _follow(workspace, _join(workspace, Replicas(rank=index + 1, size=size, local=index + 1), store))


def _follow(workspace: Workspace, replicas: Replicas) -> None:
    while message := replicas.broadcast_message(b""):
        job = wire.decode(TrainingJob, message)
        join_job(Learner(workspace, job.plan, Silent(), replicas), job)
    _part()


def _part() -> None:
    """Leave the group when all are about to, and no network holds on to it: else torch may abort a process that has done."""
    gc.collect()
    distributed.barrier()
    distributed.destroy_process_group()


def _joined_by_torchrun(workspace: Workspace) -> Replicas:
    number, size, local = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    replicas = Replicas(rank=number, size=size, local=local)
    return replicas if distributed.is_initialized() else _join(workspace, replicas, None)


def _join(workspace: Workspace, replicas: Replicas, store: TCPStore | None) -> Replicas:
    """Make the process group, with torchrun's own store where there is none."""
    on_gpu = choose_device(workspace.settings.device, replicas).type == "cuda"
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
        store=store,
        rank=replicas.rank if store else -1,
        world_size=replicas.size if store else -1,
        timeout=_PATIENCE,
    )
    return replicas
