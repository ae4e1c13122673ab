"""Local training: fedcli's `LocalTraining` against the loop that one would write, on the same images.

    python benchmarks/train [--runs 3] [--steps 4] [--only-private]

DenseNet-121, batches of 32 images of 224 × 224, from phantoms. The reference is a torch DataLoader with two workers over PNGs of
that size, torchvision's v2 transforms for each image (flips, rotation, intensity shift), float32 and torch's Adam; all classes
are drawn equally often. fedcli trains from prepared data with a plan's settings: with `precision = "auto"` (bfloat16 if the
processor has it), and in float32, the default. Runs alternate, each in its own process with all cores; the first step of a run is
not counted. Ratios are of images per second, run by run; their median is the result. Peak memory is the largest resident set of
the process, for the reference without its two workers, which share pages with it. Where there is a GPU with CUDA, both train
there, and the peak is of its memory. `pipeline` is the time of a batch without the network, as a share of a step.

Afterwards, a private step beside a plain one (`contenders/private.py`): seconds of each, their ratio, and the noise apart.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from fedcli import wire
from fedcli.imaging.archive.image_archive import ImageArchive
from fedcli.imaging.dataset import prepared_dataset
from fedcli.imaging.phantoms import hospitals
from fedcli.imaging.preparation import LabelFiles
from fedcli.operations.prepare import PrepareRequest, prepare
from fedcli.plan import Images, Part, Plan, Split
from fedcli.progress import Silent

CONTENDERS = ("reference", "fedcli", "fedcli_float32")
PLAN = Plan(
    name="benchmark",
    images=Images(size=224),
    split=Split(train=1.0, validation=0.0, test=0.0),
    allow_empty=(Part.VALIDATION, Part.TEST),
)
PATIENTS = 64


def main() -> None:
    """Run all comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4, help="counted steps per run")
    parser.add_argument("--only-private", action="store_true", help="only the private step beside the plain one")
    options = parser.parse_args()
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else "the CPU: there is no GPU that PyTorch can use"
    print(f"on {where}", flush=True)
    if not options.only_private:
        against_reference(options.runs, options.steps)
    report_private(run("private_float32", Path(), options.runs * options.steps))


def against_reference(runs: int, steps: int) -> None:
    """Run fedcli and the reference alternately, and print the medians."""
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder))
        for number in range(1, runs + 1):
            for name in CONTENDERS:
                figures[name].append(run(name, Path(folder), steps))
                shown = ", ".join(f"{key} {value:.4g}" for key, value in figures[name][-1].items())
                print(f"run {number} {name}: {shown}", flush=True)
    report(figures)


def write_images(folder: Path) -> None:
    """Prepare a hospital's phantoms, and write the same images as PNGs, in one folder per class."""
    hospital = hospitals.PLAIN_HOSPITALS[0]
    scanner = replace(hospital.scanner, rows=448, columns=360)
    hospital = replace(hospital, scanner=scanner, num_patients=PATIENTS, class_mix=(0.25, 0.25, 0.25, 0.25))
    labels = hospitals.write(folder / "archive", hospital, seed=0, progress=Silent())
    prepared = folder / "prepared"
    archive, tables = ImageArchive(folder=labels.parent), LabelFiles(table=labels)
    prepare(PrepareRequest(archive=archive, labels=tables, workspace=folder / "none", plan=PLAN, out=prepared), Silent())
    data = prepared_dataset.load(prepared, wire.digest(PLAN.preparation), PLAN.allow_empty)
    for number, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
        path = folder / "png" / str(label) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), (np.asarray(image) >> 8).astype(np.uint8))


def run(name: str, folder: Path, steps: int) -> dict[str, float]:
    """Run one contender in its own process; return its figures."""
    script = Path(__file__).parent / "contenders" / f"{name.partition('_')[0]}.py"
    arguments = [sys.executable, str(script), str(folder), str(steps), name.partition("_")[2] or "auto"]
    done = subprocess.run(arguments, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{name} failed: {done.stderr[-2000:]}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def report(figures: dict[str, list[dict[str, float]]]) -> None:
    """Print a table of medians and ratios."""
    print(f"\n{'':16} {'images/s':>9} {'ratio':>6} {'(each run)':>20} {'peak GB':>8} {'pipeline':>9}")
    for name, runs in figures.items():
        ratios = [mine["rate"] / reference["rate"] for mine, reference in zip(runs, figures["reference"], strict=True)]
        each = " ".join(f"{ratio:.2f}" for ratio in ratios)
        pipeline = f"{100 * median(runs, 'pipeline'):8.2f}%" if "pipeline" in runs[0] else ""
        peak = median(runs, "peak") / 1e9
        print(f"{name:16} {median(runs, 'rate'):9.2f} {statistics.median(ratios):6.2f} {each:>20} {peak:8.2f} {pipeline}")


def report_private(figures: dict[str, float]) -> None:
    """Print what a private step takes."""
    plain, private, ratio = (figures[key] for key in ("plain", "private", "ratio"))
    print(f"\nplain step {plain:.2f} s, private step without noise {private:.2f} s: {ratio:.2f} times")
    print(f"noise for {figures['values']:,.0f} weights {figures['noise']:.2f} s")


def median(runs: list[dict[str, float]], figure: str) -> float:
    """Return the median of one figure."""
    return statistics.median(run[figure] for run in runs)


if __name__ == "__main__":
    main()
