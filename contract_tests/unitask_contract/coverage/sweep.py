"""Everything that the contract can say, said once and counted: what the harness exercises by itself.

The documented bodies, the scenarios, and the instances of every component. Each input goes as a create through the
client to a sandbox in-process, so that the client must send what the contract allows, and the sandbox accept it; each
answer is given to the client, which must understand it, or to the generated client where the wrapper reads none (the
LLM endpoints, the legacy toolkit). Nothing is drawn, nobody waits, and there is no network.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any

import httpx
from unitask import AsyncClient, Client, TaskInput, errors, tasks
from unitask.inputs import AdvisoryWarning
from unitask.webhooks import parse
from unitask_api import models
from unitask_api.errors import ApiError
from unitask_contract import bundle
from unitask_contract.coverage.branches import canonical
from unitask_contract.coverage.counting import Coverage
from unitask_contract.coverage.instances import address, instances
from unitask_contract.exchange import Exchange
from unitask_contract.mutation import CALLS, read
from unitask_contract.playing import KEY, Time, observed, problems
from unitask_contract.scenarios import TASK_ID, scenarios
from unitask_contract.serving import IN_PROCESS, no_network
from unitask_sandbox import Settings, create_app

REFUSED = 400
AT_ONCE = 32


@dataclass
class Swept:
    """What was exercised, and where the parts of the project disagree about the contract: nowhere, it should be."""

    coverage: Coverage = field(default_factory=Coverage)
    disagreements: list[str] = field(default_factory=list[str])

    def differ(self, about: object, how: object) -> None:
        """Note a disagreement."""
        self.disagreements.append(f"{about}: {how}")


def sweep(coverage: Coverage | None = None) -> Swept:
    """Say everything, to a coverage of its own or to this one."""
    swept = Swept(coverage or Coverage())
    logging.disable(logging.WARNING)  # an unknown status is a warning, and there are many
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AdvisoryWarning)
            _play(swept)
            _give_answers(swept)
            _notify(swept)
            asyncio.run(_ask(swept))
    finally:
        logging.disable(logging.NOTSET)
    return swept


def _play(swept: Swept) -> None:
    for scenario in scenarios():
        for problem in problems(scenario, observed(scenario, swept.coverage.add)):
            swept.differ(scenario.name, problem)
        swept.coverage.played(scenario.name)


# Answers, to the client.


class _Script(httpx.BaseTransport):
    """Gives the answer that lies ready, and tells of it."""

    def __init__(self, tell: Callable[[Exchange], object]) -> None:
        self.lay(200, b"")
        self._tell = tell

    def lay(self, status: int, content: bytes) -> None:
        self.status, self.content, self.is_asked = status, content, False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.is_asked = True
        request.read()
        self._tell(Exchange.of(request, self.status, self.content))
        return httpx.Response(self.status, content=self.content, headers={"content-type": "application/json"})


def _names_a_task(value: Any) -> bool:
    """Whether a refusal names a task, which then exists and is no refusal."""
    return bool(bundle.fields(bundle.fields(value).get("data")).get("task_id"))


def _give_answers(swept: Swept) -> None:
    script, time = _Script(swept.coverage.add), Time([])
    with Client(KEY, IN_PROCESS, transport=script, clock=time.clock, sleep=time.sleep, poll_patience=0.1) as client:
        calls = _calls(client, script)
        for operation, part, value in _each_answer():
            status = 200 if part == "200" else _status_of(value)
            script.lay(status, json.dumps(value).encode())
            try:
                if operation not in calls:
                    _decode(swept, operation, part, status, value)
                    continue
                calls[operation](value)
                if (part == "default" and not _names_a_task(value)) or not script.is_asked:
                    swept.differ(f"{operation} {part} {value}", "the client does not see it")
            except errors.UnitaskError as error:
                if part == "200" and not _names_no_task(operation, value):
                    swept.differ(f"{operation} {part} {value}", f"the client does not understand it: {error}")
            except Exception as error:
                swept.differ(f"{operation} {part} {value}", f"{type(error).__name__}: {error}")


def _each_answer() -> Iterator[tuple[str, str, Any]]:
    """Every instance of every answer, every output in an answer to a look, and every documented answer."""
    for operation in bundle.operations():
        for part, component in bundle.components_of(operation).items():
            if part != "request":
                yield from ((operation, part, value) for value in instances(component))
            if part == "200" and operation in _ids():
                yield from (
                    (operation, part, _with(value, {_ids()[operation]: TASK_ID})) for value in instances(component)
                )
    for entry, value in _each("output"):
        if protocol := _protocol(entry):
            yield protocol["look"], "200", _answer(protocol, TASK_ID, value)
        else:
            named = {"model": entry["model"], "task_type": entry["task_type"], "input": entry.get("match", {})}
            task = {"task_id": TASK_ID, **named, "status": "completed", "output": value}
            yield "get_task", "200", {"code": 200, "data": task, "message": "success"}
    for example in bundle.examples().values():
        if example["x-part"] != "request":
            yield example["x-operation"], example["x-part"], example["value"]


@cache
def _ids() -> Mapping[str, str]:
    """Where the answers of legacy operations have the id of the task, which their schemas do not require."""
    found: dict[str, str] = {}
    for entry in bundle.entries().values():
        if protocol := _protocol(entry):
            found |= dict.fromkeys((entry["create"], protocol["look"]), protocol["task_id"])
    return found


def _names_no_task(operation: str, answer: Any) -> bool:
    return operation in _ids() and not bundle.at(answer, _ids()[operation])


def _each(part: str) -> Iterator[tuple[dict[str, Any], Any]]:
    """Every task type with instances of its input or output: all with the first of those that share it."""
    told: set[str] = set()
    for entry in bundle.entries().values():
        component = entry[part]
        yield from ((entry, value) for value in instances(component)[: 2 if component in told else None])
        told.add(component)


def _answer(protocol: Mapping[str, Any], task_id: str, output: Mapping[str, Any]) -> dict[str, Any]:
    """An answer of another protocol with an output in its places."""
    named = {protocol["output"][name]: value for name, value in output.items() if name in protocol["output"]}
    answer: dict[str, Any] = _with({}, {protocol["status"]: "completed", **named, protocol["task_id"]: task_id})
    return answer


def _with(value: Any, parts: Mapping[str, Any]) -> Any:
    """A value with other parts in the places that JSON pointers name."""
    value = copy.deepcopy(value)
    for pointer, part in parts.items():
        holder, steps = value, pointer.split("/")[1:]
        for step in steps[:-1]:
            holder[step] = holder.get(step) or {}
            holder = holder[step]
        holder[steps[-1]] = part
    return value


def _status_of(refusal: Any) -> int:
    code: object = refusal.get("code")
    return code if isinstance(code, int) and 400 <= code < 600 else REFUSED


def _calls(client: Client, script: _Script) -> dict[str, Callable[[Any], None]]:
    """What the client is asked when an answer of an operation lies ready; none: it reads no such answer."""

    def about(call: Callable[[Client, str], Any]) -> Callable[[Any], None]:
        return lambda value: read(call(client, bundle.at(value, "/data/task_id") or TASK_ID))

    def create(entry: Mapping[str, Any]) -> Callable[[Any], None]:
        return lambda _: read(client.submit(_least(entry)))

    def look(entry: Mapping[str, Any], protocol: Mapping[str, Any]) -> Callable[[Any], None]:
        """A task of another protocol can be looked at only by who has created it."""

        def call(value: Any) -> None:
            ready = script.status, script.content
            created = _answer(protocol, bundle.at(value, protocol["task_id"]) or TASK_ID, {})
            script.lay(200, json.dumps(created).encode())
            task = client.submit(_least(entry))
            script.lay(*ready)
            read(client.get(task))

        return call

    numbers = itertools.count()
    calls = {name: about(call) for name, call in CALLS.items()}
    calls["cancel_tasks"] = lambda _: client.cancel_many(created_before=1)
    calls["upload_file"] = lambda _: read(client.upload(b"ID3%d" % next(numbers)))  # what it knows it does not send
    for entry in bundle.entries().values():
        if protocol := _protocol(entry):
            calls |= {entry["create"]: create(entry), protocol["look"]: look(entry, protocol)}
    return calls


def _protocol(entry: Mapping[str, Any]) -> dict[str, Any]:
    """How a legacy task type is looked at; nothing for one of the unified API."""
    found: dict[str, Any] = bundle.document()["x-protocols"].get(entry["protocol"], {})
    return found


def _least(entry: Mapping[str, Any]) -> TaskInput[Any]:
    return _task(entry, instances(entry["input"])[0])


def _decode(swept: Swept, operation: str, part: str, status: int, value: Any) -> None:
    """Read an answer with the generated client."""
    model: Any = getattr(models, bundle.component_of(operation, part))
    try:
        read(model(value))
    except ApiError as error:
        swept.differ(f"{operation} {part} {value}", f"the generated client cannot read it: {error}")
    method, path = bundle.route_of(operation)
    swept.coverage.add(Exchange(method, path, b"", status, json.dumps(value).encode()))


def _notify(swept: Swept) -> None:
    """Every notification, to the webhook."""
    examples = bundle.examples().values()
    for item in bundle.document()["webhooks"].values():
        operation: str = item["post"]["operationId"]
        documented = [one["value"] for one in examples if one["x-operation"] == operation]
        for value in (*documented, *instances(bundle.component_of(operation, "request"))):
            body = json.dumps(value).encode()
            try:
                read(getattr(parse(body, {}, secret=None, tolerance=None), "task", None))
                swept.coverage.notified(operation, body)
            except errors.UnitaskError as error:
                swept.differ(f"{operation} {value}", f"the webhook refuses it: {error}")


# Requests, to the sandbox.


class _Sandbox(httpx.AsyncBaseTransport):
    """Calls a sandbox in-process, and tells of it.

    Attributes:
        bodies: Every JSON body that was sent, with its operation.
    """

    def __init__(self, app: Any, tell: Callable[[Exchange], object]) -> None:
        self._app = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._tell = tell
        self.bodies: set[tuple[str, str]] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._app.handle_async_request(request)
        await request.aread()
        exchange = Exchange.of(request, answer.status_code, await answer.aread())
        self.bodies.add((exchange.operation, canonical(exchange.asked)))
        self._tell(exchange)
        return answer


async def _ask(swept: Swept) -> None:
    app = create_app(Settings(keys={KEY: 1e9}, autorun=False, engine_process=False, fetch=no_network))
    wire = _Sandbox(app, swept.coverage.add)
    try:
        async with AsyncClient(KEY, IN_PROCESS, transport=wire) as client:
            creates = (_create(swept, client, wire, entry, value) for entry, value in _each("input"))
            while some := list(itertools.islice(creates, AT_ONCE)):
                await asyncio.gather(*some)
        async with httpx.AsyncClient(transport=wire, base_url=IN_PROCESS) as http:
            await _ask_plainly(swept, http)
    finally:
        app.state.sandbox.close()


async def _create(
    swept: Swept, client: AsyncClient, wire: _Sandbox, entry: dict[str, Any], value: dict[str, Any]
) -> None:
    """Make a task of an input: the client sends just that, and the sandbox takes it."""
    try:
        await client.submit(_task(entry, value))
    except errors.UnitaskError as error:
        swept.differ(f"{entry['name']} {value}", f"{type(error).__name__}: {error}")
        return
    body = {"model": entry["model"], "task_type": entry["task_type"], "input": value}
    operation, body = (entry["create"], value) if "create" in entry else ("create_task", body)
    if (operation, canonical(body)) not in wire.bodies:
        swept.differ(f"{entry['name']} {value}", "the client sends something else")


def _task(entry: Mapping[str, Any], value: Mapping[str, Any]) -> TaskInput[Any]:
    """The task of an input, with its class; what the class has no field for, and null, goes in `extra`."""
    kind = getattr(tasks, entry["name"])
    names = {one.name for one in fields(kind)} - {"extra"}
    given = {name: item for name, item in value.items() if name in names and item is not None}
    extra = {name: item for name, item in value.items() if name not in given and name not in kind.FIXED}
    task: TaskInput[Any] = kind(**given, extra=extra)
    return task


# Bodies that their operation takes, where the contract says in words what its schema does not.
_USABLE: Mapping[str, dict[str, Any]] = {
    "upload_file": {"file_name": "a.mp3", "file_data": "SUQz"},
    "legacy_create_image_toolkit": {"task_type": "upscale", "task_input": {"image": address("image")}},
}


async def _ask_plainly(swept: Swept, http: httpx.AsyncClient) -> None:
    """Every operation over plain HTTP: with a wrong key, with each body, and the documented requests."""
    examples = bundle.examples().values()
    for operation in bundle.routes():
        await _send(http, operation, {}, key="wrong")
        for example in examples:
            if (example["x-operation"], example["x-part"]) == (operation, "request"):
                await _send(http, operation, example["value"])
        for value in _asked(operation):
            answer = await _send(http, operation, value)
            if answer.status_code != 200 and operation not in _USABLE:
                swept.differ(f"{operation} {value}", f"the sandbox answers {answer.status_code}: {answer.text[:200]}")
    made = {operation: (await _send(http, operation, body)).json() for operation, body in _creates().items()}
    for operation, create in _looks().items():
        task_id: str = (made[create].get("data") or made[create])["task_id"]
        answer = await _send(http, operation, {"task_id": task_id}, task_id)
        if answer.status_code != 200:
            swept.differ(operation, f"the sandbox answers {answer.status_code}: {answer.text[:200]}")


def _asked(operation: str) -> Iterator[dict[str, Any]]:
    """What an operation can be asked, as a body or as a query; nothing for one that is about a task."""
    if operation in _looks():
        return
    if operation == "create_task":
        swap: dict[str, Any] = bundle.examples()["faceswap.face-swap.request"]["value"]
        yield from ({**swap, "config": config} for config in instances("TaskConfig"))
    elif query := bundle.query_of(operation):
        yield from instances(query)
    elif "request" not in bundle.components_of(operation):
        yield {}
    else:
        yield from (usable for name, usable in _USABLE.items() if name == operation)
        yield from instances(bundle.component_of(operation, "request"))


@cache
def _creates() -> Mapping[str, dict[str, Any]]:
    """A create of each protocol, and a body for it."""
    found = {entry["create"]: instances(entry["input"])[0] for entry in bundle.entries().values() if "create" in entry}
    face_swap = bundle.examples()["faceswap.face-swap.request"]["value"]
    return {**found, "create_task": face_swap, "legacy_create_image_toolkit": _USABLE["legacy_create_image_toolkit"]}


@cache
def _looks() -> Mapping[str, str]:
    """The operations that are about one task, and one that creates such a task."""
    protocols = bundle.document()["x-protocols"]
    entries = (entry for entry in bundle.entries().values() if "create" in entry)
    found: dict[str, str] = {protocols[entry["protocol"]]["look"]: entry["create"] for entry in entries}
    toolkit = {"legacy_fetch_image_toolkit": "legacy_create_image_toolkit"}
    return {**found, **toolkit, "get_task": "create_task", "cancel_task": "create_task"}


async def _send(
    http: httpx.AsyncClient, operation: str, body: dict[str, Any], task_id: str = "x", *, key: str = KEY
) -> httpx.Response:
    method, path = bundle.route_of(operation)
    headers = {"x-api-key": key, "authorization": f"Bearer {key}"}
    request: dict[str, Any] = {"headers": headers}
    if operation == "edit_image":
        request["files"] = {"image": ("a.png", b"a picture")}
        request["data"] = {name: str(value) for name, value in body.items() if name != "image"}
    elif "request" in bundle.components_of(operation):
        request["json"] = body
    elif bundle.query_of(operation):
        request["params"] = body
    return await http.request(method, path.replace("{task_id}", task_id), **request)
