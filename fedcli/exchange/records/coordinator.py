"""The coordinator's records beside those of rounds: the federation, and archives."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from fedcli.exchange.layout import COORDINATOR
from fedcli.exchange.records.record import MAX_MEMBERS, Keys, Number, Ordinal, PublicKey, Purpose, Record, Role, key_for
from fedcli.plan import Plan
from fedcli.wire import STRICT, Digest, LongText, SiteName, absent_means


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Member:
    """A site of the federation and its public keys.

    Attributes:
        site: Its name.
        keys: Its keys.
        tester: Whether it has test patients only: it sends no updates, no round waits for it, and it signs evaluations.
    """

    site: SiteName
    keys: Keys
    tester: Annotated[bool, absent_means(value=False)] = False

    @model_validator(mode="after")
    def _is_a_site(self) -> Member:
        if self.site == COORDINATOR:
            msg = "a site cannot be called coordinator"
            raise ValueError(msg)
        return self


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class FederationRecord(Record):
    """The plan, the members and the coordinator's keys, in force from a round until the next such record takes over.

    Attributes:
        number: Counts from 0.
        previous: Digest of the record before; null in the first.
        from_round: First round under it; later than the newest one published.
        coordinator: The coordinator's keys; the old key signs the record that lists a new one.
        members: The sites, sorted by name.
        plan: What all agree on.
        split_fixed: Whether seed and split stay those of the first plan; false, and left out, in federations begun before that.
        recovery: The key, kept offline, that can replace the coordinator's keys; null if there is none.
        reason: Why it amends the one before, in words for whom it concerns; null if nobody gave a reason.
    """

    schema: Literal["fedcli/federation@1"] = "fedcli/federation@1"
    number: Number
    previous: Digest | None
    from_round: Number
    coordinator: Keys
    members: Annotated[tuple[Member, ...], Field(max_length=MAX_MEMBERS, fail_fast=True)]
    plan: Plan
    split_fixed: Annotated[bool, absent_means(value=False)] = True
    recovery: Annotated[PublicKey | None, absent_means(None)] = None
    reason: Annotated[LongText | None, absent_means(None)] = None

    @model_validator(mode="after")
    def _sorted_members(self) -> FederationRecord:
        names = [member.site for member in self.members]
        if names != sorted(set(names)):
            msg = "members must be sorted by name, each once"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _sealing_has_keys(self) -> FederationRecord:
        parties = {COORDINATOR: self.coordinator} | {member.site: member.keys for member in self.members}
        lacking = [name for name, keys in parties.items() if key_for(Purpose.ENCRYPTION, keys) is None]
        if self.plan.confidentiality.sealing and lacking:
            msg = f"the plan seals files, and there is no encryption key of {', '.join(lacking[:3])}"
            raise ValueError(msg)
        return self

    def keys_of(self, party: str) -> Keys:
        """Return the keys that the record lists for a party: none if it is not a member."""
        if party == COORDINATOR:
            return self.coordinator
        return next((member.keys for member in self.members if member.site == party), ())

    @property
    def trainers(self) -> tuple[str, ...]:
        """The members that train, sorted."""
        return tuple(member.site for member in self.members if not member.tester)

    @property
    def testers(self) -> tuple[str, ...]:
        """The members that only test, sorted."""
        return tuple(member.site for member in self.members if member.tester)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ArchiveRecord(Record):
    """Artifacts of old rounds were moved into a tar: from now on they may be absent from the drop folder.

    Attributes:
        number: Counts from 1; the newest counts.
        as_of: Newest round when it was made.
        before: The first round that can be recomputed without the tar; at most the newest one.
        tar: SHA-256 of the tar.
    """

    schema: Literal["fedcli/archive@1"] = "fedcli/archive@1"
    number: Ordinal
    as_of: Number
    before: Ordinal
    tar: Digest

    @model_validator(mode="after")
    def _keeps_the_newest_round(self) -> ArchiveRecord:
        if self.before > self.as_of:
            msg = f"archived before round {self.before}, though the newest was {self.as_of}"
            raise ValueError(msg)
        return self


def archivable(number: int, role: Role, before: int) -> bool:
    """Tell whether an archive before round `before` may move out an artifact of a round.

    What round `before` starts from stays, and so does φ(0), which sets the layout of every model and starts local training.
    """
    return number < before if role is Role.UPDATE else 0 < number < before - 1
