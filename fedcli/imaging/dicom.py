"""One DICOM file → the grey values of one mammogram and what its header says.

Modality MG is what counts, whatever the SOP class. Pixels come in the orientation in which they are stored, with the unused bits
dropped, the Modality LUT or rescale applied and MONOCHROME1 inverted, so that brighter is denser. Of several frames the middle
one is read. Whatever is wrong with a file becomes `RejectedError` with a reason from a closed set.
"""

from __future__ import annotations

import warnings
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import pydicom
from pydicom.uid import BreastTomosynthesisImageStorage, DeflatedExplicitVRLittleEndian

from fedcli.imaging.decoding import Layout, decode, layout_of
from fedcli.imaging.rejection import Reason, RejectedError
from fedcli.imaging.views import laterality_of, view_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

MAX_INFLATED_BYTES = 1 << 29

# Detector Type (0018,7004) has these defined terms; the value leaves the site, so nothing else passes.
_DETECTORS = ("DIRECT", "SCINTILLATOR", "STORAGE", "FILM")
_HEAD_BYTES = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a mammogram's header says.

    Attributes:
        patient: Patient ID (0010,0020), or ''.
        study: Study Instance UID (0020,000D), or ''.
        accession: Accession Number (0008,0050), or ''.
        instance: SOP Instance UID (0008,0018), or ''.
        laterality: 'L', 'R' or ''.
        view: 'CC', 'MLO', … or ''.
        rows: Rows (0028,0010).
        columns: Columns (0028,0011).
        bits: Bits Stored (0028,0101).
        detector: Detector Type (0018,7004): one of its defined terms, 'OTHER', or '' where the file does not tell.
        image_type: '2D' or 'tomosynthesis'.
    """

    patient: str
    study: str
    accession: str
    instance: str
    laterality: str
    view: str
    rows: int
    columns: int
    bits: int
    detector: str
    image_type: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mammogram:
    """One image.

    Attributes:
        pixels: Grey values, (rows, columns), integers or float64, all within [low, high].
        low: Smallest value that the stored bits can express, after Modality LUT and inversion.
        high: The largest such value.
        facts: What the header says.
    """

    pixels: NDArray[Any]
    low: float
    high: float
    facts: Facts


def read(path: Path) -> Mammogram:
    """Read one file.

    Raises:
        RejectedError: The file is no mammogram, or cannot be read or decoded.
    """
    # pydicom's warnings quote values, identifiers among them, which must not reach a log.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if not path.is_file():
                raise RejectedError(Reason.UNREADABLE)
            with path.open("rb") as file:
                return _read(file)
        except OSError as error:
            raise RejectedError(Reason.UNREADABLE) from error
        except MemoryError as error:
            raise RejectedError(Reason.TOO_LARGE) from error


def _read(file: BinaryIO) -> Mammogram:
    try:
        return _mammogram(file, _header(file))
    except (RejectedError, OSError, MemoryError):
        raise
    except Exception as error:  # pydicom converts values on access, and has no error family of its own
        raise RejectedError(Reason.DAMAGED) from error


def _mammogram(file: BinaryIO, dataset: Dataset) -> Mammogram:
    if _text(dataset, "Modality").upper() != "MG":
        raise RejectedError(Reason.OTHER_MODALITY)
    # pydicom stops before the tag of the pixel data, or at the end of the file.
    if "PixelData" not in dataset and not file.read(1):
        raise RejectedError(Reason.NO_PIXELS)
    layout = layout_of(dataset)
    facts = _facts(dataset, layout)
    pixels, low, high = decode(file, dataset, layout)
    return Mammogram(pixels=pixels, low=low, high=high, facts=facts)


def _header(file: BinaryIO) -> Dataset:
    head = file.read(_HEAD_BYTES)
    part10 = head[128:132] == b"DICM"
    # Without a preamble, a data set begins with a tag of group 0002 or 0008, in either byte order.
    if not part10 and head[:2] not in {b"\x02\x00", b"\x08\x00", b"\x00\x08"}:
        raise RejectedError(Reason.NOT_DICOM)
    deflated = part10 and DeflatedExplicitVRLittleEndian.encode() in head
    if deflated:
        _refuse_inflation(file)
    file.seek(0)
    return pydicom.dcmread(file, force=not part10, stop_before_pixels=not deflated)


def _refuse_inflation(file: BinaryIO) -> None:
    """Inflate a deflated data set piece by piece, keeping nothing, since pydicom inflates it whole, whatever its size.

    The data set begins where File Meta Information Group Length (0002,0000), the first element after the preamble, says.
    """
    file.seek(140)
    file.seek(144 + int.from_bytes(file.read(4), "little"))
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    total = 0
    try:
        while block := inflater.unconsumed_tail or file.read(1 << 20):
            total += len(inflater.decompress(block, 1 << 24))
            if total > MAX_INFLATED_BYTES:
                raise RejectedError(Reason.TOO_LARGE)
    except zlib.error as error:
        raise RejectedError(Reason.DAMAGED) from error


def _facts(dataset: Dataset, layout: Layout) -> Facts:
    detector = _text(dataset, "DetectorType").upper()
    slices = layout.frames > 1 or dataset.get("SOPClassUID") == BreastTomosynthesisImageStorage
    return Facts(
        patient=_text(dataset, "PatientID"),
        study=_text(dataset, "StudyInstanceUID"),
        accession=_text(dataset, "AccessionNumber"),
        instance=_text(dataset, "SOPInstanceUID"),
        laterality=laterality_of(dataset),
        view=view_of(dataset),
        rows=layout.rows,
        columns=layout.columns,
        bits=layout.bits,
        detector=detector if detector in _DETECTORS else "OTHER" if detector else "",
        image_type="tomosynthesis" if slices else "2D",
    )


def _text(dataset: Dataset, keyword: str) -> str:
    return str(dataset.get(keyword) or "").strip(" \0")
