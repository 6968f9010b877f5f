"""`unitask bulk`: the tasks of a file, with a journal, so that an interrupted job goes on.

Exit codes: 0 all done, 1 some failed or the job stopped, 2 wrong use, 130 interrupted.

Rules of this file: results go to stdout, everything else to stderr. The journal keeps what the command was given. A
message about an end has the command that goes on.
"""

import argparse
import asyncio
import contextlib
import csv
import io
import json
import os
import shlex
import signal
import sys
import time
import warnings
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, NamedTuple, cast

import httpx

from .. import errors
from .._core.journal import Job, Row, RowState, Totals
from .._core.ledger import read_outcome
from .._core.pricing import CREDITS_PER_USD
from .._terminal import dollars, put, say
from ..async_client import AsyncClient
from ..download import check_destination
from ..inputs import AdvisoryWarning, TaskInput, request_body, with_absolute_paths
from ..mapping import MapProgress, MapResult
from ..media import from_home
from .input_file import InputFile, WrongLine
from .journal import Journal, JournalReader

LIVE, LOGGED = 0.2, 10.0  # seconds between two lines of the progress: on a terminal, and elsewhere
SHOWN = 10  # failures that the summary lists
UNSAVED = 10  # results in a row whose files could not be saved; after that no more tasks are paid for
LIMITS = ("concurrency", "per_second", "max_usd", "webhook_url", "timeout")  # arguments of `AsyncClient.map`
NOT_SENT = "not sent"
ENDING = errors.AuthenticationFailed, errors.InsufficientCredit, errors.PermissionDenied, errors.BudgetExceeded


class Line(NamedTuple):
    """What became of a line of the file."""

    line: int
    task_id: str | None
    state: str  # of its row in the journal, or "not sent"
    cost_usd: float | None
    files: tuple[str, ...]
    error: str | None

    @property
    def json(self) -> str:
        """An object of one line."""
        return json.dumps(self._asdict())


def main(arguments: list[str]) -> int:
    """Run `unitask bulk` with these arguments; return its exit code."""
    parser, commands = _parser()
    options = parser.parse_args(arguments if arguments[:1] and arguments[0] in commands else ["run", *arguments])
    command = options.command
    try:
        return int(command(options))
    except errors.UnitaskError as error:
        say(f"unitask: {_reason(error)}")
        return 2 if isinstance(error, errors.InvalidInput) else 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        say("unitask: interrupted")
        return 130


def _parser() -> tuple[argparse.ArgumentParser, set[str]]:
    usage = "unitask bulk FILE --to DIR [OPTIONS]\n       unitask bulk COMMAND ..."
    about, more = "Run the tasks of a file.", "`unitask bulk run --help` lists the options of a run."
    parser = argparse.ArgumentParser(prog="unitask bulk", description=about, usage=usage, epilog=more)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", prog="unitask bulk")

    def add(name: str, command: Callable[[Any], int], about: str, *, on: bool = False) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=about, description=about)
        added.set_defaults(command=command)
        if on:
            added.add_argument("--on", required=name != "status", metavar="URL", help="the database, postgresql://...")
        return added

    run = add("run", _run, "run the tasks of a file; this word may be left out, and the same command again goes on")
    submit = add("submit", _submit, "store the tasks of a file for workers, and print the number of the job", on=True)
    for command in (run, submit):
        command.add_argument("file", type=_path, metavar="FILE", help="FILE.jsonl or FILE.csv, a task a line")
        command.add_argument("--task", metavar="CLASS", help="the class of all tasks, such as FaceSwap")
        command.add_argument("--concurrency", type=int, metavar="N", help="tasks that go on at once (default: 1000)")
        command.add_argument("--per-second", type=float, metavar="N", help="the most submissions a second")
        command.add_argument("--max-usd", type=float, metavar="USD", help="what the tasks may cost in all")
        command.add_argument("--webhook-url", metavar="URL", help="where the provider reports the ends of the tasks")
        command.add_argument("--timeout", type=float, metavar="SECONDS", help="how long to wait for each task")
    run.add_argument("--journal", type=_path, metavar="FILE.db", help="what was done (default: FILE.db beside FILE)")
    resume = add("resume", _resume, "go on with the job of a journal")
    resume.add_argument("journal", type=_path, metavar="FILE.db")
    resume.add_argument("--max-usd", type=float, metavar="USD", help="another limit")
    for command in (run, resume):
        command.add_argument("--json", action="store_true", help="print an object a result, not the names of files")
        command.add_argument("--quiet", action="store_true", help="report only the end")
    status = add("status", _status, "print how far a job is; it may go on meanwhile", on=True)
    status.add_argument("job", metavar="FILE.db|JOB", help="the journal, or with --on the number of the job")
    export = add("export", _export, "print what became of each line")
    export.add_argument("journal", type=_path, metavar="FILE.db")
    form = export.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="as CSV (default)")
    form.add_argument("--json", action="store_true", help="as an object a line")
    worker = add("worker", _worker, "work on the jobs of a database, on any number of machines", on=True)
    worker.add_argument("--job", type=int, metavar="JOB", help="only on this one")
    worker.add_argument("--forever", action="store_true", help="wait for more jobs")
    for command in (run, worker):
        command.add_argument("--to", type=from_home, required=True, metavar="DIR", help="the folder of the files")
    for command in (run, submit, worker):
        command.add_argument("--base-url", help="the provider (default: UNITASK_BASE_URL, or the live API)")
    return parser, {*commands.choices, "-h", "--help"}


def _path(text: str) -> Path:
    return Path(from_home(text))


def _run(options: argparse.Namespace) -> int:
    """Run the job of a file; `options.journal` is None for the one beside the file."""
    if not options.to:
        raise errors.InvalidInput("--to is empty: give a folder")
    options.to = os.path.join(os.path.abspath(options.to), "")  # noqa: PTH100, PTH118 - the slash says: a folder
    file: Path = options.file.absolute()
    options.file, place = file, options.journal or Path(os.path.relpath(file.with_suffix(".db")))
    source = InputFile(file, options.task)
    try:
        check_destination(options.to)
    except errors.InvalidInput as error:  # a full disk, too
        say(f"unitask: {_reason(error)}")
        if place.exists():
            say(f"unitask: then `{_resuming(place, options)}` goes on")
        return 1
    with contextlib.closing(Journal(place)) as journal, _advice_reported(), contextlib.chdir(source.path.parent):
        return asyncio.run(
            _work(source, journal, options, _Report(source, journal, options, _resuming(place, options)))
        )


def _resume(options: argparse.Namespace) -> int:
    kept = _kept(JournalReader(options.journal))
    if not kept:
        raise errors.InvalidInput(f"{options.journal} is not the journal of `unitask bulk`: it does not say which file")
    kept |= {name: value for name, value in vars(options).items() if value is not None}
    kept["file"] = Path(kept["file"])
    return _run(argparse.Namespace(**kept))


def _resuming(place: Path, options: argparse.Namespace) -> str:
    return shlex.join(["unitask", "bulk", "resume", str(place), *(["--json"] if options.json else [])])


def _kept(journal: JournalReader) -> dict[str, Any]:
    """Return what the command of a journal was given; empty if no command made it."""
    job = journal.job
    return json.loads(job.kind) if job is not None and job.kind else {}


async def _work(source: InputFile, journal: Journal, options: argparse.Namespace, report: "_Report") -> int:
    async with AsyncClient(base_url=options.base_url, transport=_transport()) as client:
        _bind(journal, client, options)
        results = client.map(
            source, to=options.to, journal=journal, on_progress=report.progress, **_given(options, *LIMITS)
        )
        with _interruptible(report) as interrupted:
            try:
                async with contextlib.aclosing(cast("AsyncGenerator[MapResult[Any]]", results)) as results:
                    async for result in results:
                        report.result(result)
            except asyncio.CancelledError:
                if not interrupted:
                    raise
                report.end("interrupted: tasks that were accepted go on")
                return 130
            except errors.InvalidInput as error:
                report.end(f"line {source.line} of {source.path}: {_reason(error)}", first="correct the file, then ")
                return 2
            except (errors.JournalError, BrokenPipeError):
                report.end()  # `main` reports the error, since closing the journal may raise it, too
                raise
            except errors.BudgetExceeded as error:
                reason = str(error).removeprefix("nothing was sent: ")
                more = "" if error.estimate_usd is None else " --max-usd USD"
                report.end(f"no more tasks are sent: {reason}", more=more)
                return 1
            except errors.UnitaskError as error:
                report.end(_reason(error))
                return 1
    report.end()
    return 0 if report.done == len(source) else 1


def _transport() -> httpx.AsyncBaseTransport | None:
    """Return the fast transport; None if its extra is not installed, or a test has replaced the network."""
    if AsyncClient.defaults.transport is not None:
        return None
    try:
        from .transport import FastTransport
    except errors.InvalidInput:
        return None
    return FastTransport()


def _bind(journal: Journal, client: AsyncClient, options: argparse.Namespace) -> None:
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
    limit = None if options.max_usd is None else round(options.max_usd * CREDITS_PER_USD)
    kept = {"file": str(options.file), "task": options.task, "to": options.to, "base_url": client.base_url}
    kept |= {name: getattr(options, name) for name in LIMITS}
    journal.begin(Job(account, client.base_url, limit, json.dumps(kept)))


def _given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}


@contextlib.contextmanager
def _interruptible(report: "_Report") -> Generator[list[int]]:
    """Cancel this task at the first Ctrl-C, and end the process at the second; yield the list of signals."""
    loop, task, signals = asyncio.get_running_loop(), asyncio.current_task(), list[int]()

    def interrupt(number: int, _: FrameType | None) -> None:
        signals.append(number)
        if len(signals) > 1:  # the journal is right at any moment
            os.write(2, f"\nunitask: ended: `{report.again}` goes on\n".encode())
            os._exit(130)
        os.write(2, b"\nunitask: waiting for the answers to submissions; Ctrl-C again ends at once\n")
        loop.call_soon_threadsafe(cast("asyncio.Task[Any]", task).cancel)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield signals
    finally:
        signal.signal(signal.SIGINT, before)


class _Report:
    """What the command writes while a job runs, and at its end."""

    def __init__(self, source: InputFile, journal: Journal, options: argparse.Namespace, again: str) -> None:
        self.done, self.again, self._is_wrong = 0, again, False
        self._source, self._journal, self._as_json, self._is_quiet = source, journal, options.json, options.quiet
        self._is_live = sys.stderr is not None and sys.stderr.isatty() and not options.quiet
        self._due, self._failures, self._failed, self._unsaved = time.monotonic(), list[Line](), 0, 0

    def progress(self, at: MapProgress) -> None:
        """Write a line about the progress, if one is due."""
        now = time.monotonic()
        if self._is_quiet or now < self._due:
            return
        self._due = now + (LIVE if self._is_live else LOGGED)
        spent = dollars(at.spent_usd)
        text = f"{at.done} done, {at.running} running, {at.failed} failed, {spent} spent, {at.rest} left"
        if self._is_live:
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()
        else:
            say(f"unitask: {text}")

    def result(self, result: MapResult[Any]) -> None:
        """Write a result; raise UnitaskError if the files of many could not be saved."""
        line = _line_of(result, self._source.line_of(result.index))
        self._clear()
        if self._as_json:
            put(line.json)
        elif line.files:
            put(*line.files)
        if line.error is None:
            self.done, self._unsaved = self.done + 1, 0
            return
        if line.state == NOT_SENT and isinstance(result.error, ENDING):  # the end says so
            return
        self._is_wrong |= isinstance(result.error, errors.InvalidInput)
        self._failed += 1
        self._failures += [line] if len(self._failures) < SHOWN else []
        self._unsaved = self._unsaved + 1 if line.state == RowState.DONE else 0
        if self._unsaved == UNSAVED:
            raise errors.UnitaskError(
                f"the files of {UNSAVED} tasks, one after another, could not be saved: {line.error}"
            )

    def end(self, problem: str | None = None, *, first: str = "", more: str = "") -> None:
        """Write the summary, and the command that goes on: what to do before it, and what to add to it."""
        self._clear()
        rest, failed, unknown = len(self._source) - self.done, 0, 0
        export = shlex.join(["unitask", "bulk", "export", str(self._journal.path)])
        with contextlib.suppress(errors.JournalError):  # which is reported
            totals = self._journal.totals()
            failed, unknown = (totals.counts.get(state, 0) for state in (RowState.FAILED, RowState.UNKNOWN))
            say(f"unitask: {_counts(totals, len(self._source))}; {_money(totals, None)}")
        say(*(f"unitask: line {line.line}: {line.state}: {line.error}" for line in self._failures))
        if self._failed > SHOWN:
            say(f"unitask: {self._failed - SHOWN} more lines failed: `{export}` lists all lines")
        if problem:
            say(f"unitask: {problem}")
        if rest and rest == failed + unknown:
            if failed:
                say(
                    f"unitask: failed tasks are not sent again: give their lines as another file; `{export}` lists them"
                )
            if unknown:
                say(f"unitask: `{self.again}` searches the unknown ones again; they may have been paid")
        elif rest:
            first = first or ("correct the wrong lines, then " if self._is_wrong else "")
            say(f"unitask: {first}`{self.again}{more}` goes on; nothing that was sent is sent again")

    def _clear(self) -> None:
        if self._is_live:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _line_of(result: MapResult[Any], line: int) -> Line:
    error, task = result.error, result.task
    if task is not None:
        state: str = RowState.DONE
    elif isinstance(error, errors.TaskFailed):
        state, task = RowState.FAILED, cast("Any", error.task)
    elif isinstance(error, errors.SubmissionUncertain):
        state = RowState.UNKNOWN
    else:
        state = RowState.SENT if error is not None and error.task_id else NOT_SENT
    task_id = task.id if task is not None else error.task_id if error is not None else None
    cost = task.cost_usd if task is not None and state == RowState.DONE else 0.0 if state == RowState.FAILED else None
    reason = None if error is None else _reason(error)
    return Line(line, task_id, state, cost, tuple(map(str, result.files)), reason)


def _reason(error: Exception) -> str:
    return "; ".join(error.problems) if isinstance(error, errors.InvalidInput) else str(error)


def _money(totals: Totals, limit: int | None) -> str:
    spent, held = totals.spent / CREDITS_PER_USD, totals.held / CREDITS_PER_USD
    text = f"spent {dollars(spent)}" + (f", held {dollars(held)}" if held else "")
    return text + (f" of {dollars(limit / CREDITS_PER_USD)}" if limit is not None else "")


@contextlib.contextmanager
def _advice_reported() -> Generator[None]:
    """Report each advice once."""

    def advise(message: Warning | str, *_: object, **__: object) -> None:
        say(f"unitask: warning: {message}")

    with warnings.catch_warnings():
        warnings.simplefilter("once", AdvisoryWarning)
        warnings.showwarning = advise
        yield


def _status(options: argparse.Namespace) -> int:
    if options.on:
        found = _workers().status(options.on, _number(options.job))
        put(f"job {found.job}: {_counts(found.totals, found.inputs)}; {_money(found.totals, found.limit)}")
        put(f"{found.shards_done} of {found.shards} shards done, {found.workers} workers")
        return 0
    journal = JournalReader(_path(options.job))
    source, totals = _source(journal), journal.totals()
    limit = journal.job.limit if journal.job is not None else None
    counts = _counts(totals, len(source) if source is not None else None)
    put(f"{source.path if source else journal.path}: {counts}; {_money(totals, limit)}")
    return 0


def _counts(totals: Totals, inputs: int | None) -> str:
    counts = [f"{number} {state.value}" for state, number in totals.counts.items() if number]
    if inputs is not None:
        counts.append(f"{inputs - sum(totals.counts.values())} {NOT_SENT}, of {inputs}")
    return ", ".join(counts) or "nothing was sent"


def _source(journal: JournalReader) -> InputFile | None:
    """Return the file of a journal; None if it is not there any more, or no command made the journal."""
    kept = _kept(journal)
    with contextlib.suppress(errors.InvalidInput):
        return InputFile(Path(kept["file"]), kept["task"]) if kept else None
    return None


def _export(options: argparse.Namespace) -> int:
    journal = JournalReader(options.journal)
    if not options.json:
        put(_csv(Line._fields))
    for line in _lines(journal):
        put(line.json if options.json else _csv(line._replace(files=cast("Any", ";".join(line.files)))))
    return 0


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
        return _reason(error)
    return None


def _line_of_row(row: Row, line: int) -> Line:
    reason = None
    if row.state is RowState.FAILED:
        reason = str(read_outcome(row))
    elif row.state is RowState.UNKNOWN:
        reason = json.loads(row.outcome or "{}").get("reason")
    cost = row.spent / CREDITS_PER_USD if row.state in (RowState.DONE, RowState.FAILED) else None
    return Line(line, row.task_id, row.state, cost, row.files, reason)


def _csv(cells: Any) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


def _submit(options: argparse.Namespace) -> int:
    workers, source = _workers(), InputFile(options.file.absolute(), options.task)

    def inputs() -> Iterator[TaskInput[Any]]:
        for task in source:
            if isinstance(task, WrongLine):
                raise errors.InvalidInput(f"nothing was stored: line {source.line}: {task.problem}")
            yield with_absolute_paths(task)

    client = AsyncClient(base_url=options.base_url)
    with contextlib.chdir(source.path.parent):
        put(str(workers.submit(options.on, client, inputs(), **_given(options, *LIMITS))))
    return 0


def _worker(options: argparse.Namespace) -> int:
    workers, to = _workers(), os.path.join(os.path.abspath(options.to), "")  # noqa: PTH100, PTH118

    async def work() -> None:
        async with AsyncClient(base_url=options.base_url, transport=_transport()) as client:
            await workers.work(options.on, client, job=options.job, forever=options.forever, to=to)

    with _advice_reported():
        asyncio.run(work())
    return 0


def _workers() -> ModuleType:
    try:
        from . import workers
    except ModuleNotFoundError as error:
        raise errors.InvalidInput(str(error)) from None
    return workers


def _number(text: str) -> int:
    if not text.isdecimal():
        raise errors.InvalidInput(f"{text!r:.80} is not the number of a job, as `unitask bulk submit` prints it")
    return int(text)
