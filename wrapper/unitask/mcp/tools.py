"""The tools.

Rules of this file: nothing is submitted without a confirmation, or a limit of money that the user set; a submission
under way is not cancelled, so that its id is known; every answer about a task has its id.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import anyio
from mcp.server.mcpserver import AcceptedElicitation, Context, Elicit, ElicitationResult, Resolve
from mcp_types import CallToolResult
from pydantic import BaseModel, Field
from unitask_api import contract
from unitask_api.json_types import is_list, is_object, printable
from unitask_api.states import State

from .. import tasks
from .._model.task import Recovery, Task
from .._terminal import task_type
from ..async_client import AsyncClient
from ..budget import Budget
from ..cli._state import handle, settle
from ..cli.catalogue import documented_input
from ..errors import BudgetExceeded, InvalidInput, SubmissionUncertain, UnitaskError, WaitTimeout
from ..inputs import TaskInput, request_body, with_files_inside
from ..media import inside
from .answers import answer, content_of, facts_of, said

WAIT = 40.0  # seconds that a call waits by default; clients made with the TypeScript SDK give up after 60
BEAT = 5.0  # seconds between two notifications of progress
MOST_ROWS = 20  # task types in an answer of search_tasks
NEXT = {  # after find
    "found": "Call wait with the task_id",
    "absent": "It was not accepted, and nothing was paid: run may be called again",
    "unclear": "Call find again in a minute. A candidate may be it: without the user's consent, do not call run again",
}

TaskName = Annotated[str, Field(description="The name of a task type, such as FaceSwap")]
TaskFields = Annotated[dict[str, Any], Field(description="Its fields by their names, as describe_task lists them")]
TaskId = Annotated[str, Field(description="The id of the task")]
Seconds = Annotated[
    float, Field(ge=0, le=3600, description="How long to wait, in seconds; the task goes on after that")
]


class Refused(UnitaskError, next_step="Explain the message to the user, and do not try it again"):
    """The task was not confirmed. Nothing was sent."""


class Confirmation(BaseModel):
    """What the user answers before a task is submitted."""

    submit: bool = Field(default=True, title="Submit and pay")


@dataclass
class Session:
    """One connection of a client."""

    client: AsyncClient
    budget: Budget
    folder: Path | None  # the folder whose files may be read; None for no files
    unconfirmed: bool  # whether tasks may be submitted for a client that cannot show a question
    tasks: dict[str, Task[Any]] = field(default_factory=dict[str, Task[Any]])  # seen in it, by their ids
    # Submissions whose answer was lost, by `_key`.
    uncertain: dict[str, SubmissionUncertain] = field(default_factory=dict[str, SubmissionUncertain])


Call = Context[Session, Any]


def _session(ctx: Call) -> Session:
    session: Session = ctx.request_context.lifespan_context
    return session


def search_tasks(
    query: Annotated[str, Field(description='Words such as "face video"; empty for all')] = "",
    family: Annotated[str, Field(description="Only task types of this family")] = "",
) -> dict[str, Any]:
    """Search the task types. The best matches come first."""
    words, entries = query.lower().split(), contract.task_types().values()
    texts = {entry["name"]: " ".join(map(str, entry.values())).lower() for entry in contract.document()["x-tasks"]}
    score = {entry.name: sum(word in texts[entry.name] for word in words) for entry in entries}
    found = [entry for entry in entries if family in ("", entry.family) and (score[entry.name] or not words)]
    found.sort(key=lambda entry: -score[entry.name])
    families = sorted({entry.family for entry in entries})
    return {"found": len(found), "tasks": [_row(entry) for entry in found[:MOST_ROWS]], "families": families}


def _row(entry: contract.TaskType) -> dict[str, Any]:
    listed = next(listed for listed in contract.document()["x-tasks"] if listed["name"] == entry.name)
    names = ("name", "family", "model", "task_type", "price_usd", "price_per", "typical_seconds")
    return {**{name: getattr(entry, name) for name in names}, "summary": listed.get("summary"), "files": entry.media}


def describe_task(ctx: Call, task: TaskName) -> dict[str, Any]:
    """Describe a task type: the JSON Schema of its fields, its price, its usual duration, an example."""
    entry, folder = task_type(task), _session(ctx).folder
    return {
        **_row(entry),
        "price": entry.price,
        "docs": entry.docs,
        "fields": _inlined(contract.component(entry.input)),
        "files_are": f"a URL, a data URI, or a path in {folder}" if folder else "a URL or a data URI",
        "example": documented_input(entry),
    }


def _inlined(rule: Any) -> Any:
    """Return a schema without references and sources."""
    if is_list(rule):
        return [_inlined(part) for part in rule]
    if not is_object(rule):
        return rule
    if "$ref" in rule:
        rule = {**contract.resolve({"$ref": rule["$ref"]}), **rule}
    return {name: _inlined(part) for name, part in rule.items() if name not in ("$ref", "x-source")}


def estimate(ctx: Call, task: TaskName, fields: TaskFields) -> dict[str, Any]:
    """Check the fields of a task, and estimate its cost by the published price. Nothing is sent."""
    session = _session(ctx)
    _, usd, advice = _checked(session, task, fields)
    affordable = usd is not None and usd <= session.budget.left_usd
    return {"usd": usd, "affordable": affordable, "warnings": advice, **_money(session.budget)}


def _checked(session: Session, task: str, fields: dict[str, Any]) -> tuple[TaskInput[Any], float | None, list[str]]:
    """Return a task, its estimate, and the warnings about its fields; raise InvalidInput for other problems."""
    kind, advice = getattr(tasks, task_type(task).name), list[str]()
    known = {rule.name: rule for rule in dataclasses.fields(kind) if rule.name != "extra"}
    problems = [f"{name!r:.80} is not a field" for name in fields if name not in known]
    needed = (name for name, rule in known.items() if rule.default is dataclasses.MISSING)
    problems += [f"the field {name!r} is missing" for name in needed if name not in fields]
    if problems:
        raise InvalidInput(*problems, undone="nothing was sent", then=f"The fields of {task} are {', '.join(known)}")
    made: TaskInput[Any] = with_files_inside(kind(**fields), session.folder)
    request_body(made, uploads=True, warn=advice.append)
    return made, made.estimate_usd(), advice


def _key(task: str, fields: dict[str, Any]) -> str:
    return json.dumps([task_type(task).name, fields], sort_keys=True)


def _money(budget: Budget) -> dict[str, float]:
    return {f"session_{name}": getattr(budget, name) for name in ("limit_usd", "spent_usd", "held_usd", "left_usd")}


def _confirm(ctx: Call, task: str, fields: dict[str, Any]) -> Elicit[Confirmation] | Confirmation:
    """Check a task, and return the question for the user, or the consent that a limit of the user's stands for."""
    session = _session(ctx)
    made, usd, advice = _checked(session, task, fields)
    budget = session.budget
    if usd is None or usd > budget.left_usd:
        amounts = {"limit_usd": budget.limit_usd, "spent_usd": budget.spent_usd, "held_usd": budget.held_usd}
        raise BudgetExceeded(type(made).__name__, estimate_usd=usd, **amounts)
    is_lost = _key(task, fields) in session.uncertain
    if is_lost:
        advice.append("The same task was sent before, and may be paid already: find looks for it")
    form = ctx.client_capabilities and ctx.client_capabilities.elicitation
    if form and (form.form is not None or form.url is None):
        question = f"Submit {made!r} for ${usd:.7g}? The limit of this session is ${budget.limit_usd:.7g}."
        return Elicit("\n".join(map(printable, (question, *advice))), Confirmation)
    if session.unconfirmed and not is_lost:
        return Confirmation()
    reason = advice[-1] if is_lost else "To run tasks without one, the user sets --max-usd, or UNITASK_MCP_MAX_USD"
    raise Refused(f"nothing was sent: this client cannot show the user a question. {reason}")


async def run(
    ctx: Call,
    task: TaskName,
    fields: TaskFields,
    confirmed: Annotated[ElicitationResult[Confirmation], Resolve(_confirm)],
    wait_seconds: Seconds = WAIT,
) -> CallToolResult:
    """Submit a task, which costs money, and wait for its result. It is submitted once."""
    if not (isinstance(confirmed, AcceptedElicitation) and confirmed.data.submit):
        raise Refused("nothing was sent: the user did not confirm the task")
    session = _session(ctx)
    made, _, _ = await anyio.to_thread.run_sync(_checked, session, task, fields)
    return await _follow(ctx, await _submit(session, made, _key(task, fields)), wait_seconds)


async def _submit(session: Session, made: TaskInput[Any], key: str) -> Task[Any]:
    with anyio.CancelScope(shield=True):
        try:
            submitted: Task[Any] = await session.client.submit(made)
        except SubmissionUncertain as error:
            session.uncertain[key] = error
            raise
        session.tasks[submitted.id] = submitted
        return submitted
    raise AssertionError  # type checkers do not know that this scope is never cancelled


async def wait(ctx: Call, task_id: TaskId, wait_seconds: Seconds = WAIT) -> CallToolResult:
    """Wait for a task that was submitted, and return its result."""
    return await _follow(ctx, _session(ctx).tasks.get(task_id, task_id), wait_seconds)


async def _follow(ctx: Call, task: Task[Any] | str, seconds: float) -> CallToolResult:
    """Wait for a task and report progress; when the time is up, return the task as it is."""
    session, seen = _session(ctx), list[Task[Any]]([] if isinstance(task, str) else [task])
    task_id = task if isinstance(task, str) else task.id

    async def report(passed: float) -> None:
        state = seen[-1].state if seen else "waiting"
        await ctx.report_progress(passed, message=f"task {printable(task_id)}: {state}")

    async def beat() -> None:
        for beats in itertools.count(1):
            await asyncio.sleep(BEAT)
            await report(beats * BEAT)

    await report(0)
    beats = asyncio.create_task(beat())
    try:
        seen.append(await session.client.wait(task, timeout=seconds, on_change=seen.append))
    except WaitTimeout:
        pass
    finally:
        beats.cancel()
        for last in seen[-1:]:
            _see(session, last)
    return await _answer(session, seen[-1] if seen else await session.client.get(task))


def _see(session: Session, task: Task[Any]) -> None:
    session.tasks[task.id] = task
    if task.done and task.state is not State.COMPLETED:
        settle(task.id)


async def _answer(session: Session, task: Task[Any]) -> CallToolResult:
    _see(session, task)
    made = await answer(session.client, task)
    if task.done:
        settle(task.id)
    return made


async def get(ctx: Call, task_id: TaskId) -> CallToolResult:
    """Get a task as it is now, without waiting."""
    session = _session(ctx)
    return await _answer(session, await session.client.get(session.tasks.get(task_id, task_id)))


async def find(
    ctx: Call,
    submission: Annotated[
        str, Field(description="The submission in the answer of run; empty: all of this session")
    ] = "",
    wait_seconds: Seconds = WAIT,
) -> dict[str, Any]:
    """List the tasks of this session, and find out what became of submissions whose answer was lost."""
    session, found = _session(ctx), list[dict[str, Any]]()
    wanted: list[SubmissionUncertain | str] = [submission] if submission else [*session.uncertain.values()]
    for number, one in enumerate(wanted):
        await ctx.report_progress(number, len(wanted), "reading the task history")
        recovery = await session.client.find(one, timeout=wait_seconds / len(wanted))
        token = one if isinstance(one, str) else one.token
        if recovery.outcome != "unclear":
            session.uncertain = {key: error for key, error in session.uncertain.items() if error.token != token}
        found.append({"submission": token, **_outcome(session, recovery)})
    return {"submissions": found, "tasks": [facts_of(task) for task in session.tasks.values()]}


def _outcome(session: Session, found: Recovery) -> dict[str, Any]:
    facts = {"outcome": found.outcome.value, "reason": printable(found.reason), "next": NEXT[found.outcome]}
    if found.task is not None:
        session.tasks[found.task.id] = found.task
        return {**facts, "task_id": handle(found.task)}
    return {**facts, "candidates": [facts_of(task) for task in found.candidates]}


async def cancel(ctx: Call, task_id: TaskId) -> dict[str, Any]:
    """Cancel a task. Only a task whose work has not begun can be cancelled."""
    await _session(ctx).client.cancel(task_id)
    return {"task_id": task_id, "cancelled": True, "next": "get shows its state"}


async def account(ctx: Call) -> dict[str, Any]:
    """Get the balance and the plan of the account, and the limit of money of this session."""
    session = _session(ctx)
    found = await session.client.account()
    return {"balance_usd": found.balance_usd, "plan": found.plan and said(found.plan, 200), **_money(session.budget)}


async def upload(
    ctx: Call,
    path: Annotated[str, Field(description="A jpg, png, webp, mp4, wav or mp3 file of at most 10 MB")],
) -> dict[str, Any]:
    """Upload a file for a field that takes only a URL. The provider keeps it for 24 hours."""
    session = _session(ctx)
    try:
        file = inside(path, session.folder)
    except ValueError as error:
        raise InvalidInput(f"path: {error}") from None
    made = await session.client.upload(file)
    return {"url": printable(made.url), "expires_at": made.expires_at.isoformat()}


async def output_file(ctx: Call, task_id: str, number: int) -> bytes:
    """Return the content of an output file of a task, at most 10 MB."""
    session = _session(ctx)
    task = session.tasks.get(task_id)
    if task is None or not task.done:
        task = await session.client.get(task or task_id)
    file = next((file for file in task.output.files if file.number == number), None)
    if file is None:
        raise InvalidInput(f"task {task_id} has no output file {number}; its state is {task.state}", task_id=task_id)
    return await content_of(session.client, file)


TOOLS: dict[Callable[..., Any], bool] = {  # and whether each only reads
    **dict.fromkeys((search_tasks, describe_task, estimate, wait, get, find, account), True),
    **dict.fromkeys((run, cancel, upload), False),
}
