"""Why a file is left out: a closed set of reasons that may be counted and published.

A reason leaves the site inside the cohort, so it never holds a path, an identifier or anything else that was read from a file.
"""

from __future__ import annotations

from enum import StrEnum

from fedcli.errors import DataError


class Reason(StrEnum):
    """Every reason for which `prepare` leaves a file out."""

    NOT_DICOM = "not a DICOM file"
    UNREADABLE = "file cannot be read"
    DAMAGED = "damaged DICOM file"
    CRASHED = "reading the file ended the process"
    OTHER_MODALITY = "modality is not MG"
    NO_PIXELS = "no pixel data"
    NOT_GREY = "not a grey-scale image"
    CONTRADICTION = "rows, columns, frames or bits contradict the standard or the pixel data"
    DEPTH = "bits allocated are none of 8, 16, 32"
    TOO_LARGE = "image is too large"
    UNSUPPORTED = "no decoder for the transfer syntax"
    UNDECODABLE = "pixel data cannot be decoded"
    BLANK = "all pixels are equal"
    NO_PATIENT = "no patient identifier"
    OTHER_PATIENT = "patient identifier does not match the patient pattern"
    COPY = "same SOP instance as a file before it"
    NO_LABEL = "no label"
    UNKNOWN_CLASS = "label is none of the classes"
    CONFLICTING_LABELS = "labels contradict one another"
    NOT_IN_SPLIT = "patient is not in the split list"


class RejectedError(DataError):
    """A file that has no place in a prepared data set.

    Attributes:
        reason: Why.
    """

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason
