"""A digital mammogram as a DICOM file: given pixels, with the attributes that PS3.3 A.27 requires.

The object is Digital Mammography X-Ray Image Storage - For Presentation, with every Type 1 and 2 attribute of its mandatory
modules; they say that the image is synthetic. A volume is Breast Tomosynthesis Image Storage with the same attributes and all its
slices, but without the functional groups that PS3.3 A.55 requires. The same arguments give the same bytes: nothing depends on the
clock, the machine or pydicom's version.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, BreastTomosynthesisImageStorage, DigitalMammographyXRayImageStorageForPresentation

from fedcli.imaging.phantoms.breast import Side, View
from fedcli.imaging.phantoms.scanner import Photometric, TransferSyntax

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from fedcli.imaging.phantoms.scanner import Scanner

_IMPLEMENTATION = "2.25.302134087241640541374418512703163226173"
_BREAST = ("76752008", "SCT", "Breast")
_VIEW_CODES = {
    View.CC: ("399162004", "SCT", "cranio-caudal"),
    View.MLO: ("399368009", "SCT", "medio-lateral oblique"),
}
"""CID 4014, View for Mammography."""
_ORIENTATIONS = {
    (Side.LEFT, View.CC): ["A", "R"],
    (Side.LEFT, View.MLO): ["A", "FR"],
    (Side.RIGHT, View.CC): ["P", "L"],
    (Side.RIGHT, View.MLO): ["P", "FL"],
}
"""Patient Orientation (0020,0020): the directions of rows and columns; the chest wall is at the left edge for L, right for R."""
_ANGLES = {View.CC: 0, View.MLO: 45}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exam:
    """A patient's visit, whose images are one study and one series.

    Attributes:
        institution: Institution Name (0008,0080).
        patient: Patient ID (0010,0020), and the patient's name.
        age: Patient's Age (0010,1010) in years.
        day: Study Date (0008,0020).
        study_uid: Study Instance UID (0020,000D).
        series_uid: Series Instance UID (0020,000E).
    """

    institution: str
    patient: str
    age: int
    day: date
    study_uid: str
    series_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """One image of an exam.

    Attributes:
        side: Image Laterality (0020,0062).
        view: View Position (0018,5101).
        number: Instance Number (0020,0013), from 1.
        uid: SOP Instance UID (0008,0018).
    """

    side: Side
    view: View
    number: int
    uid: str


def write_exam(folder: Path, scanner: Scanner, exam: Exam, images: Iterable[tuple[Exposure, npt.NDArray[np.uint16]]]) -> None:
    """Write an exam's files, `<side>-<view>.dcm`, into a folder that exists.

    Args:
        folder: The folder.
        scanner: The system that took the images.
        exam: What the files have in common.
        images: Each image with its stored values, rows × columns or slices × rows × columns, as `scanner` returns them.
    """
    # One data set is reused: creating a new one for each image would take longer than drawing the image.
    dataset = Dataset()
    _set_patient_and_study(dataset, exam)
    _set_equipment(dataset, scanner, exam)
    _set_image(dataset, scanner, exam)
    for exposure, stored in images:
        _set_view(dataset, exposure)
        dataset.file_meta = _file_meta(scanner, exposure)
        dataset.PixelData = stored.astype("<u2", copy=False).tobytes()
        if scanner.transfer_syntax is TransferSyntax.RLE_LOSSLESS:
            dataset.compress(UID(scanner.transfer_syntax), generate_instance_uid=False)
        dataset["PixelData"].VR = "OW"
        dataset.save_as(folder / f"{exposure.side}-{exposure.view}.dcm", enforce_file_format=True)


def _file_meta(scanner: Scanner, exposure: Exposure) -> FileMetaDataset:
    """PS3.10, section 7.1."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = _sop_class(scanner)
    meta.MediaStorageSOPInstanceUID = UID(exposure.uid)
    rle = scanner.transfer_syntax is TransferSyntax.RLE_LOSSLESS
    meta.TransferSyntaxUID = UID(TransferSyntax.EXPLICIT_LITTLE_ENDIAN if rle else scanner.transfer_syntax)
    meta.ImplementationClassUID = UID(_IMPLEMENTATION)
    meta.ImplementationVersionName = "FEDCLI_PHANTOM"
    return meta


def _set_patient_and_study(dataset: Dataset, exam: Exam) -> None:
    """Patient C.7.1.1, General Study C.7.2.1 and Patient Study C.7.2.2."""
    dataset.PatientName = f"Phantom^{exam.patient}"
    dataset.PatientID = exam.patient
    dataset.PatientBirthDate = ""
    dataset.PatientSex = "F"
    dataset.PatientAge = f"{exam.age:03d}Y"
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = "Synthetic image: there is no patient"
    dataset.StudyInstanceUID = exam.study_uid
    dataset.StudyDate = f"{exam.day:%Y%m%d}"
    dataset.StudyTime = "120000"
    dataset.StudyID = "1"
    dataset.AccessionNumber = ""
    dataset.ReferringPhysicianName = ""


def _set_equipment(dataset: Dataset, scanner: Scanner, exam: Exam) -> None:
    """General and Mammography Series C.7.3.1 and C.8.11.6, DX Series C.8.11.1, Equipment C.7.5.1, DX Detector C.8.11.4."""
    dataset.Modality = "MG"
    dataset.SeriesInstanceUID = exam.series_uid
    dataset.SeriesNumber = 1
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.Manufacturer = scanner.manufacturer
    dataset.ManufacturerModelName = scanner.model
    dataset.InstitutionName = exam.institution
    dataset.DetectorType = scanner.detector
    dataset.ImagerPixelSpacing = [scanner.pixel_spacing, scanner.pixel_spacing]


def _set_view(dataset: Dataset, exposure: Exposure) -> None:
    """DX Anatomy Imaged C.8.11.2 and Mammography Image C.8.11.7, which differ from image to image."""
    view = _code(_VIEW_CODES[exposure.view])
    view.ViewModifierCodeSequence = Sequence()
    dataset.SOPInstanceUID = exposure.uid
    dataset.InstanceNumber = exposure.number
    dataset.PatientOrientation = _ORIENTATIONS[exposure.side, exposure.view]
    dataset.BodyPartExamined = "BREAST"
    dataset.AnatomicRegionSequence = Sequence([_code(_BREAST)])
    dataset.ImageLaterality = exposure.side
    dataset.ViewPosition = exposure.view
    dataset.ViewCodeSequence = Sequence([view])
    dataset.PositionerType = "MAMMOGRAPHIC"
    dataset.PositionerPrimaryAngle = _ANGLES[exposure.view] * (1 if exposure.side is Side.LEFT else -1)
    dataset.OrganExposed = "BREAST"
    dataset.BreastImplantPresent = "NO"
    dataset.PartialView = "NO"
    dataset.AcquisitionContextSequence = Sequence()


def _set_image(dataset: Dataset, scanner: Scanner, exam: Exam) -> None:
    """SOP Common C.12.1, General Image C.7.6.1, Image Pixel C.7.6.3, DX Image C.8.11.3 and VOI LUT C.11.2."""
    inverted = scanner.photometric is Photometric.MONOCHROME1
    dataset.SOPClassUID = _sop_class(scanner)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", ""]
    dataset.ContentDate = f"{exam.day:%Y%m%d}"
    dataset.ContentTime = "120000"
    dataset.BurnedInAnnotation = "NO"
    dataset.LossyImageCompression = "00"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = scanner.photometric
    dataset.Rows = scanner.rows
    dataset.Columns = scanner.columns
    dataset.BitsAllocated = 16
    dataset.BitsStored = scanner.bits
    dataset.HighBit = scanner.bits - 1
    dataset.PixelRepresentation = 0
    # More X-rays through the breast mean darker: a low stored value in MONOCHROME2, a high one in MONOCHROME1.
    dataset.PixelIntensityRelationship = "LOG"
    dataset.PixelIntensityRelationshipSign = 1 if inverted else -1
    dataset.RescaleIntercept = 0
    dataset.RescaleSlope = 1
    dataset.RescaleType = "US"
    dataset.PresentationLUTShape = "INVERSE" if inverted else "IDENTITY"
    dataset.WindowCenter, dataset.WindowWidth = scanner.window
    if scanner.slices > 1:
        dataset.NumberOfFrames = scanner.slices


def _sop_class(scanner: Scanner) -> UID:
    return BreastTomosynthesisImageStorage if scanner.slices > 1 else DigitalMammographyXRayImageStorageForPresentation


def _code(code: tuple[str, str, str]) -> Dataset:
    """Return a Code Sequence item, PS3.3 section 8."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code
    return item
