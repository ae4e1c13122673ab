"""Where a federation stands: who is in, who is awaited and since when, and what each of them types."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fedcli.errors import UsageError
from fedcli.exchange import layout
from fedcli.exchange.ledger import Ledger
from fedcli.operations.admit import AdmitRequest, admit
from fedcli.operations.approve import ApproveRequest, approve
from fedcli.operations.evaluate import EvaluateRequest, evaluate
from fedcli.operations.join import JoinRequest, inspect, join
from fedcli.operations.remove import RemoveRequest, remove
from fedcli.operations.rotate_key import RotateKeyRequest, rotate_key
from fedcli.operations.status.overview import StatusRequest, status
from fedcli.operations.train_round import TrainRoundRequest, train_round
from fedcli.party.history.newest_rounds import NUM_ROUNDS, UpdateState, newest_rounds
from fedcli.party.source import Source
from fedcli.plan import Aggregation, Plan
from fedcli.results import Status
from fedcli.workspace import Workspace
from tests.fixtures.federation import PLAN, Federation, Listener
from tests.fixtures.history import HandmadeHistory

if TYPE_CHECKING:
    from fedcli.operations.status.federation_state import StatusResult
    from fedcli.party.history.newest_rounds import MemberRound, RoundRow


def seen(federation: Federation, party: str | None = None) -> StatusResult:
    """Return the status as a party sees it from its workspace, or as anybody sees it who knows the address."""
    return federation.status(party or "")


def part(row: RoundRow, site: str) -> MemberRound:
    return next(item for item in row.sites if item.site == site)


def standings(row: RoundRow) -> dict[str, UpdateState]:
    return {item.site: item.standing for item in row.sites}


def with_deadline(root: Path, prepared: dict[str, Path], quorum: int) -> Federation:
    """Return a federation whose second round is open for 24 hours."""
    plan = replace(PLAN, aggregation=Aggregation(quorum=quorum, deadline_hours=24))
    federation = Federation(root=root / "f", prepared=prepared, plan=plan).begin()
    federation.train()
    federation.aggregate()
    return federation


def damage(federation: Federation, site: str, number: int) -> None:
    path = federation.drop / layout.update(site, number)
    path.write_bytes(path.read_bytes().replace(site.encode(), b"x" * len(site), 1))


# ------------------------------------------------------------------------------------------------------ rounds × sites


def test_who_is_in_and_who_is_awaited_since_when(begun: Federation) -> None:
    opened = begun.clock()
    begun.train("north")
    begun.clock.pass_hours(3)
    found = seen(begun)
    initial, row = found.matrix
    assert (initial.round, initial.created, initial.sites) == (0, opened, ())
    assert (row.round, row.created, row.kappa) == (1, None, None)
    assert standings(row) == {"north": UpdateState.IN, "valley": UpdateState.AWAITED}
    assert part(row, "north").kappa == found.sites[0].last_kappa
    assert part(row, "north").since is None
    assert part(row, "valley").since == opened
    assert (found.open_round, found.awaited, found.deadline, found.overdue) == (1, ("valley",), None, False)


def test_a_site_that_came_later_is_awaited_since_its_admission(begun: Federation) -> None:
    begun.clock.pass_hours(5)
    begun.prepared = {**begun.prepared, "late-comer": begun.prepared["north"]}
    begun.join("late-comer")
    row = seen(begun).matrix[-1]
    assert part(row, "late-comer").since == part(row, "north").since + timedelta(hours=5)


def test_absent_then_late(tmp_path: Path, prepared: dict[str, Path]) -> None:
    federation = with_deadline(tmp_path, prepared, quorum=1)
    federation.train("north")
    elsewhere = federation.copy(tmp_path / "elsewhere")
    federation.clock.pass_hours(25)
    federation.aggregate()
    assert standings(seen(federation).matrix[2]) == {"north": UpdateState.IN, "valley": UpdateState.ABSENT}
    elsewhere.train("valley")
    shutil.copytree(elsewhere.drop / "sites/valley", federation.drop / "sites/valley", dirs_exist_ok=True)
    late = part(seen(federation).matrix[2], "valley")
    assert late.standing is UpdateState.LATE
    assert late.kappa == seen(elsewhere).sites[1].last_kappa


def test_left_out_with_a_reason(begun: Federation) -> None:
    begun.train("north")
    begun.aggregate(valley="its scanner is being moved")
    found = part(seen(begun).matrix[1], "valley")
    assert (found.standing, found.reason) == (UpdateState.EXCUSED, "its scanner is being moved")


def test_a_member_of_today_was_outside_before(trained: Federation) -> None:
    trained.aggregate()
    trained.prepared = {**trained.prepared, "late-comer": trained.prepared["north"]}
    trained.join("late-comer")
    _, first, second = seen(trained).matrix
    assert part(first, "late-comer").standing is UpdateState.OUTSIDE
    assert part(second, "late-comer").standing is UpdateState.AWAITED


@pytest.mark.parametrize("closed", [0, 1, NUM_ROUNDS - 2, NUM_ROUNDS - 1, NUM_ROUNDS, 40])
def test_only_the_newest_rounds_are_shown(closed: int) -> None:
    build = HandmadeHistory(("east",), Plan(name="long", rounds=40))
    for _ in range(closed + 1):
        build.round(absent=("east",))
    ledger = Ledger(None)
    ledger.federations.extend(build.history.federations)
    opened = closed + 1 if closed < 40 else None
    rows = [row.round for row in newest_rounds(ledger, build.history, ("east",), opened)]
    last = opened or closed
    assert rows == list(range(max(0, last - NUM_ROUNDS + 1), last + 1))


# ---------------------------------------------------------------------------------------------------------- whose turn


def test_sites_then_coordinator(begun: Federation) -> None:
    assert seen(begun).message == "Turn of north, valley: fedcli train-round -C WORKSPACE"
    north = begun.site("north")
    assert seen(begun, "north").message == (
        f"Your turn: fedcli train-round -C {north}; turn of valley: fedcli train-round -C WORKSPACE"
    )
    assert seen(begun, "coordinator").message == "Turn of north, valley: fedcli train-round -C WORKSPACE"
    begun.train()
    assert seen(begun).message == "The coordinator's turn: fedcli aggregate -C WORKSPACE"
    (turn,) = seen(begun, "coordinator").turns
    assert (turn.parties, turn.command) == (("coordinator",), f"fedcli aggregate -C {begun.coordinator}")
    assert seen(begun, "coordinator").message == f"Your turn: fedcli aggregate -C {begun.coordinator}"
    begun.aggregate()
    assert seen(begun).round == 1


def test_a_held_update_waits_for_its_person(begun: Federation) -> None:
    north = begun.site("north")
    train_round(TrainRoundRequest(root=north, review=True), begun.environment)
    own = f"Your turn, the update is held until you agree: fedcli train-round -C {north} --review; "
    assert seen(begun, "north").message == f"{own}turn of valley: fedcli train-round -C WORKSPACE"
    assert seen(begun, "valley").message.endswith("turn of north: fedcli train-round -C WORKSPACE")
    assert seen(begun).message == "Turn of north, valley: fedcli train-round -C WORKSPACE"
    train_round(TrainRoundRequest(root=north, review=True, reviewer=lambda _: True), begun.environment)
    assert seen(begun, "north").message == "Turn of valley: fedcli train-round -C WORKSPACE"


def test_in_its_own_workspace_a_party_types_no_option(begun: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(begun.site("valley"))
    assert status(StatusRequest(source=Source.of_workspace(Workspace.open(Path()))), begun.environment).message.startswith(
        "Your turn: fedcli train-round; "
    )


def test_a_workspace_with_a_space_is_quoted(begun: Federation, tmp_path: Path) -> None:
    root = tmp_path / "my work"
    begun.site("north").rename(root)
    source = Source.of_workspace(Workspace.open(root))
    (turn, _) = status(StatusRequest(source=source), begun.environment).turns
    assert shlex.split(turn.command) == ["fedcli", "train-round", "-C", str(root)]


def test_an_applicant_stops_nobody_else(begun: Federation) -> None:
    request = JoinRequest(root=begun.site("third"), site="third", invitation=inspect(begun.source()))
    join(request, begun.environment)
    found = seen(begun)
    assert found.applicants == ("third",)
    assert found.message == (
        "The coordinator's turn: fedcli admit -C WORKSPACE third; turn of north, valley: fedcli train-round -C WORKSPACE"
    )


def test_a_removed_site_does_not_apply(begun: Federation) -> None:
    remove(RemoveRequest(root=begun.coordinator, site="valley"), begun.environment)
    found = seen(begun)
    assert (found.applicants, found.awaited) == ((), ("north",))
    assert found.message == "Turn of north: fedcli train-round -C WORKSPACE"


def test_a_removed_site_is_told_since_when_and_why(begun: Federation) -> None:
    remove(RemoveRequest(root=begun.coordinator, site="valley", reason="left the study"), begun.environment)
    told = "valley was removed from the federation, from round 1 on (left the study)"
    assert seen(begun, "valley").message.startswith(f"{told}. Turn of north: ")
    (result,) = begun.train("valley")
    assert (result.status, result.message) == (Status.WAITING, f"{told}; ask the coordinator, who can admit it again")
    with pytest.raises(UsageError, match=r"removed from the federation, from round 1 on \(left the study\)"):
        evaluate(EvaluateRequest(root=begun.site("valley")), begun.environment)


def test_a_new_key_waits_for_the_coordinator(begun: Federation) -> None:
    rotated = rotate_key(RotateKeyRequest(root=begun.site("valley")), begun.environment)
    waiting = seen(begun, "coordinator")
    assert (waiting.applicants, waiting.renewed) == ((), ("valley",))
    assert waiting.turns[0].command == f"fedcli admit -C {begun.coordinator} valley"
    admit(AdmitRequest(root=begun.coordinator, site="valley", fingerprint=rotated.fingerprint), begun.environment)
    assert seen(begun, "coordinator").renewed == ()


def test_a_changed_plan_is_approved_first(trained: Federation) -> None:
    trained.aggregate()
    plan = replace(PLAN, training=replace(PLAN.training, rate=2e-3))
    trained.amend(plan)
    steps = "fedcli approve -C WORKSPACE && fedcli train-round -C WORKSPACE"
    assert seen(trained).message == f"Turn of north, valley: {steps}"
    north = trained.site("north")
    assert seen(trained, "north").turns[0].command == f"fedcli approve -C {north} && fedcli train-round -C {north}"
    approve(ApproveRequest(root=north, digest=plan.digest), trained.environment)
    trained.train("north")
    assert seen(trained).message == f"Turn of valley: {steps}"


def test_before_any_site_has_joined(tmp_path: Path) -> None:
    federation = Federation(root=tmp_path / "f", prepared={}).begin()
    assert seen(federation).message == (
        f"No site has joined yet: fedcli join SITE -C WORKSPACE --drop {federation.drop} --coordinator-key FINGERPRINT"
    )


def test_with_an_applicant_and_no_member_there_is_nothing_to_aggregate(tmp_path: Path) -> None:
    federation = Federation(root=tmp_path / "f", prepared={}).begin()
    request = JoinRequest(root=federation.site("first"), site="first", invitation=inspect(federation.source()))
    join(request, federation.environment)
    assert seen(federation).message == "The coordinator's turn: fedcli admit -C WORKSPACE first"


def test_after_the_deadline_a_quorum_suffices(tmp_path: Path, prepared: dict[str, Path]) -> None:
    federation = with_deadline(tmp_path, prepared, quorum=1)
    federation.train("north")
    before = seen(federation)
    assert (before.deadline, before.overdue) == (federation.clock() + timedelta(hours=24), False)
    assert [turn.parties for turn in before.turns] == [("valley",)]
    federation.clock.pass_hours(24)
    after = seen(federation)
    assert after.overdue
    assert after.message == (
        "The coordinator's turn: fedcli aggregate -C WORKSPACE; turn of valley: fedcli train-round -C WORKSPACE"
    )
    assert federation.aggregate().status is Status.PUBLISHED


def test_after_the_deadline_without_a_quorum_the_coordinator_may_name_who_is_left_out(
    tmp_path: Path, prepared: dict[str, Path]
) -> None:
    federation = with_deadline(tmp_path, prepared, quorum=2)
    federation.clock.pass_hours(25)
    assert [turn.parties for turn in seen(federation).turns] == [("north", "valley")]
    federation.train("north")
    command = "fedcli aggregate -C WORKSPACE --without valley --reason TEXT --below-quorum"
    assert seen(federation).turns[0].command == command
    assert federation.aggregate().message.endswith(f"{command.replace('WORKSPACE', str(federation.coordinator))}`")
    waiting = federation.aggregate(valley="TEXT")
    assert waiting.status is Status.WAITING
    assert "that is below the plan's quorum of 2" in waiting.message
    assert waiting.message.endswith(f"{command.replace('WORKSPACE', str(federation.coordinator))}`")
    closed = federation.aggregate(below_quorum=True, valley="TEXT")
    assert closed.status is Status.PUBLISHED
    assert closed.message.endswith("below the plan's quorum of 2")


def test_an_update_that_does_not_verify_is_not_awaited_again(trained: Federation) -> None:
    damage(trained, "valley", 1)
    found = seen(trained)
    refused = part(found.matrix[-1], "valley")
    assert refused.standing is UpdateState.REJECTED
    assert layout.update("valley", 1) in refused.reason
    assert found.awaited == ()
    assert [turn.command for turn in found.turns] == ["fedcli aggregate -C WORKSPACE --without valley --reason TEXT"]
    assert found.message.startswith(
        f"1 problem, first in {layout.update('valley', 1)}: fedcli verify {trained.drop} --coordinator-key FINGERPRINT. "
        "The coordinator's turn: "
    )
    assert trained.aggregate(valley="TEXT").status is Status.PUBLISHED


def test_at_the_end_all_evaluate_until_every_model_is_scored(finished: Federation) -> None:
    commands = (
        "train-round -C WORKSPACE",
        "finetune -C WORKSPACE --from initial",
        "finetune -C WORKSPACE",
        "evaluate -C WORKSPACE",
    )
    steps = " && ".join(f"fedcli {command}" for command in commands)
    found = seen(finished)
    assert (found.status, found.open_round, found.awaited) == (Status.FINISHED, None, ())
    assert found.message == f"All rounds are done. Turn of north, valley: {steps}"
    evaluate(EvaluateRequest(root=finished.site("north")), finished.environment)
    assert seen(finished).message == f"All rounds are done. Turn of valley: {steps}"
    evaluate(EvaluateRequest(root=finished.site("valley")), finished.environment)
    assert seen(finished, "north").message == f"All rounds are done. Your turn: fedcli evaluate -C {finished.site('north')}"
    evaluate(EvaluateRequest(root=finished.site("north")), finished.environment)
    ending = f"fedcli report {finished.drop} --out report --coordinator-key FINGERPRINT"
    assert seen(finished).message == f"All rounds are done. Every site has evaluated: {ending}"
    assert seen(finished, "valley").message.endswith(f"fedcli report -C {finished.site('valley')} --out report")


def test_a_clock_that_is_behind_is_named_and_stops_nobody(trained: Federation) -> None:
    """The coordinator's clock went back by three hours: round 1 is dated before round 0, and everyone is told."""
    assert trained.status().dates == ()
    trained.clock.pass_hours(-3)
    assert any("coordinator is dated 3 h after now, by this machine's clock" in sentence for sentence in trained.status().dates)
    trained.progress = Listener()
    assert trained.aggregate().status is Status.PUBLISHED
    assert "this machine's clock is 3 h behind the record of round 0" in trained.progress.events
    trained.clock.pass_hours(3)
    assert [sentence.partition(":")[0] for sentence in trained.status().dates] == [
        "round 1 is dated 3 h before the round before it"
    ]
    assert trained.verify().dates == trained.status().dates
