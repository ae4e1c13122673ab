"""A site whose patients all have one class: its kappas are 0 or undefined, so the validation loss chooses its models."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fedcli import disk, wire
from fedcli.environment import Environment
from fedcli.errors import UsageError
from fedcli.exchange import layout
from fedcli.exchange.records import ModelKind, ModelRecord
from fedcli.imaging.archive.image_archive import ImageArchive
from fedcli.imaging.preparation import LabelFiles
from fedcli.operations.evaluate import EvaluateRequest, evaluate
from fedcli.operations.finetune import FinetuneRequest, Start, finetune
from fedcli.operations.predict import PredictRequest, predict
from fedcli.operations.prepare import PrepareRequest, prepare
from fedcli.operations.report import ReportRequest, report
from fedcli.plan import Finetuning
from fedcli.progress import Silent
from fedcli.site import selection
from fedcli.workspace import Workspace
from tests.fixtures.federation import PLAN, Federation
from tests.fixtures.tampering import artifact_path

if TYPE_CHECKING:
    from pathlib import Path

SITE = "mono"


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory, prepared: dict[str, Path]) -> Federation:
    """Return a federation of this site only, after its last round."""
    root = tmp_path_factory.mktemp("mono")
    archive = prepared["north"].parent.parent / "archives" / "north"
    rows = (archive / "labels.csv").read_text(encoding="utf-8").splitlines()
    (root / "labels.csv").write_text("\n".join([rows[0], *(row.partition(",")[0] + ",b" for row in rows[1:])]) + "\n")
    plan = replace(PLAN, training=replace(PLAN.training, rate=1e-2), finetuning=Finetuning(epochs=1))
    prepare(
        PrepareRequest(
            archive=ImageArchive(folder=archive),
            labels=LabelFiles(table=root / "labels.csv"),
            workspace=root / "none",
            plan=plan,
            out=root / "data",
        ),
        Silent(),
    )
    federation = Federation(root=root / "f", prepared={SITE: root / "data"}, plan=plan).begin()
    federation.run(2)
    federation.train()
    return federation


@pytest.fixture
def mono(once: Federation, tmp_path: Path) -> Federation:
    return once.copy(tmp_path / "f")


def state_of(federation: Federation) -> Path:
    folder = selection.newest_state(Workspace.open(federation.site(SITE)))
    assert folder is not None
    return folder


def test_no_kappa_says_anything_and_a_trained_model_is_chosen_by_its_loss(mono: Federation) -> None:
    updates = [mono.update(SITE, number) for number in (1, 2)]
    assert {update.received.kappa for update in updates} | {update.trained.kappa for update in updates} <= {0.0, None}
    best = selection.read_best(state_of(mono))
    assert best is not None
    assert best.round > 0
    losses = [updates[0].trained.loss, updates[1].received.loss, updates[1].trained.loss]
    assert best.loss <= min(losses)
    assert best.by_loss


def test_predict_uses_the_trained_model_and_the_baseline_is_trained_too(mono: Federation, tmp_path: Path) -> None:
    predict(PredictRequest(root=mono.site(SITE), images=None, out=tmp_path / "p.csv"), mono.environment)
    with (tmp_path / "p.csv").open(newline="") as file:
        assert {row["predicted"] for row in csv.DictReader(file)} == {"b"}
    baseline = finetune(FinetuneRequest(root=mono.site(SITE), start=Start.INITIAL), mono.environment)
    assert baseline.best_epoch > 0
    assert baseline.chosen_by_loss


def test_the_report_says_that_the_loss_decided(mono: Federation, tmp_path: Path) -> None:
    evaluate(EvaluateRequest(root=mono.site(SITE)), mono.environment)
    shared = wire.decode(ModelRecord, (mono.drop / layout.model(SITE, 1, ModelKind.FEDERATED)).read_bytes())
    assert shared.loss == selection.read_best(state_of(mono)).loss
    assert report(ReportRequest(source=mono.source(), out=tmp_path / "r"), Environment()).verified
    page = (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    assert "because validation kappas are equal or undefined: the best global model and the federated model of mono." in page
    assert "the lowest validation loss decided" in (tmp_path / "r" / "model-card.md").read_text(encoding="utf-8")


def as_an_older_fedcli_left_it(federation: Federation) -> None:
    """Put φ(0) in the place of the best model, described without a loss."""
    initial, folder = artifact_path(federation, layout.round_record(0)), state_of(federation)
    (folder / "best.safetensors").write_bytes(initial.read_bytes())
    described = {
        "round": 0,
        "origin": "received",
        "kappa": 0.0,
        "content_sha256": disk.measure(initial).sha256,
        "base": federation.history().rounds[0].digest,
    }
    (folder / "best.json").write_text(json.dumps(described))


def test_an_untrained_best_of_an_older_fedcli_counts_as_none(mono: Federation, tmp_path: Path) -> None:
    as_an_older_fedcli_left_it(mono)
    with pytest.raises(UsageError, match="no trained federated model"):
        predict(PredictRequest(root=mono.site(SITE), images=None, out=tmp_path / "p.csv"), mono.environment)
    with pytest.raises(UsageError, match="no federated model"):
        finetune(FinetuneRequest(root=mono.site(SITE)), mono.environment)
    assert evaluate(EvaluateRequest(root=mono.site(SITE)), mono.environment).shared == ()
    assert mono.train()[0].best_round is None


def test_the_next_round_replaces_it(mono: Federation) -> None:
    as_an_older_fedcli_left_it(mono)
    longer = replace(mono.plan, rounds=3)
    mono.amend(longer)
    Workspace.open(mono.site(SITE)).approve(longer)
    assert mono.train()[0].best_round > 0


def test_before_the_first_round_there_is_no_global_model_to_predict_with(begun: Federation, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no site has trained the newest global model"):
        predict(PredictRequest(root=begun.site("north"), images=None, out=tmp_path / "p.csv", model="global"), begun.environment)
