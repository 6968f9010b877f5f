"""`unitask account`, `list` (also `history`), `estimate` and `find`: money, past tasks, and lost answers."""

import math
import re
import shlex
import sys
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Annotated, Any

from typer import Argument, BadParameter, Option
from unitask_api import contract
from unitask_api.json_types import printable
from unitask_api.states import State

from .. import errors
from .._model.account import HistoryRow
from .._model.task import Outcome, Recovery, Task
from .._terminal import dollars, is_terminal, kebab, put, reason, say, task_type
from . import _config
from ._client import connect
from ._fields import task_from
from ._output import put_json
from ._report import ExitCode
from ._state import ACCEPTED, OPEN, SETTLED, Submitted, handle, note, submissions
from .catalogue import Fields, TaskName, price_words, tasks_like

RETRIES = 2  # of requests whose answer a person waits for
ROWS = 20  # of a list, without --limit
SHOWN = 5  # candidates of a submission
BaseUrl = Annotated[str | None, Option(metavar="URL", help="The provider (default: the one of `unitask config`).")]
AsJson = Annotated[bool, Option("--json", help="Print JSON, as when stdout is not a terminal.")]
_TIMES = "From this time on: 30m, 12h or 7d ago, or 2026-11-28, or 2026-11-28T12:30 (local time)."
_SPANS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}  # seconds


def _time(text: str) -> datetime:
    """Read how long ago, or a date, or a date with a time."""
    if found := re.fullmatch(r"(\d{1,6})([smhdw])", text, re.ASCII):
        return datetime.now(UTC) - timedelta(seconds=int(found[1]) * _SPANS[found[2]])
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise BadParameter(f"{text!r:.40} is not a time, such as 30m, 12h, 7d or 2026-11-28T12:30") from None


def account(base_url: BaseUrl = None, json_output: AsJson = False) -> None:
    """Print the balance, the plan and the limits of the account."""
    with connect(base_url, max_retries=RETRIES) as caller:
        found = caller.account()
    if json_output or not is_terminal(sys.stdout):
        put_json(found.raw)
        return
    facts = {"account": found.name, "plan": found.plan, "balance": dollars(found.balance_usd) or "unknown"}
    limits = {name.removeprefix("max_").replace("_", " "): value for name, value in found.raw.items() if value}
    facts |= {name: value for name, value in limits.items() if re.search("concurren", name)}
    put(*(printable(f"{name:<28} {value}") for name, value in facts.items() if value is not None))


def estimate(
    task: TaskName,
    fields: Fields = None,
    json_output: AsJson = False,
) -> None:
    """Estimate what a task costs, by the published prices. Nothing is sent."""
    wanted = task_from(task, fields or ())
    usd = wanted.estimate_usd()
    published = price_words(task_type(task))
    if json_output or not is_terminal(sys.stdout):
        put_json({"task": kebab(type(wanted).__name__), "usd": usd, "published": published})
    elif usd is None:
        put(f"unknown; {published}")
    else:
        put(f"{dollars(usd)} ({published})")


def history(
    state: Annotated[
        list[State] | None,
        Option("--state", metavar="STATE", help=f"Only tasks in this state: {', '.join(State)}; repeat it."),
    ] = None,
    task: Annotated[
        str | None,
        Option("--task", metavar="TASK", help="Only this type, such as face-swap.", autocompletion=tasks_like),
    ] = None,
    group: Annotated[str | None, Option("--group", metavar="GROUP", help="Only this group, such as kling.")] = None,
    since: Annotated[datetime | None, Option("--since", parser=_time, metavar="TIME", help=_TIMES)] = None,
    until: Annotated[datetime | None, Option("--until", parser=_time, metavar="TIME", help="As --since.")] = None,
    limit: Annotated[int, Option("--limit", metavar="N", min=0, help="How many tasks to list; 0 for all.")] = ROWS,
    base_url: BaseUrl = None,
    json_output: AsJson = False,
) -> None:
    """List past tasks, the newest first."""
    entry = task_type(task) if task else None
    with connect(base_url, max_retries=RETRIES) as caller:
        rows = caller.history(group=group, start=since, end=until)
        wanted = (row for row in rows if (not state or row.state in state) and (not entry or _is_of(row, entry)))
        found = list(islice(wanted, limit + 1 if limit else None))
    shown = found[:limit] if limit else found
    if json_output or not is_terminal(sys.stdout):
        put_json([row.raw for row in shown])
    else:
        put(*map(_line, shown))
        if not shown:
            say("the task history has no such task")
    if len(found) > len(shown):
        say(f"there are more than these {limit}: --limit N lists more, --limit 0 all")


def _is_of(row: HistoryRow, entry: contract.TaskType) -> bool:
    return (row.model, row.task_type) == (entry.model, entry.task_type)


def _line(row: HistoryRow) -> str:
    named = contract.named(row.model, row.task_type)
    words = [row.model or row.group or "", row.task_type or ""]
    kind = kebab(named[0].name) if len(named) == 1 else " ".join(filter(None, words))
    created = f"{row.created_at.astimezone():%Y-%m-%d %H:%M:%S}" if row.created_at else "unknown"
    return printable(f"{created:<19}  {row.state:<10}  {row.task_id or 'unknown':<36}  {kind}")


def find(
    token: Annotated[
        str | None, Argument(metavar="[TOKEN]", help="The token of a submission of a Python program, from its log.")
    ] = None,
    timeout: Annotated[
        float | None, Option("--timeout", metavar="SECONDS", help="Stop after this time (default: about a minute).")
    ] = None,
    forget: Annotated[
        str | None,
        Option("--forget", metavar="RECORD", help="Name this submission no more: you know what became of it."),
    ] = None,
    base_url: BaseUrl = None,
    json_output: AsJson = False,
) -> int:
    """Find out what became of submissions whose answer was lost."""
    found: list[dict[str, Any]] = []
    if forget is not None:
        if not any(row.key == forget and row.outcome in OPEN for row in submissions()):
            raise errors.InvalidInput(f"no open submission has the record {forget!r:.80}: `unitask find` lists them")
        note(forget, outcome=SETTLED)
        return ExitCode.DONE
    if token:
        with connect(base_url, max_retries=RETRIES) as caller:
            found.append(_fate(caller.find(token, timeout=timeout), base_url))
    else:
        wanted = None if base_url is None else _config.base_url(base_url).value
        rows = [row for row in submissions() if row.outcome in OPEN and wanted in (None, row.base_url)]
        if any(row.outcome != ACCEPTED for row in rows):
            say("searching the task history; this may take a minute")
        found += [_search(row, timeout, is_given=base_url is not None) for row in rows]
    if json_output or not is_terminal(sys.stdout):
        put_json(found)
    else:
        put(*map(_sentence, found) if found else ("each submission of the command line has its result",))
    return ExitCode.UNCERTAIN if any(each["outcome"] == Outcome.UNCLEAR for each in found) else ExitCode.DONE


def _search(row: Submitted, timeout: float | None, *, is_given: bool) -> dict[str, Any]:
    """Return what became of a submission of an earlier command."""
    base_url = None if row.base_url == _config.base_url().value else row.base_url
    about = {
        "record": row.key,
        "task": kebab(row.name),
        "sent_at": datetime.fromtimestamp(row.at, UTC).isoformat(timespec="seconds"),
    }
    if row.outcome == ACCEPTED:
        fate = _fate(Recovery(Outcome.FOUND, "it was accepted, and its command did not end"), base_url, row.handle)
        return about | fate | {"task_id": row.task_id}
    try:
        if base_url and not is_given and (variable := _config.key_variable()):
            raise errors.InvalidInput(
                f"it was sent to {base_url}, and the key in {variable} may be that of another URL"
            )
        with connect(base_url, max_retries=RETRIES) as caller:
            return about | _fate(caller.search(row, timeout), base_url, at=row.at)
    except errors.UnitaskError as error:  # the others are searched all the same
        return about | _fate(Recovery(Outcome.UNCLEAR, reason(error)), base_url)


def _fate(recovery: Recovery, base_url: str | None, name: str | None = None, at: float = 0.0) -> dict[str, Any]:
    """Return what became of a submission, with the next command.

    `name` is what `unitask wait` takes, if known; `at` is when it was sent: the candidates nearest to it come first.
    """
    fitting = recovery.candidates[: recovery.fitting]
    task = recovery.task or (fitting[0] if len(fitting) == 1 else None)
    name = name or (handle(task) if task else None)
    then = [*(["wait", name] if name else ["find"]), *(["--base-url", base_url] if base_url else [])]
    return {
        "outcome": str(recovery.outcome),
        "reason": recovery.reason,
        "task_id": recovery.task.id if recovery.task else None,
        "candidates": [task.id for task in sorted(recovery.candidates, key=lambda task: _apart(task, at))],
        "next": None if recovery.outcome is Outcome.ABSENT else shlex.join(["unitask", *then]),
    }


def _apart(task: Task[Any], at: float) -> float:
    """Return how many seconds lie between the creation of a task and a time."""
    return abs(task.created_at.timestamp() - at) if task.created_at else math.inf


def _sentence(fate: dict[str, Any]) -> str:
    name = f"{fate['task']} of {fate['sent_at']}" if "task" in fate else "the submission"
    words = f"{name}: {fate['outcome']}: {fate['reason']}"
    if fate["outcome"] == Outcome.UNCLEAR and fate["candidates"]:
        words += f"; `unitask get ID` shows what may be it: {', '.join(fate['candidates'][:SHOWN])}"
    then = f"`{fate['next']}` is the next step" if fate["next"] else "It was not paid, and can be submitted again"
    if str(fate["next"]).startswith("unitask find"):
        then = f"`{fate['next']}` searches again; as long as it is unclear, to run the task again may pay it twice"
    if fate["outcome"] == Outcome.UNCLEAR and "record" in fate:
        then += f". `unitask find --forget {fate['record']}` when you know what became of it"
    return printable(f"{words}. {then}")
