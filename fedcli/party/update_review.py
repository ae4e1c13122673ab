"""The review of a round's updates before the global model is published: each site's figures, and which of them are unusual.

With five sites or more, a value is compared by its robust z-score (Iglewicz & Hoaglin 1993): 0.6745 · (x - median) / MAD, where
MAD is the median absolute deviation; if more than half of the values are equal, it is (x - median) / (1.2533 · mean absolute
deviation). Norms are compared by their logarithms. The divisor is never below 0.01: rounding does not separate sites that almost
agree. Fewer sites have no scores, since two can always make a third look odd. Norms and cosines are those of the trained weights:
BatchNorm's running variances would hide all else.

Honest sites differ: a flag needs a difference that is large by itself, too. docs/studies.md has the figures behind the limits. A
change of kappa is shown, but not flagged: of honest sites with fifty validation patients it falls by 0.7 in single rounds. A flag
asks a person to look; it rejects nobody.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean, median
from typing import TYPE_CHECKING, Protocol

from fedcli.aggregation.rules import rule_of
from fedcli.plan.norm_limits import LEAST

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from fedcli.aggregation.fold import Share
    from fedcli.exchange.records import UpdateRecord
    from fedcli.party.received_updates import ReceivedUpdates
    from fedcli.plan import Plan

ODD = 3.5
"""Scores beyond this are odd, if the value is also beyond one of the limits below."""
_NORM_FACTOR, _NORM_FACTOR_OF_FEW = 5.0, 10.0
"""A norm so many times the others' median, or that part of it; of fewer than five sites, of all others."""
_COSINE, _COSINE_OF_FEW, _COSINE_SCORE = -0.5, -0.8, 2.5
"""A cosine to the others' mean below this; its score need not be as large, since cosines are bounded."""
_NORMAL_MAD = 0.6745
_NORMAL_MEAN_DEVIATION = 1.2533
_SMALLEST = 0.01
_EMPTY = 1e-30
"""A norm of 0 counts as this one."""
_FEW = 2
"""Of so many sites one has half of the weight, or more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteReview:
    """One site's update of the open round.

    Attributes:
        site: The site.
        steps: n_k.
        weight: What its delta is multiplied by; 0 if Krum does not choose it.
        received_kappa: Validation kappa of the model that it received.
        trained_kappa: Validation kappa of the model that it trained.
        norm: Norm of its delta, with the buffers.
        norm_score: The robust z-score of the logarithm of `trained_norm`; None with fewer than five sites.
        cosine: Between its delta and the step of all.
        cosine_score: The robust z-score of `others_cosine`; None with fewer than five sites.
        others_cosine: Between its trained weights and the mean of all others', each with at most the median weight.
        trained_norm: Norm of its trained weights, as they are used.
        age_hours: Hours since it was made.
        odd: What is odd about it, in words; empty if nothing is.
    """

    site: str
    steps: int
    weight: int
    received_kappa: float | None
    trained_kappa: float | None
    norm: float
    norm_score: float | None
    cosine: float | None
    cosine_score: float | None
    age_hours: float
    odd: tuple[str, ...]
    others_cosine: float | None
    trained_norm: float


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


def robust_scores(values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Return the robust z-score of each value, None for None."""
    known = [value for value in values if value is not None]
    if not known:
        return tuple(None for _ in values)
    middle = median(known)
    deviations = [abs(value - middle) for value in known]
    scale = median(deviations) / _NORMAL_MAD or _NORMAL_MEAN_DEVIATION * fmean(deviations)
    scale = max(scale, _SMALLEST)
    return tuple(None if value is None else round((value - middle) / scale, 1) for value in values)


def review(received: ReceivedUpdates, shares: Sequence[Share], plan: Plan, now: datetime) -> tuple[SiteReview, ...]:
    """Return the figures of every site whose update is used."""
    scored = len(shares) >= LEAST
    norms = robust_scores([math.log(max(share.trained_norm, _EMPTY)) if scored else None for share in shares])
    cosines = robust_scores([share.others_cosine if scored else None for share in shares])
    reviews = []
    for share, norm, cosine in zip(shares, norms, cosines, strict=True):
        record = received.records[share.site].record
        others = [other.trained_norm for other in shares if other is not share]
        odd = (
            *_odd_claims(record, plan),
            *(_odd_weight(share, shares) if rule_of(plan.aggregation).weighted else ()),
            *_odd_norm(share.trained_norm, others, norm),
            *_odd_cosine(share.others_cosine, cosine),
        )
        remark = received.remarks.get(share.site)
        reviews.append(
            SiteReview(
                site=share.site,
                steps=record.steps,
                weight=share.weight,
                received_kappa=record.received.kappa,
                trained_kappa=record.trained.kappa,
                norm=share.norm,
                norm_score=norm,
                cosine=share.cosine,
                cosine_score=cosine,
                age_hours=round((now - record.created).total_seconds() / 3600, 1),
                odd=(*odd, remark) if remark else odd,
                others_cosine=share.others_cosine,
                trained_norm=share.trained_norm,
            )
        )
    return tuple(reviews)


def _odd_claims(record: UpdateRecord, plan: Plan) -> Iterator[str]:
    if record.images is None:  # its steps are checked against what it has declared
        return
    expected = plan.training.epochs * plan.training.steps_per_epoch(record.images)
    if record.steps != expected:  # more are refused
        yield f"it claims {record.steps} steps, where the plan takes {expected} with {record.images} images"


def _odd_weight(share: Share, shares: Sequence[Share]) -> Iterator[str]:
    weights = [other.weight for other in shares if other.weight]
    if len(weights) > _FEW and share.weight > (total := sum(weights)) / 2:
        yield f"it has {1000 * share.weight // total / 10} % of the weight of the round"


def _odd_norm(norm: float, others: Sequence[float], score: float | None) -> Iterator[str]:
    middle = median(others) if others else 0.0
    if score is None:  # of two others, a single one moves the median
        outside = middle > 0 and not min(others) / _NORM_FACTOR_OF_FEW <= norm <= max(others) * _NORM_FACTOR_OF_FEW
    else:
        outside = abs(score) > ODD and middle > 0 and not middle / _NORM_FACTOR <= norm <= middle * _NORM_FACTOR
    if outside:
        yield f"its norm is {norm / middle:.2g} times the others' median{_certainty(score)}"


def _odd_cosine(cosine: float | None, score: float | None) -> Iterator[str]:
    limit = _COSINE_OF_FEW if score is None else _COSINE
    if cosine is not None and cosine < limit and (score is None or score < -_COSINE_SCORE):
        yield f"its direction is opposite to the others': their cosine is {cosine:.2f}{_certainty(score)}"


def _certainty(score: float | None) -> str:
    return ", but fewer than five sites prove nothing" if score is None else f", {abs(score):.1f} deviations from the median"
