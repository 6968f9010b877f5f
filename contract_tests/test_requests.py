"""Every request that the client sends is one that the spec describes, with a body that its schema allows."""

from __future__ import annotations

import base64
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unitask import tasks
from unitask_contract.bundle import components_of, entries_of, operation_of, operations

from .support import KEY, TASK_ID, Call, Trace, answer, envelope, perform, rows, tries, validator

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==")
names = st.from_regex(r"[a-z0-9]{1,12}", fullmatch=True)
urls = st.builds("https://{}.test/{}.{}".format, names, names, st.sampled_from(["jpg", "jpeg", "png", "webp", "PNG"]))
pictures = urls | st.just(PNG) | st.just("data:image/png;base64," + base64.b64encode(PNG).decode())
extra = st.dictionaries(names.map("x_{}".format), st.integers() | st.text(max_size=5), max_size=2)
face_swaps = st.builds(tasks.FaceSwap, target_image=pictures, swap_image=pictures, extra=extra)
configs = st.fixed_dictionaries(
    {},
    optional={
        "webhook_url": urls,
        "webhook_secret": st.text("abcdef", min_size=1, max_size=9),
        "service_mode": st.sampled_from(["public", "private", ""]),
    },
)


def assert_documented(trace: Trace) -> None:
    for (method, target, body), headers in zip(trace.requests, trace.headers, strict=True):
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
            for entry in entries_of(body.get("model"), body.get("task_type")):
                assert list(validator(entry["input"]).iter_errors(body["input"])) == []
        else:
            assert body is None


@settings(max_examples=tries(60))
@given(task=face_swaps, config=configs)
def test_create_request_is_documented_and_complete(task: tasks.FaceSwap, config: dict[str, str]) -> None:
    check_submission(task, config)


def check_submission(task: tasks.FaceSwap, config: dict[str, str]) -> None:
    trace = perform("sync", lambda client: client.submit(task, **config), creates=[answer(200, envelope("pending"))])

    assert_documented(trace)
    ((_, _, body),) = trace.requests
    assert body["input"].keys() == {"target_image", "swap_image", *task.extra}
    assert ("config" in body) == bool(config)
    for name in ("target_image", "swap_image"):
        given_picture, sent = getattr(task, name), body["input"][name]
        assert base64.b64decode(sent) == PNG if isinstance(given_picture, bytes) else sent == given_picture


EMPTY_PAGE = {"data": {"data": [], "total": 0}}
DONE = {**envelope("completed"), "message": "done"}
CALLS: dict[str, Call] = {
    "get": lambda client: client.get(TASK_ID),
    "cancel": lambda client: client.cancel(TASK_ID),
    "cancel_many": lambda client: client.cancel_many(created_before=1_700_000_000),
    "cancel_many of a group": lambda client: client.cancel_many(created_before=1_700_000_000.9, group="kling"),
    "wait": lambda client: client.wait(TASK_ID),
    "account": lambda client: client.account(),
    "active_tasks": lambda client: client.active_tasks(),
    "history": lambda client: rows(client.history()),
    "history of a time": lambda client: rows(client.history(group="kling", start=1.7e9, end=1.8e9, page_size=7)),
    "upload": lambda client: client.upload(PNG),
}
ANSWERS = {
    "active_tasks": {"data": {"kling": {"pending_count": 1}}},
    "history": EMPTY_PAGE,
    "history of a time": EMPTY_PAGE,
    "upload": {"data": {"url": "https://img.test/1.png"}},
}


@pytest.mark.parametrize("name", CALLS)
def test_every_other_call_is_documented(name: str) -> None:
    reply = answer(200, ANSWERS.get(name, DONE))
    trace = perform("sync", CALLS[name], creates=[reply], looks=[reply])

    assert trace.error is None
    assert len(trace.requests) == 1
    assert_documented(trace)
