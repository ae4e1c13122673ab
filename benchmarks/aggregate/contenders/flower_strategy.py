"""Flower's FedAvg strategy: `aggregate_fit` as a whole.

Flower's server waits for all results and holds them in memory, each as the serialised arrays that came over the network; its
default then averages in place. The files stand for the network: each is read and serialised as a Flower client would. The mean is
deserialised, added to φ(t-1), since ours are deltas, and written. `core` is `aggregate_fit` alone.
"""

import time

from flwr.common import Code, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.server.strategy import FedAvg
from safetensors.numpy import load_file, save_file


def work(base: str, updates: list[tuple[str, int]], target: str) -> float:
    """Compute φ(t) from files."""
    results = []
    for path, weight in updates:
        arrays = load_file(path)
        parameters = ndarrays_to_parameters([arrays[name] for name in sorted(arrays) if arrays[name].dtype.kind == "f"])
        results.append((None, FitRes(Status(Code.OK, ""), parameters, weight, {})))
    started = time.perf_counter()
    parameters, _ = FedAvg().aggregate_fit(2, results, [])
    core = time.perf_counter() - started
    model = load_file(base)
    names = [name for name in sorted(model) if model[name].dtype.kind == "f"]
    mean = dict(zip(names, parameters_to_ndarrays(parameters), strict=True))
    save_file(model | {name: model[name] + mean[name] for name in names}, target)
    return core
