"""Every step of a masked round of 3 and of 5 sites, and its end without a result, killed at points of its writing and run again.

What a second run has made is compared with what an undisturbed run makes: to the byte where nothing in it is random, otherwise
the content of its files. The round is then finished, and recomputed by the coordinator; where several points have left the same
records in the drop folder and the same files in the workspace, after the first of them.
"""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from fedcli.environment import Environment
from fedcli.exchange import layout
from fedcli.operations.aggregate.aggregate_result import AggregateRequest
from fedcli.operations.aggregate.coordinator_round import aggregate
from fedcli.operations.train_round import TrainRoundRequest, train_round
from fedcli.progress import Silent
from tests.fixtures.federation import Clock, Federation, no_passphrase, prepared_data
from tests.fixtures.killing import EVERY, chosen, run_dying
from tests.fixtures.masked import MASKED, approve_members, opened_model, replayed, send_masked, small_delta

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STEPS = {
    "masks": "north",
    "opening": "coordinator",
    "update": "north",
    "closing": "coordinator",
    "unmask": "north",
    "round": "coordinator",
    "void": "coordinator",
}
OTHERS = ("coast", "harbour", "marsh", "valley")
"""They publish masked updates without training; north trains."""
CASES = [
    pytest.param(3, 2, id="few"),
    *(pytest.param(size, *EVERY.values, marks=EVERY.marks, id=f"every-of-{size}") for size in (3, 5)),
]


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Federation]]:
    """Federations of 3 and of 5 sites, before each step of their first round; each is made when it is asked for."""
    return _Stages(tmp_path_factory)


class _Stages(dict[int, dict[str, Federation]]):
    def __init__(self, folders: pytest.TempPathFactory) -> None:
        super().__init__()
        self._folders = folders

    def __missing__(self, size: int) -> dict[str, Federation]:
        folder = self._folders.mktemp(f"of-{size}")
        data = prepared_data(folder / "data", MASKED, sites=("north",))["north"]
        sites = dict.fromkeys(sorted((*OTHERS[: size - 1], "north")), data)
        current = Federation(root=folder / "masks", prepared=sites, plan=MASKED).begin()
        approve_members(current)
        self[size] = {"masks": current}
        for name in ("opening", "update", "closing", "unmask", "round"):
            current = current.copy(folder / name)
            go_on(current)
            self[size][name] = current
        self[size]["void"] = self[size]["round"]
        return self[size]


def go_on(federation: Federation) -> None:
    """Let the parties whose turn it is do the next step of the open round."""
    number = int(max(path.parent.name for path in federation.drop.glob("coordinator/round-*/round.json"))[-4:]) + 1
    opening, closing = (federation.drop / key(number) for key in (layout.opening, layout.closing))
    sites, before = list(federation.prepared), federation.files().keys()
    if opening.exists() and not closing.exists():
        model = opened_model(federation, number - 1)
        for site in sites:
            if not (federation.drop / layout.update(site, number)).exists():
                if site == "north":
                    federation.train(site)
                else:
                    send_masked(federation, site, number, small_delta(model, site, number))
    else:
        federation.train(*sites)
    if federation.files().keys() == before:
        federation.aggregate()


def run_step(root: Path, step: str) -> None:
    environment = Environment(progress=Silent(), passphrase=no_passphrase, clock=Clock())
    if STEPS[step] == "north":
        train_round(TrainRoundRequest(root=root), environment)
    else:
        aggregate(AggregateRequest(root=root, void="TEXT" if step == "void" else None), environment)


@pytest.mark.parametrize(("size", "most"), CASES)
@pytest.mark.parametrize("step", STEPS)
def test_a_step_killed_at_any_point_is_done_once(
    stages: dict[int, dict[str, Federation]],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    step: str,
    size: int,
    most: int,
) -> None:
    before, finished = stages[size][step], set[tuple[str, ...]]()

    def attempt(number: int) -> tuple[int | None, Federation]:
        federation = before.copy(tmp_path / str(number))
        work = partial(run_step, federation.root / STEPS[step], step)
        return run_dying(number, work, tmp_path / f"said-{number}"), federation

    total, calm = attempt(0)
    assert total is not None
    numbers = chosen(total, most + 2)[1:-1] if most < total else range(1, total + 1)
    for number in numbers:
        met, federation = attempt(number)
        assert met is None
        seen, left = federation.files(), left_behind(federation, STEPS[step])
        run_step(federation.root / STEPS[step], step)
        after = federation.files()
        assert {key: after[key] for key in seen} == seen  # whatever was visible stays as it was
        assert made(federation, before) == made(calm, before)
        assert kept_secrets(federation) == kept_secrets(calm)
        if left not in finished:
            finished.add(left)
            finish(federation, step, size)
    record_property("points", f"{len(numbers)} of {total}, {len(finished)} states finished")


def left_behind(federation: Federation, party: str) -> tuple[str, ...]:
    """Return the records in the drop folder and the files in a workspace, without what is random in their names."""
    records = [key for key in federation.files() if key.endswith(".json")]
    root = federation.root / party
    files = [re.sub("[0-9a-f]{12,}", "*", path.relative_to(root).as_posix()) for path in root.rglob("*")]
    return tuple(sorted({*records, *files}))


def made(federation: Federation, before: Federation) -> dict[str, Any]:
    """Return each new record, without what differs between two runs: seconds, and what is sealed with new keys."""
    made = {key: data for key, data in federation.files().items() if key.endswith(".json") and key not in before.files()}
    return {key: _same(json.loads(data)) for key, data in made.items()}


def _same(record: dict[str, Any]) -> dict[str, Any]:
    masks = record["schema"].startswith("fedcli/masks")  # whose secrets are new ones
    files = [item["content_size" if masks else "content_sha256"] for item in record.pop("artifacts", ())]
    random = {"seconds"} | ({"parent"} if record["schema"].startswith("fedcli/opening") else set())  # that of a new round record
    return {name: value for name, value in record.items() if name not in random} | {"files": files}


def kept_secrets(federation: Federation) -> list[str]:
    """Return the rounds whose secrets north has: none of a round whose update it has committed."""
    names = [path.name for path in federation.site("north").glob("state/masks-*/round-*.json")]
    committed = (federation.drop / layout.update("north", 1)).exists()
    assert ("round-0001.json" in names) is not committed or not names
    return sorted(names)


def finish(federation: Federation, step: str, size: int) -> None:
    """The round ends with everybody's update; after a round without a result, the next one does."""
    last = 2 if step == "void" else 1
    for _ in range(8):
        if (federation.drop / layout.round_record(last)).exists():
            break
        go_on(federation)
    if step == "void":
        restarted = federation.record(1).restart
        assert restarted is not None
        assert restarted.reason == "TEXT"
    assert len(federation.record(last).contributions) == size
    assert replayed(federation, "coordinator") == last
