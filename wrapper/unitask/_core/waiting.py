"""When to look next: often around the usual end of such a task, rarely before and after.

A look at rate r(t) costs E[looks] = integral of S r dt and finds the end late by E[delay] = integral of S h / (2 r) dt,
where S is the share of tasks that still run at age t and h their rate of completion. Their product is least when r is
proportional to the square root of h (Barlow, Hunter and Proschan 1963): r(t) = J / (2 D) sqrt(h(t)) for a mean delay D,
with J = integral of S sqrt(h) dt. The next look is where the integral of r has grown by one.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from functools import cache

SHORTEST = 0.5  # seconds between looks, at least
LONGEST = 30.0  # seconds between looks, at most: provider speed changes, and the tail of h is not to be trusted
SPREAD = 0.8  # sigma of the logarithm of durations: a rough prior for a catalogue figure that is rough itself
UNKNOWN_TYPE = 30.0  # seconds; the usual duration of a task of which nothing is known
PATIENCE = 20.0  # a wait ends by default after this many times the typical duration, but not before
LEAST_WAIT = 600.0  # seconds


def next_look(age: float, typical: float) -> float:
    """Seconds from now until the next look at a task of this age.

    Args:
        age: Seconds since it was submitted.
        typical: The median duration of such tasks, in seconds.
    """
    looks = look_ages(typical)
    place = bisect_right(looks, age + SHORTEST / 2)
    if place == len(looks):
        return LONGEST
    ahead = looks[place] - age
    return ahead / math.ceil(ahead / LONGEST)  # equal parts: no look just before a planned one


def default_timeout(typical: float) -> float:
    """Seconds after which a wait for such a task ends, when the caller does not say."""
    return max(LEAST_WAIT, PATIENCE * typical)


def mean_delay(typical: float) -> float:
    """How late, in seconds, the end may be noticed on average: a tenth of the usual duration, 0.25 to 5 s."""
    return min(5.0, max(0.25, typical / 10))


@cache
def look_ages(typical: float) -> tuple[float, ...]:
    """The ages at which to look, in seconds, for a log-normal duration with this median."""
    steps = max(400, math.ceil(32.0 * SPREAD * typical / mean_delay(typical)))  # at the median, a quarter of the delay
    ages = [typical * math.exp(SPREAD * (8.0 * step / steps - 4.0)) for step in range(steps + 1)]  # +- 4 sigma
    roots = [math.sqrt(_hazard(age, typical)) for age in ages]
    gaps = [later - earlier for earlier, later in itertools.pairwise(ages)]
    total = sum(_surviving(age, typical) * root * gap for age, root, gap in zip(ages, roots, gaps, strict=False))
    rate = total / (2.0 * mean_delay(typical))
    looks: list[float] = []
    due, grown = 0.5, 0.0  # the first look is half a step early: the end is as likely before as after it
    for age, root, gap in zip(ages, roots, gaps, strict=False):
        grown += min(1.0 / SHORTEST, rate * root) * gap
        if grown >= due:
            looks.append(age + gap)
            due = grown + 1.0
    return tuple(looks)


def _surviving(age: float, median: float) -> float:
    """Share of the tasks that run longer than this."""
    return 0.5 * math.erfc(math.log(age / median) / (SPREAD * math.sqrt(2.0)))


def _hazard(age: float, median: float) -> float:
    """Rate of completion at this age, per second, among those that still run."""
    z = math.log(age / median) / SPREAD
    density = math.exp(-0.5 * z * z) / (age * SPREAD * math.sqrt(2.0 * math.pi))
    return density / max(_surviving(age, median), 1e-300)
