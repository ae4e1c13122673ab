"""Which of a site's models is kept: the newest within an error of the highest kappa, or the highest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fedcli import tensors, wire
from fedcli.measures import Merit
from fedcli.plan import Choice
from fedcli.site.selection import Best, Origin, Selection

if TYPE_CHECKING:
    from pathlib import Path

BASE = "0" * 64
Candidate = tuple[int, Origin, float | None]
RECEIVED, TRAINED = Origin.RECEIVED, Origin.TRAINED


def offer(selection: Selection, *candidates: Candidate, patients: int = 25) -> Selection:
    for number, origin, kappa in candidates:
        arrays = {"weight": np.array([number, origin is RECEIVED, kappa or 0.0], np.float32)}
        selection.offer(arrays, number, origin, Merit(kappa=kappa, loss=1.0, patients=patients), BASE)
    return selection


def chosen(selection: Selection) -> tuple[int, Origin]:
    assert selection.best is not None
    kept = tensors.read(selection.folder / "best.safetensors")["weight"]
    assert (int(kept[0]), bool(kept[1])) == selection.best.age
    return selection.best.round, selection.best.origin


ROUNDS: tuple[Candidate, ...] = (
    (1, TRAINED, 0.8),
    (1, RECEIVED, 0.2),
    (2, TRAINED, 0.72),
    (2, RECEIVED, 0.65),
    (3, TRAINED, None),
)


@pytest.mark.parametrize(
    ("choice", "patients", "kept"),
    [
        (Choice.HIGHEST, 25, (1, TRAINED)),
        (Choice.WITHIN_ERROR, 10_000, (1, TRAINED)),
        (Choice.WITHIN_ERROR, 25, (2, TRAINED)),  # an error of 0.1
        (Choice.WITHIN_ERROR, 8, (2, RECEIVED)),  # of 0.18
    ],
)
def test_few_patients_choose_a_newer_model(tmp_path: Path, choice: Choice, patients: int, kept: tuple[int, Origin]) -> None:
    assert chosen(offer(Selection.resume(tmp_path, choice, None), *ROUNDS, patients=patients)) == kept


@pytest.mark.parametrize("choice", Choice)
def test_what_is_offered_again_after_an_interruption_changes_nothing(tmp_path: Path, choice: Choice) -> None:
    """Before each command goes on it offers the received model again, and perhaps the epoch of its last checkpoint."""
    calm = offer(Selection.resume(tmp_path / "calm", choice, None), *ROUNDS)
    stopped = offer(Selection.resume(tmp_path / "stopped", choice, None), *ROUNDS[:3])
    resumed = Selection.resume(tmp_path / "stopped", choice, None)
    assert resumed.best == stopped.best
    assert offer(resumed, *ROUNDS[1:]).best == calm.best


def test_the_next_round_goes_on_with_the_highest_kappa(tmp_path: Path) -> None:
    offer(Selection.resume(tmp_path / "first", Choice.WITHIN_ERROR, None), *ROUNDS[:3])
    later = Selection.resume(tmp_path / "second", Choice.WITHIN_ERROR, tmp_path / "first", frozenset({BASE}))
    assert chosen(offer(later, (2, RECEIVED, 0.69))) == (2, TRAINED)  # 0.72 is within 0.1 of 0.8, 0.69 is not
    assert chosen(offer(later, (3, TRAINED, 0.71))) == (3, TRAINED)


def test_the_state_of_an_older_fedcli_counts_by_its_own_kappa(tmp_path: Path) -> None:
    first = offer(Selection.resume(tmp_path / "first", Choice.HIGHEST, None), *ROUNDS[:1])
    description = next((tmp_path / "first").glob("*.json"))
    said = json.loads(description.read_text())
    assert said.pop("highest") == 0.8
    description.write_bytes(wire.encode(Best(**said | {"origin": Origin(said["origin"])})))
    later = Selection.resume(tmp_path / "second", Choice.WITHIN_ERROR, tmp_path / "first", frozenset({BASE}))
    assert first.best is not None
    assert later.best is not None
    assert later.best.highest is None
    assert chosen(offer(later, (1, RECEIVED, 0.69))) == (1, TRAINED)
    assert chosen(offer(later, (2, TRAINED, 0.71))) == (2, TRAINED)
