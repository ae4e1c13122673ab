"""Which images are no mammograms, or not ordinary views of a whole breast.

Those are modified, magnified and partial views, specimens, biopsies and recombined contrast images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydicom.uid import (
    BreastProjectionXRayImageStorageForPresentation,
    BreastProjectionXRayImageStorageForProcessing,
    CTImageStorage,
    SecondaryCaptureImageStorage,
)

from fedcli.imaging.dicom.header import number_of
from fedcli.imaging.rejection import Reason
from fedcli.plan import Modality

if TYPE_CHECKING:
    from collections.abc import Collection

    from pydicom.dataset import Dataset

_MAGNIFIED = 1.3
"""Estimated Radiographic Magnification Factor: about 1.0 to 1.1 where the breast lies on the detector, 1.5 and more otherwise."""
_BREAST_CODES = {"76752008", "T-04000"}
"""The breast in SNOMED CT and in the older SNOMED RT (PS3.16, CID 4031)."""
_NO_BREAST = {"SPECIMEN"}
_BIOPSY = {"STEREO", "STEREO_SCOUT", "STEREO_PLUS", "STEREO_MINUS"}
_CONTRAST = {"RECOMBINED", "SUBTRACTED", "SUBTRACTION"}
_PROJECTIONS = {"TOMO_PROJ", "TOMO_SCOUT"}
_PROJECTION_CLASSES = (BreastProjectionXRayImageStorageForPresentation, BreastProjectionXRayImageStorageForProcessing)


def not_screening(dataset: Dataset, frames: int) -> Reason | None:
    """Return why an image is not a screening view, None where it may be one.

    By View Modifier Code Sequence (0054,0222), Partial View (0028,1350) and Estimated Radiographic Magnification Factor
    (0018,1114) of PS3.3 C.8.11.7; by Image Type (0008,0008) of C.8.11.7.1.4 and C.8.21.6.1.1; by Body Part Examined
    and SOP class.
    """
    kinds = {str(kind).strip().upper() for kind in _values(dataset.get("ImageType"))}
    sop_class = dataset.get("SOPClassUID")
    modifiers = [item for view in dataset.get("ViewCodeSequence") or () for item in view.get("ViewModifierCodeSequence") or ()]
    magnification = number_of(dataset.get("EstimatedRadiographicMagnificationFactor"))
    reasons = {
        Reason.NO_BREAST: kinds & _NO_BREAST or _text(dataset, "BodyPartExamined") in _NO_BREAST,
        Reason.BIOPSY: kinds & _BIOPSY,
        Reason.CONTRAST: kinds & _CONTRAST,
        Reason.PROJECTION: kinds & _PROJECTIONS or sop_class in _PROJECTION_CLASSES,
        Reason.SLICE: sop_class == CTImageStorage or (frames == 1 and "TOMOSYNTHESIS" in kinds and "GENERATED_2D" not in kinds),
        Reason.MODIFIED_VIEW: modifiers or magnification > _MAGNIFIED or _text(dataset, "PartialView") == "YES",
    }
    return next((reason for reason, applies in reasons.items() if applies), None)


def unplanned(dataset: Dataset, modalities: Collection[Modality]) -> Reason | None:
    """Return why an image is not of the plan's modalities, None where it is.

    Of DX and CR only images of the breast are mammograms, by Body Part Examined (0018,0015) or Anatomic Region Sequence
    (0008,2218).
    """
    modality = _text(dataset, "Modality")
    if modality not in modalities:
        return Reason.OTHER_MODALITY if tuple(modalities) == (Modality.MG,) else Reason.UNPLANNED_MODALITY
    regions = {str(item.get("CodeValue", "")).strip() for item in dataset.get("AnatomicRegionSequence") or ()}
    of_breast = modality == Modality.MG or _text(dataset, "BodyPartExamined") == "BREAST" or regions & _BREAST_CODES
    return None if of_breast else Reason.OTHER_BODY_PART


def is_secondary(dataset: Dataset) -> bool:
    """Tell whether the SOP class is one of the secondary captures."""
    return str(dataset.get("SOPClassUID") or "").startswith(SecondaryCaptureImageStorage)


def _text(dataset: Dataset, keyword: str) -> str:
    return str(dataset.get(keyword) or "").strip(" \0").upper()


def _values(value: object) -> tuple[object, ...]:
    return () if value is None else (value,) if isinstance(value, str) else tuple(value)  # type: ignore[arg-type]
