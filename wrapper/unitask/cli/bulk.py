"""`unitask bulk`: the commands and options of jobs of many tasks; _bulk.py carries them out.

Exit codes: 0 all done, 1 some failed or the job stopped, 2 wrong use, 130 Ctrl-C, 143 SIGTERM.
"""

import asyncio
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

from typer import Argument, BadParameter, Option, Typer
from typer.core import TyperCommand, TyperGroup

from .. import errors
from .._terminal import reason, say
from ..media import from_home
from . import _bulk
from .app import examples


class _Group(TyperGroup):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Add the word `run`, which may be left out."""
        if not args and not ctx.resilient_parsing:
            args = ["--help"]
        is_complete = not args or args[0] in {*self.commands, *ctx.help_option_names}
        return super().parse_args(ctx, args if is_complete else ["run", *args])

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help, and examples."""
        super().format_help(ctx, formatter)
        formatter.write(examples("bulk"))


class _Command(TyperCommand):
    def invoke(self, ctx: Any) -> Any:
        """Carry out the command; return its exit code."""
        try:
            return super().invoke(ctx)
        except errors.UnitaskError as error:
            say(f"unitask: {reason(error)}")
            return 2 if isinstance(error, errors.InvalidInput) else 1
        except (KeyboardInterrupt, asyncio.CancelledError):
            say("unitask: interrupted")
            return 130


def _path(text: str) -> Path:
    return Path(from_home(text))


def _limit(text: str) -> float:
    """Read an amount of money; `none` is infinity."""
    try:
        return math.inf if text == "none" else float(text)
    except ValueError:
        raise BadParameter(f"{text!r:.80} is neither an amount in USD nor none") from None


bulk: Typer = Typer(
    cls=_Group,
    add_completion=False,
    help="Run the tasks of a file: `unitask bulk FILE --to DIR`, or one of these commands.",
)
Tasks = Annotated[Path, Argument(parser=_path, metavar="FILE", help="FILE.jsonl or FILE.csv, a task a line.")]
Kind = Annotated[str | None, Option("--task", metavar="TASK", help="The type of all tasks, such as face-swap.")]
Concurrency = Annotated[int | None, Option(metavar="N", help="Tasks that go on at once (default: 1000).")]
PerSecond = Annotated[float | None, Option(metavar="N", help="The most submissions a second.")]
MaxUsd = Annotated[Any, Option("--max-usd", parser=_limit, metavar="USD", help="What the tasks may cost, or none.")]
WebhookUrl = Annotated[str | None, Option(metavar="URL", help="Where the provider reports the ends of the tasks.")]
Timeout = Annotated[float | None, Option(metavar="SECONDS", help="How long to wait for each task.")]
To = Annotated[str, Option("--to", parser=from_home, metavar="DIR", help="The folder of the files.")]
BaseUrl = Annotated[str | None, Option(metavar="URL", help="The provider (default: the one of `unitask config`).")]
AsJson = Annotated[bool, Option("--json", help="Print an object a result, not the names of files.")]
Quiet = Annotated[bool, Option("--quiet", help="Report only the end.")]
Job = Annotated[str, Argument(metavar="FILE.db|JOB", help="The journal, or with --on the number of the job.")]
Database = Annotated[str, Option("--on", metavar="URL", help="The database, postgresql://...")]
MaybeDatabase = Annotated[str | None, Option("--on", metavar="URL", help="The database, postgresql://...")]


@bulk.command(cls=_Command)
def run(
    file: Tasks,
    to: To,
    task: Kind = None,
    concurrency: Concurrency = None,
    per_second: PerSecond = None,
    max_usd: MaxUsd = None,
    webhook_url: WebhookUrl = None,
    timeout: Timeout = None,
    journal: Annotated[
        Path | None,
        Option("--journal", parser=_path, metavar="FILE.db", help="What was done (default: FILE.db beside FILE)."),
    ] = None,
    json: AsJson = False,
    quiet: Quiet = False,
    base_url: BaseUrl = None,
) -> int:
    """Run the tasks of a file. The word `run` may be left out. The same command again goes on."""
    return _bulk.run(SimpleNamespace(**locals()))


@bulk.command(cls=_Command)
def resume(
    journal: Annotated[Path, Argument(parser=_path, metavar="FILE.db")],
    max_usd: Annotated[
        Any, Option("--max-usd", parser=_limit, metavar="USD", help="Another limit; none removes it.")
    ] = None,
    json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Go on with the job of a journal."""
    return _bulk.resume(SimpleNamespace(**locals()))


@bulk.command(cls=_Command)
def status(job: Job, on: MaybeDatabase = None) -> int:
    """Print how far a job is; it may go on meanwhile."""
    return _bulk.status(SimpleNamespace(**locals()))


@bulk.command(cls=_Command)
def export(
    job: Job,
    on: MaybeDatabase = None,
    csv: Annotated[bool, Option("--csv", help="As CSV (default).")] = False,
    json: Annotated[bool, Option("--json", help="As an object a line.")] = False,
) -> int:
    """Print what became of each line."""
    if csv and json:
        raise BadParameter("give one of --csv and --json")
    return _bulk.export(SimpleNamespace(**locals()))


@bulk.command(cls=_Command)
def settle(
    job: Job,
    line: Annotated[int, Argument(metavar="LINE")],
    task_id: Annotated[
        str | None,
        Option("--task-id", metavar="ID", help="It was accepted: this is its task, which the next run waits for."),
    ] = None,
    not_sent: Annotated[
        bool, Option("--not-sent", help="It was not; the next run sends it, which may pay it twice.")
    ] = False,
    on: MaybeDatabase = None,
) -> int:
    """Decide whether the task of an unknown line was accepted."""
    if (task_id is None) != not_sent:
        raise BadParameter("give one of --task-id ID and --not-sent")
    return _bulk.settle(SimpleNamespace(**locals()))


@bulk.command(cls=_Command)
def submit(
    file: Tasks,
    on: Database,
    task: Kind = None,
    concurrency: Concurrency = None,
    per_second: PerSecond = None,
    max_usd: MaxUsd = None,
    webhook_url: WebhookUrl = None,
    timeout: Timeout = None,
    base_url: BaseUrl = None,
) -> int:
    """Store the tasks of a file for workers. The number of the job is printed."""
    return _bulk.submit(SimpleNamespace(**locals()))


@bulk.command(cls=_Command)
def worker(
    on: Database,
    to: To,
    job: Annotated[int | None, Option("--job", metavar="JOB", help="Only on this one.")] = None,
    forever: Annotated[bool, Option("--forever", help="Wait for more jobs.")] = False,
    base_url: BaseUrl = None,
) -> int:
    """Work on the jobs of a database, on any number of machines."""
    return _bulk.worker(SimpleNamespace(**locals()))
