"""The cost of a wait: polls per task and seconds until the end is noticed, beside fixed and exponential intervals.

`python benchmarks/bench_waiting.py`. The durations are drawn once with a fixed seed, so no figure depends on the
machine. "Best possible" is the least number of polls at the mean delay of the learned plan when the distribution is
known exactly. Dynamic programming over a grid of ages finds it.
"""

import math
import random
from collections.abc import Callable, Iterator
from functools import partial
from statistics import mean

import numpy as np
import numpy.typing as npt
from unitask._core.polling import SHORTEST, DurationEstimate, DurationTracker, next_poll_delay
from unitask._model.task import Output, Task

KIND = "FaceSwap"  # the catalogue says 8 s
TASKS = 4000
LEARNED_FROM = 30
GRID = 1200
Draw = Callable[[random.Random], float]
Array = npt.NDArray[np.float64]
DISTRIBUTIONS: dict[str, Draw] = {
    "as the catalogue says: median 8 s, sigma 0.5": lambda draw: 8 * math.exp(draw.gauss(0, 0.5)),
    "narrow: median 8 s, sigma 0.25": lambda draw: 8 * math.exp(draw.gauss(0, 0.25)),
    "four times slower: median 32 s, sigma 0.5": lambda draw: 32 * math.exp(draw.gauss(0, 0.5)),
    "four times faster: median 2 s, sigma 0.5": lambda draw: 2 * math.exp(draw.gauss(0, 0.5)),
    "one in three after a queue of 40 s": lambda draw: (
        8 * math.exp(draw.gauss(0, 0.3)) + (40 if draw.random() < 1 / 3 else 0)
    ),
}


def main() -> None:
    """Print a table for each distribution."""
    for name, sample in DISTRIBUTIONS.items():
        draw = random.Random(1)  # noqa: S311 - the same durations each time
        before = [sample(draw) for _ in range(LEARNED_FROM)]
        durations = [sample(draw) for _ in range(TASKS)]
        rows = {
            "fixed 1 s": _cost(durations, lambda _: 1.0),
            "fixed 3 s": _cost(durations, lambda _: 3.0),
            "fixed 5 s": _cost(durations, lambda _: 5.0),
            "1 s x 1.5, at most 10 s": _cost(durations, _exponential(1.5, 10.0)),
            "1 s x 2, at most 30 s": _cost(durations, _exponential(2.0, 30.0)),
            "unitask, nothing seen yet": _cost(
                durations, partial(next_poll_delay, usual=DurationTracker().estimate(KIND))
            ),
            f"unitask, {LEARNED_FROM} tasks seen": _cost(durations, partial(next_poll_delay, usual=_learned(before))),
        }
        delay = rows[f"unitask, {LEARNED_FROM} tasks seen"][1]
        rows["best possible at that delay"] = _optimum(durations, delay)
        print(f"\n### {name}\n\n| plan | polls a task | mean delay, s | polls x delay |\n|---|---|---|---|")
        for plan, (polls, late) in rows.items():
            print(f"| {plan} | {polls:.2f} | {late:.2f} | {polls * late:.2f} |")


def _learned(durations: list[float]) -> DurationEstimate:
    experience = DurationTracker()
    done = Task({"task_id": "1", "status": "completed"}, Output)
    for seconds in durations:
        experience.learn(KIND, done, seconds)
    return experience.estimate(KIND)


def _cost(durations: list[float], pause: Callable[[float], float]) -> tuple[float, float]:
    """Return polls a task and mean delay in seconds, for a plan that gives the pause at an age."""
    plan = list(_ages(pause, max(durations)))
    places = np.searchsorted(plan, durations)
    late = [plan[place] - end for place, end in zip(places, durations, strict=True)]
    return float(np.mean(places)) + 1, mean(late)


def _ages(pause: Callable[[float], float], until: float) -> Iterator[float]:
    age = 0.0
    while age < until:
        age += pause(age)
        yield age


def _exponential(factor: float, cap: float) -> Callable[[float], float]:
    """Return the pause at each age of a plan whose pauses grow from one second."""
    plan, pause = {0.0: 1.0}, 1.0
    age = 0.0
    while age < 1e5:
        age += pause
        pause = min(cap, pause * factor)
        plan[age] = pause
    return lambda at: plan[at]


def _optimum(durations: list[float], delay: float) -> tuple[float, float]:
    """Return the least polls for a mean delay: bisect the price of delay until the best plan has that delay."""
    low, high = 1e-3, 1e3
    best = (math.inf, math.inf)
    for _ in range(40):
        price = math.sqrt(low * high)
        best = _best_plan(durations, price)
        low, high = (price, high) if best[1] > delay else (low, price)
    return best


def _best_plan(durations: list[float], price: float) -> tuple[float, float]:
    """Return polls and delay of the plan that minimises polls + price * delay, at least `SHORTEST` between polls."""
    ends = np.sort(np.array(durations))
    ages = np.concatenate([[0.0], np.geomspace(SHORTEST, ends[-1] * 1.0001, GRID)])
    below = np.searchsorted(ends, ages, side="right").astype(float)  # how many have ended by then
    total = np.concatenate([[0.0], np.cumsum(ends)])[below.astype(int)]
    cost = np.zeros(len(ages))
    choice = np.zeros(len(ages), dtype=int)
    for place in range(len(ages) - 2, -1, -1):
        later: Array = ages[place + 1 :]
        ending = below[place + 1 :] - below[place]
        late = later * ending - (total[place + 1 :] - total[place])
        value = (len(ends) - below[place]) + price * late + cost[place + 1 :]
        value[(later - ages[place]) < SHORTEST] = math.inf
        if not np.isfinite(value).any():
            value = price * late  # the last stretch is shorter than the floor
        choice[place] = place + 1 + int(np.argmin(value))
        cost[place] = value.min()
    polls = late_sum = 0.0
    place = 0
    while place < len(ages) - 1:
        after = choice[place]
        polls += len(ends) - below[place]
        late_sum += ages[after] * (below[after] - below[place]) - (total[after] - total[place])
        place = after
    return polls / len(ends), late_sum / len(ends)


if __name__ == "__main__":
    main()
