"""When to poll next: often around the usual end of such a task, rarely before and after.

Polling at rate r(t) costs E[n] = integral of S r dt polls and a delay E[d] = integral of S h / (2 r) dt,
where S is the share of tasks that still run at age t and h their rate of completion. Their product is least when r is
proportional to the square root of h (Barlow, Hunter and Proschan 1963): r(t) = J / (2 D) sqrt(h(t)) for a mean delay D,
with J = integral of S sqrt(h) dt. The next poll is where the integral of r has grown by one.

Durations are taken to be log-normal. What the catalogue says counts like a few tasks; each task that is seen to end
counts as one, and older ones fade, because the provider's speed changes.

A provider can also be far faster than the catalogue says: a local one, or one that has the result already. While little
is known of a kind, a few early polls find that out: at 0.75, 2, 5 and 12 seconds, each only if it comes well before the
first planned poll. They cost one extra poll for a task of 8 seconds, and four for one of ten minutes. They are left
out once a few tasks of the kind took about as long as expected.

What a provider says of times is not trusted: durations are cut to what the client saw itself, where it saw it, and to
the bounds below; the number of planned polls is bounded too.
"""

from __future__ import annotations

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
LONGEST = 30.0  # seconds between polls, at most: provider speed changes, and the tail of h is not to be trusted
SPREAD = 0.8  # sigma of the logarithm of durations: a rough prior for a catalogue figure that is rough itself
UNKNOWN_TYPE = 30.0  # seconds; the usual duration of a task of which nothing is known
PATIENCE = 20.0  # a wait ends by default after this many times the typical duration, but not before
LEAST_WAIT = 600.0  # seconds
PRIOR_TASKS = 3.0  # what the catalogue says counts like this many tasks
FADING = 0.95  # with each task that is seen, all before it count this much less
SHORTEST_TASK = 0.1  # seconds; what ended sooner counts as this
LONGEST_TASK = 6 * 3600.0  # seconds; what took longer counts as this, and a provider that says more is not believed
LONGEST_WAIT = 86_400.0  # seconds; no default limit is longer
LEAST_SPREAD = 0.15
MOST_SPREAD = 3.0  # four of them are a factor of 160,000
EARLY = (0.75, 2.0, 5.0, 12.0)  # seconds; ages of the early polls, which find a provider far faster than expected
EARLY_SPREAD = 0.7  # with a smaller spread, enough is known of a kind to leave them out
EARLY_SHARE = 0.6  # an early poll comes before this share of the age of the first planned one
MOST_STEPS = 4096  # of the integral, and so of the planned polls
TAIL = 0.25  # beyond the plan, the pause is this share of the age


@dataclass(frozen=True, slots=True)
class DurationEstimate:
    """How long tasks of a kind take.

    Attributes:
        seconds: The median.
        spread: Sigma of the logarithm.
    """

    seconds: float
    spread: float = SPREAD


class DurationTracker:
    """How long tasks of each kind take: what the catalogue says, sharpened by what was seen."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, float, float]] = {}

    def estimate(self, kind: str) -> DurationEstimate:
        """What is known of a kind: a name of the catalogue, or model and task type of one that is not in it."""
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
        """Add a task that has ended.

        Args:
            kind: What it was.
            task: The task; only a completed one shows how long the work takes.
            watched: Seconds from its submission to the poll that found it, for a provider that reports no times; None
                when that is not known, since it was done before anybody looked.
            least: Seconds that it took at least, since this client saw it not yet done.
            most: Seconds that it took at most, since this client submitted it. What the provider says is cut to both.
        """
        if task.state != "completed":
            return
        created, ended = task.created_at, task.ended_at
        reported = (ended - created).total_seconds() if created and ended else math.nan
        took = min(max(reported, least), most) if 0 <= reported <= LONGEST_TASK else watched
        if took is None or not took >= 0:  # not a number is no duration either
            return
        x = math.log(_bounded(took))
        count, total, squares = self._seen.get(kind) or _prior(_catalogued(kind))
        self._seen[kind] = (count * FADING + 1, total * FADING + x, squares * FADING + x * x)


def kind_of(task: Task[Any] | None) -> str:
    """What a task is in the catalogue, as its answer says, the echo of its input included."""
    if task is None:
        return ""
    entry = contract.find(task.model, task.task_type, as_object(task.raw.get("input")))
    return entry.name if entry else f"{task.model} {task.task_type}"


def _catalogued(kind: str) -> float:
    entry = contract.task_types().get(kind)
    return entry.typical_seconds if entry else UNKNOWN_TYPE


def _prior(typical: float) -> tuple[float, float, float]:
    mean = math.log(typical)
    return PRIOR_TASKS, PRIOR_TASKS * mean, PRIOR_TASKS * (mean**2 + SPREAD**2)


def next_poll_delay(age: float, usual: DurationEstimate) -> float:
    """Seconds from now until the next poll of a task of this age, in seconds since it was submitted."""
    polls = poll_schedule(usual.seconds, usual.spread)
    place = bisect_right(polls, age + SHORTEST / 2)
    if place == len(polls):
        return min(LONGEST, max(SHORTEST, TAIL * age))
    ahead = polls[place] - age
    return max(SHORTEST, ahead / math.ceil(ahead / LONGEST))  # equal parts: no poll just before a planned one


def default_timeout(usual: DurationEstimate) -> float:
    """Seconds after which a wait for such a task ends, when the caller does not say."""
    return min(LONGEST_WAIT, max(LEAST_WAIT, PATIENCE * usual.seconds))


def mean_delay(typical: float) -> float:
    """How late, in seconds, the end may be noticed on average: a tenth of the usual duration, 0.25 to 5 s."""
    return min(5.0, max(0.25, typical / 10))


def _bounded(seconds: float) -> float:
    """A duration within the bounds of what is learned and planned; the shortest for what is no number."""
    return min(LONGEST_TASK, seconds) if seconds > SHORTEST_TASK else SHORTEST_TASK


@lru_cache(maxsize=128)
def poll_schedule(typical: float, spread: float = SPREAD) -> tuple[float, ...]:
    """The ages at which to poll, in seconds, for a log-normal duration with this median and spread.

    They are at most `MOST_STEPS` and a few early ones, whatever the figures are.
    """
    typical, spread = _bounded(typical), min(MOST_SPREAD, spread) if spread > LEAST_SPREAD else LEAST_SPREAD
    # at the median, a step is a quarter of the delay
    steps = min(MOST_STEPS, max(400, math.ceil(32.0 * spread * typical / mean_delay(typical))))
    ages = [typical * math.exp(spread * (8.0 * step / steps - 4.0)) for step in range(steps + 1)]  # +- 4 sigma
    roots = [math.sqrt(_hazard(age, typical, spread)) for age in ages]
    gaps = [later - earlier for earlier, later in itertools.pairwise(ages)]
    running = [_surviving(age, typical, spread) for age in ages]
    total = sum(share * root * gap for share, root, gap in zip(running, roots, gaps, strict=False))
    rate = total / (2.0 * mean_delay(typical))
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
    """Share of the tasks that run longer than this."""
    return 0.5 * math.erfc(math.log(age / median) / (spread * math.sqrt(2.0)))


def _hazard(age: float, median: float, spread: float) -> float:
    """Rate of completion at this age, per second, among those that still run."""
    z = math.log(age / median) / spread
    density = math.exp(-0.5 * z * z) / (age * spread * math.sqrt(2.0 * math.pi))
    return density / max(_surviving(age, median, spread), 1e-300)
