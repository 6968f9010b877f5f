"""A provider whose folder outlives it, a connection to it that may break, and one clock for both sides.

What can happen to requests has names here, so that a state machine can draw it and say it.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
from unitask import tasks
from unitask_contract.checks._http import BLANK
from unitask_sandbox import Fault, Settings, create_app
from unitask_sandbox.bundle import CREDITS_PER_USD
from unitask_sandbox.engines import EngineResult

from . import FACE_SWAP, KEY
from .simulated_network import Wire, World, quick_swap

ACCOUNT = hashlib.sha256(KEY.encode()).hexdigest()
START = 1_200_000  # credits: two songs and two swaps, or twelve swaps
CALL = 10.0  # seconds that one HTTP call may take
RANK = {"pending": 0, "processing": 1, "completed": 2, "failed": 2, "cancelled": 2}
GONE = "https://me.test/gone.jpg"
TASKS: tuple[Any, ...] = (
    FACE_SWAP,
    tasks.FaceSwap(target_image=GONE, swap_image=GONE),  # is accepted, and fails
    tasks.UdioMusic(lyrics_type="instrumental", gpt_description_prompt="a song"),  # is paid when it is completed
)
QUICK = {
    ("Qubico/image-toolkit", "face-swap"): quick_swap,
    ("music-u", "generate_music"): lambda _given: EngineResult({}),
}


def _fault(operation: str, kind: Any, status: int = 200, body: bytes = b"", **more: Any) -> Fault:
    headers = {"content-type": "text/html"} if body.startswith(b"<") else {}
    return Fault(operation, kind, status, body, headers, **more)


def _refusal(operation: str, status: int, times: int = 1) -> Fault:
    return _fault(operation, "refuse", status, b'{"code": %d, "message": "no"}' % status, times=times)


# What happens to the next requests of an operation. Those of the first kind leave it open whether it was done.
OPEN: Mapping[str, Callable[[str], Fault]] = {
    "the answer is lost": lambda name: _fault(name, "lose"),
    "the answer is cut": lambda name: _fault(name, "cut"),
    "the answer is late": lambda name: _fault(name, "slow", delay=CALL + 1),
    "a gateway answers": lambda name: _fault(name, "replace", 520, b"<html></html>"),
    "the answer is broken": lambda name: _fault(name, "replace", 200, b'{"code": 200, "data": nul'),
    "the request is lost": lambda name: _fault(name, "drop"),
    "a gateway refuses": lambda name: _fault(name, "refuse", 502, b"<html></html>"),
}
SAID: Mapping[str, Callable[[str], Fault]] = {
    "too many requests": lambda name: _refusal(name, 429, times=2),
    "far too many requests": lambda name: _refusal(name, 429, times=4),
    "the API fails": lambda name: _refusal(name, 500),
}
WELL = "all goes well"
UNCONNECTED = "nobody answers the call"
LATE_HISTORY = "the history is behind"
PASSING = (WELL, UNCONNECTED, *OPEN, *(name for name in SAID if name != "far too many requests"))


class LastingWorld(World):
    """The provider, stopped and started again, and the time."""

    def __init__(self, folder: Path, loop: asyncio.Runner, **settings: Any) -> None:
        super().__init__()
        self.folder, self.loop, self.settings = folder, loop, settings
        self.receiver: Any = None
        self.back_at = 0.0  # when it starts again, while it is stopped
        self.unconnected = 0  # connections that are still to be refused
        self.behind = 0.0  # seconds that its clock is behind ours
        self._creates: list[int | None] = []  # the answers of those before the last start
        self._kept: dict[str, Any] = {}

    @property
    def is_up(self) -> bool:
        return self.app is not None

    @property
    def provider_now(self) -> float:
        return self.now - self.behind

    def start(self) -> None:
        settings: dict[str, Any] = {
            "keys": {KEY: START / CREDITS_PER_USD},
            "speed": 0.2,  # slow enough to be waited for in vain, and to be cancelled
            "autorun": False,
            "engine_process": False,
            "concurrency": 4,
            "data": self.folder,
            "clock": lambda: self.now - self.behind,
            "sleep": self.answer_later,
            "fetch": _fetch,
            "send_webhook": lambda _url, body, headers: self.deliver(self.receiver, body, headers),
            **self.settings,
        }
        self.app = create_app(Settings(**settings))
        assert self.records() == self._kept, "a restart changes no task"

    def stop(self, seconds: float) -> None:
        self._creates, self._kept = self.creates(), self.records()
        self.sandbox.close()
        self.app, self.back_at = None, self.now + seconds
        self.sleep(0)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if not self.is_up and self.now >= self.back_at:
            self.start()
        if self.is_up:
            self.sandbox.advance()

    def order(self, operation: str, what: str) -> None:
        self.sleep(0)
        if what == UNCONNECTED:
            self.unconnected = 2
        elif self.is_up and what in OPEN | SAID:
            self.sandbox.fault((OPEN | SAID)[what](operation))

    # The provider's own records; while it is down, those that it had.

    def creates(self) -> list[int | None]:
        arrivals = self.sandbox.arrivals if self.is_up else []
        arrived = [arrival for arrival in arrivals if arrival.operation == "create_task"]
        return [*self._creates, *(arrival.status for arrival in arrived)]

    def records(self) -> dict[str, Any]:
        if not self.is_up:
            return self._kept
        return {task.task_id: task for task in self.sandbox._store.of_account(ACCOUNT, RANK, math.inf)}

    def record(self, task_id: str | None) -> Any:
        return self.sandbox._store.task(str(task_id)) if self.is_up else self._kept[str(task_id)]

    def purse(self) -> Any:
        return self.sandbox._store.account(ACCOUNT)

    def moved(self) -> int:
        return sum(credits_ for _, _, credits_ in self.sandbox._store.ledger(ACCOUNT))


class Line(Wire):
    """A connection to a provider that may be down."""

    def __init__(self, world: LastingWorld) -> None:
        super().__init__(world)
        self._lasting = world

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._lasting.loop.run(self.handle_async_request(request))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not self._lasting.is_up or self._lasting.unconnected:
            self._lasting.unconnected = max(0, self._lasting.unconnected - 1)
            raise httpx.ConnectError("connection refused", request=request)
        return await super().handle_async_request(request)


def _fetch(url: str) -> bytes:
    if url == GONE:
        raise OSError("it is gone")
    return BLANK
