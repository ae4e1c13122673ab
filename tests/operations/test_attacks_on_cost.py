"""What one site puts into the drop folder costs the others little: what they read, list and say of it is bounded."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from fedcli import wire
from fedcli.errors import UsageError
from fedcli.exchange import layout
from fedcli.exchange.bounds import MAX_APPLICANTS
from fedcli.exchange.records import MAX_MEMBERS, EvaluationRecord
from fedcli.operations.admit import AdmitRequest, admit
from fedcli.operations.archive import ArchiveRequest, archive
from fedcli.operations.export import ExportRequest, export
from fedcli.operations.init import InitRequest, init
from fedcli.party.folder import Folder
from fedcli.party.history.history_reader import read_history
from fedcli.party.source import Source
from tests.fixtures.counting_store import Counting
from tests.fixtures.federation import Federation, begun_by_hand
from tests.fixtures.tampering import forge

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fedcli.exchange.history import History
    from fedcli.party.history.records_read import Reading

SITES = ("ash", "birch", "cedar")
CEDAR = "sites/cedar"


@pytest.fixture
def federation(tmp_path: Path) -> Federation:
    """Three sites, of which cedar attacks; all have sent an update of round 1."""
    made = begun_by_hand(tmp_path / "f", *SITES)
    for site in SITES:
        made.send(site, 1)
    return made


def read_counting(federation: Federation, *, applicants: bool = False) -> tuple[Counting, History, Reading]:
    store = Counting(federation.drop)
    folder = Folder(store, coordinator=federation.fingerprint, cache=federation.root / "cache")
    return (store, *read_history(folder, applicants=applicants))


def an_attack_of_wrong_entries(federation: Federation) -> None:
    record = json.loads((federation.drop / CEDAR / "round-0001/update.json").read_bytes())
    data = json.dumps(record | {"artifacts": [0] * 1_990_000}, separators=(",", ":")).encode()
    forge(federation, f"{CEDAR}/round-0001/update.json", data)


def an_attack_of_small_wrong_entries(federation: Federation) -> None:
    data = json.dumps({"artifacts": [0] * 5000, **dict.fromkeys("abcdefghijklmnopqrstuvwxyz", 0)}).encode()
    forge(federation, f"{CEDAR}/round-0001/update.json", data)


def an_attack_of_links_to_one_record(federation: Federation) -> None:
    """1,500 evaluations that are one file on the disk, each with its own signature."""
    data = b" " * (1 << 20)
    first = layout.evaluation("cedar", 1)
    forge(federation, first, data)
    signature = federation.drop / layout.signature(first, wire.sha256(data))
    for number in range(2, 1501):
        key = layout.evaluation("cedar", number)
        os.link(federation.drop / first, federation.drop / key)
        os.link(signature, federation.drop / layout.signature(key, wire.sha256(data)))


def an_attack_of_junk_files(federation: Federation) -> None:
    (federation.drop / CEDAR / "dataset").mkdir()
    for number in range(9999):
        (federation.drop / f"{CEDAR}/dataset/{number:04d}.json").touch()


def an_attack_of_junk_folders(federation: Federation) -> None:
    for number in range(9999):
        (federation.drop / f"{CEDAR}/round-{number:04d}").mkdir(exist_ok=True)


def an_attack_of_updates_of_later_rounds(federation: Federation) -> None:
    for number in range(2, 500):
        rewrite_as(federation, f"{CEDAR}/round-0001/update.json", layout.update("cedar", number))


def rewrite_as(federation: Federation, source: str, key: str) -> None:
    (federation.drop / key).parent.mkdir(exist_ok=True)
    (federation.drop / key).write_bytes((federation.drop / source).read_bytes())


ATTACKS: dict[str, Callable[[Federation], None]] = {
    name.removeprefix("an_attack_of_"): attack for name, attack in list(globals().items()) if name.startswith("an_attack_of_")
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_reading_and_what_is_said_are_bounded_and_nobody_else_is_concerned(
    federation: Federation, attack: Callable[[Federation], None]
) -> None:
    before, history, _ = read_counting(federation)
    others = {place: update.digest for place, update in history.updates.items() if place[0] != "cedar"}
    attack(federation)
    after, history, reading = read_counting(federation)
    bounds = reading.folder.ledger.bounds
    assert after.requests["listed"] - before.requests["listed"] <= bounds.files
    assert after.requests["read"] - before.requests["read"] <= 4 * bounds.series
    assert after.bytes - before.bytes <= bounds.series * bounds.record_bytes(layout.evaluation("cedar", 1)) < 32 << 20
    assert {place: update.digest for place, update in history.updates.items() if place[0] != "cedar"} == others
    assert {problem.key.split("/")[1] for problem in history.problems} == {"cedar"}
    assert len(history.problems) <= 25
    assert sum(len(problem.message) for problem in history.problems) < 10_000
    said = json.dumps(wire.plain(federation.status())) + json.dumps(wire.plain(federation.verify(replay=False).problems))
    assert len(said) < 40_000


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_the_round_goes_on_without_the_site_at_most(federation: Federation, attack: Callable[[Federation], None]) -> None:
    attack(federation)
    result = federation.aggregate()
    assert set(result.used) >= {"ash", "birch"}
    assert all(rejected.site == "cedar" and len(rejected.reason) < 1000 for rejected in result.rejected)


def test_what_is_ignored_is_counted_in_one_line(federation: Federation) -> None:
    an_attack_of_junk_files(federation)
    _, history, reading = read_counting(federation)
    most = reading.folder.ledger.bounds
    messages = {problem.key: problem.message for problem in history.problems}
    assert messages["sites/cedar/"].endswith(" more records do not verify")
    faults = [problem.message for problem in history.problems if "more than" in problem.message]
    assert faults == [f"sites/cedar: more than {most.files} files and folders, of which the others are ignored"]


def test_an_update_that_a_round_used_is_missed_however_much_else_is_wrong(federation: Federation) -> None:
    federation.aggregate()
    an_attack_of_links_to_one_record(federation)
    key = layout.update("cedar", 1)
    (federation.drop / key).write_bytes(b"{}")
    found = federation.verify()
    assert any(problem.key == key for problem in found.problems)
    assert not found.consistent


def test_a_used_update_hidden_behind_junk_stops_neither_verify_nor_export_nor_archive(
    federation: Federation, tmp_path: Path
) -> None:
    federation.aggregate()
    for site in SITES:
        federation.send(site, 2)
    federation.aggregate()
    for number in range(9999):
        (federation.drop / CEDAR / f"{number:04d}").touch()
    _, history, reading = read_counting(federation)
    assert "cedar" in reading.incomplete
    assert sorted(number for site, number in history.updates if site == "cedar") == [1, 2]
    assert reading.archived == frozenset()
    assert {problem.key for problem in federation.verify().problems} == {"sites/cedar/"}
    export(ExportRequest(source=federation.source(), file=tmp_path / "whole.tar"), federation.environment)
    moved = archive(ArchiveRequest(root=federation.coordinator, file=tmp_path / "old.tar", before=2), federation.environment)
    assert moved.moved == len(SITES)


def test_9999_data_set_records_cost_the_coordinator_few_reads(federation: Federation) -> None:
    an_attack_of_junk_files(federation)
    store = Counting(federation.drop)
    folder = Folder(store, coordinator=federation.fingerprint, cache=federation.root / "cache")
    folder.synchronise()
    store.requests.clear()
    assert list(folder.datasets("cedar")) == list(folder.datasets("cedar", "0" * 64)) == []
    assert store.requests["read"] <= 2 * folder.ledger.bounds.series
    assert store.requests["listed"] <= 2 * folder.ledger.bounds.files


def test_invented_enrolments_cost_nothing_but_where_applicants_are_shown(federation: Federation) -> None:
    before, _, _ = read_counting(federation)
    for number in range(2000):
        folder = federation.drop / f"sites/fake-{number:04d}"
        folder.mkdir()
        (folder / "enrolment-0000.json").write_bytes(b"{}")
    members, history, reading = read_counting(federation)
    assert (members.requests, members.bytes, reading.applicants) == (before.requests, before.bytes, ())
    assert history.problems == ()
    shown, history, reading = read_counting(federation, applicants=True)
    assert len(reading.applicants) <= MAX_APPLICANTS
    assert shown.requests["read"] - members.requests["read"] <= 3 * MAX_APPLICANTS
    (line,) = [problem.message for problem in history.problems if problem.key == "sites/"]
    assert line == f"sites/: more than {MAX_APPLICANTS} folders that are no members'; the others are ignored"


def test_a_real_applicant_is_admitted_by_name_however_many_are_invented(federation: Federation) -> None:
    for number in range(500):
        (federation.drop / f"sites/fake-{number:04d}").mkdir()
    with pytest.raises(UsageError, match=r"^larch: has not enrolled in ") as caught:
        admit(AdmitRequest(root=federation.coordinator, site="larch", fingerprint="SHA256:x"), federation.environment)
    assert len(str(caught.value)) < 30 * (MAX_APPLICANTS + 3)


def test_a_federation_has_at_most_1000_members(federation: Federation, tmp_path: Path) -> None:
    key = federation.site("ash") / "key.pub"
    request = InitRequest(
        root=tmp_path / "c",
        plan=federation.plan,
        source=Source(address=str(tmp_path / "d")),
        sites={f"site-{number:04d}": key for number in range(MAX_MEMBERS + 1)},
    )
    with pytest.raises(UsageError, match=f"^{MAX_MEMBERS + 1} sites, expected at most {MAX_MEMBERS} in one federation$"):
        init(request, federation.environment)


def test_older_evaluations_are_verified_but_not_kept_in_memory(finished: Federation) -> None:
    from fedcli.operations.evaluate import EvaluateRequest, evaluate  # noqa: PLC0415

    evaluate(EvaluateRequest(root=finished.site("north")), finished.environment)
    first = layout.evaluation("north", 1)
    record = wire.decode(EvaluationRecord, (finished.drop / first).read_bytes())
    _, history, reading = read_counting(finished)
    assert history.evaluations["north"].record.scores == record.scores
    assert [item.record.scores for item in reading.records if isinstance(item.record, EvaluationRecord)] == [()]
