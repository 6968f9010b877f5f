"""When to poll next: often around the usual end of such a task, rarely before and after (ARCHITECTURE.md).

Polling at rate r(t) costs E[n] = integral of S r dt polls and a delay E[d] = integral of S h / (2 r) dt,
where S is the share of tasks that still run at age t and h their rate of completion. Their product is least when r is
proportional to the square root of h (Barlow, Hunter and Proschan 1963): r(t) = J / (2 D) sqrt(h(t)) for a mean delay D,
with J = integral of S sqrt(h) dt. The next poll is where the integral of r has grown by one.

h is a life table: for each bin of ages, how many tasks passed through it and how many of them ended there. Tasks that
still run count as far as they were polled. Before the first task, and where little was seen, the catalogue's typical
time counts.
"""

import itertools
import math
from bisect import bisect_right
from typing import Any

from unitask_api import contract

from .._model._json import as_object
from .._model.task import Task

SHORTEST = 0.5  # seconds between polls, at least
LONGEST = 30.0  # seconds between polls, at most: provider speed changes, and the tail of h is unreliable
SHAPE = 2.2  # of the log-logistic prior: as wide as a log-normal with sigma 0.8, since the catalogue is rough
UNKNOWN_TYPE = 30.0  # seconds; the usual duration of an unknown task type
PATIENCE = 20.0  # a wait ends by default after this many times the usual duration, but not before
LEAST_WAIT = 600.0  # seconds
LONGEST_WAIT = 86_400.0  # seconds; no default limit is longer
PRIOR_TASKS = 1.0  # the catalogue counts like this many tasks
UNFORESEEN = 0.04  # polls are planned as if so many more ended in each bin of which little was seen
SHORTEST_TASK = 0.1  # seconds; what ended sooner counts as this
LONGEST_TASK = 6 * 3600.0  # seconds; what took longer counts as this
STEP = 0.2  # logarithm of the ratio of the ages at the ends of a bin
BINS = math.ceil(math.log(LONGEST_TASK / SHORTEST_TASK) / STEP)
EDGES = (0.0, *(SHORTEST_TASK * math.exp(STEP * place) for place in range(1, BINS + 1)))  # seconds
LAST_PLACE = math.log(LONGEST_TASK / SHORTEST_TASK) / STEP  # among the bins
WIDTHS = tuple(end - start for start, end in itertools.pairwise(EDGES))
MOST_TASKS = 128.0  # in a bin; with more of them, each counts less, so that old ones fade
MOST_KINDS = 256
FIRST = 1.5  # integral of r at the first poll: few tasks have ended after a full step
EARLY = 0.75  # seconds; age of the first poll, at most, while fewer tasks than PRIOR_TASKS were seen at that age;
GROWTH = 1.5  # then the pause is at most this many times the age: the provider may be faster than the catalogue says
NEW_PLAN = 256.0  # new facts until the next plan, at most; fewer while there are few


class DurationTracker:
    """How long tasks of each kind take: by the catalogue, and by the polls of all tasks. Ages are since submission."""

    def __init__(self) -> None:
        self._kinds: dict[str, _LifeTable] = {}

    def next_poll_delay(self, kind: str, age: float) -> float:
        """Return the seconds between a poll (or the submission) at this age and the next poll.

        When that poll is due, the same call may give a longer delay: other tasks of the kind were polled meanwhile.
        """
        return self._table(kind).delay(age)

    def usual_seconds(self, kind: str) -> float:
        """Return the median duration, at most the longest that was seen: when nothing ends, time limits do not grow."""
        table = self._table(kind)
        return min((table.plan or table.planned())[0], table.longest)

    def default_timeout(self, kind: str) -> float:
        """Return the seconds that a wait for a task lasts by default, by what was learned until the last plan."""
        table = self._table(kind)
        return (table.plan or table.planned())[1]

    def note_poll(self, kind: str, before: float, age: float, *, ended: bool) -> None:
        """Add a poll: the task had not ended at the age `before`; at `age` it still runs, or it was completed."""
        start, end = _place(before), _place(age)
        if end > start:
            table = self._table(kind)
            table.add(start, end)
            if ended:
                table.add_end(start, end)

    def note_end(
        self, kind: str, task: Task[Any], before: float, age: float, least: float = 0.0, most: float = math.inf
    ) -> None:
        """Add the end of a task that had not ended at the age `before`; ignore a task that was not completed.

        Its duration is the reported one, within `least` and `most`. If none is reported, it ended between `before` and
        `age`; NaN for an unknown age adds nothing.
        """
        if task.state != "completed":
            return
        created, ended = task.created_at, task.ended_at
        reported = (ended - created).total_seconds() if created and ended else math.nan
        if 0 <= reported <= LONGEST_TASK:
            table = self._table(kind)
            start, end = _place(before), _place(min(max(reported, least), most))
            table.add(min(start, end), end)
            table.add_end(end, end)
        else:
            self.note_poll(kind, before, age, ended=True)

    def _table(self, kind: str) -> "_LifeTable":
        table = self._kinds.get(kind)
        if table is None:
            if len(self._kinds) >= MOST_KINDS:
                self._kinds.pop(next(iter(self._kinds)), None)
            entry = contract.task_types().get(kind)
            table = self._kinds[kind] = _LifeTable(entry.typical_seconds if entry else UNKNOWN_TYPE)
        return table


class _LifeTable:
    """How many tasks of a kind passed through each bin of ages, how many ended there, and the plan that follows."""

    __slots__ = ("_catalogued", "_ended", "_hazards", "_new", "_passed", "_seen", "longest", "plan")

    def __init__(self, typical: float) -> None:
        integrals = (math.log1p((age / typical) ** SHAPE) for age in EDGES)
        self._catalogued = [end - start for start, end in itertools.pairwise(integrals)]
        self._passed, self._ended, self._hazards = [0.0] * BINS, [0.0] * BINS, self._catalogued
        self._seen, self._new, self.longest = 0.0, 0.0, typical
        self.plan: tuple[float, float, list[float], list[float]] | None = (
            None  # as `planned` returns it; None: make a new one
        )

    def add(self, start: float, end: float) -> None:
        """Add a task that passed from one place to another."""
        passed, first, last = self._passed, int(start), int(end)
        passed[first] -= start - first
        passed[last] += end - last
        for place in range(first, last):
            passed[place] += 1.0
        self._note(1.0)

    def add_end(self, start: float, end: float) -> None:
        """Add an end between two places: to each bin the share that the hazard gives it."""
        places = range(int(start), int(end) + 1)
        chances = [self._hazards[place] * (min(end, place + 1) - max(start, place)) for place in places]
        total = math.fsum(chances)
        for place, chance in zip(places, chances, strict=True):
            self._ended[place] += chance / total if total > 0 else 1.0 / len(places)
        self.longest = max(self.longest, EDGES[int(end) + 1])
        self._note(8.0)

    def _note(self, facts: float) -> None:
        self._seen += facts
        self._new += facts
        if self._new >= min(NEW_PLAN, 8.0 + self._seen / 8):
            self.plan, self._new = None, 0.0

    def delay(self, age: float) -> float:
        *_, rates, grown = self.plan or self.planned()
        age = age if 0.0 < age < LONGEST_TASK else 0.0 if not age > 0.0 else LONGEST_TASK
        place = int(_place(age))
        due = max(FIRST, grown[place] + (age - EDGES[place]) * rates[place] + 1.0)
        goal = bisect_right(grown, due, 0, BINS) - 1
        delay = EDGES[goal] + (due - grown[goal]) / rates[goal] - age
        if self._passed[place] < PRIOR_TASKS:
            delay = min(delay, max(EARLY, GROWTH * age))
        return SHORTEST if delay < SHORTEST else min(LONGEST, delay)

    def planned(self) -> tuple[float, float, list[float], list[float]]:
        """Make a plan: the median, the time limit, and for each bin the rate of polls and its integral up to it."""
        for place, passed in enumerate(self._passed):
            if passed > MOST_TASKS:
                self._ended[place] *= MOST_TASKS / passed
                self._passed[place] = MOST_TASKS
        hazards, roots = [0.0] * BINS, [0.0] * BINS
        facts = zip(_smooth(self._ended), _smooth(self._passed), self._catalogued, WIDTHS, strict=True)
        for place, (ended, passed, catalogued, width) in enumerate(facts):
            hazards[place] = (ended + PRIOR_TASKS * catalogued) / (passed + PRIOR_TASKS)
            roots[place] = math.sqrt((hazards[place] + UNFORESEEN * PRIOR_TASKS / (passed + PRIOR_TASKS)) / width)
        running, total, median = 1.0, 0.0, EDGES[-1]
        for start, width, hazard, root in zip(EDGES, WIDTHS, hazards, roots, strict=False):
            after = running * math.exp(-hazard)
            if after <= 0.5 < running:
                median = start + width * math.log(2.0 * running) / hazard
            total += (running - after) / root  # the integral of S h / r, for r = root
            running = after
        factor = total / (2.0 * min(5.0, max(0.25, median / 10)))  # r = factor root for this mean delay, in seconds
        rates = [min(1.0 / SHORTEST, max(1.0 / LONGEST, factor * root)) for root in roots]
        steps = (rate * width for rate, width in zip(rates, WIDTHS, strict=True))
        limit = default_timeout(min(median, self.longest))
        plan = median, limit, rates, list(itertools.accumulate(steps, initial=0.0))
        self._hazards, self.plan = hazards, plan
        return plan


def kind_of(task: Task[Any] | None) -> str:
    """Return the name of a task in the catalogue, by its answer, including the echo of its input."""
    if task is None:
        return ""
    entry = contract.find(task.model, task.task_type, as_object(task.raw.get("input")))
    return entry.name if entry else f"{task.model} {task.task_type}"


def default_timeout(usual: float) -> float:
    """Return the seconds that a wait for a task lasts by default, by its usual seconds."""
    return min(LONGEST_WAIT, max(LEAST_WAIT, PATIENCE * usual))


def _place(age: float) -> float:
    """Return the place of an age among the bins; of what is not an age, 0."""
    if not age > SHORTEST_TASK:
        return 0.0
    return math.log(age / SHORTEST_TASK) / STEP if age < LONGEST_TASK else LAST_PLACE


def _smooth(values: list[float]) -> list[float]:
    return [(a + 2 * b + c) / 4 for a, b, c in zip([0.0, *values], values, [*values[1:], 0.0], strict=False)]
