"""How fast a training is, and how long it will take."""

from __future__ import annotations

from fedcli.learning.training.throughput import Throughput


def test_what_happens_between_epochs_does_not_count() -> None:
    ticks = iter([0.0, 10.0, 12.0, 100.0, 104.0])
    pace = Throughput(steps=5, images=32, clock=lambda: next(ticks))
    pace.start()
    assert pace.step() == ", 16 images/s, 8 s left"
    pace.start()
    assert pace.step() == ", 10.7 images/s, 9 s left"
    assert pace.seconds == 6


def test_a_clock_that_does_not_move_gives_no_speed() -> None:
    pace = Throughput(steps=2, images=32, clock=lambda: 1.0)
    assert pace.step() == ""
