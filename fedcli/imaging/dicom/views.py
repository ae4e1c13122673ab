"""What a header says of an image: view, side, 2-D or volume, for presentation or for processing.

Only known terms are returned, everything else is '': free text never reaches a prepared data set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydicom.uid import (
    BreastTomosynthesisImageStorage,
    DigitalMammographyXRayImageStorageForPresentation,
    DigitalMammographyXRayImageStorageForProcessing,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
)

from fedcli.imaging.dicom.header import items_of_frame
from fedcli.imaging.mammogram import FLAT, SYNTHETIC, TOMOSYNTHESIS, VIEWS
from fedcli.plan import Presentation

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# DICOM PS3.16, CID 4014, in SNOMED CT and in the older SNOMED RT.
_VIEW_OF_CODE = {
    "399162004": "CC",
    "R-10242": "CC",
    "399368009": "MLO",
    "R-10226": "MLO",
    "399260004": "ML",
    "R-10224": "ML",
    "399352003": "LM",
    "R-10228": "LM",
    "399099002": "LMO",
    "R-10230": "LMO",
    "399192008": "XCCL",
    "R-1024A": "XCCL",
    "399101009": "XCCM",
    "R-1024B": "XCCM",
    "399196006": "FB",
    "R-10244": "FB",
    "399188001": "SIO",
    "R-102D0": "SIO",
    "441555000": "ISO",
    "R-40AAA": "ISO",
}


def view_of(dataset: Dataset) -> str:
    """Return the view ('CC', 'MLO', …) from View Position, View Code Sequence or Patient Orientation, or ''.

    CBIS-DDSM writes the view itself into Patient Orientation (0020,0020); its anatomical directions are not interpreted.
    """
    position = _term(dataset.get("ViewPosition"))
    if position in VIEWS:
        return position
    for item in dataset.get("ViewCodeSequence") or ():
        if view := _VIEW_OF_CODE.get(str(item.get("CodeValue", "")).strip()):
            return view
    orientation = _term(dataset.get("PatientOrientation"))
    return orientation if orientation in VIEWS else ""


def laterality_of(dataset: Dataset) -> str:
    """Return 'L' or 'R' from Image Laterality, Laterality or the first frame's Frame Laterality, or ''."""
    values = [dataset.get("ImageLaterality"), dataset.get("Laterality")]
    values += [item.get("FrameLaterality") for item in items_of_frame(dataset, 0, "FrameAnatomySequence")]
    return next((term for term in map(_term, values) if term in {"L", "R"}), "")


def _term(value: object) -> str:
    return value.strip().upper() if isinstance(value, str) else ""


_BY_INTENT = {
    "FOR PRESENTATION": Presentation.FOR_PRESENTATION,
    "FOR PROCESSING": Presentation.FOR_PROCESSING,
}
_BY_CLASS = {
    DigitalMammographyXRayImageStorageForPresentation: Presentation.FOR_PRESENTATION,
    DigitalMammographyXRayImageStorageForProcessing: Presentation.FOR_PROCESSING,
    DigitalXRayImageStorageForPresentation: Presentation.FOR_PRESENTATION,
    DigitalXRayImageStorageForProcessing: Presentation.FOR_PROCESSING,
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
