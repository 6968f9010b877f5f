"""What may be sent again, and after how long.

Rules of this file: there is no idempotency key in this API and every submission is paid for, so a submission is sent
again only when it provably never left, or after HTTP 429 that names no task. Everything else is decided or uncertain,
and that is for flows.py to say. A poll, a cancel and an upload cost nothing, and may be repeated.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from .. import errors
from .polling import DurationTracker

RETRY_AFTER_FLOOR = 0.5  # a Retry-After of 0 must not make a hot loop
RETRY_AFTER_CAP = 120.0  # a longer one is the caller's to wait, with `retry_after` of the error
MOST_DOUBLINGS = 60  # of a pause: an outage of hours takes thousands of attempts, and a power of that is no float


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, and how far apart, a request may be sent again.

    The pause after attempt n (1, 2, ...) is drawn from 0.5 to 1 times first * 2 ** (n - 1), at most `cap` seconds.
    What the provider asks for in Retry-After wins over it.

    Attributes:
        attempts: How often a submission, or the request for a file, is sent in all.
        reads: The same for a request that only reads; its failures also end with the patience.
        first: The longest first pause, in seconds.
        cap: The longest pause, in seconds.
        random: Draws from 0 to 1.
    """

    random: Callable[[], float]
    attempts: int = 4
    reads: float = math.inf
    first: float = 0.5
    cap: float = 8.0

    def pause(self, attempt: int, retry_after: float | None = None) -> float:
        """Seconds until the attempt after this one."""
        if retry_after is not None:
            return clamp_retry_after(retry_after)
        doublings = min(attempt - 1, MOST_DOUBLINGS)
        longest = min(self.cap, self.first * 2.0**doublings)
        return longest * (0.5 + 0.5 * self.random())


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait for what, in seconds.

    Attributes:
        timeout: For the task to be done, from now on; None for the usual limit of its type.
        patience: For free requests that fail one after another.
        http_timeout: For one HTTP call.
        retry_policy: Between calls that fail.
        durations: How long tasks take, as far as is known; waits add to it.
    """

    timeout: float | None
    patience: float
    http_timeout: float
    retry_policy: RetryPolicy
    durations: DurationTracker


def clamp_retry_after(retry_after: float) -> float:
    """A Retry-After between the floor and the cap, in seconds."""
    return min(RETRY_AFTER_CAP, max(RETRY_AFTER_FLOOR, retry_after))


def is_retryable(trouble: errors.UnitaskError) -> bool:
    """Whether the trouble of a free request may be gone by the next: no answer, a limit, or a server in trouble."""
    if isinstance(trouble, errors.ProviderBroken):
        return not 300 <= trouble.status < 400
    return isinstance(trouble, errors.Unreachable | errors.RateLimited)
