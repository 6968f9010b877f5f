"""`unitask bulk`: the tasks of a file, with a journal, so that an interrupted job goes on.

Exit codes: 0 all done, 1 some failed or the job stopped, 2 wrong use, 130 Ctrl-C, 143 SIGTERM.

Rules of this file: results go to stdout, everything else to stderr. The journal keeps what the command was given. A
message about an end has the command that goes on.
"""

import argparse
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
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, cast

import httpx

from .. import errors
from .._core.journal import Job, Row, RowState
from .._core.ledger import read_outcome
from .._core.pricing import CREDITS_PER_USD
from .._terminal import dollars, put, reason, say
from ..async_client import AsyncClient
from ..client import Client
from ..download import check_destination
from ..inputs import AdvisoryWarning, TaskInput, request_body, with_absolute_paths
from ..mapping import MapResult
from ..media import from_home
from .input_file import InputFile, WrongLine
from .journal import Journal, JournalReader
from .report import NOT_SENT, Line, Report, counts, money

MORE = """\
Examples:
  unitask bulk swaps.csv --task face-swap --to out/ --max-usd 5
  unitask bulk resume swaps.db
  unitask bulk export swaps.db --json

`unitask bulk run --help` lists the options of a run."""
LIMITS = ("concurrency", "per_second", "max_usd", "webhook_url", "timeout")  # arguments of `AsyncClient.map`


class _Reported(logging.Handler):
    """Reports what workers log, such as a database that cannot be reached."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record to stderr."""
        say(f"unitask: {record.getMessage()}")


_REPORTED = _Reported()


def main(arguments: list[str]) -> int:
    """Run `unitask bulk` with these arguments; return its exit code."""
    parser, commands = _parser()
    options = parser.parse_args(arguments if arguments[:1] and arguments[0] in commands else ["run", *arguments])
    command = options.command
    try:
        return int(command(options))
    except errors.UnitaskError as error:
        say(f"unitask: {reason(error)}")
        return 2 if isinstance(error, errors.InvalidInput) else 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        say("unitask: interrupted")
        return 130


def _parser() -> tuple[argparse.ArgumentParser, set[str]]:
    usage = "unitask bulk FILE --to DIR [OPTIONS]\n       unitask bulk COMMAND ..."
    parser = argparse.ArgumentParser(
        prog="unitask bulk",
        description="Run the tasks of a file.",
        usage=usage,
        epilog=MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", prog="unitask bulk")

    def add(name: str, command: Callable[[Any], int], about: str, *, on: bool = False) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=about, description=about)
        added.set_defaults(command=command)
        if on:
            may_be_file = name in ("status", "export", "settle")
            added.add_argument("--on", required=not may_be_file, metavar="URL", help="the database, postgresql://...")
            if may_be_file:
                added.add_argument("job", metavar="FILE.db|JOB", help="the journal, or with --on the number of the job")
        return added

    run = add("run", _run, "run the tasks of a file; this word may be left out, and the same command again goes on")
    submit = add("submit", _submit, "store the tasks of a file for workers, and print the number of the job", on=True)
    for command in (run, submit):
        command.add_argument("file", type=_path, metavar="FILE", help="FILE.jsonl or FILE.csv, a task a line")
        command.add_argument("--task", metavar="CLASS", help="the class of all tasks, such as FaceSwap")
        command.add_argument("--concurrency", type=int, metavar="N", help="tasks that go on at once (default: 1000)")
        command.add_argument("--per-second", type=float, metavar="N", help="the most submissions a second")
        command.add_argument("--max-usd", type=_limit, metavar="USD", help="what the tasks may cost in all, or none")
        command.add_argument("--webhook-url", metavar="URL", help="where the provider reports the ends of the tasks")
        command.add_argument("--timeout", type=float, metavar="SECONDS", help="how long to wait for each task")
    run.add_argument("--journal", type=_path, metavar="FILE.db", help="what was done (default: FILE.db beside FILE)")
    resume = add("resume", _resume, "go on with the job of a journal")
    resume.add_argument("journal", type=_path, metavar="FILE.db")
    resume.add_argument("--max-usd", type=_limit, metavar="USD", help="another limit; none removes it")
    for command in (run, resume):
        command.add_argument("--json", action="store_true", help="print an object a result, not the names of files")
        command.add_argument("--quiet", action="store_true", help="report only the end")
    add("status", _status, "print how far a job is; it may go on meanwhile", on=True)
    export = add("export", _export, "print what became of each line", on=True)
    settle = add("settle", _settle, "decide about a line that is unknown: whether its task was accepted", on=True)
    settle.add_argument("line", type=int, metavar="LINE")
    fate = settle.add_mutually_exclusive_group(required=True)
    fate.add_argument("--task-id", metavar="ID", help="it was accepted: this is its task, which the next run waits for")
    fate.add_argument(
        "--not-sent", action="store_true", help="it was not; the next run sends it, which may pay it twice"
    )
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


def _limit(text: str) -> float:
    """Read an amount of money; `none` is infinity."""
    try:
        return math.inf if text == "none" else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r:.80} is neither an amount in USD nor none") from None


def _check_limits(options: argparse.Namespace) -> None:
    least = {"concurrency": 1, "per_second": math.ulp(0.0), "max_usd": 0, "timeout": 0}
    for name, value in _given(options, *least).items():
        if not value >= least[name]:
            above = "above 0" if least[name] < 1 and least[name] else f"of {least[name]} or more"
            raise errors.InvalidInput(f"--{name.replace('_', '-')} is {value:g}: give a number {above}")
    webhook = options.webhook_url
    if webhook is not None and not webhook.startswith(("http://", "https://")):
        raise errors.InvalidInput(f"--webhook-url is {webhook!r:.80}: give a URL of http:// or https://")


def _run(options: argparse.Namespace) -> int:
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


def _resume(options: argparse.Namespace) -> int:
    kept = _kept(_reader(options.journal))
    if not kept:
        raise errors.InvalidInput(f"{options.journal} is not the journal of `unitask bulk`: it does not say which file")
    kept |= {name: value for name, value in vars(options).items() if value is not None}
    kept["file"] = Path(kept["file"])
    return _run(argparse.Namespace(**kept))


def _reader(path: Path) -> JournalReader:
    """Open a journal; raise InvalidInput if the file of the tasks is given instead."""
    if path.suffix.lower() in (".jsonl", ".csv"):
        raise errors.InvalidInput(f"{path} has the tasks: give its journal, {path.with_suffix('.db')}")
    return JournalReader(path)


def _resuming(place: Path, options: argparse.Namespace) -> str:
    return shlex.join(["unitask", "bulk", "resume", str(place), *(["--json"] if getattr(options, "json", 0) else [])])


def _kept(journal: JournalReader) -> dict[str, Any]:
    """Return what the command of a journal was given; empty if no command made it."""
    job = journal.job
    return json.loads(job.kind) if job is not None and job.kind else {}


async def _work(source: InputFile, journal: Journal, options: argparse.Namespace, report: Report) -> int:
    async with AsyncClient(base_url=options.base_url, transport=_transport()) as client:
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
    limit = job.limit if job is not None else None  # another one replaces it
    if options.max_usd is not None:
        limit = None if options.max_usd == math.inf else round(options.max_usd * CREDITS_PER_USD)
    options.max_usd = None if limit is None else limit / CREDITS_PER_USD
    kept = {"file": str(options.file), "task": options.task, "to": options.to, "base_url": client.base_url}
    kept |= {name: getattr(options, name) for name in LIMITS}
    journal.begin(Job(account, client.base_url, limit, json.dumps(kept)))


def _given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
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


def _status(options: argparse.Namespace) -> int:
    if options.on:
        found = _workers().status(options.on, _number(options.job))
        put(f"job {found.job}: {counts(found.totals, found.inputs)}; {money(found.totals, found.limit)}")
        put(f"{found.shards_done} of {found.shards} shards done, {found.workers} workers")
        return 0
    journal = _reader(_path(options.job))
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


def _export(options: argparse.Namespace) -> int:
    lines = _shared_lines(options) if options.on else _lines(_reader(_path(options.job)))
    if not options.json:
        put(_csv(Line._fields))
    for line in lines:
        put(line.json if options.json else _csv(line._replace(files=cast("Any", ";".join(line.files)))))
    return 0


def _shared_lines(options: argparse.Namespace) -> Iterator[Line]:
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


def _settle(options: argparse.Namespace) -> int:
    line, task_id, path = options.line, options.task_id, _path(options.job)
    kept = {} if options.on else _kept(_reader(path))
    if task_id is not None:
        with Client(base_url=kept.get("base_url")) as client:
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


def _submit(options: argparse.Namespace) -> int:
    _check_limits(options)
    workers, source = _workers(), InputFile(options.file.absolute(), options.task)
    options.max_usd = None if options.max_usd == math.inf else options.max_usd

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

    async def work() -> int:
        async with AsyncClient(base_url=options.base_url, transport=_transport()) as client:
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
        from . import workers
    except ModuleNotFoundError as error:
        raise errors.InvalidInput(str(error)) from None
    return workers


def _number(text: str) -> int:
    if not text.isdecimal():
        raise errors.InvalidInput(f"{text!r:.80} is not the number of a job, as `unitask bulk submit` prints it")
    return int(text)
