"""What goes on between the parties: how updates travel, how they become a model, how results are stated, what is accepted."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from fedcli.plan.choices import Encoding, Packing, Rule, Weights
from fedcli.wire import STRICT

MAX_STEPS = (1 << 29) - 1
"""Below 2**29 the product of a step count and a float32 is exact in float64 (design, section 5)."""

ClassName = Annotated[str, Field(min_length=1, max_length=64)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Updates:
    """How an update travels; models always travel as they are.

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
        weights: What each delta is weighed by.
        clip_norm: The largest norm of a delta, to which a longer one is scaled; 0 clips none.
        server_rate: What momentum, adam and yogi multiply the step by.
        momentum: What momentum keeps of the step before.
        beta1: What adam and yogi keep of their momentum.
        beta2: What they keep of their variance.
        tau: What they add to its root: how adaptive they are.
        trim: Values that trimmed-mean leaves out at each end.
        byzantine: Sites that may lie, for krum.
        keep: Updates that krum chooses; more than 1 is multi-Krum.
        quorum: Updates that suffice once the deadline has passed; 0 waits for every site (the paper).
        deadline_hours: Hours from the opening of a round to its deadline, of the first one from the last admission; 0 sets none.
    """

    rule: Rule = Rule.MEAN
    weights: Weights = Weights.STEPS
    clip_norm: Annotated[float, Field(ge=0, le=100_000)] = 0.0
    server_rate: Annotated[float, Field(gt=0, le=100)] = 1.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99
    tau: Annotated[float, Field(gt=0, le=1)] = 1e-3
    trim: Annotated[int, Field(ge=0, le=4999)] = 1
    byzantine: Annotated[int, Field(ge=0, le=4999)] = 1
    keep: Annotated[int, Field(ge=1, le=10_000)] = 1
    quorum: Annotated[int, Field(ge=0, le=10_000)] = 0
    deadline_hours: Annotated[float, Field(ge=0, le=8760)] = 0.0

    @model_validator(mode="after")
    def _go_together(self) -> Aggregation:
        if (self.quorum > 0) != (self.deadline_hours > 0):
            msg = "quorum and deadline_hours go together: set both, or neither to wait for every site"
            raise ValueError(msg)
        if 0 < self.quorum < self.least:
            msg = f"quorum must be at least {self.least}, the updates that {self.rule} needs, found {self.quorum}"
            raise ValueError(msg)
        return self

    @property
    def least(self) -> int:
        """How many updates the rule needs: more than twice what it leaves out; 2f + 3 for Krum's promise to hold."""
        if self.rule is Rule.TRIMMED_MEAN:
            return 2 * self.trim + 1
        if self.rule is Rule.KRUM:
            return max(2 * self.byzantine + 3, self.byzantine + self.keep)
        return 1

    def weight(self, steps: int, images: int, patients: int) -> int:
        """Return what a delta is weighed by."""
        return {Weights.STEPS: steps, Weights.IMAGES: images, Weights.PATIENTS: patients, Weights.EQUAL: 1}[self.weights]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Evaluation:
    """How test results are stated.

    Attributes:
        resamples: Bootstrap resamples of patients behind each 95 % interval.
        permutations: Random exchanges behind the p-value of a comparison of two models.
        dense: The classes that count as dense, of the plan's; none leaves that metric out.
        min_cell: Cells of a confusion matrix with fewer cases, but for none, are not published; 0 publishes all.
    """

    resamples: Annotated[int, Field(ge=100, le=100_000)] = 1000
    permutations: Annotated[int, Field(ge=100, le=1_000_000)] = 10_000
    dense: Annotated[tuple[ClassName, ...], Field(max_length=64)] = ("c", "d")
    min_cell: Annotated[int, Field(ge=0, le=1000)] = 0


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Limits:
    """What a party accepts at most from another.

    Attributes:
        steps: Largest number of local steps in one round.
        model_mb: Largest artifact, in units of 10**6 bytes.
    """

    steps: Annotated[int, Field(ge=1, le=MAX_STEPS)] = 1_000_000
    model_mb: Annotated[int, Field(ge=1, le=100_000)] = 4000
