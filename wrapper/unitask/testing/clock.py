"""A clock for tests: sleeping takes no time."""

from __future__ import annotations

import time
from contextvars import ContextVar
from datetime import datetime

from .._model.timestamp import Moment


class InstantClock:
    """A clock for tests: `Client(clock=clock, sleep=clock.sleep)`, `AsyncClient(clock=clock, sleep=clock.sleep_async)`.

    Time passes only for the thread, or the asyncio task, that sleeps: of many waits side by side none uses up the time
    of another.

    Args:
        start: The time that it shows first, with a time zone; None for the present.

    Attributes:
        sleeps: Each pause, in seconds, in the order in which they began.
        passed: Seconds that have passed where the most have.
    """

    def __init__(self, start: datetime | None = None) -> None:
        self.sleeps: list[float] = []
        self.passed: float = 0.0
        self._start = Moment(time.monotonic(), start.timestamp() if start else time.time())
        self._here: ContextVar[float] = ContextVar("passed", default=0.0)

    def __call__(self) -> Moment:
        """Return the time in this thread or asyncio task."""
        passed = self._here.get()
        return Moment(self._start.ticks + passed, self._start.unix + passed)

    def advance(self, seconds: float) -> None:
        """Let time pass that is no pause of a client, such as the time that an answer takes."""
        self._here.set(self._here.get() + seconds)
        self.passed = max(self.passed, self._here.get())

    def sleep(self, seconds: float) -> None:
        """Let seconds pass."""
        self.advance(seconds)
        if seconds:
            self.sleeps.append(seconds)

    async def sleep_async(self, seconds: float) -> None:
        """Let seconds pass, and let other asyncio tasks have a turn."""
        import asyncio  # lazy: a plain `sleep` needs none

        await asyncio.sleep(0)
        self.sleep(seconds)
