"""Predictions by a model of the federation."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fedcli import disk, tensors, wire
from fedcli.errors import DataError, TrustError, UsageError
from fedcli.imaging.dataset import prepared_dataset
from fedcli.learning.evaluation.metrics import mean_by_unit
from fedcli.operations.finetune import FinetuneRequest, Start, finetune
from fedcli.operations.predict import PredictionProvenance, PredictRequest, predict
from fedcli.plan import Part
from fedcli.progress import Silent
from fedcli.site import selection
from fedcli.site.learner import Learner
from fedcli.workspace import Workspace
from tests.fixtures.federation import Federation

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from fedcli.operations.predict import PredictResult


def run(federation: Federation, out: Path, **settings: object) -> PredictResult:
    request = PredictRequest(root=federation.site("north"), images=None, out=out)
    return predict(replace(request, **settings), federation.environment)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def expected(federation: Federation, weights: Path, part: Part) -> dict[str, NDArray[np.float64]]:
    """Return each patient's mean probability, put together by hand from the prepared data."""
    learner = Learner(Workspace.open(federation.site("north")), federation.plan, Silent())
    learner.load(weights)
    data = learner.data
    rows = np.array([found is part for found in data.parts])
    names, positions = np.unique(np.array(data.patients)[rows], return_inverse=True)
    said = learner.predict(learner.samples(part), "by hand").probabilities
    return dict(zip(names.tolist(), mean_by_unit(said, positions), strict=True))


def newest_global(federation: Federation) -> Path:
    return next((federation.drop / "coordinator" / "round-0002").glob("global-*.safetensors"))


def test_a_case_has_the_mean_probability_of_its_images(finished: Federation, tmp_path: Path) -> None:
    result = run(finished, tmp_path / "p.csv", model="global")
    rows = rows_of(tmp_path / "p.csv")
    by_hand = expected(finished, newest_global(finished), Part.TEST)
    assert [row["case"] for row in rows] == sorted(by_hand)
    assert len(rows) == result.cases >= 3
    assert sum(int(row["images"]) for row in rows) == result.images == 4 * result.cases
    for row in rows:
        found = [float(row[f"p({name})"]) for name in "abcd"]
        assert found == pytest.approx(by_hand[row["case"]].tolist(), abs=1e-6)
        assert row["predicted"] == "abcd"[int(np.argmax(by_hand[row["case"]]))]
    assert "files" not in rows[0]
    assert result.class_cases == tuple(sum(row["predicted"] == name for row in rows) for name in "abcd")


def test_dicom_files_give_what_their_prepared_data_give(finished: Federation, tmp_path: Path) -> None:
    archive = finished.prepared["north"].parent.parent / "archives" / "north"
    # The same secret hashes patients as the prepared data do.
    shutil.copyfile(finished.prepared["north"].with_name("north.secret"), finished.site("north") / "secret")
    result = run(finished, tmp_path / "d.csv", images=archive, model="global")
    files = {row["case"]: row for row in rows_of(tmp_path / "d.csv")}
    assert len(files) == 16
    for part in Part:
        run(finished, tmp_path / "p.csv", part=part, model="global")
        for row in rows_of(tmp_path / "p.csv"):
            other = files.pop(row["case"])
            assert all(float(row[f"p({name})"]) == pytest.approx(float(other[f"p({name})"]), abs=2e-6) for name in "abcd")
            paths = other["files"].split("; ")
            assert len(paths) == len({path.rpartition("/")[2] for path in paths}) == 4
            assert len({path.rpartition("/")[0] for path in paths}) == 1
            assert all((archive / path).is_file() for path in paths)
    assert not files
    said = wire.decode(PredictionProvenance, (tmp_path / "d.json").read_bytes())
    assert [(item.file, item.reason.value) for item in said.left_out] == [("labels.csv", "not a DICOM file")]
    assert result.left_out == 1
    assert {row["patient"] for row in rows_of(tmp_path / "d.csv")} == {path.name for path in archive.iterdir() if path.is_dir()}
    page = tmp_path / "d.html"
    assert page.stat().st_mode & 0o777 == 0o600
    text = page.read_text(encoding="utf-8")
    assert all(row["patient"] in text for row in rows_of(tmp_path / "d.csv"))
    assert text.count("<img ") == 4 * 12
    uncertain = [row["case"] for row in rows_of(tmp_path / "d.csv") if row["uncertain"] == "yes"]
    assert result.uncertain == len(uncertain)
    assert (said.data, said.part) == (None, None)


def test_the_file_beside_it_says_what_made_it(finished: Federation, tmp_path: Path) -> None:
    run(finished, tmp_path / "p.csv", model="global")
    said = wire.decode(PredictionProvenance, (tmp_path / "p.json").read_bytes())
    folder = finished.drop / "coordinator"
    assert said.federation == wire.sha256((folder / "federation-0000.json").read_bytes())
    assert said.model.record == wire.sha256((folder / "round-0002" / "round.json").read_bytes())
    assert said.model.content_sha256 == disk.measure(newest_global(finished)).sha256
    assert (said.model.kind, said.model.party, said.model.round) == ("global", "coordinator", 2)
    assert said.coordinator == finished.fingerprint
    assert said.table_sha256 == wire.sha256((tmp_path / "p.csv").read_bytes())
    assert said.data == prepared_dataset.describe(finished.prepared["north"]).digest
    assert said.part is Part.TEST
    assert said.created == finished.clock()
    assert (tmp_path / "p.csv").stat().st_mode & 0o777 == (tmp_path / "p.json").stat().st_mode & 0o777 == 0o600


def test_own_models_by_name(finished: Federation, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no trained finetuned model in this workspace"):
        run(finished, tmp_path / "p.csv", model="finetuned")
    finetune(FinetuneRequest(root=finished.site("north"), start=Start.INITIAL), finished.environment)
    for name, kind in (("best", "federated"), ("local", "local")):
        result = run(finished, tmp_path / "p.csv", model=name)
        root = finished.site("north")
        folder = root / "models" / "local" if name == "local" else max((root / "state").glob("round-*"))
        assert (result.model.kind, result.model.party) == (kind, "north")
        assert result.model.record == selection.read_best(folder).base
        by_hand = expected(finished, folder / "best.safetensors", Part.TEST)
        for row in rows_of(tmp_path / "p.csv"):
            found = [float(row[f"p({name})"]) for name in "abcd"]
            assert found == pytest.approx(by_hand[row["case"]].tolist(), abs=1e-6)


def test_a_file_and_a_key_of_the_drop_folder(finished: Federation, tmp_path: Path) -> None:
    first = next((finished.drop / "coordinator" / "round-0001").glob("global-*.safetensors"))
    by_key = run(finished, tmp_path / "k.csv", model=first.relative_to(finished.drop).as_posix())
    shutil.copyfile(first, tmp_path / "renamed.bin")
    by_file = run(finished, tmp_path / "f.csv", model=str(tmp_path / "renamed.bin"))
    assert by_key.model == by_file.model
    assert by_key.model.round == 1
    assert (tmp_path / "k.csv").read_bytes() == (tmp_path / "f.csv").read_bytes()


def test_a_model_of_no_record_is_refused(finished: Federation, tmp_path: Path) -> None:
    arrays = tensors.read(newest_global(finished))
    arrays["14.bias"] = arrays["14.bias"] + np.float32(1)
    tensors.write(tmp_path / "other.safetensors", arrays)
    with pytest.raises(TrustError, match="is not the digest of a model in"):
        run(finished, tmp_path / "p.csv", model=str(tmp_path / "other.safetensors"))
    update = next((finished.drop / "sites" / "north" / "round-0001").glob("update-*.safetensors"))
    with pytest.raises(TrustError, match="is not the digest of a model in"):
        run(finished, tmp_path / "p.csv", model=str(update))
    with pytest.raises(UsageError, match="neither a model of this workspace or drop folder nor a file"):
        run(finished, tmp_path / "p.csv", model="missing.safetensors")
    assert not list(tmp_path.glob("p.*"))


def test_an_own_model_of_another_federation_is_refused(finished: Federation, prepared: dict[str, Path], tmp_path: Path) -> None:
    other = Federation(
        root=tmp_path / "other", prepared=prepared, plan=replace(finished.plan, seed=finished.plan.seed + 0, rounds=1)
    ).begin()
    shutil.copytree(finished.site("north") / "state", other.site("north") / "state")
    with pytest.raises(TrustError, match="is no round of this federation"):
        predict(PredictRequest(root=other.site("north"), images=None, out=tmp_path / "p.csv"), other.environment)


def test_what_cannot_be_predicted(finished: Federation, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"must not end in \.json"):
        run(finished, tmp_path / "p.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="none of 0 files is a mammogram"):
        run(finished, tmp_path / "p.csv", images=tmp_path / "empty")
    with pytest.raises(DataError, match="expected a folder of DICOM files or a zip archive, found nothing"):
        run(finished, tmp_path / "p.csv", images=tmp_path / "missing")


def test_a_coordinator_predicts_with_the_global_model(finished: Federation, tmp_path: Path) -> None:
    request = PredictRequest(root=finished.coordinator, images=finished.prepared["north"], out=tmp_path / "p.csv", model="global")
    predict(request, finished.environment)
    run(finished, tmp_path / "n.csv", model="global")
    assert (tmp_path / "p.csv").read_bytes() == (tmp_path / "n.csv").read_bytes()
