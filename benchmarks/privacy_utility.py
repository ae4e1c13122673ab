"""What a privacy budget costs in kappa: three phantom hospitals, trained without noise and with that of three budgets.

The three plain hospitals, drawn in memory: one image of 24 × 24 pixels per patient, 3000 training and 300 test patients
at each site. The small network begins with fresh weights. Each of 6 rounds has 10 private steps at each site, of 32 patients on
average, whose images are not augmented; noisy gradients go to Adam, whose moments a site keeps. σ is the smallest with which all
60 steps cost at most the budget at δ = 1e-5. ε = ∞ is the same training, clipped, without noise. Nothing is selected: the outcome
is the kappa of the last global model on each site's test patients, averaged over sites. A seed decides images and the first
model; sampling and noise come from the operating system, as in any private training.

    python benchmarks/privacy_utility.py              # five seeds, resumable: results stay in --work
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from phantom_federation import run_study, with_interval

from fedcli.imaging.phantoms.breast import Breast, Side, View, attenuation
from fedcli.imaging.phantoms.hospitals import PLAIN_HOSPITALS, Hospital
from fedcli.imaging.phantoms.scanner import Photometric, expose
from fedcli.imaging.pixels import SCALE, averaged
from fedcli.learning.evaluation import inference, metrics
from fedcli.learning.networks import registry, weights
from fedcli.learning.samples import Samples
from fedcli.learning.training.mechanism import Mechanism
from fedcli.learning.training.private import PrivateTraining
from fedcli.plan import Augmentation, Network, Normalisation, PrivateOptimizer, Training
from fedcli.privacy.accountant import least_noise
from fedcli.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from fedcli.tensors import Arrays

SEEDS = (31, 32, 33, 34, 35)
"""Fixed before any run; sizes and rates were chosen on seed 201."""
BUDGETS = (math.inf, 8.0, 3.0, 1.0)
DELTA = 1e-5
SIZE, SCANNED = 24, 64
NUM_TRAIN, NUM_TEST = 3000, 300
BATCH, STEPS, ROUNDS, RATE, CLIPPING = 32, 10, 6, 6e-3, 1.0
NETWORK = Network(name="small", normalisation=Normalisation.GROUP)
TRAINING = Training(steps=STEPS, weight_decay=0.0)
AUGMENTATION = Augmentation(flip_horizontal=False, flip_vertical=False, rotation=0.0, intensity_shift=0.0)
NUM_CLASSES = 4
CPU = torch.device("cpu")


def drawn(hospital: Hospital, num: int, generator: np.random.Generator) -> Samples:
    """Return one image of each of so many patients of a hospital; exposure, shape and texture vary as in its archive."""
    scanner = replace(hospital.scanner, rows=SCANNED, columns=SCANNED * 4 // 5, photometric=Photometric.MONOCHROME2)
    labels = generator.choice(NUM_CLASSES, num, p=hospital.class_mix)
    images = np.empty((num, SIZE, SIZE), np.uint16)
    for number, label in enumerate(labels):
        share = (label + generator.uniform(0.1, 0.9)) / NUM_CLASSES
        breast = Breast(
            share=share,
            depth=generator.uniform(0.5, 0.85),
            half_height=generator.uniform(0.34, 0.44),
            exposure=scanner.exposure_of(share) * math.exp(generator.uniform(-0.15, 0.15)),
        )
        image = attenuation(breast, Side.LEFT, View.CC, scanner.rows, scanner.columns, generator=generator)
        pixels = expose(scanner, image, generator=generator)
        low, high = float(pixels.min()), float(pixels.max())
        images[number] = np.rint((averaged(pixels, SIZE, SIZE) - low) * (SCALE / (high - low)))
    units = np.arange(num, dtype=np.int64)
    return Samples(images=images, labels=labels, units=units, num_classes=NUM_CLASSES, patients=units.astype(str))


def mechanism(budget: float) -> Mechanism:
    """Return the mechanism whose steps together cost at most a budget; without noise if that is infinite."""
    noise: float | None = 0.0
    if math.isfinite(budget):
        noise = least_noise(BATCH / NUM_TRAIN, STEPS * ROUNDS, epsilon=budget, delta=DELTA)
        assert noise is not None
    return Mechanism(noise=noise, clipping=CLIPPING, batch=BATCH, patients=NUM_TRAIN, optimizer=PrivateOptimizer.ADAM)


@dataclass(slots=True)
class Federation:
    """One seed's three sites under one budget.

    Attributes:
        train: Each site's training samples.
        mechanism: Noise, clipping and sampling.
        moments: Each site's moments of Adam.
    """

    train: Mapping[str, Samples]
    mechanism: Mechanism
    moments: dict[str, Arrays] = field(default_factory=dict)

    def run(self, model: Arrays) -> Arrays:
        """Run Algorithm 1 from φ(0); return φ(T)."""
        module = registry.build(NETWORK, NUM_CLASSES)
        for _ in range(ROUNDS):
            sums = {name: np.zeros(array.shape) for name, array in model.items()}
            for site in self.train:
                trained = self._trained(module, site, model)
                for name in sums:
                    sums[name] += trained[name].astype(np.float64) - model[name]
            model = {name: (array + sums[name] / len(self.train)).astype(array.dtype) for name, array in model.items()}
        return model

    def _trained(self, module: nn.Module, site: str, start: Arrays) -> Arrays:
        weights.load_arrays(module, start)
        training = PrivateTraining(
            module,
            self.train[site],
            TRAINING,
            AUGMENTATION,
            self.mechanism,
            rates=(RATE,),
            device=CPU,
            optimizer_state=self.moments.get(site),
        )
        self.moments[site] = training.run(Silent()).optimizer_state
        return weights.to_arrays(module)


def kappas(model: Arrays, test: Mapping[str, Samples]) -> list[float]:
    """Return a model's kappa on each site's test patients."""
    module = registry.build(NETWORK, NUM_CLASSES)
    weights.load_arrays(module, model)
    result = []
    for samples in test.values():
        predicted = inference.probabilities(module, samples.images, device=CPU, progress=Silent()).argmax(axis=1)
        result.append(metrics.kappa(samples.labels, predicted, NUM_CLASSES) or 0.0)
    return result


def study(seed: int, _folder: Path) -> dict[str, Any]:
    """Return one seed's kappas at each site, for each budget and for φ(0)."""
    torch.set_num_threads(1)
    generator = np.random.default_rng(seed)
    train = {hospital.name: drawn(hospital, NUM_TRAIN, generator) for hospital in PLAIN_HOSPITALS}
    test = {hospital.name: drawn(hospital, NUM_TEST, generator) for hospital in PLAIN_HOSPITALS}
    initial = registry.initial_state(NETWORK, NUM_CLASSES, seed)
    result = {"untrained": kappas(initial, test)}
    for budget in BUDGETS:
        federation = Federation(train=train, mechanism=mechanism(budget))
        result[f"{budget:g}"] = kappas(federation.run(initial), test)
    return result


def print_table(results: Sequence[Mapping[str, Any]]) -> None:
    """Print mean kappas with Student's interval over seeds, and what each budget costs against ε = ∞ of the same seed."""
    print(f"\n| ε | σ | {' | '.join(hospital.name for hospital in PLAIN_HOSPITALS)} | mean | less than without noise |")
    print("|" + "---|" * 7)
    without = np.array([statistics.fmean(result["inf"]) for result in results])
    for budget in BUDGETS:
        each = np.array([result[f"{budget:g}"] for result in results])
        mean, loss = each.mean(axis=1), without - each.mean(axis=1)
        sites = " | ".join(f"{value:.3f}" for value in each.mean(axis=0))
        name, lost = ("∞", "–") if math.isinf(budget) else (f"{budget:g}", with_interval(loss.tolist(), sign=""))
        print(f"| {name} | {mechanism(budget).noise:.3f} | {sites} | {with_interval(mean.tolist(), sign='')} | {lost} |")
    print(f"\nφ(0): {statistics.fmean(statistics.fmean(result['untrained']) for result in results):.3f}")


def main() -> None:
    """Run the seeds that are missing, and print the table."""
    print_table(run_study(__doc__, study, SEEDS, Path(".bench/privacy-utility")))


if __name__ == "__main__":
    main()
