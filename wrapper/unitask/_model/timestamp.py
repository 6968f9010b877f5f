"""A moment on two clocks."""

from datetime import UTC, datetime
from typing import NamedTuple

LATEST = 253_402_300_799.0  # unix seconds; the last second of the year 9999


class Timestamp(NamedTuple):
    """One moment on two clocks, as the `clock` of a client returns it.

    Attributes:
        monotonic: Seconds on a clock that never goes back, for durations.
        unix: Seconds since 1970, for dates.

    Example:
        client = Client(clock=lambda: Timestamp(time.monotonic(), time.time()))  # the default
    """

    monotonic: float
    unix: float

    @property
    def utc(self) -> datetime:
        """The date and time in UTC."""
        unix = min(LATEST, self.unix) if self.unix > 0 else 0.0  # a clock that is not set counts as 1970
        return datetime.fromtimestamp(unix, UTC)
