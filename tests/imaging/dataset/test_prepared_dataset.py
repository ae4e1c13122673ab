"""Loading a prepared data set: what fits, and every way not to fit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fedcli import wire
from fedcli.errors import DataError
from fedcli.imaging.archive.acceptance import AcceptedFile
from fedcli.imaging.dataset import prepared_dataset, writing
from fedcli.imaging.dataset.index import Pseudonyms, decode_index, encode_index
from fedcli.imaging.dataset.prepared_dataset import load
from fedcli.imaging.dataset.writing import DatasetContent, DatasetImage
from fedcli.imaging.mammogram import ImageMetadata
from fedcli.plan import Part, Preparation

if TYPE_CHECKING:
    from pathlib import Path

PARTS = (Part.TRAIN, Part.TRAIN, Part.VALIDATION, Part.TEST)


def image(position: int, part: Part) -> DatasetImage:
    metadata = ImageMetadata(
        patient=f"p{position}", study="1.2", laterality="L", view="CC", rows=64, columns=64, bits=12, detector="DIRECT"
    )
    source = AcceptedFile(file=f"f{position}", metadata=metadata, position=position)
    return DatasetImage(source=source, label=position % 4, part=part)


@pytest.fixture
def prepared(tmp_path: Path, preparation: Preparation) -> Path:
    """Return the folder of four images of four patients; image 1 of the scratch file was left out."""
    folder = tmp_path / "prepared"
    folder.mkdir()
    pixels = np.arange(5 * 32 * 32, dtype="<u2").reshape(5, 32, 32)
    (tmp_path / "scratch").write_bytes(pixels.tobytes())
    images = tuple(image(position, part) for position, part in zip((0, 2, 3, 4), PARTS, strict=True))
    content = DatasetContent(images=images, rejected=(), problems=())
    writing.write(folder, tmp_path / "scratch", content, preparation=preparation, pseudonyms=Pseudonyms(secret=bytes(32)))
    return folder


def change_index(folder: Path, at: int, **changes: object) -> None:
    """Change a row and make the digests fit, as a faulty program could."""
    description = prepared_dataset.describe(folder)
    cases = list(decode_index((folder / prepared_dataset.INDEX).read_bytes()))
    cases[at] = replace(cases[at], **changes)  # type: ignore[arg-type]
    index = encode_index(cases)
    (folder / prepared_dataset.INDEX).write_bytes(index)
    index_sha256 = wire.sha256(index)
    digest = prepared_dataset.digest_of(description.images_sha256, index_sha256)
    (folder / prepared_dataset.DESCRIPTION).write_bytes(
        wire.encode(replace(description, index_sha256=index_sha256, digest=digest))
    )


def refusal(folder: Path, preparation: Preparation, allow_empty: tuple[Part, ...] = ()) -> DataError:
    with pytest.raises(DataError) as caught:
        load(folder, wire.digest(preparation), allow_empty)
    assert str(folder) in str(caught.value)
    assert caught.value.hint
    return caught.value


def test_load(prepared: Path, preparation: Preparation) -> None:
    loaded = load(prepared, wire.digest(preparation), ())
    assert np.array_equal(loaded.images[:, 0, 0], np.array([0, 2, 3, 4]) * 1024)
    assert loaded.labels.dtype == np.int64
    assert loaded.labels.tolist() == [0, 2, 3, 0]
    assert loaded.parts == PARTS
    assert len(set(loaded.patients)) == 4
    assert len(set(loaded.studies)) == 1
    assert loaded.cohort.detectors == ("DIRECT",)
    assert not loaded.images.flags.writeable


def test_digest_tells_prepared_data_apart(prepared: Path, preparation: Preparation) -> None:
    before = load(prepared, wire.digest(preparation), ()).digest
    change_index(prepared, 0, label="d")
    assert load(prepared, wire.digest(preparation), ()).digest != before


def test_other_settings(prepared: Path, preparation: Preparation) -> None:
    other = replace(preparation, seed=preparation.seed + 1)
    assert "prepared with settings other than the plan" in str(refusal(prepared, other))


@pytest.mark.parametrize("name", [prepared_dataset.IMAGES, prepared_dataset.INDEX, prepared_dataset.DESCRIPTION])
def test_missing_files(name: str, prepared: Path, preparation: Preparation) -> None:
    (prepared / name).unlink()
    assert name in str(refusal(prepared, preparation))


def test_a_patient_in_two_parts(prepared: Path, preparation: Preparation) -> None:
    patient = decode_index((prepared / prepared_dataset.INDEX).read_bytes())[0].patient
    change_index(prepared, 3, patient=patient)
    assert f"patient {patient} is in two parts, train and test" in str(refusal(prepared, preparation))


def test_empty_parts(prepared: Path, preparation: Preparation) -> None:
    change_index(prepared, 3, part=Part.VALIDATION)
    assert "no patient for test" in str(refusal(prepared, preparation))
    assert "no patient for test" in str(refusal(prepared, preparation, (Part.VALIDATION,)))
    assert Part.TEST not in load(prepared, wire.digest(preparation), (Part.TEST,)).parts


@pytest.mark.parametrize("change", [{"label": "e"}, {"row": 7}, {"part": Part.TEST}])
def test_rows_that_do_not_fit(change: dict[str, object], prepared: Path, preparation: Preparation) -> None:
    change_index(prepared, 1, **change)
    assert prepared_dataset.INDEX in str(refusal(prepared, preparation))


def test_changed_index(prepared: Path, preparation: Preparation) -> None:
    index = (prepared / prepared_dataset.INDEX).read_bytes()
    (prepared / prepared_dataset.INDEX).write_bytes(index.replace(b"train", b"test"))
    assert "changed after prepare" in str(refusal(prepared, preparation))


@pytest.mark.parametrize("damage", ["shorter", "longer", "other size", "other type"])
def test_images_that_do_not_fit(damage: str, prepared: Path, preparation: Preparation) -> None:
    path = prepared / prepared_dataset.IMAGES
    content = path.read_bytes()
    if damage == "shorter":
        path.write_bytes(content[:-2])
    elif damage == "longer":
        path.write_bytes(content + b"\0\0")
    elif damage == "other size":
        np.save(path, np.zeros((4, 16, 64), np.uint16))
    else:
        np.save(path, np.zeros((4, 32, 32), np.int16))
    assert prepared_dataset.IMAGES in str(refusal(prepared, preparation))


@pytest.mark.parametrize(
    ("old", "new"), [(b'"images": 4', b'"images": 5'), (b'"size"', b'"side"'), (b'"digest": "', b'"digest": "0')]
)
def test_damaged_description(old: bytes, new: bytes, prepared: Path, preparation: Preparation) -> None:
    path = prepared / prepared_dataset.DESCRIPTION
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    refusal(prepared, preparation)
