"""The signed records that lead to a model, as a part of the drop folder that OpenSSH alone can verify."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.exchange.keys import principals
from fedcli.exchange.records import ModelRecord
from fedcli.exchange.signatures import allowed_signers
from fedcli.party.transfer.tar_members import files_of, read_verified

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.exchange.checks import Verified
    from fedcli.exchange.history import History
    from fedcli.exchange.records import Record, RoundRecord
    from fedcli.exchange.store import ReadableStore

SIGNERS = "allowed_signers"


def leading_to(
    model: Verified[RoundRecord] | Verified[ModelRecord], last_round: int, history: History
) -> tuple[Verified[Record], ...]:
    """Return the records that lead to a model: federations, rounds up to its last one, the updates in them, and its own.

    Args:
        model: The record that names it.
        last_round: The last round whose updates are in it.
        history: The verified records.
    """
    rounds = history.rounds[: last_round + 1]
    named = [(item.site, verified.record.round) for verified in rounds for item in verified.record.contributions]
    own = (model,) if isinstance(model.record, ModelRecord) else ()
    return (*history.federations, *rounds, *(history.updates[place] for place in named if place in history.updates), *own)


def write_records(folder: Path, records: tuple[Verified[Record], ...], history: History, store: ReadableStore) -> None:
    """Write records and signatures under their keys, and every party's public keys.

    Args:
        folder: An existing folder.
        records: What to write.
        history: The verified records, which list the keys.
        store: The drop folder.

    Raises:
        TrustError: A record has changed since it was verified.
        StoreError: The drop folder cannot be read.
    """
    artifacts = {artifact.key for verified in records for artifact in verified.artifacts}
    for verified in records:
        for file in files_of(verified):
            if file.key not in artifacts:
                path = folder / file.key
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(read_verified(store, file))
    (folder / SIGNERS).write_text(allowed_signers(principals(history.federations)), encoding="utf-8")
