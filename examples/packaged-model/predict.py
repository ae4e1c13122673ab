"""Predict with a package by numpy and onnxruntime, without fedcli: python predict.py PACKAGE DICOM_FILE..."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pydicom
from pydicom.pixels import apply_modality_lut

KNOWN = {"frames": "middle", "crop": "none", "orientation": "as-stored", "intensity": "min-max"}


def area_means(length: int, size: int) -> np.ndarray:
    """Return the matrix, (size, length), whose rows take the mean of the equal parts of an axis."""
    edges, pixels = np.arange(size + 1) * length / size, np.arange(length)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.clip(covered, 0, None) * size / length


def square(dataset: pydicom.Dataset, images: dict[str, Any]) -> np.ndarray:
    """Return a mammogram as the network takes it, (size, size) float32 in [0, 1]; it must be larger than that."""
    stored = dataset.pixel_array
    stored = stored[len(stored) // 2] if "NumberOfFrames" in dataset and dataset.NumberOfFrames > 1 else stored
    values = apply_modality_lut(stored, dataset).astype(np.float64)
    values = -values if dataset.PhotometricInterpretation == "MONOCHROME1" else values
    if "PixelPaddingValue" in dataset:
        padding = stored == dataset.PixelPaddingValue
        values[padding] = values[~padding].min()
    low, high, size = values.min(), values.max(), images["size"]
    longest = max(values.shape) if images["aspect"] == "pad" else 0
    rows, columns = (round(length * size / longest) if longest else size for length in values.shape)
    means = area_means(values.shape[0], rows) @ values @ area_means(values.shape[1], columns).T
    result = np.zeros((size, size), np.float32)
    result[:rows, :columns] = np.rint((means - low) / (high - low) * 65535) / 65535
    return result


def main(package: Path, *files: Path) -> None:
    """Print a line for each case: its name, the mean probability of each class, and the class."""
    description = json.loads((package / "input.json").read_text(encoding="utf-8"))
    images, cases = description["images"], {}
    if unknown := [name for name, value in KNOWN.items() if images[name] != value]:
        sys.exit(f"this example does not know {', '.join(f'{name} = {images[name]}' for name in unknown)}")
    session = onnxruntime.InferenceSession(package / "model.onnx", providers=["CPUExecutionProvider"])
    for dataset in map(pydicom.dcmread, files):
        batch = {description["input"]["name"]: square(dataset, images)[None, None]}
        case = dataset.PatientID if description["case"] == "patient" else dataset.StudyInstanceUID
        cases.setdefault(case, []).append(session.run(None, batch)[0][0])
    for case, rows in cases.items():
        mean = np.mean(np.asarray(rows, np.float64), axis=0)
        print(case, *(f"{value:.6f}" for value in mean), description["classes"][int(mean.argmax())], sep=",")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
