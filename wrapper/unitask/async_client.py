"""The async shell: it sends, it sleeps, it decides nothing. `Client` with `await`, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, cast, overload

import httpx
from unitask_api.output_files import OutputFile

from . import llm
from ._base_client import (
    BROKEN,
    FETCH_ERRORS,
    BaseClient,
    Clock,
    OnChange,
    checked_callback,
    hidden,
    send_as_written,
    system_clock,
)
from ._connections import IDLE, IDLE_FOR_SUBMISSIONS, IN_FLIGHT, AsyncRouting, Body, Pools, common, watching_async
from ._core import calls
from ._core.effects import Flow, Reply, RowYielded, SendRequest, Sleep, Step, TaskUpdated
from ._core.flows import Submission
from ._core.range_download import DownloadAttemptError
from ._drive import Drive
from ._environment import transport_settings
from ._model.account import Account, ActiveTasks, HistoryRow
from ._model.task import Output, OutputT, Recovery, Task
from ._model.upload import Upload
from ._telemetry import span
from .budget import Budget
from .client import Client
from .download import Batch, Sink, Target, plan
from .errors import InvalidInput, SubmissionUncertain, UnitaskError
from .inputs import Options, TaskInput, caller, request_body
from .media import Media, read_file
from .webhooks import Receiver

if TYPE_CHECKING:
    from openai import AsyncOpenAI

T = TypeVar("T")


@dataclass(slots=True)
class GatedPools(Pools[httpx.AsyncClient]):
    """The HTTP clients of an event loop.

    Attributes:
        gate: Lets `IN_FLIGHT` calls pass at once.
        file_gate: The same for output files.
    """

    gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(IN_FLIGHT))
    file_gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(IN_FLIGHT))


class AsyncClient(BaseClient):
    """`Client` for asyncio: the same methods, awaited. Files are read and written in a thread.

    Use it as an async context manager, or call `close`. It may be used by several tasks at once.

    Args:
        api_key: The key. None: UNITASK_API_KEY, then PIAPI_API_KEY, from the environment.
        base_url: The provider. None: UNITASK_BASE_URL from the environment, then PiAPI.
        http_timeout: Seconds that one HTTP call may take in all, besides sending its body at 50 kB a second; for a
            download, each piece of it.
        poll_patience: Seconds that polls of a task may fail one after another before a wait gives up.
        mark_webhooks: Whether the query of each webhook_url gets a random `unitask=...`, by which a task whose create
            brought no answer is found again for certain.
        uploads: Whether files are uploaded before a submission where its field takes a URL alone, or the file is large.
            False: they go along in base64.
        webhooks: Where notifications arrive; a notification of a task makes a wait for it look at once.
        budget: What tasks may cost in all; None for no limit. Several clients may share one.
        transport: How requests are sent; None for the network. For tests and proxies.
        clock: Tells the time; for tests.
        sleep: Lets seconds pass; for tests.

    Raises:
        InvalidInput: There is no key, or a setting cannot be used.
    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        *,
        http_timeout: float = 60.0,
        poll_patience: float = 60.0,
        mark_webhooks: bool = True,
        uploads: bool = True,
        webhooks: Receiver | None = None,
        budget: Budget | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock = system_clock,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        api_key = hidden(api_key)
        super().__init__(
            api_key, base_url, http_timeout, poll_patience, mark_webhooks, uploads, webhooks, clock, budget
        )
        checked_callback("sleep", sleep)
        self._sleep = sleep
        self._transport: Callable[
            [float], httpx.AsyncBaseTransport
        ]  # by the seconds for which it keeps an idle connection
        if transport is None:
            self._transport = functools.partial(AsyncRouting, transport_settings(self.base_url))
        elif isinstance(cast("object", transport), httpx.AsyncBaseTransport):
            self._transport = lambda _: transport
        else:
            raise InvalidInput(f"transport is {transport!r:.80}: give an httpx.AsyncBaseTransport")
        self._pools: dict[asyncio.AbstractEventLoop, GatedPools] = {}  # connections refer to their loop: no weak keys

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        self._closed = True
        if pools := self._pools.pop(asyncio.get_running_loop(), None):
            await pools.submissions.aclose()
            await pools.calls.aclose()
            await pools.files.aclose()

    async def submit(
        self, task: TaskInput[OutputT], *, validate: bool = True, **options: Unpack[Options]
    ) -> Task[OutputT]:
        submission, wanted, called_by = Submission(), self._uploads.wanted, caller()
        try:
            body = await asyncio.to_thread(
                request_body, task, options, validate=validate, uploads=wanted, called_by=called_by
            )
            return await self._drive(self._submit_flow(body, task, submission))
        except BaseException as error:
            self._explain(submission, error)
            raise

    async def run(
        self,
        task: TaskInput[OutputT],
        *,
        timeout: float | None = None,
        on_change: OnChange | None = None,
        validate: bool = True,
        **options: Unpack[Options],
    ) -> Task[OutputT]:
        limits = self._limits(timeout)
        submission, wanted, called_by = Submission(), self._uploads.wanted, caller()
        try:
            body = await asyncio.to_thread(
                request_body, task, options, validate=validate, uploads=wanted, called_by=called_by
            )
            return await self._drive(self._run_flow(body, task, limits, submission), on_change)
        except BaseException as error:
            self._explain(submission, error)
            raise

    @overload
    async def wait(
        self, task: Task[OutputT], *, timeout: float | None = None, on_change: OnChange | None = None
    ) -> Task[OutputT]: ...
    @overload
    async def wait(
        self, task: str, *, timeout: float | None = None, on_change: OnChange | None = None
    ) -> Task[Output]: ...
    async def wait(
        self, task: Task[Any] | str, *, timeout: float | None = None, on_change: OnChange | None = None
    ) -> Task[Any]:
        return await self._drive(self._wait_flow(task, self._limits(timeout)), on_change)

    async def wait_all(
        self,
        tasks: Iterable[Task[Any] | str],
        *,
        timeout: float | None = None,
        on_change: OnChange | None = None,
    ) -> list[Task[Any] | UnitaskError]:
        return await self._drive(self._wait_all_flow(tasks, self._limits(timeout)), on_change)

    async def find(self, uncertain: SubmissionUncertain | str, *, timeout: float | None = None) -> Recovery:
        return await self._drive(self._find_flow(uncertain, timeout))

    async def watch(self, task: Task[Any] | str, *, timeout: float | None = None) -> AsyncIterator[Task[Output]]:
        async for step in self._told(self._watch_flow(task, self._limits(timeout))):
            if isinstance(step, TaskUpdated):
                yield step.task

    @overload
    async def get(self, task: Task[OutputT]) -> Task[OutputT]: ...
    @overload
    async def get(self, task: str) -> Task[Output]: ...
    async def get(self, task: Task[Any] | str) -> Task[Any]:
        return await self._drive(self._get_flow(task))

    async def cancel(self, task: Task[Any] | str) -> None:
        await self._drive(self._cancel_flow(task))

    async def cancel_many(self, *, created_before: datetime | float, model: str | None = None) -> None:
        await self._drive(self._cancel_many_flow(created_before, model))

    async def account(self) -> Account:
        return await self._drive(calls.account(self._limits()))

    async def active_tasks(self) -> dict[str, ActiveTasks]:
        return await self._drive(calls.active_tasks(self._limits()))

    async def history(
        self,
        *,
        model: str | None = None,
        start: datetime | float | None = None,
        end: datetime | float | None = None,
        page_size: int = 100,
    ) -> AsyncIterator[HistoryRow]:
        async for step in self._told(self._history_flow(model, start, end, page_size)):
            if isinstance(step, RowYielded):
                yield step.row

    async def upload(self, file: Media) -> Upload:
        content = await asyncio.to_thread(read_file, file)
        return await self._drive(self._upload_flow(content))

    def openai(self, *, long_answers: bool = False) -> AsyncOpenAI:
        return llm.async_client(self._key.value, self._llm_url(long_answers))

    async def download(
        self,
        task: Task[Any] | OutputFile | Iterable[OutputFile],
        to: str | os.PathLike[str],
        *,
        previews: bool = False,
        overwrite: bool = False,
        parallel: int = 4,
    ) -> list[Path]:
        self._check_open()
        batch = plan(task, to, previews=previews, overwrite=overwrite, parallel=parallel)
        limit = asyncio.Semaphore(batch.parallel)

        async def fetch(target: Target) -> Path:
            async with limit:
                return await self._fetch(batch, target)

        with span("download", task_id=batch.targets[0].file.task_id, files=len(batch.targets)):
            return batch.paths(await asyncio.gather(*map(fetch, batch.targets), return_exceptions=True))

    async def _drive(self, flow: Flow[T], on_change: OnChange | None = None) -> T:
        self._check_open()
        checked_callback("on_change", on_change, optional=True)
        drive = Drive(flow)
        while (step := drive.step) is not None:
            with drive.guard():
                reply = await self._take(step, on_change)
            drive.reply(reply)
        return drive.result

    async def _told(self, flow: Flow[Any]) -> AsyncIterator[Step]:
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
                return self._woke(await self._webhooks.wait_for_notification_async(notification_of, seconds))
            case Sleep():
                await self._sleep(step.seconds)
            case TaskUpdated():
                self._notice(step.task)
                if on_change and inspect.isawaitable(awaited := on_change(step.task)):
                    await awaited
            case RowYielded():
                pass
        return self._woke()

    async def _send(self, send: SendRequest) -> Reply:
        pools = self._connected()
        send.progress.left = False
        if send.submission:  # it waits for its turn as long as it takes: nothing is lost meanwhile
            async with pools.gate:
                return await self._exchange(pools.submissions, send)
        try:
            async with asyncio.timeout(self._limit(send)), pools.gate:
                return await self._exchange(pools.calls, send)
        except TimeoutError as error:
            return self._no_answer(error, send.progress, None, None)

    async def _exchange(self, client: httpx.AsyncClient, send: SendRequest) -> Reply:
        progress = send.progress
        response = body = None
        try:
            request = client.build_request(**self._call(send), extensions={"trace": watching_async(progress)})
            async with asyncio.timeout(self._allowed(request)):
                progress.left = None
                response = await client.send(request, stream=True)
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
            return self._answer(response, body.content)
        except Exception as error:  # whatever it is, it must not hide that a submission may have arrived
            return self._no_answer(error, progress, response, body)

    def _connected(self) -> GatedPools:
        """The HTTP clients of this process and event loop."""
        self._check_going_on()
        loop = asyncio.get_running_loop()
        pools = self._pools.get(loop)
        if pools is None or pools.process != os.getpid():
            for other in [other for other in list(self._pools) if other.is_closed()]:
                self._pools.pop(other, None)  # their sockets are closed with it
            pools = self._pools[loop] = self._connect()
        return pools

    def _connect(self) -> GatedPools:
        def api(idle: float) -> httpx.AsyncClient:
            return httpx.AsyncClient(
                base_url=self.base_url, transport=self._transport(idle), auth=self._key, **common()
            )

        files = httpx.AsyncClient(  # it has no key
            transport=self._transport(IDLE),
            follow_redirects=True,
            timeout=self.http_timeout,
            event_hooks={"request": [_send_as_written]},
            **common(),
        )
        return GatedPools(api(IDLE_FOR_SUBMISSIONS), api(IDLE), files)

    async def _fetch(self, batch: Batch, target: Target) -> Path:
        with Sink(batch, target, self._retry_policy, self.http_timeout) as sink:
            while True:
                try:
                    if not await asyncio.to_thread(sink.take_inline):
                        await self._fetch_once(sink)
                    return await asyncio.to_thread(sink.finish)
                except (DownloadAttemptError, *FETCH_ERRORS) as error:
                    pause = sink.again(error, retryable=isinstance(error, BROKEN))
                await self._sleep(pause)

    async def _fetch_once(self, sink: Sink) -> None:
        pools = self._connected()
        async with pools.file_gate, contextlib.AsyncExitStack() as stack:
            async with asyncio.timeout(self.http_timeout):
                response = await stack.enter_async_context(pools.files.stream(**self._fetch_call(sink)))
            sink.begin(self._head(response))
            chunks = aiter(cast("httpx.AsyncByteStream", response.stream))  # the Sink unpacks them
            while True:
                async with asyncio.timeout(self.http_timeout):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    return
                await asyncio.to_thread(sink.write, chunk, self._clock())


async def _send_as_written(request: httpx.Request) -> None:
    send_as_written(request)


for _name, _method in vars(AsyncClient).items():  # one text for both: they are the same call
    if not _name.startswith("_") and callable(_method):
        _method.__doc__ = getattr(Client, _name).__doc__
