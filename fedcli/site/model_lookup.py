"""Find a model by its name, and the federation's record behind it; a model without a record is refused.

A name is one of this workspace's own models (`best`, `local`, `finetuned`), the newest global model (`global`), the key of a
model in the drop folder, or a file on this machine, which belongs to the federation if a verified record names its digest.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, cast

from fedcli import disk
from fedcli.errors import TrustError, UsageError
from fedcli.exchange.history import reference_to
from fedcli.exchange.history.lineage import untrained
from fedcli.exchange.records import ModelKind, ModelRecord, ModelReference, RoundRecord
from fedcli.party.history.history_reader import read_history
from fedcli.site.own_model import own_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fedcli.exchange.checks import Verified
    from fedcli.exchange.records import Record
    from fedcli.party.history.records_read import Reading
    from fedcli.party.party import Party
    from fedcli.tensors import Layout

BEST, GLOBAL = "best", "global"
_OWN = {BEST: ModelKind.FEDERATED, "local": ModelKind.LOCAL, "finetuned": ModelKind.FINETUNED}


def find_model(party: Party, name: str, layout: Layout, scratch: Path) -> tuple[Path, ModelReference]:
    """Return a model's file, which nothing else writes to, and the reference to its record.

    Args:
        party: The party with its workspace and drop folder.
        name: See above.
        layout: The layout of the federation's models.
        scratch: A private folder.

    Raises:
        UsageError: There is no such model.
        TrustError: The model is not of this federation.
    """
    history, reading = read_history(party.folder)
    if not history.rounds:
        party.folder.synchronise()  # raises what is wrong
    if name in _OWN:
        return _own(party, _OWN[name], scratch)
    if name == GLOBAL:
        newest = history.rounds[-1]
        if untrained(history.rounds, newest.record.round):
            msg = f"{party.store.address}: no site has trained the newest global model yet, it is φ(0)"
            raise UsageError(msg, hint=f"`{party.command('status')}` shows whose turn it is")
        return party.folder.artifacts.fetch(newest, newest.artifact, layout), reference_to(newest)
    for verified, reference in _models(reading):
        if verified.artifact.key == name:
            return party.folder.artifacts.fetch(verified, verified.artifact, layout), reference
    return _file(party, Path(name), reading, scratch)


def _models(reading: Reading) -> Iterator[tuple[Verified[Record], ModelReference]]:
    """Yield every model that a verified record names."""
    for verified in reading.records:
        if isinstance(verified.record, RoundRecord):
            yield verified, reference_to(cast("Verified[RoundRecord]", verified))
        elif isinstance(verified.record, ModelRecord):
            yield verified, reference_to(cast("Verified[ModelRecord]", verified))


def _own(party: Party, kind: ModelKind, scratch: Path) -> tuple[Path, ModelReference]:
    model = own_model(party, kind)
    if model is None:
        msg = f"{party.name}: there is no trained {kind} model in this workspace"
        raise UsageError(msg, hint="fedcli train-round and fedcli finetune make them; --model names another, global for instance")
    best = model.best
    if best.base not in party.ledger.rounds.digests:
        msg = f"{model.path.parent}: the model started from {best.base[:12]}, which is no round of this federation"
        raise TrustError(msg, hint="the workspace belongs to another federation")
    sha256 = model.measure().sha256
    reference = ModelReference(kind=kind, party=party.name, round=best.round, record=best.base, content_sha256=sha256)
    return _copy(model.path, sha256, scratch), reference


def _file(party: Party, path: Path, reading: Reading, scratch: Path) -> tuple[Path, ModelReference]:
    if not path.is_file():
        msg = f"--model {path}: neither a model of this workspace or drop folder nor a file"
        raise UsageError(msg, hint="best, local, finetuned, global, a key in the drop folder, or a file of one of its models")
    copy = _copy(path, None, scratch)
    digest = disk.measure(copy).sha256
    for _, reference in _models(reading):
        if reference.content_sha256 == digest:
            return copy, reference
    msg = f"{path}: SHA-256 {digest[:12]} is not the digest of a model in {party.store.address}"
    raise TrustError(msg, hint="only a model of the federation is used; name it by its key in the drop folder")


def _copy(path: Path, sha256: str | None, scratch: Path) -> Path:
    """Return a private copy, which is the file that was hashed."""
    copy = scratch / "model.safetensors"
    shutil.copyfile(path, copy)
    if sha256 is not None and disk.measure(copy).sha256 != sha256:
        msg = f"{path}: changed while it was read"
        raise TrustError(msg, hint="run the command again")
    return copy
