"""Draw docs/pictures/harmonisation.png: phantoms of three scanners as they are, and harmonised in each way.

python benchmarks/harmonisation_picture.py
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt

from fedcli.imaging.dicom.reader import read
from fedcli.imaging.phantoms.hospitals import PLAIN_HOSPITALS, write
from fedcli.imaging.pixels import SCALE, to_square
from fedcli.plan import Crop, Images, Intensity, Orientation
from fedcli.progress import Silent

REFERENCE = tuple((np.arange(64) / 63) ** 1.5)
SETTINGS = {
    "as it is": Images(size=112),
    'crop = "breast"': Images(size=112, crop=Crop.BREAST),
    'orientation =\n"chest-wall-left"': Images(size=112, orientation=Orientation.CHEST_WALL_LEFT),
    'intensity =\n"equalized"': Images(size=112, intensity=Intensity.EQUALIZED),
    'intensity =\n"reference"': Images(size=112, intensity=Intensity.REFERENCE, reference=REFERENCE),
}


def main() -> None:
    """Write phantoms of three hospitals, and draw a right breast of each."""
    figure, axes = plt.subplots(len(PLAIN_HOSPITALS), len(SETTINGS), figsize=(8, 5), layout="constrained")
    with tempfile.TemporaryDirectory() as name:
        for row, hospital in zip(axes, PLAIN_HOSPITALS, strict=True):
            folder = Path(name) / hospital.name
            write(folder, replace(hospital, num_patients=1), seed=3, progress=Silent())
            path = min(folder.rglob("*R-MLO*.dcm"), key=str)
            for axis, (title, images) in zip(row, SETTINGS.items(), strict=True):
                axis.imshow(to_square(read(path, images), images) / SCALE, cmap="gray", vmin=0, vmax=1)
                axis.set_xticks([])
                axis.set_yticks([])
                if hospital is PLAIN_HOSPITALS[0]:
                    axis.set_title(title, fontsize=8)
            row[0].set_ylabel(hospital.name, fontsize=9)
    figure.savefig(Path(__file__).parent.parent / "docs" / "pictures" / "harmonisation.png", dpi=110)


if __name__ == "__main__":
    main()
