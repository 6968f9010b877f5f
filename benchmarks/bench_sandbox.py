"""Speed of the local provider: looks a second on one core beside a running swap, and a queue of a hundred swaps.

    python benchmarks/bench_sandbox.py                one core for the server and its engine, another for the client
    python benchmarks/bench_sandbox.py --queued 20    a shorter queue

The server runs in a process of its own, held to one core together with its worker process. The client speaks HTTP over
plain sockets that stay open, since a real HTTP client would be slower than what it measures. On a machine that is busy
with other things the wall clock says little; looks for each second of the server's own CPU time are steady.
"""

import argparse
import base64
import json
import os
import re
import selectors
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from unitask_sandbox import samples

CONNECTIONS = 8
SERVER = """
from unitask_sandbox import Settings, serve
serve(Settings(keys={"sandbox": 100.0}, workers=1), port=0, on_ready=lambda url: print(url, flush=True))
"""
SIMULATED = {"model": "Qubico/flux1-schnell", "task_type": "txt2img", "input": {"prompt": "a lighthouse"}}
HEADERS = {"x-api-key": "sandbox", "content-type": "application/json"}
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Measure the local provider.")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each figure is measured (%(default)s)")
    parser.add_argument("--queued", type=int, default=100, help="how many swaps are queued (%(default)s)")
    options = parser.parse_args()
    if not hasattr(os, "sched_setaffinity"):
        raise SystemExit("this measurement needs Linux: it holds the server to one core and reads /proc")
    cores = sorted(os.sched_getaffinity(0))
    with server(core=cores[0]) as (pid, address):
        os.sched_setaffinity(0, cores[1:] or cores)
        measure(pid, address, options.seconds, options.queued)


@contextmanager
def server(core):
    """Start the local provider, held to one core: its process id and address."""
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as process:
        os.sched_setaffinity(process.pid, {core})  # worker processes inherit it
        try:
            yield process.pid, urlsplit(process.stdout.readline().strip()).netloc
        finally:
            process.terminate()


def measure(pid, address, seconds, queued):
    """Print every figure."""
    looked_at = create(address, SIMULATED)
    while status(address, looked_at) != "completed":
        time.sleep(0.05)
    looks(pid, address, looked_at, 1.0)  # to warm up
    report("looks, nothing else running", *looks(pid, address, looked_at, seconds))

    picture, face = (base64.b64encode(path.read_bytes()).decode() for path in (samples.ASTRONAUT, samples.GRACE_HOPPER))
    swap = {"model": "Qubico/image-toolkit", "task_type": "face-swap"}
    swap["input"] = {"target_image": picture, "swap_image": face}
    start = time.perf_counter()
    tasks = [create(address, swap) for _ in range(queued)]
    created = time.perf_counter() - start
    while not workers(pid):
        time.sleep(0.05)
    report("looks beside a running swap", *looks(pid, address, looked_at, seconds))
    print(f"{'creates of a swap (1 MB each)':<34} {queued / created:8.0f} a second")
    while any(status(address, task_id) in ("pending", "processing") for task_id in tasks):
        time.sleep(0.2)
    taken = time.perf_counter() - start
    ended = Counter(status(address, task_id) for task_id in tasks)
    print(f"{f'{queued} queued swaps':<34} {taken:8.0f} seconds: {dict(ended)}")
    own, others = memory(pid), sum(map(memory, workers(pid)))
    print(f"{'memory of the server, at most':<34} {own / 2**20:8.0f} MiB")
    print(f"{'with its worker process':<34} {(own + others) / 2**20:8.0f} MiB  (under 1,536)")


def report(what, wall, cpu):
    """Print the looks a second, by the clock and by the CPU time of the server."""
    print(f"{what:<34} {wall:8.0f} a second, {cpu:.0f} a second of the server's CPU time  (at least 1,000)")


# The client.


def create(address, body):
    """Create a task and return its id."""
    return ask(address, "POST", "/api/v1/task", json.dumps(body))["task_id"]


def status(address, task_id):
    """Look at a task."""
    return ask(address, "GET", f"/api/v1/task/{task_id}")["status"]


def ask(address, method, path, body=None):
    """The data of an answer."""
    connection = HTTPConnection(address)
    connection.request(method, path, body, HEADERS)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    if answer["code"] != 200:
        raise SystemExit(f"{method} {path} was answered {answer['code']}: {answer['message']}")
    return answer["data"]


def looks(pid, address, task_id, seconds):
    """Look at a task for so many seconds: looks a second, and a second of the server's CPU time."""
    request = f"GET /api/v1/task/{task_id} HTTP/1.1\r\nhost: {address}\r\nx-api-key: sandbox\r\n\r\n".encode()
    host, _, port = address.partition(":")
    with selectors.DefaultSelector() as selector:
        for _ in range(CONNECTIONS):
            connection = socket.create_connection((host, int(port)))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(request)
            selector.register(connection, selectors.EVENT_READ, bytearray())
        done, cpu, start = 0, cpu_seconds(pid), time.perf_counter()
        while time.perf_counter() - start < seconds:
            for key, _ in selector.select():
                key.data.extend(key.fileobj.recv(65536))
                if is_whole(key.data):
                    key.data.clear()
                    done += 1
                    key.fileobj.sendall(request)
        taken, cpu = time.perf_counter() - start, cpu_seconds(pid) - cpu
        for key in [*selector.get_map().values()]:
            key.fileobj.close()
    return done / taken, done / cpu


def is_whole(answer):
    """Whether an answer has arrived; anything but HTTP 200 ends the measurement."""
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    if not head.startswith(b"HTTP/1.1 200 "):
        raise SystemExit(f"a look was answered with {bytes(head)!r}")
    length = head.lower().partition(b"content-length:")[2].split()[0]
    return len(body) >= int(length)


# What the server uses.


def cpu_seconds(pid):
    """The CPU time that a process has used, its threads included."""
    fields = stat(pid)
    return (int(fields[11]) + int(fields[12])) / TICKS


def stat(pid):
    """What the system says of a process, from its state on (proc_pid_stat(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def workers(pid):
    """The process ids of a process's children."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            if stat(folder.name)[1] == str(pid):
                found.append(int(folder.name))
    return found


def memory(pid):
    """The most memory that a process has had, in bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024


if __name__ == "__main__":
    main()
