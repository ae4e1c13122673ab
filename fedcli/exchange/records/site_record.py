"""What a site's records on its work have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic.dataclasses import dataclass

from fedcli.cohort import Count
from fedcli.exchange.records.record import Kappa, NotNegative, Number, Record
from fedcli.wire import SHORT_DIGEST, STRICT, Digest, absent_means


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ValidationScore:
    """A model on a site's validation patients; null if there are none, or if the figure is undefined or withheld.

    Attributes:
        patients: Cases scored.
        loss: Mean cross-entropy per image.
        kappa: Linear weighted kappa.
    """

    patients: Count
    loss: NotNegative | None
    kappa: Kappa | None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class SeenRound:
    """A round record that a site had verified: its number and its SHA-256."""

    round: Number
    sha256: Digest

    def __str__(self) -> str:
        """Return both in words."""
        return f"round {self.round}, {self.sha256[:SHORT_DIGEST]}"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class SiteRecord(Record):
    """What a site's records on its work say.

    Attributes:
        seen: The newest round that the site had verified; null in records of an older fedcli.
    """

    seen: Annotated[SeenRound | None, absent_means(None)] = None
