"""Checks of the machine: what it decodes, what it trains on, and the space on the disks until the last round.

Space in the drop folder: in every remaining round an update from each site and a global model, and at the end the models that the
sites share. Space here: a site keeps at most eight files of the model's size at once (φ(t-1) and its unpacked copy, the best
model, Adam's two moments and their copies in the outbox, the update); a coordinator the model four times, and each site's update
where the drop folder is not on this machine.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from fedcli.exchange import layout
from fedcli.exchange.records import SHARED_KINDS, Role
from fedcli.exchange.store import LocalStore
from fedcli.imaging.dicom import syntaxes
from fedcli.plan import Precision
from fedcli.workspace import WorkspaceRole

if TYPE_CHECKING:
    from fedcli.exchange.ledger import Ledger
    from fedcli.exchange.store import Store
    from fedcli.operations.doctor.findings import Check, Examination
    from fedcli.workspace import Workspace

_SITE_FILES = 8
_COORDINATOR_FILES = 4
_UPDATE = re.compile(r"sites/[^/]+/round-([0-9]{4})/[^/]+\.safetensors")
_SLOW = 'training takes many times as long; ask the coordinator for training.precision = "auto", or train on another machine'
_UNKNOWN = "the size of the model is not known"


def space_here(exam: Examination, workspace: Workspace, store: Store | None, ledger: Ledger | None) -> None:
    """Check the workspace's disk."""
    with exam.check("space here", f"make room on the disk of {workspace.root}") as check:
        if store is None or ledger is None or not ledger.rounds:
            check.skip(_UNKNOWN)
            return
        need = _SITE_FILES * model_bytes(ledger)
        if workspace.settings.role is WorkspaceRole.COORDINATOR:
            record = ledger.newest_federation
            copied = record.plan.confidentiality.sealing or not isinstance(store, LocalStore)
            fetched = len(record.members) if copied else 0
            need = _COORDINATOR_FILES * model_bytes(ledger) + fetched * update_bytes(store, ledger)
        compare(check, workspace.root, need)


def space_there(exam: Examination, store: Store | None, ledger: Ledger | None) -> None:
    """Check the drop folder's disk."""
    with exam.check("space there", "make room in the drop folder, or move its early rounds out with fedcli archive") as check:
        if store is None or ledger is None or not ledger.rounds:
            check.skip(_UNKNOWN)
        elif isinstance(store, LocalStore):
            compare(check, Path(store.address), needed_there(store, ledger))
        else:
            need = _readable(needed_there(store, ledger))
            check.skip(f"{need} needed until the last round; the free space is not known here")


def compare(check: Check, folder: Path, need: int) -> None:
    """Compare the free space of a folder's disk with what is needed there."""
    free = shutil.disk_usage(folder).free
    text = f"{_readable(free)} free, {_readable(need)} needed until the last round"
    if free < need:
        check.fail(text)
    else:
        check.ok(text)


def needed_there(store: Store, ledger: Ledger) -> int:
    """Return the bytes that the rest of the federation adds to the drop folder."""
    record = ledger.newest_federation
    sites, rounds = len(record.members), record.plan.rounds - ledger.newest_round
    server = sum(artifact.stored_size for artifact in ledger.rounds[-1].artifacts)
    return rounds * (sites * update_bytes(store, ledger) + server) + len(SHARED_KINDS) * sites * model_bytes(ledger)


def model_bytes(ledger: Ledger) -> int:
    """Return the size of the global model."""
    return sum(artifact.stored_size for artifact in ledger.rounds[-1].artifacts if artifact.role is Role.MODEL)


def update_bytes(store: Store, ledger: Ledger) -> int:
    """Return the stored size of the newest update, or what it will be about: the model's, or twice that where it is masked."""
    prefixes = [layout.prefix(member.site) for member in ledger.newest_federation.members]
    keys = (key for listing in store.list_each(prefixes, ledger.bounds.files).values() for key in listing.keys)
    newest = max((match for key in keys if (match := _UPDATE.fullmatch(key))), key=lambda match: match[1], default=None)
    if newest is None:
        return (2 if ledger.newest_federation.plan.aggregation.masking else 1) * model_bytes(ledger)
    return store.stat(newest[0]) or 0


def _readable(size: int) -> str:
    return f"{size / 1e9:,.3g} GB" if size >= 1e9 else f"{size / 1e6:,.3g} MB"  # noqa: PLR2004 - a gigabyte


def decoders(exam: Examination) -> None:
    """Check which transfer syntaxes of mammography can be decoded."""
    with exam.check("decoders", "install pydicom again") as check:
        decodable = syntaxes.decodable()
        missing = [syntax for syntax, decoded in decodable.items() if not decoded]
        summary = f"decoded here: {', '.join(syntax.title for syntax, decoded in decodable.items() if decoded)}"
        if missing:
            packages = dict.fromkeys(syntax.package for syntax in missing)
            titles = ", ".join(syntax.title for syntax in missing)
            check.warn(
                f"not decoded here: {titles}; {summary}", f"if the archive has such files: pip install {' '.join(packages)}"
            )
        else:
            check.ok(summary)


def torch(exam: Examination, workspace: Workspace | None, ledger: Ledger | None) -> None:
    """Check PyTorch, the device that the settings name, whether a site can train as the plan says in good time, and the GPU."""
    import torch as library  # noqa: PLC0415 - takes seconds

    from fedcli.learning.networks.precision import choose  # noqa: PLC0415 - imports torch
    from fedcli.site.learner import choose_device  # noqa: PLC0415 - imports torch

    wanted = workspace.settings.device if workspace else "auto"
    threads = (workspace.settings.threads if workspace else 0) or library.get_num_threads()
    with exam.check("PyTorch", "set `device` in workspace.toml to auto or cpu") as check:
        device = choose_device(wanted)
        found = f"{library.__version__}, trains on {device}, {threads} threads"
        trains = workspace is not None and workspace.settings.role is WorkspaceRole.SITE and ledger is not None
        precision = ledger.newest_federation.plan.training.precision if ledger is not None and trains else Precision.AUTO
        if precision is Precision.BFLOAT16 and choose(Precision.AUTO, device) is not Precision.BFLOAT16:
            check.warn(f"{found}; the plan trains in bfloat16, which {device} can only imitate", _SLOW)
        else:
            check.ok(found)
    with exam.check("GPU", "update the driver, or PyTorch") as check:
        if not library.cuda.is_available():
            check.skip("none that PyTorch can use: training uses the CPU")
        else:
            properties = [library.cuda.get_device_properties(number) for number in range(library.cuda.device_count())]
            check.ok(", ".join(f"{item.name} with {item.total_memory / 1e9:.0f} GB" for item in properties))
