"""The loop that one would write: `python reference.py FOLDER STEPS _`; prints images/s and peak bytes as JSON.

On a GPU where there is one: batches go there from pinned memory, and the peak is of the GPU's.
"""

import json
import resource
import sys
import time
from collections import Counter
from pathlib import Path

import torch
from torch.nn import functional
from torch.utils.data import DataLoader, WeightedRandomSampler
from torchvision.datasets import ImageFolder
from torchvision.io import ImageReadMode, decode_image
from torchvision.models import densenet121
from torchvision.transforms import v2

WORKERS = 2
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def main() -> None:
    """Train for a number of steps after the first."""
    folder, steps = Path(sys.argv[1]) / "png", int(sys.argv[2])
    transform = v2.Compose(
        [
            v2.ToDtype(torch.float32, scale=True),
            v2.RandomHorizontalFlip(),
            v2.RandomVerticalFlip(),
            v2.RandomRotation(45, interpolation=v2.InterpolationMode.BILINEAR),
            v2.Lambda(lambda image: image + (torch.rand(1) - 0.5) * 0.2),
        ]
    )
    images = ImageFolder(folder, transform, loader=lambda path: decode_image(path, ImageReadMode.GRAY))
    counts = Counter(images.targets)
    weights = [1 / counts[label] for label in images.targets]
    sampler = WeightedRandomSampler(weights, 32 * (steps + 1))
    loader = DataLoader(images, 32, sampler=sampler, num_workers=WORKERS, pin_memory=DEVICE.type == "cuda")
    network = densenet121(num_classes=4)
    network.features.conv0 = torch.nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    network.to(DEVICE).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, weight_decay=1e-5)
    ends = []
    for batch, labels in loader:
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(batch.to(DEVICE, non_blocking=True)), labels.to(DEVICE, non_blocking=True))
        loss.backward()
        optimizer.step()
        loss.item()
        ends.append(time.perf_counter())
    on_gpu = DEVICE.type == "cuda"
    peak = torch.cuda.max_memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"rate": 32 * steps / (ends[-1] - ends[0]), "peak": peak}))


if __name__ == "__main__":
    main()
