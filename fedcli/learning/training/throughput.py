"""How fast a training is, and how long the rest of it will take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcli.text.wording import duration

if TYPE_CHECKING:
    from collections.abc import Callable


class Throughput:
    """Measures the time of steps; time between epochs does not count.

    Args:
        steps: Steps that are left, over all epochs.
        images: Images per step.
        clock: Seconds from any origin.
        seconds: Spent in earlier steps.

    Attributes:
        seconds: Spent in steps, the earlier ones included.
    """

    def __init__(self, steps: int, images: int, clock: Callable[[], float], *, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self._earlier = seconds
        self._left = steps
        self._done = 0
        self._images = images
        self._clock = clock
        self._mark = clock()

    def start(self) -> None:
        """Start the clock, at the beginning of an epoch."""
        self._mark = self._clock()

    def step(self) -> str:
        """Count a step; return images per second and the time left, as text for the progress."""
        now = self._clock()
        self.seconds += now - self._mark
        self._mark = now
        self._done += 1
        self._left -= 1
        elapsed = self.seconds - self._earlier
        if not elapsed:
            return ""
        return f", {self._done * self._images / elapsed:.3g} images/s, {duration(self._left * elapsed / self._done)} left"
