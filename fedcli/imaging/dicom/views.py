"""View and side of a mammogram, from the first attribute of its header that states them.

Only known terms are returned, everything else is '': free text never reaches a prepared data set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.imaging.dicom.functional_groups import items_of_frame
from fedcli.imaging.mammogram import VIEWS

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
