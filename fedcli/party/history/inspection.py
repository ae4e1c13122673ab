"""What holds in a drop folder: the chain of records, the updates that its rounds used, and the artifacts that records name."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, cast

from fedcli import tensors
from fedcli.errors import SealedError, TrustError, UnreadableError
from fedcli.exchange import layout
from fedcli.exchange.claims import check_counts
from fedcli.exchange.history import Problem
from fedcli.exchange.keys import verify_keys
from fedcli.exchange.masking.masking_ledger import federation_of
from fedcli.exchange.records import DatasetRecord, MasksRecord, Payload, Role, UpdateRecord
from fedcli.party.aggregation_input import num_threads
from fedcli.plan import Encoding
from fedcli.privacy.masking.mask_file import masks_layout
from fedcli.privacy.masking.word_pieces import masked_layout
from fedcli.text.wording import counted
from fedcli.wire import SHORT_DIGEST

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from fedcli.exchange.checks import Verified
    from fedcli.exchange.history import History
    from fedcli.exchange.ledger import Ledger
    from fedcli.exchange.records import Artifact, Record
    from fedcli.party.folder import Folder
    from fedcli.party.history.records_read import Reading
    from fedcli.progress import Progress
    from fedcli.tensors import Layout


def chain_problems(history: History, reading: Reading) -> list[Problem]:
    """Return what does not hold in the chain; problems in other files of a site are not among them."""
    used = {
        layout.update(item.site, verified.record.round) for verified in history.rounds for item in verified.record.contributions
    }
    vital = used | {artifact.key for verified in reading.records if verified.key in used for artifact in verified.artifacts}
    grants = layout.grant(layout.COORDINATOR, 0).removesuffix("0000.json")  # no round rests on a grant
    own = (item for item in reading.problems if item.key.startswith(layout.COORDINATOR) and not item.key.startswith(grants))
    problems = [*(item for item in reading.problems if item.key in vital), *own]
    if not history.rounds and not problems:
        message = f"{reading.folder.store.address}: contains no federation"
        problems.append(Problem(key=layout.federation(0), message=message))
    return problems


def require_chain(history: History, reading: Reading) -> None:
    """Raise a TrustError if something in the chain does not hold."""
    if problems := chain_problems(history, reading):
        more = f", and {counted(len(problems) - 1, 'more problem')}" if len(problems) > 1 else ""
        raise TrustError(problems[0].message + more, hint="fedcli verify lists every problem")


def confirmation(ledger: Ledger) -> str:
    """Return in words against which key everything holds."""
    fingerprint = ledger.first_key.fingerprint
    if (recovery := ledger.recovery) is not None:
        fingerprint += f" (which the recovery key has replaced by {verify_keys(recovery.record.coordinator)[0].fingerprint})"
    if ledger.pinned is not None:
        return f"verified against the coordinator's key {fingerprint}"
    return f"consistent; coordinator {fingerprint} not confirmed"


def check_used_updates(reading: Reading, updates: dict[tuple[str, int], Verified[UpdateRecord]]) -> None:
    """Note every update that a round used and that is missing, different, or at odds with the data set record that it names.

    They are noted however many problems the site has.
    """
    named = {problem.key for problem in reading.problems}
    keys = reading.keys
    datasets = {
        (verified.record.party, verified.digest): cast("Verified[DatasetRecord]", verified)
        for verified in reading.records
        if isinstance(verified.record, DatasetRecord)
    }
    for verified in reading.folder.ledger.rounds:
        number = verified.record.round
        for item in verified.record.contributions:
            key = layout.update(item.site, number)
            used = updates.get((item.site, number))
            if used is not None and used.digest != item.update:
                reading.note(key, f"{key}: SHA-256 {used.digest[:12]}, expected {item.update[:12]}, which round {number} used")
            elif used is None and key not in named:
                reading.note(key, f"{key}: {'does not verify' if key in keys else 'missing'}, though round {number} used it")
            elif used is not None:
                _check_dataset(reading, used, datasets)


def _check_dataset(
    reading: Reading, used: Verified[UpdateRecord], datasets: dict[tuple[str, str], Verified[DatasetRecord]]
) -> None:
    """Note an update at odds with the data set record that it names; a missing one is the site's problem, not the chain's."""
    site, named = used.record.party, used.record.dataset
    if named is not None and (site, named) not in datasets:
        folder = f"{layout.prefix(site)}dataset/"
        if all(problem.key != folder for problem in reading.problems):
            reading.note(folder, f"{folder}: no valid data set record {named[:SHORT_DIGEST]}, which {used.key} names")
        return
    try:
        check_counts(used, datasets.get((site, named or "")))
    except TrustError as error:
        reading.note(used.key, str(error))


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
    work = partial(_check_group, reading, _model_layout(reading.folder))
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


def _check_group(reading: Reading, expected: Layout | None, named: list[tuple[Verified[Record], Artifact]]) -> list[str | None]:
    """Return what is wrong with each artifact of the same content; private copies are removed at once."""
    faults: list[str | None] = []
    for owner, artifact in named:
        try:
            try:
                _check_artifact(reading.folder, expected, owner, artifact)
            except SealedError:
                reading.folder.artifacts.check_stored(owner, artifact)
                reading.unopened.add(artifact.key)
            faults.append(None)
        except (TrustError, UnreadableError) as error:
            faults.append(str(error))
    return faults


def _check_artifact(folder: Folder, expected: Layout | None, owner: Verified[Record], artifact: Artifact) -> None:
    """Hash an artifact and check its header; an encoded delta is decoded too."""
    if isinstance(owner.record, UpdateRecord) and expected is not None and artifact.encoding is not Encoding.FLOAT32:
        folder.artifacts.delta(cast("Verified[UpdateRecord]", owner), expected).path.unlink()
    else:
        folder.artifacts.check(owner, artifact, _expected_layout(folder, expected, owner.record, artifact))


def _expected_layout(folder: Folder, model: Layout | None, record: Record, artifact: Artifact) -> Layout | None:
    """Return the layout that an artifact must have; None where there is none, or that of the models is not known."""
    if isinstance(record, MasksRecord):
        federation = federation_of(folder.ledger, record)
        return masks_layout(len(federation.trainers), record.num_rounds) if federation is not None else None
    if isinstance(record, UpdateRecord) and record.payload is Payload.MASKED_SUM:
        return masked_layout(model) if model is not None else None
    return None if artifact.role is Role.SERVER_STATE else model
