"""When to poll next: often around the usual end of such a task, rarely before and after (ARCHITECTURE.md).

Polling at rate r(t) costs E[n] = integral of S r dt polls and a delay E[d] = integral of S h / (2 r) dt,
where S is the share of tasks that still run at age t and h their rate of completion. Their product is least when r is
proportional to the square root of h (Barlow, Hunter and Proschan 1963): r(t) = J / (2 D) sqrt(h(t)) for a mean delay D,
with J = integral of S sqrt(h) dt. The next poll is where the integral of r has grown by one.
"""

import itertools
import math
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from unitask_api import contract

from .._model._json import as_object
from .._model.task import Task

SHORTEST = 0.5  # seconds between polls, at least
LONGEST = 30.0  # seconds between polls, at most: provider speed changes, and the tail of h is unreliable
SPREAD = 0.8  # sigma of the logarithm of durations: a rough prior for a catalogue figure that is rough itself
UNKNOWN_TYPE = 30.0  # seconds; the usual duration of an unknown task type
PATIENCE = 20.0  # a wait ends by default after this many times the typical duration, but not before
LEAST_WAIT = 600.0  # seconds
PRIOR_TASKS = 3.0  # the catalogue counts like this many tasks
FADING = 0.95  # with each task that is seen, all before it count this much less
SHORTEST_TASK = 0.1  # seconds; what ended sooner counts as this
LONGEST_TASK = 6 * 3600.0  # seconds; what took longer counts as this
LONGEST_WAIT = 86_400.0  # seconds; no default limit is longer
LEAST_SPREAD = 0.15
MOST_SPREAD = 3.0  # four of them are a factor of 160,000
EARLY = (0.75, 2.0, 5.0, 12.0)  # seconds; ages of the early polls: one more poll for a task of 8 s, four for 10 minutes
EARLY_SPREAD = 0.7  # with a smaller spread, enough is known of a kind to leave them out
EARLY_SHARE = 0.6  # an early poll comes before this share of the age of the first planned one
MOST_STEPS = 4096  # of the integral, and so of the planned polls
TAIL = 0.25  # after the plan, the pause is this share of the age


@dataclass(frozen=True, slots=True)
class DurationEstimate:
    """How long tasks of a kind take: the median in seconds, and sigma of the logarithm."""

    seconds: float
    spread: float = SPREAD


class DurationTracker:
    """How long tasks of each kind take: by the catalogue, and by the tasks that were seen."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, float, float]] = {}

    def estimate(self, kind: str) -> DurationEstimate:
        if kind not in self._seen:
            return DurationEstimate(_catalogued(kind))
        count, total, squares = self._seen[kind]
        mean = total / count
        spread = min(MOST_SPREAD, math.sqrt(max(LEAST_SPREAD**2, squares / count - mean**2)))
        # in steps, so that plans are made for some durations and not for all
        return DurationEstimate(math.exp(round(mean * 20) / 20), round(spread * 20) / 20)

    def learn(
        self, kind: str, task: Task[Any], watched: float | None, *, least: float = 0.0, most: float = math.inf
    ) -> None:
        """Add a task that has ended, in seconds: as reported, within `least` and `most`, else as `watched`."""
        if task.state != "completed":
            return
        created, ended = task.created_at, task.ended_at
        reported = (ended - created).total_seconds() if created and ended else math.nan
        took = min(max(reported, least), most) if 0 <= reported <= LONGEST_TASK else watched
        if took is None or not took >= 0:  # NaN is not a duration
            return
        x, usual = math.log(_bounded(took)), math.log(_catalogued(kind))
        prior = PRIOR_TASKS, PRIOR_TASKS * usual, PRIOR_TASKS * (usual**2 + SPREAD**2)
        count, total, squares = self._seen.get(kind, prior)
        self._seen[kind] = (count * FADING + 1, total * FADING + x, squares * FADING + x * x)


def kind_of(task: Task[Any] | None) -> str:
    """Return the name of a task in the catalogue, by its answer, including the echo of its input."""
    if task is None:
        return ""
    entry = contract.find(task.model, task.task_type, as_object(task.raw.get("input")))
    return entry.name if entry else f"{task.model} {task.task_type}"


def _catalogued(kind: str) -> float:
    entry = contract.task_types().get(kind)
    return entry.typical_seconds if entry else UNKNOWN_TYPE


def next_poll_delay(age: float, usual: DurationEstimate) -> float:
    """Return the seconds until the next poll of a task that was submitted `age` seconds ago."""
    polls = poll_schedule(usual.seconds, usual.spread)
    place = bisect_right(polls, age + SHORTEST / 2)
    if place == len(polls):
        return min(LONGEST, max(SHORTEST, TAIL * age))
    ahead = polls[place] - age
    return max(SHORTEST, ahead / math.ceil(ahead / LONGEST))  # equal parts: no poll just before a planned one


def default_timeout(usual: DurationEstimate) -> float:
    return min(LONGEST_WAIT, max(LEAST_WAIT, PATIENCE * usual.seconds))


def _bounded(seconds: float) -> float:
    return min(LONGEST_TASK, seconds) if seconds > SHORTEST_TASK else SHORTEST_TASK  # NaN too


@lru_cache(maxsize=128)
def poll_schedule(typical: float, spread: float = SPREAD) -> tuple[float, ...]:
    """Return the ages at which to poll, in seconds, for a log-normal duration with this median and spread."""
    typical, spread = _bounded(typical), min(MOST_SPREAD, spread) if spread > LEAST_SPREAD else LEAST_SPREAD
    delay = min(5.0, max(0.25, typical / 10))  # mean seconds with which the end is noticed
    # at the median, a step is a quarter of the delay
    steps = min(MOST_STEPS, max(400, math.ceil(32.0 * spread * typical / delay)))
    ages = [typical * math.exp(spread * (8.0 * step / steps - 4.0)) for step in range(steps + 1)]  # +- 4 sigma
    roots = [math.sqrt(_hazard(age, typical, spread)) for age in ages]
    gaps = [later - earlier for earlier, later in itertools.pairwise(ages)]
    running = [_surviving(age, typical, spread) for age in ages]
    total = sum(share * root * gap for share, root, gap in zip(running, roots, gaps, strict=False))
    rate = total / (2.0 * delay)
    polls: list[float] = []
    due, grown = 0.5, 0.0  # the first poll is half a step early: the end is as likely before as after it
    for age, root, gap in zip(ages, roots, gaps, strict=False):
        grown += min(1.0 / SHORTEST, rate * root) * gap
        if grown >= due:
            polls.append(age + gap)
            due = grown + 1.0
    planned = polls[0] if polls else math.inf
    early = (age for age in EARLY if spread >= EARLY_SPREAD and age < EARLY_SHARE * planned)
    return (*early, *polls)


def _surviving(age: float, median: float, spread: float) -> float:
    return 0.5 * math.erfc(math.log(age / median) / (spread * math.sqrt(2.0)))


def _hazard(age: float, median: float, spread: float) -> float:
    z = math.log(age / median) / spread
    density = math.exp(-0.5 * z * z) / (age * spread * math.sqrt(2.0 * math.pi))
    return density / max(_surviving(age, median, spread), 1e-300)
