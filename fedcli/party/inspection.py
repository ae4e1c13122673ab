"""Check the artifacts that verified records name: sizes, digests and headers, several at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, cast

from fedcli import tensors
from fedcli.errors import TrustError, UnreadableError
from fedcli.exchange.records import Role, UpdateRecord
from fedcli.party.aggregation_input import num_threads
from fedcli.plan import Encoding

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from fedcli.exchange.checks import Verified
    from fedcli.exchange.records import Artifact, Record
    from fedcli.party.folder import Folder
    from fedcli.party.history_reader import Reading
    from fedcli.progress import Progress
    from fedcli.tensors import Layout


def inspect_artifacts(reading: Reading, progress: Progress, settled: AbstractSet[str] = frozenset()) -> int:
    """Check every artifact that a verified record names, note what is wrong, and return how many hold.

    Args:
        reading: The records, and what is wrong so far.
        progress: Told of every file.
        settled: Keys of artifacts that need no check.
    """
    absent = reading.archived
    named = [(owner, item) for owner in reading.records for item in owner.artifacts if item.key not in absent]
    groups: dict[str, list[tuple[Verified[Record], Artifact]]] = {}
    for owner, artifact in named:
        if artifact.key not in settled:
            groups.setdefault(artifact.stored_sha256, []).append((owner, artifact))
    good = len(named)
    work = partial(_check_group, reading.folder, _model_layout(reading.folder))
    with progress.track("verifying artifacts", len(groups), "files") as advance, ThreadPoolExecutor(num_threads()) as pool:
        for group, faults in zip(groups.values(), pool.map(work, groups.values()), strict=True):
            for (_, artifact), fault in zip(group, faults, strict=True):
                if fault is not None:
                    reading.note(artifact.key, fault)
                    good -= 1
            advance(1, "")
    return good


def _model_layout(folder: Folder) -> Layout | None:
    """Return the layout of the federation's models, which is that of φ(0); None if φ(0) does not hold."""
    if not folder.ledger.rounds:
        return None
    try:
        path = folder.global_model(0)
        with path.open("rb") as file:
            return tensors.read_layout(file)
    except (TrustError, UnreadableError):
        return None


def _check_group(folder: Folder, expected: Layout | None, named: list[tuple[Verified[Record], Artifact]]) -> list[str | None]:
    """Return what is wrong with each artifact of the same content; private copies are removed at once."""
    faults: list[str | None] = []
    for owner, artifact in named:
        try:
            _check_artifact(folder, expected, owner, artifact)
            faults.append(None)
        except (TrustError, UnreadableError) as error:
            faults.append(str(error))
    return faults


def _check_artifact(folder: Folder, expected: Layout | None, owner: Verified[Record], artifact: Artifact) -> None:
    """Hash an artifact and check its header; an encoded delta is decoded too."""
    if isinstance(owner.record, UpdateRecord) and expected is not None and artifact.encoding is not Encoding.FLOAT32:
        folder.artifacts.delta(cast("Verified[UpdateRecord]", owner), expected).path.unlink()
    else:
        folder.artifacts.check(owner, artifact, None if artifact.role is Role.SERVER_STATE else expected)
