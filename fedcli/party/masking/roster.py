"""The members among whom a site shares its secrets: their names and keys, which its operator approves by one fingerprint.

The coordinator lists the keys, and could list its own as those of sites that do not exist. So the sites compare one fingerprint
over all names, signing keys and encryption keys by telephone with one another.

    SHA256:base64      of the JSON without spaces of [[name, signing key, encryption key], …], the members that train, by name
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from fedcli.errors import ApprovalError
from fedcli.exchange.records import Purpose, key_for
from fedcli.wire import STRICT
from fedcli.workspace import FINGERPRINT

if TYPE_CHECKING:
    from fedcli.exchange.ledger import Ledger
    from fedcli.exchange.records import FederationRecord
    from fedcli.party.party import Party
    from fedcli.workspace import Workspace

_NAME = "approved-members.json"
_KEPT = 8
"""Fingerprints that count: those of a roster that was amended are still needed while it is in force."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ApprovedMembers:
    """The rosters that the site's operator has approved, the newest last."""

    fingerprints: Annotated[tuple[Annotated[str, Field(pattern=rf"^{FINGERPRINT}$")], ...], Field(max_length=_KEPT)] = ()


def roster_fingerprint(federation: FederationRecord) -> str:
    """Return the fingerprint of the members that train, and of their keys."""
    rows = []
    for site in federation.trainers:
        keys = federation.keys_of(site)
        lines = [key.public_key if (key := key_for(purpose, keys)) else "" for purpose in (Purpose.SIGNING, Purpose.ENCRYPTION)]
        rows.append([site, *lines])
    digest = hashlib.sha256(json.dumps(rows, separators=(",", ":")).encode()).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def unapproved_roster(workspace: Workspace, ledger: Ledger) -> FederationRecord | None:
    """Return the record, in force or coming, whose members a site's operator has still to approve; None if there is none."""
    records = (ledger.in_force(ledger.newest_round + 1).record, ledger.newest_federation)
    waiting = (item for item in records if item.plan.aggregation.masking and not is_approved(workspace, item))
    return next(waiting, None)


def require_roster(party: Party, number: int) -> None:
    """Raise an ApprovalError unless the operator has approved the members of a round."""
    federation = party.ledger.in_force(number).record
    if not is_approved(party.workspace, federation):
        msg = (
            f"{party.name}: the members that train in round {number} are not approved: {', '.join(federation.trainers)}, with "
            f"the fingerprint {roster_fingerprint(federation)}"
        )
        hint = "once all sites are admitted, compare it by telephone with the other sites, not with the coordinator only: "
        raise ApprovalError(msg, hint=f"{hint}`{party.command('approve')}`")


def is_approved(workspace: Workspace, federation: FederationRecord) -> bool:
    """Tell whether the operator has approved the members of a federation record."""
    return roster_fingerprint(federation) in _approved(workspace)


def approve_roster(workspace: Workspace, fingerprint: str) -> None:
    """Remember that the operator has approved the members of this fingerprint."""
    kept = [item for item in _approved(workspace) if item != fingerprint]
    workspace.save(_NAME, ApprovedMembers(fingerprints=(*kept, fingerprint)[-_KEPT:]))


def _approved(workspace: Workspace) -> tuple[str, ...]:
    approved = workspace.load(ApprovedMembers, _NAME)
    return approved.fingerprints if approved is not None else ()
