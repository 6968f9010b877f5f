"""Log of the requests to the API, refused ones included. It holds no keys, only fingerprints of them."""

import hashlib
from collections import deque
from dataclasses import dataclass

KEPT = 100_000


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request to the API, as it was answered."""

    operation: str | None  # the operation of the spec; None for another path or method
    method: str
    path: str
    key: str | None  # the beginning of the SHA-256 of the API key; None when there was none
    time: float  # when it arrived: unix seconds
    status: int | None  # the HTTP status that it was answered with; None when the answer was lost


class RequestLog:
    """The requests so far, in the order of their answers; the latest 100,000 of them."""

    def __init__(self) -> None:
        self._kept: deque[Arrival] = deque(maxlen=KEPT)

    def add(self, arrival: Arrival) -> None:
        """Add a request."""
        self._kept.append(arrival)

    def clear(self) -> None:
        """Remove all requests."""
        self._kept.clear()

    def listed(self, operation: str | None = None) -> list[Arrival]:
        """Return the requests for an operation, or all."""
        return [arrival for arrival in list(self._kept) if operation in (None, arrival.operation)]


def key_fingerprint(key: str | None) -> str | None:
    """Return what is shown of a key: enough to distinguish keys, and of no use."""
    return hashed(key)[:8] if key else None


def hashed(key: str) -> str:
    """Return the id of the account of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def is_of_key(fingerprint: str | None, wanted: str | None) -> bool:
    """Return whether a fingerprint is of a key, or of a fingerprint; always when `wanted` is None."""
    return wanted is None or fingerprint in (wanted, key_fingerprint(wanted))
