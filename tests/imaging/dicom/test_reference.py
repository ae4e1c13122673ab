"""Generated files against a reference from PS3.3 C.11 and C.7.6.3, with pydicom's own functions for tables and windows.

Bits, signs, MONOCHROME1 and 2, byte orders, modality and VOI tables, windows of every function, rescales of the file or of each
frame, padding with and without a range, one or several frames, every way to combine them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut, apply_windowing
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from fedcli.imaging.pixels import SCALE, to_square
from fedcli.imaging.rejection import RejectedError
from fedcli.plan import Frames, Images, Intensity
from tests.fixtures.area_average import area_average
from tests.fixtures.dicom_files import read, rescaled_frames, write_mammogram

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIZE = 16


class Case:
    """A generated file: its stored values, its attributes, and the plan's settings."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.bits = int(self.random.integers(8, 17))
        self.signed = bool(self.random.integers(2))
        self.low = -(1 << (self.bits - 1)) if self.signed else 0
        self.high = self.low + (1 << self.bits) - 1
        self.frames = Frames(self.choice([frames.value for frames in Frames]))
        self.intensity = Intensity(self.choice(["min-max", "stored-range", "window"]))
        self.syntax = self.choice([ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
        count = int(self.random.integers(1, 5))
        lowest, highest = sorted(self.random.integers(self.low, self.high + 1, 2).tolist())
        shape = (count, 40, 32)
        self.entries: list[int] = []
        self.stored = self.random.integers(lowest, max(highest, lowest + 20) + 1, shape).clip(self.low, self.high)
        self.attributes: dict[str, Any] = {"BitsStored": self.bits, "PhotometricInterpretation": "MONOCHROME2"}
        self.attributes["PixelRepresentation"] = int(self.signed)
        if self.random.integers(2):
            self.attributes["PhotometricInterpretation"] = "MONOCHROME1"
        self._add_padding()
        self._add_modality()
        self._add_shown()

    def choice(self, options: list[Any]) -> Any:
        return options[int(self.random.integers(len(options)))]

    def table(self, bits: int, first: int, count: int) -> Dataset:
        item = Dataset()
        item.add_new(0x00283002, "SS" if first < 0 else "US", [count, first, bits])
        entries = np.sort(self.random.integers(0, 1 << bits, count))
        self.entries = entries.tolist()
        if self.random.integers(2):
            item.add_new(0x00283006, "US", self.entries)
        else:
            order = ">" if self.syntax == ExplicitVRBigEndian else "<"
            item.add_new(0x00283006, "OW", entries.astype(f"{order}u2").tobytes())
        return item

    def _add_padding(self) -> None:
        if self.random.integers(3):
            return
        value = int(self.choice([self.low, self.high]))
        limit = int(np.clip(value + self.random.integers(-5, 6), self.low, self.high))
        mask = self.random.random(self.stored.shape) < 0.3
        mask[:, :3] = True
        self.stored[mask] = value
        self.attributes["PixelPaddingValue"] = value
        if self.random.integers(2):
            self.attributes["PixelPaddingRangeLimit"] = limit

    def _add_modality(self) -> None:
        kind = self.choice(["none", "file", "frames", "table"])
        if kind == "table" and not self.signed:
            self.attributes["ModalityLUTSequence"] = [self.table(16, 0, min(1 << self.bits, 30000))]
        rescales = [(float(self.choice([-2, -0.5, 0.25, 1, 3])), float(self.random.integers(-500, 500))) for _ in self.stored]
        if kind == "file":
            self.attributes["RescaleSlope"], self.attributes["RescaleIntercept"] = rescales[0]
        elif kind == "frames":
            self.attributes["PerFrameFunctionalGroupsSequence"] = rescaled_frames(rescales)

    def _add_shown(self) -> None:
        if self.random.integers(4) == 0 and not self.signed and "ModalityLUTSequence" not in self.attributes:
            bits = int(self.choice([10, 12, 16]))
            if not any("Rescale" in name or "PerFrame" in name for name in self.attributes):
                self.attributes["VOILUTSequence"] = [self.table(bits, int(self.random.integers(0, 200)), 500)]
                return
        self.attributes["WindowCenter"] = round(float(self.random.uniform(self.low, self.high)), 1)
        self.attributes["WindowWidth"] = round(float(self.random.uniform(2, self.high - self.low)), 1)
        self.attributes["VOILUTFunction"] = self.choice(["LINEAR", "LINEAR_EXACT", "SIGMOID"])

    def write(self, path: Path) -> Path:
        pixels = self.stored.astype(np.int16 if self.signed else np.uint16)
        return write_mammogram(path, pixels if len(pixels) > 1 else pixels[0], syntax=self.syntax, **self.attributes)


def reference_header(case: Case, path: Path) -> Dataset:
    """Return a file's header with the table's entries as numbers: pydicom does not unpack all that are bytes."""
    dataset = pydicom.dcmread(path)
    for keyword in ("ModalityLUTSequence", "VOILUTSequence"):
        for item in dataset.get(keyword) or ():
            item.add_new(0x00283006, "US", case.entries)
    return dataset


def expected(case: Case, dataset: Dataset) -> NDArray[np.float64] | None:
    """Return the brightness of every pixel, as the standard has it and pydicom computes its steps; None if all are equal."""
    count = len(case.stored)
    numbers = [count // 2] if case.frames is Frames.MIDDLE else list(range(count))
    inverted = case.attributes["PhotometricInterpretation"] == "MONOCHROME1"
    values = np.stack([modality(case, dataset, number) for number in numbers])
    masks = np.stack([padding(case, case.stored[number]) for number in numbers])
    masked = np.ma.array(values, mask=masks)
    reduce = {Frames.MIDDLE: "max", Frames.MEAN: "mean", Frames.MAXIMUM: "min" if inverted else "max"}[case.frames]
    image = getattr(masked, reduce)(axis=0)
    everywhere, image = np.ma.getmaskarray(image), np.ma.filled(image, 0).astype(np.float64)
    inside = image[~everywhere]
    if inside.min() == inside.max():
        return None
    if case.intensity is Intensity.MIN_MAX:
        brightness = (image - inside.min()) / (inside.max() - inside.min())
    elif case.intensity is Intensity.STORED_RANGE:
        low, high = possible(case, dataset, numbers)
        brightness = (image - low) / (high - low)
    else:
        brightness = shown(case, dataset, image)
    brightness = 1 - brightness if inverted else brightness
    brightness[everywhere] = 0
    return brightness


def modality(case: Case, dataset: Dataset, number: int) -> NDArray[np.float64]:
    stored = case.stored[number]
    if "PerFrameFunctionalGroupsSequence" in dataset:
        item = dataset.PerFrameFunctionalGroupsSequence[number].PixelValueTransformationSequence[0]
        return stored * float(item.RescaleSlope) + float(item.RescaleIntercept)
    return np.asarray(apply_modality_lut(stored, dataset), np.float64)


def padding(case: Case, stored: NDArray[Any]) -> NDArray[np.bool_]:
    if "PixelPaddingValue" not in case.attributes:
        return np.zeros(stored.shape, np.bool_)
    value = case.attributes["PixelPaddingValue"]
    low, high = sorted((value, case.attributes.get("PixelPaddingRangeLimit", value)))
    return np.asarray((stored >= low) & (stored <= high))


def possible(case: Case, dataset: Dataset, numbers: list[int]) -> tuple[float, float]:
    if "ModalityLUTSequence" in dataset:
        return 0.0, 65535.0
    if "PerFrameFunctionalGroupsSequence" in dataset:
        items = [dataset.PerFrameFunctionalGroupsSequence[number].PixelValueTransformationSequence[0] for number in numbers]
        ends = [float(item.RescaleSlope) * end + float(item.RescaleIntercept) for item in items for end in (case.low, case.high)]
        return min(ends), max(ends)
    ends = [float(apply_modality_lut(np.array([end]), dataset)[0]) for end in (case.low, case.high)]
    return min(ends), max(ends)


def shown(case: Case, dataset: Dataset, image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the brightness by the VOI LUT or window, whose output range in pydicom is that of the stored bits."""
    if "VOILUTSequence" in dataset:
        bits = dataset.VOILUTSequence[0].LUTDescriptor[2]
        values = np.rint(image).astype(np.int64)
        return np.asarray(apply_voi_lut(values, dataset), np.float64) / ((1 << bits) - 1)
    plain = Dataset()
    plain.WindowCenter, plain.WindowWidth = dataset.WindowCenter, dataset.WindowWidth
    plain.VOILUTFunction, plain.PhotometricInterpretation = dataset.VOILUTFunction, "MONOCHROME2"
    plain.BitsStored, plain.PixelRepresentation = 16, 0
    return np.asarray(apply_windowing(image, plain), np.float64) / 65535


@pytest.mark.parametrize("block", range(10))
def test_five_hundred_files_are_read_as_the_standard_says(block: int, tmp_path: Path) -> None:
    compared = 0
    for seed in range(50 * block, 50 * block + 50):
        case = Case(seed)
        path = case.write(tmp_path / f"{seed}")
        brightness = expected(case, reference_header(case, path))
        mammogram = read(path, intensity=case.intensity, frames=case.frames)
        if brightness is None:
            with pytest.raises(RejectedError, match="all pixels are equal"):
                to_square(mammogram, Images(size=SIZE, intensity=case.intensity))
            continue
        prepared = to_square(mammogram, Images(size=SIZE, intensity=case.intensity))
        difference = np.abs(prepared / SCALE - area_average(brightness, SIZE)).max()
        assert difference < 1e-3, (seed, difference, case.attributes)
        compared += 1
    assert compared >= 48
