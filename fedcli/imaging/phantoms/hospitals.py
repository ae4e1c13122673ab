"""Synthetic hospitals and their archives: DICOM mammograms with a table of densities, for rehearsals and tests.

The share of dense tissue determines the class, in the same way at every hospital: of K classes, the k-th has the shares from
(k-1)/K to k/K; four classes are the quarters of BI-RADS, fourth edition. Hospitals differ as in the paper: by scanner and by how
often each class occurs (Fig. 3). A patient's two sides and two views have nearly the same share.

Where a hospital has a `Radiologist`, the label is what that reads: near the border of two classes readers disagree, and each
hospital has its habits. Where it has a `variation`, breasts of the same share look different.

Everything follows from the seed: the same seed and hospital give the same bytes, identifiers included. Every image has its own
random numbers, so a patient looks the same no matter which other patients are written.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import math
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial
from typing import TYPE_CHECKING
from uuid import NAMESPACE_OID, uuid5

import numpy as np

from fedcli.errors import ConfigurationError
from fedcli.imaging.phantoms.breast import Breast, Side, View, attenuation
from fedcli.imaging.phantoms.dicom_writer import Exam, Exposure, write_exam
from fedcli.imaging.phantoms.scanner import Detector, Photometric, Scanner, TransferSyntax, expose, expose_volume

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy.typing as npt

    from fedcli.progress import Progress

LABELS = "labels.csv"
DENSITIES = ("a", "b", "c", "d")

_FIRST_DAY = date(2024, 1, 1)
_IMAGE_SPREAD = 0.015
"""Standard deviation of the share of dense tissue between the images of one patient."""
_LOWEST_SHARE, _HIGHEST_SHARE = 0.02, 0.97
_EXPOSURE = 0.15
"""Largest random change of a patient's exposure, as the logarithm of its exponent."""
_MARGIN = 0.1
"""Fraction of a class's range, at either end, that no patient has: nobody is between two classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Radiologist:
    """Who labels a hospital's patients: sees the share of dense tissue with a habit and an error, and names the class of that.

    So a label is the neighbour's of the true class with a probability that grows near the border: one half upon it.

    Attributes:
        habit: By how much this hospital takes breasts to be denser than they are, in shares; below 0: fattier.
        spread: Standard deviation of the error from patient to patient, in shares. With 0.055 and a usual class mix (0.12, 0.42,
            0.36, 0.10), two readers without habits agree with a linear weighted kappa of 0.77, as radiologists do whom the paper
            cites (Ooms et al.).
    """

    habit: float = 0.0
    spread: float = 0.055

    def label(self, share: float, num_classes: int, generator: np.random.Generator) -> int:
        """Return the class, counted from 0, that the reader gives a breast of this share."""
        seen = share + self.habit + self.spread * generator.standard_normal()
        return int(np.clip(math.floor(seen * num_classes), 0, num_classes - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Hospital:
    """A site's scanner and patients.

    Attributes:
        name: The site's name; part of its patients' identifiers.
        scanner: Its mammography system.
        class_mix: Expected fraction of patients in each class; sums to 1.
        num_patients: Number of patients, four images each.
        reader: Who labels them; None labels each with its true class, and no patient is near the border of two.
        variation: How much breasts of one share differ: the standard deviation of the logarithm of their contrast, and half of
            that of their concentration's.
        other_scanner: A second system, which takes the images of every other patient.
    """

    name: str
    scanner: Scanner
    class_mix: tuple[float, ...]
    num_patients: int
    reader: Radiologist | None = None
    variation: float = 0.0
    other_scanner: Scanner | None = None

    def __post_init__(self) -> None:
        """Refuse a mix that is not fractions, or too many patients.

        Raises:
            ConfigurationError: A value is out of bounds.
        """
        if min(self.class_mix, default=-1.0) < 0 or abs(sum(self.class_mix) - 1) > 1e-9:  # noqa: PLR2004 - decimal fractions
            msg = f"{self.name}: class_mix must be fractions that sum to 1, found {self.class_mix}"
            raise ConfigurationError(msg)
        if not 1 <= self.num_patients <= 9999:  # noqa: PLR2004 - four digits number a patient
            msg = f"{self.name}: num_patients must be 1 to 9999, found {self.num_patients}"
            raise ConfigurationError(msg)


PLAIN_HOSPITALS = (
    Hospital(
        name="north",
        scanner=Scanner(
            manufacturer="Fedcli Phantoms",
            model="Boreal 160",
            detector=Detector.DIRECT,
            rows=160,
            columns=128,
            bits=12,
            photometric=Photometric.MONOCHROME2,
            curve=(0.02, 0.16, 0.33, 0.53, 0.75, 1.0),
            compensation=-0.8,
            noise=0.012,
            clears_air=False,
            blur=0.0,
            transfer_syntax=TransferSyntax.EXPLICIT_LITTLE_ENDIAN,
        ),
        class_mix=(0.12, 0.42, 0.36, 0.10),
        num_patients=280,
    ),
    Hospital(
        name="harbour",
        scanner=Scanner(
            manufacturer="Fedcli Phantoms",
            model="Pier 192",
            detector=Detector.SCINTILLATOR,
            rows=192,
            columns=144,
            bits=14,
            photometric=Photometric.MONOCHROME1,
            curve=(0.03, 0.22, 0.40, 0.59, 0.78, 1.0),
            compensation=0.8,
            noise=0.03,
            clears_air=False,
            blur=0.008,
            transfer_syntax=TransferSyntax.IMPLICIT_LITTLE_ENDIAN,
        ),
        class_mix=(0.08, 0.27, 0.40, 0.25),
        num_patients=280,
    ),
    Hospital(
        name="valley",
        scanner=Scanner(
            manufacturer="Fedcli Phantoms",
            model="Meadow 112",
            detector=Detector.DIRECT,
            rows=112,
            columns=88,
            bits=10,
            photometric=Photometric.MONOCHROME2,
            curve=(0.01, 0.13, 0.27, 0.46, 0.69, 1.0),
            compensation=0.0,
            noise=0.006,
            clears_air=True,
            blur=0.004,
            transfer_syntax=TransferSyntax.RLE_LOSSLESS,
        ),
        class_mix=(0.30, 0.08, 0.40, 0.22),
        num_patients=280,
    ),
)
"""Three sites that differ as much as the paper's, whose labels are true.

Their intensities differ as in Fig. 4, and automatic exposure follows density in opposite ways: dense breasts are brighter than
fatty ones at 'north' and darker at 'harbour'. A model that learns brightness at one site is wrong at another; only the extent of
dense tissue means the same everywhere. 'valley' has almost no class b, like client 7 of Fig. 3.
"""

VARIATION = 0.35
"""Of the breasts of all hospitals below; docs/studies.md, "How hard the phantoms are", says how it was found."""

DEMO_HOSPITALS = tuple(
    replace(hospital, num_patients=200, reader=Radiologist(habit=habit), variation=VARIATION)
    for hospital, habit in zip(PLAIN_HOSPITALS, (0.0, 0.02, -0.02), strict=True)
)
"""The same sites, as hard as the paper's: readers who disagree, each site with a habit, and breasts that differ."""


def write(directory: Path, hospital: Hospital, *, seed: int, classes: tuple[str, ...] = DENSITIES, progress: Progress) -> Path:
    """Write a hospital's archive: one folder per patient, `<patient>/<side>-<view>.dcm`.

    Args:
        directory: The folder; created if it is missing.
        hospital: The hospital.
        seed: The same seed and hospital give the same bytes.
        classes: Names of the classes, from the least dense to the densest; one per fraction of the hospital's mix.
        progress: Receives the number of patients written.

    Returns:
        The label table in the same folder, with the columns patient and density.

    Raises:
        ConfigurationError: The numbers of fractions and classes differ.
    """
    if len(classes) != len(hospital.class_mix):
        msg = f"{hospital.name}: class_mix must have {len(classes)} fractions, one per class, found {len(hospital.class_mix)}"
        raise ConfigurationError(msg)
    directory.mkdir(parents=True, exist_ok=True)
    positions = _positions(hospital, seed)
    patients = [f"{hospital.name}-{number:04d}" for number in range(1, hospital.num_patients + 1)]
    labelled = []
    with progress.track(f"phantoms of {hospital.name}", hospital.num_patients, "patients") as advance:
        scanners = itertools.cycle((hospital.scanner, hospital.other_scanner or hospital.scanner))
        for patient, position, scanner in zip(patients, positions, scanners, strict=False):
            share = _write_patient(directory, hospital, scanner, patient, position, seed)
            labelled.append(classes[_label(hospital, patient, share, position, seed)])
            advance(1, "")
    labels = directory / LABELS
    with labels.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("patient", "density"))
        table.writerows(zip(patients, labelled, strict=True))
    return labels


def _positions(hospital: Hospital, seed: int) -> list[int]:
    """Return each patient's class, counted from 0, in random order; the mix says how many of each."""
    bounds = np.rint(np.cumsum((0.0, *hospital.class_mix)) * hospital.num_patients).astype(int)
    positions = np.repeat(np.arange(len(hospital.class_mix)), np.diff(bounds))
    return [int(position) for position in _generator(seed, hospital.name, "classes").permutation(positions)]


def _label(hospital: Hospital, patient: str, share: float, position: int, seed: int) -> int:
    if hospital.reader is None:
        return position
    return hospital.reader.label(share, len(hospital.class_mix), _generator(seed, patient, "reader"))


def _write_patient(directory: Path, hospital: Hospital, scanner: Scanner, patient: str, position: int, seed: int) -> float:
    """Write a patient's images, and return the share of dense tissue."""
    generator = _generator(seed, patient)
    margin = _MARGIN if hospital.reader is None else 0.0
    share = (position + generator.uniform(margin, 1 - margin)) / len(hospital.class_mix)
    depth, half_height = generator.uniform(0.5, 0.85), generator.uniform(0.34, 0.44)
    exposure = scanner.exposure_of(share) * math.exp(generator.uniform(-_EXPOSURE, _EXPOSURE))
    exam = Exam(
        institution=hospital.name,
        patient=patient,
        age=int(generator.integers(40, 75)),
        day=_FIRST_DAY + timedelta(days=int(generator.integers(0, 366))),
        study_uid=_uid(seed, patient, "study"),
        series_uid=_uid(seed, patient, "series"),
    )
    folder = directory / patient
    folder.mkdir(exist_ok=True)
    contrast, concentration = _anatomy(hospital.variation, seed, patient)
    breasts = partial(
        Breast, depth=depth, half_height=half_height, exposure=exposure, contrast=contrast, concentration=concentration
    )
    write_exam(folder, scanner, exam, _images(scanner, breasts, share, seed, patient))
    return share


def _anatomy(variation: float, seed: int, patient: str) -> tuple[float, float]:
    """Return a patient's contrast between dense and fatty tissue, at most 1.5, and the concentration of dense tissue."""
    contrast, concentration = _generator(seed, patient, "anatomy").standard_normal(2)
    return min(math.exp(variation * contrast), 1.5), 3.0 * math.exp(2 * variation * concentration)


def _images(
    scanner: Scanner, breasts: Callable[..., Breast], share: float, seed: int, patient: str
) -> Iterator[tuple[Exposure, npt.NDArray[np.uint16]]]:
    for number, (side, view) in enumerate(itertools.product(Side, View), 1):
        generator = _generator(seed, patient, side, view)
        of_image = float(np.clip(generator.normal(share, _IMAGE_SPREAD), _LOWEST_SHARE, _HIGHEST_SHARE))
        drawn = attenuation(breasts(share=of_image), side, view, scanner.rows, scanner.columns, generator=generator)
        exposure = Exposure(side=side, view=view, number=number, uid=_uid(seed, patient, side, view))
        take = expose_volume if scanner.slices > 1 else expose
        yield exposure, take(scanner, drawn, generator=generator)


def _generator(seed: int, *names: str) -> np.random.Generator:
    """Return the random generator that belongs to a name."""
    return np.random.default_rng(np.frombuffer(hashlib.sha256(_name(seed, *names)).digest(), np.uint32))


def _uid(seed: int, *names: str) -> str:
    """Return the UID that belongs to a name, under the root of UUIDs (PS3.5, annex B.2)."""
    return f"2.25.{uuid5(NAMESPACE_OID, _name(seed, *names).decode()).int}"


def _name(seed: int, *names: str) -> bytes:
    return "/".join(("fedcli-phantom", str(seed), *names)).encode()
