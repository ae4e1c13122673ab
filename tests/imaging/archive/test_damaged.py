"""Damaged files among good ones: none ends or hangs a run, each is left out with a reason that is true, the good ones are there.

The damage is of kinds that can be seen: a bit that flips among pixels without a checksum makes another image, which no reader
could tell from a true one (`test_reader.py` flips those too).
"""

from __future__ import annotations

import random
import struct
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest
from pydicom import uid

from fedcli.imaging.archive.image_archive import ImageArchive
from fedcli.imaging.dataset.index import Pseudonyms
from fedcli.imaging.preparation import DatasetRequest, LabelFiles, prepare
from fedcli.imaging.rejection import Reason
from fedcli.plan import Images, Plan
from fedcli.progress import Silent
from tests.fixtures.dicom_files import LOSSLESS, write_encoded

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GOOD = 24
PIXEL_REASONS = {
    Reason.CONTRADICTION, Reason.DAMAGED, Reason.DEPTH, Reason.NOT_DICOM, Reason.NOT_GREY, Reason.NO_PIXELS,
    Reason.OTHER_MODALITY, Reason.TOO_LARGE, Reason.TRUNCATED, Reason.UNDECODABLE, Reason.UNSUPPORTED,
}  # fmt: skip
OTHER_REASONS = {Reason.COPY, Reason.NO_PATIENT, Reason.NO_LABEL, Reason.BLANK, Reason.CRASHED}
"""Of a file that was torn so that it says nothing wrong of its pixels: its identifiers are gone, or its label."""
ROWS, COLUMNS, BITS_STORED = 0x10, 0x11, 0x101


def with_value(content: bytes, element: int, value: int) -> bytes:
    """Change an element of group 0028 in an explicit little endian header."""
    header = struct.pack("<HH2sH", 0x28, element, b"US", 2)
    at = content.index(header) + len(header)
    return content[:at] + struct.pack("<H", value) + content[at + 2 :]


def cut(content: bytes, generator: random.Random) -> bytes:
    return content[: generator.randrange(len(content) - 64)]


def torn(content: bytes, generator: random.Random) -> bytes:
    """Flip many bits of the header, where each may matter."""
    damaged = bytearray(content)
    for _ in range(64):
        damaged[generator.randrange(128, 700)] ^= 1 << generator.randrange(8)
    return bytes(damaged)


DAMAGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    cut,
    cut,
    torn,
    lambda _content, _generator: b"",
    # More rows or columns than there are; 4 × 10⁹ pixels; more bits than there can be.
    lambda content, generator: with_value(content, generator.choice((ROWS, COLUMNS)), generator.randrange(200, 8000)),
    lambda content, _generator: with_value(with_value(content, ROWS, 65535), COLUMNS, 65535),
    lambda content, generator: with_value(content, BITS_STORED, generator.choice((13, 17, 64, 65535))),
)
PATCHABLE = {uid.ExplicitVRLittleEndian, *LOSSLESS[4:]}
"""Transfer syntaxes whose header is explicit little endian, so that its bytes can be changed."""


def write_archive(archive: Path, num_damaged: int, seed: int) -> None:
    """Write good files in every transfer syntax, and damaged copies of them."""
    generator, noise = random.Random(seed), np.random.default_rng(seed)
    archive.mkdir()
    samples = []
    for number in range(GOOD):
        syntax = LOSSLESS[number % len(LOSSLESS)]
        ramp = np.linspace(0, 3000, 96 * 80).reshape(96, 80)
        pixels = (ramp + noise.integers(0, 1000, ramp.shape)).astype(np.uint16)
        path = write_encoded(archive / f"a-good-{number:02}", pixels, syntax, BitsStored=12)
        samples.append((syntax, path.read_bytes()))
    for number in range(num_damaged):
        path = archive / f"bad-{number:04}"
        syntax, content = generator.choice(samples)
        if syntax in PATCHABLE and generator.random() < 0.85:
            path.write_bytes(generator.choice(DAMAGES)(content, generator))
        elif generator.random() < 0.5 or syntax not in PATCHABLE:
            path.write_bytes(cut(content, generator))
        else:
            path.write_bytes(content)
            dataset = pydicom.dcmread(path)
            dataset.NumberOfFrames = generator.choice((2, 7, 40, 10**6))
            dataset.save_as(path)


@pytest.mark.parametrize(
    ("num_damaged", "seed"),
    [(150, 1), pytest.param(1000, 2, marks=pytest.mark.slow), pytest.param(1000, 3, marks=pytest.mark.slow)],
)
def test_damaged_files_are_left_out_and_good_ones_are_there(num_damaged: int, seed: int, tmp_path: Path) -> None:
    write_archive(tmp_path / "archive", num_damaged, seed)
    labels = tmp_path / "labels.csv"
    labels.write_text("patient,density\n" + "".join(f"a-good-{number:02},{'abcd'[number % 4]}\n" for number in range(GOOD)))
    request = DatasetRequest(
        archive=ImageArchive(folder=tmp_path / "archive", workers=2),
        labels=LabelFiles(table=labels),
        preparation=Plan(name="test", images=Images(size=32)).preparation,
        out=tmp_path / "out",
    )
    summary = prepare(request, pseudonyms=Pseudonyms(secret=bytes(32)), progress=Silent())
    assert (summary.images, summary.files) == (GOOD, GOOD + num_damaged)
    assert [rejected.file for rejected in summary.rejected] == [f"bad-{number:04}" for number in range(num_damaged)]
    counts = Counter(rejected.reason for rejected in summary.rejected)
    assert counts.keys() <= PIXEL_REASONS | OTHER_REASONS
    assert counts.keys() >= {Reason.NOT_DICOM, Reason.TRUNCATED, Reason.CONTRADICTION, Reason.TOO_LARGE}
    assert sum(counts[reason] for reason in OTHER_REASONS) < num_damaged / 10
