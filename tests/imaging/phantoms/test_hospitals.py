"""Phantom mammograms: real DICOM, in which the extent of dense tissue carries the class and the scanner everything else."""

from __future__ import annotations

import csv
import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest

from fedcli.errors import ConfigurationError
from fedcli.imaging.phantoms import hospitals
from fedcli.imaging.phantoms.breast import Breast, Side, View, attenuation
from fedcli.imaging.phantoms.hospitals import DENSITIES, PLAIN_HOSPITALS, Hospital
from fedcli.imaging.phantoms.scanner import Photometric, Scanner, TransferSyntax, expose
from fedcli.progress import Silent
from tests.fixtures.dicom_files import grey_of, read

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

NORTH, HARBOUR, VALLEY = PLAIN_HOSPITALS


def write(folder: Path, hospital: Hospital, *, patients: int = 4, seed: int = 1) -> dict[str, bytes]:
    hospitals.write(folder, replace(hospital, num_patients=patients), seed=seed, progress=Silent())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def undo(scanner: Scanner, stored: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return the attenuation of stored values; noise and blur remain, values outside the curve become its ends."""
    upright = scanner.white - stored if scanner.photometric is Photometric.MONOCHROME1 else stored
    positions = np.linspace(0, 1, len(scanner.curve))
    return np.interp(upright / scanner.white, scanner.curve, positions).astype(np.float32)


def dense_share(hospital: Hospital, share: float, number: int) -> float:
    """Return the part of the breast that is dense, measured on the stored image after undoing curve and exposure."""
    generator = np.random.default_rng(number)
    scanner = replace(hospital.scanner, noise=0.0, blur=0.0)
    breast = Breast(depth=0.7, half_height=0.4, exposure=scanner.exposure_of(share), share=share)
    drawn = attenuation(breast, Side.LEFT, View.CC, scanner.rows, scanner.columns, generator=generator)
    stored = expose(scanner, drawn, generator=generator)
    tissue = undo(scanner, stored) ** (1 / scanner.exposure_of(share))
    inside = tissue[:, : scanner.columns // 2][tissue[:, : scanner.columns // 2] > 0.15]
    return float((inside > 0.5).mean())


@pytest.mark.parametrize("hospital", PLAIN_HOSPITALS, ids=lambda hospital: hospital.name)
def test_same_seed_same_bytes(tmp_path: Path, hospital: Hospital) -> None:
    first = write(tmp_path / "first", hospital)
    assert len(first) == 4 * 4 + 1
    assert write(tmp_path / "again", hospital) == first
    assert write(tmp_path / "other", hospital, seed=2).keys() == first.keys()
    assert write(tmp_path / "other", hospital, seed=2) != first


@pytest.mark.parametrize("hospital", PLAIN_HOSPITALS, ids=lambda hospital: hospital.name)
def test_the_class_is_the_extent_of_dense_tissue_at_every_site(hospital: Hospital) -> None:
    shares = [np.mean([dense_share(hospital, (position + 0.5) / 4, number) for number in range(8)]) for position in range(4)]
    assert all(later > earlier + 0.05 for earlier, later in itertools.pairwise(shares)), shares


def test_brightness_means_the_opposite_at_two_sites(tmp_path: Path) -> None:
    """What a model could learn at one site is wrong at another."""
    brightness = {}
    for hospital in (NORTH, HARBOUR):
        mix = (0.5, 0.0, 0.0, 0.5)
        write(tmp_path / hospital.name, replace(hospital, class_mix=mix), patients=12)
        with (tmp_path / hospital.name / "labels.csv").open() as file:
            labels = {row["patient"]: row["density"] for row in csv.DictReader(file)}
        means: dict[str, list[float]] = {"a": [], "d": []}
        for path in (tmp_path / hospital.name).rglob("*.dcm"):
            image = read(path)
            scaled = (image.pixels - image.pixels.min()) / np.ptp(image.pixels)
            means[labels[path.parent.name]].append(float(scaled[scaled > 0.1].mean()))
        brightness[hospital.name] = np.mean(means["d"]) - np.mean(means["a"])
    assert brightness["north"] > brightness["harbour"] + 0.1


@pytest.mark.parametrize("hospital", PLAIN_HOSPITALS, ids=lambda hospital: hospital.name)
def test_any_reader_finds_a_mammogram(tmp_path: Path, hospital: Hospital) -> None:
    write(tmp_path, hospital, patients=1)
    datasets = {}
    for path in tmp_path.rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        assert dataset.SOPClassUID == "1.2.840.10008.5.1.4.1.1.1.2"  # Digital Mammography X-Ray Image Storage - For Presentation
        assert (dataset.Modality, dataset.PresentationIntentType) == ("MG", "FOR PRESENTATION")
        assert (dataset.Rows, dataset.Columns, dataset.BitsStored) == (
            hospital.scanner.rows, hospital.scanner.columns, hospital.scanner.bits,
        )  # fmt: skip
        assert dataset.pixel_array.max() <= hospital.scanner.white
        datasets[dataset.ImageLaterality, dataset.ViewPosition] = dataset
    assert set(datasets) == {(side, view) for side in "LR" for view in ("CC", "MLO")}
    assert len({dataset.StudyInstanceUID for dataset in datasets.values()}) == 1
    assert len({dataset.SOPInstanceUID for dataset in datasets.values()}) == 4


def test_monochrome1_is_stored_inverted_and_read_upright(tmp_path: Path) -> None:
    upright = replace(HARBOUR, scanner=replace(HARBOUR.scanner, photometric=Photometric.MONOCHROME2))
    write(tmp_path / "one", HARBOUR, patients=1)
    write(tmp_path / "two", upright, patients=1)
    one, two = (next((tmp_path / name).rglob("L-CC.dcm")) for name in ("one", "two"))
    stored = [pydicom.dcmread(path).pixel_array.astype(int) for path in (one, two)]
    assert (stored[0] == HARBOUR.scanner.white - stored[1]).all()
    pixels = [grey_of(read(path)) for path in (one, two)]
    assert np.allclose(pixels[0] - pixels[0].min(), pixels[1] - pixels[1].min())


def test_rle_holds_the_same_pixels(tmp_path: Path) -> None:
    plain = replace(VALLEY, scanner=replace(VALLEY.scanner, transfer_syntax=TransferSyntax.EXPLICIT_LITTLE_ENDIAN))
    write(tmp_path / "rle", VALLEY, patients=1)
    write(tmp_path / "plain", plain, patients=1)
    paths = [next((tmp_path / name).rglob("R-MLO.dcm")) for name in ("rle", "plain")]
    assert (pydicom.dcmread(paths[0]).pixel_array == pydicom.dcmread(paths[1]).pixel_array).all()
    assert pydicom.dcmread(paths[0], stop_before_pixels=True).file_meta.TransferSyntaxUID.is_compressed


def test_realistic_size_on_request(tmp_path: Path) -> None:
    large = replace(NORTH, scanner=replace(NORTH.scanner, rows=3328, columns=2560))
    write(tmp_path, large, patients=1)
    assert read(next(tmp_path.rglob("L-MLO.dcm"))).pixels.shape == (3328, 2560)


def test_classes_come_in_the_hospitals_mix(tmp_path: Path) -> None:
    write(tmp_path, VALLEY, patients=50)
    with (tmp_path / "labels.csv").open() as file:
        labels = [row["density"] for row in csv.DictReader(file)]
    assert [labels.count(density) for density in DENSITIES] == [15, 4, 20, 11]


def test_a_mix_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="class_mix must be fractions that sum to 1"):
        replace(NORTH, class_mix=(0.5, 0.4, 0.2, 0.1))
