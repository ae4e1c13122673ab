"""What the model of a round is folded from: the same for the coordinator who publishes it and for everyone who replays it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fedcli import disk, tensors
from fedcli.aggregation.rules import rule_of
from fedcli.aggregation.server_state import state_layout
from fedcli.aggregation.update import Update
from fedcli.errors import UnreadableError
from fedcli.exchange import layout
from fedcli.exchange.records import Role
from fedcli.plan import Rule

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.exchange.checks import Verified
    from fedcli.exchange.records import UpdateRecord
    from fedcli.party.folder import Folder
    from fedcli.plan import Aggregation, Plan
    from fedcli.tensors import Layout

_THREADS = 2
"""More threads wait for memory."""


def num_threads() -> int:
    """Return the number of threads with which a fold is fastest on this machine."""
    return min(_THREADS, os.cpu_count() or 1)


def base_of(folder: Folder, number: int) -> Update:
    """Return φ(t-1), from which round t continues; if it is stored on this machine, it is hashed while it is folded."""
    before = folder.ledger.rounds[number - 1]
    path = folder.store.local_path(before.artifact.key)
    if path is None or before.artifact.encryption is not None:
        return Update(site=layout.COORDINATOR, path=folder.global_model(number - 1))
    return Update(site=layout.COORDINATOR, path=path, sha256=before.artifact.stored_sha256)


def layout_of(base: Update) -> Layout:
    """Return the layout that every update must have; it is trusted once the fold has compared the digest of φ(t-1)."""
    try:
        with disk.open_regular(base.path) as file:
            return tensors.read_layout(file)
    except OSError as error:
        msg = f"{base.path}: {error.strerror}"
        raise UnreadableError(msg) from error


def update_of(folder: Folder, verified: Verified[UpdateRecord], plan: Plan, expected: Layout) -> Update:
    """Return an update as the fold takes it.

    Raises:
        TrustError: Its file is missing, or not what its record says.
    """
    record = verified.record
    delta = folder.artifacts.delta(verified, expected)
    return Update(
        site=record.party,
        path=delta.path,
        weight=plan.aggregation.weight(record.steps, record.images, record.patients),
        sha256=delta.sha256,
        most_counted=record.steps if plan.limits.buffers else None,
    )


def state_before(folder: Folder, number: int, settings: Aggregation, expected: Layout) -> Path | None:
    """Return a private copy of the server's state after round t-1; None if the rule has no state, or begins again in round t.

    It begins again where the rule, or the number of rounds that it averages, is not that of the round which made the state.

    Raises:
        TrustError: It is missing, or not what its record says.
    """
    server = rule_of(settings).server
    before = folder.ledger.rounds[number - 1]
    state = next((item for item in before.record.artifacts if item.role is Role.SERVER_STATE), None)
    if server is None or state is None or before.record.rule is not settings.rule:
        return None
    earlier = before
    while earlier.record.restart is not None:
        earlier = folder.ledger.rounds[earlier.record.restart.round]
    made_under = folder.ledger.in_force(earlier.record.round).record.plan.aggregation
    if made_under.averaged_rounds != settings.averaged_rounds and settings.rule is Rule.AVERAGED:
        return None
    return folder.artifacts.fetch(before, state, state_layout(server, expected))
