"""Both clients over `UnitaskProvider`, on a clock that moves only while they sleep; or over the network."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from unitask import AsyncClient, Client, errors, tasks
from unitask._core.effects import Response
from unitask.bulk.transport import FastTransport
from unitask.testing import InstantClock, UnitaskProvider

from .script import TASK_ID, UNIX

BASE_URL = "https://provider.test"
KEY = "0123456789abcdef" * 4
FACE_SWAP = tasks.FaceSwap(target_image="https://me.test/a.jpg", swap_image="https://me.test/b.png")
CLIENTS: dict[str, Any] = {"sync": Client, "async": AsyncClient}


def submit(client: Any) -> Any:
    return client.submit(FACE_SWAP)


def get(client: Any) -> Any:
    return client.get(TASK_ID)


def instant_clock() -> InstantClock:
    return InstantClock(datetime.fromtimestamp(UNIX, UTC))


class StoppedClock(InstantClock):
    """A clock whose n-th pause, counted from 0, is interrupted."""

    def __init__(self, at: int = 0, by: type[BaseException] = KeyboardInterrupt) -> None:
        super().__init__(datetime.fromtimestamp(UNIX, UTC))
        self.at, self.by = at, by

    def sleep(self, seconds: float) -> None:
        if seconds and len(self.sleeps) == self.at:
            raise self.by
        super().sleep(seconds)


def provider(*script: Response | httpx.Response | BaseException) -> UnitaskProvider:
    """Make a provider with these answers; a request beyond them fails the test."""
    made = UnitaskProvider(strict=True, clock=instant_clock())
    made.answers(*(responded(reply) if isinstance(reply, Response) else reply for reply in script))
    return made


def responded(reply: Response) -> httpx.Response:
    if "content-encoding" in reply.headers:  # as it comes from a socket: httpx has not unpacked it yet
        return httpx.Response(reply.status, headers=dict(reply.headers), stream=httpx.ByteStream(reply.body))
    return httpx.Response(reply.status, headers=dict(reply.headers), content=reply.body)


def perform(
    shell: str,
    replies: UnitaskProvider | Callable[[httpx.Request], httpx.Response] | str,
    call: Callable[[Any], Any],
    **settings: Any,
) -> Any:
    """Make a call with a client of either kind; the URL of a server makes one that sends over the network."""
    if not isinstance(replies, str):
        is_provider = isinstance(replies, UnitaskProvider)
        clock = settings.get("clock") or (replies.clock if is_provider else instant_clock())
        transport = replies.transport if is_provider else httpx.MockTransport(replies)
        sleep = clock.sleep if shell == "sync" else clock.sleep_async
        settings = {"transport": transport, "sleep": sleep, **settings, "clock": clock}
    elif shell == "fast":
        settings["transport"] = FastTransport()
    settings = {"api_key": KEY, "base_url": replies if isinstance(replies, str) else BASE_URL, **settings}
    if shell == "sync":
        with Client(**settings) as client:
            result = call(client)
            return asyncio.run(result) if inspect.iscoroutine(result) else result

    async def main() -> Any:
        async with AsyncClient(**settings) as client:
            result = call(client)
            return await result if inspect.isawaitable(result) else result

    return asyncio.run(main())


def in_turn(*calls: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Make several calls with one client; an error is the result of its call."""

    async def steps(client: Any) -> list[Any]:
        results: list[Any] = []
        for call in calls:
            try:
                result = call(client)
                results.append(await result if inspect.isawaitable(result) else result)
            except errors.UnitaskError as error:
                results.append(error)
        return results

    return steps


def fetch(shell: str, host: Any, what: Any, to: Any, **options: Any) -> list[Path]:
    """Download from a host, as `perform` takes it, with four attempts."""
    paths: list[Path] = perform(shell, host, lambda client: client.download(what, to, **options), poll_patience=0.1)
    return paths


def files_in(folder: Path) -> list[str]:
    """Return the path of each file in a folder and below it, hidden files included."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def all_of(events: Any) -> Any:
    """Return every event as a list; as a coroutine if the iterator is async."""
    if not hasattr(events, "__aiter__"):
        return list(events)

    async def gather() -> list[Any]:
        return [event async for event in events]

    return gather()


class Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The body of a response for either client, in these chunks; it breaks off where they raise."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.chunks)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            yield chunk
