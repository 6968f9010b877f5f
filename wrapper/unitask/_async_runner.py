"""Take the steps of a flow over httpx, in an event loop: send, sleep, call back."""

import asyncio
import contextlib
import functools
import inspect
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import httpx

from ._base_client import BROKEN, FETCH_ERRORS, BaseClient, OnChange, checked_callback, checked_type, send_as_written
from ._connections import IDLE, IDLE_FOR_SUBMISSIONS, IN_FLIGHT, AsyncRouting, Body, Pools, common, watching_async
from ._core.effects import Flow, Reply, RowYielded, SendRequest, Sleep, Step, TaskUpdated
from ._drive import Drive
from ._environment import transport_settings
from .download import Batch, Sink, Target
from .errors import InvalidInput
from .inputs import Options, TaskInput, request_body, warner
from .media import Media, read_file

T = TypeVar("T")


@dataclass(slots=True)
class GatedPools(Pools[httpx.AsyncClient]):
    """The HTTP clients of an event loop, with a gate for calls and one for files."""

    gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(IN_FLIGHT))
    file_gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(IN_FLIGHT))


class AsyncRunner(BaseClient):
    """The I/O of `AsyncClient`."""

    _http_client: httpx.AsyncClient | None
    _transport: Callable[[float], httpx.AsyncBaseTransport]  # by the seconds for which it keeps an idle connection

    def _set_up(
        self,
        transport: httpx.AsyncBaseTransport | None,
        http_client: httpx.AsyncClient | None,
        sleep: Callable[[float], Awaitable[object]] | None,
    ) -> None:
        self._sleep = sleep or self.defaults.sleep_async
        checked_callback("sleep", self._sleep)
        checked_type("transport", transport, httpx.AsyncBaseTransport)
        checked_type("http_client", http_client, httpx.AsyncClient)
        transport = transport or self.defaults.transport
        if transport is not None:
            self._transport = lambda _: transport
        elif http_client is None:
            self._transport = functools.partial(AsyncRouting, transport_settings(self._proxy))
        self._pools: dict[asyncio.AbstractEventLoop, GatedPools] = {}  # connections refer to their loop: no weak keys

    async def _close_pools(self) -> None:
        pools = self._pools.pop(asyncio.get_running_loop(), None)
        if pools and self._http_client is None:
            await pools.submissions.aclose()
            await pools.calls.aclose()
            await pools.files.aclose()

    async def _body(self, task: TaskInput[Any], options: Options, *, validate: bool) -> dict[str, Any]:
        build = functools.partial(request_body, validate=validate, uploads=self._uploads.wanted, warn=warner())
        return await asyncio.to_thread(build, task, options)

    async def _read(self, file: Media) -> bytes:
        return await asyncio.to_thread(read_file, file)

    async def _drive(self, flow: Flow[T], on_change: OnChange | None = None) -> T:
        self._check_open()
        checked_callback("on_change", on_change, optional=True)
        drive = Drive(flow)
        while (step := drive.step) is not None:
            with drive.guard():
                reply = await self._take(step, on_change)
            drive.reply(reply)
        return drive.result

    async def _updates(self, flow: Flow[Any]) -> AsyncIterator[Step]:
        self._check_open()
        drive = Drive(flow)
        while (step := drive.step) is not None:
            with drive.guard():
                reply = await self._take(step)
            if isinstance(step, TaskUpdated | RowYielded):
                yield step
            drive.reply(reply)

    async def _take(self, step: Step, on_change: OnChange | None = None) -> Reply:
        match step:
            case SendRequest():
                return await self._send(step)
            case Sleep(seconds, notification_of) if notification_of and seconds and self._webhooks:
                is_real = self._sleep is asyncio.sleep  # a test clock does not wait for what may never come
                waited = seconds if is_real else 0
                notified = await self._webhooks.wait_for_notification_async(notification_of, waited)
                if notified is None and not is_real:
                    await self._sleep(seconds)
                return self._resumed(notified)
            case Sleep():
                await self._sleep(step.seconds)
            case TaskUpdated():
                self._note_change(step.task)
                if on_change and inspect.isawaitable(awaited := on_change(step.task)):
                    await awaited
            case RowYielded():
                pass
        return self._resumed()

    async def _send(self, send: SendRequest) -> Reply:
        send.progress.left = False
        pools = self._connected()
        if send.submission:  # it waits for its turn without a limit
            async with pools.gate:
                return await self._exchange(pools.submissions, send)
        try:
            async with asyncio.timeout(self._limit(send)), pools.gate:
                return await self._exchange(pools.calls, send)
        except TimeoutError as error:
            return self._failure(error, send.progress, None, None)

    async def _exchange(self, client: httpx.AsyncClient, send: SendRequest) -> Reply:
        progress = send.progress
        response = body = None
        try:
            request = client.build_request(**self._request(send), extensions={"trace": watching_async(progress)})
            async with asyncio.timeout(self._allowed(send, request)):
                progress.left = None
                response = await client.send(request, stream=True, auth=None, follow_redirects=False)
                try:
                    body = Body(response)
                    if body.chunks is None:
                        async for chunk in response.aiter_raw():
                            body.take(chunk)
                    for chunk in body.chunks or ():
                        body.take(chunk)
                    body.end()
                finally:
                    await response.aclose()
            return self._response(response, body.content)
        except Exception as error:  # no exception may hide that a submission may have arrived
            return self._failure(error, progress, response, body)

    def _connected(self) -> GatedPools:
        """Return the HTTP clients of this process and event loop."""
        self._check_going_on()
        loop = asyncio.get_running_loop()
        pools = self._pools.get(loop)
        if pools is None or pools.process != os.getpid():
            if self._http_client is not None and self._pools:
                given = "http_client has connections of another process or event loop"
                raise InvalidInput(f"{given}: make a client in each", undone="the request was not sent")
            for other in [other for other in list(self._pools) if other.is_closed()]:
                self._pools.pop(other, None)  # their sockets are closed with it
            pools = self._pools[loop] = self._connect()
        return pools

    def _connect(self) -> GatedPools:
        if given := self._http_client:
            return GatedPools(given, given, given)
        files = httpx.AsyncClient(
            transport=self._transport(IDLE),
            timeout=self.http_timeout,
            event_hooks={"request": [_send_as_written]},
            **common(),
        )
        submissions, calls = (
            httpx.AsyncClient(transport=self._transport(idle), **common()) for idle in (IDLE_FOR_SUBMISSIONS, IDLE)
        )
        return GatedPools(submissions, calls, files)

    async def _fetch_all(self, batch: Batch) -> list[Path | BaseException]:
        limit = asyncio.Semaphore(batch.parallel)

        async def fetch(target: Target) -> Path:
            async with limit:
                return await self._fetch(batch, target)

        return await asyncio.gather(*map(fetch, batch.targets), return_exceptions=True)

    async def _fetch(self, batch: Batch, target: Target) -> Path:
        with Sink(batch, target, self._retry_policy, self.http_timeout) as sink:
            while True:
                try:
                    if not await asyncio.to_thread(sink.take_inline):
                        await self._fetch_once(sink)
                    return await asyncio.to_thread(sink.finish)
                except FETCH_ERRORS as error:
                    pause = sink.again(error, retryable=isinstance(error, BROKEN))
                await self._sleep(pause)

    async def _fetch_once(self, sink: Sink) -> None:
        pools = self._connected()
        async with pools.file_gate, contextlib.AsyncExitStack() as stack:
            async with asyncio.timeout(self.http_timeout):
                response = await stack.enter_async_context(pools.files.stream(**self._file_request(sink)))
            sink.begin(self._head(response))
            if self._is_read(response):
                await asyncio.to_thread(sink.write, response.content, self._clock())
                return
            chunks = aiter(cast("httpx.AsyncByteStream", response.stream))  # the Sink unpacks them
            while True:
                async with asyncio.timeout(self.http_timeout):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    return
                await asyncio.to_thread(sink.write, chunk, self._clock())


async def _send_as_written(request: httpx.Request) -> None:
    send_as_written(request)
