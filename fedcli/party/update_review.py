"""The review of a round's updates before the global model is published: each site's figures, and which of them are unusual.

A value is odd if its robust z-score is large (Iglewicz & Hoaglin 1993): 0.6745 · (x - median) / MAD, MAD being the median
absolute deviation; if more than half of the values are equal, it is (x - median) / (1.2533 · mean absolute deviation). The
divisor is never below 0.01 (of the median, for norms), so that rounding does not separate sites that almost agree. Beyond 3.5 a
site is flagged: for its norm on either side, for its cosine and its change of kappa only below. A flag asks a person to look; it
rejects nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean, median
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from fedcli.aggregation.fold import Share
    from fedcli.exchange.checks import Verified
    from fedcli.exchange.records import UpdateRecord

ODD = 3.5
_NORMAL_MAD = 0.6745
_NORMAL_MEAN_DEVIATION = 1.2533
_SMALLEST = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteReview:
    """One site's update of the open round.

    Attributes:
        site: The site.
        steps: n_k.
        weight: What its delta is multiplied by; 0 if Krum does not choose it.
        received_kappa: Validation kappa of the model that it received.
        trained_kappa: Validation kappa of the model that it trained.
        norm: Norm of its delta.
        norm_score: The norm's robust z-score.
        cosine: Between its delta and the step of all.
        cosine_score: The cosine's robust z-score.
        age_hours: Hours since it was made.
        odd: What is odd about it, in words; empty if nothing is.
    """

    site: str
    steps: int
    weight: int
    received_kappa: float | None
    trained_kappa: float | None
    norm: float
    norm_score: float
    cosine: float | None
    cosine_score: float | None
    age_hours: float
    odd: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A reviewer's decision.

    Attributes:
        publish: Whether to publish what remains; False publishes nothing now.
        rejected: Sites that are left out of this round, with the reason that the round record states.
    """

    publish: bool
    rejected: tuple[tuple[str, str], ...] = ()


class RoundReviewer(Protocol):
    """Reviews the updates of a round before the global model is published."""

    def __call__(self, round_number: int, sites: tuple[SiteReview, ...], /) -> Verdict:
        """Return what to do; called again without the sites that were rejected."""


def robust_scores(values: Sequence[float | None], *, relative: bool = False) -> tuple[float | None, ...]:
    """Return the robust z-score of each value, None for None; `relative` measures in units of the median."""
    known = [value for value in values if value is not None]
    if not known:
        return tuple(None for _ in values)
    middle = median(known)
    deviations = [abs(value - middle) for value in known]
    scale = median(deviations) / _NORMAL_MAD or _NORMAL_MEAN_DEVIATION * fmean(deviations)
    scale = max(scale, _SMALLEST * (abs(middle) if relative else 1.0))
    return tuple(None if value is None else round((value - middle) / scale, 1) if scale else 0.0 for value in values)


def review(records: Mapping[str, Verified[UpdateRecord]], shares: Sequence[Share], now: datetime) -> tuple[SiteReview, ...]:
    """Return the figures of every site whose update is used."""
    norms = robust_scores([share.norm for share in shares], relative=True)
    cosines = robust_scores([share.cosine for share in shares])
    gains = robust_scores([_gain(records[share.site].record) for share in shares])
    reviews = []
    for share, norm, cosine, gain in zip(shares, norms, cosines, gains, strict=True):
        record = records[share.site].record
        reviews.append(
            SiteReview(
                site=share.site,
                steps=record.steps,
                weight=share.weight,
                received_kappa=record.received.kappa,
                trained_kappa=record.trained.kappa,
                norm=share.norm,
                norm_score=norm or 0.0,
                cosine=share.cosine,
                cosine_score=cosine,
                age_hours=round((now - record.created).total_seconds() / 3600, 1),
                odd=tuple(_odd(norm, cosine, gain)),
            )
        )
    return tuple(reviews)


def _odd(norm: float | None, cosine: float | None, gain: float | None) -> list[str]:
    words = []
    if norm is not None and abs(norm) > ODD:
        words.append(f"its norm is {abs(norm):.1f} deviations {'above' if norm > 0 else 'below'} the median")
    if cosine is not None and cosine < -ODD:
        words.append(f"the cosine of its direction is {-cosine:.1f} deviations below the median")
    if gain is not None and gain < -ODD:
        words.append(f"its gain in kappa is {-gain:.1f} deviations below the median")
    return words


def _gain(record: UpdateRecord) -> float | None:
    before, after = record.received.kappa, record.trained.kappa
    return None if before is None or after is None else after - before
