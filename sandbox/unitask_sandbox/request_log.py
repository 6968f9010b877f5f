"""Log of the requests to the API, refused ones included. It holds no keys, only fingerprints of them."""

import hashlib
from collections import deque
from dataclasses import dataclass

KEPT = 100_000


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request to the API, as it was answered."""

    operation: str | None  # the operation of the spec; None when the path or the method is none of it
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
        """Note a request."""
        self._kept.append(arrival)

    def clear(self) -> None:
        """Forget all of them."""
        self._kept.clear()

    def listed(
        self,
        operation: str | None = None,
        key: str | None = None,
        status: int | None = None,
        since: float | None = None,
    ) -> list[Arrival]:
        """Those that fit everything that is given."""
        return [
            arrival
            for arrival in list(self._kept)
            if operation in (None, arrival.operation)
            and is_of_key(arrival.key, key)
            and status in (None, arrival.status)
            and (since is None or arrival.time >= since)
        ]


def key_fingerprint(key: str | None) -> str | None:
    """What is shown of a key: enough to tell two apart, nothing to use."""
    return hashed(key)[:8] if key else None


def hashed(key: str) -> str:
    """A key as accounts are filed by it."""
    return hashlib.sha256(key.encode()).hexdigest()


def is_of_key(fingerprint: str | None, wanted: str | None) -> bool:
    """Whether a fingerprint is of the wanted key, which may be a fingerprint itself; of any, when it is None."""
    return wanted is None or fingerprint in (wanted, key_fingerprint(wanted))
