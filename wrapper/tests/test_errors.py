"""The errors: which one is raised for which words, codes and statuses, what it advises, and that it pickles."""

import builtins
import copy
import inspect
import pickle
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
import unitask
from unitask import Output, Task, errors
from unitask._core import envelope
from unitask._model.task_token import Fingerprint

from .script import TASK_ID, task_data


def failed(**error: Any) -> Task[Output]:
    return Task(task_data("failed", error=error), Output)


# As recorded, or as published clients read them; written out, since a lost word is a wrong branch in a program.
WORDS = {
    "account credit not enough": errors.InsufficientCredit,
    "Failed to freeze point": errors.InsufficientCredit,
    "prompt rejected by moderation": errors.ContentRejected,
    "Banned Prompt: x": errors.ContentRejected,
    "no face found in the image": errors.NoFaceFound,
    "failed to get valid image": errors.BadInputMedia,
    "Invalid Video URL": errors.BadInputMedia,
    "video resolution 2000x2000": errors.BadInputMedia,
    "image size too large": errors.BadInputMedia,
    "file size too large, maximum is 10MB": errors.BadInputMedia,
    "task input is too large": errors.BadInputMedia,
    "unsupported image format": errors.BadInputMedia,
}
REASONS = {kind: words for words, kind in WORDS.items()}
FACTS: dict[str, Any] = {"status": 418, "code": 10000, "retry_after": 1.5, "headers": {"cf-ray": "1"}, "body": "{}"}
API_ERRORS = [errors.ApiError, errors.AuthenticationFailed, errors.InvalidRequest, errors.NotFound]
API_ERRORS += [errors.PermissionDenied, errors.ProviderBroken, errors.QueueFull, errors.RateLimited]
JAN = datetime(2026, 1, 1, tzinfo=UTC)
UNCERTAIN = errors.SubmissionUncertain(
    "no answer", identity=Fingerprint("m", "t", "f" * 64), sent_between=(JAN, JAN.replace(day=2))
)
TIMEOUT = errors.WaitTimeout(
    TASK_ID,
    task=Task(task_data("processing"), Output),
    waited=600.04,
    polls=7,
    statuses=((0.0, "pending"), (10.0, "processing")),
)
OVER = errors.BudgetExceeded("a task", estimate_usd=0.5, limit_usd=1.0, spent_usd=0.25, held_usd=0.5)
EXAMPLES: list[errors.UnitaskError] = [
    errors.UnitaskError("it went wrong", task_id=TASK_ID),
    errors.InvalidInput("a: too large", "b: missing"),
    *(UNCERTAIN, TIMEOUT, OVER),
    errors.Unreachable("no answer", task_id=TASK_ID),
    errors.JournalError("the disk is full"),
    errors.TaskFailed(failed(message="x")),
    errors.DownloadFailed("cut off", url="https://out.test/a.png", task_id=TASK_ID),
    errors.WebhookRejected("its timestamp is too old", kind="time", task_id=TASK_ID),
    *(kind("refused", task_id=TASK_ID, **FACTS) for kind in API_ERRORS),
    *(reason("it went wrong", task_id=TASK_ID) for reason in REASONS),
    *(envelope.refusal_kind(500, None, words)("refused", task_id=TASK_ID, **FACTS) for words in REASONS.values()),
    *(envelope.task_failed(failed(message=words)) for words in REASONS.values()),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: f"{type(error).__name__}-{EXAMPLES.index(error)}")
@pytest.mark.parametrize("twin", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
def test_error_pickles_with_all_its_facts(error: errors.UnitaskError, twin: Any) -> None:
    noted = copy.copy(error)
    noted.add_note("on the way")
    other = twin(noted)

    assert type(other) is type(error)
    assert str(other) == str(error) != ""
    assert other.args == error.args
    assert vars(other) == vars(noted) == {**vars(error), "__notes__": ["on the way"]}


def test_every_error_is_public() -> None:
    tree = {name for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, Exception)}

    assert sorted(tree) == errors.__all__
    assert {type(error).__name__ for error in EXAMPLES} == tree
    assert all(getattr(unitask, name) is getattr(errors, name) for name in errors.__all__)
    assert issubclass(errors.InvalidInput, ValueError)
    assert issubclass(errors.WaitTimeout, builtins.TimeoutError)


@pytest.mark.parametrize(("words", "reason"), WORDS.items())
def test_reason_of_a_refusal_and_of_a_failed_task_is_caught(words: str, reason: type[errors.UnitaskError]) -> None:
    refused = envelope.refusal_kind(400, None, f"Oh: {words.upper()}!")("refused", status=400, code=7)
    ended = envelope.task_failed(failed(raw_message=words))

    for error, kind in ((refused, errors.ApiError), (ended, errors.TaskFailed)):
        assert isinstance(error, reason)
        assert isinstance(error, kind)
        assert type(error).__name__ == reason.__name__
    assert (refused.status, refused.code) == (400, 7)


def test_code_decides_where_words_do_not() -> None:
    assert isinstance(envelope.task_failed(failed(code=10003, message="failed to process task")), errors.BadInputMedia)
    assert type(envelope.task_failed(failed(code=10000, message="failed to process task"))) is errors.TaskFailed
    assert type(envelope.task_failed(failed(message="the queue is full"))) is errors.TaskFailed  # not a refusal
    # 10003 was recorded with the words of moderation (2026-08-25)
    assert issubclass(envelope.refusal_kind(400, 10003, "violated community guidelines"), errors.ContentRejected)


def test_http_status_decides_where_words_and_codes_do_not() -> None:
    expected = {
        **dict.fromkeys([400, 409, 413, 415, 422], errors.InvalidRequest),
        401: errors.AuthenticationFailed,
        402: errors.InsufficientCredit,
        403: errors.PermissionDenied,
        **dict.fromkeys([404, 410], errors.NotFound),
        429: errors.RateLimited,
    }

    assert expected == errors.KIND_BY_STATUS
    assert all(issubclass(envelope.refusal_kind(status, None, ""), kind) for status, kind in expected.items())
    assert envelope.refusal_kind(418, None, "") is errors.ProviderBroken


@pytest.mark.parametrize(
    ("error", "retryable", "next_step"),
    [
        (errors.InvalidInput("a"), False, "Correct"),
        (OVER, False, "Raise the limit"),
        (UNCERTAIN, False, "error.find(client)"),
        (errors.Unreachable("no answer"), True, "Try again"),
        (errors.Unreachable("no answer", task_id=TASK_ID), False, f"client.wait({TASK_ID!r})"),
        (errors.RateLimited("slow", status=429), True, "Try again"),
        (errors.QueueFull("full", status=429), True, "tasks have ended"),
        (errors.InvalidRequest("no", status=400), False, "Change the request"),
        (errors.AuthenticationFailed("no", status=401), False, "Check the key"),
        (errors.PermissionDenied("no", status=403), False, "Check the plan"),
        (errors.ProviderBroken("no", status=500), True, "Try again"),
        (errors.ProviderBroken("no", status=500, task_id=TASK_ID), False, "client.wait"),
        (errors.TaskFailed(failed(message="x")), True, "Submit the task again"),
        (TIMEOUT, False, "client.wait"),
        (envelope.refusal_kind(500, None, "credit not enough")("no", status=500), False, "Top up"),
        (envelope.task_failed(failed(message="no face found")), False, "shows a face"),
        (errors.WebhookRejected("no", kind="form"), False, "error.status"),
        (errors.JournalError("full"), False, "start the job again with the same journal"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_error_says_whether_to_retry_and_what_next(error: errors.UnitaskError, retryable: bool, next_step: str) -> None:
    assert error.retryable is retryable
    assert next_step in error.next_step


def test_error_of_a_redirect_points_to_the_base_url() -> None:
    found = [errors.ProviderBroken("no", status=status) for status in (300, 399, 400)]

    assert [error.next_step == "Check base_url: a redirect is not followed" for error in found] == [True, True, False]
    assert [error.retryable for error in found] == [False, False, True]


def test_class_line_is_a_row_of_the_table_of_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    for table, empty in {"REASONS": list[Any](), "KIND_BY_CODE": {}, "KIND_BY_STATUS": {}, "_COMBINED": {}}.items():
        monkeypatch.setattr(errors, table, empty)

    class Odd(errors.UnitaskError, words=("odd", "uneven"), codes=(1, 3), statuses=(5, 7), next_step="Make it even"):
        """It is odd."""

    slow = type("Slow", (errors.RateLimited,), {})
    made, again = (errors.combined(errors.ApiError, Odd) for _ in range(2))
    assert [(("odd", "uneven"), Odd)] == errors.REASONS
    assert ({1: Odd, 3: Odd}, {5: Odd, 7: Odd}) == (errors.KIND_BY_CODE, errors.KIND_BY_STATUS)
    assert (Odd.usual_next_step, Odd.usually_retryable) == ("Make it even", False)
    assert (slow.usual_next_step, slow.usually_retryable) == ("Try again later", True)
    assert made is again
    assert (made.__module__, made.__doc__, made._parts) == (errors.__name__, "It is odd.", (errors.ApiError, Odd))


def test_message_says_what_happened() -> None:
    assert str(errors.InvalidInput("a: too large", "b: missing")) == "a: too large; b: missing"
    assert str(errors.DownloadFailed("cut off", url="https://out.test/a.png")) == "cut off"
    odd = errors.SubmissionUncertain("It says FAX.", identity=UNCERTAIN.identity, sent_between=UNCERTAIN.sent_between)
    assert "is not sent again: It says FAX. It was sent between" in str(odd)
    for fact in ("may have been accepted", "2026-01-01 00:00:00 and 2026-01-02 00:00:00 UTC", "error.find(client)"):
        assert fact in str(UNCERTAIN)
    for fact in (TASK_ID, "not done after 600.0 s and 7 polls", "'processing' for 590.0 s", f"wait({TASK_ID!r})"):
        assert fact in str(TIMEOUT)
    assert "cancelled: the provider gives no reason" in str(errors.TaskFailed(Task(task_data("canceled"), Output)))


NOT_BEGUN = f", not begun; client.cancel({TASK_ID!r}) would end it"


@pytest.mark.parametrize(
    ("status", "since", "polls", "started", "story"),
    [
        ("pending", 0.0, "1 poll", False, f"status 'pending' for 60.0 s{NOT_BEGUN}"),
        ("Staged", 10.0, "2 polls", False, f"status 'Staged' for 50.0 s{NOT_BEGUN}"),
        ("processing", None, "3 polls", True, "status 'processing' for 60.0 s"),
        (None, None, "3 polls", None, "its status is unknown"),
    ],
)
def test_timeout_distinguishes_a_queue_from_long_work(
    status: str | None, since: float | None, polls: str, started: bool | None, story: str
) -> None:
    task = Task(task_data(status), Output) if status else None
    statuses = () if status is None or since is None else ((since, status),)
    error = errors.WaitTimeout(TASK_ID, task=task, waited=60.0, polls=int(polls[0]), statuses=statuses)

    assert (error.task_id, error.attempts, error.started) == (TASK_ID, error.polls, started)
    assert str(error).startswith(f"task {TASK_ID} is not done after 60.0 s and {polls} ({story}). It goes on: ")


def test_uncertain_error_finds_its_task_within_the_given_time() -> None:
    client = SimpleNamespace(find=lambda error, *, timeout: (error, timeout))

    assert UNCERTAIN.find(client, timeout=5) == (UNCERTAIN, 5)
    assert UNCERTAIN.find(client) == (UNCERTAIN, None)


@pytest.mark.parametrize(
    ("headers", "request_id"),
    [({"cf-ray": "c", "x-request-id": "r"}, "r"), ({"cf-ray": "c", "date": "d"}, "c"), ({"date": "d"}, None)],
)
def test_request_id_is_that_of_the_api_or_of_the_gateway(headers: dict[str, str], request_id: str | None) -> None:
    error = errors.NotFound("no", status=404, headers=headers)
    assert (error.request_id, error.body) == (request_id, "")
