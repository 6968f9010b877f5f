"""The sync client: each public call, and its documentation."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack, overload

from unitask_api.output_files import OutputFile

from . import llm
from ._base_client import OnChange, check, checked_group, target_of, unix
from ._core import envelope, flows, requests, retry
from ._core.effects import RowYielded, TaskUpdated
from ._core.journal import Journal, PoolLimits
from ._core.recovery import Submission
from ._core.uploads import Upload
from ._model.account import Account, ActiveTasks, HistoryRow
from ._model.task import Output, OutputT, Recovery, Task
from ._sync_runner import SyncRunner
from ._telemetry import span
from .download import plan
from .errors import SubmissionUncertain, UnitaskError
from .inputs import Options, TaskInput
from .mapping import MapProgress, MapResult
from .media import Media, read_file

if TYPE_CHECKING:
    from openai import OpenAI


class Client(SyncRunner):
    """Submits tasks, waits for them and downloads what they made.

    Use it as a context manager, or call `close`. It may be used by several threads at once.

    Args:
        api_key: The key. None: UNITASK_API_KEY, then PIAPI_API_KEY, from the environment.
        base_url: The provider. None: UNITASK_BASE_URL from the environment, then PiAPI.
        http_timeout: Seconds for a whole HTTP call, plus the time for its body at 50 kB a second. For a download,
            seconds for each piece.
        max_retries: How often a request is repeated: one that only reads (polls and downloads too), after a failure; a
            submission, only if it provably never left or was answered HTTP 429 without a task id. 0 repeats nothing.
            None repeats reads for `poll_patience` seconds and a submission 3 times.
        poll_patience: Seconds for which polls of a task may fail one after another before a wait gives up; one is
            repeated in any case.
        mark_webhooks: Whether to add a random `unitask=...` to the query of each webhook_url, by which `find`
            recognises the task.
        uploads: Whether to upload large files, and files for fields that take only a URL. False sends base64.
        webhooks: Where notifications arrive. A notification of a task makes a wait for it poll at once.
        budget: The limit of what tasks may cost. Several clients may share one.
        default_headers: Headers for each request to the provider; they cannot replace the key. Downloads do not send
            them.
        proxy: The URL of a proxy (http, https or socks5) for all requests. None: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY
            and NO_PROXY from the environment.
        http_client: Your own `httpx.Client` for all requests, downloads included; you close it. Its timeouts,
            proxies, certificates, headers and hooks apply. These are lost: the separate pool for submissions, new
            connections after a fork, the limit of a whole call, and exact URLs of files.
        transport: A transport of httpx in place of the network.
        clock: Returns the time; for tests.
        sleep: Waits for a number of seconds; for tests.

    Raises:
        InvalidInput: There is no key, or a setting cannot be used.

    Example:
        with Client(max_retries=0, proxy="http://proxy.example:3128") as client:
            account = client.account()
            print(account.balance_usd)
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, but not those of your `http_client`. Tasks go on."""
        self._closed = True
        self._close_pools()

    def submit(self, task: TaskInput[OutputT], *, validate: bool = True, **options: Unpack[Options]) -> Task[OutputT]:
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
            task = client.submit(tasks.FaceSwap(target_image="group.jpg", swap_image="me.png"))
            print(task.token)  # enough to wait for it in another process
        """
        submission = Submission()
        try:
            body = self._body(task, options, validate=validate)
            return self._drive(self._submit_flow(body, task, submission))
        except BaseException as error:
            self._report(submission, error)
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
        """Submit a task and wait until it is completed: `submit`, then `wait`.

        Args:
            task: The input, an object of a class in `unitask.tasks`.
            timeout: Seconds in all, until which a refused submission is repeated and the task is waited for; 0 sends it
                once and polls once; None is the usual limit of its type (10 minutes or more) for the wait. No request
                is cut off.
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
            task = client.run(tasks.FaceSwap(target_image="group.jpg", swap_image="me.png"), timeout=120)
            print(task.output.image_url, task.cost_usd)
        """
        submission, limits = Submission(), self._limits(timeout)
        try:
            body = self._body(task, options, validate=validate)
            return self._drive(self._run_flow(body, task, limits, submission), on_change)
        except BaseException as error:
            self._report(submission, error)
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

        Returns:
            The completed task.

        Raises:
            InvalidInput: An argument cannot be used.
            TaskFailed: The task ended without a result.
            WaitTimeout: The time is up; the task goes on.
            Unreachable: Polls failed for longer than `poll_patience`; the task goes on.
            ApiError: The provider refused the poll.

        Example:
            task = client.wait(task.token, timeout=60, on_change=lambda task: print(task.status))
        """
        return self._drive(self._wait_flow(task, self._limits(timeout)), on_change)

    def wait_all(
        self, tasks: Iterable[Task[Any] | str], *, timeout: float | None = None, on_change: OnChange | None = None
    ) -> list[Task[Any] | UnitaskError]:
        """Wait until each of several tasks is done.

        Args:
            tasks: Tasks, their ids, or their tokens.
            timeout: Seconds for each; 0 polls once; None is the usual limit of its type.
            on_change: Called with a task each time it has changed.

        Returns:
            For each task, in the order given, the completed task or the error that `wait` would raise for it.

        Raises:
            InvalidInput: An argument cannot be used.
        """
        return self._drive(self._wait_all_flow(tasks, self._limits(timeout)), on_change)

    def map(
        self,
        tasks: Iterable[TaskInput[OutputT]],
        *,
        concurrency: int = 1000,
        per_second: float | None = None,
        max_usd: float | None = None,
        timeout: float | None = None,
        ordered: bool = False,
        to: str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        on_progress: Callable[[MapProgress], object] | None = None,
        journal: Journal | None = None,
        validate: bool = True,
        **options: Unpack[Options],
    ) -> Iterator[MapResult[OutputT]]:
        """Submit many tasks, and iterate over their results as they come.

        Inputs are read as they are needed. HTTP 429, or a provider that cannot be reached, pauses all requests, and is
        not the failure of a task.

        Args:
            tasks: The inputs: any iterable, also one that reads a large file.
            concurrency: How many tasks may be submitted and have no result that you took.
            per_second: The most submissions a second; None for no limit.
            max_usd: What the tasks may cost in all, besides the limit of `budget`; None for no limit.
            timeout: Seconds to wait for each task; None is the usual limit of its type.
            ordered: Whether results come in the order of the inputs, not as they finish.
            to: A folder into which the files of each task are downloaded; None downloads nothing.
            overwrite: Whether to replace files that exist.
            on_progress: Called with the progress at each result, and every second.
            journal: Keeps each task on the disk, such as `unitask.bulk.Journal("job.db")`. A later call with the same
                inputs goes on, after a crash too, and submits none of them twice.
            validate: Whether to check the inputs against the documents first.
            **options: webhook_url, webhook_secret, service_mode (see `Options`), for all tasks.

        Returns:
            An iterator over a `MapResult` for each input; an error of one is its result, and the others go on.

        Raises:
            InvalidInput: An argument cannot be used, or an input is not the one in the journal.
            JournalError: The journal cannot be written. What was sent stands in it, or in the notes of this error.
            AuthenticationFailed, PermissionDenied, InsufficientCredit, BudgetExceeded, Unreachable: No more inputs were
                read, since they would end so, too; it is raised after the results of the others. An input of unknown
                price in a job with a limit is a failure of that input alone.

        Example:
            for result in client.map(swaps, max_usd=5.0, to="out/"):
                print(result.index, result.files or result.error)
        """
        check(on_progress is None or callable(on_progress), "on_progress", on_progress, "a function")
        limits = PoolLimits(concurrency, math.inf if per_second is None else per_second)
        run = self._map_run(tasks, options, limits, max_usd, timeout, to, journal)
        run.ordered, run.overwrite, run.validate, run.on_progress = ordered, overwrite, validate, on_progress
        return self._results(run, self._work)

    def find(self, uncertain: SubmissionUncertain | str, *, timeout: float | None = None) -> Recovery:
        """Find out from the task history what became of a submission whose answer was lost.

        Args:
            uncertain: The error of the submission, or its token, which is in the log.
            timeout: Seconds to go on reading the history, which may lag behind; 0 reads it once; None reads until about
                a minute after the submission.

        Returns:
            The outcome with its reason. "found": a task has the mark of this submission, or a damaged answer named its
            id. "absent": the whole history was read, and no task of that time can be it. "unclear": anything else,
            errors included, with the candidates: another program may have submitted the same input.

        Raises:
            InvalidInput: `uncertain` is neither an error nor a token.

        Example:
            try:
                task = client.run(swap)
            except SubmissionUncertain as error:
                found = client.find(error)
                if found.outcome == "found":
                    task = client.wait(found.task)
        """
        return self._drive(self._find_flow(uncertain, timeout))

    def watch(self, task: Task[Any] | str, *, timeout: float | None = None) -> Iterator[Task[Output]]:
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
            for task in client.watch(task_id, timeout=300):
                print(task.status, task.progress)
        """
        for step in self._updates(flows.watch(*target_of(task), self._limits(timeout), exists=self._exists(task))):
            if isinstance(step, TaskUpdated):
                yield step.task

    @overload
    def get(self, task: Task[OutputT]) -> Task[OutputT]: ...
    @overload
    def get(self, task: str) -> Task[Output]: ...
    def get(self, task: Task[Any] | str) -> Task[Any]:
        """Poll a task once.

        Args:
            task: The task, its id, or its token.

        Returns:
            The task as it is now.

        Raises:
            InvalidInput: It cannot be the id of a task.
            Unreachable: Polls failed for longer than `poll_patience`; the task goes on.
            ApiError: The provider refused the poll.
        """
        return self._drive(self._get_flow(task))

    def cancel(self, task: Task[Any] | str) -> None:
        """Cancel a task. Only a pending one can be cancelled.

        Args:
            task: The task, its id, or its token.

        Raises:
            InvalidInput: It cannot be the id of a task.
            ApiError: The provider refused, for example because work has begun.
            Unreachable: No answer came for `poll_patience` seconds.
        """
        task_id, _, _ = target_of(task)
        self._drive(retry.cancel(task_id, self._limits()))

    def cancel_many(self, *, created_before: datetime | float, group: str | None = None) -> None:
        """Cancel all pending tasks that were created before a time.

        Args:
            created_before: The time: a datetime, or unix seconds.
            group: Only tasks of this group of models; None for all.

        Raises:
            InvalidInput: An argument cannot be used.
            ApiError: The provider refused.
            Unreachable: No answer came for `poll_patience` seconds.
        """
        send = requests.cancel_many(unix("created_before", created_before), checked_group(group))
        self._drive(retry.send_with_retry(send, envelope.read_acknowledgement, self._limits()))

    def account(self) -> Account:
        """Get the account: balance and limits.

        Returns:
            The account. Fields that the provider leaves out are None; `raw` holds all, the key is replaced by "***".

        Raises:
            ApiError: The provider refused.
            Unreachable: No answer came for `poll_patience` seconds.
        """
        return self._drive(retry.account(self._limits()))

    def active_tasks(self) -> dict[str, ActiveTasks]:
        """Count the tasks that are not done.

        Returns:
            The counts by group of models: flux, kling, luma, midjourney, music-s, music-u.

        Raises:
            ApiError: The provider refused.
            Unreachable: No answer came for `poll_patience` seconds.
        """
        return self._drive(retry.active_tasks(self._limits()))

    def history(
        self,
        *,
        group: str | None = None,
        start: datetime | float | None = None,
        end: datetime | float | None = None,
        page_size: int = 100,
    ) -> Iterator[HistoryRow]:
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
            for row in client.history(group="kling", start=datetime.now(UTC) - timedelta(days=1)):
                print(row.task_id, row.state)
        """
        for step in self._updates(self._history_flow(group, start, end, page_size)):
            if isinstance(step, RowYielded):
                yield step.row

    def upload(self, file: Media) -> Upload:
        """Upload a file. The provider keeps it for 24 hours, and the same file is sent once in that time.

        Args:
            file: A path, bytes, a file object or a data URI; jpg, png, webp, mp4, wav or mp3, at most 10 MB.

        Returns:
            The upload, which can be given wherever a file is taken.

        Raises:
            InvalidInput: It cannot be read, or uploads do not take it.
            PermissionDenied: The plan of the account has no uploads.
            ApiError: The provider refused it.
            Unreachable: No answer came for `poll_patience` seconds.
        """
        return self._drive(self._upload_flow(self._blocking(read_file, file)))

    def openai(self, *, long_answers: bool = False) -> OpenAI:
        """Return an `openai.OpenAI` for the LLM endpoints of this provider; close it when you are done.

        It sends each request once (`max_retries=0`), raises the library's own errors, and uses `proxy` and
        `default_headers` of this client. OPENAI_ORG_ID, OPENAI_PROJECT_ID and OPENAI_CUSTOM_HEADERS are not sent.
        Needs `pip install 'unitask[llm]'`.

        Args:
            long_answers: Whether to use PiAPI's host for answers that take longer than 120 seconds and are not streamed
                (LLM timeout page, 2025). Other providers have one host.

        Raises:
            ModuleNotFoundError: The openai library is not installed.
        """
        settings = (self._key, self.base_url, self._proxy, self._headers)
        client: OpenAI = llm.client_of("OpenAI", *settings, long_answers=long_answers)
        return client

    def download(
        self,
        task: Task[Any] | OutputFile | Iterable[OutputFile],
        to: str | os.PathLike[str],
        *,
        previews: bool = False,
        overwrite: bool = False,
        parallel: int = 4,
    ) -> list[Path]:
        """Download what a completed task made. The key is not sent.

        A broken connection is made again, for `poll_patience` seconds, and the file is continued. A file that does not
        exist yet is requested again for some seconds. A file must be complete, and its content must fit its kind. If a
        file fails, the others are fetched nevertheless. A task that makes only text, such as lyrics, gives a text file.

        Args:
            task: A completed task, whose results are fetched, or some of its `output.files`.
            to: A folder, or the name of a file. Text is a folder if it ends in a slash, a path object if it has no
                suffix (`Path("out")`) and is not a file; an existing folder always, unless it is named like a media
                file. In a folder, files are named ``<task id>-<number>``, or ``<task id>`` if there is one only.
                With the name ``a.png``, several files are ``a-1.png``, ``a-2.png``: numbers that are free, and the
                endings of the files.
            previews: Whether to fetch previews (covers, thumbnails) as well.
            overwrite: Whether to replace files that exist.
            parallel: How many files to fetch at once.

        Returns:
            The paths of the files.

        Raises:
            InvalidInput: There is nothing to fetch, or a file exists or cannot be written; nothing was fetched.
            DownloadFailed: A file did not arrive whole. `fetched` lists the others.
        """
        self._check_open()
        batch = plan(task, to, previews=previews, overwrite=overwrite, parallel=parallel)
        batch.patience = self.poll_patience
        with span("download", task_id=batch.targets[0].file.task_id, files=len(batch.targets)):
            return batch.paths(self._fetch_all(batch, self._fetch))
