"""One of five members attacks in every round, each time in another way; the federation ends as if it had been absent.

Two sites train, two send by hand, and `mallory` has a key that the federation lists. What is refused leaves every global model
bit for bit as it is in a federation where mallory sends nothing. What is only flagged moves it within a bound.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fedcli.exchange import layout
from fedcli.operations.report import ReportRequest, report
from fedcli.plan import Aggregation
from fedcli.results import Status
from tests.fixtures.federation import PLAN, SITES, Federation, prepared_data
from tests.fixtures.tampering import first_float, forge, rewrite

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    Delta = dict[str, NDArray[Any]]

MALLORY = "mallory"
HONEST = ("ash", "birch")


def sent(federation: Federation, number: int, change: Callable[[Delta], Delta] | None = None, **values: Any) -> str:
    """Send mallory's update of a round, with its delta and its record changed; return the record's key."""
    key = layout.update(MALLORY, number)
    delta = federation.delta(MALLORY, number)
    federation.send(MALLORY, number, delta=change(delta) if change else delta)
    if values:
        rewrite(federation, key, **values)
    return key


def filled(value: float) -> Callable[[Delta], Delta]:
    return lambda delta: {name: np.full_like(item, value) if item.dtype == np.float32 else item for name, item in delta.items()}


def scaled(factor: float) -> Callable[[Delta], Delta]:
    return lambda delta: {
        name: item * item.dtype.type(factor) if item.dtype == np.float32 else item for name, item in delta.items()
    }


def reshaped(delta: Delta) -> Delta:
    name = first_float(delta)
    return delta | {name: delta[name].reshape(-1)}


def with_key(federation: Federation, number: int) -> None:
    """An artifact's key clears the coordinator's screen."""
    key = sent(federation, number)
    artifact = json.loads((federation.drop / key).read_bytes())["artifacts"][0]
    rewrite(federation, key, artifacts=[artifact | {"key": f"sites/{MALLORY}/\x1b[2J\x1b[H"}])


def with_junk(federation: Federation, number: int) -> None:
    """The record is an endless device, and beside it lie loops, pipes, folders in the place of files, and thousands of files."""
    folder = federation.drop / "sites" / MALLORY
    here = (federation.drop / layout.update(MALLORY, number)).parent
    here.mkdir(parents=True)
    (here / "update.json").symlink_to("/dev/zero")
    (folder / "dataset").symlink_to(folder)
    os.mkfifo(folder / "enrolment-0001.json")
    (folder / "models/0001-federated.json").mkdir(parents=True)
    (folder / "evaluation").mkdir()
    for index in range(3000):
        (folder / f"evaluation/{index:04d}.json").write_bytes(b"{}")


def with_two_updates(federation: Federation, number: int) -> None:
    """The record in place is not the one that the signature beside it belongs to."""
    key = sent(federation, number)
    first = (federation.drop / key).read_bytes()
    rewrite(federation, key, device="another")
    (federation.drop / key).write_bytes(first)


# The network has no counters: tests/aggregation/test_overflow.py attacks those.
ATTACKS: dict[str, Callable[[Federation, int], object]] = {
    "the largest weights": lambda federation, number: sent(federation, number, filled(3.4e38)),
    "infinite weights": lambda federation, number: sent(federation, number, filled(np.inf)),
    "not a number": lambda federation, number: sent(federation, number, filled(np.nan)),
    "a million steps": lambda federation, number: sent(federation, number, scaled(-1), steps=1_000_000),
    "a thousand times as long": lambda federation, number: sent(federation, number, scaled(1e6)),
    "another shape": lambda federation, number: sent(federation, number, reshaped),
    "an artifact's key that clears the screen": with_key,
    "a device's name that forges a line": lambda federation, number: sent(federation, number, device="cpu\nINFO published"),
    "a loss that no figure can draw": lambda federation, number: sent(federation, number, training_loss=1.7e308),
    "dated in the year 9999": lambda federation, number: sent(federation, number, created="9999-12-31T23:59:59Z"),
    "of another round": lambda federation, number: sent(federation, number, round=number + 1),
    "no JSON": lambda federation, number: forge(federation, layout.update(MALLORY, number), b"[" * 100_000),
    "larger than any record": lambda federation, number: forge(federation, layout.update(MALLORY, number), b" " * (8 << 20)),
    "files in the place of a record": with_junk,
    "two updates": with_two_updates,
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return prepared_data(tmp_path_factory.mktemp("data"))


def begun(root: Path, prepared: dict[str, Path], rounds: int) -> Federation:
    plan = replace(PLAN, rounds=rounds, aggregation=Aggregation(quorum=4, deadline_hours=24.0))
    return Federation(root=root, prepared=prepared, by_hand=(*HONEST, MALLORY), plan=plan).begin()


def run_round(federation: Federation, number: int, attack: Callable[[Federation, int], object] | None = None) -> None:
    """Go through a round; who has not sent anything valid when the deadline has passed does not take part."""
    federation.train(*SITES)
    for site in HONEST:
        federation.send(site, number)
    if attack:
        attack(federation, number)
        federation.status("north")
        assert federation.aggregate().status is Status.WAITING
    federation.clock.pass_hours(25)
    assert federation.aggregate().status is Status.PUBLISHED


def models(federation: Federation) -> list[str]:
    return [federation.record(number).artifacts[0].content_sha256 for number in range(federation.plan.rounds + 1)]


@pytest.mark.slow
def test_what_is_refused_leaves_the_models_as_if_the_member_had_been_absent(prepared: dict[str, Path], tmp_path: Path) -> None:
    rounds = len(ATTACKS)
    attacked, absent = begun(tmp_path / "attacked", prepared, rounds), begun(tmp_path / "absent", prepared, rounds)
    for number, (name, attack) in enumerate(ATTACKS.items(), 1):
        run_round(attacked, number, attack)
        run_round(absent, number)
        record = attacked.record(number)
        assert [item.site for item in record.contributions] == sorted((*SITES, *HONEST)), name
        assert attacked.record(number).artifacts[0].content_sha256 == absent.record(number).artifacts[0].content_sha256, name
    assert models(attacked) == models(absent)
    assert absent.verify().verified
    result = attacked.verify()
    assert {problem.key.split("/")[1] for problem in result.problems} == {MALLORY}
    assert result.replayed == rounds
    written = report(ReportRequest(source=attacked.source(), out=tmp_path / "report"), attacked.environment)
    assert written.status is Status.DONE
    assert "\x1b" not in (tmp_path / "report/report.html").read_text()


def norm(left: Delta, right: Delta) -> float:
    """Return the L2 norm of a difference over all float tensors."""
    return float(np.sqrt(sum(((left[name].astype(np.float64) - right[name]) ** 2).sum() for name in left)))


def test_what_is_only_flagged_moves_the_model_within_a_bound(tmp_path: Path) -> None:
    """A reversed update below the limit of norms: its share of the weights times its own norm and the honest step's."""
    sites = (*HONEST, "cedar", "dale", MALLORY)
    plan = replace(PLAN, rounds=1, aggregation=Aggregation(quorum=4, deadline_hours=24.0))
    attacked = Federation(root=tmp_path / "attacked", by_hand=sites, plan=plan).begin()
    absent = Federation(root=tmp_path / "absent", by_hand=sites, plan=plan).begin()
    for federation in (attacked, absent):
        for site in sites[:-1]:
            federation.send(site, 1)
    sent(attacked, 1, scaled(-50))
    result = attacked.aggregate()
    absent.clock.pass_hours(25)
    assert absent.aggregate().status is Status.PUBLISHED
    assert [site.site for site in result.review if site.odd] == [MALLORY]
    contributions = {item.site: item for item in attacked.record(1).contributions}
    total = sum(item.weight for item in contributions.values())
    share = contributions[MALLORY].weight / total
    honest = [contributions[site].norm for site in sites[:-1]]
    assert contributions[MALLORY].norm <= plan.limits.norm_median * np.median(honest)
    moved = norm(attacked.model(1), absent.model(1))
    assert 0 < moved <= share * (contributions[MALLORY].norm + max(honest))
