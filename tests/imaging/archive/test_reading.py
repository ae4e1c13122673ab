"""Which files of an archive are taken: presentation, tomosynthesis beside 2-D images, a limit, and files that come and go."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydicom.uid import (
    BreastTomosynthesisImageStorage,
    DigitalMammographyXRayImageStorageForPresentation,
    DigitalMammographyXRayImageStorageForProcessing,
)

from fedcli.imaging.archive.image_archive import ImageArchive
from fedcli.imaging.archive.reading import read_all
from fedcli.imaging.labels.matching import FileDetails
from fedcli.imaging.pixels import to_square
from fedcli.imaging.rejection import Reason
from fedcli.plan import Images, Presentation, Tomosynthesis
from fedcli.progress import Silent
from tests.fixtures.dicom_files import read as read_dicom
from tests.fixtures.dicom_files import write_mammogram

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def outcome(folder: Path, **settings: Any) -> dict[str, Reason | str]:
    """Return the reason, or the image type, of each file."""
    archive = ImageArchive(folder=folder, workers=1)
    images = Images(size=16, **settings)
    accepted, rejected = read_all(archive, archive.listing().files, images, scratch=io.BytesIO(), details={}, progress=Silent())
    return {item.file: item.metadata.image_type for item in accepted} | {item.file: item.reason for item in rejected}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Return a study of volumes and 2-D images: both of L CC, of R CC a synthetic one, of L MLO only the volume."""
    archive = tmp_path / "archive"
    archive.mkdir()
    pixels = np.random.default_rng(1).integers(0, 4096, (3, 40, 30)).astype(np.uint16)

    def write(name: str, laterality: str, view: str, *, volume: bool = False, **attributes: Any) -> None:
        kind = BreastTomosynthesisImageStorage if volume else DigitalMammographyXRayImageStorageForPresentation
        common = {"PatientID": "p", "StudyInstanceUID": "1.2", "BitsStored": 12, "SOPClassUID": kind}
        attributes = common | {"ImageLaterality": laterality, "ViewPosition": view} | attributes
        write_mammogram(archive / name, pixels if volume else pixels[0], **attributes)

    write("l-cc", "L", "CC")
    write("l-cc-volume", "L", "CC", volume=True)
    write("r-cc-synthetic", "R", "CC", ImageType=["DERIVED", "PRIMARY", "TOMOSYNTHESIS", "GENERATED_2D"])
    write("r-cc-volume", "R", "CC", volume=True)
    write("l-mlo-volume", "L", "MLO", volume=True)
    write("other-l-cc-volume", "L", "CC", volume=True, StudyInstanceUID="1.3")
    write("unknown", "", "")
    write("unknown-volume", "", "", volume=True)
    return archive


@pytest.mark.parametrize(
    ("tomosynthesis", "doubled", "single"),
    [
        (Tomosynthesis.WITHOUT_2D, Reason.HAS_2D, "tomosynthesis"),
        (Tomosynthesis.ALWAYS, "tomosynthesis", "tomosynthesis"),
        (Tomosynthesis.NEVER, Reason.NOT_WANTED, Reason.NOT_WANTED),
    ],
)
def test_volumes(tomosynthesis: Tomosynthesis, doubled: Reason | str, single: Reason | str, study: Path) -> None:
    assert outcome(study, tomosynthesis=tomosynthesis) == {
        "l-cc": "2D",
        "l-cc-volume": doubled,
        "r-cc-synthetic": "synthetic 2D",
        "r-cc-volume": doubled,
        "l-mlo-volume": single,
        "other-l-cc-volume": single,
        "unknown": "2D",
        "unknown-volume": single,  # nobody can tell whether it is the same breast
    }


@pytest.mark.parametrize(
    ("presentation", "taken"),
    [
        (Presentation.FOR_PRESENTATION, {"class-presentation", "intent-presentation", "silent"}),
        (Presentation.FOR_PROCESSING, {"class-processing", "intent-processing", "silent"}),
        (Presentation.ANY, {"class-presentation", "class-processing", "intent-presentation", "intent-processing", "silent"}),
    ],
)
def test_presentation(presentation: Presentation, taken: set[str], tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 4096, (40, 30)).astype(np.uint16)
    written: dict[str, dict[str, Any]] = {
        "class-presentation": {"SOPClassUID": DigitalMammographyXRayImageStorageForPresentation},
        "class-processing": {"SOPClassUID": DigitalMammographyXRayImageStorageForProcessing},
        "intent-presentation": {"PresentationIntentType": "FOR PRESENTATION"},
        "intent-processing": {"PresentationIntentType": "FOR PROCESSING"},
        "silent": {},
    }
    for name, attributes in written.items():
        write_mammogram(tmp_path / name, pixels, BitsStored=12, **attributes)
    expected: dict[str, Reason | str] = {name: "2D" if name in taken else Reason.OTHER_PRESENTATION for name in written}
    assert outcome(tmp_path, presentation=presentation) == expected


def test_a_limit_is_spread_over_the_archive(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / f"{number:02}").touch()

    def files(limit: int) -> tuple[str, ...]:
        return ImageArchive(folder=tmp_path, limit=limit).listing().files

    assert files(4) == ("00", "25", "50", "75")
    assert len(set(files(33))) == 33
    assert len(files(0)) == len(files(100)) == len(files(500)) == 100


def test_a_file_that_disappears_meanwhile(study: Path) -> None:
    class Remover(Silent):
        """A progress at whose first sign another file is gone."""

        def track(self, label: str, total: int, unit: str) -> Any:
            (study / "unknown-volume").unlink()
            return super().track(label, total, unit)

    archive = ImageArchive(folder=study, workers=1)
    files = archive.listing().files
    accepted, rejected = read_all(archive, files, Images(size=16), scratch=io.BytesIO(), details={}, progress=Remover())
    assert [item.reason for item in rejected if item.file == "unknown-volume"] == [Reason.UNREADABLE]
    assert len(accepted) + len(rejected) == len(files)


def test_a_process_stays_small(cbis: Path) -> None:
    """The two largest of the mammograms, 13 megapixels in 16 bits, in an interpreter of its own."""
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from fedcli.imaging.archive.file_result import read_file\n"
        "from fedcli.plan import Images\n"
        "for path in map(Path, sys.argv[1:]):\n"
        "    assert read_file(path.name, folder=path.parent, images=Images()).image\n"
        "print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])\n"
    )
    files = sorted(cbis.rglob("*.dcm"), key=lambda path: path.stat().st_size)[-2:]
    done = subprocess.run([sys.executable, "-c", program, *map(str, files)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 400_000


def test_of_copies_the_one_that_the_table_lists_is_kept(tmp_path: Path, gradient: NDArray[np.uint16]) -> None:
    folder = tmp_path / "archive"
    for name in ("a-incoming", "b-curated", "c-backup"):
        (folder / name).mkdir(parents=True)
        write_mammogram(folder / name / "1.dcm", gradient if name == "b-curated" else gradient // 2, SOPInstanceUID="1.2.3")
    files = tuple(f"{name}/1.dcm" for name in ("a-incoming", "b-curated", "c-backup"))
    archive = ImageArchive(folder=folder, workers=1)
    images = Images(size=16, presentation=Presentation.ANY)
    with (tmp_path / "scratch").open("w+b") as scratch:
        details = {"b-curated/1.dcm": FileDetails()}
        accepted, rejected = read_all(archive, files, images, scratch=scratch, details=details, progress=Silent())
        (kept,) = accepted
        scratch.seek(kept.position * 16 * 16 * 2)
        pixels = np.frombuffer(scratch.read(16 * 16 * 2), "<u2").reshape(16, 16)
    assert kept.file == "b-curated/1.dcm"
    assert {item.file: item.reason for item in rejected} == dict.fromkeys((files[0], files[2]), Reason.COPY)
    assert np.array_equal(pixels, to_square(read_dicom(folder / "b-curated/1.dcm"), images))
