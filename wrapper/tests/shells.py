"""Both clients over scripted answers, with time that passes only while they sleep."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

import httpx
from unitask import AsyncClient, Client, tasks
from unitask._core.effects import Response
from unitask._model.timestamp import Timestamp

from .script import UNIX, answer

SHELLS = ("sync", "async")
BASE_URL = "https://provider.test"
KEY = "0123456789abcdef" * 4
FACE_SWAP = tasks.FaceSwap(target_image="https://me.test/a.jpg", swap_image="https://me.test/b.png")


class FakeClock:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.monotonic = 0.0
        self.sleeps: list[float] = []

    def __call__(self) -> Timestamp:
        return Timestamp(self.monotonic, UNIX + self.monotonic)

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.monotonic += seconds
        if seconds:
            self.sleeps.append(seconds)

    async def sleep_async(self, seconds: float) -> None:
        """Let time pass."""
        self.sleep(seconds)


@dataclass
class Provider:
    """Answers requests with a script, in its order, and remembers them; a request beyond the script fails the test."""

    script: list[Response | httpx.Response | BaseException]
    requests: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        assert self.script, f"{request.method} {request.url} is not in the script"
        reply = self.script.pop(0)
        if isinstance(reply, BaseException):
            raise reply
        if isinstance(reply, Response):
            if "content-encoding" in reply.headers:  # as it comes from a socket: httpx has not unpacked it yet
                stream = httpx.ByteStream(reply.body)
                return httpx.Response(reply.status, headers=dict(reply.headers), stream=stream)
            return httpx.Response(reply.status, headers=dict(reply.headers), content=reply.body)
        return reply

    @property
    def lines(self) -> list[str]:
        """Method and path of each request, with its query."""
        return [f"{request.method} {request.url.raw_path.decode()}" for request in self.requests]

    def body(self, number: int = 0) -> Any:
        """The JSON body of a request."""
        return json.loads(self.requests[number].content)


def provider(*script: Response | httpx.Response | BaseException) -> Provider:
    """A provider with these answers."""
    return Provider(list(script))


def empty_histories() -> list[Response]:
    """The pages of a history without a task, with their times, that `find` reads until it can tell."""
    page = {"code": 200, "data": {"data": [], "total": 0}}
    read_at = (0, 10, 20, 30, 40, 50, 60, 61, 61)  # seconds after the create; the last page is asked for no time
    return [answer(200, page, date=formatdate(UNIX + seconds, usegmt=True)) for seconds in read_at]


def perform(
    shell: str, handler: Callable[[httpx.Request], httpx.Response], call: Callable[[Any], Any], **settings: Any
) -> Any:
    """Make a call with a client of either kind; return what it returns, raise what it raises."""
    clock = settings.pop("clock", None) or FakeClock()
    settings = {"api_key": KEY, "base_url": BASE_URL, "transport": httpx.MockTransport(handler), **settings}
    if shell == "sync":
        with Client(clock=clock, sleep=clock.sleep, **settings) as client:
            return call(client)

    async def main() -> Any:
        async with AsyncClient(clock=clock, sleep=clock.sleep_async, **settings) as client:
            result = call(client)
            return await result if inspect.isawaitable(result) else result

    return asyncio.run(main())


def all_of(events: Any) -> Any:
    """Every event of either kind of iterator, as a list; to be awaited if the iterator is async."""
    if not hasattr(events, "__aiter__"):
        return list(events)

    async def gather() -> list[Any]:
        return [event async for event in events]

    return gather()
