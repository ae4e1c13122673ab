"""One DICOM file → a `Mammogram`, or its metadata only.

The modality must be one of the plan's; the SOP class does not matter. Pixels keep the orientation in which they are stored;
unused bits are dropped and the Modality LUT is applied. Linear steps (rescale, MONOCHROME1) are only recorded, because they can
be applied to the few pixels of the result. Every defect of a file becomes a `RejectedError` with a reason from a closed set.
"""

from __future__ import annotations

import warnings
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import numpy as np
from pydicom.multival import MultiValue

from fedcli.imaging.dicom.combination import combined, frames_of
from fedcli.imaging.dicom.decoders import DECODERS
from fedcli.imaging.dicom.decoding import NATIVE, stored_frames
from fedcli.imaging.dicom.header import header_of
from fedcli.imaging.dicom.modality import ModalityTransformation, padding_of, transformation_of
from fedcli.imaging.dicom.person import age_of, sex_of
from fedcli.imaging.dicom.pixel_layout import layout_of
from fedcli.imaging.dicom.screening import is_secondary, not_screening, unplanned
from fedcli.imaging.dicom.views import image_type_of, laterality_of, presentation_of, view_of
from fedcli.imaging.dicom.voi import voi_of
from fedcli.imaging.mammogram import TOMOSYNTHESIS, ImageMetadata, Mammogram
from fedcli.imaging.rejection import Reason, RejectedError
from fedcli.plan import Intensity, ModifiedViews, Presentation, Tomosynthesis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from fedcli.imaging.dicom.header import Header
    from fedcli.imaging.dicom.pixel_layout import PixelLayout
    from fedcli.imaging.dicom.voi import VoiLut, Window
    from fedcli.plan import Frames, Images

Result = TypeVar("Result")

_GREY_LEVELS = 64
_DATE_LENGTH = len("YYYYMMDD")

# The defined terms of Detector Type (0018,7004). The value is published, so nothing else passes.
_DETECTORS = ("DIRECT", "SCINTILLATOR", "STORAGE", "FILM")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _CheckedHeader:
    """What a header says: how pixels are stored, what they mean, and the metadata; the window only if the plan uses it."""

    layout: PixelLayout
    metadata: ImageMetadata
    transformation: ModalityTransformation
    voi: Window | VoiLut | None


def read(source: Path | BinaryIO, images: Images) -> Mammogram:
    """Read one file.

    Args:
        source: The file, of any name, or its content as a stream that can seek.
        images: The plan's settings: which images are taken, and how several frames become one image.

    Raises:
        RejectedError: The file is not such an image, or cannot be read or decoded.
    """
    return _with_header(source, lambda header: _mammogram(header, _checked(header, images), images.frames))


def read_metadata(source: Path | BinaryIO, images: Images) -> ImageMetadata:
    """Read one file's header only, and reject what can be rejected without its pixels.

    Raises:
        RejectedError: The file is not such an image, or there is no decoder for it.
    """
    return _with_header(source, lambda header: _checked(header, images).metadata)


def _with_header(source: Path | BinaryIO, task: Callable[[Header], Result]) -> Result:
    if isinstance(source, Path) and not source.is_file():  # opening a pipe would wait for its other end
        raise RejectedError(Reason.UNREADABLE)
    # pydicom's warnings quote values, including identifiers, which must not reach a log.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with source.open("rb") if isinstance(source, Path) else nullcontext(source) as file:
                return _explained(header_of(file), task)
        except RejectedError:
            raise
        except OSError as error:
            raise RejectedError(Reason.UNREADABLE) from error
        except MemoryError as error:
            raise RejectedError(Reason.TOO_LARGE) from error
        except Exception as error:  # pydicom converts values on access, and has no error family of its own
            raise RejectedError(Reason.DAMAGED) from error


def _explained(header: Header, task: Callable[[Header], Result]) -> Result:
    """Return the task's result; a rejection says whose image it is."""
    try:
        return task(header)
    except RejectedError as rejected:
        with suppress(Exception):  # the reason counts, whatever the names are
            rejected.metadata = _names(header.dataset)
        raise


def _checked(header: Header, images: Images) -> _CheckedHeader:
    """Return what the header says of a file that the plan takes and that can be decoded."""
    dataset = header.dataset
    if reason := unplanned(dataset, images.modalities):
        raise RejectedError(reason)
    if images.presentation is not Presentation.ANY and presentation_of(dataset) not in {None, images.presentation}:
        raise RejectedError(Reason.OTHER_PRESENTATION)
    layout = layout_of(dataset)
    reason = not_screening(dataset, layout.frames)
    if reason is not None and images.modified_views is ModifiedViews.EXCLUDE:
        raise RejectedError(reason)
    metadata = _metadata(header, layout, screening=reason is None)
    if metadata.image_type == TOMOSYNTHESIS and images.tomosynthesis is Tomosynthesis.NEVER:
        raise RejectedError(Reason.NOT_WANTED)
    if header.syntax not in DECODERS and header.syntax not in NATIVE:
        raise RejectedError(Reason.UNSUPPORTED)
    if (header.length is None) != (header.syntax in DECODERS):
        raise RejectedError(Reason.CONTRADICTION)
    if header.length is not None and header.length >= layout.frame_bytes * (layout.frames + 1):
        raise RejectedError(Reason.TOO_LONG)
    return _CheckedHeader(
        layout=layout,
        metadata=metadata,
        transformation=transformation_of(header, layout, frames_of(layout.frames, images.frames)),
        voi=voi_of(header, layout.frames // 2) if images.intensity is Intensity.WINDOW else None,
    )


def _mammogram(header: Header, checked: _CheckedHeader, how: Frames) -> Mammogram:
    layout, transformation = checked.layout, checked.transformation
    frames = frames_of(layout.frames, how)

    def values() -> Iterator[tuple[NDArray[Any], NDArray[np.bool_] | None]]:
        for position, stored in enumerate(stored_frames(header, layout, frames)):
            yield transformation.apply(stored, position), padding_of(stored, header.dataset)

    inverted = layout.inverted
    if layout.contradictory:
        inverted = _has_high_air(values()) != (transformation.slope < 0)
    falling = inverted != (transformation.slope < 0)
    darkest = transformation.high if falling else transformation.low
    pixels, padding = combined(values(), how, darkest=darkest, falling=falling)
    if padding is not None:
        if padding.all():
            raise RejectedError(Reason.BLANK)
        inside = pixels[~padding]
        pixels = np.where(padding, inside.max() if falling else inside.min(), pixels)
    return Mammogram(
        pixels=pixels,
        low=transformation.low,
        high=transformation.high,
        slope=transformation.slope,
        intercept=transformation.intercept,
        inverted=inverted,
        voi=checked.voi.brightness if checked.voi else None,
        padding=padding,
        metadata=checked.metadata,
    )


def _has_high_air(frames: Iterator[tuple[NDArray[Any], NDArray[np.bool_] | None]]) -> bool:
    """Tell whether the first frame's most frequent values, those of air, lie in the upper half of all its values."""
    values, padding = next(frames)
    counts, _ = np.histogram(values if padding is None or padding.all() else values[~padding], bins=_GREY_LEVELS)
    return int(counts.argmax()) >= _GREY_LEVELS // 2


def _metadata(header: Header, layout: PixelLayout, *, screening: bool) -> ImageMetadata:
    dataset = header.dataset
    detector = _text(dataset, "DetectorType").upper()
    return replace(
        _names(dataset),
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
        contradictory=layout.contradictory,
        screening=screening,
        secondary=is_secondary(dataset),
        sex=sex_of(dataset),
        age=age_of(dataset),
        annotated=_text(dataset, "BurnedInAnnotation").upper() == "YES",
    )


def _names(dataset: Dataset) -> ImageMetadata:
    """Return metadata that only say whose image it is."""
    return ImageMetadata(
        patient=_text(dataset, "PatientID"),
        study=_text(dataset, "StudyInstanceUID"),
        accession=_text(dataset, "AccessionNumber"),
        instance=_text(dataset, "SOPInstanceUID"),
        date=_date_of(dataset),
        rows=0,
        columns=0,
        bits=0,
    )


def _date_of(dataset: Dataset) -> str:
    """Return the date of the study or else of the image, '' for what is not one; 2020.01.31 is how ACR-NEMA wrote it."""
    dates = (_text(dataset, keyword).replace(".", "") for keyword in ("StudyDate", "AcquisitionDate"))
    return next((date for date in dates if len(date) == _DATE_LENGTH and date.isdecimal()), "")


def _text(dataset: Dataset, keyword: str) -> str:
    """Return an attribute's text as the file holds it, whatever backslashes it has.

    Without Specific Character Set only ASCII is allowed (PS3.5 6.1); bytes beyond it are UTF-8 if they can be, else Latin-1.
    """
    value = dataset.get(keyword) or ""
    text = "\\".join(map(str, value)) if isinstance(value, MultiValue) else str(value)
    if not text.isascii() and "SpecificCharacterSet" not in dataset:
        with suppress(UnicodeError):
            text = text.encode("latin-1").decode()
    return text.strip(" \0")
