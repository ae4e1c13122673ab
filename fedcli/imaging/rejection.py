"""Why a file is left out: a closed set of reasons that may be counted and published, all but withdrawals.

Reasons are published with the cohort, so they never contain a path, an identifier or anything else that was read from a file.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from fedcli.errors import DataError

if TYPE_CHECKING:
    from fedcli.imaging.mammogram import ImageMetadata


class Reason(StrEnum):
    """Every reason for which `prepare` leaves a file out."""

    NOT_DICOM = "not a DICOM file"
    UNREADABLE = "file cannot be read"
    UNLISTED = "folder cannot be listed"
    LINK = "read under another path"
    DAMAGED = "damaged DICOM file"
    ZIP_DAMAGED = "damaged zip archive"
    ZIP_ENCRYPTED = "encrypted in a zip archive"
    ZIP_NESTED = "zip archive inside a zip archive"
    ZIP_METHOD = "packed in a zip archive by another method than deflate"
    ZIP_LIMIT = "zip archive unpacks to more than is allowed"
    CRASHED = "reading the file ended the process"
    TOO_SLOW = "reading the file took too long"
    OTHER_MODALITY = "modality is not MG"
    UNPLANNED_MODALITY = "modality is none of the plan's"
    OTHER_BODY_PART = "DX or CR image whose body part is not the breast"
    OTHER_PRESENTATION = "not of the plan's presentation intent"
    NOT_WANTED = "the plan takes no tomosynthesis"
    OTHER_VIEW = "not one of the plan's views"
    OTHER_SEX = "not of the plan's sex"
    NO_SEX = "sex is not stated, which the plan wants"
    OTHER_AGE = "not within the plan's ages"
    NO_AGE = "age is not stated, which the plan wants"
    MODIFIED_VIEW = "modified, magnified or partial view"
    NO_BREAST = "specimen"
    BIOPSY = "stereotactic image of a biopsy"
    CONTRAST = "recombined contrast image"
    PROJECTION = "projection of a tomosynthesis"
    SLICE = "slice of a volume in a file of its own"
    CAPTURE = "secondary capture without side and view"
    HAS_2D = "the study has a 2-D image of this side and view"
    NO_PIXELS = "no pixel data"
    NOT_GREY = "not a grey-scale image"
    PICTURE_DEPTH = "picture has neither 8 nor 16 bits a pixel"
    PAGES = "picture has more than one page"
    CONTRADICTION = "rows, columns, frames or bits contradict the standard or the pixel data"
    TOO_LONG = "pixel data are longer than rows, columns and frames say"
    SPARE_BITS = "values have more bits than the header says"
    VALUE = "rescale or Modality LUT is not valid"
    WINDOW = "window or VOI LUT is not valid"
    DEPTH = "bits allocated are none of 8, 16, 32"
    TOO_LARGE = "image is too large"
    UNSUPPORTED = "no decoder for the transfer syntax"
    TRUNCATED = "pixel data end too early"
    UNDECODABLE = "pixel data cannot be decoded"
    BLANK = "all pixels are equal"
    NO_WINDOW = "no window, which the plan wants"
    NO_PATIENT = "no patient identifier"
    OTHER_PATIENT = "patient identifier does not match the patient pattern"
    COPY = "same SOP instance as a file before it"  # or as one that the label table lists
    SHARED = "same pixels as an image of another patient"
    SHARED_CONTRADICTION = "same pixels under patients with contradictory labels"
    SHARED_PERSON = "patient shares an image with one of another part"
    NO_LABEL = "no label"
    UNKNOWN_CLASS = "label is none of the classes"
    CONFLICTING_LABELS = "labels contradict one another"
    DIFFERING_SIDES = "the sides have different labels"
    DIFFERING_EXAMS = "the exams have different labels"
    OTHER_EXAM = "the plan takes another exam of the patient"
    NO_DATE = "one of several exams, without a date"
    NOT_IN_SPLIT = "patient is not in the split list"
    WITHDRAWN = "patient has withdrawn"


class RejectedError(DataError):
    """A file that cannot be part of a prepared data set.

    Attributes:
        reason: Why.
        metadata: What its header says, as far as it was read; None for nothing.
    """

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.metadata: ImageMetadata | None = None
