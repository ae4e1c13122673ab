"""How fast a training is, and how long it will take."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_MINUTE = 60
_HOUR = 3600


class Pace:
    """A stopwatch of steps; what happens between epochs does not count.

    Args:
        steps: Steps still to do, over all epochs.
        images: Images a step.
        clock: Seconds from any origin.

    Attributes:
        seconds: Spent in steps.
    """

    def __init__(self, steps: int, images: int, clock: Callable[[], float]) -> None:
        self.seconds = 0.0
        self._left = steps
        self._done = 0
        self._images = images
        self._clock = clock
        self._mark = clock()

    def start(self) -> None:
        """Begin to count, at the beginning of an epoch."""
        self._mark = self._clock()

    def step(self) -> str:
        """Count a step, and return the pace so far: images a second, and the time that is left for steps."""
        now = self._clock()
        self.seconds += now - self._mark
        self._mark = now
        self._done += 1
        self._left -= 1
        if not self.seconds:
            return ""
        left = self._left * self.seconds / self._done
        return f", {self._done * self._images / self.seconds:.3g} images/s, {duration(left)} left"


def duration(seconds: float) -> str:
    """Return a duration in the unit that fits: 40 s, 12 min, 3.5 h."""
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s"
    return f"{seconds / _MINUTE:.0f} min" if seconds < 2 * _HOUR else f"{seconds / _HOUR:.1f} h"
