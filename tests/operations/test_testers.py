"""Testers: members with test patients only, which no round waits for, and which sign evaluations."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fedcli import wire
from fedcli.environment import Environment
from fedcli.errors import ApprovalError, DataError, UsageError
from fedcli.exchange import layout
from fedcli.exchange.records import EnrolmentRecord, EvaluationRecord, FederationRecord
from fedcli.imaging.archive.image_archive import ImageArchive
from fedcli.imaging.dataset import prepared_dataset
from fedcli.imaging.preparation import LabelFiles
from fedcli.operations.admit import AdmitRequest, admit
from fedcli.operations.evaluate import EvaluateRequest, evaluate
from fedcli.operations.finetune import FinetuneRequest, finetune
from fedcli.operations.join import JoinRequest, inspect, join
from fedcli.operations.prepare import PrepareRequest, prepare
from fedcli.operations.report import ReportRequest, report
from fedcli.progress import Silent
from fedcli.results import Status
from tests.fixtures.command import run
from tests.fixtures.tampering import forge

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fixtures.federation import Federation

TESTER = "ext"


def enrol(federation: Federation, *, tester: bool = True) -> str:
    """Let the site join, and return its fingerprint."""
    request = JoinRequest(
        root=federation.site(TESTER),
        site=TESTER,
        invitation=inspect(federation.source()),
        share_dataset=True,
        share_models=True,
        tester=tester,
    )
    return join(request, federation.environment).fingerprint


def archive_of(federation: Federation) -> Path:
    return federation.prepared["valley"].parent.parent / "archives" / "valley"


def prepare_here(federation: Federation, split: Path | None = None) -> None:
    archive = archive_of(federation)
    labels = LabelFiles(table=archive / "labels.csv", split=split)
    prepare(PrepareRequest(archive=ImageArchive(folder=archive), labels=labels, workspace=federation.site(TESTER)), Silent())


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory, trained_once: Federation) -> Federation:
    """Return a federation that a tester has joined in round 1, after both rounds."""
    federation = trained_once.copy(tmp_path_factory.mktemp("testers") / "f")
    fingerprint = enrol(federation)
    admit(AdmitRequest(root=federation.coordinator, site=TESTER, fingerprint=fingerprint, tester=True), federation.environment)
    prepare_here(federation)
    assert federation.train(TESTER)[0].status is Status.FINISHED
    assert federation.aggregate().status is Status.PUBLISHED
    federation.run(1)
    federation.train()
    return federation


@pytest.fixture
def federation(tmp_path: Path, once: Federation) -> Federation:
    return once.copy(tmp_path / "f")


def test_no_round_waits_for_it_or_names_it(federation: Federation) -> None:
    assert federation.record(1).absent == federation.record(2).absent == ()
    assert TESTER not in {item.site for item in federation.record(2).contributions}
    result = federation.train(TESTER)[0]
    assert (result.status, result.steps) == (Status.FINISHED, None)
    assert "is a tester and trains in no round" in result.message
    with pytest.raises(UsageError, match="no training patients"):
        finetune(FinetuneRequest(root=federation.site(TESTER)), federation.environment)
    assert not (federation.drop / "sites" / TESTER / "round-0001").exists()
    assert federation.verify().verified


def test_all_its_patients_are_test_patients(federation: Federation, tmp_path: Path) -> None:
    parts = prepared_dataset.describe(federation.site(TESTER) / "prepared").cohort.parts
    assert [part.patients for part in parts] == [0, 0, 16]
    (tmp_path / "split.csv").write_text("patient,part\nvalley-0001,train\n")
    with pytest.raises(DataError, match="has training or validation patients"):
        prepare_here(federation, tmp_path / "split.csv")


def test_it_signs_evaluations_and_the_report_shows_it_without_a_model_of_its_own(federation: Federation, tmp_path: Path) -> None:
    for site in (*federation.prepared, TESTER):
        result = evaluate(EvaluateRequest(root=federation.site(site)), federation.environment)
    assert len(result.scores) == 3  # the federated models of both sites, and the global one
    assert not [text for text in result.missing if TESTER in text]
    record = wire.decode(EvaluationRecord, (federation.drop / layout.evaluation(TESTER, 1)).read_bytes())
    assert record.dataset is not None
    assert record.final_validation is None
    assert federation.verify().verified
    assert report(ReportRequest(source=federation.source(), out=tmp_path / "r"), Environment()).verified
    rows = (tmp_path / "r" / "tables" / "table2-federated.csv").read_text(encoding="utf-8").splitlines()
    assert rows[0] == f"trained_at,{TESTER},north,valley"
    assert rows[1] == f"{TESTER},,,"
    assert all(rows[number].split(",")[1] for number in (2, 3))
    means = (tmp_path / "r" / "tables" / "table2-means.csv").read_text(encoding="utf-8")
    assert "federated_diagonal_mean" in means
    assert [row.split(",")[3] for row in means.splitlines()[1:] if row.startswith("federated")] == ["2", "4"]
    page = (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    assert "tests only, no model" in page
    assert f"{TESTER} has not shared" not in page


def test_status_shows_it_apart(federation: Federation) -> None:
    for site in federation.prepared:
        evaluate(EvaluateRequest(root=federation.site(site)), federation.environment)
    evaluate(EvaluateRequest(root=federation.site("north")), federation.environment)
    result = federation.status()
    assert [site.site for site in result.sites] == ["north", "valley"]
    assert [(site.site, site.evaluated) for site in result.testers] == [(TESTER, False)]
    assert f"Turn of {TESTER}: fedcli evaluate" in result.message
    shown = " ".join(run("status", federation.drop).stdout.split())
    assert f"testers, for which no round waits: {TESTER} (has not evaluated)" in shown


def test_a_testers_update_is_refused_by_everybody(federation: Federation) -> None:
    key = layout.update(TESTER, 2)
    source = layout.update("north", 2)
    record = json.loads((federation.drop / source).read_bytes()) | {"party": TESTER}
    (federation.drop / key).parent.mkdir(parents=True)
    for artifact in record["artifacts"]:
        moved = artifact["key"].replace("north", TESTER)
        shutil.copyfile(federation.drop / artifact["key"], federation.drop / moved)
        artifact["key"] = moved
    forge(federation, key, (json.dumps(record, indent=1) + "\n").encode())
    result = federation.verify()
    assert not result.verified
    assert any("ext is a tester" in problem.message for problem in result.problems)


def test_it_is_admitted_as_what_it_has_enrolled_as(begun: Federation) -> None:
    fingerprint = enrol(begun)
    request = AdmitRequest(root=begun.coordinator, site=TESTER, fingerprint=fingerprint)
    with pytest.raises(ApprovalError, match="ext: has enrolled as a tester, expected a member that trains") as error:
        admit(request, begun.environment)
    assert "--tester" in error.value.hint
    done = run("admit", "-C", begun.coordinator, TESTER, "--fingerprint", fingerprint, "--tester")
    assert done.returncode == 0, done.stderr
    assert "ext is a tester from round 1 on" in " ".join(done.stdout.split())
    newest = wire.decode(FederationRecord, (begun.drop / layout.federation(3)).read_bytes())
    assert (newest.trainers, newest.testers) == (("north", "valley"), (TESTER,))


def test_a_record_without_testers_reads_as_before(begun: Federation) -> None:
    for key in (layout.federation(2), layout.enrolment("north", 0)):
        assert b"tester" not in (begun.drop / key).read_bytes()
    enrolment = wire.decode(EnrolmentRecord, (begun.drop / layout.enrolment("north", 0)).read_bytes())
    assert not enrolment.tester
    assert b'"tester": true' in wire.encode(replace(enrolment, tester=True))
