"""Each of the eight notices, as the party that it concerns sees it, and when it holds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fedcli.errors import StoreError
from fedcli.operations.approve import ApproveRequest, approve
from fedcli.operations.join import JoinRequest, inspect, join
from fedcli.operations.remove import RemoveRequest, remove
from fedcli.operations.status.lasting_notices import Viewpoint
from fedcli.operations.status.notify import NotifyRequest, notify
from fedcli.operations.status.overview import observe
from fedcli.operations.train_round import TrainRoundRequest, train_round
from fedcli.plan import Aggregation
from fedcli.workspace import Workspace
from tests.fixtures.federation import PLAN, Federation, begun_by_hand
from tests.fixtures.receivers import Appending
from tests.operations.test_status import damage

if TYPE_CHECKING:
    from pathlib import Path

    from fedcli.notices.notice import Notice

LOG: list[str] = []


def seen(federation: Federation, party: str, command: str = "") -> list[Notice]:
    """Return what holds for a party; reading only the newest updates changes nothing."""
    workspace = Workspace.open(federation.root / party) if party else None
    found = []
    for newest in (False, True):
        state, ledger = observe(federation.source(party), federation.environment, newest=newest)
        viewpoint = Viewpoint(state=state, ledger=ledger, workspace=workspace, moment=federation.clock(), command=command)
        found.append(list(viewpoint.notices()))
    assert found[0] == found[1]
    return found[0]


def kinds(federation: Federation, party: str, command: str = "") -> list[str]:
    return [notice.kind.value for notice in seen(federation, party, command)]


def texts(federation: Federation, party: str, command: str = "") -> list[str]:
    return [notice.text for notice in seen(federation, party, command)]


def test_round_open_and_your_turn(begun: Federation) -> None:
    train = f"fedcli train-round -C {begun.site('north')}"
    assert texts(begun, "north") == [f"your turn: round 1 waits for you: {train}", "round open: round 1 of 2 is open"]
    assert kinds(begun, "north", "train-round") == ["round open"]
    assert kinds(begun, "coordinator") == ["round open"]
    begun.train()
    assert kinds(begun, "north") == ["round open"]
    assert kinds(begun, "coordinator") == ["your turn", "round open"]
    assert kinds(begun, "coordinator", "aggregate") == ["round open"]
    assert kinds(begun, "") == []


def test_a_held_update_is_your_turn_also_after_train_round(begun: Federation) -> None:
    north = begun.site("north")
    train_round(TrainRoundRequest(root=north, review=True), begun.environment)
    assert texts(begun, "north", "train-round")[0] == (
        f"your turn: the update is held until you agree: fedcli train-round -C {north} --review"
    )


def test_overdue_without_a_deadline_after_three_days_or_what_the_settings_say(begun: Federation) -> None:
    begun.train("north")
    begun.clock.pass_hours(71.9)
    assert "overdue" not in kinds(begun, "coordinator")
    begun.clock.pass_hours(0.1)
    assert texts(begun, "coordinator")[0] == "overdue: round 1 has been open for 3 days, and waits for valley"
    assert texts(begun, "valley")[0] == (
        f"overdue: round 1 has been open for 3 days, and waits for you: fedcli train-round -C {begun.site('valley')}"
    )
    assert "overdue" not in kinds(begun, "north")
    assert texts(begun, "")[0] == "overdue: round 1 has been open for 3 days, and waits for valley"
    path = begun.coordinator / "workspace.toml"
    path.write_text(path.read_text() + "[notify]\noverdue_hours = 72.5\n")
    assert "overdue" not in kinds(begun, "coordinator")
    begun.train("valley")
    begun.clock.pass_hours(1)
    assert texts(begun, "coordinator")[0].startswith("overdue: round 1 has been open for 3 days, and waits for the coordinator")


def test_overdue_from_the_deadline_on(tmp_path: Path, prepared: dict[str, Path]) -> None:
    plan = replace(PLAN, aggregation=Aggregation(quorum=2, deadline_hours=100))
    federation = Federation(root=tmp_path / "f", prepared=prepared, plan=plan).begin()
    federation.train("north")
    federation.clock.pass_hours(99)
    assert "overdue" not in kinds(federation, "coordinator")
    federation.clock.pass_hours(2)
    assert texts(federation, "coordinator")[0].startswith(
        "overdue: the deadline of round 1 passed 60 min ago, and waits for valley"
    )
    assert texts(federation, "valley")[0].startswith("overdue: the deadline of round 1 passed 60 min ago, and waits for you")
    assert "overdue" not in kinds(federation, "north")


def test_rejected_is_told_to_the_site_and_the_coordinator(trained: Federation) -> None:
    damage(trained, "valley", 1)
    notice = next(item for item in seen(trained, "valley") if item.kind.value == "rejected")
    assert (notice.round, notice.stops) == (1, True)
    assert notice.message.startswith("your update of round 1 is rejected: sites/valley/round-0001/update.json")
    assert "rejected" not in kinds(trained, "north")
    trained.aggregate(valley="it was damaged")
    closed = next(item for item in seen(trained, "coordinator") if item.kind.value == "rejected")
    assert closed.message.startswith("the update of valley of round 1 is rejected: ")
    own = next(item for item in seen(trained, "valley") if item.kind.value == "rejected")
    assert (own.key, own.stops) == (notice.key, False)


def test_plan_changed_until_it_is_approved(begun: Federation) -> None:
    changed = replace(PLAN, training=replace(PLAN.training, rate=1e-4))
    begun.amend(changed)
    first = seen(begun, "north")[0]
    assert first.text == (
        f"plan changed: from round 1 on, the plan is {changed.digest[:12]}, which you have not approved: "
        f"fedcli approve -C {begun.site('north')}"
    )
    assert first.stops
    assert kinds(begun, "north") == ["plan changed", "round open"]
    assert "plan changed" not in kinds(begun, "coordinator")
    approve(ApproveRequest(root=begun.site("north"), digest=changed.digest), begun.environment)
    assert "plan changed" not in kinds(begun, "north")


def test_a_plan_that_comes_later_stops_nobody_yet(trained: Federation) -> None:
    changed = replace(PLAN, training=replace(PLAN.training, rate=1e-4))
    trained.amend(changed)
    first = seen(trained, "north")[0]
    assert (first.kind.value, first.round, first.stops) == ("plan changed", 2, False)


def test_key_waiting(begun: Federation) -> None:
    join(JoinRequest(root=begun.site("third"), site="third", invitation=inspect(begun.source())), begun.environment)
    assert texts(begun, "coordinator")[0] == f"key waiting: third wants to join: fedcli admit -C {begun.coordinator} third"
    assert kinds(begun, "coordinator") == ["key waiting", "round open"]
    assert "key waiting" not in kinds(begun, "north")


def test_finished_and_the_last_steps(finished: Federation) -> None:
    assert texts(finished, "north") == [
        f"your turn: the federation waits for you: {finished.status('north').turns[0].command}",
        "finished: all 2 rounds are done",
    ]
    assert kinds(finished, "coordinator") == ["finished"]


def test_a_removed_site_is_stopped(begun: Federation) -> None:
    remove(RemoveRequest(root=begun.coordinator, site="valley", reason="left the study"), begun.environment)
    (notice,) = seen(begun, "valley")
    assert (notice.kind.value, notice.stops) == ("failed", True)
    assert notice.message == "valley was removed from the federation, from round 1 on (left the study)"


def test_records_that_do_not_verify_stop_everybody(trained: Federation) -> None:
    trained.aggregate()
    path = trained.drop / "coordinator/round-0001/round.json"
    path.write_bytes(path.read_bytes().replace(b"north", b"n0rth", 1))
    for party in ("", "coordinator"):
        first = seen(trained, party)[0]
        assert (first.kind.value, first.stops) == ("failed", True)


def test_failed(begun: Federation) -> None:
    receiver = Appending(begun.root)
    path = begun.site("north") / "workspace.toml"
    path.write_text(path.read_text() + receiver.setting)
    for error, expected in (
        (StoreError("no answer for 61 s"), (True, ["failed"])),
        (StoreError("no answer for 62 s"), (False, ["failed"])),
        (ValueError("P_00173 is odd"), (True, ["failed", "failed", "round open"])),
    ):
        request = NotifyRequest(root=begun.site("north"), command="train-round", idle=False, failure=error)
        notification = notify(request, begun.environment, LOG.append)
        assert (notification.failure, receiver.kinds) == expected
    assert [notice["message"] for notice in receiver.notices[:2]] == [
        "train-round: no answer for 61 s",
        "train-round: ValueError, which fedcli cannot explain",
    ]


def test_idle_runs_look_once_an_hour(begun: Federation) -> None:
    request = NotifyRequest(root=begun.coordinator, command="aggregate", idle=True)
    assert notify(request, begun.environment, LOG.append).lines == ()
    join(JoinRequest(root=begun.site("third"), site="third", invitation=inspect(begun.source())), begun.environment)
    begun.clock.pass_hours(0.9)
    assert notify(request, begun.environment, LOG.append).lines == ()
    begun.clock.pass_hours(0.1)
    assert len(notify(request, begun.environment, LOG.append).lines) == 1


def test_a_whole_month_of_a_stuck_round_is_told_daily(tmp_path: Path) -> None:
    federation = begun_by_hand(tmp_path / "f", "east", "west")
    federation.send("east", 1)
    receiver = Appending(tmp_path)
    path = federation.coordinator / "workspace.toml"
    path.write_text(path.read_text() + receiver.setting)
    printed = []
    for hour in range(30 * 24):
        request = NotifyRequest(root=federation.coordinator, command="aggregate", idle=True)
        printed += [(hour, line) for line in notify(request, federation.environment, LOG.append).lines]
        federation.clock.pass_hours(1)
    assert [hour for hour, _ in printed] == [72 + 24 * day for day in range(27)]
    assert receiver.kinds == ["round open", *["overdue"] * 27]
