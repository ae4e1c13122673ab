"""One DICOM file → the stored values of one mammogram, how they become grey values, and what its header says.

Modality MG is what counts, whatever the SOP class. Pixels come in the orientation in which they are stored, with the unused bits
dropped and the Modality LUT applied; what is linear (rescale, MONOCHROME1) is told beside them, since it may as well be done on
the few pixels of the result. Whatever is wrong with a file becomes `RejectedError` with a reason from a closed set.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from fedcli.imaging.dicom import modality
from fedcli.imaging.dicom.decoders import DECODERS
from fedcli.imaging.dicom.decoding import NATIVE, decode
from fedcli.imaging.dicom.header import header_of
from fedcli.imaging.dicom.kinds import TOMOSYNTHESIS, image_type_of, presentation_of
from fedcli.imaging.dicom.pixel_layout import layout_of
from fedcli.imaging.dicom.views import laterality_of, view_of
from fedcli.imaging.dicom.voi import voi_of
from fedcli.imaging.rejection import Reason, RejectedError
from fedcli.plan import Frames, Presentation

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from fedcli.imaging.dicom.header import Header
    from fedcli.imaging.dicom.pixel_layout import Layout
    from fedcli.imaging.dicom.voi import Table, Window

Result = TypeVar("Result")

MAMMOGRAPHY = "MG"

# Detector Type (0018,7004) has these defined terms; the value leaves the site, so nothing else passes.
_DETECTORS = ("DIRECT", "SCINTILLATOR", "STORAGE", "FILM")


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
        image_type: '2D', 'synthetic 2D' (generated from a volume) or 'tomosynthesis'.
        scanner: Manufacturer (0008,0070) and Manufacturer's Model Name (0008,1090), or ''; free text, for the site's eyes only.
        syntax: Transfer Syntax UID (0002,0010), or '' where the file is no DICOM.
        frames: Number of Frames (0028,0008).
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
    scanner: str = ""
    syntax: str = ""
    frames: int = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mammogram:
    """One image.

    Attributes:
        pixels: Stored values, (rows, columns), all within [low, high]: integers, or float32 for a mean of frames.
        low: Smallest value that the stored bits, or the Modality LUT, can express.
        high: The largest such value.
        slope: The modality's value is slope × pixel + intercept.
        intercept: See there.
        inverted: Whether the lowest of the modality's values is white.
        voi: What the file says is to be shown, of the modality's values; None where it does not tell.
        facts: What the header says.
    """

    pixels: NDArray[Any]
    low: float
    high: float
    slope: float = 1.0
    intercept: float = 0.0
    inverted: bool = False
    voi: Window | Table | None = None
    facts: Facts

    @property
    def falling(self) -> bool:
        """Whether a higher stored value is darker."""
        return self.inverted != (self.slope < 0)

    @property
    def grey(self) -> NDArray[np.float64]:
        """Grey values, (rows, columns), brighter is denser: after rescale and inversion, which keeps the range."""
        values = self.pixels.astype(np.float64)
        if self.inverted:
            values = self.low + self.high - values
        return values * self.slope + self.intercept


def read(
    path: Path,
    *,
    frames: Frames = Frames.MIDDLE,
    presentation: Presentation = Presentation.ANY,
    volumes: bool = True,
    any_modality: bool = False,
) -> Mammogram:
    """Read one file.

    Args:
        path: The file, of any name.
        frames: What becomes one image of several frames.
        presentation: Which images are taken, of those that tell.
        volumes: Whether tomosynthesis is taken.
        any_modality: Whether to take what is no mammogram.

    Raises:
        RejectedError: The file is no such image, or cannot be read or decoded.
    """

    def work(header: Header) -> Mammogram:
        layout, facts = _looked(header, presentation, volumes=volumes, any_modality=any_modality)
        return _mammogram(header, layout, facts, frames)

    return _attempt(path, work)


def look(path: Path, *, presentation: Presentation = Presentation.ANY, volumes: bool = True) -> Facts:
    """Read one file's header alone, and refuse what can be refused without its pixels.

    Raises:
        RejectedError: The file is no such image, or there is no decoder for it.
    """
    return _attempt(path, lambda header: _looked(header, presentation, volumes=volumes)[1])


def _attempt(path: Path, work: Callable[[Header], Result]) -> Result:
    if not path.is_file():  # opening a pipe would wait for its other end
        raise RejectedError(Reason.UNREADABLE)
    # pydicom's warnings quote values, identifiers among them, which must not reach a log.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with path.open("rb") as file:
                return work(header_of(file))
        except RejectedError:
            raise
        except OSError as error:
            raise RejectedError(Reason.UNREADABLE) from error
        except MemoryError as error:
            raise RejectedError(Reason.TOO_LARGE) from error
        except Exception as error:  # pydicom converts values on access, and has no error family of its own
            raise RejectedError(Reason.DAMAGED) from error


def _looked(header: Header, presentation: Presentation, *, volumes: bool, any_modality: bool = False) -> tuple[Layout, Facts]:
    dataset = header.dataset
    if _text(dataset, "Modality").upper() != MAMMOGRAPHY and not any_modality:
        raise RejectedError(Reason.OTHER_MODALITY)
    if presentation is not Presentation.ANY and presentation_of(dataset) not in {None, presentation}:
        raise RejectedError(Reason.OTHER_PRESENTATION)
    layout = layout_of(dataset)
    facts = _facts(header, layout)
    if facts.image_type == TOMOSYNTHESIS and not volumes:
        raise RejectedError(Reason.NOT_WANTED)
    if header.syntax not in DECODERS and header.syntax not in NATIVE:
        raise RejectedError(Reason.UNSUPPORTED)
    if (header.length is None) != (header.syntax in DECODERS):
        raise RejectedError(Reason.CONTRADICTION)
    return layout, facts


def _mammogram(header: Header, layout: Layout, facts: Facts, frames: Frames) -> Mammogram:
    dataset = header.dataset
    middle = layout.frames // 2
    has_lut = modality.has_lut(dataset)
    slope, intercept = (1.0, 0.0) if has_lut else modality.rescale_of(dataset, middle)
    falling = layout.inverted != (slope < 0)
    pixels = decode(header, layout, frames=frames, falling=falling)
    padding = modality.padding_of(pixels, dataset)
    low, high = layout.range
    if has_lut:
        pixels, high = modality.looked_up(pixels, dataset)
        low = 0
    if padding is not None:
        inside = pixels[~padding]
        pixels = np.where(padding, inside.max() if falling else inside.min(), pixels)
    return Mammogram(
        pixels=pixels,
        low=float(low),
        high=float(high),
        slope=slope,
        intercept=intercept,
        inverted=layout.inverted,
        voi=voi_of(dataset, middle),
        facts=facts,
    )


def _facts(header: Header, layout: Layout) -> Facts:
    dataset = header.dataset
    detector = _text(dataset, "DetectorType").upper()
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
        image_type=image_type_of(dataset, layout.frames),
        scanner=" ".join(f"{_text(dataset, 'Manufacturer')} {_text(dataset, 'ManufacturerModelName')}".split()),
        syntax=str(header.syntax),
        frames=layout.frames,
    )


def _text(dataset: Dataset, keyword: str) -> str:
    return str(dataset.get(keyword) or "").strip(" \0")
