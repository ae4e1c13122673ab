"""What kind of image a header describes: 2-D, generated from a volume, or a volume; for presentation or for processing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydicom.uid import (
    BreastTomosynthesisImageStorage,
    DigitalMammographyXRayImageStorageForPresentation,
    DigitalMammographyXRayImageStorageForProcessing,
)

from fedcli.imaging.mammogram import FLAT, SYNTHETIC, TOMOSYNTHESIS
from fedcli.plan import Presentation

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_BY_INTENT = {
    "FOR PRESENTATION": Presentation.FOR_PRESENTATION,
    "FOR PROCESSING": Presentation.FOR_PROCESSING,
}
_BY_CLASS = {
    DigitalMammographyXRayImageStorageForPresentation: Presentation.FOR_PRESENTATION,
    DigitalMammographyXRayImageStorageForProcessing: Presentation.FOR_PROCESSING,
}


def image_type_of(dataset: Dataset, frames: int) -> str:
    """Return the type by Image Type (0008,0008), SOP class and number of frames (PS3.3 C.8.11.7.1.4, C.8.21.6.1.1)."""
    kinds = dataset.get("ImageType") or ()
    if "GENERATED_2D" in ((kinds,) if isinstance(kinds, str) else kinds):
        return SYNTHETIC
    return TOMOSYNTHESIS if frames > 1 or dataset.get("SOPClassUID") == BreastTomosynthesisImageStorage else FLAT


def presentation_of(dataset: Dataset) -> Presentation | None:
    """Return the intent by Presentation Intent Type (0008,0068), else by SOP class; None where neither states it."""
    intent = str(dataset.get("PresentationIntentType") or "").strip(" \0").upper()
    return _BY_INTENT.get(intent) or _BY_CLASS.get(str(dataset.get("SOPClassUID") or ""))  # type: ignore[call-overload]
