"""`python -m benchmarks.scale.server [SECONDS]`: a provider of many tasks, over `asyncio.Protocol`, for each client.

It prints its address. The first part of a path is the client, whose form the answers have. A task ends at its fourth
poll, or after a duration that is drawn, log-normal with the median SECONDS; the first one ends at once. GET /_tasks
returns of each task, in turn, its id, its submission and its end (`time.monotonic`), the number of its polls, and
whether one of them showed the end.
"""

import asyncio
import json
import math
import random
import re
import sys
import time
from dataclasses import astuple, dataclass
from email.utils import formatdate
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.clients.server import DIALECTS, TASK_ID

POLLS = 4
SPREAD = 0.5  # sigma of the drawn durations
EXAMPLE = Path(__file__).resolve().parents[2] / "spec/examples/faceswap/face-swap.completed.200.json"
CREATED = {"replicate": "201 Created", "lumaai": "201 Created"}


@dataclass(slots=True)
class Task:
    """A task."""

    id: str
    begun: float
    end: float
    polls: int = 0
    is_seen: bool = False  # a poll has shown its end


class Provider:
    """The tasks of all clients."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds, self._numbers = seconds, count(1)
        self._draw = random.Random(1)  # noqa: S311 - the same durations each time
        self._bodies, self._tasks = {name: self._templates(name) for name in DIALECTS}, dict[bytes, Task]()

    def _templates(self, client: str) -> list[bytes]:
        """Return the body of a task that goes on, and that of a completed one, in the form of a client."""
        *words, body = DIALECTS[client]
        answers = [body(word, f"URL/{client}/{TASK_ID}") for word in words]
        if client == "unitask":  # one of the usual length
            example = json.loads(EXAMPLE.read_text())["value"]["data"]
            example["meta"] = {"usage": example["meta"]["usage"]}  # no times, so clients learn from their polls alone
            for answer, word in zip(answers, words, strict=True):
                answer["data"] = {**example, "task_id": TASK_ID, "status": word}
        return [json.dumps(answer).encode().replace(TASK_ID.encode(), b"ID-0000000000") for answer in answers]

    def answer(self, method: bytes, path: bytes, host: bytes) -> tuple[str, bytes]:
        """Return status and body."""
        if path == b"/_tasks":
            return "200 OK", json.dumps([astuple(task) for task in self._tasks.values()]).encode()
        client = path.split(b"/", 2)[1].decode()
        found = re.search(rb"ID-\d+", path)
        if method == b"POST":
            task_id, status = b"ID-%010d" % next(self._numbers), CREATED.get(client, "200 OK")
            self._begin(task_id)
            return status, self._body(client, 0, task_id, host)
        if found is None:  # such as the task history
            return "404 Not Found", b"{}"
        task_id = found.group()
        if path.endswith(b"result"):  # of fal, after its end
            return "200 OK", b'{"ok": true}'
        return "200 OK", self._body(client, self._poll(self._tasks[task_id]), task_id, host)

    def _begin(self, task_id: bytes) -> None:
        now, is_first = time.monotonic(), not self._tasks
        seconds = 0.0 if is_first or not self._seconds else self._seconds * math.exp(self._draw.gauss(0, SPREAD))
        self._tasks[task_id] = Task(task_id.decode(), now, now + seconds, POLLS - 1 if is_first else 0)

    def _poll(self, task: Task) -> bool:
        """Count a poll; return whether the task has ended."""
        task.polls += not task.is_seen
        task.is_seen = time.monotonic() >= task.end if self._seconds else task.polls >= POLLS
        return task.is_seen

    def _body(self, client: str, done: bool, task: bytes, host: bytes) -> bytes:
        return self._bodies[client][done].replace(b"ID-0000000000", task).replace(b"URL", b"http://" + host)


class Connection(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, provider: Provider) -> None:
        self._provider, self._read = provider, b""

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer the requests that have arrived."""
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            head = self._read[:end]
            length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
            whole = end + 4 + (int(length.group(1)) if length else 0)
            if len(self._read) < whole:
                return
            self._read = self._read[whole:]
            method, path, _ = head.split(b" ", 2)
            host = re.search(rb"\r\nhost: *([^\r]+)", head, re.IGNORECASE)
            status, body = self._provider.answer(method, path, host.group(1) if host else b"")
            lines = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ndate: {formatdate(usegmt=True)}\r\n"
            self._transport.write(f"{lines}content-length: {len(body)}\r\n\r\n".encode() + body)


async def main() -> None:
    """Serve until the process is ended."""
    provider = Provider(float(sys.argv[1]) if len(sys.argv) > 1 else None)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(provider), "127.0.0.1", 0, backlog=4096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
