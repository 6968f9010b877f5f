"""`python -m benchmarks.scale.collect`: many tasks at once, by every subject; print two tables, also to out/scale.md.

The first table has the CPU time of a task with five requests (a submission and four polls), beside that of the floor:
the same requests over raw sockets. The floor sends them one after another, and the paced floor with the pauses of
unitask, since the same code takes more CPU time when it runs in short bursts. It is the time of the client's process,
user and system; the server is another process. The subjects take turns; of several rounds, the least CPU time and the
medians are shown. A subject that takes long has one round, and one that cannot end within the limit is not run with
more tasks.

In the second table the durations are drawn. A delay is the time from an end at the server until the client shows it.
The plan is what the same schedule of polls (`unitask._core.polling`) gives for the tasks of that run, with an ideal
clock and requests that take no time, in several simulations whose submissions differ by at most 2 ms. The best possible
polls are computed with hindsight.
"""

import argparse
import datetime
import heapq
import json
import math
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias
from urllib.request import urlopen

import numpy as np
from unitask._core.polling import DurationTracker

from benchmarks.bench_waiting import Due, fewest_polls, polled

from .driver import PEERS, SUBJECTS
from .server import POLLS, SPREAD, Task

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "out/scale.md"
MANY = 1000  # tasks
LONG = 30.0  # seconds; a subject that takes longer has no more rounds
LONGEST = 10.0  # medians that the longest of the drawn durations lasts, with its last poll
PLANS = 5  # simulations, since what is learned first has a large effect on the delays of one
SHIFT = 0.002  # seconds by which a submission is later in one of them, at most
JOB = "map, FastTransport, journal"
# By tasks: the subjects of the second table. Published clients poll at fixed paces, which more tasks do not change.
WAITING = {100: (JOB, *PEERS), 1000: (JOB, "map", "run gathered, FastTransport"), 10_000: (JOB, "map, FastTransport")}
COSTS = ("CPU ms a task", "x floor", "x paced floor", "x a tenth of the tasks", "peak MB", "kB a waiting task", "s")
DELAYS = ("delay p50 / p95, s", "of the plan", "p95 x plan", "polls", "x best possible")
DELAYS = (*DELAYS, "CPU ms a request", "x floor")
Figures: TypeAlias = dict[str, Any]
Found: TypeAlias = dict[tuple[str, int], Figures | str]  # by subject and tasks; text says why there are no figures
BEGAN = time.monotonic()


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, nargs="+", default=[1, 100, 1000, 10_000])
    parser.add_argument("--rounds", type=int, default=2, help="0 leaves out the first table")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds that a subject may take")
    parser.add_argument("--seconds", type=float, default=10.0, help="median of the durations; 0: no second table")
    parser.add_argument("--only", nargs="+", default=list(SUBJECTS), help=", ".join(SUBJECTS))
    given = parser.parse_args()
    costs, delays = Found(), Found()
    for tasks in sorted(given.tasks) if given.rounds else ():
        costs |= in_turns(given, tasks, costs)
    for tasks in sorted(set(given.tasks) & WAITING.keys()) if given.seconds else ():
        for name in (name for name in WAITING[tasks] if name in given.only):
            delays[name, tasks] = unfit(costs, name, tasks, given.limit) or measured(given, name, tasks, given.seconds)
    PAGE.parent.mkdir(exist_ok=True)
    text = page(costs, delays, given.seconds)
    PAGE.write_text(text, encoding="utf-8")
    print(text)


def in_turns(given: argparse.Namespace, tasks: int, costs: Found) -> Found:
    """Run the subjects, in several rounds; return the figures of each."""
    runs: dict[str, list[Figures | str]] = {name: [] for name in given.only}
    for _ in range(given.rounds):
        for name, found in runs.items():
            seconds = [math.inf if isinstance(run, str) else run["seconds"] for run in found]
            if sum(seconds) < LONG:
                found.append(unfit(costs, name, tasks, given.limit) or measured(given, name, tasks))
    return {(name, tasks): together(found) for name, found in runs.items()}


def together(runs: list[Figures | str]) -> Figures | str:
    """Return the least CPU time and the medians of other figures, or why there are none."""
    figures = [run for run in runs if not isinstance(run, str)]
    if reasons := [run for run in runs if isinstance(run, str)]:
        return reasons[0]
    medians = {name: statistics.median(run[name] for run in figures) for name in figures[0]}
    return medians | {"cpu_ms": min(run["cpu_ms"] for run in figures)}


def unfit(costs: Found, name: str, tasks: int, limit: float) -> str:
    """Return why a subject is not run with so many tasks: fewer of them failed, or took too long."""
    fewer = max((fewer for other, fewer in costs if other == name and fewer < tasks), default=0)
    run, seconds = costs.get((name, fewer)), figure(costs, name, fewer) * tasks / 1000
    if isinstance(run, str):
        return run if run.startswith("not run") else f"not run: {fewer:,} {run}"
    if fewer >= MANY // 10 and seconds > limit:  # a single task says little
        return f"not run: about {seconds:.0f} s of CPU time"
    return ""


def measured(given: argparse.Namespace, name: str, tasks: int, seconds: float | None = None) -> Figures | str:
    """Return the figures of one run, or why it has none; `seconds` are the median of drawn durations."""
    how = f", durations of about {seconds} s" if seconds else ""
    print(f"{(time.monotonic() - BEGAN) / 60:5.1f} min: {name}, {tasks:,} tasks{how}", file=sys.stderr, flush=True)
    limit = given.limit + LONGEST * (seconds or 0.0)
    modules = ["-m", "benchmarks.scale.server"], ["-m", "benchmarks.scale.driver", name, str(tasks)]
    arguments = [str(seconds)] if seconds else []
    with subprocess.Popen(
        [sys.executable, *modules[0], *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            command = [sys.executable, *modules[1], url, *([] if seconds else ["--short"])]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=limit)
            with urlopen(f"{url}/_tasks") as answer:  # noqa: S310 - of the server above
                made = [Task(*task) for task in json.load(answer)[1:]]  # without the first one
        except subprocess.TimeoutExpired:
            return f"not done in {limit:.0f} s"
        finally:
            server.terminate()
    if done.returncode or not all(task.is_seen for task in made):
        return f"failed: {(done.stderr.splitlines() or ['tasks did not end'])[-1]:.100}"
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    seen = figures.pop("seen")
    return figures | (compared(made, seen) if seconds else {})


def compared(made: list[Task], seen: dict[str, float]) -> Figures:
    """Return how late ends were seen and how late the plan sees them, and the polls a task beside the fewest."""
    planned = list[float]()
    for seed in range(PLANS):
        draw, due = random.Random(seed), list[Due]()  # noqa: S311 - the same in each run
        for task in made:
            shift = draw.random() * SHIFT
            heapq.heappush(due, (task.begun + shift, task.begun + shift, task.end + shift, 0.0))
        planned += [now - end for now, end in polled(due, DurationTracker()) if end <= now]
    delays = [seen[task.id] - task.end for task in made]
    durations = np.sort([task.end - task.begun for task in made])
    polls, fewest = statistics.mean(task.polls for task in made), fewest_polls(durations, statistics.mean(delays))
    return {"delays": percentiles(delays), "plan": percentiles(planned), "polls": polls, "fewest": fewest}


def percentiles(delays: list[float]) -> list[float]:
    """Return p50 and p95."""
    return [sorted(delays)[int(len(delays) * share)] for share in (0.5, 0.95)]


def page(costs: Found, delays: Found, seconds: float) -> str:
    """Return the page."""
    now, minutes = datetime.datetime.now(datetime.UTC), (time.monotonic() - BEGAN) / 60
    about = f"Python {platform.python_version()}, {os.cpu_count()} processors, {minutes:.0f} minutes"
    first = [row(place, run, lambda run, place=place: cost_cells(costs, place, run)) for place, run in costs.items()]
    second = [row(place, run, lambda run, place=place: delay_cells(costs, place, run)) for place, run in delays.items()]
    return "\n".join(
        [
            f"# Many tasks at once\n\nMeasured on {now:%Y-%m-%d} by `make bench-scale`: {about}.",
            *("", "## A task with five requests", "", *head(COSTS), *first),
            *("", f"## Durations of {seconds:g} s, log-normal with sigma {SPREAD}", "", *head(DELAYS), *second),
            *("", "## What has to hold", "", *targets(costs, delays), ""),
        ]
    )


def head(names: Iterable[str]) -> list[str]:
    """Return the first lines of a table."""
    cells = ["subject", "tasks", *names]
    return [f"| {' | '.join(cells)} |", "|---" * len(cells) + "|"]


def row(place: tuple[str, int], run: Figures | str, cells: Callable[[Figures], list[str]]) -> str:
    """Return a line of a table."""
    texts = [run] if isinstance(run, str) else cells(run)
    return f"| {place[0]} | {place[1]:,} | {' | '.join(texts)} |"


def cost_cells(costs: Found, place: tuple[str, int], run: Figures) -> list[str]:
    """Return the cells of a row of the first table."""
    name, tasks = place
    is_many = tasks >= MANY
    return [
        f"{run['cpu_ms']:.3f}",
        ratio(run["cpu_ms"], figure(costs, "floor", tasks)),
        ratio(run["cpu_ms"], figure(costs, "paced floor", tasks)),
        ratio(run["cpu_ms"], figure(costs, name, tasks // 10), 2) if is_many else "",
        f"{run['peak_mb']:.0f}",
        ratio(memory(costs, name, tasks), 1) if is_many else "",
        f"{run['seconds']:.0f}",
    ]


def delay_cells(costs: Found, place: tuple[str, int], run: Figures) -> list[str]:
    """Return the cells of a row of the second table."""
    has_plan, request = place[0] not in PEERS, run["cpu_ms"] / (1 + run["polls"])
    return [
        "{:.2f} / {:.2f}".format(*run["delays"]),
        "{:.2f} / {:.2f}".format(*run["plan"]) if has_plan else "",
        ratio(run["delays"][1], run["plan"][1], 2) if has_plan else "",
        f"{run['polls']:.1f}",
        ratio(run["polls"], run["fewest"], 2),
        f"{request:.3f}",
        ratio(request, figure(costs, "floor", place[1]) / (1 + POLLS)),
    ]


def targets(costs: Found, delays: Found) -> Iterator[str]:
    """Yield the figures that have a limit, those of a job with a journal."""
    most, job = 10 * MANY, figure(costs, JOB, 10 * MANY)
    peers = [figure(costs, *place) for place, run in costs.items() if place[0] in PEERS and place[1] > 1]
    best = min((peer for peer in peers if peer == peer), default=math.nan)  # without NaN
    for floor in ("floor", "paced floor"):
        yield f"- {most:,} tasks, CPU time x {floor}: {ratio(job, figure(costs, floor, most))} (at most 4)"
    yield f"- {most:,} tasks, CPU time x that of {MANY:,}: {ratio(job, figure(costs, JOB, MANY), 2)} (at most 1.15)"
    yield f"- {most:,} tasks, CPU time x the best published client: {ratio(job, best, 3)} (at most 0.1)"
    yield f"- {most:,} tasks, kB a waiting task: {ratio(memory(costs, JOB, most), 1)} (at most 1.5)"
    for (name, tasks), run in delays.items():
        if name == JOB and tasks >= MANY and not isinstance(run, str):
            late = ratio(run["delays"][1], run["plan"][1], 2)
            yield f"- {tasks:,} tasks, p95 of the delay x that of the plan: {late} (at most 1.3)"


def figure(costs: Found, name: str, tasks: int, what: str = "cpu_ms") -> float:
    """Return the CPU time of a task in ms, or another figure; NaN if it was not measured."""
    run = costs.get((name, tasks))
    return math.nan if run is None or isinstance(run, str) else float(run[what])


def memory(costs: Found, name: str, tasks: int) -> float:
    """Return the kB of a waiting task beyond its input: what more of them take than a tenth does."""
    most, least = (figure(costs, name, number, "grown_kb") for number in (tasks, tasks // 10))
    return (most - least) / (tasks - tasks // 10)


def ratio(value: float, base: float, digits: int = 1) -> str:
    """Return a ratio as text, empty if it is not known."""
    return "" if math.isnan(value / base) else f"{value / base:.{digits}f}"


if __name__ == "__main__":
    main()
