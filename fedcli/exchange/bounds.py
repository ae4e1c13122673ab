"""How much a party can make others read: the size of each kind of record, and the number of files.

The bounds follow from what the coordinator has signed: the members, the classes and the rounds. Each is several times what fedcli
itself writes, so that no honest record reaches it. They are checked before anything is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fedcli.exchange.records import MAX_MEMBERS, MAX_RECORD_BYTES, MOST_GRANTED
from fedcli.plan import MAX_CLASSES, MAX_ROUNDS

if TYPE_CHECKING:
    from fedcli.exchange.records import FederationRecord

MAX_APPLICANTS = 256
"""Sites that have enrolled and are not members: as many are listed."""
MAX_APPLICANT_FILES = 64
"""Files of such a site that are listed: it has only enrolled."""
MAX_PARTY_BYTES = 64 << 20
"""Bytes of a party's records that are read at once, where no plan masks updates."""

_KIB = 1 << 10
_FILES_OUTSIDE_ROUNDS = 512
_FILES_PER_ROUND = 12
"""A folder, three records with their signatures, one or two artifacts, and what a broken upload has left."""
_KIND = re.compile(
    r"(?:coordinator|sites/[^/]+)/(?:(federation|archive|enrolment)-|(dataset|models|evaluation|grants|masks)/"
    r"|round-[0-9]+/(round|update|opening|closing|unmask|sum)\.)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The bounds of one federation; the widest ones before its first record is known.

    Attributes:
        sites: The sites that have ever been members; None if they are not known.
        classes: The number of classes.
        rounds: The rounds of the longest plan.
        masking: Whether a plan masks updates, so that every update names all members as recipients.
    """

    sites: frozenset[str] | None = None
    classes: int = MAX_CLASSES
    rounds: int = MAX_ROUNDS
    masking: bool = False

    def after(self, record: FederationRecord) -> Bounds:
        """Return the bounds once a federation record has been added."""
        members, plan = {member.site for member in record.members}, record.plan
        if self.sites is None:
            masking = plan.aggregation.masking
            return Bounds(sites=frozenset(members), classes=len(plan.classes), rounds=plan.rounds, masking=masking)
        return replace(
            self,
            sites=self.sites | members,
            rounds=max(self.rounds, plan.rounds),
            masking=self.masking or plan.aggregation.masking,
        )

    @property
    def members(self) -> int:
        """The number of sites that have ever been members."""
        return MAX_MEMBERS if self.sites is None else len(self.sites)

    @property
    def scores(self) -> int:
        """Models that an evaluation can score: three of each site, and some global ones."""
        return 16 + 3 * self.members

    @property
    def series(self) -> int:
        """Records of a series (enrolments, data sets, models of a kind, evaluations) that are read: the newest ones."""
        return 64 + self.scores

    @property
    def files(self) -> int:
        """Files and folders that a party can have."""
        return _FILES_OUTSIDE_ROUNDS + 8 * self.series + _FILES_PER_ROUND * (self.rounds + 1)

    @property
    def party_bytes(self) -> int:
        """Bytes of a party's records that are read at once; what comes after them is ignored."""
        return MAX_PARTY_BYTES + (2 * _KIB * self.members * self.rounds if self.masking else 0)

    def record_bytes(self, key: str) -> int:
        """Return the largest size of the record under a key."""
        match = _KIND.match(key)
        kind = match[match.lastindex] if match and match.lastindex else ""
        most = {
            "federation": 128 * _KIB + 4 * _KIB * MAX_MEMBERS,  # it may bring in members, each with two keys
            "round": 128 * _KIB + self.members * (13 * _KIB + 200 * self.rounds),  # a reason for each, or its late updates
            "sum": 128 * _KIB + 13 * _KIB * self.members,  # a reason for each
            "opening": 64 * _KIB + 13 * _KIB * self.members,  # a reason for each
            "closing": 64 * _KIB + 13 * _KIB * self.members,
            "update": 64 * _KIB + 2 * _KIB * self.members,  # masked ones are sealed to all members
            "unmask": 16 * _KIB + _KIB * self.members,  # a share or a complaint for each
            "masks": 64 * _KIB + 2 * _KIB * self.members,
            "models": 64 * _KIB + 2 * _KIB * self.members,
            "grants": 64 * _KIB + 2 * _KIB * MOST_GRANTED,
            "dataset": 64 * _KIB + 256 * self.classes,
            "evaluation": 64 * _KIB + self.scores * (6 * _KIB + 64 * self.classes**2),
        }.get(kind, 16 * _KIB)
        return min(most, MAX_RECORD_BYTES)
