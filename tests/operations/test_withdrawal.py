"""A site or a patient withdraws: what contains them is listed, and how to go on without them."""

from __future__ import annotations

import csv
import json
import re
import shutil
import stat
from typing import TYPE_CHECKING

import pytest

from fedcli.errors import DataError, UsageError
from fedcli.exchange.records import ModelKind
from fedcli.imaging.archive.image_archive import ImageArchive
from fedcli.imaging.preparation import LabelFiles
from fedcli.operations.evaluate import EvaluateRequest, evaluate, share
from fedcli.operations.finetune import FinetuneRequest, Start, finetune
from fedcli.operations.prepare import PrepareRequest, PrepareResult, prepare
from fedcli.operations.remove import RemoveRequest, RemoveResult, remove
from fedcli.operations.restart import RestartRequest, restart
from fedcli.progress import Silent
from tests.fixtures.command import succeed
from tests.fixtures.federation import Federation, begun_by_hand

if TYPE_CHECKING:
    from pathlib import Path


def removed(federation: Federation, site: str) -> RemoveResult:
    return remove(RemoveRequest(root=federation.coordinator, site=site), federation.environment)


def test_remove_lists_the_rounds_that_contain_the_site_and_offers_the_restart(tmp_path: Path) -> None:
    federation = begun_by_hand(tmp_path / "f", "a", "b", rounds=8)
    federation.send("a", 1)
    federation.aggregate(b="on leave")
    federation.run(2)
    result = removed(federation, "b")
    assert (result.rounds, result.models, result.restart_from) == ((2, 3), (), 1)
    command = f"fedcli restart -C {federation.coordinator} --from 1 --reason TEXT"
    assert result.message.endswith(f"2 global models (2 to 3); to go on without it: `{command}`")
    request = RestartRequest(root=federation.coordinator, number=1, reason="b withdraws")
    restart(request, federation.environment)
    federation.send("a", 5)
    federation.aggregate()
    again = begun_by_hand(tmp_path / "without", "a", rounds=8)
    again.send("a", 1)
    again.aggregate()
    assert [item.content_sha256 for item in federation.record(4).artifacts] == [
        item.content_sha256 for item in again.record(1).artifacts
    ]
    assert federation.verify().verified


def test_a_site_that_is_in_no_model_needs_no_restart(tmp_path: Path) -> None:
    federation = begun_by_hand(tmp_path / "f", "a", "b", rounds=8)
    result = removed(federation, "b")
    assert (result.rounds, result.restart_from) == ((), None)
    assert result.message.endswith("stays in the history")


def test_an_update_of_the_open_round_can_be_left_out(tmp_path: Path) -> None:
    federation = begun_by_hand(tmp_path / "f", "a", "b", rounds=8)
    federation.send("b", 1)
    result = removed(federation, "b")
    assert result.message.endswith(f"`fedcli aggregate -C {federation.coordinator} --without b --reason TEXT`")


def test_remove_lists_the_shared_models_too(finished: Federation) -> None:
    for site in ("north", "valley"):
        evaluate(EvaluateRequest(root=finished.site(site)), finished.environment)
    history = finished.history()
    bases = {place: item.record.base for place, item in history.models.items()}
    result = removed(finished, "valley")
    listed = {item.key for item in history.models.values() if item.key in result.models}
    assert history.models["valley", ModelKind.FEDERATED].key in listed
    north = history.models["north", ModelKind.FEDERATED]
    assert (north.key in listed) == (bases["north", ModelKind.FEDERATED] != history.rounds[0].digest)
    assert (result.rounds, result.restart_from) == ((1, 2), 0)


# ------------------------------------------------------------------------------------------------------- single patients


def own_data(federation: Federation, site: str) -> Path:
    """Give a site's workspace a copy of its prepared data and their secret; return the copy."""
    shared, root = federation.prepared[site], federation.site(site)
    shutil.copytree(shared, root / "prepared")
    shutil.copyfile(shared.with_name(f"{site}.secret"), root / "secret")
    settings = root / "workspace.toml"
    settings.write_text(re.sub(r"(?m)^prepared = .*$", 'prepared = "prepared"', settings.read_text()))
    return root / "prepared"


def patients_of(data: Path) -> dict[str, str]:
    """Return the identifier of every patient, and the part."""
    rows = {name: list(csv.DictReader((data / name).open())) for name in ("identities.csv", "split.csv")}
    parts = {row["patient"]: row["part"] for row in rows["split.csv"]}
    return {row["patient"]: parts[row["patient_hash"]] for row in rows["identities.csv"]}


def prepared_again(federation: Federation, site: str, *excluded: str, split: Path | None = None) -> PrepareResult:
    archive = federation.prepared[site].parent.parent / "archives" / site
    file = federation.root / "leaving.csv"
    file.write_text("\n".join(["patient", *excluded]) + "\n")
    request = PrepareRequest(
        archive=ImageArchive(folder=archive),
        labels=LabelFiles(table=archive / "labels.csv", split=split),
        workspace=federation.site(site),
        exclude=file if excluded else None,
    )
    return prepare(request, Silent())


def first_of(patients: dict[str, str], part: str) -> str:
    return next(patient for patient, own in sorted(patients.items()) if own == part)


@pytest.mark.parametrize("logged", [True, False], ids=["noted by each round", "from before the log"])
def test_a_patient_withdraws_and_the_rounds_that_trained_it_are_listed_for_the_site(trained: Federation, *, logged: bool) -> None:
    data = own_data(trained, "north")
    if not logged:
        shutil.rmtree(trained.site("north") / "trained")
    patients = patients_of(data)
    training, test = first_of(patients, "train"), first_of(patients, "test")
    result = prepared_again(trained, "north", training, test, "unknown")
    assert (result.withdrawn, result.withdrawn_rounds) == (3, (1,))
    assert patients_of(data).keys() == patients.keys() - {training, test}
    listing = trained.site("north") / "withdrawals.csv"
    rows = [tuple(row.values()) for row in csv.DictReader(listing.open())]
    assert rows == [(training, "1"), (test, ""), ("unknown", "")]
    assert stat.S_IMODE(listing.stat().st_mode) == 0o600
    assert "fedcli restart -C WORKSPACE --from 0 --reason TEXT" in result.message
    assert "; 1 of them in no round and not in the data prepared before: compare their identifiers" in result.message
    assert training not in result.message
    assert "withdrawn" not in json.dumps([item.reason for item in result.cohort.rejections])
    again = prepared_again(trained, "north", training)  # and the rounds are still known
    assert again.withdrawn_rounds == (1,)


def test_who_has_withdrawn_stays_out_and_the_site_trains_on(trained: Federation) -> None:
    data = own_data(trained, "north")
    training = first_of(patients_of(data), "train")
    prepared_again(trained, "north", training)
    assert prepared_again(trained, "north").withdrawn == 0
    assert training not in patients_of(data)
    trained.aggregate()
    trained.train()
    first, second = trained.update("north", 1), trained.update("north", 2)
    assert second.patients == first.patients - 1
    assert trained.verify().verified


def test_a_patient_that_has_trained_never_becomes_a_test_patient(trained: Federation) -> None:
    patients = patients_of(own_data(trained, "north"))
    moved = first_of(patients, "train")
    split = trained.root / "split.csv"
    rows = [f"{patient},{'test' if patient == moved else part}" for patient, part in patients.items()]
    split.write_text("\n".join(["patient,part", *rows]) + "\n")
    with pytest.raises(DataError, match="1 of the patients that have trained would be test patients"):
        prepared_again(trained, "north", split=split)
    prepared_again(trained, "north", moved, split=split)  # one that has withdrawn is in no part


def test_a_local_model_that_a_withdrawn_patient_trained_is_not_shared(trained: Federation) -> None:
    finetune(FinetuneRequest(root=trained.site("north"), start=Start.INITIAL), trained.environment)
    prepared_again(trained, "north", first_of(patients_of(own_data(trained, "north")), "train"))
    trained.aggregate()
    shared = share(EvaluateRequest(root=trained.site("north")), trained.environment)
    assert ModelKind.LOCAL not in shared
    finetune(FinetuneRequest(root=trained.site("north"), start=Start.INITIAL), trained.environment)
    assert ModelKind.LOCAL in share(EvaluateRequest(root=trained.site("north")), trained.environment)


def test_exclude_needs_a_workspace_and_a_column(trained: Federation) -> None:
    archive = trained.prepared["north"].parent.parent / "archives/north"
    listing = trained.root / "leaving.csv"
    listing.write_text("name\nx\n")
    request = PrepareRequest(
        archive=ImageArchive(folder=archive),
        labels=LabelFiles(table=archive / "labels.csv"),
        workspace=trained.root / "nowhere",
        plan=trained.plan,
        out=trained.root / "out",
        exclude=listing,
    )
    with pytest.raises(UsageError, match="--exclude needs a workspace"):
        prepare(request, Silent())
    own_data(trained, "north")
    words = ("prepare", archive, "--labels", archive / "labels.csv", "-C", trained.site("north"), "--exclude", listing)
    listing.write_text("patient\nnobody\n")
    assert succeed(*words)["withdrawn"] == 1
