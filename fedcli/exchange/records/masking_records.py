"""The records of a masked round: masks prepared ahead, its opening, its closing, and the answers that remove the masks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from fedcli.exchange.records.record import MAX_MEMBERS, Artifact, Ordinal, Record
from fedcli.exchange.records.round_record import Excused, Rejected
from fedcli.exchange.records.site_record import SiteRecord
from fedcli.wire import STRICT, Digest, ShortText, SiteName

MAX_MASKED_ROUNDS = 64
"""Rounds for which one record prepares masks."""
LEAST_PARTICIPANTS = 3
"""Of two participants each would know the other's delta from the sum."""

ShareText = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{44}$")]
"""A share of 33 bytes in base64."""


def _require_sorted(what: str, names: list[str]) -> None:
    if names != sorted(set(names)):
        msg = f"{what} must be sorted by name, each once"
        raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class MasksRecord(SiteRecord):
    """What a site has prepared to mask its updates of a run of rounds.

    Attributes:
        number: Counts from 1; for each round the newest counts that covers it under the federation record in force.
        federation_record: Digest of the federation record whose members that train have the shares.
        first_round: The first round.
        num_rounds: The number of rounds.
        artifacts: The public keys, the digests of secrets and shares, and a box of shares for each of these members.
    """

    schema: Literal["fedcli/masks@1"] = "fedcli/masks@1"
    number: Ordinal
    federation_record: Digest
    first_round: Ordinal
    num_rounds: Annotated[int, Field(ge=1, le=MAX_MASKED_ROUNDS)]
    artifacts: Annotated[tuple[Artifact, ...], Field(min_length=1, max_length=1, fail_fast=True)]

    def covers(self, number: int, federation_record: str) -> bool:
        """Tell whether these masks can be used in a round under a federation record."""
        return self.federation_record == federation_record and 0 <= number - self.first_round < self.num_rounds


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Participant:
    """A site that takes part in a masked round, and the digest of its masks record."""

    site: SiteName
    masks: Digest


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class OpeningRecord(Record):
    """Who takes part in a masked round, and with which masks; there is one for a round.

    Attributes:
        round: t.
        parent: Digest of the record of round t-1.
        federation_record: Digest of the federation record in force.
        participants: U0, sorted by site.
        excused: Members without which a person opened the round, and why, sorted.
    """

    schema: Literal["fedcli/opening@1"] = "fedcli/opening@1"
    round: Ordinal
    parent: Digest
    federation_record: Digest
    participants: Annotated[tuple[Participant, ...], Field(min_length=LEAST_PARTICIPANTS, max_length=MAX_MEMBERS, fail_fast=True)]

    excused: Annotated[tuple[Excused, ...], Field(max_length=MAX_MEMBERS, fail_fast=True)] = ()

    @model_validator(mode="after")
    def _sorted_participants(self) -> OpeningRecord:
        _require_sorted("participants", [item.site for item in self.participants])
        _require_sorted("excused", [item.site for item in self.excused])
        return self

    @property
    def sites(self) -> tuple[str, ...]:
        """The participants' names, sorted."""
        return tuple(item.site for item in self.participants)

    def masks_of(self, site: str) -> str:
        """Return the digest of a participant's masks record; an empty text for another site."""
        return next((item.masks for item in self.participants if item.site == site), "")


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Survivor:
    """A participant whose masked update is used, and the digest of its update record."""

    site: SiteName
    update: Digest


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ClosingRecord(Record):
    """Whose masked updates of a round are summed; there is one for a round. It names every member that trains.

    Attributes:
        round: t.
        opening: Digest of the opening record.
        survivors: U1, sorted by site.
        absent: Members that have sent nothing, sorted.
        excused: Members that have sent nothing, and without which a person closed the round, sorted.
        rejected: Members whose update was refused, sorted.
    """

    schema: Literal["fedcli/closing@1"] = "fedcli/closing@1"
    round: Ordinal
    opening: Digest
    survivors: Annotated[tuple[Survivor, ...], Field(min_length=LEAST_PARTICIPANTS, max_length=MAX_MEMBERS, fail_fast=True)]
    absent: Annotated[tuple[SiteName, ...], Field(max_length=MAX_MEMBERS, fail_fast=True)] = ()
    excused: Annotated[tuple[Excused, ...], Field(max_length=MAX_MEMBERS, fail_fast=True)] = ()
    rejected: Annotated[tuple[Rejected, ...], Field(max_length=MAX_MEMBERS, fail_fast=True)] = ()

    @model_validator(mode="after")
    def _sorted_sites(self) -> ClosingRecord:
        _require_sorted("survivors", [item.site for item in self.survivors])
        _require_sorted("absent", list(self.absent))
        _require_sorted("excused", [item.site for item in self.excused])
        _require_sorted("rejected", [item.site for item in self.rejected])
        return self

    @property
    def sites(self) -> tuple[str, ...]:
        """The survivors' names, sorted."""
        return tuple(item.site for item in self.survivors)

    @property
    def named(self) -> tuple[str, ...]:
        """All members that it names, sorted."""
        without = (*self.absent, *(item.site for item in self.excused), *(item.site for item in self.rejected))
        return tuple(sorted((*self.sites, *without)))


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Complaint:
    """A participant whose shares a site cannot state: its box did not open, or held other shares than the published ones."""

    dealer: SiteName
    fault: ShortText


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class UnmaskRecord(SiteRecord):
    """A survivor's answer to a closing: a share of every survivor's seed, and of every other participant's private key.

    Attributes:
        round: t.
        closing: Digest of the closing record.
        shares: One for each participant, in the order of the opening; null for those it complains of.
        complaints: Whose shares it does not have, sorted by dealer.
    """

    schema: Literal["fedcli/unmask@1"] = "fedcli/unmask@1"
    round: Ordinal
    closing: Digest
    shares: Annotated[tuple[ShareText | None, ...], Field(min_length=LEAST_PARTICIPANTS, max_length=MAX_MEMBERS, fail_fast=True)]
    complaints: Annotated[tuple[Complaint, ...], Field(max_length=MAX_MEMBERS, fail_fast=True)] = ()

    @model_validator(mode="after")
    def _complains_of_what_is_missing(self) -> UnmaskRecord:
        _require_sorted("complaints", [item.dealer for item in self.complaints])
        if len(self.complaints) != self.shares.count(None):
            msg = f"{self.shares.count(None)} shares are missing, expected as many complaints, found {len(self.complaints)}"
            raise ValueError(msg)
        return self
