"""The part of a patient."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcli.errors import DataError
from fedcli.imaging.labels import split
from fedcli.plan import Part, Split

if TYPE_CHECKING:
    from pathlib import Path


def test_fractions_hold() -> None:
    fractions = Split(train=0.6, validation=0.15, test=0.25)
    parts = [split.part_of(f"patient {number}", split=fractions, seed=3) for number in range(20_000)]
    shares = [parts.count(part) / len(parts) for part in Part]
    assert shares == pytest.approx([0.6, 0.15, 0.25], abs=0.012)


@pytest.mark.parametrize("split_of", [(0.7, 0.1, 0.2), (0.5, 0.25, 0.25)])
def test_fractions_hold_within_every_class(split_of: tuple[float, float, float]) -> None:
    fractions = Split(train=split_of[0], validation=split_of[1], test=split_of[2])
    for label, share in zip("abcd", (0.05, 0.45, 0.4, 0.1), strict=True):
        patients = [f"{label}{number}" for number in range(round(share * 40_000))]
        parts = [split.part_of(patient, split=fractions, seed=11) for patient in patients]
        # Four standard deviations of a share among this many patients: the hash is fixed, and this shows that it is not unusual.
        tolerance = 4 * 0.5 / len(patients) ** 0.5
        assert [parts.count(part) / len(parts) for part in Part] == pytest.approx(list(split_of), abs=tolerance)


def test_assignment_is_pinned() -> None:
    """A release that moved patients between parts would let test patients into training."""
    fractions = Split(train=0.4, validation=0.3, test=0.3)
    parts = [split.part_of(patient, split=fractions, seed=0) for patient in ("P_00173", "P_00820", "1", "2", "3", "ä")]
    assert parts == ["train", "train", "train", "validation", "validation", "train"]


@given(patient=st.text(), seed=st.integers(0, 2**31 - 1))
def test_empty_parts_stay_empty(patient: str, seed: int) -> None:
    assert split.part_of(patient, split=Split(train=0.9, validation=0.1, test=0), seed=seed) is not Part.TEST
    assert split.part_of(patient, split=Split(train=0.5, validation=0, test=0.5), seed=seed) is not Part.VALIDATION
    assert split.part_of(patient, split=Split(train=0, validation=0, test=1), seed=seed) is Part.TEST


def test_seed_matters() -> None:
    def parts(seed: int) -> list[Part]:
        return [split.part_of(str(number), split=Split(), seed=seed) for number in range(200)]

    assert parts(0) == parts(0) != parts(1)


def test_list(tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    path.write_text("Part,patient\ntrain,p1\nTEST,p2\ntrain,p1\n")
    parts = split.read(path)
    assert [parts.part_of(patient) for patient in ("p1", "p2", "p3")] == [Part.TRAIN, Part.TEST, None]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("patient,part\np1,train\np1,test\n", "line 3: this patient is in two parts, train and test"),
        ("patient,part\np1,holdout\n", "line 2: expected a part, found 'holdout'"),
        ("patient,set\np1,train\n", "expected the columns patient and part, found patient, set"),
    ],
)
def test_wrong_lists(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "split.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        split.read(tmp_path / "split.csv")
