"""The async client: `Client` with `await`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack, overload

import httpx
from unitask_api.output_files import OutputFile

from . import llm
from ._async_runner import AsyncRunner
from ._base_client import OnChange, hidden
from ._core import retry
from ._core.effects import RowYielded, TaskUpdated
from ._core.flows import Submission
from ._core.uploads import Upload
from ._model.account import Account, ActiveTasks, HistoryRow
from ._model.task import Output, OutputT, Recovery, Task
from ._model.timestamp import Timestamp
from ._telemetry import span
from .budget import Budget
from .download import Target, plan
from .errors import SubmissionUncertain, UnitaskError
from .inputs import Options, TaskInput, request_body, warner
from .media import Media, read_file
from .webhooks import Receiver

if TYPE_CHECKING:
    from openai import AsyncOpenAI


class AsyncClient(AsyncRunner):
    """`Client` for asyncio: the same methods, awaited. Files are read and written in threads.

    Use it as an async context manager, or call `aclose`. It may be used by several asyncio tasks at once.

    Args:
        api_key: The key. None: UNITASK_API_KEY, then PIAPI_API_KEY, from the environment.
        base_url: The provider. None: UNITASK_BASE_URL from the environment, then PiAPI.
        http_timeout: Seconds for a whole HTTP call, plus the time for its body at 50 kB a second. For a download,
            seconds for each piece.
        max_retries: How often a request is repeated: one that only reads (polls and downloads too), after a failure; a
            submission, only if it provably never left or was answered HTTP 429 without a task id. 0 repeats nothing.
            None repeats reads for `poll_patience` seconds and a submission 3 times.
        poll_patience: Seconds for which polls of a task may fail one after another before a wait gives up.
        mark_webhooks: Whether to add a random `unitask=...` to the query of each webhook_url, by which `find`
            recognises the task.
        uploads: Whether to upload large files, and files for fields that take only a URL. False sends base64.
        webhooks: Where notifications arrive. A notification of a task makes a wait for it poll at once.
        budget: The limit of what tasks may cost. Several clients may share one.
        default_headers: Headers for each request to the provider; they cannot replace the key. Downloads do not send
            them.
        proxy: The URL of a proxy (http, https or socks5) for all requests. None: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY
            and NO_PROXY from the environment.
        http_client: Your own `httpx.AsyncClient` for all requests, downloads included; you close it. Its timeouts,
            proxies, certificates, headers and hooks apply. These are lost: the separate pool for submissions, new
            connections after a fork and in another event loop, and exact URLs of files.
        transport: A transport of httpx in place of the network.
        clock: Returns the time; for tests.
        sleep: Waits for a number of seconds; for tests.

    Raises:
        InvalidInput: There is no key, or a setting cannot be used.

    Example:
        async with AsyncClient(max_retries=0, proxy="http://proxy.example:3128") as client:
            print((await client.account()).balance_usd)
    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        *,
        http_timeout: float = 60.0,
        max_retries: int | None = None,
        poll_patience: float = 60.0,
        mark_webhooks: bool = True,
        uploads: bool = True,
        webhooks: Receiver | None = None,
        budget: Budget | None = None,
        default_headers: Mapping[str, str] | None = None,
        proxy: str | None = None,
        http_client: httpx.AsyncClient | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], Timestamp] | None = None,
        sleep: Callable[[float], Awaitable[object]] | None = None,
    ) -> None:
        api_key = hidden(api_key)
        super().__init__(
            api_key,
            base_url,
            http_timeout=http_timeout,
            max_retries=max_retries,
            poll_patience=poll_patience,
            mark_webhooks=mark_webhooks,
            uploads=uploads,
            webhooks=webhooks,
            budget=budget,
            default_headers=default_headers,
            proxy=proxy,
            http_client=http_client,
            transport=transport,
            clock=clock,
        )
        self._set_up(transport, http_client, sleep)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections of this event loop, but not those of your `http_client`. Tasks go on."""
        self._closed = True
        pools = self._pools.pop(asyncio.get_running_loop(), None)
        if pools and self._http_client is None:
            await pools.submissions.aclose()
            await pools.calls.aclose()
            await pools.files.aclose()

    async def submit(
        self, task: TaskInput[OutputT], *, validate: bool = True, **options: Unpack[Options]
    ) -> Task[OutputT]:
        """Submit a task, at most once, and return without waiting for it.

        Args:
            task: The input, an object of a class in `unitask.tasks`.
            validate: Whether to check the input against the documents first.
            **options: webhook_url, webhook_secret, service_mode (see `Options`).

        Returns:
            The task as the provider accepted it, usually pending.

        Raises:
            InvalidInput: The task is wrong; nothing was sent.
            BudgetExceeded: The budget does not cover it; nothing was sent.
            SubmissionUncertain: It may have been accepted and was not sent again; `find` looks for it.
            Unreachable: It was not sent.
            ApiError: The provider refused it.

        Example:
            task = await client.submit(tasks.FaceSwap(target_image="group.jpg", swap_image="me.png"))
            print(task.token)  # enough to wait for it in another process
        """
        submission, wanted, warn = Submission(), self._uploads.wanted, warner()
        try:
            body = await asyncio.to_thread(request_body, task, options, validate=validate, uploads=wanted, warn=warn)
            return await self._drive(self._submit_flow(body, task, submission))
        except BaseException as error:
            self._report(submission, error)
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
        """Submit a task and wait until it is completed: `submit`, then `wait`.

        Args:
            task: The input, an object of a class in `unitask.tasks`.
            timeout: Seconds to wait in all; 0 polls once; None is the usual limit of its type (10 minutes or more).
            on_change: Called with the task each time it has changed.
            validate: Whether to check the input against the documents first.
            **options: webhook_url, webhook_secret, service_mode (see `Options`).

        Returns:
            The completed task.

        Raises:
            InvalidInput: The task is wrong; nothing was sent.
            BudgetExceeded: The budget does not cover it; nothing was sent.
            SubmissionUncertain: It may have been accepted and was not sent again; `find` looks for it.
            Unreachable: It was not sent.
            ApiError: The provider refused it.
            TaskFailed: The task ended without a result.
            WaitTimeout: The time is up; the task goes on.

        Example:
            task = await client.run(tasks.FaceSwap(target_image="group.jpg", swap_image="me.png"), timeout=120)
            print(task.output.image_url, task.cost_usd)
        """
        limits = self._limits(timeout)
        submission, wanted, warn = Submission(), self._uploads.wanted, warner()
        try:
            body = await asyncio.to_thread(request_body, task, options, validate=validate, uploads=wanted, warn=warn)
            return await self._drive(self._run_flow(body, task, limits, submission), on_change)
        except BaseException as error:
            self._report(submission, error)
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
        """Wait until a task is completed.

        Args:
            task: The task, its id, or its token.
            timeout: Seconds to wait in all; 0 polls once; None is the usual limit of its type (10 minutes or more).
            on_change: Called with the task each time it has changed.

        Returns:
            The completed task.

        Raises:
            InvalidInput: An argument cannot be used.
            TaskFailed: The task ended without a result.
            WaitTimeout: The time is up; the task goes on.
            Unreachable: Polls failed for longer than `poll_patience`; the task goes on.
            ApiError: The provider refused the poll.

        Example:
            task = await client.wait(task.token, timeout=60, on_change=lambda task: print(task.status))
        """
        return await self._drive(self._wait_flow(task, self._limits(timeout)), on_change)

    async def wait_all(
        self,
        tasks: Iterable[Task[Any] | str],
        *,
        timeout: float | None = None,
        on_change: OnChange | None = None,
    ) -> list[Task[Any] | UnitaskError]:
        """Wait until each of several tasks is done. See `Client.wait_all`."""
        return await self._drive(self._wait_all_flow(tasks, self._limits(timeout)), on_change)

    async def find(self, uncertain: SubmissionUncertain | str, *, timeout: float | None = None) -> Recovery:
        """Find out from the task history what became of a submission whose answer was lost. See `Client.find`."""
        return await self._drive(self._find_flow(uncertain, timeout))

    async def watch(self, task: Task[Any] | str, *, timeout: float | None = None) -> AsyncIterator[Task[Output]]:
        """Iterate over the changes of a task until it is done, however it ends.

        Args:
            task: The task, its id, or its token.
            timeout: Seconds to wait in all; 0 polls once; None is the usual limit of its type.

        Returns:
            An iterator over the task at the first poll and after each change; the last one has ended.

        Raises:
            InvalidInput: An argument cannot be used.
            WaitTimeout: The time is up; the task goes on.
            Unreachable: Polls failed for longer than `poll_patience`; the task goes on.
            ApiError: The provider refused the poll.

        Example:
            async for task in client.watch(task_id, timeout=300):
                print(task.status, task.progress)
        """
        async for step in self._updates(self._watch_flow(task, self._limits(timeout))):
            if isinstance(step, TaskUpdated):
                yield step.task

    @overload
    async def get(self, task: Task[OutputT]) -> Task[OutputT]: ...
    @overload
    async def get(self, task: str) -> Task[Output]: ...
    async def get(self, task: Task[Any] | str) -> Task[Any]:
        """Poll a task once.

        Args:
            task: The task, its id, or its token.

        Returns:
            The task as it is now.

        Raises:
            InvalidInput: It cannot be the id of a task.
            Unreachable: Polls failed for longer than `poll_patience`; the task goes on.
            ApiError: The provider refused the poll.

        Example:
            task = await client.get(task_id)
            print(task.state, task.output.files)
        """
        return await self._drive(self._get_flow(task))

    async def cancel(self, task: Task[Any] | str) -> None:
        """Cancel a task. Only a pending one can be cancelled.

        Args:
            task: The task, its id, or its token.

        Raises:
            InvalidInput: It cannot be the id of a task.
            ApiError: The provider refused, for example because work has begun.
            Unreachable: No answer came for `poll_patience` seconds.
        """
        await self._drive(self._cancel_flow(task))

    async def cancel_many(self, *, created_before: datetime | float, group: str | None = None) -> None:
        """Cancel all pending tasks that were created before a time. See `Client.cancel_many`."""
        await self._drive(self._cancel_many_flow(created_before, group))

    async def account(self) -> Account:
        """Get the account: balance and limits.

        Returns:
            The account. Fields that the provider leaves out are None; `raw` holds all, the key is replaced by "***".

        Raises:
            ApiError: The provider refused.
            Unreachable: No answer came for `poll_patience` seconds.

        Example:
            print((await client.account()).balance_usd)
        """
        return await self._drive(retry.account(self._limits()))

    async def active_tasks(self) -> dict[str, ActiveTasks]:
        """Count the tasks that are not done. See `Client.active_tasks`."""
        return await self._drive(retry.active_tasks(self._limits()))

    async def history(
        self,
        *,
        group: str | None = None,
        start: datetime | float | None = None,
        end: datetime | float | None = None,
        page_size: int = 100,
    ) -> AsyncIterator[HistoryRow]:
        """Iterate over past tasks, the newest first. A page is read when its first row is needed.

        Args:
            group: Only tasks of this group of models, such as image_toolkit, flux, kling, luma, mj, music-u or tts.
            start: Only tasks created from this time on: a datetime, or unix seconds.
            end: Only tasks created up to this time.
            page_size: Rows a page, 1 to 100.

        Returns:
            An iterator over the rows, each row once.

        Raises:
            InvalidInput: An argument cannot be used.
            ProviderBroken: An answer is not a page, or the pages have fewer rows than the history.
            ApiError: The provider refused.
            Unreachable: No answer came for `poll_patience` seconds.

        Example:
            async for row in client.history(group="kling", start=datetime.now(UTC) - timedelta(days=1)):
                print(row.task_id, row.state)
        """
        async for step in self._updates(self._history_flow(group, start, end, page_size)):
            if isinstance(step, RowYielded):
                yield step.row

    async def upload(self, file: Media) -> Upload:
        """Upload a file, which the provider keeps for 24 hours. See `Client.upload`."""
        content = await asyncio.to_thread(read_file, file)
        return await self._drive(self._upload_flow(content))

    def openai(self, *, long_answers: bool = False) -> AsyncOpenAI:
        """Return an `openai.AsyncOpenAI` for the LLM endpoints; close it when you are done. See `Client.openai`."""
        return llm.async_client(self._key, self._llm_url(long_answers), self._proxy, self._headers)

    async def download(
        self,
        task: Task[Any] | OutputFile | Iterable[OutputFile],
        to: str | os.PathLike[str],
        *,
        previews: bool = False,
        overwrite: bool = False,
        parallel: int = 4,
    ) -> list[Path]:
        """Download what a completed task made. The key is not sent. See `Client.download`."""
        self._check_open()
        batch = plan(task, to, previews=previews, overwrite=overwrite, parallel=parallel)
        limit = asyncio.Semaphore(batch.parallel)

        async def fetch(target: Target) -> Path:
            async with limit:
                return await self._fetch(batch, target)

        with span("download", task_id=batch.targets[0].file.task_id, files=len(batch.targets)):
            return batch.paths(await asyncio.gather(*map(fetch, batch.targets), return_exceptions=True))
