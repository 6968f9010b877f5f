"""What `unitask bulk` does: the tasks of a file, with a journal, so that an interrupted job goes on.

Rules of this file: results go to stdout, everything else to stderr. The journal keeps what the command was given. A
message about an end has the command that goes on.
"""

import asyncio
import contextlib
import csv
import io
import json
import logging
import math
import os
import shlex
import signal
import warnings
from collections.abc import AsyncGenerator, Generator, Iterator
from pathlib import Path
from types import FrameType, ModuleType, SimpleNamespace
from typing import Any, cast

import httpx

from .. import errors
from .._core.journal import Job, Row, RowState
from .._core.ledger import read_outcome
from .._core.pricing import CREDITS_PER_USD
from .._terminal import dollars, put, reason, say
from ..async_client import AsyncClient
from ..bulk.input_file import InputFile, WrongLine
from ..bulk.journal import Journal, JournalReader
from ..bulk.report import NOT_SENT, Line, Report, counts, money
from ..client import Client
from ..download import check_destination
from ..inputs import AdvisoryWarning, TaskInput, request_body, with_absolute_paths
from ..mapping import MapResult
from ..media import from_home
from . import _config

LIMITS = ("concurrency", "per_second", "max_usd", "webhook_url", "timeout")  # arguments of `AsyncClient.map`


class _Reported(logging.Handler):
    """Reports what workers log, such as a database that cannot be reached."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record to stderr."""
        say(f"unitask: {record.getMessage()}")


_REPORTED = _Reported()


def _check_limits(options: SimpleNamespace) -> None:
    least = {"concurrency": 1, "per_second": math.ulp(0.0), "max_usd": 0, "timeout": 0}
    for name, value in _given(options, *least).items():
        if not value >= least[name]:
            above = "above 0" if least[name] < 1 and least[name] else f"of {least[name]} or more"
            raise errors.InvalidInput(f"--{name.replace('_', '-')} is {value:g}: give a number {above}")
    webhook = options.webhook_url
    if webhook is not None and not webhook.startswith(("http://", "https://")):
        raise errors.InvalidInput(f"--webhook-url is {webhook!r:.80}: give a URL of http:// or https://")


def run(options: SimpleNamespace) -> int:
    """Run the job of a file; `options.journal` is None for the one beside the file."""
    if not options.to:
        raise errors.InvalidInput("--to is empty: give a folder")
    _check_limits(options)
    options.to = os.path.join(os.path.abspath(options.to), "")  # noqa: PTH100, PTH118 - the slash says: a folder
    file: Path = options.file.absolute()
    options.file, place = file, options.journal or Path(os.path.relpath(file.with_suffix(".db")))
    source = InputFile(file, options.task)
    try:
        check_destination(options.to)
    except errors.InvalidInput as error:  # a full disk, too
        say(f"unitask: {reason(error)}")
        if place.exists():
            say(f"unitask: then `{_resuming(place, options)}` goes on")
        return 1
    with contextlib.closing(Journal(place)) as journal, _advice_reported(), contextlib.chdir(source.path.parent):
        return asyncio.run(_work(source, journal, options, Report(source, journal, options, _resuming(place, options))))


def resume(options: SimpleNamespace) -> int:
    kept = _kept(_reader(options.journal))
    if not kept:
        raise errors.InvalidInput(f"{options.journal} is not the journal of `unitask bulk`: it does not say which file")
    kept |= {name: value for name, value in vars(options).items() if value is not None}
    kept["file"] = Path(kept["file"])
    return run(SimpleNamespace(**kept))


def _reader(path: Path) -> JournalReader:
    """Open a journal; raise InvalidInput if the file of the tasks is given instead."""
    if path.suffix.lower() in (".jsonl", ".csv"):
        raise errors.InvalidInput(f"{path} has the tasks: give its journal, {path.with_suffix('.db')}")
    return JournalReader(path)


def _resuming(place: Path, options: SimpleNamespace) -> str:
    return shlex.join(["unitask", "bulk", "resume", str(place), *(["--json"] if getattr(options, "json", 0) else [])])


def _kept(journal: JournalReader) -> dict[str, Any]:
    """Return what the command of a journal was given; empty if no command made it."""
    job = journal.job
    return json.loads(job.kind) if job is not None and job.kind else {}


async def _work(source: InputFile, journal: Journal, options: SimpleNamespace, report: Report) -> int:
    async with AsyncClient(*_config.account(options.base_url), transport=_transport()) as client:
        _bind(journal, client, options)
        results = client.map(
            source, to=options.to, journal=journal, on_progress=report.progress, **_given(options, *LIMITS)
        )
        with _interruptible(f"`{report.again}` goes on") as interrupted:
            try:
                async with contextlib.aclosing(cast("AsyncGenerator[MapResult[Any]]", results)) as results:
                    async for result in results:
                        report.result(result)
            except asyncio.CancelledError:
                if not interrupted:
                    raise
                report.end("interrupted: tasks that were accepted go on")
                return 128 + interrupted[0]
            except errors.InvalidInput as error:
                report.end(f"line {source.line} of {source.path}: {reason(error)}", first="correct the file, then ")
                return 2
            except (errors.JournalError, BrokenPipeError):
                report.end()  # `main` reports the error, since closing the journal may raise it, too
                raise
            except errors.BudgetExceeded as error:
                why = reason(error).removeprefix("nothing was sent: ")
                report.end(f"no more tasks are sent: {why}", more=" --max-usd USD")
                return 1
            except errors.UnitaskError as error:
                report.end(reason(error))
                return 1
    report.end()
    return 0 if report.done == len(source) else 1


def _transport() -> httpx.AsyncBaseTransport | None:
    """Return the fast transport; None if its extra is not installed, or a test has replaced the network."""
    if AsyncClient.defaults.transport is not None:
        return None
    try:
        from ..bulk.transport import FastTransport
    except errors.InvalidInput:
        return None
    return FastTransport()


def _bind(journal: Journal, client: AsyncClient, options: SimpleNamespace) -> None:
    """Let the journal keep what the command was given; raise InvalidInput if it belongs to another job."""
    job, file = journal.job, _kept(journal).get("file")
    account = client._account  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    if job is not None and job.account != account:
        wrong = f"{journal.path} belongs to a job of another account, at {job.base_url}"
        then = "set UNITASK_API_KEY and --base-url to those of that job, or give another file with --journal FILE.db"
        raise errors.InvalidInput(f"{wrong}: {then}")
    if file is not None and Path(file).name != options.file.name:
        wrong = f"{journal.path} is the journal of {file}: `unitask bulk resume {journal.path}` goes on with it"
        raise errors.InvalidInput(f"{wrong}. For {options.file}, give another one with --journal FILE.db")
    limit = job.limit if job is not None else None  # another one replaces it
    if options.max_usd is not None:
        limit = None if options.max_usd == math.inf else round(options.max_usd * CREDITS_PER_USD)
    options.max_usd = None if limit is None else limit / CREDITS_PER_USD
    kept = {"file": str(options.file), "task": options.task, "to": options.to, "base_url": client.base_url}
    kept |= {name: getattr(options, name) for name in LIMITS}
    journal.begin(Job(account, client.base_url, limit, json.dumps(kept)))


def _given(options: SimpleNamespace, *names: str) -> dict[str, Any]:
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}


@contextlib.contextmanager
def _interruptible(then: str) -> Generator[list[int]]:
    """Cancel this task at the first Ctrl-C or SIGTERM, and end the process at the second; yield the list of signals."""
    loop, task, signals = asyncio.get_running_loop(), asyncio.current_task(), list[int]()

    def interrupt(number: int, _: FrameType | None) -> None:
        signals.append(number)
        if len(signals) > 1:  # the journal is right at any moment
            os.write(2, f"\nunitask: ended: {then}\n".encode())
            os._exit(128 + number)
        name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
        os.write(2, f"\nunitask: waiting for the answers to submissions; {name} again ends at once\n".encode())
        loop.call_soon_threadsafe(cast("asyncio.Task[Any]", task).cancel)

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _advice_reported() -> Generator[None]:
    """Report each advice once."""

    def advise(message: Warning | str, *_: object, **__: object) -> None:
        say(f"unitask: warning: {message}")

    with warnings.catch_warnings():
        warnings.simplefilter("once", AdvisoryWarning)
        warnings.showwarning = advise
        yield


def status(options: SimpleNamespace) -> int:
    if options.on:
        found = _workers().status(options.on, _number(options.job))
        put(f"job {found.job}: {counts(found.totals, found.inputs)}; {money(found.totals, found.limit)}")
        put(f"{found.shards_done} of {found.shards} shards done, {found.workers} workers")
        return 0
    journal = _reader(Path(from_home(options.job)))
    source, totals = _source(journal), journal.totals()
    limit = journal.job.limit if journal.job is not None else None
    what = counts(totals, len(source) if source is not None else None)
    put(f"{source.path if source else journal.path}: {what}; {money(totals, limit)}")
    return 0


def _source(journal: JournalReader) -> InputFile | None:
    """Return the file of a journal; None if it is not there any more, or no command made the journal."""
    kept = _kept(journal)
    with contextlib.suppress(errors.InvalidInput):
        return InputFile(Path(kept["file"]), kept["task"]) if kept else None
    return None


def export(options: SimpleNamespace) -> int:
    lines = _shared_lines(options) if options.on else _lines(_reader(Path(from_home(options.job))))
    if not options.json:
        put(_csv(Line._fields))
    for line in lines:
        put(line.json if options.json else _csv(line._replace(files=cast("Any", ";".join(line.files)))))
    return 0


def _shared_lines(options: SimpleNamespace) -> Iterator[Line]:
    for row in _workers().results(options.on, _number(options.job)):
        yield _line_of_row(row, row.key + 1)


def _lines(journal: JournalReader) -> Iterator[Line]:
    """Yield what became of each line, those without a row included as far as the file is there."""
    rows, source = journal.rows(), _source(journal)
    row = next(rows, None)
    for index, given in enumerate(source or ()):
        if row is None or row.key > index:
            folder, line = cast("InputFile", source).path.parent, cast("InputFile", source).line_of(index)
            yield Line(line, None, NOT_SENT, None, (), _problem(given, folder))
            continue
        yield _line_of_row(row, cast("InputFile", source).line_of(index))
        row = next(rows, None)
    while row is not None:
        yield _line_of_row(row, row.key + 1)
        row = next(rows, None)


def _problem(given: TaskInput[Any], folder: Path) -> str | None:
    """Return why a line cannot be sent; None if it can."""
    try:
        with contextlib.chdir(folder):  # where its paths begin
            request_body(given, uploads=True)
    except errors.InvalidInput as error:
        return reason(error)
    return None


def _line_of_row(row: Row, line: int) -> Line:
    said: dict[str, str] = json.loads(row.outcome or "{}")
    why = said.get("reason") if row.state is RowState.UNKNOWN else None
    if row.state is RowState.FAILED:  # a worker writes why an input was not sent
        why = said["message"] if row.task_id is None else str(read_outcome(row))
    cost = row.spent / CREDITS_PER_USD if row.state in (RowState.DONE, RowState.FAILED) else None
    return Line(line, row.task_id, row.state, cost, row.files, why)


def _csv(cells: Any) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


def settle(options: SimpleNamespace) -> int:
    line, task_id, path = options.line, options.task_id, Path(from_home(options.job))
    kept = {} if options.on else _kept(_reader(path))
    if task_id is not None:
        with Client(*_config.account(kept.get("base_url"))) as client:
            client.get(task_id)  # raises an error if this account has no such task
    if options.on:
        freed, then = _workers().settle(options.on, _number(options.job), line - 1, task_id), "the next worker"
    else:
        freed, then = _settled(path, line, task_id), f"`{_resuming(path, options)}`"
    if task_id is None:
        put(
            f"line {line} counts as not sent, and {dollars(freed / CREDITS_PER_USD)} is no longer held: {then} sends it"
        )
        say(f"unitask: if it was accepted after all, line {line} is paid twice")
    else:
        put(f"line {line} has task {task_id}: {then} waits for it, and fetches its files")
    return 0


def _settled(path: Path, line: int, task_id: str | None) -> int:
    """Settle a line of a journal; return the credits that are no longer held."""
    with contextlib.closing(Journal(path)) as journal:
        source = _source(journal)
        first = source.line_of(0) if source is not None else 1
        row = next((row for row in journal.rows() if row.key == line - first), None)
        if row is None or row.state is not RowState.UNKNOWN:
            state = NOT_SENT if row is None else row.state.value
            raise errors.InvalidInput(f"line {line} is {state}: only a line that is unknown can be settled")
        if task_id is None:
            journal.withdrawn(row.key).result()
            return row.held
        if taken := next((other for other in journal.rows() if other.task_id == task_id), None):
            raise errors.InvalidInput(f"task {task_id!r:.80} is that of line {taken.key + first}")
        journal.accepted(row.key, task_id).result()
        return 0


def submit(options: SimpleNamespace) -> int:
    _check_limits(options)
    workers, source = _workers(), InputFile(options.file.absolute(), options.task)
    options.max_usd = None if options.max_usd == math.inf else options.max_usd

    def inputs() -> Iterator[TaskInput[Any]]:
        for task in source:
            if isinstance(task, WrongLine):
                raise errors.InvalidInput(f"nothing was stored: line {source.line}: {task.problem}")
            yield with_absolute_paths(task)

    client = AsyncClient(*_config.account(options.base_url))
    with contextlib.chdir(source.path.parent):
        put(str(workers.submit(options.on, client, inputs(), **_given(options, *LIMITS))))
    return 0


def worker(options: SimpleNamespace) -> int:
    workers, to = _workers(), os.path.join(os.path.abspath(options.to), "")  # noqa: PTH100, PTH118

    async def work() -> int:
        async with AsyncClient(*_config.account(options.base_url), transport=_transport()) as client:
            with _interruptible("other workers go on") as interrupted:
                try:
                    await workers.work(options.on, client, job=options.job, forever=options.forever, to=to)
                except asyncio.CancelledError:
                    if not interrupted:
                        raise
                    say("unitask: interrupted: other workers go on with the shards of this one")
                    return 128 + interrupted[0]
                except errors.BudgetExceeded as error:
                    say(f"unitask: no more tasks are sent: {reason(error).removeprefix('nothing was sent: ')}")
                    say(f"unitask: to go on, raise the limit (1 USD is {CREDITS_PER_USD}) and start the worker again:")
                    say("UPDATE unitask.job SET money_limit = CREDITS WHERE id = JOB")
                    return 1
        return 0

    logging.getLogger("unitask.bulk").addHandler(_REPORTED)
    with _advice_reported():
        return asyncio.run(work())


def _workers() -> ModuleType:
    try:
        from ..bulk import workers
    except ModuleNotFoundError as error:
        raise errors.InvalidInput(str(error)) from None
    return workers


def _number(text: str) -> int:
    if not text.isdecimal():
        raise errors.InvalidInput(f"{text!r:.80} is not the number of a job, as `unitask bulk submit` prints it")
    return int(text)
