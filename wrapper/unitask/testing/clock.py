"""Time that passes only while somebody sleeps, and then at once."""

from __future__ import annotations

import time
from contextvars import ContextVar

from .._model.timestamp import Timestamp


class InstantClock:
    """A clock for tests: `Client(clock=clock, sleep=clock.sleep)`, `AsyncClient(clock=clock, sleep=clock.sleep_async)`.

    It starts at the present time. Time passes only for the thread, or the asyncio task, that sleeps: of many waits side
    by side none uses up the time of another.

    Attributes:
        sleeps: Each pause, in seconds, in the order in which they began.
    """

    def __init__(self) -> None:
        self.sleeps: list[float] = []
        self._start = Timestamp(time.monotonic(), time.time())
        self._passed: ContextVar[float] = ContextVar("passed", default=0.0)

    def __call__(self) -> Timestamp:
        """Now, for whoever asks."""
        passed = self._passed.get()
        return Timestamp(self._start.monotonic + passed, self._start.unix + passed)

    def sleep(self, seconds: float) -> None:
        """Let seconds pass."""
        self._passed.set(self._passed.get() + seconds)
        if seconds:
            self.sleeps.append(seconds)

    async def sleep_async(self, seconds: float) -> None:
        """Let seconds pass, and let other asyncio tasks have a turn."""
        import asyncio  # here: a plain `sleep` needs none

        await asyncio.sleep(0)
        self.sleep(seconds)
