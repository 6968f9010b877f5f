"""The clock of a sandbox, which can be moved forward, and the ids that it gives."""

import random
import threading
import uuid
from collections.abc import Callable

LATEST = 253_370_764_800.0  # unix seconds of the year 9999, the last one that a date can show


class MovableClock:
    """A clock that runs like another one, ahead of it; any thread may call any method."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._lock, self._ahead = clock, threading.Lock(), 0.0

    def __call__(self) -> float:
        """Return the time: unix seconds."""
        return self._clock() + self._ahead

    def move(self, to: float) -> None:
        """Move forward to a time; a time that has passed changes nothing."""
        with self._lock:
            self._ahead = max(self._ahead, to - self._clock())

    def start_at(self, time: float | None) -> None:
        """Begin anew at a time; None for that of the other clock."""
        with self._lock:
            self._ahead = 0.0 if time is None else time - self._clock()


class Ids:
    """Gives ids: random ones, or with a seed the same in each run."""

    def __init__(self, seed: int | None, is_used: Callable[[str], bool]) -> None:
        self._random = None if seed is None else random.Random(seed)  # noqa: S311 - no secret
        self._is_used = is_used

    def __call__(self) -> str:
        """Return an id that was not given before, in this run or in an earlier one over the same data folder."""
        if self._random is None:
            return str(uuid.uuid4())
        while self._is_used(given := str(uuid.UUID(int=self._random.getrandbits(128), version=4))):
            pass
        return given


def id_within(owner: str, number: int) -> str:
    """Return the id of a part of something with an id: always the same one."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{owner} {number}"))
