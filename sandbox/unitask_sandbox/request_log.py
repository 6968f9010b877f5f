"""Log of the requests to the API, refused ones included. It holds no keys, only fingerprints of them."""

import hashlib
from dataclasses import dataclass

KEPT = 100_000  # requests; older ones are dropped


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
