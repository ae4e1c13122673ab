"""What kind of image a header tells of: flat, generated or a volume; for the radiologist's eyes or as the detector gave it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydicom.uid import (
    BreastTomosynthesisImageStorage,
    DigitalMammographyXRayImageStorageForPresentation,
    DigitalMammographyXRayImageStorageForProcessing,
)

from fedcli.plan import Presentation

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

FLAT = "2D"
SYNTHETIC = "synthetic 2D"
TOMOSYNTHESIS = "tomosynthesis"

_BY_INTENT = {
    "FOR PRESENTATION": Presentation.FOR_PRESENTATION,
    "FOR PROCESSING": Presentation.FOR_PROCESSING,
}
_BY_CLASS = {
    DigitalMammographyXRayImageStorageForPresentation: Presentation.FOR_PRESENTATION,
    DigitalMammographyXRayImageStorageForProcessing: Presentation.FOR_PROCESSING,
}


def image_type_of(dataset: Dataset, frames: int) -> str:
    """Return what Image Type (0008,0008), the SOP class and the number of frames tell (PS3.3 C.8.11.7.1.4, C.8.21.6.1.1)."""
    kinds = dataset.get("ImageType") or ()
    if "GENERATED_2D" in ((kinds,) if isinstance(kinds, str) else kinds):
        return SYNTHETIC
    return TOMOSYNTHESIS if frames > 1 or dataset.get("SOPClassUID") == BreastTomosynthesisImageStorage else FLAT


def presentation_of(dataset: Dataset) -> Presentation | None:
    """Return what Presentation Intent Type (0008,0068) tells, else the SOP class; None where neither does."""
    intent = str(dataset.get("PresentationIntentType") or "").strip(" \0").upper()
    return _BY_INTENT.get(intent) or _BY_CLASS.get(str(dataset.get("SOPClassUID") or ""))  # type: ignore[call-overload]
