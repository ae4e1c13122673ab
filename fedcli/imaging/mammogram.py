"""One mammogram in memory: its stored values, how they become grey values, and its metadata.

`dicom` and `pictures` make it from a file, `pixels` prepares it for the network. A label table names views as `VIEWS` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedcli.plan import ViewPosition

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

VIEWS = tuple(view.value for view in ViewPosition)
"""The only views that leave a file: free text never reaches a prepared data set."""

FLAT = "2D"
SYNTHETIC = "synthetic 2D"
TOMOSYNTHESIS = "tomosynthesis"

MAX_IMAGE_PIXELS = 1 << 26
"""Twice the largest film digitised at 43.5 micrometres."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageMetadata:
    """What is known about an image besides its pixels; '' where the file does not say.

    Attributes:
        patient: Patient ID (0010,0020).
        study: Study Instance UID (0020,000D).
        accession: Accession Number (0008,0050).
        instance: SOP Instance UID (0008,0018).
        date: Study Date (0008,0020), else Acquisition Date (0008,0022), as YYYYMMDD; for the site's eyes only.
        laterality: 'L', 'R' or ''.
        view: One of `VIEWS`, or ''.
        rows: Rows (0028,0010).
        columns: Columns (0028,0011).
        bits: Bits Stored (0028,0101).
        detector: Detector Type (0018,7004): one of its defined terms, 'OTHER' or ''.
        image_type: '2D', 'synthetic 2D' (generated from a volume) or 'tomosynthesis'.
        scanner: Manufacturer (0008,0070) and Manufacturer's Model Name (0008,1090); free text, for the site's eyes only.
        syntax: Transfer Syntax UID (0002,0010); '' for a picture.
        frames: Number of Frames (0028,0008).
        contradictory: Whether the file contradicts itself about which end of its values is white, so that air was taken as dark.
        screening: Whether the image is an ordinary view of a whole breast, as far as the file says.
        secondary: Whether the SOP class is a secondary capture.
        sex: Patient's Sex (0010,0040): 'F', 'M', 'O' or ''.
        age: The patient's age at the study in completed years, None where the file does not say.
        annotated: Whether Burned In Annotation (0028,0301) is YES.
    """

    patient: str = ""
    study: str = ""
    accession: str = ""
    instance: str = ""
    date: str = ""
    laterality: str = ""
    view: str = ""
    rows: int
    columns: int
    bits: int
    detector: str = ""
    image_type: str = FLAT
    scanner: str = ""
    syntax: str = ""
    frames: int = 1
    contradictory: bool = False
    screening: bool = True
    secondary: bool = False
    sex: str = ""
    age: int | None = None
    annotated: bool = False

    @property
    def exam(self) -> str:
        """The study: its UID, else the accession number, else the patient."""
        return self.study or self.accession or self.patient


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mammogram:
    """One image.

    Attributes:
        pixels: Stored values, (rows, columns), all within [low, high]: integers, or float32 for a mean of frames.
        low: Smallest value that the stored bits, or the Modality LUT, can express.
        high: The largest such value.
        slope: The modality value is slope × pixel + intercept.
        intercept: See `slope`.
        inverted: Whether the lowest modality value is white.
        voi: The file's VOI transformation, from modality values to brightness in [0, 1]; None if the plan does not use it.
        padding: Where the image is padding, whose pixels have the darkest value of the others; None for nowhere.
        metadata: What is known about the image.
    """

    pixels: NDArray[Any]
    low: float
    high: float
    slope: float = 1.0
    intercept: float = 0.0
    inverted: bool = False
    voi: Callable[[NDArray[Any]], NDArray[np.float64]] | None = None
    padding: NDArray[np.bool_] | None = None
    metadata: ImageMetadata

    @property
    def falling(self) -> bool:
        """Whether a higher stored value is darker."""
        return self.inverted != (self.slope < 0)
