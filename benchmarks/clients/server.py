"""One server that speaks to each client in its own words, plays failures, and counts what arrives.

The first two parts of a path say who asks and what is played: /openai/lost-answer/videos. A POST is a create, which
would be paid for; a GET is a look at the task, unless its path ends in "result". Every scenario counts for itself.
"""

from __future__ import annotations

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
LONGEST_SILENCE = 10.0  # seconds, should a client not hang up

# Per scenario: what a create is answered with; what looks are answered with, one after another, the last for ever.
SCENARIOS: dict[str, tuple[str, tuple[str, ...]]] = {
    "plain": (PENDING, (PENDING, DONE)),
    "lost-answer": (SILENCE, (DONE,)),
    "closed": (CLOSE, (DONE,)),
    "page": (PAGE, (DONE,)),
    "unknown-word": (PENDING, (UNKNOWN, UNKNOWN, UNKNOWN, DONE)),
    "look-page": (PENDING, (PAGE, PAGE, DONE)),
    "look-closed": (PENDING, (CLOSE, CLOSE, DONE)),
    "outage": (PENDING, (CLOSE,)),
    "endless": (PENDING, (PENDING,)),
}
CREATES = tuple(name for name, (create, _) in SCENARIOS.items() if create != PENDING)  # these play with the create


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


# Per client: the words for PENDING and DONE, and the body that an answer has.
DIALECTS: dict[str, tuple[str, str, Callable[[str, str], dict[str, Any]]]] = {
    "fal-client": ("IN_PROGRESS", "COMPLETED", _fal),
    "replicate": ("processing", "succeeded", _replicate),
    "runwayml": ("RUNNING", "SUCCEEDED", _runway),
    "lumaai": ("dreaming", "completed", _luma),
    "openai": ("in_progress", "completed", _video),
    "together": ("in_progress", "completed", _video),
    "unitask": ("processing", "completed", _piapi),
}


class Arrivals:
    """What arrived: by client, scenario and kind of request ("create", "look").

    Attributes:
        idempotency_keys: Of the creates, by client and scenario.
    """

    def __init__(self) -> None:
        self.idempotency_keys: dict[tuple[str, str], list[str]] = {}
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._lock = Lock()

    def note(self, client: str, scenario: str, kind: str) -> int:
        """Count a request; return how many there are now."""
        with self._lock:
            self._counts[client, scenario, kind] += 1
            return self._counts[client, scenario, kind]

    def count(self, client: str, scenario: str, kind: str) -> int:
        """How many there were."""
        return self._counts[client, scenario, kind]

    def last_status(self, client: str, scenario: str) -> str:
        """What the last look was answered with."""
        looks = SCENARIOS[scenario][1]
        return looks[min(self.count(client, scenario, "look"), len(looks)) - 1]


class _Handler(BaseHTTPRequestHandler):
    arrivals: Arrivals
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self._play("create")

    def do_GET(self) -> None:
        if self.path.endswith("result"):
            self._json({"ok": True})
        else:
            self._play("look")

    def do_PUT(self) -> None:  # fal cancels what took too long
        self._json({})

    def _play(self, kind: str) -> None:
        client, scenario = self.path.split("/")[1:3]
        number = self.arrivals.note(client, scenario, kind)
        keys = [value for name, value in self.headers.items() if "idempotency" in name.lower()]
        self.arrivals.idempotency_keys.setdefault((client, scenario), []).extend(keys)
        create, looks = SCENARIOS[scenario]
        reply = create if kind == "create" else looks[min(number, len(looks)) - 1]
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
def serving() -> Generator[tuple[str, Arrivals]]:
    """The address of a server of its own, and what arrives there."""
    arrivals = Arrivals()
    handler = type("Handler", (_Handler,), {"arrivals": arrivals})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", arrivals
        server.shutdown()
