"""An audit of private training: a membership attack must find no more than the ε that the accountant claims.

The attack is that of Jagielski, Ullman & Oprea 2020 ("Auditing differentially private machine learning", NeurIPS): many
trainings, half of them with a canary patient among the others and half without, everything else being equal, the declared
number of patients too. The canary's images look like nobody else's and have the wrong label. The attacker knows the first
model, all other patients and the canary, and sees the trained model; its score is the component of the update along the
canary's gradient in the first model. The threshold is the best one for the first half of the trainings. On the second half it
has a false positive rate FPR and a false negative rate FNR, whose upper bounds are Clopper and Pearson's, each with a
confidence of 97.5 %. For any attack on training that is (ε, δ)-private, FPR + e^ε FNR ≥ 1 - δ and e^ε FPR + FNR ≥ 1 - δ
(Kairouz, Oh & Viswanath 2015), so that

    ε ≥ max(ln((1 - δ - FPR) / FNR), ln((1 - δ - FNR) / FPR))

with a confidence of 95 %. This lower bound must stay below the claim where the noise is what the claim says. It is far above
zero without noise, and above the claim where the noise is a twentieth of it, which shows that the audit can fail. It cannot prove
the claim.

    python benchmarks/privacy_audit.py [--runs 200] [--jobs 2]
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from scipy.special import betaincinv
from torch import nn

from fedcli.learning.networks.registry import build, initial_state
from fedcli.learning.networks.weights import load_arrays, to_arrays
from fedcli.learning.samples import FULL_SCALE, Samples, as_input
from fedcli.learning.training.mechanism import Mechanism
from fedcli.learning.training.private import PrivateTraining
from fedcli.plan import Augmentation, Network, Normalisation, Sampling, Training
from fedcli.privacy.accountant import PrivateSteps, epsilon, least_noise
from fedcli.progress import Silent

NETWORK = Network(name="small", normalisation=Normalisation.GROUP)
NUM_CLASSES, SIZE = 4, 16
OTHERS, CANARY = 3, 9
"""The number of other patients, and the number by which the canary is known."""
BATCH, STEPS, CLIPPING, RATE = 4, 2, 0.1, 0.1
"""Four patients are declared: with q = 1 each step takes everybody, so that sampling hides nobody and the attack is strongest."""
DELTA = 1e-5
CONFIDENCE = 0.975
"""Of each of the two rates' upper bounds."""
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """One row of the table.

    Attributes:
        name: What is audited.
        claimed: ε as the accountant computes it from the stated noise; infinite without noise.
        noise: σ that training really adds.
        sampling_rate: q.
    """

    name: str
    claimed: float
    noise: float
    sampling_rate: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What the attack found.

    Attributes:
        false_positives: Trainings without the canary that the attack takes for one with it, and their number.
        false_negatives: Trainings with the canary that it takes for one without, and their number.
    """

    false_positives: tuple[int, int]
    false_negatives: tuple[int, int]

    @property
    def lower_bound(self) -> float:
        """The ε below which training cannot be private, at least 0."""
        positive, negative = (_upper(*counts) for counts in (self.false_positives, self.false_negatives))
        ratios = [(1 - DELTA - first) / second for first, second in ((positive, negative), (negative, positive))]
        return max(0.0, *(math.log(ratio) for ratio in ratios if ratio > 0))


def _upper(errors: int, trainings: int) -> float:
    """Return Clopper and Pearson's upper bound of a rate."""
    return 1.0 if errors == trainings else float(betaincinv(errors + 1, trainings - errors, CONFIDENCE))


def audits() -> tuple[Audit, ...]:
    """Return the rows: without noise, two budgets with all patients in each step and one with half of them, too little noise."""
    rows = [Audit(name="no noise", claimed=math.inf, noise=0.0)]
    for budget, rate in ((8.0, 1.0), (2.0, 1.0), (2.0, 0.5)):
        noise = least_noise(rate, STEPS, epsilon=budget, delta=DELTA)
        assert noise is not None
        claimed = epsilon([PrivateSteps(sampling_rate=rate, noise=noise, steps=STEPS)], DELTA)
        rows.append(Audit(name=f"noise {noise:.3f}, q = {rate:g}", claimed=claimed, noise=noise, sampling_rate=rate))
    least = rows[2]
    rows.append(replace(least, name=f"a twentieth of noise {least.noise:.3f}", noise=least.noise / 20))
    return tuple(rows)


def patients(*, canary: bool) -> Samples:
    """Return three patients with two images each, and the canary: a pattern that nobody else has, with a label of its own."""
    generator = np.random.default_rng(5)
    ordinary = generator.integers(FULL_SCALE // 4, FULL_SCALE // 2, (2 * OTHERS, SIZE, SIZE))
    board = np.indices((SIZE, SIZE)).sum(axis=0) % 2 * FULL_SCALE
    images, labels, units = [*ordinary], [0] * len(ordinary), [number // 2 for number in range(len(ordinary))]
    if canary:
        images, labels, units = [*images, board, FULL_SCALE - board], [*labels, 3, 3], [*units, CANARY, CANARY]
    return Samples(
        images=np.array(images, dtype=np.uint16),
        labels=np.array(labels, dtype=np.int64),
        units=np.array(units, dtype=np.int64),
        num_classes=NUM_CLASSES,
        patients=np.array(units, dtype=str),
    )


def first_model() -> nn.Module:
    """Return the network with φ(0)."""
    module = build(NETWORK, NUM_CLASSES)
    load_arrays(module, initial_state(NETWORK, NUM_CLASSES, seed=0))
    return module


def flat(module: nn.Module) -> np.ndarray:
    """Return all weights, one after the other."""
    return np.concatenate([array.astype(np.float64).ravel() for array in to_arrays(module).values()])


def direction() -> np.ndarray:
    """Return the canary's gradient in the first model, with a length of one: what the attacker looks for."""
    module, samples = first_model(), patients(canary=True)
    rows = np.flatnonzero(samples.units == CANARY)
    images = as_input(torch.from_numpy(samples.images[rows]), torch.float32, CPU)
    nn.functional.cross_entropy(module(images), torch.from_numpy(samples.labels[rows])).backward()
    named = dict(module.named_parameters())
    gradient = np.concatenate([named[name].grad.numpy().ravel().astype(np.float64) for name in to_arrays(module)])  # type: ignore[union-attr]
    return gradient / np.linalg.norm(gradient)


def score(audit: Audit, towards: np.ndarray, *, canary: bool) -> float:
    """Train once, with a secret key of its own; return the component of the update along the canary's gradient."""
    module, declared = first_model(), round(BATCH / audit.sampling_rate)
    before = flat(module)
    training = Training(steps=STEPS, rate=RATE, weight_decay=0.0, sampling=Sampling.SHUFFLED)
    mechanism = Mechanism(noise=audit.noise, clipping=CLIPPING, batch=BATCH, patients=declared, images_per_patient=2)
    PrivateTraining(module, patients(canary=canary), training, Augmentation(), mechanism, rates=(RATE,), device=CPU).run(Silent())
    return float((before - flat(module)) @ towards)


def scores(audit: Audit, runs: int) -> list[tuple[float, float]]:
    """Return the scores of pairs of trainings, without the canary and with it."""
    torch.set_num_threads(1)
    towards = direction()
    return [(score(audit, towards, canary=False), score(audit, towards, canary=True)) for _ in range(runs)]


def attack(without: np.ndarray, with_canary: np.ndarray) -> Finding:
    """Choose the threshold on the first half of the scores, and count the errors on the second."""
    half = len(without) // 2
    candidates = np.sort(np.concatenate((without[:half], with_canary[:half])))
    thresholds = [float(value) for value in (candidates[:-1] + candidates[1:]) / 2]

    def merit(threshold: float) -> tuple[float, int]:
        finding = _errors(without[:half], with_canary[:half], threshold)
        return finding.lower_bound, -finding.false_positives[0] - finding.false_negatives[0]

    best = max(thresholds, key=merit)
    return _errors(without[half:], with_canary[half:], best)


def _errors(without: np.ndarray, with_canary: np.ndarray, threshold: float) -> Finding:
    return Finding(
        false_positives=(int((without > threshold).sum()), len(without)),
        false_negatives=(int((with_canary <= threshold).sum()), len(with_canary)),
    )


def run(audit: Audit, runs: int, jobs: int = 1) -> Finding:
    """Train `runs` times without and `runs` times with the canary, and attack."""
    if jobs == 1:
        pairs = scores(audit, runs)
    else:
        with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as executor:
            shares = executor.map(partial(scores, audit), [-(-runs // jobs)] * jobs)
            pairs = [pair for share in shares for pair in share][:runs]
    without, with_canary = np.array(pairs).T
    return attack(without, with_canary)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="trainings without the canary, and as many with it, per row")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args()
    if options.runs < 4:  # noqa: PLR2004 - two for the threshold, two for the rates
        parser.error(f"--runs {options.runs}: expected at least 4")
    print("| training | ε claimed | FPR | FNR | lower bound of ε (95 %) |\n|---|---|---|---|---|")
    for audit in audits():
        finding = run(audit, options.runs, options.jobs)
        (positive, first), (negative, second) = finding.false_positives, finding.false_negatives
        claimed = "none" if math.isinf(audit.claimed) else f"{audit.claimed:.2f}"
        rates = f"{positive}/{first} | {negative}/{second}"
        print(f"| {audit.name} | {claimed} | {rates} | {finding.lower_bound:.2f} |", flush=True)


if __name__ == "__main__":
    main()
