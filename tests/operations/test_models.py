"""Fine-tuning, the local-only baseline, sharing, scoring, and the whole way in one process."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from fedcli import disk, tensors, wire
from fedcli.environment import Environment
from fedcli.errors import UsageError
from fedcli.exchange import layout
from fedcli.exchange.records import EvaluationRecord, ModelKind, ModelRecord, Role, ValidationScore
from fedcli.imaging.dataset import prepared_dataset
from fedcli.measures import Estimate, Metric
from fedcli.operations.approve import ApproveRequest, approve
from fedcli.operations.evaluate import EvaluateRequest, evaluate
from fedcli.operations.finetune import FinetuneRequest, Start, finetune
from fedcli.operations.report import ReportRequest, report
from fedcli.operations.simulate import SimulateRequest, simulate
from fedcli.operations.train_round import TrainRoundRequest
from fedcli.party.source import Source
from fedcli.party.transfer.outgoing import describe
from fedcli.plan import Evaluation, Part
from fedcli.progress import Silent
from fedcli.results import Status
from fedcli.site.learner import Learner
from fedcli.workspace import Workspace
from tests.fixtures.command import imported_by
from tests.fixtures.federation import PLAN, Clock, Federation, no_passphrase
from tests.fixtures.tampering import forge

if TYPE_CHECKING:
    from pathlib import Path


def test_the_baseline_is_as_many_epochs_as_rounds_from_the_initial_model(finished: Federation) -> None:
    result = finetune(FinetuneRequest(root=finished.site("north"), start=Start.INITIAL), finished.environment)
    assert (result.kind, result.epochs) == (ModelKind.LOCAL, PLAN.rounds)
    folder = finished.site("north") / "models/local"
    facts = json.loads((folder / "best.json").read_text())
    if facts["round"] == 0:
        initial = next((finished.drop / "coordinator/round-0000").glob("*.safetensors"))
        assert (folder / "best.safetensors").read_bytes() == initial.read_bytes()
    assert facts["kappa"] == result.best_kappa
    again = finetune(FinetuneRequest(root=finished.site("north"), start=Start.INITIAL), finished.environment)
    assert (again.seconds, again.best_kappa) == (None, result.best_kappa)


def test_finetuning_never_ends_worse_than_it_began(finished: Federation) -> None:
    result = finetune(FinetuneRequest(root=finished.site("valley"), start=Start.BEST), finished.environment)
    assert (result.kind, result.epochs) == (ModelKind.FINETUNED, PLAN.finetuning.epochs)
    best = json.loads((finished.site("valley") / "state/round-0003/best.json").read_text())
    assert result.start_kappa == best["kappa"]
    assert result.best_kappa >= result.start_kappa


def test_a_later_run_with_nothing_to_compute_imports_no_torch(finished: Federation) -> None:
    root = finished.site("north")
    for start in Start:
        finetune(FinetuneRequest(root=root, start=start), finished.environment)
    evaluate(EvaluateRequest(root=root), finished.environment)
    before = finished.files()
    for arguments in (("finetune",), ("finetune", "--from", "initial"), ("evaluate",)):
        assert not imported_by(*arguments, "-C", root) & {"torch", "torchvision", "sklearn", "scipy"}, arguments
    assert finished.files() == before


def test_there_is_nothing_to_finetune_before_the_first_round(begun: Federation) -> None:
    with pytest.raises(UsageError, match="no federated model in this workspace yet"):
        finetune(FinetuneRequest(root=begun.site("north"), start=Start.BEST), begun.environment)
    with pytest.raises(UsageError, match="no round has been aggregated yet"):
        evaluate(EvaluateRequest(root=begun.site("north")), begun.environment)


def test_evaluation_does_what_is_possible_and_says_what_is_missing(finished: Federation) -> None:
    first = evaluate(EvaluateRequest(root=finished.site("north")), finished.environment)
    assert first.status is Status.PUBLISHED
    assert first.shared == (ModelKind.FEDERATED,)
    assert "the federated model of valley" in first.missing
    assert {(score.model.kind, score.model.party) for score in first.scores} >= {
        ("federated", "north"),
        ("global", "coordinator"),
    }
    finetune(FinetuneRequest(root=finished.site("valley"), start=Start.INITIAL), finished.environment)
    finetune(FinetuneRequest(root=finished.site("valley"), start=Start.BEST), finished.environment)
    evaluate(EvaluateRequest(root=finished.site("valley")), finished.environment)
    second = evaluate(EvaluateRequest(root=finished.site("north")), finished.environment)
    assert (second.status, second.number) == (Status.PUBLISHED, 2)
    assert {score.model.kind for score in second.scores if score.model.party == "valley"} == {"local", "federated", "finetuned"}
    own = evaluate(EvaluateRequest(root=finished.site("valley")), finished.environment)
    compared = [(pair.model.kind, pair.other.kind) for pair in own.comparisons]
    assert compared == [(ModelKind.FEDERATED, ModelKind.LOCAL), (ModelKind.FINETUNED, ModelKind.FEDERATED)]
    kappas = {score.model.kind: score.by_case.kappa.value for score in own.scores if score.model.party == "valley"}
    for pair in own.comparisons:
        values = (kappas[pair.model.kind], kappas[pair.other.kind])
        assert pair.result.difference == (None if None in values else pytest.approx(values[0] - values[1]))
    third = evaluate(EvaluateRequest(root=finished.site("north")), finished.environment)
    assert (third.status, third.number, third.shared) == (Status.WAITING, 2, ())
    result = finished.verify()
    assert (result.verified, result.unaccounted) == (True, ())
    assert finished.history().evaluations["north"].record.number == 2


def test_nothing_is_shared_that_the_operator_did_not_agree_to(finished: Federation) -> None:
    settings = finished.site("north") / "workspace.toml"
    settings.write_text(settings.read_text().replace("share_models = true", "share_models = false"))
    assert evaluate(EvaluateRequest(root=finished.site("north")), finished.environment).shared == ()
    assert not (finished.drop / "sites/north/models").exists()


def test_a_shared_model_that_cannot_be_used_is_named_and_stops_nobody(finished: Federation) -> None:
    evaluate(EvaluateRequest(root=finished.site("valley")), finished.environment)
    key = layout.model("valley", 1, "federated")
    shared = wire.decode(ModelRecord, (finished.drop / key).read_bytes())
    sound = finished.drop / shared.artifacts[0].key
    arrays = tensors.read(sound)
    broken = finished.root / "broken"
    measured = tensors.write(
        broken,
        {name: value * np.array(np.nan, value.dtype) if value.dtype.kind == "f" else value for name, value in arrays.items()},
    )
    newer = layout.model("valley", 2, "federated")
    record = replace(shared, number=2, artifacts=(describe(newer, Role.MODEL, measured),))
    broken.rename(finished.drop / record.artifacts[0].key)
    forge(finished, newer, wire.encode(record))
    result = evaluate(EvaluateRequest(root=finished.site("north")), finished.environment)
    assert any("the federated model of valley is rejected: north: federated model of valley" in item for item in result.missing)
    assert {(score.model.kind, score.model.party) for score in result.scores} >= {
        ("federated", "north"),
        ("global", "coordinator"),
    }
    (finished.drop / record.artifacts[0].key).write_bytes(sound.read_bytes())
    result = evaluate(EvaluateRequest(root=finished.site("north")), finished.environment)
    assert any("is rejected" in item and record.artifacts[0].key in item for item in result.missing)
    assert result.status is Status.WAITING


def test_a_site_scores_no_others_models_where_the_plan_says_so(finished: Federation) -> None:
    plan = replace(finished.plan, evaluation=replace(finished.plan.evaluation, other_sites=0))
    finished.amend(plan)
    for site in ("valley", "north"):
        approve(ApproveRequest(root=finished.site(site), digest=plan.digest), finished.environment)
        result = evaluate(EvaluateRequest(root=finished.site(site)), finished.environment)
    assert ("north", ModelKind.FEDERATED) in {(score.model.party, score.model.kind) for score in result.scores}
    assert {score.model.party for score in result.scores} == {"north", "coordinator"}
    assert finished.verify().verified


def test_small_cells_are_withheld_where_the_plan_says_so(finished: Federation) -> None:
    plan = replace(finished.plan, evaluation=Evaluation(min_cell=5))
    finished.amend(plan)
    approve(ApproveRequest(root=finished.site("north"), digest=plan.digest), finished.environment)
    evaluate(EvaluateRequest(root=finished.site("north")), finished.environment)
    record = wire.decode(EvaluationRecord, (finished.drop / "sites/north/evaluation/0001.json").read_bytes())
    assert record.scores
    for score in record.scores:  # of fewer than ten test patients
        assert (score.loss, score.by_case.confusion, score.by_image.confusion) == (None, None, None)
        assert all(score.by_case.estimate(metric) == score.by_image.estimate(metric) == Estimate() for metric in Metric)
    assert record.comparisons == ()
    assert record.final_validation == ValidationScore(patients=record.final_validation.patients, loss=None, kappa=None)
    kept = [path.read_text() for path in (finished.site("north") / "scores").glob("*-complete.json")]
    assert kept
    assert all('"confusion": [' in text for text in kept)  # for the site's own eyes


def test_the_kappa_is_linear_weighted_over_all_classes_on_patient_means(finished: Federation) -> None:
    """Against scikit-learn and plain numpy, on the site's own best model."""
    evaluate(EvaluateRequest(root=finished.site("north")), finished.environment)
    record = wire.decode(EvaluationRecord, (finished.drop / "sites/north/evaluation/0001.json").read_bytes())
    score = next(item for item in record.scores if item.model.kind is ModelKind.FEDERATED)

    import torch  # noqa: PLC0415

    learner = Learner(Workspace.open(finished.site("north")), PLAN, Silent())
    learner.load(next((finished.drop / "sites/north/models").glob("*.safetensors")))
    data = prepared_dataset.load(finished.prepared["north"], wire.digest(PLAN.preparation), ())
    chosen = [number for number, part in enumerate(data.parts) if part is Part.TEST]
    with torch.no_grad():
        images = torch.from_numpy(data.images[chosen].astype(np.float32) / 65535).unsqueeze(1)
        probabilities = torch.softmax(learner.module.eval()(images), 1).numpy()
    truth, predicted = [], []
    for patient in sorted({data.patients[number] for number in chosen}):
        mine = [position for position, number in enumerate(chosen) if data.patients[number] == patient]
        predicted.append(int(probabilities[mine].mean(0).argmax()))
        truth.append(int(data.labels[chosen[mine[0]]]))
    assert score.by_case.count == len(truth)
    assert score.by_case.kappa.value == pytest.approx(
        cohen_kappa_score(truth, predicted, labels=range(4), weights="linear"), abs=1e-12
    )
    assert sum(map(sum, score.by_case.confusion or ())) == len(truth)


def test_no_patient_has_images_in_two_parts(prepared: dict[str, Path]) -> None:
    for path in prepared.values():
        data = prepared_dataset.load(path, wire.digest(PLAN.preparation), ())
        parts: dict[str, set[Part]] = {}
        for patient, part in zip(data.patients, data.parts, strict=True):
            parts.setdefault(patient, set()).add(part)
        assert len(parts) == 16
        assert all(len(found) == 1 for found in parts.values())


def test_simulation_is_the_same_as_separate_workspaces(finished: Federation, tmp_path: Path, prepared: dict[str, Path]) -> None:
    result = simulate(SimulateRequest(plan=PLAN, sites=prepared, drop=tmp_path / "run/drop"), finished.environment)
    assert (result.status, result.rounds) == (Status.FINISHED, PLAN.rounds)
    model = next((finished.drop / "coordinator/round-0002").glob("*.safetensors"))
    assert result.global_model == disk.measure(model).sha256
    assert (tmp_path / "run/sites/north/workspace.toml").exists()
    assert Federation(root=tmp_path / "run", fingerprint=result.coordinator).verify().verified


def test_simulation_goes_on_where_it_was_cut_off(tmp_path: Path, prepared: dict[str, Path]) -> None:
    environment = Federation(root=tmp_path, prepared=prepared, clock=Clock()).environment

    class Cut(Silent):
        def event(self, text: str) -> None:
            if "round 1 of 2 is published" in text:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(SimulateRequest(plan=PLAN, sites=prepared, drop=tmp_path / "cut/drop"), replace(environment, progress=Cut()))
    resumed = simulate(SimulateRequest(plan=PLAN, sites=prepared, drop=tmp_path / "cut/drop"), environment)
    whole = simulate(SimulateRequest(plan=PLAN, sites=prepared, drop=tmp_path / "whole/drop"), environment)
    assert resumed.global_model == whole.global_model
    assert simulate(SimulateRequest(plan=PLAN, sites=prepared, drop=tmp_path / "cut/drop"), environment).head == resumed.head


def test_the_report_names_what_is_missing_and_what_does_not_hold(finished: Federation, tmp_path: Path) -> None:
    evaluate(EvaluateRequest(root=finished.site("north")), finished.environment)
    written = report(
        ReportRequest(source=Source(address=str(finished.drop), coordinator=finished.fingerprint), out=tmp_path / "report"),
        Environment(),
    )
    page = (tmp_path / "report/report.html").read_text(encoding="utf-8")
    assert written.verified
    assert "valley has not published an evaluation" in page
    path = finished.drop / "sites/north/evaluation/0001.json"
    path.write_bytes(path.read_bytes().replace(b'"kappa"', b'"Kappa"', 1))
    broken = report(
        ReportRequest(source=Source(address=str(finished.drop), coordinator=finished.fingerprint), out=tmp_path / "report"),
        Environment(),
    )
    assert not broken.verified
    page = (tmp_path / "report/report.html").read_text(encoding="utf-8")
    assert "NOT verified" in page
    assert "sites/north/evaluation/0001.json" in page
    assert finished.status().message.startswith("1 problem, first in sites/north/evaluation/0001.json")


def test_what_an_encrypted_key_needs(begun: Federation) -> None:
    """A site may use its ordinary, passphrase-protected OpenSSH key."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    path = begun.site("north") / "key"
    key = serialization.load_ssh_private_key(path.read_bytes(), None)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.BestAvailableEncryption(b"open sesame")
        )
    )
    from fedcli.operations.train_round import train_round  # noqa: PLC0415

    with pytest.raises(AssertionError):
        train_round(TrainRoundRequest(root=begun.site("north")), replace(begun.environment, passphrase=no_passphrase))
    result = train_round(
        TrainRoundRequest(root=begun.site("north")), replace(begun.environment, passphrase=lambda: "open sesame")
    )
    assert result.status is Status.PUBLISHED
