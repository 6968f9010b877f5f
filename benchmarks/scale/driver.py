"""`python -m benchmarks.scale.driver SUBJECT TASKS URL [--short]`: finish tasks, all at once; print their cost as JSON.

Each task has one submission, and polls until it has ended. The subjects that are not clients poll without a pause, the
published clients at their own pace, and unitask by its plan, which `--short` shortens to the pauses of the paced floor.
"""

import asyncio
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from benchmarks.clients.subjects import KEY

AT_ONCE = 32  # requests of the subjects that are no clients; as many as unitask has in flight
SWAP = {"target_image": "https://example.com/a.jpg", "swap_image": "https://example.com/b.jpg"}
BODY = json.dumps({"model": "Qubico/image-toolkit", "task_type": "face-swap", "input": SWAP}).encode()
HEADERS = {"user-agent": "benchmark", "accept-encoding": "gzip", "x-api-key": KEY}
Exchange = Callable[[str, str, bytes], Awaitable[bytes]]  # method, URL and body; returns the body of the answer
Subject = Callable[[str, int, "Meter"], Awaitable[None]]  # base URL and number of tasks


class Meter:
    """What the tasks of a subject cost, and when it saw each end."""

    def __init__(self) -> None:
        self._seen, self._full = dict[str, float](), 0
        self.start()

    def start(self) -> None:
        """Begin again, once the inputs are there."""
        self._began, self._before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)

    def end(self, task_id: str) -> None:
        """Note that a task has ended; until the first end, all of them wait."""
        self._full = self._full or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self._seen[task_id] = time.monotonic()

    def figures(self, tasks: int) -> dict[str, Any]:
        """Return the cost of these tasks until now."""
        before, after = self._before, resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return {
            "cpu_ms": cpu / tasks * 1000,
            "peak_mb": after.ru_maxrss / 1024,
            "grown_kb": (self._full or after.ru_maxrss) - before.ru_maxrss,
            "seconds": time.monotonic() - self._began,
            "seen": self._seen,
        }


def longest_pause(tasks: int) -> float:
    """Return the seconds between polls: with many tasks, the time that their submissions take, so all wait at once."""
    return max(0.5, tasks / 1000)


async def loop(exchange: Exchange, url: str, tasks: int, pause: float = 0.0) -> None:
    """Submit tasks and poll them, with nothing around the transport but json.loads."""
    gate, base = asyncio.Semaphore(AT_ONCE), f"{url}/unitask/api/v1/task"

    async def send(method: str, target: str, body: bytes = b"") -> dict[str, Any]:
        async with gate:
            data: dict[str, Any] = json.loads(await exchange(method, target, body))["data"]
        return data

    async def one() -> None:
        task_id, status = (await send("POST", base, BODY))["task_id"], ""
        while status != "completed":
            if pause:
                await asyncio.sleep(pause)
            status = (await send("GET", f"{base}/{task_id}"))["status"]

    await asyncio.gather(*(one() for _ in range(tasks)))


class RawConnection(asyncio.Protocol):
    """A connection of the floor; it reads answers that have a Content-Length."""

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self.transport, self._read = transport, b""

    def send(self, request: bytes) -> asyncio.Future[bytes]:
        """Write a request; return the future body of its answer."""
        self._body = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._body

    def data_received(self, data: bytes) -> None:
        """Return the body when it is whole."""
        self._read += data
        end, start = self._read.find(b"\r\n\r\n") + 4, self._read.find(b"content-length: ") + 16
        if end > 3 and len(self._read) >= end + (length := int(self._read[start : self._read.find(b"\r", start)])):
            self._body.set_result(self._read[end : end + length])
            self._read = b""


async def floor(url: str, tasks: int, _: "Meter", pause: float = 0.0) -> None:
    """Raw sockets, and request bytes that are made once."""
    host, _, port = url.removeprefix("http://").partition(":")
    idle: list[RawConnection] = []
    head = "".join(f"{name}: {value}\r\n" for name, value in {"host": f"{host}:{port}", **HEADERS}.items())
    post = f"HTTP/1.1\r\n{head}content-type: application/json\r\ncontent-length: {len(BODY)}\r\n\r\n".encode() + BODY
    get = f"HTTP/1.1\r\n{head}\r\n".encode()

    async def exchange(method: str, target: str, body: bytes) -> bytes:
        if not idle:
            idle.append((await asyncio.get_running_loop().create_connection(RawConnection, host, int(port)))[1])
        connection = idle.pop()
        answer = await connection.send(f"{method} {target[len(url) :]} ".encode() + (post if body else get))
        idle.append(connection)
        return answer

    await loop(exchange, url, tasks, pause)


async def paced_floor(url: str, tasks: int, meter: "Meter") -> None:
    """The floor with the pauses of unitask: a processor takes longer for the same code in short bursts."""
    await floor(url, tasks, meter, longest_pause(tasks))


async def aiohttp_loop(url: str, tasks: int, _: "Meter") -> None:
    """aiohttp, with what unitask needs: no redirects, cookies or unpacking; a limit of time."""
    import aiohttp

    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=5)
    settings: Any = {"connector": connector, "cookie_jar": aiohttp.DummyCookieJar(), "auto_decompress": False}
    async with aiohttp.ClientSession(**settings, headers=HEADERS) as session:

        async def exchange(method: str, target: str, body: bytes) -> bytes:
            async with asyncio.timeout(60), session.request(method, target, data=body or None) as answer:
                return b"".join([chunk async for chunk in answer.content.iter_any()])

        await loop(exchange, url, tasks)


async def pyreqwest_loop(url: str, tasks: int, _: "Meter") -> None:
    """pyreqwest, with the same; the body is read in chunks, or its announced size would be reserved."""
    from pyreqwest.client import ClientBuilder

    builder = ClientBuilder().follow_redirects(enable=False).no_proxy().default_headers(HEADERS)
    async with builder.gzip(enable=False).build() as client:

        async def exchange(method: str, target: str, body: bytes) -> bytes:
            request = client.request(method, target)
            if body:
                request = request.body_bytes(body)
            async with asyncio.timeout(60), request.build_streamed() as answer:
                chunks = list[bytes]()
                while (chunk := await answer.body_reader.read_chunk()) is not None:
                    chunks.append(bytes(chunk))
                return b"".join(chunks)

        await loop(exchange, url, tasks)


async def fast_loop(url: str, tasks: int, _: "Meter") -> None:
    """FastTransport alone."""
    from unitask._connections import Answer, Exchange
    from unitask._core.effects import Progress
    from unitask.bulk.transport import FastTransport

    transport, headers = FastTransport(), tuple(HEADERS.items())

    async def exchange(method: str, target: str, body: bytes) -> bytes:
        answer = Answer()
        request = Exchange(method, url, target[len(url) :], headers, body)
        await transport.exchange(request, answer, Progress(), 60.0)
        return answer.body.content

    await loop(exchange, url, tasks)
    await transport.aclose()


def unitask(call: str, *, fast: bool = False, journal: bool = False) -> Subject:
    """Return a subject that makes a call of `AsyncClient`."""

    async def subject(url: str, tasks: int, meter: Meter) -> None:
        from unitask import AsyncClient
        from unitask.bulk import Journal
        from unitask.bulk.transport import FastTransport
        from unitask.tasks import FaceSwap

        swaps = [FaceSwap(**SWAP) for _ in range(tasks)]
        meter.start()

        async def run(swap: FaceSwap) -> None:
            meter.end((await client.run(swap)).id)

        transport = FastTransport() if fast else None
        async with AsyncClient(KEY, f"{url}/unitask", transport=transport) as client:
            if call == "run":
                await asyncio.gather(*map(run, swaps))
            elif call == "wait_all":
                submitted = await asyncio.gather(*map(client.submit, swaps))
                for task in await client.wait_all(submitted):
                    meter.end(task.id)
            else:
                with tempfile.TemporaryDirectory() as folder:
                    kept: Any = {"journal": Journal(Path(folder) / "job.db")} if journal else {}
                    async for result in client.map(swaps, concurrency=tasks, **kept):
                        assert result.task is not None, result.error
                        meter.end(result.task.id)

    return subject


def shorten_pauses(tasks: int) -> None:
    """Poll within `longest_pause`."""
    from unitask._core.polling import DurationTracker

    most, planned = longest_pause(tasks), DurationTracker.next_poll_delay
    DurationTracker.next_poll_delay = lambda *given: min(most, planned(*given))  # type: ignore[method-assign]  # in this process


async def fal(url: str, tasks: int, meter: Meter) -> None:
    """fal-client."""
    import fal_client.client

    fal_client.client.QUEUE_URL_FORMAT = f"{url}/fal-client/"
    client = fal_client.AsyncClient(key=KEY)

    async def one() -> None:
        ids = list[str]()
        await client.subscribe("fal-ai/flux/dev", {"prompt": "a"}, on_enqueue=ids.append)
        meter.end(ids[0])

    await asyncio.gather(*(one() for _ in range(tasks)))


async def replicate(url: str, tasks: int, meter: Meter) -> None:
    """Replicate."""
    from replicate import Client

    client = Client(api_token=KEY, base_url=f"{url}/replicate")

    async def one() -> None:
        prediction = await client.predictions.async_create(version="0" * 64, input={"prompt": "a"})
        await prediction.async_wait()
        meter.end(prediction.id)

    await asyncio.gather(*(one() for _ in range(tasks)))


async def runway(url: str, tasks: int, meter: Meter) -> None:
    """Runwayml."""
    from runwayml import AsyncRunwayML

    client = AsyncRunwayML(api_key=KEY, base_url=f"{url}/runwayml")
    video: Any = {"model": "gen4_turbo", "prompt_image": "https://example.com/a.jpg", "ratio": "1280:720"}

    async def one() -> None:
        meter.end((await (await client.image_to_video.create(**video)).wait_for_task_output()).id)

    await asyncio.gather(*(one() for _ in range(tasks)))


async def luma(url: str, tasks: int, meter: Meter) -> None:
    """lumaai, with the loop of its documentation."""
    from lumaai import AsyncLumaAI

    client = AsyncLumaAI(auth_token=KEY, base_url=f"{url}/lumaai")

    async def one() -> None:
        made: Any = await client.generations.create(model="ray-2", prompt="a")
        while made.state != "completed":
            await asyncio.sleep(3)
            made = await client.generations.get(id=made.id)
        meter.end(made.id)

    await asyncio.gather(*(one() for _ in range(tasks)))


async def openai(url: str, tasks: int, meter: Meter) -> None:
    """openai, its videos."""
    from openai import AsyncOpenAI

    client = AsyncOpenAI(api_key=KEY, base_url=f"{url}/openai")
    video: Any = {"model": "sora-2", "prompt": "a"}

    async def one() -> None:
        meter.end((await client.videos.create_and_poll(**video)).id)

    await asyncio.gather(*(one() for _ in range(tasks)))


SUBJECTS: dict[str, Subject] = {
    "floor": floor,
    "paced floor": paced_floor,
    "FastTransport alone": fast_loop,
    "pyreqwest alone": pyreqwest_loop,
    "aiohttp alone": aiohttp_loop,
    "map, FastTransport": unitask("map", fast=True),
    "map, FastTransport, journal": unitask("map", fast=True, journal=True),
    "map": unitask("map"),
    "map, journal": unitask("map", journal=True),
    "run gathered, FastTransport": unitask("run", fast=True),
    "run gathered": unitask("run"),
    "wait_all": unitask("wait_all"),
    "fal-client": fal,
    "replicate": replicate,
    "runwayml": runway,
    "lumaai": luma,
    "openai": openai,
}
PEERS = ("fal-client", "replicate", "runwayml", "lumaai", "openai")


def main() -> None:
    """Finish one task first, so that what is imported and cached is not counted; then the others."""
    subject, tasks, url, is_short = SUBJECTS[sys.argv[1]], int(sys.argv[2]), sys.argv[3], sys.argv[4:] == ["--short"]
    if is_short:
        shorten_pauses(tasks)
    asyncio.run(subject(url, 1, Meter()))
    meter = Meter()
    asyncio.run(subject(url, tasks, meter))
    print(json.dumps(meter.figures(tasks)), flush=True)
    os._exit(0)  # pyreqwest can abort Python at its exit


if __name__ == "__main__":
    main()
