"""What the first use costs: import, client and one create, as a ratio to a bare httpx.Client that sends the same POST.

`python benchmarks/bench_first_use.py`. Both run in fresh interpreters that see nothing but a base install, in turn,
against one server on this machine. Each reads the certificates once: unitask shares one SSL context among its clients.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from bench_wrapper import base_install, paired, report

INPUT = {"target_image": "https://example.com/a.jpg", "swap_image": "https://example.com/b.jpg"}
BODY = {"model": "Qubico/image-toolkit", "task_type": "face-swap", "input": INPUT}
WRAPPER = f"""
from unitask import Client, tasks
with Client("sandbox", URL) as client:
    task_id = client.submit(tasks.FaceSwap(**{INPUT})).id
"""
BARE = f"""
import httpx
with httpx.Client(base_url=URL) as client:
    task_id = client.post("/api/v1/task", headers={{"x-api-key": "sandbox"}}, json={BODY}).json()["data"]["task_id"]
"""
AROUND = """
import sys, time
URL, start = sys.argv[1], time.perf_counter()
{}
seconds = time.perf_counter() - start
assert task_id == "first"
print(seconds)
"""
ROUNDS = 31


class Provider(BaseHTTPRequestHandler):
    """Accepts every create, and answers it at once."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Take a create."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        answer = json.dumps({"code": 200, "data": {**body, "task_id": "first", "status": "pending"}}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


def main() -> None:
    """Measure, and print the ratio."""
    with tempfile.TemporaryDirectory() as folder, provider() as url:
        base_install(Path(folder))
        wrapper, bare = using(WRAPPER, url, folder), using(BARE, url, folder)
        report("first use / bare httpx.Client", paired(wrapper, bare, ROUNDS), "at most 1.3")


@contextmanager
def provider() -> Generator[str]:
    """Where the server of this run is."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Provider) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def using(program: str, url: str, packages: str) -> Callable[[], float]:
    """Seconds that a program takes in a fresh interpreter that sees these packages alone."""
    command = [sys.executable, "-S", "-c", AROUND.format(program), url]
    environment = {**os.environ, "PYTHONPATH": packages}
    return lambda: float(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)


if __name__ == "__main__":
    main()
