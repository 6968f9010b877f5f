"""A clock for tests, whose sleeps return at once."""

import asyncio
import time
from contextvars import ContextVar
from datetime import datetime

from .._model.timestamp import Timestamp


class InstantClock:
    """A clock for tests: `Client(clock=clock, sleep=clock.sleep)`, `AsyncClient(clock=clock, sleep=clock.sleep_async)`.

    Each thread and each asyncio task has its own time, so concurrent waits do not use up each other's timeouts.

    Args:
        start: The first time, with a time zone; None for now.

    Attributes:
        sleeps: Each pause, in seconds, in the order in which they began.
        passed: The longest time that has passed in any thread or task, in seconds.
    """

    def __init__(self, start: datetime | None = None) -> None:
        self.sleeps: list[float] = []
        self.passed: float = 0.0
        self._start = Timestamp(time.monotonic(), start.timestamp() if start else time.time())
        self._here: ContextVar[float] = ContextVar("passed", default=0.0)

    def __call__(self) -> Timestamp:
        """Return the time in this thread or asyncio task."""
        passed = self._here.get()
        return Timestamp(self._start.monotonic + passed, self._start.unix + passed)

    def advance(self, seconds: float) -> None:
        """Advance the time by seconds that are not a sleep, such as the duration of a request."""
        self._here.set(self._here.get() + seconds)
        self.passed = max(self.passed, self._here.get())

    def sleep(self, seconds: float) -> None:
        """Advance the time by seconds, and record them."""
        self.advance(seconds)
        if seconds:
            self.sleeps.append(seconds)

    async def sleep_async(self, seconds: float) -> None:
        """Advance the time by seconds after other asyncio tasks have run."""
        await asyncio.sleep(0)
        self.sleep(seconds)
