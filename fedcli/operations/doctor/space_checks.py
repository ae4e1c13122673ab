"""Room on the disks until the last round, here and in the drop folder.

There: in every round that is left an update from each site and a global model, and at the end the models that the sites share.
Here: a site keeps at most eight files of the model's size at once (φ(t-1) and its unpacked copy, the best model, Adam's two
moments and their copies in the outbox, the update); a coordinator the model four times, and each site's update where the drop
folder is not on this machine.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from fedcli.exchange.records import SHARED_KINDS, Role
from fedcli.exchange.store import LocalStore
from fedcli.workspace import WorkspaceRole

if TYPE_CHECKING:
    from fedcli.exchange.ledger import Ledger
    from fedcli.exchange.store import Store
    from fedcli.operations.doctor.findings import Examination, Line
    from fedcli.workspace import Workspace

_SITE_FILES = 8
_COORDINATOR_FILES = 4
_UPDATE = re.compile(r"sites/[^/]+/round-([0-9]{4})/[^/]+\.safetensors")
_UNKNOWN = "the size of the model is not known"


def here(exam: Examination, workspace: Workspace, store: Store | None, ledger: Ledger | None) -> None:
    """Look at the workspace's disk."""
    with exam.line("space here", f"make room on the disk of {workspace.root}") as line:
        if store is None or ledger is None or not ledger.rounds:
            line.skip(_UNKNOWN)
            return
        need = _SITE_FILES * model_bytes(ledger)
        if workspace.settings.role is WorkspaceRole.COORDINATOR:
            fetched = 0 if isinstance(store, LocalStore) else len(ledger.newest_federation.members)
            need = _COORDINATOR_FILES * model_bytes(ledger) + fetched * update_bytes(store, ledger)
        compare(line, workspace.root, need)


def there(exam: Examination, store: Store | None, ledger: Ledger | None) -> None:
    """Look at the drop folder's disk."""
    with exam.line("space there", "make room in the drop folder, or fedcli archive its early rounds") as line:
        if store is None or ledger is None or not ledger.rounds:
            line.skip(_UNKNOWN)
        elif isinstance(store, LocalStore):
            compare(line, Path(store.address), needed_there(store, ledger))
        else:
            need = _readable(needed_there(store, ledger))
            line.skip(f"{need} needed until the last round; what is free cannot be told from here")


def compare(line: Line, folder: Path, need: int) -> None:
    """Compare what a folder's disk has left with what is needed there."""
    free = shutil.disk_usage(folder).free
    told = f"{_readable(free)} free, {_readable(need)} needed until the last round"
    if free < need:
        line.fail(told)
    else:
        line.ok(told)


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
    """Return the size of the newest update as it is stored; before there is one, of the model, which none exceeds by much."""
    newest = max(
        (found for key in store.list("sites/") if (found := _UPDATE.fullmatch(key))), key=lambda found: found[1], default=None
    )
    return model_bytes(ledger) if newest is None else store.stat(newest[0]) or 0


def _readable(size: int) -> str:
    return f"{size / 1e9:,.3g} GB" if size >= 1e9 else f"{size / 1e6:,.3g} MB"  # noqa: PLR2004 - a gigabyte
