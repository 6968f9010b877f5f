"""Speed and memory of the local provider: `python benchmarks/bench_sandbox.py [--queued 20]`.

The server and its worker process share one core; the client has another. Polls are counted for each second of the
server's own CPU time, which is steady on a busy machine.
"""

import argparse
import base64
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from unitask_sandbox import samples

SERVER = """
from unitask_sandbox import Settings, serve
serve(Settings(keys={"sandbox": 100.0}, workers=1), port=0, on_ready=lambda url: print(url, flush=True))
"""


class Provider:
    """A running local provider, and a connection to it."""

    def __init__(self, pid: int, url: str) -> None:
        self.pid = pid
        self._http = httpx.Client(base_url=f"{url}/api/v1", headers={"x-api-key": "sandbox"})

    def submit(self, model: str, task_type: str, **given: str) -> str:
        """Submit a task and return its id."""
        answer = self._http.post("/task", json={"model": model, "task_type": task_type, "input": given})
        return str(answer.raise_for_status().json()["data"]["task_id"])

    def status(self, task_id: str) -> str:
        """Poll a task."""
        return str(self._http.get(f"/task/{task_id}").raise_for_status().json()["data"]["status"])

    def polls_a_cpu_second(self, task_id: str, seconds: float) -> float:
        """Poll a task for so many seconds; return the polls for each second of the server's CPU time."""
        polls, cpu, end = 0, cpu_seconds(self.pid), time.perf_counter() + seconds
        while time.perf_counter() < end:
            self.status(task_id)
            polls += 1
        return polls / (cpu_seconds(self.pid) - cpu)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="duration of each measurement (%(default)s)")
    parser.add_argument("--queued", type=int, default=100, help="number of queued swaps (%(default)s)")
    options = parser.parse_args()
    if not hasattr(os, "sched_setaffinity"):
        raise SystemExit("this measurement needs Linux: it holds the server to one core and reads /proc")
    cores = sorted(os.sched_getaffinity(0))
    with server(core=cores[0]) as provider:
        os.sched_setaffinity(0, cores[1:] or cores)
        measure(provider, options.seconds, options.queued)


@contextmanager
def server(core: int) -> Iterator[Provider]:
    """Run the local provider on one core; print its peak memory at the end."""
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as process:
        os.sched_setaffinity(process.pid, {core})  # worker processes inherit it
        try:
            assert process.stdout
            yield Provider(process.pid, process.stdout.readline().strip())
        finally:
            process.terminate()
            _, _, usage = os.wait4(process.pid, 0)
    show("peak memory of the larger process", f"{usage.ru_maxrss / 1024:.0f} MiB")


def measure(provider: Provider, seconds: float, queued: int) -> None:
    """Print every figure."""
    done = provider.submit("Qubico/flux1-schnell", "txt2img", prompt="a lighthouse")
    while provider.status(done) != "completed":
        time.sleep(0.05)
    provider.polls_a_cpu_second(done, 1.0)  # warm up
    show("polls a CPU second, nothing else running", f"{provider.polls_a_cpu_second(done, seconds):.0f}")

    pictures = {"target_image": samples.ASTRONAUT, "swap_image": samples.GRACE_HOPPER}
    given = {name: base64.b64encode(path.read_bytes()).decode() for name, path in pictures.items()}
    start = time.perf_counter()
    swaps = [provider.submit("Qubico/image-toolkit", "face-swap", **given) for _ in range(queued)]
    while provider.status(swaps[0]) == "pending":
        time.sleep(0.05)
    show("polls a CPU second, beside a running swap", f"{provider.polls_a_cpu_second(done, seconds):.0f}")
    while any(provider.status(task_id) in ("pending", "processing") for task_id in swaps):
        time.sleep(0.2)
    statuses = dict(Counter(provider.status(task_id) for task_id in swaps))
    show(f"{queued} queued swaps", f"{time.perf_counter() - start:.0f} s, {statuses}")


def show(what: str, figure: str) -> None:
    """Print a figure."""
    print(f"{what:<44} {figure}")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()  # after the name of the program
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
