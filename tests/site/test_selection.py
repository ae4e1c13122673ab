"""Which of a site's models is kept: the newest near the highest kappa, the highest, or the highest mean of three."""

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
    assert [said.pop(name) for name in ("highest", "smoothed")] == [0.8, 0.8]
    assert len(said.pop("recent")) == 1
    description.write_bytes(wire.encode(Best(**said | {"origin": Origin(said["origin"])})))
    later = Selection.resume(tmp_path / "second", Choice.WITHIN_ERROR, tmp_path / "first", frozenset({BASE}))
    assert first.best is not None
    assert later.best is not None
    assert later.best.highest is None
    assert chosen(offer(later, (1, RECEIVED, 0.69))) == (1, TRAINED)
    assert chosen(offer(later, (2, TRAINED, 0.71))) == (2, TRAINED)
    assert chosen(offer(later, (3, TRAINED, 0.1))) == (2, TRAINED)


LUCKY: tuple[Candidate, ...] = (
    (1, TRAINED, 0.3),
    (1, RECEIVED, 0.35),
    (2, TRAINED, 0.9),
    (2, RECEIVED, 0.4),
    (3, TRAINED, 0.3),
    (3, RECEIVED, 0.5),
    (4, TRAINED, 0.66),
    (4, RECEIVED, 0.6),
    (5, TRAINED, 0.65),
    (5, RECEIVED, 0.7),
    (6, TRAINED, None),
    (6, RECEIVED, 0.8),
)


def offered_until(tmp_path: Path, count: int) -> Selection:
    return offer(Selection.resume(tmp_path, Choice.SMOOTHED, None), *LUCKY[:count])


@pytest.mark.parametrize(
    ("count", "kept", "smoothed"),
    [
        (1, (1, TRAINED), 0.3),
        (2, (1, RECEIVED), 0.35),
        (3, (2, TRAINED), 0.6),  # of 0.3 and 0.9
        (6, (2, TRAINED), 0.6),  # the trained ones have 0.5, the received ones 1.25 / 3
        (7, (4, TRAINED), 0.62),  # of 0.9, 0.3 and 0.66
        (11, (4, TRAINED), 0.62),  # then 1.61 / 3; the received ones 0.6; an undefined kappa is 0
        (12, (6, RECEIVED), 0.7),
    ],
)
def test_a_smoothed_kappa_is_the_mean_of_three_of_one_origin(
    tmp_path: Path, count: int, kept: tuple[int, Origin], smoothed: float
) -> None:
    selection = offered_until(tmp_path, count)
    assert chosen(selection) == kept
    assert selection.best is not None
    assert selection.best.smoothed == pytest.approx(smoothed)
    assert selection.best.kappa == next(kappa for *which, kappa in LUCKY if tuple(which) == kept)


@pytest.mark.parametrize("stop", range(1, len(LUCKY)))
def test_a_mean_goes_on_in_the_next_round_and_after_an_interruption(tmp_path: Path, stop: int) -> None:
    calm = offered_until(tmp_path / "calm", len(LUCKY))
    stopped = offered_until(tmp_path / "stopped", stop)
    again = offer(Selection.resume(tmp_path / "stopped", Choice.SMOOTHED, None), *LUCKY[max(stop - 2, 0) :])
    assert again.best == calm.best
    later = Selection.resume(tmp_path / "later", Choice.SMOOTHED, stopped.folder, frozenset({BASE}))
    assert offer(later, *LUCKY[stop:]).best == calm.best


def test_every_epoch_of_a_round_is_a_candidate_once(tmp_path: Path) -> None:
    selection = Selection.resume(tmp_path, Choice.SMOOTHED, None)
    for epoch, kappa in ((1, 0.4), (2, 0.6), (2, 0.6), (1, 0.4), (3, 0.8), (4, 0.1)):
        selection.offer({"weight": np.zeros(1, np.float32)}, 1, TRAINED, Merit(kappa=kappa, loss=1.0), BASE, epoch)
    assert selection.best is not None
    assert selection.best.smoothed == pytest.approx(0.6)
    assert [candidate.kappa for candidate in selection.best.recent] == [0.6, 0.8, 0.1]


def test_what_began_in_a_round_that_was_given_up_is_in_no_mean(tmp_path: Path) -> None:
    first = offer(Selection.resume(tmp_path / "first", Choice.SMOOTHED, None), (1, TRAINED, 0.5), (2, TRAINED, 0.6))
    first.offer({"weight": np.zeros(1, np.float32)}, 3, TRAINED, Merit(kappa=0.1, loss=1.0), "1" * 64)
    later = Selection.resume(tmp_path / "second", Choice.SMOOTHED, first.folder, frozenset({BASE}))
    assert chosen(later) == (2, TRAINED)
    assert chosen(offer(later, (4, TRAINED, 0.7))) == (4, TRAINED)
    assert later.best is not None
    assert later.best.smoothed == pytest.approx(0.6)


def test_of_equal_means_the_lower_loss_decides(tmp_path: Path) -> None:
    selection = Selection.resume(tmp_path, Choice.SMOOTHED, None)
    for number, (kappa, loss) in enumerate(((0.1, 0.5), (0.2, 0.9), (0.3, 0.8), (0.1, 0.7), (0.2, 0.6), (0.3, 0.9)), 1):
        selection.offer({"weight": np.zeros(1, np.float32)}, number, TRAINED, Merit(kappa=kappa, loss=loss), BASE)
    assert selection.best is not None
    assert (selection.best.round, selection.best.by_loss) == (5, True)  # means 0.1, 0.15, then 0.2 four times


@pytest.mark.parametrize(
    ("losses", "kept"),
    [((0.9, 0.5, 0.7), 2), ((0.9, 0.9, 0.9), 1), ((None, None, None), 1), ((0.9, None, 0.95), 1), ((None, 0.9, None), 2)],
)
def test_the_lowest_loss_is_chosen_whatever_the_kappa(tmp_path: Path, losses: tuple[float | None, ...], kept: int) -> None:
    selection = Selection.resume(tmp_path, Choice.LOWEST_LOSS, None)
    for number, loss in enumerate(losses, 1):
        selection.offer({"weight": np.zeros(1, np.float32)}, number, TRAINED, Merit(kappa=1 / number, loss=loss), BASE)
    assert selection.best is not None
    assert (selection.best.round, selection.best.kappa) == (kept, 1 / kept)


def test_means_of_equal_kappas_are_equal(tmp_path: Path) -> None:
    """Added up in binary, three times 0.1 is more than three times as much as one."""
    selection = Selection.resume(tmp_path, Choice.SMOOTHED, None)
    for number, loss in enumerate((0.5, 0.9, 0.9), 1):
        selection.offer({"weight": np.zeros(1, np.float32)}, number, TRAINED, Merit(kappa=0.1, loss=loss), BASE)
    assert selection.best is not None
    assert (selection.best.round, selection.best.by_loss) == (1, True)
