"""What may be sent again, and after how long.

Rules of this file: the API has no idempotency key and every submission is paid, so a submission is sent again only when
it provably never left, or after HTTP 429 that names no task (flows.py decides). A poll, a cancel and an upload cost
nothing, and may be repeated.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from .. import errors
from .polling import DurationTracker

RETRY_AFTER_FLOOR = 0.5  # seconds; a Retry-After of 0 must not make a hot loop
RETRY_AFTER_CAP = 120.0  # seconds; `retry_after` of the error has a longer one
MOST_DOUBLINGS = 60  # of a pause: an outage of hours takes thousands of attempts, and such a power is not a float


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, and how far apart, a request may be sent again.

    The pause after attempt n (1, 2, ...) is drawn from 0.5 to 1 times first * 2 ** (n - 1), at most `cap` seconds.
    Retry-After wins over it.
    """

    random: Callable[[], float]  # draws from 0 to 1
    attempts: int = 4  # how often a submission, or the request for a file, is sent in all
    reads: float = math.inf  # the same for a request that only reads; its failures also end with the patience
    first: float = 0.5  # the longest first pause, in seconds
    cap: float = 8.0  # the longest pause, in seconds

    def pause(self, attempt: int, retry_after: float | None = None) -> float:
        """Return the seconds until the attempt after this one."""
        if retry_after is not None:
            return clamp_retry_after(retry_after)
        longest = min(self.cap, self.first * 2.0 ** min(attempt - 1, MOST_DOUBLINGS))
        return longest * (0.5 + 0.5 * self.random())


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait, in seconds."""

    timeout: float | None  # for the end of the task; None for the usual limit of its type
    patience: float  # for free requests that fail one after another
    http_timeout: float  # for one HTTP call
    retry_policy: RetryPolicy  # between calls that fail
    durations: DurationTracker  # how long tasks take; waits add to it


def clamp_retry_after(retry_after: float) -> float:
    return min(RETRY_AFTER_CAP, max(RETRY_AFTER_FLOOR, retry_after))


def is_retryable(error: errors.UnitaskError) -> bool:
    """Whether a free request may succeed the next time: after no answer, a limit, or an error of the server."""
    if isinstance(error, errors.ProviderBroken):
        return not 300 <= error.status < 400
    return isinstance(error, errors.Unreachable | errors.RateLimited)
