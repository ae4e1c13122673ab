"""A site or a patient withdraws: what contains them is listed, and how to go on without them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.exchange.records import ModelKind
from fedcli.operations.evaluate import EvaluateRequest, evaluate
from fedcli.operations.remove import RemoveRequest, RemoveResult, remove
from fedcli.operations.restart import RestartRequest, restart
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
