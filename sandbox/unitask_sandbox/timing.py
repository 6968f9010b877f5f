"""Pauses between retries, and planned times when the clock of the machine is set."""

import threading
import time
from collections.abc import Callable

FIRST_PAUSE = 0.1  # seconds until something that failed is tried again; doubled each time
LONGEST_PAUSE = 5.0
LEAST_JUMP = 0.1  # seconds; less is a clock that is being adjusted slowly


def pause_after(failures: int) -> float:
    """The seconds to wait after so many failures in a row."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 10))


class Jumps:
    """Notices that a clock was set, and moves what is planned by it, so that each plan keeps its duration.

    The clock of the machine is held against `steady`, the monotonic one. Any other clock can only be seen to go back.
    """

    def __init__(self, clock: Callable[[], float], steady: Callable[[], float] | None = None) -> None:
        self._clock = clock
        self._steady = steady or (time.monotonic if clock is time.time else None)
        self._lock = threading.Lock()
        self._last, self._grown = clock(), 0.0
        self._offset = self._last - (self._steady() if self._steady else 0.0)

    def heed(self, move: Callable[[float], object]) -> None:
        """Call `move` with the seconds by which the clock was set since the last call, if it was.

        When `move` raises, the next call tries it again.
        """
        with self._lock:
            now = self._clock()
            self._grown += max(0.0, now - self._last)
            self._last = now
            by = now - (self._steady() if self._steady else self._grown) - self._offset
            if abs(by) >= LEAST_JUMP:
                move(by)
                self._offset += by
