"""A model that leaves the federation: what it returns elsewhere, and the signatures that lead back to it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest
import safetensors.numpy

from fedcli import wire
from fedcli.errors import DataError, MissingError, TrustError, UsageError
from fedcli.exchange.history import reference_to
from fedcli.imaging.dataset import prepared_dataset
from fedcli.model_package.package_provenance import PackageProvenance
from fedcli.operations.evaluate import EvaluateRequest, evaluate
from fedcli.operations.package import PackageRequest, package
from fedcli.operations.predict import PredictRequest, predict
from fedcli.plan import Images, Statistics
from tests.fixtures.federation import Federation, begun_by_hand
from tests.fixtures.files import files_below

if TYPE_CHECKING:
    from fedcli.operations.package import PackageResult

EXAMPLE = Path(__file__).parents[2] / "examples" / "packaged-model" / "predict.py"
CHOICES = ("frames", "crop", "orientation", "intensity")


def packaged(federation: Federation, out: Path, model: str = "best") -> PackageResult:
    return package(PackageRequest(source=federation.source(), out=out, model=model), federation.environment)


@pytest.fixture(scope="module")
def shared_once(tmp_path_factory: pytest.TempPathFactory, finished_once: Federation) -> Federation:
    """A finished federation in which north has shared its models, with a package of its best global model beside it."""
    federation = finished_once.copy(tmp_path_factory.mktemp("shared") / "f")
    evaluate(EvaluateRequest(root=federation.site("north")), federation.environment)
    packaged(federation, federation.root / "package")
    return federation


@pytest.fixture
def shared(tmp_path: Path, shared_once: Federation) -> Federation:
    return shared_once.copy(tmp_path / "shared")


def provenance_of(folder: Path) -> PackageProvenance:
    return wire.decode(PackageProvenance, (folder / "package.json").read_bytes())


def test_the_onnx_model_returns_what_fedcli_predicts(shared: Federation, tmp_path: Path) -> None:
    """By the numpy example, which follows the package's description, on DICOM files of three encodings and both polarities."""
    folder = shared.root / "package"
    for site in ("north", "valley"):
        archive = shared.prepared[site].parents[1] / "archives" / site
        request = PredictRequest(
            root=shared.site("north"), images=archive, out=tmp_path / "p.csv", model=str(folder / "model.safetensors")
        )
        result = predict(request, shared.environment)
        with (tmp_path / "p.csv").open(newline="") as table:
            ours = sorted([float(row[f"p({name})"]) for name in "abcd"] + [row["predicted"]] for row in csv.DictReader(table))
        files = sorted(path for path in archive.rglob("*") if path.is_file() and path.name != "labels.csv")
        done = subprocess.run([sys.executable, EXAMPLE, folder, *files], capture_output=True, text=True, check=True)
        lines = [line.split(",")[1:] for line in done.stdout.splitlines()]
        theirs = sorted([*map(float, line[:-1]), line[-1]] for line in lines)
        assert len(ours) == len(theirs) == result.cases == 16
        assert [row[-1] for row in theirs] == [row[-1] for row in ours]
        assert np.array([row[:-1] for row in theirs]) == pytest.approx(np.array([row[:-1] for row in ours]), abs=1e-4)


def test_the_example_is_short_and_says_what_it_does_not_know(shared: Federation, tmp_path: Path) -> None:
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) <= 60
    description = json.loads((shared.root / "package" / "input.json").read_bytes())
    description["images"]["crop"] = "breast"
    (tmp_path / "input.json").write_text(json.dumps(description))
    done = subprocess.run([sys.executable, EXAMPLE, tmp_path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "this example does not know crop = breast\n")


def test_the_description_is_the_plan(shared: Federation) -> None:
    description = json.loads((shared.root / "package" / "input.json").read_bytes())
    taken = description["input"]
    assert (taken["name"], taken["shape"], taken["dtype"]) == ("image", ["N", 1, 16, 16], "float32")
    assert (description["classes"], description["thresholds"]) == (["a", "b", "c", "d"], None)
    assert wire.decode_mapping(Images, description["images"]) == shared.plan.images
    steps = {step["step"]: step["how"] for step in description["steps"]}
    assert {name: steps[name] for name in CHOICES} == {name: description["images"][name] for name in CHOICES}


def test_the_signatures_lead_from_the_model_to_the_coordinators_key(shared: Federation) -> None:
    """By OpenSSH; a record is found by the digest that another one names."""
    folder = shared.root / "package"
    found = provenance_of(folder)
    assert {file.path: file.sha256 for file in found.files} == {
        path: wire.sha256(data) for path, data in files_below(folder).items() if path != "package.json"
    }
    records = sorted((folder / "records").rglob("*.json"))
    assert len(records) >= 1 + 3 + 4  # the federation, three rounds, an update of each site in two rounds
    for record in records:
        key = record.relative_to(folder / "records")
        party = key.parts[1] if key.parts[0] == "sites" else "coordinator"
        signature = f"{record}.{wire.sha256(record.read_bytes())[:12]}.sig"
        command = ["ssh-keygen", "-Y", "verify", "-f", "allowed_signers", "-I", party, "-n", "fedcli-record@v1", "-s", signature]
        with record.open("rb") as file:
            done = subprocess.run(command, cwd=folder / "records", stdin=file, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (record, done.stdout, done.stderr)
    model = (folder / found.record).read_bytes()
    assert wire.sha256(model) == found.model.record
    assert (folder / found.signature).is_file()
    digest = json.loads(model)["artifacts"][0]["content_sha256"]
    assert digest == found.model.content_sha256 == wire.sha256((folder / "model.safetensors").read_bytes())
    assert found.coordinator == shared.fingerprint
    assert "verified against the coordinator's key" in found.statement


@pytest.mark.parametrize(("model", "kind", "number"), [("global", "global", 2), ("north", "federated", None)])
def test_models(model: str, kind: str, number: int | None, shared: Federation, tmp_path: Path) -> None:
    result = packaged(shared, tmp_path / "package", model)
    assert result.model.kind == kind
    assert result.difference <= 1e-4
    assert result.verified
    weights = safetensors.numpy.load_file(tmp_path / "package" / "model.safetensors")
    if number is None:
        assert result.model.party == "north"
        assert "federated model of north" in (tmp_path / "package" / "model-card.md").read_text()
        assert any(file.path.startswith("records/sites/north/models/") for file in provenance_of(tmp_path / "package").files)
    else:
        assert result.model == reference_to(shared.history().rounds[number])
        assert {name: value.tolist() for name, value in weights.items()} == {
            name: value.tolist() for name, value in shared.model(number).items()
        }


def test_it_takes_any_number_of_images_and_states_where_it_comes_from(shared: Federation) -> None:
    session = onnxruntime.InferenceSession(shared.root / "package" / "model.onnx", providers=["CPUExecutionProvider"])
    images = prepared_dataset.load(shared.prepared["north"], wire.digest(shared.plan.preparation), ()).images[:5]
    together = session.run(None, {"image": np.float32(images[:, None] / 65535)})[0]
    assert together.shape == (5, 4)
    assert together.sum(axis=1) == pytest.approx(1)
    assert session.run(None, {"image": np.float32(images[:1, None] / 65535)})[0] == pytest.approx(together[:1], abs=1e-6)
    stated = session.get_modelmeta().custom_metadata_map
    assert stated["record"] == provenance_of(shared.root / "package").model.record
    assert stated["classes"] == "a, b, c, d"


def test_a_package_is_whole_or_not_there(shared: Federation, tmp_path: Path) -> None:
    folder = shared.root / "package"
    before = files_below(folder)
    with pytest.raises(UsageError, match="no such model"):
        packaged(shared, folder, "east")
    with pytest.raises(MissingError, match="has shared no federated model"):
        packaged(shared, folder, "valley")
    assert files_below(folder) == before
    packaged(shared, folder, "global")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis").touch()
    with pytest.raises(DataError, match="files that do not belong to a package: thesis"):
        packaged(shared, tmp_path / "mine")
    signature = next((shared.drop / "coordinator" / "round-0002").glob("*.sig"))
    signature.write_bytes(signature.read_bytes()[:-40] + b"\n")
    with pytest.raises(TrustError):
        packaged(shared, tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "shared"]


def test_a_damaged_model_is_refused(shared: Federation, tmp_path: Path) -> None:
    path = next((shared.drop / "coordinator" / "round-0002").glob("global-*.safetensors"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(TrustError, match="SHA-256"):
        packaged(shared, tmp_path / "package", "global")
    assert not (tmp_path / "package").exists()


def test_what_nobody_has_trained_is_not_packaged(begun: Federation, tmp_path: Path) -> None:
    for model in ("best", "global"):
        with pytest.raises(MissingError, match="no site has trained a model yet"):
            packaged(begun, tmp_path / "package", model)


def test_a_global_model_without_its_sites_layers_is_not_packaged(tmp_path: Path) -> None:
    plan = begun_by_hand(tmp_path / "plan", "a").plan
    training = replace(plan.training, statistics=Statistics.LOCAL)
    federation = begun_by_hand(tmp_path / "f", "a", training=training)
    federation.run(1)
    with pytest.raises(UsageError, match="a global model is not whole"):
        packaged(federation, tmp_path / "package")


def test_without_the_packages_for_onnx(shared: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UsageError, match="needs onnxruntime, which is not installed") as caught:
        packaged(shared, tmp_path / "package")
    assert caught.value.hint == 'pip install "fedcli[package]"'
