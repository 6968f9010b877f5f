"""Every request that the client sends is one that the spec describes, with a body that its schema allows."""

from urllib.parse import parse_qs, urlsplit

import pytest
from unitask import tasks
from unitask_api import contract
from unitask_contract.bundle import components_of, operation_of, operations, validator

from .support import FACE_SWAP, KEY, TASK_ID, Call, answer, envelope, perform, rows

CONFIG = {"webhook_url": "https://me.test/hook", "webhook_secret": "a secret", "service_mode": "private"}
EXTRA = tasks.FaceSwap(target_image="https://me.test/a.PNG", swap_image="https://me.test/b.webp", extra={"x": [1]})
EMPTY_PAGE = {"data": {"data": [], "total": 0}}
CALLS: dict[str, Call] = {
    "submit": lambda client: client.submit(FACE_SWAP),
    "submit with a config and an extra field": lambda client: client.submit(EXTRA, **CONFIG),
    "get": lambda client: client.get(TASK_ID),
    "cancel": lambda client: client.cancel(TASK_ID),
    "cancel_many": lambda client: client.cancel_many(created_before=1_700_000_000),
    "cancel_many of a model": lambda client: client.cancel_many(created_before=1_700_000_000.9, group="kling"),
    "wait": lambda client: client.wait(TASK_ID),
    "account": lambda client: client.account(),
    "active_tasks": lambda client: client.active_tasks(),
    "history": lambda client: rows(client.history()),
    "history of a time": lambda client: rows(client.history(group="kling", start=1.7e9, end=1.8e9, page_size=7)),
    "upload": lambda client: client.upload(b"ID3"),
}
ANSWERS = {
    "active_tasks": {"data": {"kling": {"pending_count": 1}}},
    "history": EMPTY_PAGE,
    "history of a time": EMPTY_PAGE,
    "upload": {"data": {"url": "https://img.test/1.png"}},
}


@pytest.mark.parametrize("name", CALLS)
def test_request_is_documented(name: str) -> None:
    reply = answer(200, ANSWERS.get(name, {**envelope("completed"), "message": "done"}))
    trace = perform("sync", CALLS[name], submissions=[reply], polls=[reply])

    assert trace.error is None
    ((method, target, body),), (headers,) = trace.requests, trace.headers
    parts = urlsplit(target)
    operation = operation_of(method, parts.path)
    declared = {parameter["name"]: parameter for parameter in operations()[operation].get("parameters", [])}
    sent = parse_qs(parts.query, keep_blank_values=True)
    assert headers["x-api-key"] == KEY
    assert sent.keys() <= declared.keys(), operation
    assert {name for name, parameter in declared.items() if parameter.get("required")} <= sent.keys()
    if schema := components_of(operation).get("request"):
        assert headers["content-type"] == "application/json"
        assert list(validator(schema).iter_errors(body)) == []
        for entry in contract.named(body.get("model"), body.get("task_type")):
            assert list(validator(entry.input).iter_errors(body["input"])) == []
    else:
        assert body is None
