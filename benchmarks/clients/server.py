"""A server that speaks the dialect of each client, plays failures, and counts requests.

The first two parts of a path name the client and the scenario: /openai/lost-answer/videos. A POST is a submission,
which would be paid for. A GET is a poll, unless its path ends in "result". Each scenario has its own counts.
"""

import json
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

TASK_ID = "task-3f9a1c7e"
PENDING, DONE, UNKNOWN = "pending", "done", "unknown"  # a status
SILENCE, CLOSE, PAGE = "silence", "close", "page"  # instead of an answer
UNKNOWN_WORD = "warming_up"
HTML = b"<!DOCTYPE html><html><title>520: Web server is returning an unknown error</title></html>"
LONGEST_SILENCE = 10.0  # seconds, for a client that does not hang up

# Per scenario: the response to a submission, and the responses to polls in turn; the last one repeats.
SCENARIOS: dict[str, tuple[str, tuple[str, ...]]] = {
    "plain": (PENDING, (PENDING, DONE)),
    "lost-answer": (SILENCE, (DONE,)),
    "closed": (CLOSE, (DONE,)),
    "page": (PAGE, (DONE,)),
    "unknown-word": (PENDING, (UNKNOWN, UNKNOWN, UNKNOWN, DONE)),
    "poll-page": (PENDING, (PAGE, PAGE, DONE)),
    "poll-closed": (PENDING, (CLOSE, CLOSE, DONE)),
    "outage": (PENDING, (CLOSE,)),
    "endless": (PENDING, (PENDING,)),
}
SUBMISSIONS = tuple(name for name, (reply, _) in SCENARIOS.items() if reply != PENDING)  # the submission fails


def _fal(word: str, url: str) -> dict[str, Any]:
    links = {"status_url": f"{url}/status", "response_url": f"{url}/result", "cancel_url": f"{url}/cancel"}
    return {"request_id": TASK_ID, "status": word, "queue_position": 0, "logs": None, "metrics": {}, **links}


def _replicate(word: str, _: str) -> dict[str, Any]:
    rest = dict.fromkeys(("logs", "error", "metrics", "created_at", "started_at", "completed_at"))
    return {
        "id": TASK_ID,
        "model": "a/b",
        "version": "v",
        "status": word,
        "input": {},
        "output": "x",
        "urls": {},
        **rest,
    }


def _runway(word: str, _: str) -> dict[str, Any]:
    result = {"output": ["https://example.com/a.mp4"]} if word == "SUCCEEDED" else {}
    created = {"id": TASK_ID, "estimatedCost": {"credits": 5}, "createdAt": "2026-01-01T00:00:00Z"}
    return {**created, "status": word, **result}


def _luma(word: str, _: str) -> dict[str, Any]:
    return {"id": TASK_ID, "state": word, "generation_type": "video", "model": "ray-2"}


def _video(word: str, _: str) -> dict[str, Any]:
    about = {"created_at": 1, "model": "m", "object": "video", "progress": 0, "seconds": "4", "size": "720x1280"}
    return {"id": TASK_ID, "status": word, **about}


def _piapi(word: str, _: str) -> dict[str, Any]:
    return {"code": 200, "message": "success", "data": {"task_id": TASK_ID, "status": word, "output": {}}}


# Per client: the words for PENDING and DONE, and the body of a response.
DIALECTS: dict[str, tuple[str, str, Callable[[str, str], dict[str, Any]]]] = {
    "fal-client": ("IN_PROGRESS", "COMPLETED", _fal),
    "replicate": ("processing", "succeeded", _replicate),
    "runwayml": ("RUNNING", "SUCCEEDED", _runway),
    "lumaai": ("dreaming", "completed", _luma),
    "openai": ("in_progress", "completed", _video),
    "together": ("in_progress", "completed", _video),
    "unitask": ("processing", "completed", _piapi),
}


class RequestCounts:
    """How many requests arrived, by client, scenario and kind ("submission" or "poll").

    Attributes:
        idempotency_keys: The idempotency keys of the requests, by client and scenario.
    """

    def __init__(self) -> None:
        self.idempotency_keys: dict[tuple[str, str], list[str]] = {}
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._lock = Lock()

    def add(self, client: str, scenario: str, kind: str) -> int:
        """Count a request and return the new count."""
        with self._lock:
            self._counts[client, scenario, kind] += 1
            return self._counts[client, scenario, kind]

    def count(self, client: str, scenario: str, kind: str) -> int:
        """Return how many arrived."""
        return self._counts[client, scenario, kind]

    def last_status(self, client: str, scenario: str) -> str:
        """Return the response to the last poll."""
        replies = SCENARIOS[scenario][1]
        return replies[min(self.count(client, scenario, "poll"), len(replies)) - 1]


class _Handler(BaseHTTPRequestHandler):
    counts: RequestCounts
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self._play("submission")

    def do_GET(self) -> None:
        if self.path.endswith("result"):
            self._json({"ok": True})
        else:
            self._play("poll")

    def do_PUT(self) -> None:  # fal cancels a task after its time limit
        self._json({})

    def _play(self, kind: str) -> None:
        client, scenario = self.path.split("/")[1:3]
        number = self.counts.add(client, scenario, kind)
        keys = [value for name, value in self.headers.items() if "idempotency" in name.lower()]
        self.counts.idempotency_keys.setdefault((client, scenario), []).extend(keys)
        first, polls = SCENARIOS[scenario]
        reply = first if kind == "submission" else polls[min(number, len(polls)) - 1]
        if reply == SILENCE:
            self._wait_until_gone()
        elif reply == PAGE:
            self._send(520, "text/html", HTML)
        elif reply != CLOSE:
            pending, done, body = DIALECTS[client]
            word = {PENDING: pending, DONE: done, UNKNOWN: UNKNOWN_WORD}[reply]
            self._json(body(word, f"http://{self.headers['host']}/{client}/{scenario}/{TASK_ID}"))
        self.close_connection = True

    def _wait_until_gone(self) -> None:
        self.connection.settimeout(LONGEST_SILENCE)
        try:
            self.connection.recv(1)
        except OSError:
            return

    def _json(self, body: dict[str, Any]) -> None:
        self._send(200, "application/json", json.dumps(body).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status, "")
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass


@contextmanager
def serving() -> Generator[tuple[str, RequestCounts]]:
    """Run a server; yield its address and its counts."""
    counts = RequestCounts()
    handler = type("Handler", (_Handler,), {"counts": counts})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", counts
        server.shutdown()
