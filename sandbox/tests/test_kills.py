"""A server that is killed at any moment, again and again, over one data folder: what it answered stays true."""

from __future__ import annotations

import json
import os
import random
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import unitask_sandbox
from unitask_sandbox import Sandbox, Settings
from unitask_sandbox.task import FILE, Task

from .local import MODEL, PRICE, TASK_TYPE, base64_of

KILLS = 50
IN_THE_START = 5  # of them before the server accepts connections
WITH_SWAPS = 15  # of them, the last ones, while engines work; their processes take most of the time
THREADS = 3
REQUESTS = 24  # at most, between two kills
USD = 1000.0
HEADERS = {"x-api-key": "sandbox", "content-type": "application/json"}
PRICES = {TASK_TYPE: PRICE, "txt2img": 15_000}
ENDED = {"completed", "failed", "cancelled"}
PNG_BEGINS, PNG_ENDS = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"


def small(name: str) -> str:
    """A sample picture, small enough for many swaps."""
    picture = cv2.imread(str(Path(unitask_sandbox.__file__).with_name("samples") / name))
    assert picture is not None
    return base64_of(cv2.imencode(".png", cv2.resize(picture, (192, 192)))[1].tobytes())


ASTRONAUT, HOPPER = small("astronaut.png"), small("grace_hopper.jpg")


def creation(draw: random.Random, webhook: str, swaps: float) -> dict[str, Any]:
    """A create: of a simulated task, or with a probability of a swap, which may fail."""
    config = {"webhook_config": {"endpoint": webhook}} if draw.random() < 0.2 else {}
    if draw.random() >= swaps:
        given: dict[str, Any] = {"prompt": "a lighthouse", "width": 64, "height": 64}
        return {"model": "Qubico/flux1-schnell", "task_type": "txt2img", "input": given, "config": config}
    given = {"target_image": draw.choice([ASTRONAUT, "bm90IGEgcGljdHVyZQ=="]), "swap_image": HOPPER}
    return {"model": MODEL, "task_type": TASK_TYPE, "input": given, "config": config}


class Load:
    """What clients ask of the servers, and what they were answered; threads use it."""

    def __init__(self, webhook: str) -> None:
        self.webhook = webhook
        self.swaps = 0.0
        self.created: list[str] = []
        self.webhooks: set[str] = set()
        self.cancelled: set[str] = set()
        self.seen: dict[str, tuple[str, Any]] = {}  # of tasks that were seen to have ended: status and files
        self.files: dict[str, bytes] = {}

    def ask(self, url: str, draw: random.Random, sent: threading.Semaphore) -> None:
        """Ask until nobody answers any more."""
        with closing(HTTPConnection(urlsplit(url).netloc, timeout=60)) as connection, suppress(OSError, HTTPException):
            while True:
                self._ask_once(connection, draw, sent)

    def _ask_once(self, connection: HTTPConnection, draw: random.Random, sent: threading.Semaphore) -> None:
        def call(method: str, path: str, body: Any = None) -> tuple[int, bytes]:
            connection.request(method, path, json.dumps(body) if body else None, HEADERS)
            sent.release()
            answer = connection.getresponse()
            return answer.status, answer.read()

        task_id = draw.choice(self.created[-30:]) if self.created else ""
        match draw.random():
            case part if part < 0.35 or not task_id:
                self._create(call)
            case part if part < 0.5:
                if call("DELETE", f"/api/v1/task/{task_id}")[0] == 200:
                    self.cancelled.add(task_id)
            case part if part < 0.6:
                content = draw.randbytes(20_000)
                body = {"file_name": "a.png", "file_data": base64_of(content)}
                url = json.loads(call("POST", "/api/ephemeral_resource", body)[1])["data"]["url"]
                self.files[urlsplit(url).path.removeprefix("/files/")] = content
            case part if part < 0.7 and self.files:
                name = draw.choice([*self.files])
                assert call("GET", f"/files/{name}") == (200, self.files[name])
            case _:
                self._look(call, task_id)

    def _create(self, call: Any) -> None:
        body = creation(random.Random(len(self.created)), self.webhook, self.swaps)
        status, answer = call("POST", "/api/v1/task", body)
        assert status == 200, answer
        task_id = json.loads(answer)["data"]["task_id"]
        self.created.append(task_id)
        if "webhook_config" in body["config"]:
            self.webhooks.add(task_id)

    def _look(self, call: Any, task_id: str) -> None:
        status, answer = call("GET", f"/api/v1/task/{task_id}")
        assert status == 200, answer
        task = json.loads(answer)["data"]
        if task["status"] not in ENDED:
            return
        urls = re.findall(r"/files/([^\"]+)", json.dumps(task["output"]))
        assert self.seen.setdefault(task_id, (task["status"], urls)) == (task["status"], urls)
        for name in urls:
            status, content = call("GET", f"/files/{name}")
            assert (status, self.files.setdefault(name, content)) == (200, content)


# Each server is forked off a process that has imported everything: 50 starts from nothing would take a minute.
SERVERS = """
import os, sys
import unitask_sandbox.server
from unitask_sandbox import bundle
from unitask.cli import main
bundle.document()
for line in sys.stdin:
    pid = os.fork()
    if not pid:
        os._exit(main(line.split("|")[:-1]))
    print("pid", pid, flush=True)
    os.waitpid(pid, 0)
    print("dead", flush=True)
"""


class Servers:
    """Starts `unitask sandbox` over a data folder again and again, and kills it."""

    def __init__(self, data: Path, errors: Any) -> None:
        command = [sys.executable, "-c", SERVERS]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        self._arguments = ["sandbox", "--port=0", "--speed=20", f"--data={data}", f"--key=sandbox={USD}"]
        self._pid = 0

    def start(self) -> None:
        """Start one."""
        assert self._process.stdin
        self._process.stdin.write("|".join([*self._arguments, "\n"]))
        self._process.stdin.flush()
        self._pid = int(self._said(r"pid (\d+)"))

    def url(self) -> str:
        """Its address, when it accepts connections."""
        return self._said(r"(http://127\.0\.0\.1:\d+) ")

    def kill(self, after: float = 0.0) -> None:
        """Kill it, so many seconds after it was told to start, unless it is ready before."""
        select.select([self._process.stdout], [], [], after)
        os.kill(self._pid, signal.SIGKILL)
        self._said("(dead)")

    def close(self) -> None:
        """Start no more."""
        self._process.communicate()

    def _said(self, pattern: str) -> str:
        assert self._process.stdout
        lines = iter(self._process.stdout.readline, "")
        return next(found[1] for line in lines if (found := re.search(pattern, line)))


@contextmanager
def receiving() -> Iterator[tuple[str, Counter[str]]]:
    """An endpoint for webhooks, and how often each task was told to have ended."""
    told: Counter[str] = Counter()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            told[body["data"]["task_id"]] += 1
            with suppress(OSError):  # its sender was killed
                self.send_response(204)
                self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128

    with Server(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", told
        finally:
            server.shutdown()
            thread.join()


def kill_under_load(servers: Servers, load: Load, draw: random.Random, failures: list[BaseException]) -> None:
    """Let threads ask a server, and kill it after a number of requests, whatever it is doing then."""
    url, sent = servers.url(), threading.Semaphore(0)

    def ask(seed: int) -> None:
        try:
            load.ask(url, random.Random(seed), sent)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask, args=(draw.randrange(2**32),)) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for _ in range(draw.randint(1, REQUESTS)):
        sent.acquire(timeout=60)
    servers.kill()
    for thread in threads:
        thread.join()


def test_killed_server_loses_nothing_that_it_answered(tmp_path: Path) -> None:
    """50 kills at random moments: no task is lost or done twice, no file is half, and the money adds up."""
    seed = random.SystemRandom().randrange(2**32)
    print("seed", seed)  # noqa: T201 - with it the moments are drawn again
    draw, failures = random.Random(seed), []
    with receiving() as (webhook, told), (tmp_path / "errors").open("w") as errors:
        load = Load(webhook)
        with closing(Servers(tmp_path / "data", errors)) as servers:
            for number in range(KILLS):
                load.swaps = 0.4 if number >= KILLS - WITH_SWAPS else 0.0
                servers.start()
                if number % (KILLS // IN_THE_START):
                    kill_under_load(servers, load, draw, failures)
                else:
                    servers.kill(after=draw.uniform(0, 0.2))
        later = Settings(data=tmp_path / "data", autorun=False, clock=lambda: time.time() + 1000)
        with closing(Sandbox(later)) as sandbox:
            while sandbox.advance():
                pass
            hold_against(sandbox, load, told)

    assert failures == []
    assert "Traceback" not in (tmp_path / "errors").read_text()


def hold_against(sandbox: Sandbox, load: Load, told: Counter[str]) -> None:
    """Compare what is there with what was answered."""
    rows = sandbox._store._rows("SELECT task_id FROM tasks")
    tasks = {task_id: sandbox.get("sandbox", task_id) for (task_id,) in rows}
    files = Counter(sandbox._store._rows("SELECT task_id, name FROM files WHERE task_id IS NOT NULL"))
    ledger = Counter(sandbox._store.ledger(next(iter(tasks.values())).account))
    folder = sandbox._folder / "files"

    assert set(load.created) <= tasks.keys()
    assert {task.status for task in tasks.values()} <= ENDED
    assert {tasks[task_id].status for task_id in load.cancelled} <= {"cancelled"}
    assert {task_id for task_id in load.webhooks if tasks[task_id].status != "cancelled"} <= told.keys()
    assert {task_id: (tasks[task_id].status, names_in(tasks[task_id])) for task_id in load.seen} == load.seen
    assert files == Counter((task.task_id, name) for task in tasks.values() for name in names_in(task))
    for _, name in files:
        content = sandbox.file(name).read_bytes()
        assert content.startswith(PNG_BEGINS)
        assert content.endswith(PNG_ENDS)
    assert {name: sandbox.file(name).read_bytes() for name in load.files} == load.files
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")} == sandbox._store.files()
    assert ledger == Counter(movement for task in tasks.values() for movement in movements(task))
    info = sandbox.account_info("sandbox")
    spent = sum(task.consume for task in tasks.values())
    assert info["credit_pack_info"]["available_credits"] == info["credit_pack_info"]["total_credits"] - spent


def names_in(task: Task) -> list[str]:
    return re.findall(rf'"\{FILE}": "([^"]+)"', json.dumps(task.output))


def movements(task: Task) -> list[tuple[str, str, int]]:
    """What the ledger must hold of a task that has ended, and no more."""
    price = PRICES[task.task_type]
    paid_back = [] if task.status == "completed" else [(task.task_id, "refund", price)]
    return [(task.task_id, "charge", -price), *paid_back]
