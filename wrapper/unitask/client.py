"""The sync shell: it sends, it sleeps, it decides nothing."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
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
from ._bounded import bounded
from ._connections import IDLE, IDLE_FOR_SUBMISSIONS, Body, Pools, SyncRouting, common, watching
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
from .download import Batch, Sink, Target, plan
from .errors import InvalidInput, SubmissionUncertain, UnitaskError
from .inputs import Options, TaskInput, request_body
from .media import Media, read_file
from .webhooks import Receiver

if TYPE_CHECKING:
    from openai import OpenAI

T = TypeVar("T")


class Client(BaseClient):
    """Creates tasks, waits for them and fetches what they made.

    Use it as a context manager, or call `close`. It may be used by several threads at once.

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
        transport: httpx.BaseTransport | None = None,
        clock: Clock = system_clock,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        api_key = hidden(api_key)
        super().__init__(
            api_key, base_url, http_timeout, poll_patience, mark_webhooks, uploads, webhooks, clock, budget
        )
        checked_callback("sleep", sleep)
        self._sleep = sleep
        self._transport: Callable[[float], httpx.BaseTransport]  # by the seconds for which it keeps an idle connection
        if transport is None:
            self._transport = functools.partial(SyncRouting, transport_settings(self.base_url))
        elif isinstance(cast("object", transport), httpx.BaseTransport):
            self._transport = lambda _: transport
        else:
            raise InvalidInput(f"transport is {transport!r:.80}: give an httpx.BaseTransport")
        self._is_given = isinstance(transport, httpx.HTTPTransport)  # those connections are the caller's
        self._pools: dict[int, Pools[httpx.Client]] = {}  # by process
        self._retired: list[Pools[httpx.Client]] = []  # no new call takes these; other threads may be using them

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. Tasks go on."""
        self._closed = True
        for pools in [*self._pools.values(), *self._retired]:
            if pools.process == os.getpid():
                pools.submissions.close()
                pools.calls.close()
                pools.files.close()
        self._pools, self._retired = {}, []

    def submit(
        self,
        task: TaskInput[OutputT],
        *,
        validate: bool = True,
        **options: Unpack[Options],
    ) -> Task[OutputT]:
        """Create a task and return at once. It is created at most once, whatever the network does.

        Args:
            task: What to make.
            validate: Whether to check it against the documents first. False sends what they do not allow.
            **options: How the provider shall treat it: webhook_url, webhook_secret, service_mode (see `Options`).

        Raises:
            InvalidInput: Something is wrong with the task; nothing was sent.
            BudgetExceeded: The client's budget does not cover it; nothing was sent.
            SubmissionUncertain: It may have been accepted; it was not sent again.
            Unreachable: It was not sent.
            ApiError: The provider refused it.
        """
        submission = Submission()
        try:
            body = request_body(task, options, validate=validate, uploads=self._uploads.wanted)
            return self._drive(self._submit_flow(body, task, submission))
        except BaseException as error:
            self._explain(submission, error)
            raise

    def run(
        self,
        task: TaskInput[OutputT],
        *,
        timeout: float | None = None,
        on_change: OnChange | None = None,
        validate: bool = True,
        **options: Unpack[Options],
    ) -> Task[OutputT]:
        """Create a task and wait until it is completed: `submit`, then `wait`, with the arguments of both."""
        submission, limits = Submission(), self._limits(timeout)
        try:
            body = request_body(task, options, validate=validate, uploads=self._uploads.wanted)
            return self._drive(self._run_flow(body, task, limits, submission), on_change)
        except BaseException as error:
            self._explain(submission, error)
            raise

    @overload
    def wait(
        self, task: Task[OutputT], *, timeout: float | None = None, on_change: OnChange | None = None
    ) -> Task[OutputT]: ...
    @overload
    def wait(self, task: str, *, timeout: float | None = None, on_change: OnChange | None = None) -> Task[Output]: ...
    def wait(
        self, task: Task[Any] | str, *, timeout: float | None = None, on_change: OnChange | None = None
    ) -> Task[Any]:
        """Wait until a task is completed.

        Args:
            task: The task, its id, or its token.
            timeout: Seconds to wait in all; 0 polls once; None is the usual limit of its type (10 minutes or more).
            on_change: Called with the task each time it has changed.

        Raises:
            TaskFailed: It ended in another way.
            WaitTimeout: Time is up; the task goes on.
            Unreachable: Looking at it failed for longer than `poll_patience`.
            ApiError: The provider refused to show it.
        """
        return self._drive(self._wait_flow(task, self._limits(timeout)), on_change)

    def wait_all(
        self,
        tasks: Iterable[Task[Any] | str],
        *,
        timeout: float | None = None,
        on_change: OnChange | None = None,
    ) -> list[Task[Any] | UnitaskError]:
        """Wait until each of several tasks is done; return what became of each, in the order given.

        That is the completed task, or the error that `wait` would raise for it: nothing is lost because one fails.
        One thread polls all of them, one after another.

        Args:
            tasks: Tasks, their ids, or their tokens.
            timeout: Seconds for each; 0 polls once; None is the usual limit of its type.
            on_change: Called with a task each time it has changed.
        """
        return self._drive(self._wait_all_flow(tasks, self._limits(timeout)), on_change)

    def find(self, uncertain: SubmissionUncertain | str, *, timeout: float | None = None) -> Recovery:
        """What became of a submission that brought no answer, as the task history tells.

        "found": a task carries the mark of this submission, which a client puts into its webhook_url, or what arrived
        of an answer named its id. "absent": the history was read whole, late enough and on the provider's clock, and
        each task of that time is another one. Everything else is "unclear", with the candidates: without a webhook_url,
        a task with the same input may have been created by another program. Trouble with reading the history is
        "unclear" too: this raises no errors of the provider.

        Args:
            uncertain: The error of the submission, or its token, which is in the log.
            timeout: Seconds to go on reading the history, which may lag behind; 0 reads it once; None is as long as
                it takes to tell, about a minute after the submission.
        """
        return self._drive(self._find_flow(uncertain, timeout))

    def watch(self, task: Task[Any] | str, *, timeout: float | None = None) -> Iterator[Task[Output]]:
        """Each change of a task, the first poll included, until it is done, however it ends.

        Raises what `wait` raises, except `TaskFailed`: the last event tells how it ended.
        """
        for step in self._told(self._watch_flow(task, self._limits(timeout))):
            if isinstance(step, TaskUpdated):
                yield step.task

    @overload
    def get(self, task: Task[OutputT]) -> Task[OutputT]: ...
    @overload
    def get(self, task: str) -> Task[Output]: ...
    def get(self, task: Task[Any] | str) -> Task[Any]:
        """Poll a task once. Raises what `wait` raises, except `TaskFailed` and `WaitTimeout`."""
        return self._drive(self._get_flow(task))

    def cancel(self, task: Task[Any] | str) -> None:
        """Cancel a task; only a pending one can be. Raises `ApiError` when the provider refuses."""
        self._drive(self._cancel_flow(task))

    def cancel_many(self, *, created_before: datetime | float, model: str | None = None) -> None:
        """Cancel the pending tasks created before a time (unix seconds, or a datetime), of one model group or all."""
        self._drive(self._cancel_many_flow(created_before, model))

    def account(self) -> Account:
        """Account, balance and limits. Raises what `get` raises."""
        return self._drive(calls.account(self._limits()))

    def active_tasks(self) -> dict[str, ActiveTasks]:
        """How many tasks are not done, by group of models (flux, kling, luma, midjourney, music-s, music-u)."""
        return self._drive(calls.active_tasks(self._limits()))

    def history(
        self,
        *,
        model: str | None = None,
        start: datetime | float | None = None,
        end: datetime | float | None = None,
        page_size: int = 100,
    ) -> Iterator[HistoryRow]:
        """Past tasks, the newest first; pages are read as you go.

        Args:
            model: Only of this group of models: image_toolkit, video_toolkit, flux, kling, luma, mj, music-u, tts and
                others (history page, 2025-04-15).
            start: Only tasks created from this time on: unix seconds, or a datetime.
            end: Only tasks created up to this time.
            page_size: Rows a page, 1 to 100; 100 are asked for where tasks are created faster than pages are read.

        Raises:
            ProviderBroken: An answer is no page, or the pages bring fewer rows than the history has.
        """
        for step in self._told(self._history_flow(model, start, end, page_size)):
            if isinstance(step, RowYielded):
                yield step.row

    def upload(self, file: Media) -> Upload:
        """Upload a file, which is kept for 24 hours; give the `Upload` wherever a file is taken.

        It is sent once in that time, however often you upload it. Large files of a task are uploaded by themselves.

        Args:
            file: A path, bytes, a file object or a data URI; jpg, png, webp, mp4, wav or mp3, at most 10 MB.

        Raises:
            InvalidInput: It cannot be read, or uploads do not take it; nothing was sent.
            ApiError: The provider refused it; HTTP 403 is a plan without uploads.
            Unreachable: No answer came while `poll_patience` lasted.
        """
        return self._drive(self._upload_flow(read_file(file)))

    def openai(self, *, long_answers: bool = False) -> OpenAI:
        """The openai library's client, set up for the LLM endpoints of this provider; close it when you are done.

        It is `openai.OpenAI` here and `openai.AsyncOpenAI` from an `AsyncClient`. It sends each request once
        (`max_retries=0`), and raises the library's own errors. Needs `pip install 'unitask[llm]'`.

        Args:
            long_answers: Whether to use PiAPI's host for answers that take longer than 120 seconds; the usual host
                cuts them off, unless they are streamed (LLM timeout page, 2025). Other providers have one host.

        Raises:
            ModuleNotFoundError: The openai library is not installed.
        """
        return llm.sync_client(self._key.value, self._llm_url(long_answers))

    def download(
        self,
        task: Task[Any] | OutputFile | Iterable[OutputFile],
        to: str | os.PathLike[str],
        *,
        previews: bool = False,
        overwrite: bool = False,
        parallel: int = 4,
    ) -> list[Path]:
        """Fetch what a completed task made; return where it lies. The key is not sent.

        Of a task its results are fetched, and not its covers, watermarked copies or the like: `task.output.files` lists
        them all, and any of them can be given instead. Where a task makes a text alone, such as lyrics, that is written
        in UTF-8. A connection that breaks, stands still or brings less than 4 kB a second is made again, and the file
        continued where it stopped. A file that is not there yet is asked for again for some seconds. What came must be
        whole and can be of its kind. When a file cannot be fetched, the others are all the same.

        Args:
            task: A completed task, or some of its `output.files`.
            to: A folder, or the name of a file. A text is a folder if it ends in a slash. So is a path object without
                an ending (`Path("out")`), because pathlib drops that slash, unless a file lies there. A folder that
                exists is one whatever it is called, unless it ends like a media file (``a.png``). In a folder, a file
                is called ``<task id>-<number>`` by its place in `output.files`, and ``<task id>`` alone if it is the
                only one that a task has to fetch; its ending is that of the URL, or what the server says.
            previews: Whether to fetch the previews of a task (covers, thumbnails) as well.
            overwrite: Whether to replace files that exist.
            parallel: How many files to fetch at once.

        Raises:
            InvalidInput: There is nothing to fetch, or a place is taken or cannot be written; nothing was fetched.
            DownloadFailed: A file did not arrive whole; nothing was left under its name. `fetched` lists the others.
        """
        self._check_open()
        batch = plan(task, to, previews=previews, overwrite=overwrite, parallel=parallel)
        with span("download", task_id=batch.targets[0].file.task_id, files=len(batch.targets)):
            return batch.paths(self._fetch_all(batch))

    def _drive(self, flow: Flow[T], on_change: OnChange | None = None) -> T:
        self._check_open()
        checked_callback("on_change", on_change, optional=True)
        if inspect.iscoroutinefunction(on_change):
            raise InvalidInput("on_change is a coroutine function: give AsyncClient that, and Client a plain function")
        drive = Drive(flow)
        while (step := drive.step) is not None:
            with drive.guard():
                reply = self._take(step, on_change)
            drive.reply(reply)
        return drive.result

    def _told(self, flow: Flow[Any]) -> Iterator[Step]:
        """Each step that tells something, as it comes."""
        self._check_open()
        drive = Drive(flow)
        while (step := drive.step) is not None:
            with drive.guard():
                reply = self._take(step)
            if isinstance(step, TaskUpdated | RowYielded):
                yield step
            drive.reply(reply)

    def _take(self, step: Step, on_change: OnChange | None = None) -> Reply:
        match step:
            case SendRequest():
                return self._send(step)
            case Sleep(seconds, notification_of) if notification_of and seconds and self._webhooks:
                return self._woke(self._webhooks.wait_for_notification(notification_of, seconds))
            case Sleep():
                self._sleep(step.seconds)
            case TaskUpdated():
                self._notice(step.task)
                if on_change:
                    on_change(step.task)
            case RowYielded():
                pass
        return self._woke()

    def _send(self, send: SendRequest) -> Reply:
        pools, progress = self._connected(), send.progress
        progress.left = False
        client = pools.submissions if send.submission else pools.calls
        response = body = None
        try:
            request = client.build_request(**self._call(send), extensions={"trace": watching(progress)})
            with bounded(self._allowed(request)):
                progress.left = None
                response = client.send(request, stream=True)
                try:
                    body = Body(response)
                    for chunk in body.chunks or response.iter_raw():
                        body.take(chunk)
                    body.end()
                finally:
                    response.close()
            return self._answer(response, body.content)
        except Exception as error:  # whatever it is, it must not hide that a submission may have arrived
            return self._no_answer(error, progress, response, body)
        except BaseException:  # inside httpcore, an interruption may leave a connection locked for good
            if self._pools.pop(pools.process, None) is pools:
                self._retired.append(pools)
            raise

    def _connected(self) -> Pools[httpx.Client]:
        """The HTTP clients of this process."""
        self._check_going_on()
        process = os.getpid()
        if self._pools and process not in self._pools and self._is_given:
            given = "the transport that was given to this client has connections of another process"
            raise InvalidInput(f"{given}: make a client in each process", undone="the request was not sent")
        return self._pools.get(process) or self._pools.setdefault(process, self._connect())

    def _connect(self) -> Pools[httpx.Client]:
        def api(idle: float) -> httpx.Client:
            return httpx.Client(base_url=self.base_url, transport=self._transport(idle), auth=self._key, **common())

        files = httpx.Client(  # it has no key
            transport=self._transport(IDLE),
            follow_redirects=True,
            timeout=self.http_timeout,
            event_hooks={"request": [send_as_written]},
            **common(),
        )
        return Pools(api(IDLE_FOR_SUBMISSIONS), api(IDLE), files)

    def _fetch_all(self, batch: Batch) -> list[Path | Exception]:
        fetch = functools.partial(self._fetched, batch)
        if batch.parallel == 1:
            return [fetch(target) for target in batch.targets]
        with ThreadPoolExecutor(batch.parallel) as pool:
            try:
                return list(pool.map(fetch, batch.targets))
            except BaseException:  # an interruption: what is on its way ends soon, and the pool waits for it
                batch.stopped = True
                raise

    def _fetched(self, batch: Batch, target: Target) -> Path | Exception:
        try:
            return self._fetch(batch, target)
        except Exception as error:
            return error

    def _fetch(self, batch: Batch, target: Target) -> Path:
        with Sink(batch, target, self._retry_policy, self.http_timeout) as sink:
            while True:
                try:
                    if not sink.take_inline():
                        self._fetch_once(sink)
                    return sink.finish()
                except (DownloadAttemptError, *FETCH_ERRORS) as error:
                    pause = sink.again(error, retryable=isinstance(error, BROKEN))
                self._sleep(pause)

    def _fetch_once(self, sink: Sink) -> None:
        with contextlib.ExitStack() as stack:
            with bounded(self.http_timeout):
                response = stack.enter_context(self._connected().files.stream(**self._fetch_call(sink)))
            sink.begin(self._head(response))
            chunks = iter(cast("httpx.SyncByteStream", response.stream))  # the Sink unpacks them
            while True:
                with bounded(self.http_timeout):
                    chunk = next(chunks, None)
                if chunk is None:
                    return
                sink.write(chunk, self._clock())
