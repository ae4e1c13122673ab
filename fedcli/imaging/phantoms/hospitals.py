"""Hospitals that do not exist, and their archives: DICOM mammograms with a table of densities, for rehearsals and tests.

The class is carried by the share of dense tissue, alike at every hospital: with K classes the k-th holds the shares from (k-1)/K
to k/K, for four classes the quarters of BI-RADS, fourth edition. What differs between hospitals is what differs in the paper:
the scanner, and how often each class occurs (Fig. 3). A patient's two sides and two views have nearly the same share.

Everything follows from the seed: the same seed and hospital are the same bytes, identifiers included, and every image has random
numbers of its own, so that a patient looks the same whatever is written besides.
"""

from __future__ import annotations

import csv
import hashlib
import math
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from itertools import product
from typing import TYPE_CHECKING
from uuid import NAMESPACE_OID, uuid5

import numpy as np

from fedcli.errors import ConfigurationError
from fedcli.imaging.phantoms.breast import Breast, Side, View, attenuation
from fedcli.imaging.phantoms.dicom_writer import Exam, Exposure, write_exam
from fedcli.imaging.phantoms.scanner import Detector, Photometric, Scanner, TransferSyntax, expose

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
"""Part of a class's range, at either end, in which no patient lies: nobody is labelled who could as well be the neighbour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hospital:
    """A site's archive in the making.

    Attributes:
        name: The site's name; part of its patients' identifiers.
        scanner: Its mammography system.
        class_mix: Expected fraction of patients in each class; sums to 1.
        num_patients: Number of patients, four images each.
    """

    name: str
    scanner: Scanner
    class_mix: tuple[float, ...]
    num_patients: int

    def __post_init__(self) -> None:
        """Refuse a mix that is none.

        Raises:
            ConfigurationError: A value is out of bounds.
        """
        if min(self.class_mix, default=-1.0) < 0 or abs(sum(self.class_mix) - 1) > 1e-9:  # noqa: PLR2004 - decimal fractions
            msg = f"{self.name}: class_mix must be fractions that sum to 1, found {self.class_mix}"
            raise ConfigurationError(msg)
        if not 1 <= self.num_patients <= 9999:  # noqa: PLR2004 - four digits number a patient
            msg = f"{self.name}: num_patients must be 1 to 9999, found {self.num_patients}"
            raise ConfigurationError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomArchive:
    """What `write` left.

    Attributes:
        directory: One folder a patient, `<patient>/<side>-<view>.dcm`.
        labels: CSV table with the columns patient and density.
        num_patients: Patients written.
        num_images: Images written.
    """

    directory: Path
    labels: Path
    num_patients: int
    num_images: int


DEMO_HOSPITALS = (
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
"""Three sites as different as the paper's.

Their intensities differ as in Fig. 4, and automatic exposure follows density in opposite ways: at 'north' dense breasts come out
brighter than fatty ones, at 'harbour' darker. A model that learns brightness at one site is wrong at another; only the extent of
the dense tissue means the same everywhere. 'valley' has nearly no class b, like client 7 of Fig. 3.
"""


def write(
    directory: Path, hospital: Hospital, *, seed: int, classes: tuple[str, ...] = DENSITIES, progress: Progress
) -> PhantomArchive:
    """Write a hospital's archive into a folder of its own.

    Args:
        directory: Where to; made if it is missing.
        hospital: Whose.
        seed: The same seed and hospital give the same bytes.
        classes: Names of the classes, from the least dense to the densest, as many as the hospital's mix has fractions.
        progress: Told of every patient.

    Raises:
        ConfigurationError: The mix has not as many fractions as there are classes.
    """
    if len(classes) != len(hospital.class_mix):
        msg = f"{hospital.name}: class_mix must have {len(classes)} fractions, one a class, found {len(hospital.class_mix)}"
        raise ConfigurationError(msg)
    directory.mkdir(parents=True, exist_ok=True)
    positions = _positions(hospital, seed)
    patients = [f"{hospital.name}-{number:04d}" for number in range(1, hospital.num_patients + 1)]
    with progress.track(f"phantoms of {hospital.name}", hospital.num_patients, "patients") as advance:
        for patient, position in zip(patients, positions, strict=True):
            _write_patient(directory, hospital, patient, position, seed)
            advance(1, "")
    labels = directory / LABELS
    with labels.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("patient", "density"))
        table.writerows((patient, classes[position]) for patient, position in zip(patients, positions, strict=True))
    num_images = len(patients) * len(Side) * len(View)
    return PhantomArchive(directory=directory, labels=labels, num_patients=len(patients), num_images=num_images)


def _positions(hospital: Hospital, seed: int) -> list[int]:
    """Return each patient's class, counted from 0: as many of each as the mix says, in random order."""
    bounds = np.rint(np.cumsum((0.0, *hospital.class_mix)) * hospital.num_patients).astype(int)
    positions = np.repeat(np.arange(len(hospital.class_mix)), np.diff(bounds))
    return [int(position) for position in _generator(seed, hospital.name, "classes").permutation(positions)]


def _write_patient(directory: Path, hospital: Hospital, patient: str, position: int, seed: int) -> None:
    generator = _generator(seed, patient)
    share = (position + generator.uniform(_MARGIN, 1 - _MARGIN)) / len(hospital.class_mix)
    depth, half_height = generator.uniform(0.5, 0.85), generator.uniform(0.34, 0.44)
    exposure = hospital.scanner.exposure_of(share) * math.exp(generator.uniform(-_EXPOSURE, _EXPOSURE))
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
    breasts = partial(Breast, depth=depth, half_height=half_height, exposure=exposure)
    write_exam(folder, hospital.scanner, exam, _images(hospital.scanner, breasts, share, seed, patient))


def _images(
    scanner: Scanner, breasts: Callable[..., Breast], share: float, seed: int, patient: str
) -> Iterator[tuple[Exposure, npt.NDArray[np.uint16]]]:
    for number, (side, view) in enumerate(product(Side, View), 1):
        generator = _generator(seed, patient, side, view)
        of_image = float(np.clip(generator.normal(share, _IMAGE_SPREAD), _LOWEST_SHARE, _HIGHEST_SHARE))
        drawn = attenuation(breasts(share=of_image), side, view, scanner.rows, scanner.columns, generator=generator)
        exposure = Exposure(side=side, view=view, number=number, uid=_uid(seed, patient, side, view))
        yield exposure, expose(scanner, drawn, generator=generator)


def _generator(seed: int, *names: str) -> np.random.Generator:
    """Return the random numbers of one named thing."""
    return np.random.default_rng(np.frombuffer(hashlib.sha256(_name(seed, *names)).digest(), np.uint32))


def _uid(seed: int, *names: str) -> str:
    """Return the UID of one named thing, under the root of UUIDs (PS3.5, annex B.2)."""
    return f"2.25.{uuid5(NAMESPACE_OID, _name(seed, *names).decode()).int}"


def _name(seed: int, *names: str) -> bytes:
    return "/".join(("fedcli-phantom", str(seed), *names)).encode()
