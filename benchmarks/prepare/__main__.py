"""From a mammogram's file to 224 × 224: fedcli, pydicom with scikit-image, and MONAI, in one process each.

    python benchmarks/prepare [--rounds 3] [--clock wall|cpu]

A phantom of 3328 × 2560 pixels and 12 bits is written in every transfer syntax. Contenders run alternately. The medians of the
ratios within a round are printed, beside the lower bounds: only reading the file, and only decoding it. Then many of these files
are read by one process and by two. `--clock cpu` measures a process's own time, for a machine that is also busy otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import peers
from pydicom import uid

from fedcli.imaging.archive.file_result import FileResult, read_file
from fedcli.imaging.archive.pool import in_order
from fedcli.imaging.phantoms.breast import Breast, Side, View, attenuation
from fedcli.imaging.phantoms.hospitals import PLAIN_HOSPITALS
from fedcli.imaging.phantoms.scanner import expose
from fedcli.plan import Images
from tests.fixtures.dicom_files import write_encoded

ROOT = Path(__file__).resolve().parents[2]
ROWS, COLUMNS = 3328, 2560
GOALS = {  # (against scikit-image, against MONAI); JPEG 2000 is the same decoder for all
    uid.ExplicitVRLittleEndian: (20, 40),
    uid.JPEGLosslessSV1: (7, 12),
    uid.JPEGLSLossless: (4, 7),
    uid.RLELossless: (12, 25),
    uid.JPEG2000Lossless: (1, 1),
    uid.HTJ2KLossless: (0, 0),
    uid.DeflatedExplicitVRLittleEndian: (0, 0),
}
MANY = 120
"""Files for the comparison of one process with two."""


def main() -> None:
    """Write the files, run every contender, print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        files = write_files(Path(name))
        theirs = peers.python_of("prepare")
        if theirs is None:
            print(peers.gap("prepare"))
        rivals = ("skimage", "monai") if theirs else ()
        rounds = []
        for _ in range(options.rounds):
            results = {who: measure(Path(sys.executable), who, options.clock, files) for who in ("fedcli", "decoding", "reading")}
            compared = {syntax: path for syntax, path in files.items() if any(GOALS[syntax])}
            results |= {who: measure(theirs, who, options.clock, compared) for who in rivals if theirs}
            rounds.append(results)
        report(files, rounds)
        many(Path(name), files)


def write_files(folder: Path) -> dict[uid.UID, Path]:
    """Write one phantom in every syntax."""
    scanner = replace(PLAIN_HOSPITALS[2].scanner, rows=ROWS, columns=COLUMNS, bits=12)
    generator = np.random.default_rng(1)
    breast = Breast(share=0.4, depth=0.7, half_height=0.4, exposure=1.0)
    drawn = attenuation(breast, Side.LEFT, View.MLO, ROWS, COLUMNS, generator=generator)
    pixels = expose(scanner, drawn, generator=generator)
    return {syntax: write_encoded(folder / f"{number}.dcm", pixels, syntax, BitsStored=12) for number, syntax in enumerate(GOALS)}


def measure(python: Path, who: str, clock: str, files: dict[uid.UID, Path]) -> dict[str, object]:
    """Run a contender once over all files; files that it cannot read are left out."""
    command = [str(python), str(Path(__file__).parent / "contenders.py"), who, clock, *map(str, files.values())]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{who}: {done.stderr.splitlines()[-1:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def report(files: dict[uid.UID, Path], rounds: list[dict[str, dict[str, object]]]) -> None:
    """Print milliseconds and ratios, syntax by syntax."""
    print(f"{'':28s}{'fedcli':>10s}{'decoding':>10s}{'reading':>10s}{'× skimage':>12s}{'goal':>6s}{'× MONAI':>10s}{'goal':>6s}")
    for syntax, path in files.items():
        whose = [who for who, each in rounds[0].items() if path.name in each["seconds"]]  # type: ignore[operator]
        times = {who: [each[who]["seconds"][path.name] for each in rounds] for who in whose}  # type: ignore[index]
        line = f"{syntax.name.split(' Image')[0][:27]:28s}"
        line += "".join(f"{statistics.median(times[who]) * 1000:7.1f} ms" for who in ("fedcli", "decoding", "reading"))
        for who, goal in zip(("skimage", "monai"), GOALS[syntax], strict=True):
            if who in times:
                ratio = statistics.median(their / our for their, our in zip(times[who], times["fedcli"], strict=True))
                line += f"{ratio:{12 if who == 'skimage' else 10}.1f}{goal or '':>6}"
        print(line, flush=True)
    peaks = {who: max(each[who]["peak_mb"] for each in rounds) for who in rounds[0]}  # type: ignore[type-var]
    print("most memory of a process: " + ", ".join(f"{who} {peak:.0f} MB" for who, peak in peaks.items()))


def many(folder: Path, files: dict[uid.UID, Path]) -> None:
    """Compare one process with two over many files, including the start of the processes."""
    syntaxes = [syntax for syntax, (_, goal) in GOALS.items() if goal > 1]
    names = [files[syntaxes[number % len(syntaxes)]].name for number in range(MANY)]
    task = partial(read_file, folder=folder, images=Images())
    ratios = []
    for _ in range(3):
        seconds = {}
        for workers in (1, 2):
            began = time.perf_counter()
            for result in in_order(task, names, workers=workers, lost=FileResult(), late=FileResult()):
                assert result.image
            seconds[workers] = time.perf_counter() - began
        ratios.append(seconds[1] / seconds[2])
    print(f"{MANY} files: {MANY / seconds[1]:.1f} files/s by one process, {statistics.median(ratios):.2f} × by two")


if __name__ == "__main__":
    main()
