"""Sites that stay away, come late, send twice, are rejected or come back: nobody else waits for them, and nothing is silent."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from fedcli import wire
from fedcli.exchange import layout
from fedcli.exchange.records import Rejected, RoundRecord
from fedcli.party.history.newest_rounds import UpdateState
from fedcli.plan import Aggregation
from fedcli.results import Status
from tests.fixtures.command import succeed
from tests.fixtures.federation import PLAN, Federation, begun_by_hand
from tests.fixtures.tampering import artifact_path, rewrite

if TYPE_CHECKING:
    from pathlib import Path

SEVEN = ("ash", "birch", "cedar", "elm", "fir", "oak", "yew")
THREE = ("ash", "birch", "cedar")
PATIENT = Aggregation(quorum=2, deadline_hours=24.0)


def three(root: Path, settings: Aggregation = PATIENT, rounds: int = 5) -> Federation:
    return begun_by_hand(root / "f", *THREE, aggregation=settings, rounds=rounds)


def close(federation: Federation, number: int, *sites: str) -> RoundRecord:
    """Close a round in which only these sites send, once its deadline has passed."""
    for site in sites:
        federation.send(site, number)
    federation.clock.pass_hours(25)
    assert federation.aggregate().status is Status.PUBLISHED
    return federation.record(number)


# ---------------------------------------------------------------------------------------------- the deadline of a round


def test_by_default_the_coordinator_waits_for_all_however_long(tmp_path: Path) -> None:
    federation = three(tmp_path, Aggregation())
    federation.send("ash", 1)
    federation.send("birch", 1)
    federation.clock.pass_hours(24 * 365)
    result = federation.aggregate()
    assert (result.status, result.absent, result.deadline) == (Status.WAITING, ("cedar",), None)
    assert result.message.startswith("round 1: 2 of 3 sites; absent: cedar; waiting for all sites; ")


def test_the_first_deadline_starts_with_the_members_given_to_init(tmp_path: Path) -> None:
    federation = three(tmp_path)
    deadline = federation.clock() + timedelta(hours=24)
    federation.send("ash", 1)
    federation.send("birch", 1)
    federation.clock.pass_hours(23)
    waiting = federation.aggregate()
    assert (waiting.status, waiting.deadline) == (Status.WAITING, deadline)
    assert (
        waiting.message
        == f"round 1: 2 of 3 sites; absent: cedar; waiting for all sites until {deadline:%Y-%m-%d %H:%M} UTC, then for at least 2"
    )
    federation.clock.pass_hours(1)
    closed = federation.aggregate()
    assert (closed.status, closed.used, closed.absent) == (Status.PUBLISHED, ("ash", "birch"), ("cedar",))
    assert closed.deadline == federation.clock() + timedelta(hours=24)  # of round 2
    assert federation.verify().verified


def test_the_first_deadline_starts_once_the_last_site_is_admitted(tmp_path: Path, prepared: dict[str, Path]) -> None:
    plan = replace(PLAN, aggregation=Aggregation(quorum=1, deadline_hours=24.0))
    federation = Federation(root=tmp_path / "f", prepared={"north": prepared["north"]}, plan=plan).begin()
    federation.clock.pass_hours(20)
    federation.prepared = prepared
    federation.join("valley")
    deadline = federation.clock() + timedelta(hours=24)
    federation.train("north")
    federation.clock.pass_hours(23)
    assert (federation.aggregate().status, federation.aggregate().deadline) == (Status.WAITING, deadline)
    seen = federation.status()
    assert (seen.deadline, seen.overdue, seen.awaited) == (deadline, False, ("valley",))
    federation.clock.pass_hours(1)
    assert federation.status().overdue
    closed = federation.aggregate()
    assert (closed.status, closed.used, closed.absent) == (Status.PUBLISHED, ("north",), ("valley",))


def test_below_the_quorum_the_deadline_changes_nothing(tmp_path: Path) -> None:
    federation = three(tmp_path)
    federation.send("ash", 1)
    federation.clock.pass_hours(100)
    result = federation.aggregate()
    assert result.status is Status.WAITING
    assert "1 of 3 sites; absent: birch, cedar; the deadline has passed; waiting for at least 2; " in result.message


def test_the_summary_names_everybody(tmp_path: Path) -> None:
    federation = begun_by_hand(tmp_path / "f", *SEVEN, aggregation=Aggregation(quorum=5, deadline_hours=24.0))
    for site in SEVEN[:6]:
        federation.send(site, 1)
    rewrite(federation, layout.update("fir", 1), steps=2_000_000)
    federation.clock.pass_hours(24)
    result = federation.aggregate()
    why = f"{layout.update('fir', 1)}: 2000000 steps, expected at most 1000000"
    assert result.message == f"round 1 of 3 is published: 5 of 7 sites; absent: yew; rejected: fir ({why})"
    record = federation.record(1)
    assert [item.site for item in record.contributions] == ["ash", "birch", "cedar", "elm", "oak"]
    assert (record.absent, record.rejected) == (("yew",), (Rejected(site="fir", update=None, reason=why),))


# ------------------------------------------------------------------------------------------------------------- absences


def test_a_site_that_stays_away_is_named_in_every_round_and_stops_none(tmp_path: Path) -> None:
    federation = three(tmp_path)
    for number in (1, 2, 3):
        record = close(federation, number, "ash", "birch")
        assert (record.absent, record.rejected, record.late) == (("cedar",), (), ())
    found = federation.verify()
    assert (found.verified, found.replayed) == (True, 3)


def test_a_late_update_is_kept_and_named_once_and_never_used(tmp_path: Path) -> None:
    federation = three(tmp_path)
    close(federation, 1, "ash", "birch")
    federation.send("cedar", 1)
    digest = wire.sha256((federation.drop / layout.update("cedar", 1)).read_bytes())
    path = artifact_path(federation, layout.update("cedar", 1))
    second = close(federation, 2, "ash", "birch")
    assert [(item.site, item.round, item.update) for item in second.late] == [("cedar", 1, digest)]
    assert second.absent == ("cedar",)
    assert close(federation, 3, "ash", "birch", "cedar").late == ()
    for number in (1, 2):
        assert "cedar" not in {item.site for item in federation.record(number).contributions}
    assert "cedar" in {item.site for item in federation.record(3).contributions}
    assert path.exists()
    found = federation.verify()
    assert (found.verified, found.replayed, found.unaccounted) == (True, 3, ())


def test_a_late_update_that_is_forged_is_not_even_named(tmp_path: Path) -> None:
    federation = three(tmp_path)
    close(federation, 1, "ash", "birch")
    federation.send("cedar", 1)
    rewrite(federation, layout.update("cedar", 1), signer="ash")
    assert close(federation, 2, "ash", "birch").late == ()


def test_a_rejected_site_is_told_why_and_joins_again_in_the_next_round(tmp_path: Path) -> None:
    federation = three(tmp_path)
    federation.send("cedar", 1, steps=1_000_001)
    first = close(federation, 1, "ash", "birch")
    assert [(item.site, item.reason) for item in first.rejected] == [
        ("cedar", f"{layout.update('cedar', 1)}: 1000001 steps, expected at most 1000000")
    ]
    told = federation.status().matrix[1].sites[2]
    assert (told.site, told.standing, told.reason) == ("cedar", UpdateState.REJECTED, first.rejected[0].reason)
    for site in THREE:
        federation.send(site, 2)
    assert federation.aggregate().used == THREE  # before the deadline: all are in
    assert (federation.record(2).rejected, federation.record(2).late) == ((), ())


# -------------------------------------------------------------------------------------------------------- sending twice


def test_a_second_update_before_the_round_is_closed_counts_once(tmp_path: Path) -> None:
    """A site that writes over its own record: what lies there at the end is the one that is used."""
    federation = three(tmp_path)
    for site in THREE:
        federation.send(site, 1)
    rewrite(federation, layout.update("cedar", 1), steps=9)
    assert federation.aggregate().used == THREE
    assert [item.steps for item in federation.record(1).contributions if item.site == "cedar"] == [9]
    assert federation.verify().verified


def test_a_second_update_after_the_round_is_seen_by_anybody_and_changes_nothing(tmp_path: Path) -> None:
    federation = three(tmp_path)
    federation.run(1)
    used, model = federation.record(1), federation.model(1)
    rewrite(federation, layout.update("cedar", 1), steps=9)
    found = federation.verify()
    digest = next(item.update for item in used.contributions if item.site == "cedar")[:12]
    assert not found.consistent
    assert any(
        problem.key == layout.update("cedar", 1) and f"expected {digest}, which round 1 used" in problem.message
        for problem in found.problems
    )
    federation.run(1)
    assert federation.record(1) == used
    assert all((federation.model(1)[name] == value).all() for name, value in model.items())
    assert federation.record(2).late == ()


# ----------------------------------------------------------------------------------------------------------- coming back


def test_a_site_that_comes_back_after_ten_rounds_goes_on_from_the_newest_model(tmp_path: Path, prepared: dict[str, Path]) -> None:
    plan = replace(PLAN, rounds=12, aggregation=Aggregation(quorum=1, deadline_hours=24.0))
    federation = Federation(root=tmp_path / "f", prepared=prepared, plan=plan).begin()
    federation.train()
    assert federation.aggregate().used == ("north", "valley")
    for _ in range(10):
        federation.train("north")
        federation.clock.pass_hours(25)
        assert federation.aggregate().absent == ("valley",)
    (back,) = federation.train("valley")
    assert (back.status, back.round) == (Status.PUBLISHED, 12)
    assert federation.update("valley", 12).parent == wire.sha256((federation.drop / layout.round_record(11)).read_bytes())
    assert not list(federation.drop.glob("sites/valley/round-000[2-9]"))  # it makes up for nothing
    federation.train("north")
    assert federation.aggregate().used == ("north", "valley")
    found = federation.verify()
    assert (found.verified, found.replayed) == (True, 12)
    assert {result.status for result in federation.train()} == {Status.FINISHED}


def test_an_excused_site_sends_late_and_is_named_then(tmp_path: Path) -> None:
    federation = begun_by_hand(tmp_path / "f", "a", "b")
    federation.send("a", 1)
    federation.aggregate(b="on leave")
    record = federation.record(1)
    assert [(item.site, item.reason) for item in record.excused] == [("b", "on leave")]
    assert (record.absent, record.rejected, b'"excused"' in (federation.drop / layout.round_record(1)).read_bytes()) == (
        (),
        (),
        True,
    )
    federation.send("b", 1)
    federation.run(1)
    assert [(item.site, item.round) for item in federation.record(2).late] == [("b", 1)]
    assert b'"excused"' not in (federation.drop / layout.round_record(2)).read_bytes()
    assert federation.verify().verified


def test_an_update_that_has_arrived_is_rejected_when_its_site_is_left_out(tmp_path: Path) -> None:
    federation = begun_by_hand(tmp_path / "f", "a", "b")
    federation.send("a", 1)
    federation.send("b", 1)
    federation.aggregate(b="its labels were wrong")
    digest = wire.sha256((federation.drop / layout.update("b", 1)).read_bytes())
    assert [(item.site, item.update, item.reason) for item in federation.record(1).rejected] == [
        ("b", digest, "its labels were wrong")
    ]
    assert federation.record(1).excused == ()


def test_leaving_sites_out_below_the_quorum_needs_the_option(tmp_path: Path) -> None:
    federation = begun_by_hand(tmp_path / "f", "a", "b", "c", aggregation=PATIENT)
    federation.send("a", 1)
    waiting = federation.aggregate(b="away", c="away")
    assert waiting.status is Status.WAITING
    assert "below the plan's quorum of 2" in waiting.message
    assert waiting.message.endswith("--without b --without c --reason TEXT --below-quorum`")
    assert federation.aggregate(b="away", c="away", below_quorum=True).message.endswith("; below the plan's quorum of 2")
    federation.send("a", 2)
    federation.send("b", 2)
    assert federation.aggregate(c="away").status is Status.PUBLISHED


def test_the_command_takes_the_option(tmp_path: Path) -> None:
    federation = begun_by_hand(tmp_path / "f", "a", "b", "c", aggregation=PATIENT)
    federation.send("a", 1)
    words = ("aggregate", "-C", federation.coordinator, "--without", "b", "--without", "c", "--reason", "away")
    assert succeed(*words)["status"] == "waiting"
    closed = succeed(*words, "--below-quorum")
    assert (closed["status"], [item["site"] for item in closed["excused"]]) == ("published", ["b", "c"])
