"""`python -m benchmarks.scale.collect`: many tasks at once, in turns by every subject; print one table.

CPU time is that of the client's process, user and system; the server is another process. Of several rounds, the least
CPU time and the median delay are shown. `--seconds` draws durations; otherwise a task ends at its fourth poll. The
loops poll without a pause, so they are left out with `--seconds`.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias
from urllib.request import urlopen

from .driver import LOOPS, PEERS, SUBJECTS

ROOT = Path(__file__).resolve().parents[2]
Figures: TypeAlias = dict[str, Any]
MOST_OF_PEERS = 1000  # tasks
HEAD = (
    "subject",
    "tasks",
    "CPU ms a task",
    "x floor",
    "delay p50 / p95, s",
    "polls a task",
    "peak MB",
    "kB a task",
    "s",
)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, nargs="+", default=[1, 100, 1000, 10_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=60.0, help="seconds that a subject may take")
    parser.add_argument("--seconds", type=float, help="the median of the durations of tasks")
    parser.add_argument("--only", nargs="+", default=list(SUBJECTS), help=", ".join(SUBJECTS))
    given = parser.parse_args()
    print(f"| {' | '.join(HEAD)} |\n{'|---' * len(HEAD)}|")
    with serving(given.seconds) as url:
        for tasks in given.tasks:
            left_out = (*(PEERS if tasks > MOST_OF_PEERS else ()), *(LOOPS if given.seconds else ()))
            chosen = [name for name in given.only if name not in left_out]
            runs = defaultdict[str, list[Figures | str]](list)
            for _ in range(given.rounds):
                for name in chosen:
                    if not any(isinstance(run, str) for run in runs[name]):
                        runs[name].append(measured(name, tasks, url, given.limit))
            floor = min((run["cpu_ms"] for run in runs["floor"] if not isinstance(run, str)), default=float("nan"))
            for name in chosen:
                print(row(name, tasks, runs[name], floor, given), flush=True)


@contextmanager
def serving(seconds: float | None) -> Iterator[str]:
    """Run the server; yield its address."""
    command = [sys.executable, "-m", "benchmarks.scale.server", *([str(seconds)] if seconds else [])]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def measured(name: str, tasks: int, url: str, limit: float) -> Figures | str:
    """Return the figures of one run, or why it has none."""
    command = [sys.executable, "-m", "benchmarks.scale.driver", name, str(tasks), url]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return f"not done in {limit:.0f} s"
    finally:
        with urlopen(f"{url}/_ends") as answer:  # noqa: S310 - of the server above
            ends: list[tuple[float, int]] = json.load(answer)[1:]  # without the first task
    if done.returncode:
        return f"ended with {done.stderr.splitlines()[-1]}"
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    delays = sorted(delay for delay, _ in ends)
    percentiles = [delays[int(len(delays) * share)] for share in (0.5, 0.95)]
    return {**figures, "delays": percentiles, "polls": statistics.mean(polls for _, polls in ends)}


def row(name: str, tasks: int, found: list[Figures | str], floor: float, given: argparse.Namespace) -> str:
    """Return a row of the table."""
    if isinstance(reason := found[-1], str):
        return f"| {name} | {tasks:,} | {reason} {'| ' * (len(HEAD) - 2)}|"
    runs = [run for run in found if not isinstance(run, str)]
    cpu = min(run["cpu_ms"] for run in runs)
    half, most = (statistics.median(run["delays"][place] for run in runs) for place in (0, 1))
    delays = f"{half:.2f} / {most:.2f}" if given.seconds else ""
    polls, memory, peak, seconds = (
        statistics.median(run[figure] for run in runs) for figure in ("polls", "kb_a_task", "peak_mb", "seconds")
    )
    cells = (
        f"{cpu:.3f}",
        "" if given.seconds else f"{cpu / floor:.1f}",
        delays,
        f"{polls:.1f}",
        f"{peak:.0f}",
        f"{memory:.1f}",
        f"{seconds:.0f}",
    )
    return f"| {name} | {tasks:,} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
