"""The log of all requests, with fingerprints of keys and no keys, and the limit on the requests of an account."""

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass

KEPT = 100_000  # requests; older ones are dropped


class Rate:
    """Lets so many requests a second pass, and as many at once; any thread may call `take`."""

    def __init__(self, limit: float | None, clock: Callable[[], float]) -> None:
        self._limit, self._clock, self._lock = limit, clock, threading.Lock()
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


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request to the API, as it was answered."""

    operation: str | None  # the operation of the spec; None for another path or method
    method: str
    path: str
    key: str | None  # the beginning of the SHA-256 of the API key; None when there was none
    time: float  # when it arrived: unix seconds
    status: int | None  # the HTTP status that it was answered with; None when the answer was lost


def key_fingerprint(key: str | None) -> str | None:
    """Return what is shown of a key: enough to distinguish keys, and of no use."""
    return hashed(key)[:8] if key else None


def hashed(key: str) -> str:
    """Return the id of the account of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def is_of_key(fingerprint: str | None, wanted: str | None) -> bool:
    """Return whether a fingerprint is of a key, or of a fingerprint; always when `wanted` is None."""
    return wanted is None or fingerprint in (wanted, key_fingerprint(wanted))
