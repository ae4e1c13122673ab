"""A region's record of the weighted mean that it sends to the federation above."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from fedcli.exchange.records.record import MAX_MEMBERS, NotNegative, Ordinal, Record, Size
from fedcli.exchange.records.round_record import Contribution, Excused, Rejected
from fedcli.wire import STRICT, Digest, SiteName, absent_means


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class SumRecord(Record):
    """Which updates of a round a region has summed; there is one for a round. It names every member that trains.

    Attributes:
        round: t, of this federation and of the one above.
        parent: Digest of the record of round t-1.
        federation_record: Digest of the federation record in force.
        contributions: The updates used, sorted by site.
        absent: Members that have sent nothing, sorted.
        excused: Members that have sent nothing, and without which a person closed the round, sorted.
        rejected: Members whose update was refused, sorted.
        base_norm: The norm of the trained weights of φ(t-1), to six digits; left out where the plan limits no norms.
        content_size: Bytes of the weighted mean as a canonical safetensors file.
        content_sha256: Its digest.
    """

    schema: Literal["fedcli/sum@1"] = "fedcli/sum@1"
    round: Ordinal
    parent: Digest
    federation_record: Digest
    contributions: Annotated[tuple[Contribution, ...], Field(min_length=1, max_length=MAX_MEMBERS, fail_fast=True)]
    absent: Annotated[tuple[SiteName, ...], Field(max_length=MAX_MEMBERS, fail_fast=True)] = ()
    excused: Annotated[tuple[Excused, ...], Field(max_length=MAX_MEMBERS, fail_fast=True)] = ()
    rejected: Annotated[tuple[Rejected, ...], Field(max_length=MAX_MEMBERS, fail_fast=True)] = ()
    base_norm: Annotated[NotNegative | None, absent_means(None)] = None
    content_size: Size
    content_sha256: Digest

    @property
    def without(self) -> tuple[str, ...]:
        """The members whose update is not in it."""
        return (*self.absent, *(item.site for item in self.excused), *(item.site for item in self.rejected))
