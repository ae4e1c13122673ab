"""Join EMBED's two tables on the accession: `python label_table.py METADATA CLINICAL > labels.csv`, one row per image.

The clinical table has one row per finding, the metadata one row per file; the density is that of the exam. Paths are made
relative to the folder of the cohorts, because the tables name the disk on which EMBED was made.
"""

from __future__ import annotations

import csv
import sys

COLUMNS = ("file", "empi_anon", "acc_anon", "ImageLateralityFinal", "ViewPosition", "tissueden")


def main(metadata: str, clinical: str) -> None:
    """Write one row for each image and each density that its exam was given."""
    densities: dict[str, list[str]] = {}
    with open(clinical, encoding="utf-8-sig", newline="") as file:  # noqa: PTH123 - a name as it was typed
        for row in csv.DictReader(file):
            found = densities.setdefault(row["acc_anon"], [])
            if row["tissueden"] not in found:
                found.append(row["tissueden"])
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(COLUMNS)
    with open(metadata, encoding="utf-8-sig", newline="") as file:  # noqa: PTH123
        for row in csv.DictReader(file):
            path = "cohort_" + row["anon_dicom_path"].partition("/cohort_")[2]
            for density in densities.get(row["acc_anon"], [""]):
                table.writerow((path, *(row[name] for name in COLUMNS[1:-1]), density))


if __name__ == "__main__":
    main(*sys.argv[1:])
