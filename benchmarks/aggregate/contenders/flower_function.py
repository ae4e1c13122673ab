"""Flower's bare function `aggregate`, on arrays that are in memory; `core` is the function alone."""

import time

from flwr.server.strategy.aggregate import aggregate
from safetensors.numpy import load_file, save_file


def work(base: str, updates: list[tuple[str, int]], target: str) -> float:
    """Compute φ(t) from files."""
    results = []
    for path, weight in updates:
        arrays = load_file(path)
        results.append(([arrays[name] for name in sorted(arrays) if arrays[name].dtype.kind == "f"], weight))
    started = time.perf_counter()
    averaged = aggregate(results)
    core = time.perf_counter() - started
    model = load_file(base)
    names = [name for name in sorted(model) if model[name].dtype.kind == "f"]
    mean = dict(zip(names, averaged, strict=True))
    save_file(model | {name: model[name] + mean[name] for name in names}, target)
    return core
