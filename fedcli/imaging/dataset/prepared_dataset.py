"""A prepared data set on disk, and loading one for training.

    images.npy       N × size × size, uint16 fixed point of [0, 1]
    index.csv        one row per image: hashes of patient and study, side, view, class, part
    dataset.json     the cohort, the digests of the two files above, the files left out
    split.csv        the part of each patient's hash
    identities.csv   hashes with their identifiers and paths: mode 0600
    rejects.csv      path and reason of every file left out: mode 0600
    label-problems.csv   rows of the label table without effect: mode 0600
    dataset.html     a page with examples of the images: mode 0600

Rows are in the order train, validation, test, so each part is one contiguous range. The first four files and the page contain no
identifier and no path. Nothing reads the page. Loading fails closed: any inconsistency is an error.
"""

from __future__ import annotations

from dataclasses import dataclass as plain_dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from fedcli import wire
from fedcli.cohort import Cohort
from fedcli.errors import DataError
from fedcli.imaging.dataset.index import Case, decode_index
from fedcli.imaging.rejection import Reason
from fedcli.plan import Part
from fedcli.wire import STRICT, Digest

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

IMAGES = "images.npy"
INDEX = "index.csv"
DESCRIPTION = "dataset.json"
SPLIT = "split.csv"
IDENTITIES = "identities.csv"
REJECTS = "rejects.csv"
LABEL_PROBLEMS = "label-problems.csv"
PAGE = "dataset.html"
FILES = (IMAGES, INDEX, DESCRIPTION, SPLIT, IDENTITIES, REJECTS, LABEL_PROBLEMS)

_HINT = "run prepare again"

Pseudonym = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class LeftOutFile:
    """A file that is not in the data set.

    Attributes:
        file: Keyed hash of its path within the archive.
        reason: Why.
    """

    file: Pseudonym
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Description:
    """The content of dataset.json.

    Attributes:
        schema: Name and version of this class.
        digest: Identifies the prepared data: SHA-256 over the digests of images and index.
        images_sha256: Digest of images.npy.
        index_sha256: Digest of index.csv.
        images: Number of images.
        size: Side of each image, in pixels.
        classes: The classes, in the plan's order.
        cohort: The data set in aggregate.
        left_out: Every file left out, in the order of the paths.
    """

    schema: Literal["fedcli-dataset-1"] = "fedcli-dataset-1"
    digest: Digest
    images_sha256: Digest
    index_sha256: Digest
    images: Annotated[int, Field(ge=1)]
    size: Annotated[int, Field(ge=1)]
    classes: tuple[str, ...]
    cohort: Cohort
    left_out: tuple[LeftOutFile, ...]


@plain_dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PreparedDataset:
    """A loaded data set.

    Attributes:
        images: (N, size, size), uint16 fixed point of [0, 1], mapped read-only.
        labels: (N,), positions of the classes.
        patients: Keyed hash of each image's patient.
        studies: Keyed hash of each image's study.
        parts: Part of each image.
        cohort: The data set in aggregate.
        digest: Identifies the prepared data.
    """

    images: NDArray[np.uint16]
    labels: NDArray[np.int64]
    patients: tuple[str, ...]
    studies: tuple[str, ...]
    parts: tuple[Part, ...]
    cohort: Cohort
    digest: str

    def rows(self, part: Part) -> slice:
        """Return the rows of a part, which prepare writes contiguously."""
        first = self.parts.index(part) if part in self.parts else 0
        return slice(first, first + self.parts.count(part))


def digest_of(images_sha256: str, index_sha256: str) -> str:
    """Return the digest that identifies prepared data."""
    return wire.sha256(f"{images_sha256} {index_sha256}".encode())


def load(directory: Path, preparation_digest: str, allow_empty: Collection[Part]) -> PreparedDataset:
    """Load a prepared data set.

    Args:
        directory: Where prepare wrote it.
        preparation_digest: Digest of the plan's settings for prepare.
        allow_empty: Parts that may be without patients.

    Raises:
        DataError: A file is missing or was changed, the data were prepared with other settings, a patient is in two parts, or a
            part is empty without permission.
    """
    description = describe(directory)
    if description.cohort.preparation != preparation_digest:
        msg = (
            f"{directory}: the data were prepared with settings other than the plan's: "
            f"expected {preparation_digest[: wire.SHORT_DIGEST]}, found {description.cohort.preparation[: wire.SHORT_DIGEST]}"
        )
        raise DataError(msg, hint=f"{_HINT} with the plan in force")
    index = _read(directory / INDEX)
    if wire.sha256(index) != description.index_sha256:
        msg = f"{directory / INDEX}: the file was changed after prepare wrote it"
        raise DataError(msg, hint=_HINT)
    try:
        cases = decode_index(index)
    except ValueError as error:
        msg = f"{directory / INDEX}: not the index of a prepared data set: {error}"
        raise DataError(msg, hint=_HINT) from error
    _check(directory, cases, description, allow_empty)
    position = {name: number for number, name in enumerate(description.classes)}
    return PreparedDataset(
        images=_map(directory / IMAGES, description),
        labels=np.array([position[case.label] for case in cases], np.int64),
        patients=tuple(case.patient for case in cases),
        studies=tuple(case.study for case in cases),
        parts=tuple(case.part for case in cases),
        cohort=description.cohort,
        digest=description.digest,
    )


def describe(directory: Path) -> Description:
    """Read only dataset.json.

    Raises:
        DataError: It is missing or damaged.
    """
    path = directory / DESCRIPTION
    try:
        description = wire.decode(Description, _read(path))
    except wire.MalformedError as error:
        msg = f"{path}: not the description of a prepared data set: {error}"
        raise DataError(msg, hint=_HINT) from error
    if description.digest != digest_of(description.images_sha256, description.index_sha256):
        msg = f"{path}: its digest is not that of the files that it names"
        raise DataError(msg, hint=_HINT)
    return description


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        msg = f"{path}: the prepared data set cannot be read: {error.strerror}"
        raise DataError(msg, hint=_HINT) from error


def _check(directory: Path, cases: Sequence[Case], description: Description, allow_empty: Collection[Part]) -> None:
    if tuple(case.row for case in cases) != tuple(range(description.images)):
        msg = f"{directory / INDEX}: expected one row for each of {description.images} images, in order, found {len(cases)}"
        raise DataError(msg, hint=_HINT)
    order = [tuple(Part).index(case.part) for case in cases]
    if order != sorted(order):
        msg = f"{directory / INDEX}: expected rows of train, validation, test in this order"
        raise DataError(msg, hint=_HINT)
    parts: dict[str, Part] = {}
    for case in cases:
        if parts.setdefault(case.patient, case.part) is not case.part:
            msg = f"{directory / INDEX}: patient {case.patient} is in two parts, {parts[case.patient]} and {case.part}"
            raise DataError(msg, hint=_HINT)
        if case.label not in description.classes:
            msg = f"{directory / INDEX}, row {case.row}: expected a class of {', '.join(description.classes)}, found {case.label}"
            raise DataError(msg, hint=_HINT)
    if missing := [part for part in Part if part not in parts.values() and part not in allow_empty]:
        msg = f"{directory}: no patient for {', '.join(missing)} among {len(parts)}"
        raise DataError(msg, hint="prepare more data, or agree on a plan whose split or allow_empty suits this site")


def _map(path: Path, description: Description) -> NDArray[np.uint16]:
    shape = (description.images, description.size, description.size)
    try:
        images = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError) as error:
        msg = f"{path}: the images cannot be read: {error}"
        raise DataError(msg, hint=_HINT) from error
    if images.shape != shape or images.dtype != np.dtype("<u2"):
        msg = f"{path}: expected {shape} of uint16, found {images.shape} of {images.dtype}"
        raise DataError(msg, hint=_HINT)
    expected, size = images.offset + images.nbytes, path.stat().st_size
    if size != expected:
        msg = f"{path}: expected {expected} bytes, found {size}"
        raise DataError(msg, hint=_HINT)
    return images
