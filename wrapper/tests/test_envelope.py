"""The meaning of an HTTP answer: a task, a refusal, or neither; and the protocols of legacy tasks."""

import dataclasses
import json
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unitask import Budget, Output, Task, errors, tasks
from unitask._core import envelope, requests
from unitask._core.effects import Response, SendRequest
from unitask.inputs import request_body
from unitask.tasks import FaceSwapOutput
from unitask.testing import documented_example

from .script import GATEWAY, TASK_ID, answer, json_values, limits, play, refused, run_flow, seen, task_data
from .shells import perform, provider

NO_CREDIT = documented_example("core.no-credit.create.500")
SECRET = "a webhook secret, in clear"

# Whatever else is in the answer, the id must be read: the task may be paid.
READABLE: dict[str, bytes] = {
    "no status at all": b'{"data": {"task_id": "x"}}',
    "everything of another type": json.dumps(
        {"code": "200", "message": 7, "data": {"task_id": "x", "status": 7, "input": [], "error": "e", "config": []}}
    ).encode(),
    "NaN, and a key twice": b'{"data": null, "data": {"task_id": "y", "task_id": "x", "detail": NaN}}',
    "a byte order mark": b'\xef\xbb\xbf{"data": {"task_id": "x"}}',
    "a byte that is not UTF-8": b'{"data": {"task_id": "x", "prompt": "caf\xe9"}}',
    "an integer that int() refuses": b'{"data": {"task_id": "x", "n": ' + b"9" * 5000 + b"}}",
    "a comment after the object": b'{"data": {"task_id": "x"}}<!-- proxy -->',
    "blank lines before the object": b'\r\n \n{"data": {"task_id": "x"}}',
}


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


# The id is there, but the rest cannot be read.
NAMED_ONLY = [
    b'{"code": 200, "data": {"task_id":"x", "mod',
    b'{"data": {"task_id": "x", "n": %s}}' % nested(500),
    b'<html><pre>{"task_id" : "x"}</pre>',
    b'{"data": {"task_id": "x"}}\n {"data": {}}',
    b'{"data": {"task_id": "x"}} []',
]
TWO_IDS = b'{"parent": {"task_id": "y"}, "data": {"task_id": "x"}}'
NOT_ITS_OWN = "HTTP 500 that is not the API's own: "
UNREADABLE = [
    b"",
    b'{"data": {"task_id": "\xff\xfe"}}',
    b'[{"data": {"task_id": "x"}}]',
    b'{"data":' * 100_000,
    b'{"code": 200, "data": null, "message": "success"}',
    b'{"code": 200, "data": {"task_id": " \\t\\n"}}',
    *(json.dumps({"data": {"task_id": odd}}).encode() for odd in (7, "a/../b", "\ud800", "a" * 5000)),
]


def read(reply: Response, *, created: bool = True) -> Any:
    """Read the answer to a submission of a face swap, or to a poll of one."""
    return envelope.read_task(reply, FaceSwapOutput, created=created)


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("body", READABLE.values(), ids=READABLE.keys())
def test_submission_whose_answer_names_a_task_was_accepted(status: int, body: bytes) -> None:
    assert read(answer(status, body)).id == "x"


def test_body_may_have_100_levels() -> None:
    for created in (True, False):
        for levels, is_read in ((100, True), (101, False)):
            found = read(answer(200, b'{"data": {"task_id": "x", "n": %s}}' % nested(levels - 2)), created=created)
            assert isinstance(found, Task) is is_read


def test_poll_is_read_strictly() -> None:
    bodies = (READABLE["an integer that int() refuses"], READABLE["a comment after the object"])
    found, unreadable = (read(answer(200, body), created=False) for body in bodies)

    assert found.id == "x"
    assert isinstance(unreadable, envelope.Unreadable)


@pytest.mark.parametrize(
    ("reply", "task_id", "reason"),
    [
        *((answer(status, body), "x", f"HTTP {status}") for status in (200, 502) for body in NAMED_ONLY),
        (dataclasses.replace(seen(), broken="the connection broke"), TASK_ID, "HTTP 200, and the connection broke"),
        (dataclasses.replace(answer(200, TWO_IDS), broken="reset"), "x", "HTTP 200, and reset"),
        (answer(303, b"", location="/api/v1/task/x"), "x", "HTTP 303 that is not the API's own"),
        (answer(303, b"{}"), None, "HTTP 303 that is not the API's own"),
        (answer(307, b"{}", location="/api/v1/task/x"), "x", "HTTP 307 that is not the API's own"),
        *((answer(200, body), "x" if b'"x"' in body else None, "HTTP 200 without a task id: ") for body in UNREADABLE),
        (answer(204, b""), None, "HTTP 204 without a task id: "),
        (answer(500, b""), None, NOT_ITS_OWN),
        (answer(500, b'{"code": 500, "error": "of a gateway"}'), None, NOT_ITS_OWN),
        (answer(500, b'{"code": "500", "message": "text for a code"}'), None, NOT_ITS_OWN),
        (answer(500, json.dumps(NO_CREDIT).encode()[:-1]), NO_CREDIT["data"]["task_id"], NOT_ITS_OWN),
    ],
)
def test_answer_that_cannot_be_read_keeps_the_id_it_names(reply: Response, task_id: str | None, reason: str) -> None:
    found = read(reply)

    assert isinstance(found, envelope.Unreadable)
    assert type(found.error) is errors.ProviderBroken
    assert (found.error.task_id, found.error.status) == (task_id, reply.status)
    assert found.reason.startswith(reason)
    assert len(found.reason) < 600


@pytest.mark.parametrize("status", [408, 499, 502, 503, 504, *range(520, 528)])
@pytest.mark.parametrize("data", [None, task_data("pending"), task_data("failed")], ids=["none", "pending", "failed"])
def test_answer_of_a_gateway_is_uncertain_whatever_its_body(status: int, data: Any) -> None:
    found = read(answer(status, {"code": status, "message": "concurrent task", "data": data}))

    assert isinstance(found, envelope.Unreadable)
    assert found.error.task_id == (TASK_ID if data else None)


@pytest.mark.parametrize("status", [400, 500])
@pytest.mark.parametrize("signs", [signs for signs, _ in errors.REASONS], ids=lambda signs: signs[0])
def test_words_of_a_refused_poll_do_not_choose_the_error(status: int, signs: tuple[str, ...]) -> None:
    found = [read(refused(status, words), created=False) for words in signs]
    pages = [read(answer(status, body), created=False) for body in (b"", b"<html>", b'{"error": "no"}')]

    assert not any(isinstance(each, reason) for each in found for _, reason in errors.REASONS)
    assert {isinstance(each, errors.ApiError) for each in found} == {True}
    assert {type(each) for each in pages} == {envelope.Unreadable}
    assert type(read(answer(429, b""), created=False)) is errors.RateLimited


def test_server_error_in_the_apis_own_envelope_is_a_refusal() -> None:
    found = read(answer(500, NO_CREDIT))  # recorded 2025-08-25

    assert isinstance(found, errors.InsufficientCredit)
    assert (found.task_id, found.code) == (NO_CREDIT["data"]["task_id"], 10000)
    assert isinstance(read(refused(500, "internal error")), errors.ApiError)


@pytest.mark.parametrize(
    ("error_code", "root_code", "code"),
    [(10000, 500, 10000), (0, 500, 500), (None, None, None), ("7", None, None), (True, 500, None)],
)
def test_code_is_the_one_of_the_task_or_of_the_envelope(error_code: Any, root_code: Any, code: int | None) -> None:
    assert read(answer(400, {"code": root_code, "data": {"error": {"code": error_code}}})).code == code


@pytest.mark.parametrize(("status", "where"), [(300, "https://else.test/"), (399, None)])
def test_redirect_is_not_followed(status: int, where: str | None) -> None:
    traced = {"x-request-id": "1", "x-trace-id": "2", "cf-ray": "3", "date": "4", "server": "5"}
    found = read(answer(status, b"", **traced, **({"location": where} if where else {}), set_cookie="s", x_api_key="k"))

    assert type(found) is errors.ProviderBroken
    assert f". It points to {where or 'nowhere'!r}, which is not followed" in str(found)
    assert "check base_url" in str(found)
    assert found.headers == traced


def test_message_shows_every_reason_once_and_is_bounded() -> None:
    for message, data, words in (
        ("a", {"error": {"message": "b", "raw_message": "c"}}, "a; b; c"),
        ("a", {"error": {"message": "a", "raw_message": "a"}}, "a"),
        (["a"], {"error": "b"}, '["a"]'),
        ("", {}, repr('{"code": 400, "message": "", "data": {}}')),
    ):
        assert str(read(refused(400, message, data))).startswith(f"HTTP 400: {words}. ")
    assert str(read(refused(404), created=False)) == "HTTP 404: no"
    page, long = read(answer(400, b"x" * 9000)), read(refused(400, "y" * 9000))
    assert f"HTTP 400: {'x' * 120!r}" in str(page)
    assert len(str(long)) < 2000
    assert (len(page.body), len(long.body)) == (4096, 4096)


@pytest.mark.usefixtures("local_time_of_tokyo")
@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("Tue, 14 Nov 2023 22:13:30 GMT", 10.0),
        ("Tue, 14 Nov 2023 23:13:30 +0100", 10.0),
        ("Tue, 14 Nov 2023 22:13:30", 10.0),
        ("", None),
        ("soon", None),
        ("\u0663", None),  # a digit of another script
        ("Tue, 99 Nov 2023 22:13:30 GMT", None),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0.0),
    ],
)
def test_retry_after_is_read_in_both_forms(value: str, seconds: float | None) -> None:
    assert read(refused(429, retry_after=value)).retry_after == seconds
    assert read(refused(429)).retry_after is None


WITH_SECRET: list[bytes] = [
    json.dumps({"config": {"webhook_config": {"secret": SECRET}}}).encode(),
    json.dumps({"api_key": SECRET, "x-api-key": SECRET, "x-webhook-secret": SECRET}).encode(),
    json.dumps({"secret": f'"{SECRET}" \\ "{SECRET}'}).encode(),
    json.dumps({"secret": SECRET}).encode()[:-4],
    json.dumps({"code": 400, "message": json.dumps({"secret": SECRET})}).encode(),
]


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("body", WITH_SECRET)
def test_secret_is_in_no_part_of_an_error(status: int, body: bytes) -> None:
    found = read(answer(status, body))
    error = found.error if isinstance(found, envelope.Unreadable) else found

    assert SECRET[:8] not in str(error)
    assert SECRET[:8] not in error.body
    assert SECRET[:8].encode() not in pickle.dumps(error)
    assert "***" in error.body


def test_only_the_secret_of_a_task_is_hidden() -> None:
    config = {"service_mode": "", "webhook_config": {"endpoint": "https://me.test", "secret": SECRET}}
    task, refusal = read(seen(config=config, other=1)), read(answer(400, b'{"a": 1, "secret": "x\\"y", "b": "secret"}'))

    assert task.raw["config"] == {**config, "webhook_config": {"endpoint": "https://me.test", "secret": "***"}}
    assert task.raw["other"] == 1
    assert SECRET.encode() not in pickle.dumps(task)
    assert refusal.body == '{"a": 1, "secret": "***", "b": "secret"}'
    for without in (None, [], {"webhook_config": None}, {"webhook_config": {"secret": ""}}):
        assert read(seen(config=without)).raw == task_data(config=without)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (answer(200, {"code": 200, "message": "task canceled"}), "task canceled"),
        (answer(200, b""), ""),
        (answer(200, b"<html>"), errors.ProviderBroken),
        (GATEWAY, errors.ProviderBroken),
    ],
)
def test_acknowledgement_is_its_message_or_an_error(reply: Response, said: str | type[errors.ApiError]) -> None:
    if isinstance(said, str):
        assert envelope.read_acknowledgement(reply) == said
        return
    with pytest.raises(said):
        envelope.read_acknowledgement(reply)


def test_success_in_another_form_and_refusal_say_so() -> None:
    for read_answer, what in (
        (envelope.read_acknowledgement, "an acknowledgement"),
        (envelope.read_upload, "the URL of the uploaded file"),
        (envelope.read_data, "data"),
        (envelope.read_history, "a page of the history"),
    ):
        with pytest.raises(errors.ProviderBroken, match=rf"^HTTP 200 without {what}: '<html>'$"):
            read_answer(answer(200, b"<html>"))
        with pytest.raises(errors.InsufficientCredit, match=r"^HTTP 500: credit not enough\. Top up the account$"):
            read_answer(refused(500, "credit not enough"))


values = json_values(["code", "data", "message", "task_id", "error", "config"], st.text(max_size=8))


@settings(max_examples=200, deadline=None)
@given(status=st.integers(100, 999), body=values | st.binary(max_size=60), wait=st.text(max_size=9))
def test_every_answer_has_one_of_three_meanings(status: int, body: Any, wait: str) -> None:
    reply = answer(status, body, retry_after=wait)
    found = envelope.read_task(reply, Output)

    assert isinstance(found, Task | errors.ApiError | envelope.Unreadable)
    if isinstance(found, Task):
        assert found.id.strip()
    assert 0 <= (envelope.retry_after(reply) or 0) < float("inf")


FACES = tasks.LegacyFaceSwap(target_image="https://me.test/a.jpg", swap_image="https://me.test/b.jpg")


def test_poll_names_the_task_in_the_path_or_in_the_body() -> None:
    by_post = SendRequest("POST", "/api/face_swap/v1/fetch", {"task_id": "a/b"}, timeout=5.0)

    assert requests.get_task("a/b", 5.0, "face_swap_v1") == by_post
    assert requests.get_task("a/b", 5.0, "luma_v1") == SendRequest("GET", "/api/luma/v1/video/a%2Fb", timeout=5.0)


def test_unknown_legacy_task_is_not_sent() -> None:
    budget = Budget(1, assume_usd=1)
    with pytest.raises(errors.InvalidInput, match=r"^nothing was sent: the catalogue has no task legacy 'x'$"):
        perform("sync", provider(), lambda client: client.submit(tasks.Raw("legacy", "x", {})), budget=budget)

    assert budget.held_usd == 0


def legacy(status: str, **fields: Any) -> dict[str, Any]:
    return {"code": 200, "data": {"task_id": TASK_ID, "status": status, **fields}, "message": "ok"}


def test_legacy_task_is_waited_for_like_any_other() -> None:
    done = legacy("success", image="https://out.test/a.jpg")
    played = play(
        run_flow(request_body(FACES), tasks.LegacyFaceSwapOutput, "LegacyFaceSwap", limits()),
        answer(200, legacy("success")),
        answer(200, legacy("processing", image="")),
        answer(200, done),
    )

    submission = next(step for step in played.steps if isinstance(step, SendRequest))
    assert (submission.path, submission.json) == ("/api/face_swap/v1/async", request_body(FACES)["input"])
    assert played.sent == ["POST"] * 3
    assert played.changes == ["pending", "processing", "success"]
    assert (played.result.id, played.result.model, played.result.task_type) == (TASK_ID, "legacy", "face_swap_v1")
    assert played.result.raw["legacy"]["data"] == done["data"]
    assert played.result.raw["error"] == {"code": 0, "message": ""}
    assert [file.url for file in played.result.output.files] == ["https://out.test/a.jpg"]


def test_reasons_of_a_failed_legacy_task_are_its_error() -> None:
    for output, reasons, message in (
        (tasks.LegacyFaceSwapOutput, ["no face", 7], "no face; 7"),
        (tasks.LegacyFaceSwapOutput, "no face", "no face"),
        (tasks.LegacyFaceSwapOutput, None, ""),
        (tasks.LegacyLumaOutput, ["no face"], ""),  # this protocol has no field for reasons
    ):
        found = envelope.read_task(answer(200, legacy("failed", error_messages=reasons)), output)
        assert isinstance(found, Task)
        assert (found.state, found.raw["error"]) == ("failed", {"code": 1 if message else 0, "message": message})
