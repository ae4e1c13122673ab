"""Damaged files among good ones: none ends or hangs a run, each is left out with a reason that is true, the good ones are there.

The damage is of kinds that can be seen: a bit that flips among pixels without a checksum makes another image, which no reader
could tell from a true one (`test_reader.py` flips those too).
"""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest
from pydicom import uid

from fedcli.imaging.archive.image_archive import ImageArchive
from fedcli.imaging.dataset.index import Pseudonyms
from fedcli.imaging.preparation import DatasetRequest, LabelFiles, PreparationSummary, prepare
from fedcli.imaging.rejection import Reason
from fedcli.plan import Images, Plan
from fedcli.progress import Silent
from tests.imaging.dicom.encoded import LOSSLESS, write_encoded

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GOOD = 24
_ROWS = struct.pack("<HH2sH", 0x28, 0x10, b"US", 2)
_COLUMNS = struct.pack("<HH2sH", 0x28, 0x11, b"US", 2)
_BITS_STORED = struct.pack("<HH2sH", 0x28, 0x101, b"US", 2)
_DICOM_REASONS = {
    Reason.CONTRADICTION, Reason.DAMAGED, Reason.DEPTH, Reason.NOT_DICOM, Reason.NOT_GREY, Reason.NO_PIXELS,
    Reason.OTHER_MODALITY, Reason.TOO_LARGE, Reason.TRUNCATED, Reason.UNDECODABLE, Reason.UNSUPPORTED,
}  # fmt: skip


def _truncated(content: bytes, generator: random.Random) -> bytes:
    return content[: generator.randrange(len(content) - 64)]


def _empty(_content: bytes, _generator: random.Random) -> bytes:
    return b""


def _torn(content: bytes, generator: random.Random) -> bytes:
    """Flip many bits of the header, where each may matter."""
    damaged = bytearray(content)
    for _ in range(64):
        damaged[generator.randrange(128, 700)] ^= 1 << generator.randrange(8)
    return bytes(damaged)


def _of_other_size(content: bytes, generator: random.Random) -> bytes:
    """Lie about rows or columns: more than there are."""
    return _set(content, generator.choice((_ROWS, _COLUMNS)), generator.randrange(200, 8000))


def _bomb(content: bytes, _generator: random.Random) -> bytes:
    """Claim 4 × 10⁹ pixels."""
    return _set(_set(content, _ROWS, 65535), _COLUMNS, 65535)


def _of_other_depth(content: bytes, generator: random.Random) -> bytes:
    """Lie about the bits: more than there can be."""
    return _set(content, _BITS_STORED, generator.choice((13, 17, 64, 65535)))


def _set(content: bytes, element: bytes, value: int) -> bytes:
    at = content.index(element) + len(element)
    return content[:at] + struct.pack("<H", value) + content[at + 2 :]


def _of_more_frames(path: Path, generator: random.Random) -> None:
    dataset = pydicom.dcmread(path)
    dataset.NumberOfFrames = generator.choice((2, 7, 40, 10**6))
    dataset.save_as(path)


DAMAGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _truncated, _truncated, _empty, _torn, _of_other_size, _bomb, _of_other_depth,
)  # fmt: skip
_PATCHABLE = {uid.ExplicitVRLittleEndian, *LOSSLESS[4:]}
"""Transfer syntaxes whose header is explicit little endian, so that its bytes can be changed."""


def run(folder: Path, damaged: int, seed: int) -> PreparationSummary:
    archive = folder / "archive"
    archive.mkdir()
    generator = random.Random(seed)
    noise = np.random.default_rng(seed)
    samples = []
    for number in range(GOOD):
        syntax = LOSSLESS[number % len(LOSSLESS)]
        ramp = np.linspace(0, 3000, 96 * 80).reshape(96, 80)
        pixels = (ramp + noise.integers(0, 1000, ramp.shape)).astype(np.uint16)
        path = write_encoded(archive / f"a-good-{number:02}", pixels, syntax, BitsStored=12)
        samples.append((syntax, path.read_bytes()))
    for number in range(damaged):
        path = archive / f"bad-{number:04}"
        syntax, content = generator.choice(samples)
        if syntax in _PATCHABLE and generator.random() < 0.85:
            path.write_bytes(generator.choice(DAMAGES)(content, generator))
        elif generator.random() < 0.5 or syntax not in _PATCHABLE:
            path.write_bytes(_truncated(content, generator))
        else:
            path.write_bytes(content)
            _of_more_frames(path, generator)
    labels = folder / "labels.csv"
    labels.write_text("patient,density\n" + "".join(f"a-good-{number:02},{'abcd'[number % 4]}\n" for number in range(GOOD)))
    preparation = Plan(name="test", images=Images(size=32)).preparation
    request = DatasetRequest(
        archive=ImageArchive(folder=archive, workers=2),
        labels=LabelFiles(table=labels),
        preparation=preparation,
        out=folder / "out",
    )
    return prepare(request, pseudonyms=Pseudonyms(secret=bytes(32)), progress=Silent())


def check(summary: PreparationSummary, damaged: int) -> None:
    assert (summary.images, summary.files) == (GOOD, GOOD + damaged)
    assert [rejected.file for rejected in summary.rejected] == [f"bad-{number:04}" for number in range(damaged)]
    # What is left of a file that was torn so that it says nothing wrong of its pixels: its identifiers, or its label.
    others = {Reason.COPY, Reason.NO_PATIENT, Reason.NO_LABEL, Reason.BLANK, Reason.CRASHED}
    assert {rejected.reason for rejected in summary.rejected} <= _DICOM_REASONS | others
    counts = {reason: sum(rejected.reason is reason for rejected in summary.rejected) for reason in Reason}
    assert all(counts[reason] for reason in (Reason.NOT_DICOM, Reason.TRUNCATED, Reason.CONTRADICTION, Reason.TOO_LARGE))
    assert sum(counts[reason] for reason in others) < damaged / 10


def test_damaged_files(tmp_path: Path) -> None:
    check(run(tmp_path, 150, seed=1), 150)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_a_thousand_damaged_files(seed: int, tmp_path: Path) -> None:
    check(run(tmp_path, 1000, seed=seed), 1000)
