"""A server that speaks the dialect of each client, plays failures, and lists requests.

The first two parts of a path name the client and the scenario: /openai/lost-answer/videos. A POST is a submission,
which would be paid for. A GET is a poll, unless its path ends in "result".
"""

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
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
# What arrived, in turn: the client, the scenario, and "submission", "poll" or "idempotency key".
Arrivals = list[tuple[str, str, str]]


def reply_to_poll(scenario: str, number: int) -> str:
    """Return the reply to the poll of this number, from 1."""
    replies = SCENARIOS[scenario][1]
    return replies[min(number, len(replies)) - 1]


def _fal(word: str, url: str) -> dict[str, Any]:
    links = {"status_url": f"{url}/status", "response_url": f"{url}/result", "cancel_url": f"{url}/cancel"}
    return {"request_id": TASK_ID, "status": word, "queue_position": 0, "logs": None, "metrics": {}, **links}


def _replicate(word: str, _: str) -> dict[str, Any]:
    absent = dict.fromkeys(("logs", "error", "metrics", "created_at", "started_at", "completed_at"))
    made = {"model": "a/b", "version": "v", "input": {}, "output": "x", "urls": {}}
    return {"id": TASK_ID, "status": word, **made, **absent}


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


class _Handler(BaseHTTPRequestHandler):
    arrivals: Arrivals
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self._play("submission")

    def do_GET(self) -> None:
        if self.path.endswith("result"):
            self._send(200, "application/json", b'{"ok": true}')
        else:
            self._play("poll")

    def do_PUT(self) -> None:  # fal cancels a task after its time limit
        self._send(200, "application/json", b"{}")

    def _play(self, kind: str) -> None:
        client, scenario = self.path.split("/")[1:3]
        arrival = (client, scenario, kind)
        self.arrivals.append(arrival)
        keys = [name for name in self.headers if "idempotency" in name.lower()]
        self.arrivals.extend((client, scenario, "idempotency key") for _ in keys)
        is_poll = kind == "poll"
        reply = reply_to_poll(scenario, self.arrivals.count(arrival)) if is_poll else SCENARIOS[scenario][0]
        if reply == SILENCE:
            self.connection.settimeout(LONGEST_SILENCE)
            with suppress(OSError):
                self.connection.recv(1)  # until the client hangs up
        elif reply == PAGE:
            self._send(520, "text/html", HTML)
        elif reply != CLOSE:
            pending, done, body = DIALECTS[client]
            word = {PENDING: pending, DONE: done, UNKNOWN: UNKNOWN_WORD}[reply]
            answer = body(word, f"http://{self.headers['host']}/{client}/{scenario}/{TASK_ID}")
            self._send(200, "application/json", json.dumps(answer).encode())
        self.close_connection = True

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
    """Run a server; yield its address and what arrives."""
    arrivals: Arrivals = []
    handler = type("Handler", (_Handler,), {"arrivals": arrivals})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", arrivals
        server.shutdown()
