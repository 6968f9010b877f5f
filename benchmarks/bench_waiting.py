"""The cost of a wait: polls per task and seconds until the end is noticed, beside fixed and exponential intervals.

`python benchmarks/bench_waiting.py`. The durations are drawn once with a fixed seed, so no figure depends on the
machine.
"""

import math
import random
from collections.abc import Callable
from functools import partial

import numpy as np
from unitask._core.polling import DurationEstimate, DurationTracker, next_poll_delay
from unitask._model.task import Output, Task

KIND = "FaceSwap"  # the catalogue says 8 s
TASKS = 4000
LEARNED_FROM = 30
Draw = Callable[[random.Random], float]
Pause = Callable[[float], float]  # from the age of a task to the seconds until the next poll
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
        plans: dict[str, Pause] = {
            "fixed 1 s": lambda _: 1.0,
            "fixed 3 s": lambda _: 3.0,
            "fixed 5 s": lambda _: 5.0,
            "1 s x 1.5, at most 10 s": exponential(1.5, 10.0),
            "1 s x 2, at most 30 s": exponential(2.0, 30.0),
            "unitask, nothing seen yet": partial(next_poll_delay, usual=DurationTracker().estimate(KIND)),
            f"unitask, {LEARNED_FROM} tasks seen": partial(next_poll_delay, usual=learned(before)),
        }
        print(f"\n### {name}\n\n| plan | polls a task | mean delay, s | polls x delay |\n|---|---|---|---|")
        for plan, pause in plans.items():
            polls, delay = cost(durations, pause)
            print(f"| {plan} | {polls:.2f} | {delay:.2f} | {polls * delay:.2f} |")


def learned(durations: list[float]) -> DurationEstimate:
    """Return the estimate of a client that has seen tasks of these durations."""
    tracker = DurationTracker()
    done = Task({"task_id": "1", "status": "completed"}, Output)
    for seconds in durations:
        tracker.learn(KIND, done, seconds)
    return tracker.estimate(KIND)


def cost(durations: list[float], pause: Pause) -> tuple[float, float]:
    """Return polls a task and mean delay in seconds."""
    ages = [pause(0.0)]
    while ages[-1] < max(durations):
        ages.append(ages[-1] + pause(ages[-1]))
    number = np.searchsorted(ages, durations)
    return float(np.mean(number)) + 1, float(np.mean(np.array(ages)[number] - durations))


def exponential(factor: float, longest: float) -> Pause:
    """Return a plan whose pauses grow from one second; every poll but the first is at the end of a pause."""

    def pause(age: float) -> float:
        end, seconds = 0.0, 1.0
        while end < age:
            end, seconds = end + seconds, min(longest, seconds * factor)
        return seconds

    return pause


if __name__ == "__main__":
    main()
