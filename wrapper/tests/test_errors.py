"""The errors: one tree, as drawn, that survives every queue."""

from __future__ import annotations

import builtins
import copy
import inspect
import pickle
from datetime import UTC, datetime
from typing import Any

import pytest
import unitask
from unitask import Output, Task, errors
from unitask._core import refusals
from unitask._model.task_token import Fingerprint

from .script import TASK_ID, task_data

TASK = Task(task_data("failed", error={"message": "no face found"}), Output)
RUNNING = Task(task_data("processing"), Output)
API_FACTS: dict[str, Any] = {"status": 418, "code": 10000, "retry_after": 1.5, "headers": {"cf-ray": "1"}, "body": "{}"}
API_FACTS["task_id"] = TASK_ID
API_ERRORS = [errors.ApiError, errors.AuthenticationFailed, errors.InvalidRequest, errors.NotFound]
API_ERRORS += [errors.PermissionDenied]
API_ERRORS += [errors.ProviderBroken, errors.QueueFull, errors.RateLimited]
WORDS = {kind: words[0] for words, kind in errors.REASONS if not issubclass(kind, errors.ApiError)}
EXAMPLES: list[errors.UnitaskError] = [
    errors.UnitaskError("it went wrong", task_id=TASK_ID),
    errors.InvalidInput("a: too large", "b: missing"),
    errors.SubmissionUncertain(
        "no answer",
        identity=Fingerprint("m", "t", "f" * 64),
        sent_between=(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)),
    ),
    errors.Unreachable("no answer", task_id=TASK_ID),
    errors.TaskFailed(TASK),
    errors.WaitTimeout(
        TASK_ID, task=RUNNING, waited=600.04, polls=7, statuses=((0.0, "pending"), (10.0, "processing"))
    ),
    errors.DownloadFailed("cut off", url="https://out.test/a.png", task_id=TASK_ID),
    errors.WebhookRejected("its timestamp is too old", kind="time", task_id=TASK_ID),
    errors.BudgetExceeded("a task", estimate_usd=0.5, limit_usd=1.0, spent_usd=0.25, held_usd=0.5),
    *(kind("refused", **API_FACTS) for kind in API_ERRORS),
    *(reason("it went wrong", task_id=TASK_ID) for reason in WORDS),
    *(refusals.refusal_kind(500, None, words)("refused", **API_FACTS) for words in WORDS.values()),
    *(refusals.task_failed(Task(task_data("failed", error={"message": words}), Output)) for words in WORDS.values()),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: f"{type(error).__name__}-{EXAMPLES.index(error)}")
@pytest.mark.parametrize("twin", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
def test_error_survives_a_queue(error: errors.UnitaskError, twin: object) -> None:
    error = copy.copy(error)
    error.add_note("on the way")
    other = twin(error)  # type: ignore[operator]

    assert type(other) is type(error)
    assert str(other) == str(error) != ""
    assert other.args == error.args
    assert vars(other) == vars(error)


def test_every_error_is_public() -> None:
    tree = [
        name
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, Exception) and kind.__module__ == errors.__name__
    ]

    assert sorted(tree) == errors.__all__
    assert {type(error).__name__ for error in EXAMPLES} == set(tree)
    assert all(getattr(unitask, name) is getattr(errors, name) for name in errors.__all__)
    assert issubclass(errors.InvalidInput, ValueError)
    assert issubclass(errors.WaitTimeout, builtins.TimeoutError)


def test_http_status_decides_where_words_and_codes_do_not() -> None:
    statuses = {
        errors.InvalidRequest: [400, 409, 413, 415, 422],
        errors.AuthenticationFailed: [401],
        errors.PermissionDenied: [403],
        errors.InsufficientCredit: [402],
        errors.NotFound: [404, 410],
        errors.RateLimited: [429],
    }
    expected = {status: kind for kind in statuses for status in statuses[kind]}

    assert expected == errors.KIND_BY_STATUS
    assert all(issubclass(refusals.refusal_kind(status, None, ""), kind) for status, kind in expected.items())
    assert refusals.refusal_kind(418, None, "") is errors.ProviderBroken


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            EXAMPLES[2],
            "the submission of m t may have been accepted, and is not sent again: no answer. It was sent between "
            "2026-01-01 00:00:00 and 2026-01-02 00:00:00 UTC. Call error.find(client) before you submit the task "
            "again: it reads the task history",
        ),
        (
            errors.TaskFailed(Task(task_data("canceled"), Output)),
            f"task {TASK_ID} cancelled: the provider gives no reason",
        ),
        (
            EXAMPLES[5],
            f"task {TASK_ID} is not done after 600.0 s and 7 polls (status 'processing' for 590.0 s). It goes on: "
            f"client.wait({TASK_ID!r}) waits for it again",
        ),
    ],
)
def test_message_says_what_happened_and_what_to_do(error: errors.UnitaskError, message: str) -> None:
    assert str(error) == message


@pytest.mark.parametrize("reason", WORDS)
def test_reason_is_caught_however_it_comes(reason: type[errors.UnitaskError]) -> None:
    refused = refusals.refusal_kind(400, None, f"Oh: {WORDS[reason].upper()}!")("refused", status=400, code=7)
    failed = refusals.task_failed(Task(task_data("failed", error={"raw_message": WORDS[reason]}), Output))

    for error, kind in ((refused, errors.ApiError), (failed, errors.TaskFailed)):
        assert isinstance(error, reason)
        assert isinstance(error, kind)
        assert type(error).__name__ == reason.__name__
    assert (refused.status, refused.code) == (400, 7)


def test_code_tells_what_words_do_not() -> None:
    task = Task(task_data("failed", error={"code": 10003, "message": "failed to process task"}), Output)
    other = Task(task_data("failed", error={"code": 10000, "message": "failed to process task"}), Output)

    assert isinstance(refusals.task_failed(task), errors.BadInputMedia)
    assert type(refusals.task_failed(other)) is errors.TaskFailed
    # 10003 was recorded with the words of moderation (2026-08-25): words tell more
    assert issubclass(refusals.refusal_kind(400, 10003, "violated community guidelines"), errors.ContentRejected)
    for words, reason in errors.REASONS:
        assert all(issubclass(refusals.refusal_kind(500, None, word), reason) for word in words)


@pytest.mark.parametrize(
    ("error", "retryable", "next_step"),
    [
        (errors.InvalidInput("a"), False, "Correct"),
        (EXAMPLES[8], False, "Raise the limit"),
        (EXAMPLES[2], False, "error.find(client)"),
        (errors.Unreachable("no answer"), True, "Try again"),
        (errors.Unreachable("no answer", task_id=TASK_ID), False, f"client.wait({TASK_ID!r})"),
        (errors.RateLimited("slow", status=429), True, "Try again"),
        (errors.QueueFull("full", status=429), True, "tasks have ended"),
        (errors.InvalidRequest("no", status=400), False, "Change the request"),
        (errors.AuthenticationFailed("no", status=401), False, "Check the key"),
        (errors.PermissionDenied("no", status=403), False, "Check the plan"),
        (errors.ProviderBroken("no", status=302), False, "base_url"),
        (errors.ProviderBroken("no", status=500), True, "Try again"),
        (errors.ProviderBroken("no", status=500, task_id=TASK_ID), False, "client.wait"),
        (errors.TaskFailed(TASK), True, "Submit the task again"),
        (EXAMPLES[5], False, "client.wait"),
        (refusals.refusal_kind(500, None, "credit not enough")("no", status=500), False, "Top up"),
        (refusals.task_failed(TASK), False, "shows a face"),
        (errors.WebhookRejected("no", kind="form"), False, "error.status"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_error_says_what_to_do(error: errors.UnitaskError, retryable: bool, next_step: str) -> None:
    assert error.retryable is retryable
    assert next_step in error.next_step


@pytest.mark.parametrize(
    ("status", "started", "words"),
    [
        ("pending", False, "not begun; client.cancel"),
        ("Staged", False, "not begun; client.cancel"),
        ("processing", True, "(status 'processing' for 60.0 s). It goes on: client.wait"),
        (None, None, "its status is unknown"),
    ],
)
def test_timeout_tells_a_queue_from_long_work(status: str | None, started: bool | None, words: str) -> None:
    task = status and Task(task_data(status), Output)
    statuses = ((0.0, status),) if status else ()
    error = errors.WaitTimeout(TASK_ID, task=task or None, waited=60.0, polls=3, statuses=statuses)

    assert error.started is started
    assert words in str(error)
    assert ("client.cancel" in str(error)) is (started is False)


@pytest.mark.parametrize(
    ("headers", "request_id"),
    [({"cf-ray": "c", "x-request-id": "r"}, "r"), ({"cf-ray": "c", "date": "d"}, "c"), ({"date": "d"}, None)],
)
def test_request_id_is_the_most_telling_header(headers: dict[str, str], request_id: str | None) -> None:
    assert errors.NotFound("no", status=404, headers=headers).request_id == request_id
