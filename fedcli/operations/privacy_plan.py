"""How much noise a privacy budget asks for, and what other noise and other numbers of rounds would cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcli.disk import write_whole
from fedcli.errors import UsageError
from fedcli.privacy.accountant import (
    LEAST_NOISE,
    MOST_NOISE,
    MOST_STEPS,
    PrivacyCost,
    PrivateSteps,
    epsilon,
    least_noise,
    require_package,
)
from fedcli.results import Result, Status
from fedcli.text.wording import counted

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.environment import Environment

_PICTURES = (".svg", ".png")
_NOISE = (0.5, 0.71, 1.0, 1.41, 2.0)
"""Multiples of the proposed σ in the table."""
_ROUNDS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
"""Multiples of the number of rounds in the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyPlanRequest:
    """A site, a budget, and how it is to be spent.

    Attributes:
        patients: N₀, the site's training patients: a public number.
        epsilon: The budget.
        delta: δ.
        rounds: Number of rounds.
        batch: Patients in a step, on average.
        epochs: Epochs in a round, each of ceil(patients / batch) steps.
        steps: Steps in a round, in place of epochs.
        picture: The file for the picture, .svg or .png; None for no picture.
    """

    patients: int
    epsilon: float
    delta: float
    rounds: int
    batch: int
    epochs: int = 1
    steps: int | None = None
    picture: Path | None = None

    def __post_init__(self) -> None:
        if self.batch > self.patients:
            msg = f"--batch {self.batch} is more than --patients {self.patients}"
            raise UsageError(msg)
        if self.delta * self.patients >= 1:
            msg = f"--delta {self.delta:g} is not below 1 / patients = {1 / self.patients:.3g}"
            hint = "a delta this large permits publishing one patient's images; use a tenth of 1 / patients or less"
            raise UsageError(msg, hint=hint)
        if self.steps_per_round * self.rounds > MOST_STEPS:
            msg = f"{self.rounds} rounds of {counted(self.steps_per_round, 'step')} are more than {MOST_STEPS:,} steps"
            raise UsageError(msg)
        if self.picture is not None and self.picture.suffix not in _PICTURES:
            msg = f"--picture {self.picture}: expected a file that ends with {' or '.join(_PICTURES)}"
            raise UsageError(msg)

    @property
    def sampling_rate(self) -> float:
        """The probability with which a step takes a patient."""
        return self.batch / self.patients

    @property
    def steps_per_round(self) -> int:
        """Number of steps in a round."""
        return self.steps or -(-self.patients // self.batch) * self.epochs


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyPlanResult(Result):
    """How much noise to add.

    Attributes:
        noise: The smallest σ within the budget.
        epsilon: ε of all rounds with it.
        delta: δ.
        sampling_rate: The probability with which a step takes a patient.
        steps: Steps in a round.
        rounds: Number of rounds.
        costs: ε of other noise and other numbers of rounds: for each σ in turn, one entry per number of rounds.
        picture: The file of the picture; empty for none.
    """

    noise: float
    epsilon: float
    delta: float
    sampling_rate: float
    steps: int
    rounds: int
    costs: tuple[PrivacyCost, ...]
    picture: str


def privacy_plan(request: PrivacyPlanRequest, environment: Environment) -> PrivacyPlanResult:
    """Return the smallest noise with which a site stays within its budget, and draw the costs if asked to.

    Raises:
        UsageError: The request cannot be met, or dp-accounting is not installed.
    """
    require_package()
    steps = request.steps_per_round
    noise = least_noise(request.sampling_rate, steps * request.rounds, epsilon=request.epsilon, delta=request.delta)
    if noise is None:
        rounds = f"{counted(request.rounds, 'round')} of {counted(steps, 'step')}"
        msg = f"{rounds} cost more than epsilon {request.epsilon:g} with any noise up to {MOST_NOISE:g}"
        raise UsageError(msg, hint="plan fewer rounds, or a smaller batch")
    costs = _costs(request, noise, environment)
    if request.picture is not None:
        _draw(request, costs, request.picture)
    spent = next(cost.epsilon for cost in costs if (cost.noise, cost.rounds) == (noise, request.rounds))
    return PrivacyPlanResult(
        status=Status.DONE,
        message=_in_words(request, noise, spent),
        noise=noise,
        epsilon=spent,
        delta=request.delta,
        sampling_rate=request.sampling_rate,
        steps=steps,
        rounds=request.rounds,
        costs=costs,
        picture=str(request.picture or ""),
    )


def _costs(request: PrivacyPlanRequest, noise: float, environment: Environment) -> tuple[PrivacyCost, ...]:
    noises = sorted({max(LEAST_NOISE, round(noise * factor, 3)) for factor in _NOISE})
    rounds = sorted({max(1, round(request.rounds * factor)) for factor in _ROUNDS})
    costs = []
    with environment.progress.track("composing", len(noises) * len(rounds), "costs") as advance:
        for each in noises:
            for number in rounds:
                steps = PrivateSteps(sampling_rate=request.sampling_rate, noise=each, steps=request.steps_per_round * number)
                costs.append(PrivacyCost(noise=each, rounds=number, epsilon=epsilon([steps], request.delta)))
                advance(1, "")
    return tuple(costs)


def _draw(request: PrivacyPlanRequest, costs: tuple[PrivacyCost, ...], path: Path) -> None:
    from fedcli.reporting.figures.privacy_costs import privacy_costs_figure  # noqa: PLC0415 - matplotlib takes half a second

    picture = privacy_costs_figure(costs, rounds=request.rounds, budget=request.epsilon, delta=request.delta)
    write_whole(path, picture.png if path.suffix == ".png" else picture.svg.encode())


def _in_words(request: PrivacyPlanRequest, noise: float, spent: float) -> str:
    message = (
        f"noise {noise:.3f}: {counted(request.rounds, 'round')} of {counted(request.steps_per_round, 'step')}, each with "
        f"{request.batch} of {request.patients} patients on average, cost epsilon {spent:.3g} at delta {request.delta:g}, within "
        f"the budget of {request.epsilon:g}; the plan's [privacy] then has noise = {noise:.3f} and batch = {request.batch}"
    )
    return message + (f"; the picture is {request.picture}" if request.picture else "")
