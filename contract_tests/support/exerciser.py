"""Exercise the whole contract once, count it, and collect where the parts of the project disagree.

The client must send each input, and the sandbox in-process must accept it. The client must read each answer; the
generated client reads those of operations that the wrapper lacks. Inputs and answers are the documented bodies, the
scenarios, and generated values of every component.
"""

import asyncio
import itertools
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any

import httpx
from unitask import AsyncClient, Client, TaskInput, errors, tasks
from unitask.inputs import AdvisoryWarning
from unitask.webhooks import parse
from unitask_api import models
from unitask_contract import bundle
from unitask_contract.exchange import Exchange
from unitask_contract.in_process import IN_PROCESS, no_network
from unitask_sandbox import Settings, create_app

from .counter import Coverage
from .mutation import CALLS, read
from .scenario_runner import KEY, Time, scripted
from .scenarios import TASK_ID, scenarios
from .schema_examples import MEDIA, instances

CONCURRENT = 32
FORM = "unitask.form"  # the request extension with the fields of a form
TOOLKIT = "legacy_create_image_toolkit"
# Valid bodies of operations whose schema alone does not say what is valid.
BODIES: Mapping[str, dict[str, Any]] = {
    "upload_file": {"file_name": "a.mp3", "file_data": "SUQz"},
    "create_chat_completion": {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]},
    TOOLKIT: {"task_type": "upscale", "task_input": {"image": MEDIA["image"]}},
}


@dataclass
class Exercise:
    """The exchanges, counted, and each disagreement of client, sandbox and spec."""

    coverage: Coverage = field(default_factory=Coverage)
    disagreements: list[str] = field(default_factory=list[str])

    def differ(self, about: object, how: object) -> None:
        self.disagreements.append(f"{about}: {how}")


def exercise(coverage: Coverage | None = None) -> Exercise:
    made = Exercise(coverage or Coverage())
    logging.disable(logging.WARNING)  # an unknown status is a warning, and there are many
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AdvisoryWarning)
            for scenario in scenarios():
                scripted(scenario, "sync", made.coverage.add)
            read_answers(made)
            read_notifications(made)
            asyncio.run(send_requests(made))
    finally:
        logging.disable(logging.NOTSET)
    return made


def read_answers(made: Exercise) -> None:
    status, content, was_asked = 200, b"", False

    def respond(request: httpx.Request) -> httpx.Response:
        nonlocal was_asked
        was_asked = True
        made.coverage.add(Exchange.of(request, status, content))
        return httpx.Response(status, content=content, headers={"content-type": "application/json"})

    time, transport, numbers = Time([]), httpx.MockTransport(respond), itertools.count()
    calls: dict[str, Callable[[Client, str], Any]] = {
        **CALLS,
        "cancel_tasks": lambda client, _: client.cancel_many(created_before=1),
        "upload_file": lambda client, _: client.upload(b"ID3%d" % next(numbers)),  # an upload is cached by its content
    }
    with Client(KEY, IN_PROCESS, transport=transport, clock=time.clock, sleep=time.sleep, poll_patience=0.1) as client:
        for operation, part, value in answers():
            status, content, was_asked = 200 if part == "200" else status_of(value), json.dumps(value).encode(), False
            about = f"{operation} {part} {value}"
            task_id = bundle.at(value, "/data/task_id")
            try:
                if operation not in calls:
                    read(getattr(models, bundle.components_of(operation)[part])(value))
                    method, path = bundle.routes()[operation]
                    made.coverage.add(Exchange(method, path, b"", status, content))
                    continue
                read(calls[operation](client, task_id or TASK_ID))
                if (part == "default" and not task_id) or not was_asked:
                    made.differ(about, "the client returned a result")
            except errors.UnitaskError as error:
                if part == "200":
                    made.differ(about, f"the client does not understand it: {error}")
            except Exception as error:
                made.differ(about, f"{type(error).__name__}: {error}")


def answers() -> Iterator[tuple[str, str, Any]]:
    for operation in bundle.operations():
        for part, component in bundle.components_of(operation).items():
            if part != "request":
                yield from ((operation, part, value) for value in instances(component))
    for entry, value in values_of("output"):
        named = {"model": entry["model"], "task_type": entry["task_type"], "input": entry.get("match", {})}
        task = {"task_id": TASK_ID, **named, "status": "completed", "output": value}
        yield "get_task", "200", {"code": 200, "data": task, "message": "success"}
    for example in bundle.examples().values():
        if example["x-part"] != "request":
            yield example["x-operation"], example["x-part"], example["value"]


def values_of(part: str) -> Iterator[tuple[dict[str, Any], Any]]:
    """Yield each task type with each input or output; at most two for a component that another type has, too."""
    seen: set[str] = set()
    for entry in bundle.entries().values():
        component = entry[part]
        yield from ((entry, value) for value in instances(component)[: 2 if component in seen else None])
        seen.add(component)


def status_of(refusal: Any) -> int:
    code: object = refusal.get("code")
    return code if isinstance(code, int) and 400 <= code < 600 else 400


def read_notifications(made: Exercise) -> None:
    for item in bundle.document()["webhooks"].values():
        operation: str = item["post"]["operationId"]
        documented = [one["value"] for one in bundle.examples().values() if one["x-operation"] == operation]
        for value in (*documented, *instances(bundle.components_of(operation)["request"])):
            body = json.dumps(value).encode()
            try:
                read(getattr(parse(body, {}, secret=None, tolerance=None), "task", None))
                made.coverage.add_notification(operation, body)
            except errors.UnitaskError as error:
                made.differ(f"{operation} {value}", f"the webhook refuses it: {error}")


class CountedSandbox(httpx.AsyncBaseTransport):
    """Sends requests to a sandbox in-process, counts them, and keeps bodies and the last task of each operation."""

    def __init__(self, app: Any, add: Callable[[Exchange], object]) -> None:
        self._app = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._add = add
        self.bodies: set[tuple[str, str]] = set()
        self.task_ids: dict[str, Any] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._app.handle_async_request(request)
        await request.aread()
        exchange = Exchange.of(request, answer.status_code, await answer.aread())
        if form := request.extensions.get(FORM):
            exchange = replace(exchange, sent=json.dumps(form).encode())
        self.bodies.add((exchange.operation, json.dumps(exchange.asked, sort_keys=True)))
        task = bundle.fields(exchange.answer)
        self.task_ids[exchange.operation] = (bundle.fields(task.get("data")) or task).get("task_id")
        self._add(exchange)
        return answer


async def send_requests(made: Exercise) -> None:
    app = create_app(Settings(keys={KEY: 1e9}, autorun=False, engine_process=False, fetch=no_network))
    wire = CountedSandbox(app, made.coverage.add)
    try:
        async with AsyncClient(KEY, IN_PROCESS, transport=wire) as client:
            submissions = (submit(made, client, wire, entry, value) for entry, value in values_of("input"))
            while some := list(itertools.islice(submissions, CONCURRENT)):
                await asyncio.gather(*some)
        async with httpx.AsyncClient(transport=wire, base_url=IN_PROCESS) as http:
            await call_operations(made, http, wire.task_ids)
    finally:
        app.state.sandbox.close()


async def submit(made: Exercise, client: AsyncClient, wire: CountedSandbox, entry: dict[str, Any], value: Any) -> None:
    value = {**value, **entry.get("match", {})}
    try:
        await client.submit(task_of(entry, value))
    except errors.UnitaskError as error:
        made.differ(f"{entry['name']} {value}", f"{type(error).__name__}: {error}")
        return
    body = {"model": entry["model"], "task_type": entry["task_type"], "input": value}
    operation, body = (entry["create"], value) if "create" in entry else ("create_task", body)
    if (operation, json.dumps(body, sort_keys=True)) not in wire.bodies:
        made.differ(f"{entry['name']} {value}", "the client sends something else")


def task_of(entry: Mapping[str, Any], value: Mapping[str, Any]) -> TaskInput[Any]:
    kind = getattr(tasks, entry["name"])
    names = {one.name for one in fields(kind)} - {"extra"}
    given = {name: item for name, item in value.items() if name in names and item is not None}
    extra = {name: item for name, item in value.items() if name not in given and name not in kind.FIXED}
    task: TaskInput[Any] = kind(**given, extra=extra)
    return task


async def call_operations(made: Exercise, http: httpx.AsyncClient, task_ids: Mapping[str, str]) -> None:
    async def succeed(operation: str, body: dict[str, Any], task_id: str = "x") -> None:
        answer = await send(http, operation, body, task_id)
        if answer.status_code != 200:
            made.differ(f"{operation} {body}", f"the sandbox answers {answer.status_code}: {answer.text[:200]}")

    for operation, body in BODIES.items():
        await succeed(operation, body)
    for operation, create in about_a_task().items():
        await succeed(operation, {"task_id": task_ids[create]}, task_ids[create])
    for operation in bundle.routes():
        await send(http, operation, {}, key="wrong")
        for example in bundle.examples().values():
            if (example["x-operation"], example["x-part"]) == (operation, "request"):
                await send(http, operation, example["value"])
        origin = task_ids.get(operation.replace("_extend_", "_create_")) or "x"  # the task that an extension continues
        for value in requests(operation):
            await (send(http, operation, value) if operation in BODIES else succeed(operation, value, origin))


def requests(operation: str) -> Iterator[dict[str, Any]]:
    if operation in about_a_task():
        return
    if operation == "create_task":
        swap = bundle.examples()["faceswap.face-swap.request"]["value"]
        yield from ({**swap, "config": config} for config in instances("TaskConfig"))
    elif query := bundle.query_of(operation):
        yield from instances(query)
    elif "request" in bundle.components_of(operation):
        yield from instances(bundle.components_of(operation)["request"])
    else:
        yield {}


@cache
def about_a_task() -> Mapping[str, str]:
    """Return the operations that name a task, each with the one that makes such a task."""
    protocols = bundle.document()["x-protocols"]
    entries = (entry for entry in bundle.entries().values() if "create" in entry)
    legacy: dict[str, str] = {protocols[entry["protocol"]]["poll"]: entry["create"] for entry in entries}
    unified = {"get_task": "create_task", "cancel_task": "create_task"}
    return {**legacy, **unified, "legacy_fetch_image_toolkit": TOOLKIT}


async def send(
    http: httpx.AsyncClient, operation: str, body: dict[str, Any], task_id: str = "x", *, key: str = KEY
) -> httpx.Response:
    method, path = bundle.routes()[operation]
    request: dict[str, Any] = {"headers": {"x-api-key": key, "authorization": f"Bearer {key}"}}
    if operation == "edit_image":
        request["files"] = {"image": ("a.png", b"a picture")}
        request["data"] = {name: str(value) for name, value in body.items() if name != "image"}
        request["extensions"] = {FORM: body}
    elif "request" in bundle.components_of(operation):
        request["json"] = body
    elif bundle.query_of(operation):
        request["params"] = body
    return await http.request(method, path.replace("{task_id}", task_id), **request)
