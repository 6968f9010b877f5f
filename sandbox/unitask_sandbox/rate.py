"""A limit on requests, account by account: a bucket of tokens that fills with time."""

import threading
from collections.abc import Callable


class Rate:
    """Lets so many requests a second pass, and as many at once; any thread may call any method."""

    def __init__(self, limit: float | None, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[str, tuple[float, float]] = {}  # by account: tokens, and when they were counted

    def take(self, account: str) -> float:
        """Count a request and return 0; or, when it is one too many, count nothing and return the seconds to wait."""
        if self._limit is None:
            return 0.0
        full = max(1.0, self._limit)
        with self._lock:
            now = self._clock()
            tokens, since = self._buckets.get(account, (full, now))
            tokens = min(full, tokens + max(0.0, now - since) * self._limit)
            passes = tokens >= 1
            self._buckets[account] = (tokens - 1 if passes else tokens, now)
            return 0.0 if passes else (1 - tokens) / self._limit
