"""A member hides or removes the data set record that its update names: this is its own problem, and stops nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fedcli import wire
from fedcli.exchange import layout
from fedcli.exchange.records import DatasetRecord, SeenRound
from fedcli.operations.archive import ArchiveRequest, archive
from fedcli.operations.export import ExportRequest, export
from fedcli.plan import Part
from tests.fixtures.federation import begun_by_hand
from tests.fixtures.records import VERSIONS, cohort
from tests.fixtures.tampering import forge

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fixtures.federation import Federation

SITES = ("ash", "birch", "cedar")
FACTS = cohort()
FOLDER = "sites/cedar/dataset/"


def publish(federation: Federation, number: int) -> str:
    """Publish a data set record of cedar's; return its digest."""
    first = (federation.drop / layout.round_record(0)).read_bytes()
    record = DatasetRecord(
        federation=wire.sha256((federation.drop / layout.federation(0)).read_bytes()),
        party="cedar",
        created=federation.clock(),
        versions=VERSIONS,
        number=number,
        as_of=0,
        seen=SeenRound(round=0, sha256=wire.sha256(first)),
        cohort=FACTS,
    )
    data = wire.encode(record)
    forge(federation, layout.dataset("cedar", number), data)
    return wire.sha256(data)


def send(federation: Federation, number: int, dataset: str) -> None:
    """Let all sites send; cedar names a data set record."""
    train, plan = FACTS.part(Part.TRAIN), federation.plan.training
    claims = {"images": train.images, "patients": train.patients, "steps": plan.steps_per_epoch(train.images), "dataset": dataset}
    for site in federation.by_hand:
        federation.send(site, number, **(claims if site == "cedar" else {}))


@pytest.fixture
def federation(tmp_path: Path) -> Federation:
    """Three sites; the first round has used cedar's update, which names cedar's first data set record."""
    made = begun_by_hand(tmp_path / "f", *SITES, rounds=3)
    send(made, 1, publish(made, 1))
    assert made.aggregate().used == SITES
    return made


def test_the_record_that_an_update_names_is_read_however_many_are_newer(federation: Federation) -> None:
    digest = wire.sha256((federation.drop / layout.dataset("cedar", 1)).read_bytes())
    for number in range(9900, 9900 + 64 + 16 + 3 * len(SITES)):  # as many as are read of a series
        publish(federation, number)
    assert federation.verify().verified
    publish(federation, 9999)
    assert {problem.key for problem in federation.verify().problems} == {layout.dataset("cedar", 9900)}
    send(federation, 2, digest)
    assert federation.aggregate().used == SITES


def test_where_it_is_gone_the_others_export_and_archive(federation: Federation, tmp_path: Path) -> None:
    send(federation, 2, publish(federation, 2))
    federation.aggregate()
    (federation.drop / layout.dataset("cedar", 1)).unlink()
    (problem,) = federation.verify().problems
    assert problem.key == FOLDER
    assert problem.message.startswith(f"{FOLDER}: no valid data set record ")
    assert problem.message.endswith(f", which {layout.update('cedar', 1)} names")
    export(ExportRequest(source=federation.source(), file=tmp_path / "all.tar"), federation.environment)
    archive(ArchiveRequest(root=federation.coordinator, file=tmp_path / "old.tar", before=2), federation.environment)
