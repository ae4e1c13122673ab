"""One DICOM file → a `Mammogram`, or its metadata only.

The modality must be MG; the SOP class does not matter. Pixels keep the orientation in which they are stored; unused bits are
dropped and the Modality LUT is applied. Linear steps (rescale, MONOCHROME1) are only recorded, because they can be applied to the
few pixels of the result. Every defect of a file becomes a `RejectedError` with a reason from a closed set.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from fedcli.imaging.dicom import modality
from fedcli.imaging.dicom.decoders import DECODERS
from fedcli.imaging.dicom.decoding import NATIVE, decode
from fedcli.imaging.dicom.header import header_of
from fedcli.imaging.dicom.pixel_layout import layout_of
from fedcli.imaging.dicom.views import image_type_of, laterality_of, presentation_of, view_of
from fedcli.imaging.dicom.voi import voi_of
from fedcli.imaging.mammogram import TOMOSYNTHESIS, ImageMetadata, Mammogram
from fedcli.imaging.rejection import Reason, RejectedError
from fedcli.plan import Presentation, Tomosynthesis

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pydicom.dataset import Dataset

    from fedcli.imaging.dicom.header import Header
    from fedcli.imaging.dicom.pixel_layout import PixelLayout
    from fedcli.plan import Images

Result = TypeVar("Result")

MAMMOGRAPHY = "MG"

# The defined terms of Detector Type (0018,7004). The value is published, so nothing else passes.
_DETECTORS = ("DIRECT", "SCINTILLATOR", "STORAGE", "FILM")


def read(path: Path, images: Images) -> Mammogram:
    """Read one file.

    Args:
        path: The file, of any name.
        images: The plan's settings: which images are taken, and how several frames become one image.

    Raises:
        RejectedError: The file is not such an image, or cannot be read or decoded.
    """
    return _with_header(path, lambda header: _mammogram(header, *_checked(header, images), images))


def read_metadata(path: Path, images: Images) -> ImageMetadata:
    """Read one file's header only, and reject what can be rejected without its pixels.

    Raises:
        RejectedError: The file is not such an image, or there is no decoder for it.
    """
    return _with_header(path, lambda header: _checked(header, images)[1])


def _with_header(path: Path, task: Callable[[Header], Result]) -> Result:
    if not path.is_file():  # opening a pipe would wait for its other end
        raise RejectedError(Reason.UNREADABLE)
    # pydicom's warnings quote values, including identifiers, which must not reach a log.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with path.open("rb") as file:
                return task(header_of(file))
        except RejectedError:
            raise
        except OSError as error:
            raise RejectedError(Reason.UNREADABLE) from error
        except MemoryError as error:
            raise RejectedError(Reason.TOO_LARGE) from error
        except Exception as error:  # pydicom converts values on access, and has no error family of its own
            raise RejectedError(Reason.DAMAGED) from error


def _checked(header: Header, images: Images) -> tuple[PixelLayout, ImageMetadata]:
    """Return how the pixels are stored, and the metadata, of a file that the plan takes and that can be decoded."""
    dataset = header.dataset
    if _text(dataset, "Modality").upper() != MAMMOGRAPHY:
        raise RejectedError(Reason.OTHER_MODALITY)
    if images.presentation is not Presentation.ANY and presentation_of(dataset) not in {None, images.presentation}:
        raise RejectedError(Reason.OTHER_PRESENTATION)
    layout = layout_of(dataset)
    metadata = _metadata(header, layout)
    if metadata.image_type == TOMOSYNTHESIS and images.tomosynthesis is Tomosynthesis.NEVER:
        raise RejectedError(Reason.NOT_WANTED)
    if header.syntax not in DECODERS and header.syntax not in NATIVE:
        raise RejectedError(Reason.UNSUPPORTED)
    if (header.length is None) != (header.syntax in DECODERS):
        raise RejectedError(Reason.CONTRADICTION)
    return layout, metadata


def _mammogram(header: Header, layout: PixelLayout, metadata: ImageMetadata, images: Images) -> Mammogram:
    dataset = header.dataset
    middle = layout.frames // 2
    has_lut = modality.has_lut(dataset)
    slope, intercept = (1.0, 0.0) if has_lut else modality.rescale_of(dataset, middle)
    falling = layout.inverted != (slope < 0)
    pixels = decode(header, layout, frames=images.frames, falling=falling)
    padding = modality.padding_of(pixels, dataset)
    low, high = layout.range_of(layout.bits)
    if has_lut:
        pixels, high = modality.apply_lut(pixels, dataset)
        low = 0
    if padding is not None:
        inside = pixels[~padding]
        pixels = np.where(padding, inside.max() if falling else inside.min(), pixels)
    voi = voi_of(dataset, middle)
    return Mammogram(
        pixels=pixels,
        low=float(low),
        high=float(high),
        slope=slope,
        intercept=intercept,
        inverted=layout.inverted,
        voi=voi.brightness if voi else None,
        metadata=metadata,
    )


def _metadata(header: Header, layout: PixelLayout) -> ImageMetadata:
    dataset = header.dataset
    detector = _text(dataset, "DetectorType").upper()
    return ImageMetadata(
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
        image_type=image_type_of(dataset, layout.frames),
        scanner=" ".join(f"{_text(dataset, 'Manufacturer')} {_text(dataset, 'ManufacturerModelName')}".split()),
        syntax=str(header.syntax),
        frames=layout.frames,
    )


def _text(dataset: Dataset, keyword: str) -> str:
    return str(dataset.get(keyword) or "").strip(" \0")
