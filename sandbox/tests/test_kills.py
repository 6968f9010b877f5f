"""A server that is killed again and again over one data folder: what it answered stays true."""

import json
import random
import re
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
from unitask_sandbox import Sandbox, Settings

from .local import base64_of

KILLS = 12
REQUESTS = 12  # at most, between two kills
DRAWING = {
    "model": "Qubico/flux1-schnell",
    "task_type": "txt2img",
    "input": {"prompt": "a lighthouse", "width": 64, "height": 64},
}
PRICE = 15_000
ENDED = {"completed", "failed", "cancelled"}
# Each server is forked off a process that has imported everything.
SERVERS = """
import os, sys
from pathlib import Path
from unitask_api import contract
from unitask_sandbox import Settings, serve
contract.document()
settings = Settings(data=Path(sys.argv[1]), speed=20, keys={"sandbox": 1000.0})
for _ in sys.stdin:
    pid = os.fork()
    if not pid:
        serve(settings, port=0, on_ready=lambda url: print(os.getpid(), url, flush=True))
    os.waitpid(pid, 0)
    print("dead", flush=True)
"""


class Answers:
    """What a client was answered by servers that were killed."""

    def __init__(self) -> None:
        self.created: list[str] = []
        self.cancelled: set[str] = set()
        self.seen: dict[str, Any] = {}  # status and output of tasks that were seen to have ended
        self.files: dict[str, bytes] = {}

    def ask(self, http: httpx.Client, draw: random.Random) -> None:
        task_id = draw.choice(self.created) if self.created else ""
        kind = draw.choice(["create", "cancel", "upload", "poll"]) if task_id else "create"
        if kind == "create":
            self.created.append(http.post("/api/v1/task", json=DRAWING).json()["data"]["task_id"])
        elif kind == "upload":
            content = draw.randbytes(20_000)
            body = {"file_name": "a.png", "file_data": base64_of(content)}
            url = http.post("/api/ephemeral_resource", json=body).json()["data"]["url"]
            self.files[url.partition("/files/")[2]] = content
        elif kind == "cancel":
            if http.delete(f"/api/v1/task/{task_id}").status_code == 200:
                self.cancelled.add(task_id)
        else:
            task = http.get(f"/api/v1/task/{task_id}").json()["data"]
            if task["status"] in ENDED:
                output = re.sub(r"http://[^/]+", "", json.dumps(task["output"]))  # each server has another port
                assert self.seen.setdefault(task_id, (task["status"], output)) == (task["status"], output)


def test_killed_server_loses_nothing_that_it_answered(tmp_path: Path) -> None:
    draw, answers = random.Random(20261129), Answers()
    command = [sys.executable, "-c", SERVERS, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as servers:
        assert servers.stdin
        assert servers.stdout
        for _ in range(KILLS):
            servers.stdin.write("\n")
            servers.stdin.flush()
            pid, url = servers.stdout.readline().split()
            with httpx.Client(base_url=url, headers={"x-api-key": "sandbox"}, timeout=60) as http:
                for _ in range(draw.randint(1, REQUESTS)):
                    answers.ask(http, draw)
                killer = subprocess.Popen(["kill", "-KILL", pid])
                with suppress(httpx.TransportError):  # its answer may be lost; a task of it is one more
                    http.post("/api/v1/task", json=DRAWING)
                killer.wait()
            assert servers.stdout.readline() == "dead\n"
        servers.stdin.close()
    with closing(Sandbox(Settings(data=tmp_path, autorun=False, clock=lambda: time.time() + 1000))) as sandbox:
        while sandbox.advance():
            pass
        hold_against(sandbox, answers)


def hold_against(sandbox: Sandbox, answers: Answers) -> None:
    rows = sandbox._store._rows("SELECT task_id FROM tasks")
    tasks = {task_id: sandbox.get("sandbox", task_id) for (task_id,) in rows}
    folder = sandbox._folder / "files"
    moved = [(task_id, credits_) for task_id, _, credits_ in sandbox._store.ledger(next(iter(tasks.values())).account)]
    expected = [(task_id, -PRICE) for task_id in tasks]
    expected += [(task_id, PRICE) for task_id, task in tasks.items() if task.status != "completed"]

    assert set(answers.created) <= tasks.keys()
    assert {task.status for task in tasks.values()} <= {"completed", "cancelled"}
    assert {tasks[task_id].status for task_id in answers.cancelled} <= {"cancelled"}
    for task_id, (status, output) in answers.seen.items():
        assert (tasks[task_id].status, json.dumps(tasks[task_id].body("")["output"])) == (status, output)
    assert {name: sandbox.file(name).read_bytes() for name in answers.files} == answers.files
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")} == sandbox._store.files()
    assert len(sandbox._store.files()) >= sum(task.status == "completed" for task in tasks.values())
    assert sorted(moved) == sorted(expected)
