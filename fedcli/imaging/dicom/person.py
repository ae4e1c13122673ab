"""What a header says of the person: sex, and age at the study. It decides whether an image is taken, and leaves no site."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import TYPE_CHECKING

from fedcli.plan import Sex

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_AGE = re.compile(r"(\d{3})([DWMY])")
_PER_YEAR = {"D": 365, "W": 52, "M": 12, "Y": 1}
_OLDEST = 120


def sex_of(dataset: Dataset) -> str:
    """Return Patient's Sex (0010,0040) if it is one of the defined terms, else ''."""
    sex = str(dataset.get("PatientSex") or "").strip(" \0").upper()
    return sex if sex in tuple(Sex) else ""


def age_of(dataset: Dataset) -> int | None:
    """Return the age at the study in completed years.

    By Patient's Age (0010,1010, PS3.5 6.2, AS), else from Patient's Birth Date (0010,0030) to Study Date (0008,0020).
    None where neither states it.
    """
    if stated := _AGE.fullmatch(str(dataset.get("PatientAge") or "").strip(" \0").upper()):
        return int(stated[1]) // _PER_YEAR[stated[2]]
    born, studied = _date(dataset.get("PatientBirthDate")), _date(dataset.get("StudyDate"))
    if born is None or studied is None:
        return None
    years = studied.year - born.year - ((studied.month, studied.day) < (born.month, born.day))
    return years if 0 <= years <= _OLDEST else None


def _date(value: object) -> date | None:
    try:
        return datetime.strptime(str(value or "").strip(" \0"), "%Y%m%d").date()  # noqa: DTZ007 - a date without a time
    except ValueError:
        return None
