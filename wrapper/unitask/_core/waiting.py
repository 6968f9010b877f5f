"""When to look next: often around the usual end of such a task, rarely before and after.

A look at rate r(t) costs E[looks] = integral of S r dt and finds the end late by E[delay] = integral of S h / (2 r) dt,
where S is the share of tasks that still run at age t and h their rate of completion. Their product is least when r is
proportional to the square root of h (Barlow, Hunter and Proschan 1963): r(t) = J / (2 D) sqrt(h(t)) for a mean delay D,
with J = integral of S sqrt(h) dt. The next look is where the integral of r has grown by one.

Durations are taken to be log-normal. What the catalogue says counts like a few tasks; each task that is seen to end
counts as one, and older ones fade, because the provider's speed changes.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from . import spec

if TYPE_CHECKING:
    from ..task import Task

SHORTEST = 0.5  # seconds between looks, at least
LONGEST = 30.0  # seconds between looks, at most: provider speed changes, and the tail of h is not to be trusted
SPREAD = 0.8  # sigma of the logarithm of durations: a rough prior for a catalogue figure that is rough itself
UNKNOWN_TYPE = 30.0  # seconds; the usual duration of a task of which nothing is known
PATIENCE = 20.0  # a wait ends by default after this many times the typical duration, but not before
LEAST_WAIT = 600.0  # seconds
PRIOR_TASKS = 3.0  # what the catalogue says counts like this many tasks
FADING = 0.95  # with each task that is seen, all before it count this much less
SHORTEST_TASK = 0.1  # seconds; what ended sooner counts as this
LEAST_SPREAD = 0.15
TAIL = 0.25  # beyond the plan, the pause is this share of the age


@dataclass(frozen=True, slots=True)
class Usual:
    """How long tasks of a kind take.

    Attributes:
        seconds: The median.
        spread: Sigma of the logarithm.
    """

    seconds: float
    spread: float = SPREAD


class Experience:
    """How long tasks of each kind take: what the catalogue says, sharpened by what was seen."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, float, float]] = {}

    def usual(self, kind: str) -> Usual:
        """What is known of a kind: a name of the catalogue, or model and task type of one that is not in it."""
        if kind not in self._seen:
            return Usual(_catalogued(kind))
        count, total, squares = self._seen[kind]
        mean = total / count
        spread = math.sqrt(max(LEAST_SPREAD**2, squares / count - mean**2))
        # in steps, so that plans are made for some durations and not for all
        return Usual(math.exp(round(mean * 20) / 20), round(spread * 20) / 20)

    def learn(self, kind: str, task: Task[Any], watched: float | None) -> None:
        """Add a task that has ended.

        Args:
            kind: What it was.
            task: The task; only a completed one tells how long the work takes.
            watched: Seconds from its submission to the look that found it, for a provider that tells no times; None
                when that is not known, since it was done before anybody looked.
        """
        if task.state != "completed":
            return
        created, ended = task.created_at, task.ended_at
        took = (ended - created).total_seconds() if created and ended else watched
        if took is None or took < 0:
            return
        x = math.log(max(SHORTEST_TASK, took))
        count, total, squares = self._seen.get(kind) or _prior(_catalogued(kind))
        self._seen[kind] = (count * FADING + 1, total * FADING + x, squares * FADING + x * x)


def kind_of(task: Task[Any] | None) -> str:
    """What a task is in the catalogue, as its answer says."""
    if task is None:
        return ""
    entry = spec.find_task_type(task.model, task.task_type)
    return entry.name if entry else f"{task.model} {task.task_type}"


def _catalogued(kind: str) -> float:
    entry = spec.task_types().get(kind)
    return entry.typical_seconds if entry else UNKNOWN_TYPE


def _prior(typical: float) -> tuple[float, float, float]:
    mean = math.log(typical)
    return PRIOR_TASKS, PRIOR_TASKS * mean, PRIOR_TASKS * (mean**2 + SPREAD**2)


def next_look(age: float, usual: Usual) -> float:
    """Seconds from now until the next look at a task of this age, in seconds since it was submitted."""
    looks = look_ages(usual.seconds, usual.spread)
    place = bisect_right(looks, age + SHORTEST / 2)
    if place == len(looks):
        return min(LONGEST, max(SHORTEST, TAIL * age))
    ahead = looks[place] - age
    return max(SHORTEST, ahead / math.ceil(ahead / LONGEST))  # equal parts: no look just before a planned one


def default_timeout(usual: Usual) -> float:
    """Seconds after which a wait for such a task ends, when the caller does not say."""
    return max(LEAST_WAIT, PATIENCE * usual.seconds)


def mean_delay(typical: float) -> float:
    """How late, in seconds, the end may be noticed on average: a tenth of the usual duration, 0.25 to 5 s."""
    return min(5.0, max(0.25, typical / 10))


@lru_cache(maxsize=512)
def look_ages(typical: float, spread: float = SPREAD) -> tuple[float, ...]:
    """The ages at which to look, in seconds, for a log-normal duration with this median and spread."""
    steps = max(400, math.ceil(32.0 * spread * typical / mean_delay(typical)))  # at the median, a quarter of the delay
    ages = [typical * math.exp(spread * (8.0 * step / steps - 4.0)) for step in range(steps + 1)]  # +- 4 sigma
    roots = [math.sqrt(_hazard(age, typical, spread)) for age in ages]
    gaps = [later - earlier for earlier, later in itertools.pairwise(ages)]
    running = [_surviving(age, typical, spread) for age in ages]
    total = sum(share * root * gap for share, root, gap in zip(running, roots, gaps, strict=False))
    rate = total / (2.0 * mean_delay(typical))
    looks: list[float] = []
    due, grown = 0.5, 0.0  # the first look is half a step early: the end is as likely before as after it
    for age, root, gap in zip(ages, roots, gaps, strict=False):
        grown += min(1.0 / SHORTEST, rate * root) * gap
        if grown >= due:
            looks.append(age + gap)
            due = grown + 1.0
    return tuple(looks)


def _surviving(age: float, median: float, spread: float) -> float:
    """Share of the tasks that run longer than this."""
    return 0.5 * math.erfc(math.log(age / median) / (spread * math.sqrt(2.0)))


def _hazard(age: float, median: float, spread: float) -> float:
    """Rate of completion at this age, per second, among those that still run."""
    z = math.log(age / median) / spread
    density = math.exp(-0.5 * z * z) / (age * spread * math.sqrt(2.0 * math.pi))
    return density / max(_surviving(age, median, spread), 1e-300)
