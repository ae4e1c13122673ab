"""Whether the chain of a drop folder holds: the coordinator's own files, and the updates that its rounds used."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from fedcli.errors import TrustError
from fedcli.exchange import layout
from fedcli.exchange.claims import check_counts
from fedcli.exchange.history import Problem
from fedcli.exchange.keys import verify_keys
from fedcli.exchange.records import DatasetRecord
from fedcli.text.wording import counted
from fedcli.wire import SHORT_DIGEST

if TYPE_CHECKING:
    from fedcli.exchange.checks import Verified
    from fedcli.exchange.history import History
    from fedcli.exchange.ledger import Ledger
    from fedcli.exchange.records import UpdateRecord
    from fedcli.party.history_reader import Reading


def chain_problems(history: History, reading: Reading) -> list[Problem]:
    """Return what does not hold in the chain; problems in other files of a site are not among them."""
    used = {
        layout.update(item.site, verified.record.round) for verified in history.rounds for item in verified.record.contributions
    }
    vital = used | {artifact.key for verified in reading.records if verified.key in used for artifact in verified.artifacts}
    problems = [item for item in reading.problems if item.key in vital or item.key.startswith(layout.COORDINATOR)]
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
