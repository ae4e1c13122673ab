"""Settings of the federation: how updates are written and aggregated, how results are published, and what is accepted."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from fedcli.plan.choices import Choice, Encoding, Norms, Packing, Rule, Weights
from fedcli.wire import STRICT, Seen, absent_means

MAX_STEPS = (1 << 29) - 1
"""Below 2**29 the product of a step count and a float32 is exact in float64."""

MAX_CLASSES = 64
MAX_ROUNDS = 9999

ClassName = Annotated[str, Field(min_length=1, max_length=64), Seen]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Updates:
    """How an update is written; models are always written as they are.

    Attributes:
        encoding: How its weights are written.
        packing: How its file is compressed.
    """

    encoding: Encoding = Encoding.FLOAT32
    packing: Packing = Packing.NONE


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Aggregation:
    """How updates become the next global model, and when the coordinator closes a round.

    Attributes:
        rule: How K deltas become one step.
        weights: The weight of each delta.
        clip_norm: Longer deltas are scaled to this norm; 0 clips none.
        norms: What the norms of clip_norm and the distances of krum are taken over.
        server_rate: Factor on the step of momentum, adam and yogi.
        momentum: Share of the last step that momentum keeps.
        beta1: Share of the momentum that adam and yogi keep.
        beta2: Share of the variance that they keep.
        tau: Added to the root of the variance: how adaptive they are.
        averaged_rounds: Of how many rounds' models averaged takes the average.
        trim: Values that trimmed-mean leaves out at each end.
        byzantine: Dishonest sites that krum tolerates.
        keep: Updates that krum chooses; more than 1 is multi-Krum.
        quorum: Updates that suffice after the deadline; 0 waits for every site (the paper).
        deadline_hours: Hours from the opening of a round (of the first: from the last admission) to its deadline; 0 sets none.
        masking: Whether updates are masked, so that only the sum of three or more comes out.
    """

    rule: Rule = Rule.MEAN
    weights: Weights = Weights.STEPS
    clip_norm: Annotated[float, Field(ge=0, le=100_000)] = 0.0
    norms: Annotated[Norms, absent_means(Norms.ALL)] = Norms.TRAINED
    server_rate: Annotated[float, Field(gt=0, le=100)] = 1.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99
    tau: Annotated[float, Field(gt=0, le=1)] = 1e-3
    averaged_rounds: Annotated[int, Field(ge=2, le=20), absent_means(5)] = 5
    trim: Annotated[int, Field(ge=0, le=4999)] = 1
    byzantine: Annotated[int, Field(ge=0, le=4999)] = 1
    keep: Annotated[int, Field(ge=1, le=10_000)] = 1
    quorum: Annotated[int, Field(ge=0, le=10_000)] = 0
    deadline_hours: Annotated[float, Field(ge=0, le=8760)] = 0.0
    masking: Annotated[bool, absent_means(value=False)] = False

    @model_validator(mode="after")
    def _masked_updates_are_only_summed(self) -> Aggregation:
        if self.masking and self.rule is not Rule.MEAN:
            msg = f'masking needs rule = "mean": the updates are known only by their sum, which {self.rule} cannot use'
            raise ValueError(msg)
        if self.masking and self.clip_norm:
            msg = f"masking needs clip_norm = 0, found {self.clip_norm:g}: nobody knows the norm of a masked update"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _is_consistent(self) -> Aggregation:
        if (self.quorum > 0) != (self.deadline_hours > 0):
            msg = "quorum and deadline_hours go together: set both, or neither to wait for every site"
            raise ValueError(msg)
        if 0 < self.quorum < self.least:
            msg = f"quorum must be at least {self.least}, the updates that {self.rule} needs, found {self.quorum}"
            raise ValueError(msg)
        return self

    @property
    def least(self) -> int:
        """How many updates the rule needs: more than twice what it leaves out, and at least 2f + 3 for Krum's guarantee."""
        if self.rule is Rule.TRIMMED_MEAN:
            return 2 * self.trim + 1
        if self.rule is Rule.KRUM:
            return max(2 * self.byzantine + 3, self.byzantine + self.keep)
        return 1

    def weight(self, steps: int, images: int | None, patients: int | None) -> int:
        """Return the weight of a delta; 0 if it is a number that is withheld."""
        counted = {Weights.STEPS: steps, Weights.IMAGES: images, Weights.PATIENTS: patients, Weights.EQUAL: 1}
        return counted[self.weights] or 0


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Evaluation:
    """How test results are computed and published.

    Attributes:
        resamples: Bootstrap resamples of patients for each 95 % interval.
        permutations: Random exchanges for the p-value of a comparison of two models.
        dense: The classes of the plan that count as dense; if there are none, that metric is undefined.
        min_cell: Smaller counts, and figures of few patients, are withheld (`fedcli.disclosure`); 0 publishes all.
        bounded_weights: Whether a site counts in the choice of the best round by at most the validation patients of its data set
            record, and all sites count the same where one has none; otherwise by as many as it claims.
        choice: Which of the models that were scored on validation patients is the best.
        other_sites: At how many other sites each site's models are scored, drawn from the plan's seed.
        noninferiority_margin: The report says whether the pooled kappa of one model is worse than another's by more than this; 0
            states no margin.
    """

    resamples: Annotated[int, Field(ge=100, le=100_000)] = 1000
    permutations: Annotated[int, Field(ge=100, le=1_000_000)] = 10_000
    dense: Annotated[tuple[ClassName, ...], Field(max_length=MAX_CLASSES, fail_fast=True)] = ("c", "d")
    min_cell: Annotated[int, Field(ge=0, le=1000)] = 5
    bounded_weights: Annotated[bool, absent_means(value=False)] = True
    choice: Annotated[Choice, absent_means(Choice.HIGHEST)] = Choice.HIGHEST
    other_sites: Annotated[int, Field(ge=0, le=10_000), absent_means(10_000)] = 10_000
    noninferiority_margin: Annotated[float, Field(ge=0, le=1), absent_means(0.0)] = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Limits:
    """The most that a party accepts from another.

    Attributes:
        steps: Largest number of local steps in one round.
        model_mb: Largest artifact, in units of 10**6 bytes.
        buffers: Whether BatchNorm's buffers must stay usable: a counter grows by at most the update's steps and never shrinks, no
            running variance becomes negative, and nothing exceeds 1e15.
        norm: Largest norm of an update's trained weights, in norms of the model's; 0 sets no limit.
        norm_median: Likewise, in medians of the other updates' norms, where there are five updates or more; 0 sets no limit.
    """

    steps: Annotated[int, Field(ge=1, le=MAX_STEPS)] = 1_000_000
    model_mb: Annotated[int, Field(ge=1, le=100_000)] = 4000
    buffers: Annotated[bool, absent_means(value=False)] = True
    norm: Annotated[float, Field(ge=0, le=100_000), absent_means(0.0)] = 100.0
    norm_median: Annotated[float, Field(ge=0, le=100_000), absent_means(0.0)] = 100.0

    @property
    def limit_norms(self) -> bool:
        """Whether the norms of updates have a limit, so that round records state them."""
        return self.norm > 0 or self.norm_median > 0
