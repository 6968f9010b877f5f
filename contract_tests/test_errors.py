"""Error handling: every shape a refusal is known in, and every shape it could take, under every HTTP status."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unitask import errors

from .support import (
    FACE_SWAP,
    TASK_ID,
    Reply,
    answer,
    component,
    envelope,
    examples,
    json_values,
    perform,
    tries,
)

RECORDED = examples("default")["core.no-credit.create.500"]["value"]
# body of a refusal -> the words that the error must show. Sources: facts of 2026-11, section 3.
SHAPES: dict[str, tuple[Any, str]] = {
    "recorded, with the failed task": (RECORDED, "account credit not enough"),
    "message and code": ({"code": 400, "message": "Invalid request parameters"}, "Invalid request parameters"),
    "message, code and no data": ({"code": 403, "message": "Insufficient plan level", "data": None}, "plan level"),
    "wrong key": ({"code": 401, "message": "failed to verify api key"}, "failed to verify api key"),
    "input too large": ({"code": 400, "message": "task input is too large"}, "task input is too large"),
    "frozen point": ({"code": 500, "message": "failed to freeze point", "data": {}}, "failed to freeze point"),
    "not JSON, says the worker": (
        {"code": 500, "message": "No number after minus sign in JSON", "data": None},
        "minus",
    ),
    "task not found": ({"code": 404, "message": "task not found"}, "task not found"),
    "html": (b"<!DOCTYPE html><title>502 Bad Gateway</title>", "502 Bad Gateway"),
    "truncated JSON": (json.dumps(RECORDED).encode()[:15], "code"),
    "empty": (b"", "an empty body"),
    "null": (None, "null"),
    "list": ([1, 2], "[1, 2]"),
    "a gateway's own JSON": ({"error": "upstream connect error"}, "upstream connect error"),
    "numbers for words": ({"code": "500", "message": 7, "data": [{}]}, "7"),
}
KINDS = {
    400: errors.InvalidRequest,
    401: errors.AuthenticationFailed,
    402: errors.InsufficientCredit,
    403: errors.PermissionDenied,
    404: errors.NotFound,
    422: errors.InvalidRequest,
    429: errors.RateLimited,
}
GATEWAYS = (408, 499, 502, 503, 504, *range(520, 528))


def named_task(body: Any) -> tuple[str | None, bool]:
    data = body.get("data") if isinstance(body, dict) else None
    task = data if isinstance(data, dict) else {}
    named, status = task.get("task_id"), task.get("status")
    is_id = isinstance(named, str) and bool(named.strip())
    return named if is_id else None, isinstance(status, str) and status.strip().casefold() == "failed"


def is_envelope(body: Any) -> bool:
    known = isinstance(body, dict) and isinstance(body.get("code"), int)
    return known and ("data" in body or "message" in body)


@pytest.mark.parametrize(("body", "words"), SHAPES.values(), ids=SHAPES.keys())
def test_refused_create_is_decided_or_uncertain_and_sent_once(body: Any, words: str) -> None:
    for status in (301, 400, 401, 404, 500, 502, 504, 520, 522):
        trace = perform("sync", lambda client: client.submit(FACE_SWAP), creates=[answer(status, body)])

        assert trace.creates() == 1
        if status in GATEWAYS or (status >= 500 and not is_envelope(body)):
            assert type(trace.error) is errors.SubmissionUncertain
            assert words in f"{trace.error} {trace.error.body}"
        else:
            assert isinstance(trace.error, errors.ApiError)
            assert words in str(trace.error)
            assert trace.error.status == status


@pytest.mark.parametrize(("status", "kind"), KINDS.items())
def test_refusal_has_the_kind_of_its_status(status: int, kind: type[errors.ApiError]) -> None:
    """What a program would do differently is a class of its own."""
    trace = perform(
        "sync", lambda client: client.cancel("t"), looks=[answer(status, {"message": "no"})], poll_patience=1
    )

    assert type(trace.error).__name__ == kind.__name__
    assert isinstance(trace.error, kind)


@pytest.mark.parametrize("words", ["account credit not enough", "failed to freeze credit", "failed to freeze point"])
def test_lack_of_credit_is_told_by_its_words(words: str) -> None:
    """It is recorded as HTTP 500, so the status does not tell it."""
    body = {"code": 500, "message": "failed to pre-process task runtime", "data": {"error": {"raw_message": words}}}
    trace = perform("sync", lambda client: client.submit(FACE_SWAP), creates=[answer(500, body)])

    assert isinstance(trace.error, errors.InsufficientCredit)


@settings(max_examples=tries(100))
@given(status=st.integers(300, 599), body=st.one_of(json_values, st.binary(max_size=60), component("ErrorEnvelope")))
def test_any_refusal_of_a_create_ends_typed_and_is_never_sent_twice(status: int, body: Any) -> None:
    trace = perform("sync", lambda client: client.submit(FACE_SWAP), creates=[answer(status, body)])
    named, has_failed = named_task(body)

    assert trace.creates() == (4 if status == 429 and named is None else 1)
    if trace.error is None:
        assert (trace.result.id, has_failed) == (named, False)
    else:
        assert isinstance(trace.error, errors.ApiError | errors.SubmissionUncertain)
        assert trace.error.task_id == named
        assert named is None or has_failed or status in GATEWAYS


@settings(max_examples=tries(100))
@given(status=st.integers(200, 599), body=st.one_of(json_values, st.binary(max_size=60), component("ErrorEnvelope")))
def test_any_answer_to_a_look_ends_typed_with_the_id(status: int, body: Any) -> None:
    trace = perform(
        "sync", lambda client: client.wait(TASK_ID, timeout=30), looks=[answer(status, body)], poll_patience=5
    )

    assert trace.error is not None
    assert trace.error.task_id == TASK_ID


@pytest.mark.parametrize(
    ("asked", "slept"), [("7", 7.0), ("0", 0.5), ("9999", 120.0)], ids=["as asked", "floor", "cap"]
)
def test_rate_limited_create_waits_as_asked(asked: str, slept: float) -> None:
    limited = answer(429, {"code": 429, "message": "too many requests"}, **{"retry-after": asked})
    trace = perform(
        "sync", lambda client: client.submit(FACE_SWAP), creates=[limited, answer(200, envelope("pending"))]
    )

    assert trace.error is None
    assert trace.sleeps == [slept]


@settings(max_examples=tries(40))
@given(troubles=st.lists(st.sampled_from([502, 503, 520, 429, "cut"]), max_size=4))
def test_troubled_looks_do_not_end_a_wait(troubles: list[int | str]) -> None:
    replies: list[Reply] = [
        httpx.ReadError("cut") if trouble == "cut" else answer(int(trouble), b"<html>") for trouble in troubles
    ]
    trace = perform("sync", lambda client: client.wait(TASK_ID), looks=[*replies, answer(200, envelope("completed"))])

    assert trace.error is None
    assert trace.result.done
