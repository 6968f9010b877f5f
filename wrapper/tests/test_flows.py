"""Submit and wait, step by step: what is sent, when, how often, and how it ends."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unitask import errors
from unitask._core import flows, polling, retry, retry_policy
from unitask._core.effects import Delivery, Flow, Response, Resumed, SendRequest, Sleep, TransportFailure, no_answer
from unitask._core.retry_policy import RetryPolicy
from unitask._model import spec
from unitask._model.task import Output, Task
from unitask.tasks import FaceSwapOutput

from .script import (
    AT_SOME_TIME,
    CUT_OFF,
    GATEWAY,
    MODEL,
    NEVER_LEFT,
    RESEND,
    TASK_ID,
    TASK_TYPE,
    UNIX,
    answer,
    limits,
    play,
    refused,
    run_flow,
    seen,
    task_data,
)

BODY = {"model": MODEL, "task_type": TASK_TYPE, "input": {"target_image": "b", "swap_image": "a"}}
KIND = "FaceSwap"
USUAL = polling.DurationEstimate(8.0)  # what the catalogue says of it


def submit() -> Flow[Task[FaceSwapOutput]]:
    return flows.submit(BODY, FaceSwapOutput, RESEND)


def run(**changes: Any) -> Flow[Task[FaceSwapOutput]]:
    return run_flow(BODY, FaceSwapOutput, KIND, limits(**changes))


def wait(kind: str | None = KIND, **changes: Any) -> Flow[Task[FaceSwapOutput]]:
    return flows.wait(TASK_ID, FaceSwapOutput, kind, limits(**changes))


def get(**changes: Any) -> Flow[Task[FaceSwapOutput]]:
    return flows.get(TASK_ID, FaceSwapOutput, limits(**changes))


def cancel(**changes: Any) -> Flow[str]:
    return retry.cancel(TASK_ID, limits(**changes))


# ---- submit once


def test_submit_sends_one_create_and_returns_the_task() -> None:
    """The usual case: one request, with the body as given, and the news of a task."""
    played = play(submit(), seen("pending"))

    create = next(step for step in played.steps if isinstance(step, SendRequest))
    assert (create.method, create.path, create.json) == ("POST", "/api/v1/task", BODY)
    assert played.sent == ["POST"]
    assert played.changes == ["pending"]
    assert played.result.id == TASK_ID


@pytest.mark.parametrize("refusals", [0, 1, 3])
def test_create_that_never_left_is_sent_again(refusals: int) -> None:
    """A connection that was never made cost nothing; pauses grow."""
    played = play(submit(), *[NEVER_LEFT] * refusals, seen())

    assert played.result.id == TASK_ID
    assert played.sent == ["POST"] * (refusals + 1)
    assert played.sleeps == [0.375, 0.75, 1.5][:refusals]


def test_create_that_never_leaves_ends_unreachable() -> None:
    """Attempts are bounded, and the error says how many there were."""
    played = play(submit(), NEVER_LEFT)

    assert type(played.error) is errors.Unreachable
    assert played.sent == ["POST"] * 4
    assert played.error.attempts == 4
    assert "ConnectError: refused" in str(played.error)
    assert "Check base_url and the network" in str(played.error)


@pytest.mark.parametrize(
    ("asked", "slept"),
    [("7", 7.0), ("0", 0.5), ("0.1", 0.5), ("120", 120.0), ("9999", 120.0), (None, 0.375)],
    ids=["as asked", "floor", "floor of a fraction", "cap", "over the cap", "not said"],
)
def test_rate_limited_create_is_sent_again_when_the_provider_says(asked: str | None, slept: float) -> None:
    """HTTP 429 means that it was not taken; Retry-After has a floor, against a hot loop, and a cap."""
    limited = refused(429, "slow down", **({"retry_after": asked} if asked else {}))
    played = play(submit(), limited, seen())

    assert played.result.id == TASK_ID
    assert played.sleeps == [slept]


def test_create_that_stays_rate_limited_ends_with_what_was_asked() -> None:
    """Attempts are bounded here too; the caller is told for how long the provider asked to wait."""
    played = play(submit(), refused(429, retry_after="9999"))

    assert type(played.error) is errors.RateLimited
    assert played.sent == ["POST"] * RESEND.attempts
    assert played.error.retry_after == 9999.0


DECIDED: dict[str, tuple[Response, type[errors.ApiError], str | None]] = {
    "301": (answer(301, b"", location="https://else.test"), errors.ProviderBroken, None),
    "308 in HTML": (answer(308, b"<html>"), errors.ProviderBroken, None),
    "400": (refused(400), errors.InvalidRequest, None),
    "401": (refused(401), errors.AuthenticationFailed, None),
    "402": (refused(402), errors.InsufficientCredit, None),
    "404 in HTML": (answer(404, b"<html>"), errors.NotFound, None),
    "409": (refused(409), errors.InvalidRequest, None),
    "413": (answer(413, b""), errors.InvalidRequest, None),
    "422": (refused(422), errors.InvalidRequest, None),
    "500 in the envelope": (refused(500), errors.ProviderBroken, None),
    "500 with the failed task": (
        answer(500, {"code": 500, "data": task_data("failed"), "message": "failed to freeze point"}),
        errors.InsufficientCredit,
        TASK_ID,
    ),
    "429 with the failed task": (
        answer(429, {"code": 429, "data": task_data("failed"), "message": "x"}),
        errors.RateLimited,
        TASK_ID,
    ),
    **{
        f"500 with the words {words!r}": (refused(500, words), kind, None)
        for words, kind in (
            ("the queue is full", errors.QueueFull),
            ("you have reached the concurrent task limit", errors.QueueFull),
        )
    },
}


@pytest.mark.parametrize(("reply", "kind", "task_id"), DECIDED.values(), ids=DECIDED.keys())
def test_refused_create_is_decided(reply: Response, kind: type[errors.ApiError], task_id: str | None) -> None:
    """One create, a typed error, the id if there is one; no words make it be sent again."""
    played = play(submit(), reply)

    assert type(played.error).__name__ == kind.__name__
    assert isinstance(played.error, kind)
    assert played.error.status == reply.status
    assert played.error.task_id == task_id
    assert played.sent == ["POST"]
    assert played.sleeps == []


UNCERTAIN: dict[str, tuple[Response | TransportFailure, str]] = {
    "read timeout": (CUT_OFF, "no answer, ReadTimeout"),
    "broken connection": (
        TransportFailure(Delivery.MAYBE, "ReadError: reset", AT_SOME_TIME),
        "no answer, ReadError: reset",
    ),
    "500 in HTML": (answer(500, b"<html>"), "HTTP 500 that is not the API's own"),
    "502 in HTML": (GATEWAY, "HTTP 502 from a gateway"),
    "520, empty": (answer(520, b""), "HTTP 520 from a gateway: an empty body"),
    "504 in the API's envelope": (refused(504, "upstream timed out"), "HTTP 504 from a gateway"),
    "408": (refused(408), "HTTP 408 from a gateway"),
    "303": (answer(303, b"", location="/tasks"), "HTTP 303 that is not the API's own"),
    "cut off": (dataclasses.replace(seen(), broken="ReadError: reset"), "HTTP 200, and ReadError: reset"),
    "200 without an id": (answer(200, {"code": 200, "data": {"status": "pending"}}), "HTTP 200 without a task id"),
    "200 in HTML": (answer(200, b"<html>Just a moment"), "HTTP 200 without a task id"),
}


@pytest.mark.parametrize(("reply", "reason"), UNCERTAIN.values(), ids=UNCERTAIN.keys())
def test_create_that_may_have_been_accepted_is_sent_once(reply: Response | TransportFailure, reason: str) -> None:
    """It may be paid for: it is never sent again, and the error carries all that finds it."""
    played = play(submit(), reply, took=5.0)
    error = played.error

    assert type(error) is errors.SubmissionUncertain
    assert played.sent == ["POST"]
    assert played.sleeps == []
    assert (error.model, error.task_type, error.attempts) == (MODEL, TASK_TYPE, 1)
    assert error.sent_between == (datetime.fromtimestamp(UNIX, UTC), datetime.fromtimestamp(UNIX + 5, UTC))
    assert reason in str(error)


@pytest.mark.parametrize(
    "reply",
    [
        dataclasses.replace(seen(), broken="ReadError: reset"),
        answer(503, {"code": 503, "data": task_data("failed"), "message": "x"}),
        answer(303, b"", location=f"/api/v1/task/{TASK_ID}"),
    ],
    ids=["cut off", "gateway", "redirect"],
)
def test_uncertain_create_keeps_the_id_that_its_answer_names(reply: Response) -> None:
    played = play(submit(), reply)

    assert type(played.error) is errors.SubmissionUncertain
    assert played.error.task_id == TASK_ID


@pytest.mark.parametrize("status", [429, 400, 403, 500])
def test_create_whose_answer_names_a_task_is_never_sent_again(status: int) -> None:
    named = answer(status, {"code": status, "message": "slow down", "data": task_data("pending")})
    played = play(run(), named, seen("completed"))

    assert played.sent == ["POST", "GET"]
    assert played.result.id == TASK_ID


def test_uncertain_create_counts_the_attempts_before_it() -> None:
    """Attempts that never left, or were refused by 429, widen the window and are counted."""
    played = play(submit(), NEVER_LEFT, refused(429, retry_after="10"), CUT_OFF, took=2.0)

    assert type(played.error) is errors.SubmissionUncertain
    assert played.sent == ["POST"] * 3
    assert (played.error.attempts, played.error.elapsed) == (3, played.ended_at)
    start, end = played.error.sent_between
    assert (end - start).total_seconds() == 3 * 2.0 + 0.375 + 10.0


def test_fingerprint_is_equal_for_equal_tasks_alone() -> None:
    """SHA-256 over model, task type and input; the order of fields and the config play no part."""

    def fingerprint(**changes: Any) -> str:
        played = play(flows.submit({**BODY, **changes}, Output, RESEND), CUT_OFF)
        assert isinstance(played.error, errors.SubmissionUncertain)
        return played.error.fingerprint

    identity = json.dumps([MODEL, TASK_TYPE, {"swap_image": "a", "target_image": "b"}])
    assert fingerprint() == hashlib.sha256(identity.encode()).hexdigest()
    assert fingerprint(input={"swap_image": "a", "target_image": "b"}) == fingerprint()
    assert fingerprint(config={"service_mode": "public"}) == fingerprint()
    assert fingerprint(input={"swap_image": "b", "target_image": "a"}) != fingerprint()
    assert fingerprint(model="other") != fingerprint()
    assert fingerprint(task_type="other") != fingerprint()


# ---- waiting


def test_run_waits_before_the_first_look() -> None:
    """A task that was accepted just now is not done; the first look comes when it may be."""
    played = play(run(), seen("pending"), seen("completed"))

    assert played.sent == ["POST", "GET"]
    assert played.sleeps == [pytest.approx(polling.next_poll_delay(0.0, USUAL))]
    assert played.result.status == "completed"


def test_wait_looks_at_once() -> None:
    """Nothing is known of a task that is given by its id."""
    played = play(wait(), seen("completed"))

    assert played.sent == ["GET"]
    assert played.sleeps == []


@pytest.mark.parametrize("word", ["completed", "Completed", "failed", "cancelled"])
def test_create_that_is_answered_done_needs_no_look(word: str) -> None:
    """The end is the end, whoever tells it."""
    played = play(run(), seen(word))

    assert played.sent == ["POST"]
    assert (played.error is None) == (word.lower() == "completed")


@pytest.mark.parametrize(("word", "said"), [("Failed", "failed"), ("canceled", "cancelled")])
def test_task_that_ends_without_a_result_raises_with_the_task(word: str, said: str) -> None:
    """The error holds the task as it ended, and its reason."""
    failed = seen(word, error={"code": 10000, "message": "no face found in the image"})
    played = play(wait(), seen("processing"), failed)

    assert isinstance(played.error, errors.TaskFailed)
    assert isinstance(played.error, errors.NoFaceFound)
    assert played.error.task_id == TASK_ID
    assert played.error.task.status == word
    assert str(played.error) == f"task {TASK_ID} {said}: no face found in the image"


def test_watch_returns_a_task_however_it_ends() -> None:
    """Whoever iterates over changes sees how it ended."""
    played = play(flows.watch(TASK_ID, Output, KIND, limits()), seen("failed"))

    assert played.result.status == "failed"


@pytest.mark.parametrize("word", ["", "Hibernating", None, 7, ["completed"]], ids=repr)
def test_unknown_word_keeps_waiting(word: object) -> None:
    """The task may be running, and it is paid for."""
    played = play(wait(), seen(word), seen(word), seen("completed"))

    assert played.sent == ["GET"] * 3
    assert played.result.status == "completed"


def test_changes_are_told_exactly_when_there_are_any() -> None:
    """The first sight is news; the same body again is not; any other difference is."""
    played = play(
        run(),
        seen("pending"),
        seen("pending"),
        seen("pending", progress=50),
        seen("pending", progress=50),
        seen("Pending", progress=50),
        seen("completed"),
    )

    assert played.changes == ["pending", "pending", "Pending", "completed"]


def test_looks_are_spaced_by_the_plan() -> None:
    """Each pause is the one of waiting.py for the age of the task, the time of the requests included."""
    played = play(run(), seen("pending"), *[seen("processing")] * 5, seen("completed"), took=0.25)

    ages = [moment - played.sent_at[0] - 0.25 for moment in played.sent_at[1:]]
    expected, age = [], 0.0
    for _ in ages:
        expected.append(age + polling.next_poll_delay(age, USUAL))
        age = expected[-1] + 0.25
    assert ages == pytest.approx(expected)


def test_wait_finds_out_the_usual_duration_from_the_first_look() -> None:
    """The catalogue knows how long such a task takes; the answer names the type."""
    known = play(wait(kind=None), seen("pending"), seen("completed"))
    unknown = play(wait(kind=None), seen("pending", model="new"), seen("completed"))

    assert known.sleeps == [polling.next_poll_delay(0.0, USUAL)]
    assert unknown.sleeps == [polling.next_poll_delay(0.0, polling.DurationEstimate(polling.UNKNOWN_TYPE))]


def test_run_knows_the_usual_duration_from_the_task_that_was_sent() -> None:
    """Whatever model the answer names."""
    played = play(run(), seen("pending", model="new"), seen("completed"))

    assert played.sleeps == [polling.next_poll_delay(0.0, USUAL)]


def test_get_looks_at_once() -> None:
    """And once."""
    played = play(get(), seen("processing"))

    assert played.sent == ["GET"]
    assert played.sleeps == []


@pytest.mark.parametrize(
    ("asked", "slept"), [("9", 9.0), ("0", None), ("9999", 60.0)], ids=["as asked", "less than planned", "over the cap"]
)
def test_retry_after_of_a_good_look_wins_when_it_is_longer(asked: str, slept: float | None) -> None:
    """The provider says how far apart looks shall be; the last sleep is still cut to the deadline."""
    still = seen("pending")
    played = play(wait(), Response(200, {"retry-after": asked}, still.body, still.at), seen("completed"))

    assert played.sleeps == [slept or pytest.approx(polling.next_poll_delay(0.0, USUAL))]


def test_retry_after_is_forgotten_when_it_is_not_said_again() -> None:
    """The pace is the one of the last answer."""
    still = seen("pending")
    played = play(wait(), Response(200, {"retry-after": "9"}, still.body, still.at), still, seen("completed"))

    assert played.sleeps == [9.0, pytest.approx(polling.next_poll_delay(9.0, USUAL))]


def test_age_of_a_task_that_was_created_just_now_is_measured_here() -> None:
    """Whatever the provider's clock says, on which it may be an hour old."""
    meta = {"created_at": datetime.fromtimestamp(UNIX - 3600, UTC).isoformat()}
    played = play(run(), seen("pending", meta=meta), seen("pending", meta=meta), seen("completed", meta=meta))

    first = polling.next_poll_delay(0.0, USUAL)
    assert played.sleeps == pytest.approx([first, polling.next_poll_delay(first, USUAL)])


@pytest.mark.parametrize(("age", "counted"), [(0.5, 0.5), (9.0, 9.0), (-60.0, 0.0), (1e5, 0.0), (1e9, 0.0)])
def test_age_of_a_task_that_was_found_is_the_providers(age: float, counted: float) -> None:
    """Unless it comes from the future, or is older than any task: one of the clocks has jumped."""
    meta = {"created_at": datetime.fromtimestamp(UNIX - age, UTC).isoformat()}
    played = play(wait(), seen("pending", meta=meta), seen("completed"))

    assert played.sleeps == [polling.next_poll_delay(counted, USUAL)]


def test_wait_learns_from_the_task_that_it_saw_end() -> None:
    """Under the kind that was asked for, else under the one that the answer names; from the create on."""
    run_, wait_, told = polling.DurationTracker(), polling.DurationTracker(), polling.DurationTracker()
    played = play(run(durations=run_), seen("pending"), seen("completed", model="new"))
    meta = {"created_at": "2026-01-01T00:00:00Z", "ended_at": "2026-01-01T00:01:40Z"}
    play(wait(kind=None, durations=wait_), seen("completed", meta=meta))

    told.learn(KIND, Task(task_data("completed"), Output), played.ended_at)
    assert run_.estimate(KIND) == told.estimate(KIND) != USUAL
    assert run_.estimate(f"new {TASK_TYPE}") == polling.DurationEstimate(polling.UNKNOWN_TYPE)
    assert wait_.estimate(KIND).seconds > USUAL.seconds


def test_task_that_was_done_before_the_first_look_teaches_nothing() -> None:
    """How long it took is not known, unless the provider says it."""
    experience = polling.DurationTracker()
    play(wait(durations=experience), seen("completed"))

    assert experience.estimate(KIND) == USUAL


# ---- the deadline


@pytest.mark.parametrize("timeout", [0.0, 0.1, 5.0, 60.0])
@pytest.mark.parametrize("flow", [run, wait], ids=["run", "wait"])
def test_wait_ends_exactly_at_its_deadline_with_a_last_look(flow: Callable[..., Flow[Any]], timeout: float) -> None:
    """The last sleep is cut to the deadline; there the task is looked at once more, and never after."""
    played = play(flow(timeout=timeout), seen("processing"))

    assert type(played.error) is errors.WaitTimeout
    assert played.sent_at[-1] == pytest.approx(timeout)
    assert played.ended_at == pytest.approx(timeout)


@pytest.mark.parametrize("flow", [run, wait], ids=["run", "wait"])
def test_timeout_of_0_looks_once(flow: Callable[..., Flow[Any]]) -> None:
    """Without sleeping."""
    still, done = play(flow(timeout=0.0), seen("pending")), play(flow(timeout=0.0), seen("pending"), seen("completed"))

    assert still.sent.count("GET") == 1
    assert still.sleeps == []
    assert isinstance(still.error, errors.WaitTimeout)
    assert done.result is None or done.result.status == "completed"


def test_timeout_keeps_what_is_needed_to_go_on() -> None:
    """The id, the task as last seen, how long and how often it was looked at."""
    played = play(wait(timeout=5.0), seen("pending"), seen("processing"), took=0.5)

    assert isinstance(played.error, errors.WaitTimeout)
    assert played.error.task_id == TASK_ID
    assert played.error.task is not None
    assert played.error.task.status == "processing"
    assert played.error.polls == len(played.sent)
    assert played.error.waited == pytest.approx(played.ended_at)
    assert f"client.wait({TASK_ID!r})" in str(played.error)


def test_timeout_tells_when_each_status_was_seen_first() -> None:
    """From the create on; the same word again is no news."""
    played = play(run(timeout=9.0), seen("pending"), seen("pending"), seen("processing"), took=0.5)

    assert isinstance(played.error, errors.WaitTimeout)
    assert played.error.statuses == ((0.0, "pending"), (pytest.approx(played.sent_at[2]), "processing"))


def test_timeout_without_any_answer_has_no_task() -> None:
    """Looks that fail until the deadline end in the deadline, not in their own trouble."""
    played = play(wait(timeout=5.0), CUT_OFF)

    assert isinstance(played.error, errors.WaitTimeout)
    assert played.error.task is None
    assert "(its status is unknown)" in str(played.error)


def test_default_timeout_is_the_usual_one_of_the_type() -> None:
    """None is a limit too: at least ten minutes, and twenty times the usual duration."""
    slow = max(spec.task_types().values(), key=lambda entry: entry.typical_seconds)
    short, long = play(wait(timeout=None), seen()), play(wait(kind=slow.name, timeout=None), seen())

    assert short.ended_at == pytest.approx(600.0)
    assert slow.typical_seconds > 30.0
    assert long.ended_at == pytest.approx(20 * slow.typical_seconds)


def test_look_may_not_outlive_the_deadline() -> None:
    """Its limit is the time that is left, but at least a second; and never more than one call may take."""
    played = play(wait(timeout=10.0, http_timeout=4.0), seen("processing"), took=2.0)

    assert played.timeouts == [pytest.approx(min(4.0, max(1.0, 10.0 - moment))) for moment in played.sent_at]
    assert played.timeouts[0] == 4.0
    assert played.timeouts[-1] == 1.0


@pytest.mark.parametrize(("status", "again"), [(299, True), (300, False), (399, False), (400, True), (500, True)])
def test_redirect_is_not_asked_for_again(status: int, again: bool) -> None:
    """It would be the same; any other trouble of a provider may be over."""
    assert retry_policy.is_retryable(errors.ProviderBroken("x", status=status)) is again


def test_reply_that_is_none_is_shown() -> None:
    """A shell that answers a request with anything else has a fault, and whoever reads the error sees it."""
    assert no_answer(CUT_OFF) == "ReadTimeout"
    assert no_answer(Resumed(AT_SOME_TIME)) == repr(Resumed(AT_SOME_TIME))


# ---- looks that fail

TROUBLES: dict[str, Response | TransportFailure] = {
    "502 in HTML": GATEWAY,
    "500 in the envelope": refused(500),
    "500 without credit": refused(500, "account credit not enough"),
    "520": answer(520, b""),
    "302": answer(302, b"", location="/login"),
    "403 in HTML": answer(403, b"<title>Just a moment...</title>"),
    "404 in HTML": answer(404, b"<html>"),
    "404, empty": answer(404, b""),
    "cut off": dataclasses.replace(seen("completed"), broken="ReadError: reset"),
    "429": refused(429),
    "200 in HTML": answer(200, b"<html>"),
    "read timeout": CUT_OFF,
    "no connection": NEVER_LEFT,
    "about another task": answer(200, {"data": {**task_data("completed"), "task_id": "another"}}),
}


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES.keys())
def test_troubled_looks_do_not_end_a_wait(trouble: Response | TransportFailure) -> None:
    """A look costs nothing, so it is repeated; pauses grow."""
    played = play(wait(), trouble, trouble, trouble, seen("completed"))

    assert played.result.status == "completed"
    assert played.sleeps == [0.375, 0.75, 1.5]


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES.keys())
@pytest.mark.parametrize("flow", [wait, get], ids=["wait", "get"])
def test_looks_that_keep_failing_end_when_patience_does(
    flow: Callable[..., Flow[Any]], trouble: Response | TransportFailure
) -> None:
    """Not before, and with the id of the task."""
    played = play(flow(timeout=1000.0, patience=10.0), trouble)

    assert isinstance(played.error, errors.Unreachable | errors.RateLimited | errors.ProviderBroken)
    assert played.error.task_id == TASK_ID
    assert played.sent_at[-1] > 10.0 >= played.sent_at[-2]
    assert (played.error.attempts, played.error.elapsed) == (len(played.sent), pytest.approx(played.ended_at))


REFUSALS = [301, 400, 401, 402, 403, 404, 409, 410, 422]


@pytest.mark.parametrize("status", REFUSALS)
@pytest.mark.parametrize("flow", [run, wait], ids=["run", "wait"])
def test_stray_refusal_does_not_end_the_wait_for_a_task_that_exists(
    flow: Callable[..., Flow[Any]], status: int
) -> None:
    """The provider has accepted or shown it, so it goes on."""
    played = play(flow(), seen("pending"), refused(status), refused(status), seen("completed"))

    assert played.result.status == "completed"


@pytest.mark.parametrize("status", REFUSALS)
def test_refusals_of_a_task_that_exists_end_with_how_to_go_on(status: int) -> None:
    played = play(run(timeout=1000.0, patience=10.0), seen("pending"), refused(status, "credit not enough"))

    assert isinstance(played.error, errors.ApiError)
    assert not isinstance(played.error, errors.InsufficientCredit)
    assert played.error.task_id == TASK_ID
    assert played.error.retry_advice is errors.Advice.RESUME
    assert pickle.loads(pickle.dumps(played.error)).retry_advice is errors.Advice.RESUME


def test_failed_task_is_an_end_also_under_a_status_of_failure() -> None:
    """A lack of credit is recorded as HTTP 500 with the failed task."""
    failed = answer(500, {"code": 500, "data": task_data("failed"), "message": "account credit not enough"})
    played = play(wait(), seen("pending"), failed)

    assert isinstance(played.error, errors.TaskFailed)


@pytest.mark.parametrize(("patience", "looks"), [(0.374, 2), (0.375, 3)])
def test_look_that_fails_just_when_patience_ends_is_borne_with(patience: float, looks: int) -> None:
    """It ends after that time, not at it."""
    assert len(play(get(patience=patience), CUT_OFF).sent) == looks


def test_patience_begins_anew_after_a_good_look() -> None:
    """It is for looks that fail in a row."""
    eight_seconds = [CUT_OFF] * 5
    played = play(
        wait(timeout=1000.0, patience=10.0), seen(), *eight_seconds, seen(), *eight_seconds, seen(), seen("completed")
    )

    assert played.result.status == "completed"


def test_patience_begins_with_the_first_look_that_fails() -> None:
    """The pause before a look is no failing."""
    still = seen()
    slow = Response(200, {"retry-after": "100"}, still.body, still.at)
    played = play(wait(timeout=1000.0, patience=10.0), slow, CUT_OFF, CUT_OFF, seen("completed"))

    assert played.result.status == "completed"


def test_retry_after_of_a_refused_look_wins() -> None:
    """Between its floor and its cap."""
    played = play(
        wait(patience=500.0, timeout=1000.0),
        *(refused(429, retry_after=asked) for asked in ("7", "0", "9999")),
        seen("completed"),
    )

    assert played.sleeps == [7.0, retry_policy.RETRY_AFTER_FLOOR, retry_policy.RETRY_AFTER_CAP]


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 410, 422])
@pytest.mark.parametrize("flow", [wait, get], ids=["wait", "get"])
def test_refused_look_ends_at_once_with_the_id(flow: Callable[..., Flow[Any]], status: int) -> None:
    """The provider itself refuses to show a task that it has never shown: the next poll would be refused as well."""
    played = play(flow(), refused(status))

    assert isinstance(played.error, errors.ApiError)
    assert played.error.status == status
    assert played.error.task_id == TASK_ID
    assert played.sent == ["GET"]


def test_look_at_another_task_names_both() -> None:
    """A mix-up of the provider is no news of our task."""
    played = play(get(patience=0.1), TROUBLES["about another task"])

    assert str(played.error) == f"asked for task {TASK_ID!r}, the answer is about 'another'"


def test_get_looks_once_and_does_not_mind_the_state() -> None:
    """A failed task is an answer like any other."""
    played = play(get(), seen("failed"))

    assert played.sent == ["GET"]
    assert played.result.status == "failed"
    assert played.changes == []


# ---- interruption


def run_steps() -> list[type]:
    """The kinds of step of a run, in their order."""
    return [type(step) for step in play(run(), seen("pending"), seen("processing"), seen("completed")).steps]


@pytest.mark.parametrize("number", range(3, len(run_steps())))
def test_interrupted_run_says_which_task_goes_on(number: int) -> None:
    """From the moment a task is accepted, no way out loses its id, whichever step is under way."""
    stop = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        play(run(), seen("pending"), seen("processing"), seen("completed"), interrupted=(number, stop))

    assert stop.__notes__ == [f"unitask: task {TASK_ID} goes on; client.wait({TASK_ID!r}) waits for it again"]


def test_interrupted_wait_says_so_in_its_first_step() -> None:
    """An async wait can be cancelled before its first look."""
    stop = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        play(wait(), interrupted=(0, stop))

    assert TASK_ID in stop.__notes__[0]


def test_own_error_from_outside_gets_no_note() -> None:
    """An error of unitask's own, raised while a change is told, says what it has to say."""
    stop = errors.InvalidInput("x")
    played = play(wait(), seen("pending"), interrupted=(3, stop))

    assert played.error is stop
    assert not hasattr(stop, "__notes__")


# ---- what errors carry

TRACED = {"cf-ray": "7", "x-request-id": "r"}


def traced(reply: Response) -> Response:
    return dataclasses.replace(reply, headers={**TRACED, "x-other": "1"})


def test_failed_task_tells_its_looks() -> None:
    """How many, for how long, and the headers that support asks for."""
    error = play(wait(), seen("processing"), traced(seen("failed")), took=1.0).error

    assert isinstance(error, errors.TaskFailed)
    assert error.attempts == 2
    assert error.elapsed == pytest.approx(2.0 + polling.next_poll_delay(1.0, USUAL))
    assert error.headers == TRACED


def test_timeout_tells_its_looks() -> None:
    """The same, and when each status was seen first."""
    error = play(wait(timeout=5.0), seen("pending"), traced(seen("processing")), took=0.5).error

    assert isinstance(error, errors.WaitTimeout)
    assert error.attempts == error.polls > 2
    assert error.elapsed == error.waited == pytest.approx(5.5)
    assert error.headers == TRACED
    assert [status for _, status in error.statuses] == ["pending", "processing"]
    assert error.statuses[0][0] == pytest.approx(0.5)
    assert error.started


def test_failing_looks_tell_their_number() -> None:
    """Those of the last trouble."""
    error = play(wait(patience=5.0), seen("processing"), traced(GATEWAY), took=1.0).error

    assert isinstance(error, errors.ProviderBroken)
    assert error.attempts > 2
    assert error.elapsed > 5.0
    assert error.headers == TRACED


def test_uncertain_create_shows_the_answer_that_came() -> None:
    """Support asks for it."""
    broken = play(submit(), traced(GATEWAY), took=3.0).error
    silent = play(submit(), CUT_OFF, took=3.0).error

    assert isinstance(broken, errors.SubmissionUncertain)
    assert (broken.headers, broken.body) == (TRACED, "<html>Bad Gateway</html>")
    assert isinstance(silent, errors.SubmissionUncertain)
    assert (silent.headers, silent.body) == ({}, "")
    assert silent.elapsed == 3.0


def test_refused_create_tells_its_time() -> None:
    """From the first attempt on."""
    error = play(submit(), NEVER_LEFT, refused(400), took=1.0).error

    assert isinstance(error, errors.InvalidRequest)
    assert (error.attempts, error.elapsed) == (2, pytest.approx(2.375))


# ---- requests that bring no task


def test_acknowledged_request_returns_what_was_said() -> None:
    """A cancel brings no task."""
    played = play(cancel(), answer(200, {"code": 200, "message": "task canceled"}))

    assert played.sent == ["DELETE"]
    assert played.result == "task canceled"


@pytest.mark.parametrize("trouble", [GATEWAY, refused(500), refused(429), CUT_OFF, NEVER_LEFT])
def test_troubled_cancel_is_sent_again_while_patience_lasts(trouble: Response | TransportFailure) -> None:
    """To cancel twice does no harm."""
    well = play(cancel(), trouble, trouble, answer(200, {"message": "done"}))
    badly = play(cancel(patience=5.0), trouble)

    assert well.result == "done"
    assert well.sleeps == [0.375, 0.75]
    assert isinstance(badly.error, errors.Unreachable | errors.RateLimited | errors.ProviderBroken)
    assert badly.sent_at[-1] > 5.0 >= badly.sent_at[-2]
    assert badly.error.task_id == TASK_ID


@pytest.mark.parametrize("status", [301, 400, 401, 404, 422])
def test_refused_cancel_ends_at_once_with_the_id(status: int) -> None:
    """A task that runs cannot be cancelled; asking again changes nothing."""
    played = play(cancel(), refused(status))

    assert isinstance(played.error, errors.ApiError)
    assert played.sent == ["DELETE"]
    assert played.error.task_id == TASK_ID


@pytest.mark.parametrize("trouble", [GATEWAY, CUT_OFF])
def test_repeated_cancel_is_refused_because_the_first_did_it(trouble: Response | TransportFailure) -> None:
    """Its answer was lost; a look shows that the task is cancelled, which is what was asked for."""
    played = play(cancel(), trouble, refused(400), seen("cancelled"))

    assert (played.error, played.result) == (None, "")
    assert played.sent == ["DELETE", "DELETE", "GET"]


def test_look_after_a_refused_cancel_is_repeated_as_any_other() -> None:
    """It bears with failures as long as the cancel does."""
    played = play(cancel(), CUT_OFF, refused(400), GATEWAY, seen("cancelled"))

    assert (played.error, played.result) == (None, "")
    assert played.sent == ["DELETE", "DELETE", "GET", "GET"]


@pytest.mark.parametrize("shown", [seen("processing"), refused(404), seen("cancelled", task_id="another")])
def test_repeated_cancel_that_did_nothing_is_refused(shown: Response) -> None:
    """The task runs, or cannot be looked at: what is told is the refusal."""
    played = play(cancel(), CUT_OFF, refused(400), shown)

    assert isinstance(played.error, errors.InvalidRequest)
    assert (played.error.task_id, played.error.attempts) == (TASK_ID, 2)


def test_unreachable_counts_its_attempts() -> None:
    """How often it was tried, looks and cancels alike."""
    looked, cancelled = play(get(patience=5.0), CUT_OFF), play(cancel(patience=5.0), CUT_OFF)

    assert isinstance(looked.error, errors.Unreachable)
    assert isinstance(cancelled.error, errors.Unreachable)
    assert looked.error.attempts == len(looked.sent)
    assert cancelled.error.attempts == len(cancelled.sent)
    assert "ReadTimeout" in str(looked.error)
    assert "ReadTimeout" in str(cancelled.error)


# ---- what may be sent again, and when


@pytest.mark.parametrize(("random", "pauses"), [(0.0, [0.25, 0.5, 1.0]), (1.0, [0.5, 1.0, 2.0])])
def test_pauses_double_and_are_spread(random: float, pauses: list[float]) -> None:
    """From half of the longest pause to the whole."""
    resend = RetryPolicy(lambda: random)

    assert [resend.pause(attempt) for attempt in (1, 2, 3)] == pauses


@pytest.mark.parametrize("attempt", [5, 6, 50, 1000])
def test_pause_is_never_longer_than_its_cap(attempt: int) -> None:
    """However often it was tried."""
    assert RetryPolicy(lambda: 1.0).pause(attempt) == 8.0


# ---- for any provider

bodies = st.sampled_from(
    [b"", b"<html>", b"null", b"[1]", b'{"code": 500}', b'{"code": 500, "message": "x"}', b'{"data": {"task_id": " "}}']
)
answers = st.builds(
    lambda status, body, headers: Response(status, headers, body, AT_SOME_TIME),
    st.sampled_from([200, 200, 201, 204, 301, 400, 401, 402, 404, 418, 422, 429, 429, 500, 502, 503, 520, 599]),
    bodies | st.binary(max_size=20) | st.sampled_from([seen(word).body for word in ("pending", "odd", "completed")]),
    st.sampled_from([{}, {"retry-after": "0"}, {"retry-after": "40"}, {"retry-after": "soon"}]),
)
looks = st.sampled_from([seen(word) for word in ("pending", "processing", "odd", None, "failed", "completed")])
failures = st.sampled_from([NEVER_LEFT, CUT_OFF])
scripts = st.lists(answers | looks | failures, min_size=1, max_size=8)


@settings(max_examples=400, deadline=None)
@given(script=scripts)
def test_no_provider_makes_submit_send_a_second_create_that_may_count(
    script: list[Response | TransportFailure],
) -> None:
    """Every create but the last provably never arrived, or was refused by 429; the end is a task or a typed error."""
    played = play(submit(), *script)
    met = [*script, *[script[-1]] * RESEND.attempts][: len(played.sent)]

    assert all(reply == NEVER_LEFT or getattr(reply, "status", None) == 429 for reply in met[:-1])
    assert len(met) <= RESEND.attempts
    assert isinstance(played.result, Task) != isinstance(played.error, errors.UnitaskError)


@settings(max_examples=400, deadline=None)
@given(
    script=scripts,
    timeout=st.sampled_from([0.0, 1.0, 7.5, 100.0]),
    patience=st.sampled_from([0.1, 5.0, 200.0]),
    took=st.sampled_from([0.0, 0.3, 4.0]),
)
def test_no_provider_makes_a_wait_look_late_or_lose_the_id(
    script: list[Response | TransportFailure], timeout: float, patience: float, took: float
) -> None:
    """No look is sent after the deadline, it always ends, and every error names the task."""
    played = play(wait(timeout=timeout, patience=patience), *script, took=took)

    assert max(played.sent_at) <= timeout + 1e-9
    if played.error is None:
        assert played.result.id == TASK_ID
    else:
        assert played.error.task_id == TASK_ID


@settings(max_examples=200, deadline=None)
@given(script=scripts)
def test_no_provider_makes_a_run_end_without_a_trace(script: list[Response | TransportFailure]) -> None:
    """Once a task was accepted, every error names it; before that, none claims to."""
    played = play(run(timeout=30.0, patience=5.0), *script)

    assert played.sent.count("POST") <= RESEND.attempts
    if "GET" in played.sent and played.error is not None:
        assert played.error.task_id == TASK_ID
    assert not any(isinstance(step, Sleep) and step.seconds < 0 for step in played.steps)
