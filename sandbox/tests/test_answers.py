"""Every operation of the spec, one after the other: what it answers, and how it refuses, is what the spec allows.

The operations and their requests are read off the bundle, so that none is forgotten; the client of these tests holds
each answer against the schema of its operation and status.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import httpx
import pytest
from unitask_sandbox import bundle, legacy
from unitask_sandbox.operations import HANDLERS

from .local import Clock, Http, HttpWith

OPERATIONS = bundle.operations()
CREATES = ("create_task", *legacy.CREATES)
WITH_BODY = [name for name, operation in OPERATIONS.items() if operation.method == "POST"]
OF_A_TASK = ("get_task", "cancel_task", *legacy.LOOKS)
RIGHT = {"x-api-key": "sandbox", "authorization": "Bearer sandbox"}
WRONG = {"x-api-key": "unknown", "authorization": "Bearer unknown"}
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"
OF_NO_CATALOGUE = "core.webhook.request"  # shows a model that no page explains
# What a field of the spec's schemas is filled with that no example shows.
VALUES: dict[str, Any] = {"string": "text", "integer": 1, "number": 1, "boolean": False, "object": {}, "array": []}
FIELDS: dict[str, Any] = {
    "file_name": "a.png",
    "file_data": "YQ==",
    "task_id": UNKNOWN_ID,
    "task_input": {"target_image": "YQ==", "swap_image": "YQ=="},
}


@pytest.fixture
def quick(http_with: HttpWith) -> Any:
    """A client of a sandbox with both kinds of key."""

    def make(**changes: Any) -> Http:
        http = http_with(fetch=no_network, **changes)
        http.headers = RIGHT
        return http

    return make


def no_network(url: str) -> bytes:
    raise OSError(url)


def bodies(name: str) -> list[Any]:
    """The documented requests of an operation; the least that its schema allows where there is none."""
    examples = [
        example for key, example in bundle.document()["components"]["examples"].items() if key != OF_NO_CATALOGUE
    ]
    shown = [
        example["value"] for example in examples if (example["x-operation"], example["x-part"]) == (name, "request")
    ]
    component = OPERATIONS[name].body
    if shown or component is None:
        return [{key: value for key, value in body.items() if key != "stream"} for body in shown]
    return [least(bundle.component(component))]


def least(schema: dict[str, Any]) -> dict[str, Any]:
    fields = {name: schema["properties"][name] for name in schema.get("required", [])}
    return {name: FIELDS.get(name, rule.get("enum", [VALUES[rule["type"]]])[0]) for name, rule in fields.items()}


def ask(http: Http, name: str, task_id: str = UNKNOWN_ID, **request: Any) -> httpx.Response:
    """A request of an operation: as it should be, but for what is given."""
    operation = OPERATIONS[name]
    if operation.body and not request.keys() & {"json", "content", "data"}:
        body = bodies(name)[0]
        request["json"] = {**body, "task_id": task_id} if name in legacy.LOOKS else body
    if name == "edit_image" and not request.keys() & {"content", "files"}:
        request.update(data={"model": "m", "prompt": "p"}, files={"image": b"picture"})
    query = {part["name"]: 1 for part in operation.parameters if part["in"] == "query" and part.get("required")}
    return http(operation.method, operation.path.replace("{task_id}", task_id), params=query, **request)


def new_task(http: Http, name: str) -> str:
    """The id of a task that an operation can look at, or cancel."""
    protocol = legacy.LOOKS.get(name)
    create = next((made for made, (of, *_) in legacy.CREATES.items() if of == protocol), "create_task")
    answer = ask(http, create).json()
    task_id: str = answer.get("data", answer)["task_id"]
    return task_id


def test_every_operation_has_a_handler() -> None:
    """None of the spec is answered 501."""
    assert HANDLERS.keys() == OPERATIONS.keys()


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name not in OF_A_TASK])
def test_operation_does_every_documented_request(quick: Any, name: str) -> None:
    """Each is answered 200, as the spec has it."""
    http: Http = quick(keys={"sandbox": 1e6})
    answers = [ask(http, name, json=body) for body in bodies(name)] or [ask(http, name)]

    assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]


@pytest.mark.parametrize("name", OF_A_TASK)
def test_operation_on_a_task_answers_in_every_state(quick: Any, name: str, clock: Clock) -> None:
    """Of a pending task, of one that is processed, and of one that has failed or is done."""
    http: Http = quick(speed="real")
    task_id = new_task(http, name)
    seen = [ask(http, name, task_id).status_code]
    http.sandbox._store.start(task_id, 0)
    seen.append(ask(http, name, task_id).status_code)
    clock.now += 1e6
    http.sandbox.advance()
    seen.append(ask(http, name, task_id).status_code)

    assert seen == ([200, 400, 400] if name == "cancel_task" else [200] * 3)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("headers", [{}, WRONG], ids=["no key", "wrong key"])
def test_operation_refuses_a_bad_key(quick: Any, name: str, headers: dict[str, str]) -> None:
    """With 401, whatever else is wrong with the request."""
    http: Http = quick()
    for request in ({}, {"content": b"no JSON"}) if name in WITH_BODY else ({},):
        assert ask(http, name, headers=headers, **request).status_code == 401


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_keeps_the_rate(quick: Any, name: str) -> None:
    """One request too many is 429, and says when the next may come."""
    http: Http = quick(rate=0.5, keys={"sandbox": 1e6})
    first, second = (ask(http, name) for _ in range(2))

    assert first.status_code != 429
    assert (second.status_code, second.headers["retry-after"]) == (429, "2")


@pytest.mark.parametrize("name", WITH_BODY)
@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"target_image=x&swap_image=y"],
    ids=["nothing", "half", "a list", "null", "a form"],
)
def test_operation_refuses_a_body_that_is_none(quick: Any, name: str, content: bytes) -> None:
    """With 400, whatever its content type says: no source tells what the provider thinks of the header."""
    answer = ask(quick(), name, content=content, headers={**RIGHT, "content-type": "application/x-www-form-urlencoded"})

    assert answer.status_code == 400


@pytest.mark.parametrize("name", WITH_BODY)
def test_operation_refuses_a_body_that_is_too_large(quick: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 413."""
    monkeypatch.setattr("unitask_sandbox.middleware.LARGEST_BODY", 9)

    assert ask(quick(), name, content=b" " * 10).status_code == 413


REQUIRED = [
    (name, field)
    for name, operation in OPERATIONS.items()
    if operation.body
    for field in bundle.component(operation.body).get("required", [])
]


@pytest.mark.parametrize(("name", "field"), REQUIRED)
def test_operation_refuses_a_body_that_lacks_something(quick: Any, name: str, field: str) -> None:
    """With 400, and the name of what is missing."""
    body = bodies(name)[0]
    answer = ask(quick(), name, json={key: value for key, value in body.items() if key != field})

    assert answer.status_code == 400
    assert f"'{field}' is a required property" in answer.text


@pytest.mark.parametrize("name", OF_A_TASK)
def test_operation_does_not_find_a_task_that_is_not_there(quick: Any, name: str) -> None:
    """With 404."""
    assert ask(quick(), name).status_code == 404


@pytest.mark.parametrize("name", CREATES)
def test_create_without_credit_is_refused(quick: Any, name: str) -> None:
    """As recorded: HTTP 500 with a failed task; what costs nothing, as far as is known, is done."""
    answer = ask(quick(keys={"sandbox": 0.0}), name)
    costs = name in ("create_task", "legacy_create_face_swap")

    assert answer.status_code == (500 if costs else 200), answer.text
    assert not costs or answer.json()["data"]["status"] == "failed"


@pytest.mark.parametrize("name", CREATES)
def test_create_over_the_limit_is_refused_or_staged(quick: Any, name: str) -> None:
    """With 429; one of Midjourney is staged, fifty times."""
    http: Http = quick(concurrency=1)
    statuses = [ask(http, name).status_code for _ in range(52 if "_mj_" in name else 2)]

    assert statuses[-1] == 429
    assert set(statuses[:-1]) == {200}


@pytest.mark.parametrize("name", OPERATIONS)
def test_bug_of_the_sandbox_is_answered_in_form(quick: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unforeseen error is a 500, whose body is as the spec has it."""

    async def broken(_request: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr("unitask_sandbox.app.HANDLERS", {name: broken})
    monkeypatch.setattr(httpx, "ASGITransport", partial(httpx.ASGITransport, raise_app_exceptions=False))

    assert ask(quick(), name).status_code == 500
