"""What a journal costs: three changes a task, 1,000 tasks at once. `python -m benchmarks.scale.journal`.

The CPU of a task is that of the same loop with the journal less that without one. It is compared with four times the
CPU of five requests over a raw asyncio socket, which is what a task of a job may cost in all.
"""

import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from unitask._core.journal import Job, RowState, Verdict
from unitask.bulk import Journal

TASKS, AT_ONCE, CONNECTIONS, REQUESTS = 10_000, 1000, 50, 5
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


class Raw(asyncio.Protocol):
    """A client of the floor: one request at a time."""

    answered: "asyncio.Future[bytes]"

    def data_received(self, data: bytes) -> None:
        """Report an answer, which comes in one piece."""
        self.answered.set_result(data)

    async def request(self, transport: Any, head: str) -> bytes:
        """Send a request and return its answer."""
        self.answered = asyncio.get_running_loop().create_future()
        transport.write(head.encode())
        return await self.answered


async def floor(address: str) -> float:
    """Return the microseconds of CPU for a task over raw sockets."""
    host = urlsplit(address)
    loop, pool = asyncio.get_running_loop(), asyncio.Queue[Any]()
    for _ in range(CONNECTIONS):
        pool.put_nowait(await loop.create_connection(Raw, host.hostname, host.port))

    async def task(_: int) -> None:
        transport, client = await pool.get()
        path, method = "/unitask/api/v1/task", "POST"
        for _ in range(REQUESTS):
            head = f"{method} {path} HTTP/1.1\r\nhost: {host.netloc}\r\ncontent-length: 0\r\n\r\n"
            found = re.search(r"ID-\d+", (await client.request(transport, head)).decode())
            path, method = f"/unitask/api/v1/task/{found.group() if found else ''}", "GET"
        pool.put_nowait((transport, client))

    return (await measured(task))[0]


async def measured(task: Callable[[int], Awaitable[None]]) -> tuple[float, float]:
    """Return the microseconds of CPU for a task, and the tasks in a second."""
    keys = iter(range(TASKS))

    async def worker() -> None:
        for key in keys:
            await task(key)

    cpu, began = time.process_time(), time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    return (time.process_time() - cpu) / TASKS * 1e6, TASKS / (time.perf_counter() - began)


async def main(address: str) -> None:
    """Print the figures."""
    raw = min([await floor(address) for _ in range(3)])
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
