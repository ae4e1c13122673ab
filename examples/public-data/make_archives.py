"""Arrange phantoms as four public data sets arrange their images: `python make_archives.py work`.

The tables in this folder have the original columns and spellings, and patients who do not exist. The image of every row is a
phantom, in the folder and under the name of the original:

    work/cbis-ddsm/     DICOM as the TCIA delivers it, with the cropped images, whose Patient IDs end in a number
    work/vindr-mammo/   images/STUDY/IMAGE.dicom, without a patient in the header, and images_png/STUDY/IMAGE.png of 16 bits
    work/embed/         images/cohort_1/PATIENT/STUDY/SERIES/INSTANCE.dcm, without accession numbers
    work/rsna/          train_images/PATIENT/IMAGE.dcm, and png/PATIENT_IMAGE.png of 8 bits
"""

from __future__ import annotations

import csv
import itertools
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import cv2
import pydicom

from fedcli.imaging.phantoms import hospitals
from fedcli.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydicom.dataset import Dataset

HERE = Path(__file__).parent
CBIS_TABLES = {
    "Mass-Training": "mass_case_description_train_set.csv",
    "Mass-Test": "mass_case_description_test_set.csv",
    "Calc-Training": "calc_case_description_train_set.csv",
    "Calc-Test": "calc_case_description_test_set.csv",
}


def rows_of(table: Path) -> Iterator[dict[str, str]]:
    """Yield a table's rows."""
    with table.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def save(path: Path, image: Dataset, number: int, **attributes: str) -> None:
    """Write a phantom under other names, as an instance of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"1.2.826.0.1.{number}"
    image.StudyInstanceUID = f"1.2.826.0.2.{number}"
    for keyword, value in attributes.items():
        setattr(image, keyword, value)
    image.save_as(path, enforce_file_format=True)


def cbis_ddsm(folder: Path, images: Iterator[Dataset]) -> None:
    """Each image has a patient identifier, a study and a folder of its own."""
    names: dict[str, str] = {}
    for group, table in CBIS_TABLES.items():
        for row in rows_of(HERE / "cbis-ddsm" / table):
            image = f"{group}_{row['patient_id']}_{row['left or right breast']}_{row['image view']}"
            names |= {image: "full mammogram", f"{image}_{row['abnormality id']}": "cropped"}
    for number, (name, what) in enumerate(names.items()):
        path = folder / "CBIS-DDSM" / name / f"07-20-2016-DDSM-NA-{number}" / f"1.000000-{what} images-{number}" / "1-1.dcm"
        save(path, next(images), number, PatientID=name, ImageLaterality="L" if "_LEFT_" in name else "R")


def vindr_mammo(folder: Path, images: Iterator[Dataset]) -> None:
    """The header names no patient; the same images as PNG files."""
    for number, row in enumerate(rows_of(HERE / "vindr-mammo" / "breast-level_annotations.csv")):
        image = next(images)
        save(folder / "images" / row["study_id"] / f"{row['image_id']}.dicom", image, number, PatientID="")
        picture = folder / "images_png" / row["study_id"] / f"{row['image_id']}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(picture), image.pixel_array)


def embed(folder: Path, images: Iterator[Dataset]) -> None:
    """Paths tell patient, study, series and instance."""
    for number, row in enumerate(rows_of(HERE / "embed" / "EMBED_OpenData_metadata.csv")):
        path = folder / "images" / ("cohort_" + row["anon_dicom_path"].partition("/cohort_")[2])
        save(path, next(images), number, PatientID=row["empi_anon"], AccessionNumber="")


def rsna(folder: Path, images: Iterator[Dataset]) -> None:
    """Paths tell patient and image."""
    for number, row in enumerate(rows_of(HERE / "rsna" / "train.csv")):
        image = next(images)
        path = folder / "train_images" / row["patient_id"] / f"{row['image_id']}.dcm"
        save(path, image, number, PatientID=row["patient_id"])
        (folder / "png").mkdir(exist_ok=True)
        cv2.imwrite(str(folder / "png" / f"{row['patient_id']}_{row['image_id']}.png"), (image.pixel_array >> 4).astype("uint8"))


def main() -> None:
    """Write the four archives below the folder that the command names."""
    work = Path(sys.argv[1])
    hospital = replace(hospitals.PLAIN_HOSPITALS[0], num_patients=4)
    with TemporaryDirectory() as scratch:
        hospitals.write(Path(scratch), hospital, seed=1, progress=Silent())
        paths = itertools.cycle(sorted(Path(scratch).rglob("*.dcm")))
        for lay_out in (cbis_ddsm, vindr_mammo, embed, rsna):
            name = lay_out.__name__.replace("_", "-")
            lay_out(work / name, map(pydicom.dcmread, paths))
            files = sum(path.is_file() for path in (work / name).rglob("*"))
            print(f"{work / name}: {files} files")


if __name__ == "__main__":
    main()
