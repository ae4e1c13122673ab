"""Compact updates: how much smaller they are, and the effect on the weights and on the kappa.

    python benchmarks/compact.py [--network densenet121 small] [--epochs 3] [--seeds]

The deltas are from real training: each network is trained for some epochs on the phantoms of one of the demonstration's
hospitals, and the delta of the last epoch is measured. Sizes are of the files that a site would send, compared with float32
without packing. Errors are of the decoded weights, per group of layers: the norm of the error over the norm of the delta, and the
largest error over the largest weight.

`--seeds` runs a federation of the three plain hospitals (the small network, 20 rounds) with float32, bfloat16 and int8, packed,
for five seeds that were fixed beforehand. The outcome is the final global model's linear weighted kappa on test patients, a mean
over hospitals; differences from float32 are paired by seed, with a 95 % interval by Student's t with 4 degrees of freedom.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from phantom_federation import ENVIRONMENT, half_interval, plain_plan, prepared, samples

from fedcli import tensors
from fedcli.imaging.phantoms import hospitals
from fedcli.learning.evaluation import inference, metrics
from fedcli.learning.networks import registry, weights
from fedcli.learning.training.local_training import LocalTraining
from fedcli.operations.simulate import SimulateRequest, simulate
from fedcli.party.transfer.outgoing import prepare_update
from fedcli.plan import Encoding, Network, Packing, Part, Plan, Updates
from fedcli.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Iterator

SEEDS = (1, 2, 3, 4, 5)
SIZES = {"densenet121": 112, "small": 48}
"""Pixels; DenseNet-121 at half the paper's size, for minutes instead of an hour."""
RATES = {"densenet121": 1e-4, "small": 3e-3}


def main() -> None:
    """Measure sizes and errors, or run the federations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", nargs="*", choices=tuple(SIZES), default=tuple(SIZES))
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        if options.seeds:
            compare_kappas(Path(folder))
        for network in () if options.seeds else options.network:
            measure(network, options.epochs, Path(folder) / network)


def measure(network: str, epochs: int, folder: Path) -> None:
    """Print the sizes and errors of a delta of real training."""
    plan = plain_plan()
    plan = replace(plan, images=replace(plan.images, size=SIZES[network]))
    train = samples(prepared(folder, plan)[hospitals.PLAIN_HOSPITALS[0].name], plan, Part.TRAIN)
    torch.manual_seed(plan.seed)
    module = registry.build(Network(name=network), train.num_classes)
    for epoch in range(1, epochs + 1):
        before = weights.to_arrays(module)
        training = LocalTraining(
            module, train, plan.training, plan.augmentation, seed=epoch, rates=(RATES[network],), device=torch.device("cpu")
        )
        result = training.run(Silent())
    delta = {name: np.asarray(value - before[name]) for name, value in weights.to_arrays(module).items()}
    print(f"\n{network}: delta of epoch {epochs}, {result.steps} steps, {SIZES[network]} pixels")
    whole = 0
    for encoding, packing in product(Encoding, Packing):
        target = folder / f"{encoding}-{packing}"
        target.mkdir()
        started = time.perf_counter()
        outgoing = prepare_update(target, delta, Updates(encoding=encoding, packing=packing))
        seconds = time.perf_counter() - started
        whole = whole or outgoing.stored.size
        print(
            f"  {encoding:9} {packing:5} {outgoing.stored.size:11,} bytes  1/{whole / outgoing.stored.size:.3f}  {seconds:.2f} s"
        )
        if packing is Packing.NONE and encoding is not Encoding.FLOAT32:
            for line in errors(delta, outgoing.delta):
                print(f"      {line}")


def errors(delta: tensors.Arrays, decoded: tensors.Arrays) -> Iterator[str]:
    """Yield a line for each group of layers: the first two parts of a module's path."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name, value in delta.items():
        if value.dtype.kind == "f" and not tensors.is_buffer(name):
            groups[".".join(name.split(".")[:-1][:2])].append(name)
    for group, names in groups.items():
        exact = np.concatenate([delta[name].ravel() for name in names]).astype(np.float64)
        error = np.concatenate([decoded[name].ravel() for name in names]) - exact
        relative = np.linalg.norm(error) / np.linalg.norm(exact)
        largest = np.abs(error).max() / np.abs(exact).max()
        yield f"{group:24} {exact.size:9,} weights  error {relative:.2e} of the norm, at most {largest:.2e} of the largest"


def compare_kappas(folder: Path) -> None:
    """Print the final kappas of every encoding and seed, and the paired differences from float32."""
    kappas: dict[Encoding, list[float]] = {encoding: [] for encoding in Encoding}
    for seed in SEEDS:
        plan = replace(plain_plan(), seed=seed)
        sites = prepared(folder / str(seed), plan)
        for encoding in Encoding:
            packing = Packing.NONE if encoding is Encoding.FLOAT32 else Packing.ZSTD
            started = time.perf_counter()
            drop = folder / str(seed) / encoding / "drop"
            simulate(
                SimulateRequest(
                    plan=replace(plan, updates=Updates(encoding=encoding, packing=packing)), sites=sites, drop=drop, threads=1
                ),
                ENVIRONMENT,
            )
            own = final_kappas(plan, sites, drop)
            kappas[encoding].append(statistics.fmean(own.values()))
            sent = sum(path.stat().st_size for path in drop.glob("sites/*/round-*/*.safetensors"))
            each = ", ".join(f"{site} {kappa:.3f}" for site, kappa in own.items())
            seconds = time.perf_counter() - started
            print(
                f"seed {seed} {encoding:9} kappa {kappas[encoding][-1]:.4f} ({each}); sent {sent:,} bytes; {seconds:.0f} s",
                flush=True,
            )
    for encoding in (Encoding.BFLOAT16, Encoding.INT8):
        differences = [mine - exact for mine, exact in zip(kappas[encoding], kappas[Encoding.FLOAT32], strict=True)]
        mean, half = statistics.fmean(differences), half_interval(differences)
        each = ", ".join(f"{value:+.4f}" for value in differences)
        print(f"{encoding} minus float32: {mean:+.4f} [{mean - half:+.4f}, {mean + half:+.4f}], by seed {each}")


def final_kappas(plan: Plan, sites: dict[str, Path], drop: Path) -> dict[str, float]:
    """Return the final global model's kappa on each site's test patients; its variances must not be negative."""
    arrays = tensors.read(next((drop / f"coordinator/round-{plan.rounds:04d}").glob("global-*.safetensors")))
    assert all(np.isfinite(value).all() for value in arrays.values())
    assert all((value >= 0).all() for name, value in arrays.items() if name.endswith("running_var"))
    module = registry.build(plan.network, len(plan.classes))
    weights.load_arrays(module, arrays)
    kappas = {}
    for site, path in sites.items():
        test = samples(path, plan, Part.TEST)
        probabilities = inference.probabilities(module, test.images, device=torch.device("cpu"), progress=Silent(), label=site)
        images = metrics.Predictions(truth=test.labels, probabilities=probabilities, dense=())
        cases = images.by_unit(test.units)
        kappa = metrics.kappa(cases.truth, cases.predicted, cases.num_classes)
        assert kappa is not None
        kappas[site] = kappa
    return kappas


if __name__ == "__main__":
    main()
