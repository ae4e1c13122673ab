"""What may be published contains no identifier, for all kinds of identifiers."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fedcli.imaging.archive.acceptance import AcceptedFile, RejectedFile
from fedcli.imaging.dataset import prepared_dataset, writing
from fedcli.imaging.dataset.index import Pseudonyms
from fedcli.imaging.dataset.writing import DatasetContent, DatasetImage
from fedcli.imaging.labels import columns, matching
from fedcli.imaging.labels.columns import LabelColumns
from fedcli.imaging.labels.resolution import RowFault, RowProblem
from fedcli.imaging.mammogram import ImageMetadata
from fedcli.imaging.rejection import Reason
from fedcli.plan import Part, Preparation
from fedcli.text.csv_text import guarded

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SECRET = bytes(range(32))
PUBLIC = (prepared_dataset.IMAGES, prepared_dataset.INDEX, prepared_dataset.DESCRIPTION, prepared_dataset.SPLIT)
PRIVATE = (prepared_dataset.IDENTITIES, prepared_dataset.REJECTS, prepared_dataset.LABEL_PROBLEMS)

# Identifiers as archives have them, too long to be in a hash or a JSON key by chance.
IDENTIFIERS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=9, max_size=40).map(lambda text: f"§{text}§"),
    st.from_regex(r"[1-9][0-9]{8,14}", fullmatch=True).map(lambda digits: f"1.2.840.{digits}"),
    st.from_regex(r"[A-Z]{3,12}\^[A-Z]{3,12}", fullmatch=True),
    st.from_regex(r"archive/(19|20)[0-9]{6}/[A-Za-z]{6,12}\.dcm", fullmatch=True),
)


def write(folder: Path, names: Sequence[str], preparation: Preparation) -> dict[str, bytes]:
    """Write a data set of one image, with an identifier in every place that can hold one; return what may be published."""
    patient, study, accession, instance, file, rejected, key = names
    metadata = ImageMetadata(
        patient=patient, study=study, accession=accession, instance=instance, laterality="L", view="CC",
        rows=64, columns=64, bits=12, detector="DIRECT", image_type="2D", scanner="Lorad Selenia",
    )  # fmt: skip
    image = DatasetImage(source=AcceptedFile(file=file, metadata=metadata, position=0), label=1, part=Part.TEST)
    content = DatasetContent(
        images=(image,),
        rejected=(RejectedFile(file=rejected, reason=Reason.OTHER_PATIENT),),
        problems=(RowProblem(line=2, key=key, fault=RowFault.NO_IMAGE),),
    )
    (folder / "scratch").write_bytes(np.arange(32 * 32, dtype="<u2").tobytes())
    writing.write(folder, folder / "scratch", content, preparation=preparation, pseudonyms=Pseudonyms(secret=SECRET))
    return {name: (folder / name).read_bytes() for name in PUBLIC}


@settings(max_examples=60)
@given(names=st.lists(IDENTIFIERS, min_size=7, max_size=7, unique=True))
@example(names=["P_00173", "1.3.6.1.4.1", "ACC-12345", "1.2.840.99", "a/19990131/caf\udce9.dcm", "b/DOE^JANE", "Zoë-123"])
def test_no_identifier_is_in_what_may_be_published(
    names: list[str], tmp_path_factory: pytest.TempPathFactory, preparation: Preparation
) -> None:
    folder = tmp_path_factory.mktemp("data")
    public = write(folder, names, preparation)
    for name in names:
        spellings = {
            name.encode("utf-8", "surrogateescape"),
            json.dumps(name)[1:-1].encode(),
            name.replace('"', '""').encode("utf-8", "surrogateescape"),
        }
        assert [file for file, content in public.items() for spelling in spellings if spelling in content] == []
    private = b"".join((folder / name).read_bytes() for name in PRIVATE)
    patient, study, _, _, file, rejected, key = names
    for name in (patient, study, file, guarded(rejected), guarded(key)):
        assert name.replace('"', '""').encode("utf-8", "surrogateescape") in private  # the way back is there


def test_the_way_back_is_the_owners_alone(tmp_path: Path, preparation: Preparation) -> None:
    write(tmp_path, ["patient", "study", "accession", "instance", "file", "rejected", "key"], preparation)
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in PRIVATE} == {0o600}


@given(first=st.text(), second=st.text())
def test_hashes_tell_identifiers_apart_and_nothing_else(first: str, second: str) -> None:
    hashes, others = Pseudonyms(secret=SECRET), Pseudonyms(secret=bytes(32))
    assert (hashes.patient(first) == hashes.patient(second)) == (first == second)
    assert len({hashes.patient(first), hashes.study(first), hashes.file(first), others.patient(first)}) == 4
    assert len(hashes.patient(first)) == 16
    assert repr(SECRET) not in repr(hashes)


def test_a_column_is_named_and_no_cell_of_it(tmp_path: Path, preparation: Preparation) -> None:
    (tmp_path / "labels.csv").write_text("patient_id,density\nP_00173,2\n")
    table = columns.read(tmp_path / "labels.csv", LabelColumns())
    with pytest.raises(Exception, match="no row names any") as caught:
        matching.join(table, [], [], preparation.classes)
    assert "P_00173" not in f"{caught.value}{caught.value.hint}"  # type: ignore[attr-defined]
