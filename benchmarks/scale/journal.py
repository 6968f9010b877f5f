"""What a journal costs: three changes a task, 1,000 tasks at once. `python -m benchmarks.scale.journal`.

The CPU of a task is that of the same loop with the journal less that without one. It is compared with four times the
CPU of a task of the floor (driver.py), which is what a task of a job may cost in all.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from unitask._core.journal import Job, RowState, Verdict
from unitask.bulk import Journal

from .driver import Meter, floor

TASKS, AT_ONCE = 10_000, 1000
INTENT, OUTCOME, ID = json.dumps(["x" * 60, 1.0] * 2), json.dumps({"output": "y" * 500}), "t" * 36


class Nothing:
    """A journal that keeps nothing."""

    def done(self, *_: Any) -> "Future[Any]":
        """Return a future that is done."""
        future = Future[Any]()
        future.set_result(Verdict.GO)
        return future

    intent = accepted = ended = done


async def write(journal: Any, key: int) -> None:
    """Keep a task from its submission to its end."""
    await asyncio.wrap_future(journal.intent(key, "d" * 64, INTENT, 100))
    await asyncio.wrap_future(journal.accepted(key, ID))
    await asyncio.wrap_future(journal.ended(key, RowState.DONE, OUTCOME, 100))


async def measured(task: Callable[[int], Awaitable[None]]) -> tuple[float, float]:
    """Return the microseconds of CPU for a task, and the tasks in a second."""
    keys = iter(range(TASKS))

    async def worker() -> None:
        for key in keys:
            await task(key)

    cpu, began = time.process_time(), time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    return (time.process_time() - cpu) / TASKS * 1e6, TASKS / (time.perf_counter() - began)


async def cpu_of_floor(address: str) -> float:
    """Return the microseconds of CPU for a task over raw sockets."""
    before = time.process_time()
    await floor(address, TASKS, Meter())
    return (time.process_time() - before) / TASKS * 1e6


async def main(address: str) -> None:
    """Print the figures."""
    raw = min([await cpu_of_floor(address) for _ in range(3)])
    nothing = min([(await measured(lambda key: write(Nothing(), key)))[0] for _ in range(3)])
    rounds: list[tuple[float, float]] = []
    for _ in range(3):
        with tempfile.TemporaryDirectory(dir=".") as folder, Journal(Path(folder) / "job.db") as journal:
            journal.begin(Job("account", address, 10**15))
            rounds.append(await measured(lambda key, journal=journal: write(journal, key)))  # type: ignore[misc]  # a default
            began = time.perf_counter()
            journal.totals()
            totals = (time.perf_counter() - began) * 1e3
            tracemalloc.start()
            for _ in journal.rows():
                pass
            peak = tracemalloc.get_traced_memory()[1] / 1e6
            tracemalloc.stop()
    cpu = min(cpu for cpu, _ in rounds) - nothing
    print(f"floor: {raw:.0f} us of CPU a task; the journal: {cpu:.0f} us, {cpu / raw:.2f} of the floor, ", end="")
    print(f"{cpu / (4 * raw):.0%} of a task that costs four times the floor (at most 15 %)")
    print(f"{max(rate for _, rate in rounds):.0f} tasks/s (at least 500); ", end="")
    print(f"totals in {totals:.1f} ms; {peak:.1f} MB to read {TASKS} rows")


if __name__ == "__main__":
    server = subprocess.Popen([sys.executable, "-m", "benchmarks.scale.server"], stdout=subprocess.PIPE, text=True)
    try:
        asyncio.run(main(server.stdout.readline().strip() if server.stdout else ""))
    finally:
        server.kill()
