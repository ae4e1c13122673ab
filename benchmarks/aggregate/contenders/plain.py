"""What one would write with safetensors and numpy: a running float64 sum."""

import numpy as np
from safetensors.numpy import load_file, save_file


def work(base: str, updates: list[tuple[str, int]], target: str) -> None:
    """Compute φ(t) from files."""
    model = load_file(base)
    sums = {name: np.zeros(value.shape, np.float64) for name, value in model.items()}
    for path, weight in updates:
        for name, value in load_file(path).items():
            sums[name] += value.astype(np.float64) * weight
    total = sum(weight for _, weight in updates)
    save_file({name: (value + sums[name] / total).astype(value.dtype) for name, value in model.items()}, target)
