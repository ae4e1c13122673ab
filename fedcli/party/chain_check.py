"""Whether the chain of a drop folder holds: the coordinator's own files, and the updates that its rounds used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.errors import TrustError
from fedcli.exchange import layout
from fedcli.exchange.history import Problem
from fedcli.exchange.keys import verify_keys
from fedcli.text.wording import counted

if TYPE_CHECKING:
    from fedcli.exchange.history import History
    from fedcli.exchange.ledger import Ledger
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
