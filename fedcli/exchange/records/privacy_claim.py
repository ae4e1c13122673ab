"""What an update costs the patients that trained, as its site claims."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from fedcli.exchange.records.record import NotNegative, Steps
from fedcli.privacy.accountant import PrivateSteps
from fedcli.wire import STRICT, ShortText


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class PrivacyClaim:
    """The facts from which anybody recomputes ε, and the site's own sum; whether noise was added they do not prove.

    Attributes:
        mechanism: How the promise is kept.
        unit: Whose data the promise is about.
        patients: N₀, the number of training patients that the site has declared once; the true one may differ.
        batch: The planned number of patients in a step, by which the noisy sum is divided.
        sampling_rate: q = batch / patients, with which a step takes each patient.
        noise: σ.
        clipping: C.
        steps: Steps of this update.
        delta: δ.
        epsilon_before: ε at δ of all that the site had spent before.
        epsilon: ε at δ of everything, this update included.
        accountant: What computed both.
    """

    mechanism: Literal["patient-dp-sgd"] = "patient-dp-sgd"
    unit: Literal["patient"] = "patient"
    patients: Annotated[int, Field(ge=1, le=10_000_000)]
    batch: Annotated[int, Field(ge=1, le=1_000_000)]
    sampling_rate: Annotated[float, Field(gt=0, le=1)]
    noise: Annotated[float, Field(ge=0, le=1000)]
    clipping: Annotated[float, Field(gt=0, le=100_000)]
    steps: Steps
    delta: Annotated[float, Field(gt=0, le=0.1)]
    epsilon_before: NotNegative
    epsilon: NotNegative
    accountant: ShortText

    @property
    def cost(self) -> PrivateSteps:
        """What the accountant takes of it."""
        return PrivateSteps(sampling_rate=self.sampling_rate, noise=self.noise, steps=self.steps)
