"""A file that the reader's account may not read counts as that party's affair: it is named, and everything else goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fedcli import tensors
from fedcli.environment import Environment, now
from fedcli.errors import UnreadableError
from fedcli.exchange import layout
from fedcli.exchange.records import ModelKind, Role
from fedcli.operations.evaluate import EvaluateRequest, evaluate
from fedcli.operations.verify import VerifyRequest, verify
from fedcli.party.source import Source
from fedcli.plan import Aggregation
from fedcli.results import Status
from tests.fixtures.federation import PLAN, Clock, Federation, begun_by_hand
from tests.fixtures.files import UNPRIVILEGED
from tests.fixtures.places import on_sftp
from tests.fixtures.tampering import artifact_path, first_float, swap

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fixtures.places import Place
    from tests.fixtures.servers import Sshd

SITES = ("ash", "birch", "cedar")
PATIENT = Aggregation(quorum=2, deadline_hours=24.0)


@pytest.fixture
def federation(tmp_path: Path) -> Federation:
    """Three sites have sent, just now: `aggregate_unprivileged` goes by this machine's clock."""
    made = Federation(root=tmp_path / "f", by_hand=SITES, plan=replace(PLAN, aggregation=PATIENT), clock=Clock(now())).begin()
    for site in SITES:
        made.send(site, 1)
    return made


@pytest.fixture
def apart(sshd: Sshd) -> Sshd:
    if not sshd.apart:
        pytest.skip("root reads everything: an account for every party needs root and useradd")
    return sshd


def folder_of(place: Place, server: Sshd) -> Path:
    """Return where a place lies on this machine."""
    return server.root / place.address.partition(f":{server.port}/")[2]


def files_of(federation: Federation, site: str) -> dict[str, Path]:
    key = layout.update(site, 1)
    record = federation.drop / key
    return {"record": record, "signature": next(record.parent.glob("*.sig")), "artifact": artifact_path(federation, key)}


@pytest.mark.parametrize("what", ["record", "signature", "artifact"])
def test_an_unreadable_update_is_rejected_by_name_and_the_others_are_used(federation: Federation, what: str) -> None:
    """In a folder on this machine, where updates are folded in place; as a process, since root reads everything."""
    path = files_of(federation, "cedar")[what]
    path.chmod(0)
    done = aggregate_unprivileged(federation)
    key = path.relative_to(federation.drop).as_posix()
    assert done["used"] == ["ash", "birch"]
    assert [(item["site"], item["reason"]) for item in done["rejected"]] == [
        ("cedar", f"{key}: permission denied, in the drop folder {federation.drop}")
    ]
    path.chmod(0o644)
    assert aggregate_unprivileged(federation)["used"] == list(SITES)


def aggregate_unprivileged(federation: Federation) -> dict[str, object]:
    command = [*UNPRIVILEGED, sys.executable, "-m", "fedcli", "aggregate", "-C", str(federation.coordinator), "--json"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("what", ["record", "signature", "artifact"])
def test_over_sftp_too(apart: Sshd, federation: Federation, what: str) -> None:
    place = on_sftp(apart)
    place.take_over(federation.drop, [federation.coordinator])
    key = files_of(federation, "cedar")[what].relative_to(federation.drop).as_posix()
    there = folder_of(place, apart) / key
    there.chmod(0)
    result = federation.aggregate()
    assert result.used == ("ash", "birch")
    (refused,) = result.rejected
    assert (refused.site, refused.reason) == ("cedar", f"{key}: permission denied, in the drop folder {place.address}")
    federation.clock.pass_hours(25)
    closed = federation.aggregate()
    assert (closed.status, closed.used, closed.rejected) == (Status.PUBLISHED, ("ash", "birch"), (refused,))
    found, _ = verify(VerifyRequest(source=Source(address=place.address, options=place.options)), Environment())
    assert [problem.key for problem in found.problems if not problem.key.startswith("sites/cedar/round-0001/")] == []
    assert not found.consistent
    there.chmod(0o644)
    assert verify(VerifyRequest(source=Source(address=place.address, options=place.options)), Environment())[0].consistent


def test_a_late_file_that_cannot_be_read_stops_no_round(apart: Sshd, tmp_path: Path) -> None:
    federation = begun_by_hand(tmp_path / "f", *SITES, aggregation=PATIENT)
    for number, sites in ((1, ("ash", "birch")), (2, SITES)):
        for site in sites:
            federation.send(site, number)
        federation.clock.pass_hours(25)
        if number == 1:
            federation.aggregate()
            federation.send("cedar", 1)
    place = on_sftp(apart)
    place.take_over(federation.drop, [federation.coordinator])
    (folder_of(place, apart) / layout.update("cedar", 1)).chmod(0)
    closed = federation.aggregate()
    assert (closed.status, closed.used, closed.late) == (Status.PUBLISHED, SITES, ())


@pytest.mark.parametrize("what", ["model record", "model", "evaluation"])
def test_an_unreadable_file_of_another_site_stops_nobodys_evaluation(apart: Sshd, finished: Federation, what: str) -> None:
    evaluate(EvaluateRequest(root=finished.site("valley")), finished.environment)
    record = layout.model("valley", 1, ModelKind.FEDERATED)
    model = tensors.read(artifact_path(finished, record))
    model[first_float(model)] += 1  # no model that north has scored already
    swap(finished, record, Role.MODEL, model)
    artifact = artifact_path(finished, record).relative_to(finished.drop).as_posix()
    key = {"model record": record, "model": artifact, "evaluation": layout.evaluation("valley", 1)}[what]
    place = on_sftp(apart)
    place.take_over(finished.drop, [finished.site("north")])
    (folder_of(place, apart) / key).chmod(0)
    result = evaluate(EvaluateRequest(root=finished.site("north")), finished.environment)
    assert result.status is Status.PUBLISHED
    scored = {(score.model.kind, score.model.party) for score in result.scores}
    assert (ModelKind.FEDERATED, "north") in scored
    assert ((ModelKind.FEDERATED, "valley") in scored) == (what == "evaluation")
    refused = [
        item for item in result.missing if item.startswith(f"the federated model of valley is rejected: {key}: permission")
    ]
    assert len(refused) == (what == "model")
    assert ("the evaluation of valley" in result.missing) == (what == "evaluation")


def test_what_the_coordinator_itself_has_published_must_be_readable(apart: Sshd, finished: Federation) -> None:
    place = on_sftp(apart)
    place.take_over(finished.drop, [finished.site("north")])
    key = layout.round_record(2)
    (folder_of(place, apart) / key).chmod(0)
    with pytest.raises(UnreadableError, match=f"^{key}: permission denied, in the drop folder {place.address}") as caught:
        finished.train("north")
    assert "fedcli access" in caught.value.hint
