"""Both clients over scripted answers, with time that passes only while they sleep; or over the network."""

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
from unitask._core.messages import Answer
from unitask._model.timestamp import Moment

from .script import UNIX, answer

SHELLS = ("sync", "async")
BASE_URL = "https://provider.test"
KEY = "0123456789abcdef" * 4
FACE_SWAP = tasks.FaceSwap(target_image="https://me.test/a.jpg", swap_image="https://me.test/b.png")


class FakeClock:
    """A clock that moves only when something sleeps."""

    def __init__(self) -> None:
        self.ticks = 0.0
        self.sleeps: list[float] = []

    def __call__(self) -> Moment:
        return Moment(self.ticks, UNIX + self.ticks)

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.ticks += seconds
        if seconds:
            self.sleeps.append(seconds)

    async def sleep_async(self, seconds: float) -> None:
        """Let time pass."""
        self.sleep(seconds)


@dataclass
class Provider:
    """Answers requests in the order of a script and records them; a request beyond the script fails the test."""

    script: list[Answer | httpx.Response | BaseException]
    requests: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        assert self.script, f"{request.method} {request.url} is not in the script"
        reply = self.script.pop(0)
        if isinstance(reply, BaseException):
            raise reply
        if isinstance(reply, Answer):  # a stream is not unpacked yet, as when it comes from a socket
            packed = "content-encoding" in reply.headers
            body: dict[str, Any] = {"stream": httpx.ByteStream(reply.body)} if packed else {"content": reply.body}
            return httpx.Response(reply.status, headers=dict(reply.headers), **body)
        return reply

    @property
    def lines(self) -> list[str]:
        """Method and path of each request, with its query."""
        return [f"{request.method} {request.url.raw_path.decode()}" for request in self.requests]

    def body(self, number: int = 0) -> Any:
        """The JSON body of a request."""
        return json.loads(self.requests[number].content)


def provider(*script: Answer | httpx.Response | BaseException) -> Provider:
    """A provider with these answers."""
    return Provider(list(script))


def empty_histories() -> list[Answer]:
    """The pages of a history without a task, with their times, that `find` reads until it can tell."""
    page = {"code": 200, "data": {"data": [], "total": 0}}
    read_at = (0, 10, 20, 30, 40, 50, 60, 61, 61)  # seconds after the create; the last page is asked for no time
    return [answer(200, page, date=formatdate(UNIX + seconds, usegmt=True)) for seconds in read_at]


def perform(
    shell: str, handler: Callable[[httpx.Request], httpx.Response] | str, call: Callable[[Any], Any], **settings: Any
) -> Any:
    """Make a call with a client of either kind; return what it returns, raise what it raises.

    Args:
        shell: sync or async.
        handler: Answers the requests; or the address of a server, for a client that sends over the network in real
            time.
        call: Makes the call.
        **settings: Of the client.
    """
    if isinstance(handler, str):
        settings = {"base_url": handler, **settings}
    else:
        clock = settings.get("clock") or FakeClock()
        sleep = clock.sleep if shell == "sync" else clock.sleep_async
        transport = httpx.MockTransport(handler)
        settings = {"base_url": BASE_URL, "transport": transport, "sleep": sleep, **settings, "clock": clock}
    settings = {"api_key": KEY, **settings}
    if shell == "sync":
        with Client(**settings) as client:
            return call(client)

    async def main() -> Any:
        async with AsyncClient(**settings) as client:
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
