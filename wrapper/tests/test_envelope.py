"""What an HTTP answer means: a task, a refusal, or neither."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unitask import errors
from unitask._core import envelope
from unitask._core.effects import Response
from unitask._model.task import Output, Task
from unitask.tasks import FaceSwapOutput

from .script import GATEWAY, TASK_ID, answer, refused, seen, task_data

EXAMPLES = Path(__file__).resolve().parents[2] / "spec" / "examples"
NO_CREDIT = json.loads((EXAMPLES / "core" / "no-credit.create.500.json").read_text())["value"]
COMPLETED = json.loads((EXAMPLES / "faceswap" / "face-swap.completed.200.json").read_text())["value"]
SECRET = "a webhook secret, in clear"

TASKS: dict[str, Response] = {
    "the documented form": seen(),
    "a finished face swap": answer(200, COMPLETED),
    "another success": answer(201, {"data": task_data()}),
    "the webhook form": answer(200, {"timestamp": 1_700_000_000, "data": task_data()}),
    "code and message of other types": answer(200, {"code": "200", "message": None, "data": task_data()}),
    "a failed task": seen("failed", error={"code": 10000, "message": "failed to process task"}),
    "an error object without an error": seen(error={"code": 0, "raw_message": "", "message": "", "detail": None}),
    "an unknown word": seen("Hibernating"),
    "no status at all": answer(200, {"data": {"task_id": TASK_ID}}),
    "everything null": seen(None, input=None, output=None, meta=None, logs=None, error=None, config=None, detail=None),
    "everything of another type": seen(7, input=[], output="x", meta=3, logs={}, error="e", config=[], detail=1.5),
    "a huge number": answer(200, json.dumps({"data": task_data(detail=10**4000)}).encode()),
    "not a number": answer(200, b'{"data": {"task_id": "%s", "detail": NaN}}' % TASK_ID.encode()),
    "a key twice": answer(200, b'{"data": null, "data": {"task_id": "x", "task_id": "%s"}}' % TASK_ID.encode()),
    "a byte order mark": answer(200, b"\xef\xbb\xbf" + json.dumps({"data": task_data()}).encode()),
    "another content type": answer(200, {"data": task_data()}, content_type="text/html"),
}
# What stands beside the id must not hide it: the task may be paid for.
DAMAGED: dict[str, bytes] = {
    "a byte that is not UTF-8": b'{"data": {"task_id": "x", "prompt": "caf\xe9"}}',
    "an integer that int() refuses": b'{"data": {"task_id": "x", "n": ' + b"9" * 5000 + b"}}",
    "a comment after the object": b'{"data": {"task_id": "x"}}<!-- proxy -->',
    "blank lines before the object": b'\r\n \n{"data": {"task_id": "x"}}',
}
# The id is in it, but it cannot be told what else was meant.
NAMED_ONLY: dict[str, bytes] = {
    "cut off after the id": b'{"code": 200, "data": {"task_id":"x", "mod',
    "nested too deeply": b'{"data": {"task_id": "x", "n": ' + b"[" * 500 + b"]" * 500 + b"}}",
    "in a page": b'<html><pre>{"task_id" : "x"}</pre>',
}
UNREADABLE: dict[str, bytes] = {
    "nothing": b"",
    "HTML": b"<!DOCTYPE html><title>Just a moment</title>",
    "truncated JSON": json.dumps(COMPLETED).encode()[:90],
    "not UTF-8": b'{"data": {"task_id": "\xff\xfe"}}',
    "null": b"null",
    "a string": b'"completed"',
    "a number": b"200",
    "a list": b'[{"data": {"task_id": "x"}}]',
    "deep nesting": b'{"data":' * 100_000,
    "an empty object": b"{}",
    "null for data": b'{"code": 200, "data": null, "message": "success"}',
    "a list for data": b'{"code": 200, "data": [{"task_id": "x"}]}',
    "no id": b'{"code": 200, "data": {"status": "pending"}}',
    "a null id": b'{"code": 200, "data": {"task_id": null}}',
    "an empty id": b'{"code": 200, "data": {"task_id": ""}}',
    "a blank id": b'{"code": 200, "data": {"task_id": " \\t\\n"}}',
    "a number for the id": b'{"code": 200, "data": {"task_id": 7}}',
    "the id in the wrong place": b'{"code": 200, "task_id": "x"}',
}


def read(reply: Response, *, created: bool = True) -> Any:
    """Read the answer to a submission of a face swap, or to a poll of one."""
    return envelope.read_task(reply, FaceSwapOutput, created=created)


@pytest.mark.parametrize("reply", TASKS.values(), ids=TASKS.keys())
def test_success_with_a_task_id_is_a_task(reply: Response) -> None:
    """All that a task needs is its id; whatever else the body holds is kept as it is."""
    task = read(reply)

    assert isinstance(task, Task)
    assert task.id == json.loads(reply.body)["data"]["task_id"]
    assert task.output_type is FaceSwapOutput


@pytest.mark.parametrize("body", DAMAGED.values(), ids=DAMAGED.keys())
def test_damage_beside_the_id_does_not_hide_it(body: bytes) -> None:
    assert read(answer(200, body)).id == "x"


@pytest.mark.parametrize("status", [200, 502])
@pytest.mark.parametrize("body", NAMED_ONLY.values(), ids=NAMED_ONLY.keys())
def test_answer_that_cannot_be_read_keeps_the_id_that_it_names(status: int, body: bytes) -> None:
    found = read(answer(status, body))

    assert isinstance(found, envelope.Unreadable)
    assert found.error.task_id == "x"


def test_answer_that_is_cut_off_keeps_the_id_that_it_names() -> None:
    whole = seen()
    found = read(dataclasses.replace(whole, broken="the connection broke"))

    assert isinstance(found, envelope.Unreadable)
    assert found.error.task_id == TASK_ID
    assert "HTTP 200, and the connection broke" in found.reason


@pytest.mark.parametrize("status", [200, 201, 302, 400, 403, 404, 409, 429, 500, 501])
@pytest.mark.parametrize("word", ["pending", "staged", "Processing", "completed", "new word", "", None])
def test_submission_whose_answer_names_a_task_was_accepted(status: int, word: object) -> None:
    body = {"code": status, "message": "the queue is full", "data": task_data(word)}

    assert read(answer(status, body)).id == TASK_ID


@pytest.mark.parametrize("status", [302, 303, 307])
def test_redirect_that_names_a_task_is_uncertain(status: int) -> None:
    found = read(answer(status, b"", location="/api/v1/task/id-1234"))

    assert isinstance(found, envelope.Unreadable)
    assert found.error.task_id == "id-1234"


@pytest.mark.parametrize("status", [408, 499, 502, 503, 504, 520, 521, 522, 523, 524, 525, 526, 527])
@pytest.mark.parametrize("data", [None, task_data("pending"), task_data("failed")], ids=["none", "pending", "failed"])
def test_gateway_decides_nothing_whatever_the_body_is(status: int, data: Any) -> None:
    found = read(answer(status, {"code": status, "message": "concurrent task", "data": data}))

    assert isinstance(found, envelope.Unreadable)
    assert found.error.task_id == (TASK_ID if data else None)


@pytest.mark.parametrize("status", [302, 400, 403, 404, 500])
@pytest.mark.parametrize("body", [b"", b"<html>Just a moment", b'{"error": "no"}'])
def test_poll_that_a_gateway_answers_says_nothing(status: int, body: bytes) -> None:
    assert isinstance(read(answer(status, body), created=False), envelope.Unreadable)


@pytest.mark.parametrize("status", [400, 402, 500])
@pytest.mark.parametrize("words", [sign for signs, _ in errors.REASONS for sign in signs])
def test_words_of_a_poll_say_nothing_about_the_task(status: int, words: str) -> None:
    """It was accepted, so a poll can tell nothing of its balance or its input."""
    found = read(refused(status, words), created=False)

    assert not isinstance(found, errors.InsufficientCredit | errors.ContentRejected | errors.BadInputMedia)
    assert isinstance(found, errors.ApiError)


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE.keys())
@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_success_without_a_task_id_cannot_be_read(status: int, body: bytes) -> None:
    """Whether a task was made cannot be told: that is neither a task nor a refusal."""
    found = read(answer(status, body))

    assert isinstance(found, envelope.Unreadable)
    assert found.reason.startswith(f"HTTP {status} without a task id: ")
    assert found.error.status == status
    assert len(found.reason) < 600


@pytest.mark.parametrize("status", [500, 501, 599])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Bad Gateway</html>",
        b"null",
        b"[]",
        b'{"error": "upstream connect error"}',
        b'{"code": 502}',
        b'{"code": "500", "message": "text for a code"}',
        b'{"message": "no code"}',
        json.dumps(NO_CREDIT).encode()[:-1],
    ],
)
def test_server_error_that_is_not_the_apis_own_cannot_be_read(status: int, body: bytes) -> None:
    """A gateway does not know what the API did before it broke."""
    found = read(answer(status, body))

    assert isinstance(found, envelope.Unreadable)
    assert found.reason.startswith(f"HTTP {status} that is not the API's own: ")
    assert type(found.error) is errors.ProviderBroken


@pytest.mark.parametrize(
    "body",
    [{"code": 500, "message": "internal error"}, {"code": 500, "data": None}, {"code": 0, "data": {}, "message": ""}],
    ids=["message", "data", "both"],
)
def test_server_error_in_the_apis_envelope_is_a_refusal(body: Any) -> None:
    """The API itself says that it did not do it."""
    found = read(answer(500, body))

    assert type(found) is errors.ProviderBroken
    assert found.task_id is None


KINDS = {
    300: errors.ProviderBroken,
    301: errors.ProviderBroken,
    302: errors.ProviderBroken,
    400: errors.InvalidRequest,
    401: errors.AuthenticationFailed,
    402: errors.InsufficientCredit,
    403: errors.AuthenticationFailed,
    404: errors.NotFound,
    405: errors.ProviderBroken,
    409: errors.InvalidRequest,
    410: errors.NotFound,
    413: errors.InvalidRequest,
    415: errors.InvalidRequest,
    418: errors.ProviderBroken,
    422: errors.InvalidRequest,
    429: errors.RateLimited,
    500: errors.ProviderBroken,
    599: errors.ProviderBroken,
}


@pytest.mark.parametrize(("status", "kind"), KINDS.items())
def test_refusal_has_the_kind_of_its_status(status: int, kind: type[errors.ApiError]) -> None:
    """What a program would do differently is a class of its own."""
    found = read(refused(status, "because"))

    assert type(found).__name__ == kind.__name__
    assert isinstance(found, kind)
    assert found.status == status
    assert found.code == status
    assert str(found).startswith(f"HTTP {status}: because")


@pytest.mark.parametrize("status", [400, 401, 404, 429])
@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_refusal_needs_no_envelope_below_500(status: int, body: bytes) -> None:
    """Whoever answered with 4xx, nothing was accepted, unless the body names a task of which it cannot be told."""
    found = read(answer(status, body))
    error = found.error if isinstance(found, envelope.Unreadable) else found

    assert error.status == status
    assert isinstance(found, envelope.Unreadable) == (error.task_id is not None)


def test_recorded_lack_of_credit_is_told_with_the_failed_task() -> None:
    """It is HTTP 500 with a whole task in it (recorded 2025-08-25)."""
    found = read(answer(500, NO_CREDIT))

    assert isinstance(found, errors.InsufficientCredit)
    assert found.task_id == NO_CREDIT["data"]["task_id"]
    assert found.code == 10000
    assert "failed to pre-process task runtime; failed to freeze account point quota" in str(found)
    assert str(found).endswith("Top up the account; nothing was made")


@pytest.mark.parametrize(
    "words",
    [
        "account credit not enough",
        "Account point QUOTA NOT ENOUGH",
        "failed to freeze credit",
        "failed to freeze point",
        "auto exchange point quota failed",
    ],
)
@pytest.mark.parametrize("place", ["message", "error.message", "error.raw_message"])
def test_lack_of_credit_is_told_by_its_words(place: str, words: str) -> None:
    """Clients know it by these words, wherever they stand and under any status."""
    body: dict[str, Any] = {"code": 400, "message": "x", "data": {"error": {}}}
    (body if place == "message" else body["data"]["error"])[place.removeprefix("error.")] = words

    assert isinstance(read(answer(400, body)), errors.InsufficientCredit)


@pytest.mark.parametrize(
    ("error_code", "root_code", "code"),
    [(10000, 500, 10000), (0, 500, 500), (None, 400, 400), (None, None, None), ("7", None, None), (True, 500, None)],
)
def test_code_is_the_one_of_the_task_or_of_the_envelope(error_code: Any, root_code: Any, code: int | None) -> None:
    """Code 0 of a task says nothing; what is no whole number is no code."""
    found = read(answer(400, {"code": root_code, "data": {"error": {"code": error_code}}}))

    assert found.code == code


@pytest.mark.parametrize("task_id", [7, "", " ", None, ["x"]], ids=repr)
def test_refusal_names_no_task_when_there_is_no_id(task_id: Any) -> None:
    """What is no id finds no task."""
    assert read(answer(500, {"code": 500, "data": {"task_id": task_id}})).task_id is None


@pytest.mark.parametrize(
    ("message", "data", "said"),
    [
        ("a", {"error": {"message": "b", "raw_message": "c"}}, "a; b; c"),
        ("a", {"error": {"message": "a", "raw_message": "a"}}, "a"),
        (None, {"error": {"message": "b"}}, "b"),
        (["a"], {"error": "b"}, '["a"]'),
        ("", {}, repr('{"code": 400, "message": "", "data": {}}')),
    ],
    ids=["all", "once each", "one", "other types", "none: an excerpt"],
)
def test_message_shows_every_reason_once(message: Any, data: Any, said: str) -> None:
    """The provider explains itself in three places, often with the same words."""
    found = read(answer(400, {"code": 400, "message": message, "data": data}))

    assert str(found) == f"HTTP 400: {said}"


def test_body_that_says_nothing_is_shown_by_its_beginning() -> None:
    """120 characters are enough to know a gateway by, and 4,096 to know what it said."""
    found = read(answer(400, b"x" * 9000))

    assert str(found) == f"HTTP 400: {'x' * 120!r}"
    assert found.body == "x" * 4096


def test_code_of_a_refusal_names_its_reason() -> None:
    """When its words do not."""
    assert read(refused(400)).code == 400
    for code, kind in errors.KIND_BY_CODE.items():
        assert isinstance(read(answer(500, {"code": code, "message": "?"})), kind)


def test_refusal_of_the_key_says_where_it_comes_from() -> None:
    """The reader of HTTP 401 needs to know which key was meant."""
    found = read(refused(401, "failed to verify api key"))

    assert str(found) == "HTTP 401: failed to verify api key. Check the key: UNITASK_API_KEY, or api_key="


@pytest.mark.parametrize(
    ("headers", "where"), [({"location": "https://else.test/"}, "'https://else.test/'"), ({}, "'nowhere'")]
)
def test_redirect_is_not_followed_and_says_so(headers: dict[str, str], where: str) -> None:
    """The key would go along."""
    found, choices = read(answer(307, b"", **headers)), read(answer(300, b"", **headers))

    assert type(found) is errors.ProviderBroken
    assert f". It points to {where}, which is not followed" in str(found)
    assert f". It points to {where}, which is not followed" in str(choices)
    assert "check base_url" in str(found)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("999999999", 999_999_999.0),
        ("Tue, 14 Nov 2023 22:13:30 GMT", 10.0),
        ("Tue, 14 Nov 2023 22:13:30", 10.0),
        ("Tue, 14 Nov 2023 23:13:30 +0100", 10.0),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0.0),
        ("", None),
        ("-1", None),
        ("1e3", None),
        ("٣", None),
        ("inf", None),
        ("nan", None),
        ("soon", None),
        ("9" * 400, None),
        ("7, 8", None),
        ("Tue, 99 Nov 2023 22:13:30 GMT", None),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0.0),
    ],
)
def test_retry_after_is_read_in_both_forms(value: str, seconds: float | None) -> None:
    """Seconds or a date (RFC 9110, 10.2.3); anything else is as if it were not there."""
    assert read(refused(429, retry_after=value)).retry_after == seconds


@settings(max_examples=300, deadline=None)
@given(value=st.text(max_size=40) | st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ [\d:]+ ?[+-]?\d*"))
def test_retry_after_is_never_more_than_a_number(value: str) -> None:
    """Whatever stands in the header, it is a number of seconds that is not negative, or nothing."""
    seconds = envelope.retry_after(refused(429, retry_after=value))

    assert seconds is None or 0 <= seconds < float("inf")


def test_no_retry_after_is_none() -> None:
    """A refusal says how long to wait only when the provider does."""
    assert read(refused(429)).retry_after is None


def test_headers_that_support_asks_for_are_kept_and_no_others() -> None:
    """They name the request; anything else may be private."""
    kept = {"x-request-id": "1", "x-trace-id": "2", "cf-ray": "3", "date": "4", "server": "5"}

    assert read(answer(400, b"", **kept, set_cookie="session", x_api_key="k")).headers == kept


def test_secret_of_a_task_is_hidden_and_nothing_else() -> None:
    """The provider shows the webhook secret in clear in every answer; the task shows it nowhere."""
    config = {"service_mode": "", "webhook_config": {"endpoint": "https://me.test", "secret": SECRET}}
    reply = seen(config=config, other=1)
    task = read(reply)

    assert task.raw["config"]["webhook_config"] == {"endpoint": "https://me.test", "secret": "***"}
    assert task.raw["config"]["service_mode"] == ""
    assert task.raw["other"] == 1
    assert SECRET.encode() not in pickle.dumps(task)


@pytest.mark.parametrize(
    "config",
    [None, [], {}, {"webhook_config": None}, {"webhook_config": {}}, {"webhook_config": {"secret": ""}}],
    ids=repr,
)
def test_task_without_a_secret_is_as_it_came(config: Any) -> None:
    """Nothing is hidden where there is nothing."""
    assert read(seen(config=config)).raw == task_data(config=config)


WITH_SECRET: dict[str, bytes] = {
    "plain": json.dumps({"config": {"webhook_config": {"secret": SECRET}}}).encode(),
    "spaced": json.dumps({"secret": SECRET}, indent=4).encode(),
    "upper case": json.dumps({"Secret": SECRET, "API_KEY": SECRET, "apiKey": SECRET}).encode(),
    "other names": json.dumps({"api_key": SECRET, "x-api-key": SECRET, "x-webhook-secret": SECRET}).encode(),
    "with quotes": json.dumps({"secret": f'"{SECRET}" \\ "{SECRET}'}).encode(),
    "cut off": json.dumps({"secret": SECRET}).encode()[:-4],
    "in a message": json.dumps({"code": 400, "message": json.dumps({"secret": SECRET})}).encode(),
    "in place of a message": json.dumps({"code": 400, "message": {"secret": SECRET}}).encode(),
    "twice in a message": json.dumps({"message": json.dumps({"message": json.dumps({"secret": SECRET})})}).encode(),
    "in a message, cut off": json.dumps({"message": json.dumps({"secret": SECRET})}).encode()[:-6],
}


@pytest.mark.parametrize("status", [200, 400, 502])
@pytest.mark.parametrize("body", WITH_SECRET.values(), ids=WITH_SECRET.keys())
def test_secret_is_in_no_part_of_an_error(status: int, body: bytes) -> None:
    """Not in the message, not in the body that is kept, not in a pickle; also where a body was cut off."""
    found = read(answer(status, body))
    error = found.error if isinstance(found, envelope.Unreadable) else found

    assert SECRET[:8] not in str(error)
    assert SECRET[:8] not in error.body
    assert SECRET[:8].encode() not in pickle.dumps(error)
    assert "***" in error.body


def test_neighbours_of_a_secret_stay() -> None:
    """Only the value is hidden."""
    found = read(answer(400, b'{"a": 1, "secret": "x\\"y", "b": "secret"}'))

    assert found.body == '{"a": 1, "secret": "***", "b": "secret"}'


def test_kept_body_and_message_are_short() -> None:
    """An error is to be read, and goes through queues: a body of megabytes is cut."""
    page = read(answer(400, b"<" + b"x" * 5_000_000))
    message = read(refused(400, "y" * 5_000_000))

    assert len(page.body) == 4096
    assert len(str(page)) < 300
    assert len(message.body) == 4096
    assert len(str(message)) < 2000


@pytest.mark.parametrize(
    ("body", "said"),
    [({"code": 200, "message": "task canceled"}, "task canceled"), ({"message": 7}, ""), (b"", "")],
    ids=["message", "other type", "empty"],
)
def test_acknowledgement_is_its_message(body: Any, said: str) -> None:
    """Such an answer carries no task."""
    assert envelope.read_acknowledgement(answer(200, body)) == said


@pytest.mark.parametrize("body", [b"<html>", [], "done"])
def test_what_is_no_acknowledgement_is_an_error(body: Any) -> None:
    """A page of a proxy cancels nothing."""
    broken = envelope.read_acknowledgement(answer(200, body))

    assert type(broken) is errors.ProviderBroken
    assert "HTTP 200 with no acknowledgement" in str(broken)


def test_acknowledgement_can_be_a_refusal() -> None:
    """A server error needs no envelope here, because such a request may be repeated."""
    refusal, broken = envelope.read_acknowledgement(refused(404)), envelope.read_acknowledgement(GATEWAY)

    assert type(refusal) is errors.NotFound
    assert type(broken) is errors.ProviderBroken


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["code", "data", "message", "task_id", "error", "config"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(status=st.integers(100, 999), body=json_values | st.binary(max_size=60))
def test_every_answer_has_one_of_three_meanings(status: int, body: Any) -> None:
    """No body and no status makes a bare exception, and a task always has its id."""
    found = envelope.read_task(answer(status, body), Output)

    assert isinstance(found, Task | errors.ApiError | envelope.Unreadable)
    if isinstance(found, Task):
        assert found.id.strip()
