"""What `unitask record` costs: `python -m benchmarks.scale.recording`.

The traffic is that of tasks: a submission, then four polls. The proxy runs as users start it: it forwards, redacts,
checks and writes each exchange. Exchanges a second of one core are exchanges divided by CPU seconds of the process, so
they hold on a busy machine, too.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.scale.driver import RawConnection

CONNECTIONS = 16
ROUNDS, SINGLE = 5, 100  # exchanges one after the other; the best round counts, since others use the machine, too
FIRST, ALL = 1_000, 10_000  # exchanges, after which memory is read
EXAMPLE = Path(__file__).resolve().parents[2] / "spec/examples/faceswap/face-swap.request.json"
WANTED, WANTED_DELAY, WANTED_GROWTH = 1_000, 5.0, 4.0  # exchanges/s, milliseconds, MiB


class Process:
    """A server in a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        assert found, "the server did not start"
        self.url, self.process, self._stat = found[0], process, Path(f"/proc/{process.pid}")

    def cpu(self) -> float:
        """Return the CPU seconds that it has used."""
        used = (self._stat / "stat").read_text().rpartition(")")[2].split()[11:13]
        return sum(map(int, used)) / os.sysconf("SC_CLK_TCK")

    def mib(self) -> float:
        """Return the memory that it occupies."""
        return int((self._stat / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextmanager
def process(*command: str) -> Generator[Process]:
    """Run a module of Python that prints its address first."""
    with subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.PIPE, text=True) as started:
        try:
            yield Process(started)
        finally:
            started.terminate()


async def traffic(url: str, path: str, exchanges: int, connections: int) -> tuple[float, float]:
    """Make so many exchanges; return the seconds, and the median seconds of an exchange."""
    port, delays = int(url.rpartition(":")[2]), list[float]()
    body = json.dumps(json.loads(EXAMPLE.read_text())["value"])
    head = f"HTTP/1.1\r\nhost: bench.test\r\nx-api-key: {'k' * 64}\r\ncontent-type: application/json\r\n"

    async def tasks() -> None:
        _, raw = await asyncio.get_running_loop().create_connection(RawConnection, "127.0.0.1", port)
        task, polls = "", 0
        while len(delays) < exchanges:
            began = time.perf_counter()
            if polls:
                await raw.send(f"GET {path}/api/v1/task/{task} {head}\r\n".encode())
            else:
                post = f"POST {path}/api/v1/task {head}content-length: {len(body)}\r\n\r\n{body}"
                task = json.loads(await raw.send(post.encode()))["data"]["task_id"]
            polls = (polls + 1) % 5
            delays.append(time.perf_counter() - began)
        raw.transport.close()

    began = time.perf_counter()
    await asyncio.gather(*(tasks() for _ in range(connections)))
    return time.perf_counter() - began, median(delays)


def single(url: str, path: str) -> float:
    """Return the median seconds of an exchange while there is no other."""
    return min(asyncio.run(traffic(url, path, SINGLE, 1))[1] for _ in range(ROUNDS))


def main() -> None:
    """Print the figures, and fail when one misses what is wanted."""
    with process("benchmarks.scale.server") as provider, tempfile.TemporaryDirectory() as folder:
        base_url = f"{provider.url}/unitask"
        options = ["--to", f"{folder}/recording", "--base-url", base_url, "--port", "0"]
        with process("unitask", "record", *options) as proxy:
            direct = asyncio.run(traffic(provider.url, "/unitask", ALL, CONNECTIONS))[0]
            floor = single(provider.url, "/unitask")
            asyncio.run(traffic(proxy.url, "", FIRST, CONNECTIONS))
            delay = single(proxy.url, "")
            before, cpu = proxy.mib(), proxy.cpu()
            seconds, _ = asyncio.run(traffic(proxy.url, "", ALL, CONNECTIONS))
            core, after = ALL / (proxy.cpu() - cpu), proxy.mib()
        written = sum(1 for _ in Path(folder, "recording").glob("0*.json"))
    added = 1000 * (delay - floor)
    print("| | without the proxy | with it | wanted |\n|---|---|---|---|")
    print(f"| exchanges/s over {CONNECTIONS} connections | {ALL / direct:,.0f} | {ALL / seconds:,.0f} | |")
    print(f"| exchanges/s of one core | | {core:,.0f} | {WANTED:,} |")
    print(
        f"| median of an exchange | {1000 * floor:.2f} ms | {1000 * delay:.2f} ms: {added:.2f} more | {WANTED_DELAY} |"
    )
    print(f"| memory after {FIRST:,} and {ALL + FIRST:,} | | {before:.1f}, {after:.1f} MiB | {WANTED_GROWTH} more |")
    print(f"\n{written:,} exchanges are recorded")
    if core < WANTED or added > WANTED_DELAY or after - before > WANTED_GROWTH:
        sys.exit("a figure misses what is wanted")


if __name__ == "__main__":
    main()
