"""NVFlare's WeightedAggregationHelper on torch tensors, which it adds in place, with torch's own number of threads.

NVFlare adds each result to a running sum as it arrives, so that one update is in memory at a time. The mean of the deltas is
added to φ(t-1), as its workflows do, and written. `core` is the helper alone.
"""

import time

from nvflare.app_common.aggregators.weighted_aggregation_helper import WeightedAggregationHelper
from safetensors.torch import load_file, save_file


def work(base: str, updates: list[tuple[str, int]], target: str) -> float:
    """Compute φ(t) from files."""
    helper = WeightedAggregationHelper()
    core = 0.0
    for path, weight in updates:
        arrays = {name: value for name, value in load_file(path).items() if value.is_floating_point()}
        started = time.perf_counter()
        helper.add(arrays, weight, path, 1)
        core += time.perf_counter() - started
    started = time.perf_counter()
    mean = helper.get_result()
    core += time.perf_counter() - started
    model = load_file(base)
    save_file(model | {name: model[name] + value for name, value in mean.items()}, target)
    return core
