"""The cost of waits: polls a task times the mean delay until its end is noticed, beside the best possible.

`python benchmarks/bench_waiting.py`. Many tasks are simulated with fixed seeds, so no figure depends on the machine.
The best possible polls are computed from all durations, with hindsight; they notice the end as early on average.
"""

import heapq
import math
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from unitask._core.polling import SHORTEST, DurationTracker

KIND = "FaceSwap"  # the catalogue says 8 s
IN_FLIGHT = (1, 100, 1000)
TASKS = 6000  # in all runs together; each run begins with nothing learned
SPACING = 0.01  # seconds between the first submissions
Draw = Callable[[random.Random], float]
Due: TypeAlias = tuple[float, float, float, float]  # next poll, submission, end, age at the last poll


class Shape(NamedTuple):
    """How long tasks take."""

    work: Draw  # seconds
    workers: int = 0  # that tasks wait for; 0: no task waits


class Growing(DurationTracker):
    """Pauses that grow from one second by half, up to ten seconds, whatever was seen."""

    def next_poll_delay(self, kind: str, age: float) -> float:  # noqa: ARG002
        """Return the pause after a poll at this age."""
        end, seconds = 0.0, 1.0
        while end < age:
            end, seconds = end + seconds, min(10.0, seconds * 1.5)
        return seconds


def lognormal(median: float, spread: float = 0.5) -> Draw:
    """Return durations around a median in seconds; the spread is sigma of the logarithm."""
    return lambda draw: median * math.exp(draw.gauss(0, spread))


def queued(draw: random.Random) -> float:
    """Draw a duration of 8 s, for one task in three after 40 s in a queue."""
    return lognormal(8)(draw) + (40 if draw.random() < 1 / 3 else 0)


def tailed(draw: random.Random) -> float:
    """Draw a duration of 8 s, for 12 % of the tasks one with a Pareto tail."""
    return min(3600.0, 8 * draw.paretovariate(1.5)) if draw.random() < 0.12 else lognormal(8)(draw)


SHAPES = {
    "log-normal 8 s, sigma 0.5": Shape(lognormal(8)),
    "one third waits 40 s first": Shape(queued),
    "Pareto tail in 12 %": Shape(tailed),
    "8 times slower than the catalogue": Shape(lognormal(64)),
    "8 times faster": Shape(lognormal(1)),
    "work 8 s behind 25 workers": Shape(lognormal(8, 0.3), 25),
    "work 8 s behind 100 workers": Shape(lognormal(8, 0.3), 100),
}


def main() -> None:
    """Print the table."""
    print(
        "Product of polls a task and mean delay over the best possible; in brackets polls a task x delay in seconds\n"
    )
    print("| durations | in flight | unitask | pauses of 1 s x 1.5, at most 10 s |\n|---|---|---|---|")
    for name, shape in SHAPES.items():
        for in_flight in IN_FLIGHT:
            cells = [cell(shape, in_flight, plan) for plan in (DurationTracker, Growing)]
            print(f"| {name} | {in_flight:,} | {' | '.join(cells)} |", flush=True)


def cell(shape: Shape, in_flight: int, plan: Callable[[], DurationTracker], each: int = 300, tasks: int = TASKS) -> str:
    """Return the cost of a plan, over all its runs of at least so many tasks each."""
    each = max(each, 2 * in_flight)
    runs = [simulate(shape, in_flight, each, plan(), random.Random(seed)) for seed in range(tasks // each)]  # noqa: S311
    polls = sum(run[0] for run in runs) / (each * len(runs))
    delay = sum(run[1] for run in runs) / (each * len(runs))
    durations = np.sort(np.concatenate([run[2] for run in runs]))
    return f"{polls / fewest_polls(durations, delay):.2f} ({polls:.1f} x {delay:.2f})"


def simulate(
    shape: Shape, in_flight: int, count: int, plan: DurationTracker, draw: random.Random
) -> tuple[int, float, list[float]]:
    """Return polls, seconds of delay and durations of a run in which the next task begins when an end is noticed."""
    free = [0.0] * shape.workers  # when each worker is free, a heap
    due = list[Due]()
    polls, late, durations = 0, 0.0, list[float]()

    def submit(now: float) -> None:
        work = shape.work(draw)
        end = max(now, free[0]) + work if free else now + work
        if free:
            heapq.heapreplace(free, end)
        durations.append(end - now)
        heapq.heappush(due, (now, now, end, 0.0))

    for number in range(in_flight):
        submit(number * SPACING)
    for now, end in polled(due, plan):
        polls += 1
        if end <= now:
            late += now - end
            if len(durations) < count:
                submit(now)
    return polls, late, durations


def polled(due: list[Due], plan: DurationTracker) -> Iterator[tuple[float, float]]:
    """Poll tasks when the plan says so, with an ideal clock and requests that take no time.

    Args:
        due: The tasks, a heap that the caller may add to; a task begins with its submission as the next poll, and 0.0.
        plan: It learns from the polls, as in a client.

    Returns:
        For each poll its time, and the end of its task.
    """
    while due:
        now, begun, end, before = heapq.heappop(due)
        planned = begun + before + plan.next_poll_delay(KIND, before)  # again: others may have ended, or not
        if planned >= now + SHORTEST:
            heapq.heappush(due, (planned, begun, end, before))
            continue
        plan.note_poll(KIND, before, now - begun, ended=now >= end)
        yield now, end
        if now < end:
            heapq.heappush(due, (now + plan.next_poll_delay(KIND, now - begun), begun, end, now - begun))


def fewest_polls(durations: "np.ndarray[Any, np.dtype[np.float64]]", delay: float) -> float:
    """Return the polls a task of the best fixed ages that notice the ends of these durations with this mean delay."""
    shares = np.linspace(0.0, 1.0, 300)
    ages = np.unique(np.append(np.quantile(durations, shares), shares * durations[-1]))
    ended = np.searchsorted(durations, ages, side="right")
    seconds = np.concatenate([[0.0], np.cumsum(durations)])[ended]
    points = list[tuple[float, float]]()  # delay and polls, for a price of each poll in seconds of delay
    for price in np.geomspace(0.05, 60.0, 24):
        cost, following = np.zeros(len(ages)), np.zeros(len(ages), int)
        for age in range(len(ages) - 2, -1, -1):
            running = price * (len(durations) - ended[age])
            late = ages[age + 1 :] * (ended[age + 1 :] - ended[age]) - (seconds[age + 1 :] - seconds[age])
            total = running + late + cost[age + 1 :]
            following[age] = age + 1 + int(np.argmin(total))
            cost[age] = total.min()
        polls, age = 0, 0
        while ended[age] < len(durations):
            polls, age = polls + int(len(durations) - ended[age]), int(following[age])
        points.append(((cost[0] - price * polls) / len(durations), polls / len(durations)))
    logs = np.log(np.array(points))
    return math.exp(float(np.interp(math.log(delay), logs[:, 0], logs[:, 1])))


if __name__ == "__main__":
    main()
