"""The flows of a submission, a wait and a cancellation: what is sent, when, how often, and how it ends."""

import dataclasses
import itertools
import pickle
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unitask import Timestamp, errors
from unitask._core import flows, retry
from unitask._core.effects import Flow, Reply, Response, SendRequest, Sleep, TaskUpdated
from unitask._core.polling import DurationTracker
from unitask._core.recovery import ClientIdentity, Submission
from unitask._model.task import Output, Task
from unitask.tasks import FaceSwapOutput

from .script import (
    CUT_OFF,
    GATEWAY,
    MODEL,
    NEVER_LEFT,
    RESEND,
    TASK_ID,
    TASK_TYPE,
    TICKS,
    UNIX,
    answer,
    drive,
    finished,
    limits,
    play,
    refused,
    run_flow,
    seen,
    task_data,
)

BODY = {"model": MODEL, "task_type": TASK_TYPE, "input": {"target_image": "b", "swap_image": "a"}}
KIND = "FaceSwap"


def submit() -> Flow[Task[FaceSwapOutput]]:
    return flows.submit(BODY, FaceSwapOutput, RESEND)


def run(**changes: Any) -> Flow[Task[FaceSwapOutput]]:
    return run_flow(BODY, FaceSwapOutput, KIND, limits(**changes))


def wait(kind: str | None = KIND, exists: bool = False, **changes: Any) -> Flow[Task[FaceSwapOutput]]:
    return flows.wait(TASK_ID, FaceSwapOutput, kind, limits(**changes), exists=exists)


def watch(exists: bool = False, **changes: Any) -> Flow[Task[FaceSwapOutput]]:
    return flows.watch(TASK_ID, FaceSwapOutput, KIND, limits(**changes), exists=exists)


def get(exists: bool = False, **changes: Any) -> Flow[Task[FaceSwapOutput]]:
    return flows.get(TASK_ID, FaceSwapOutput, limits(**changes), exists=exists)


def cancel(**changes: Any) -> Flow[str]:
    return retry.cancel(TASK_ID, limits(**changes))


@pytest.mark.parametrize("failures", [0, 1, 3])
def test_submission_that_never_left_is_sent_up_to_four_times(failures: int) -> None:
    played, hopeless = play(submit(), *[NEVER_LEFT] * failures, seen("pending")), play(submit(), NEVER_LEFT)
    create = next(step for step in played.steps if isinstance(step, SendRequest))

    assert (create.method, create.path, create.json) == ("POST", "/api/v1/task", BODY)
    assert (played.result.id, played.changes) == (TASK_ID, ["pending"])
    assert played.sent == ["POST"] * (failures + 1)
    assert played.sleeps == [0.375, 0.75, 1.5][:failures]
    assert type(hopeless.error) is errors.Unreachable
    assert hopeless.error.attempts == len(hopeless.sent) == 4
    assert "ConnectError: refused" in str(hopeless.error)


@pytest.mark.parametrize(("seconds", "slept"), [("7", 7.0), ("0.1", 0.5), ("9999", 120.0), (None, 0.375)])
def test_rate_limited_submission_is_repeated_after_retry_after_within_limits(seconds: str | None, slept: float) -> None:
    limited = refused(429, "slow down", **({"retry_after": seconds} if seconds else {}))
    played, lasting = play(submit(), limited, seen()), play(submit(), limited).error

    assert played.result.id == TASK_ID
    assert played.sleeps == [slept]
    assert isinstance(lasting, errors.RateLimited)
    assert (lasting.attempts, lasting.retry_after) == (RESEND.attempts, seconds and float(seconds))


FAILED = task_data("failed")
DECIDED: dict[str, tuple[Response, type[errors.ApiError], str | None]] = {
    "308 in HTML": (answer(308, b"<html>"), errors.ProviderBroken, None),
    "300 in HTML": (answer(300, b"<html>"), errors.ProviderBroken, None),
    "400 beside a task": (refused(400, location="/task/x"), errors.InvalidRequest, None),
    "400 with an odd id": (answer(400, {"code": 10003, "data": {"task_id": 7}}), errors.BadInputMedia, None),
    "500 with data": (answer(500, {"code": 500, "data": None}), errors.ProviderBroken, None),
    "500 with a message": (answer(500, {"code": 500, "message": "no"}), errors.ProviderBroken, None),
    "404 in HTML": (answer(404, b"<html>"), errors.NotFound, None),
    "500 in the envelope": (refused(500), errors.ProviderBroken, None),
    "500, queue full": (refused(500, "the queue is full"), errors.QueueFull, None),
    "500 with the failed task": (refused(500, "failed to freeze point", FAILED), errors.InsufficientCredit, TASK_ID),
    "429 with the failed task": (refused(429, "slow down", FAILED), errors.RateLimited, TASK_ID),
}


@pytest.mark.parametrize(("reply", "kind", "task_id"), DECIDED.values(), ids=DECIDED.keys())
def test_refused_submission_is_sent_once(reply: Response, kind: type[errors.ApiError], task_id: str | None) -> None:
    played = play(submit(), NEVER_LEFT, reply, took=1.0)

    assert isinstance(played.error, kind)
    assert (played.error.status, played.error.task_id) == (reply.status, task_id)
    assert (played.error.attempts, played.error.elapsed) == (2, pytest.approx(2.375))
    assert played.sent == ["POST"] * 2


TRACED = {"cf-ray": "7", "x-request-id": "r"}
UNCERTAIN: dict[str, tuple[Reply, str, str | None]] = {
    "read timeout": (CUT_OFF, "no answer, ReadTimeout", None),
    "520, empty": (answer(520, b""), "HTTP 520 from a gateway: an empty body", None),
    "503 with the failed task": (refused(503, "no", FAILED), "HTTP 503 from a gateway", TASK_ID),
    "303": (answer(303, b"", location=f"/api/v1/task/{TASK_ID}"), "HTTP 303 that is not the API's own", TASK_ID),
    "cut off": (dataclasses.replace(seen(), broken="ReadError: reset"), "HTTP 200, and ReadError: reset", TASK_ID),
    "429 that names a task in its words": (refused(429, f'"task_id":"{TASK_ID}"'), "HTTP 429 that is not", TASK_ID),
}


@pytest.mark.parametrize(("reply", "reason", "task_id"), UNCERTAIN.values(), ids=UNCERTAIN.keys())
def test_submission_that_may_have_been_accepted_is_sent_once(reply: Reply, reason: str, task_id: str | None) -> None:
    reply = dataclasses.replace(reply, headers={**reply.headers, **TRACED}) if isinstance(reply, Response) else reply
    played = play(submit(), reply, took=5.0)
    error = played.error

    assert type(error) is errors.SubmissionUncertain
    assert played.sent == ["POST"]
    assert (error.model, error.task_type, error.attempts, error.elapsed) == (MODEL, TASK_TYPE, 1, 5.0)
    assert error.sent_between == (datetime.fromtimestamp(UNIX, UTC), datetime.fromtimestamp(UNIX + 5, UTC))
    assert reason in str(error)
    assert error.task_id == task_id
    assert (error.headers, error.body) == ((TRACED, reply.body.decode()) if isinstance(reply, Response) else ({}, ""))


def test_fingerprint_is_equal_only_for_equal_tasks() -> None:
    def fingerprint(**changes: Any) -> str:
        played = play(flows.submit({**BODY, **changes}, Output, RESEND), CUT_OFF)
        assert isinstance(played.error, errors.SubmissionUncertain)
        return played.error.fingerprint

    first = fingerprint()
    assert re.fullmatch("[0-9a-f]{64}", first)
    for same in ({"input": {"swap_image": "a", "target_image": "b"}}, {"config": {"service_mode": "public"}}):
        assert fingerprint(**same) == first
    for other in ({"input": {"swap_image": "b", "target_image": "a"}}, {"model": "other"}, {"task_type": "other"}):
        assert fingerprint(**other) != first


def test_uncertain_submission_has_its_time_on_the_clock_of_the_provider() -> None:
    dated = UNIX + 100.0, Timestamp(TICKS, UNIX)
    submission = Submission(client=ClientIdentity("this process", "account"), dated=lambda: dated)
    played = play(flows.submit(BODY, Output, RESEND, submission), CUT_OFF, took=5.0)
    assert isinstance(played.error, errors.SubmissionUncertain)
    sent = played.error.identity.sent

    assert (sent.process, sent.on_provider) == ("this process", (UNIX + 100.0, UNIX + 106.0))
    assert played.error.identity.account == "account"


@pytest.mark.parametrize(("word", "said"), [("Failed", "failed"), ("canceled", "cancelled")])
def test_task_that_ends_without_a_result_raises_with_the_task(word: str, said: str) -> None:
    failed = seen(word, error={"code": 10000, "message": "no face found in the image"})
    played = play(wait(), seen("processing"), seen("Hibernating"), seen(None), failed)

    assert isinstance(played.error, errors.TaskFailed)
    assert isinstance(played.error, errors.NoFaceFound)
    assert played.error.task_id == TASK_ID
    assert played.error.task.status == word
    assert str(played.error) == f"task {TASK_ID} {said}: no face found in the image"


def test_each_change_is_reported_once() -> None:
    half = {"progress": 50}
    script = [seen(), seen(), seen(**half), seen(**half), seen("Pending", **half), seen("completed")]

    assert play(run(), *script).changes == ["pending", "pending", "Pending", "completed"]


@pytest.mark.parametrize(("seconds", "slept"), [("9", 9.0), ("0", None), ("9999", 60.0)])
def test_longer_retry_after_of_a_successful_poll_sets_the_next_pause(seconds: str, slept: float | None) -> None:
    planned = DurationTracker().next_poll_delay(KIND, 0.0)
    busy = dataclasses.replace(seen("pending"), headers={"retry-after": seconds})
    played = play(wait(), busy, seen("pending"), seen("completed"))

    assert played.sleeps[0] == pytest.approx(slept or planned)
    if slept != 60.0:  # which is the deadline
        assert played.sleeps[1] == pytest.approx(DurationTracker().next_poll_delay(KIND, slept or planned))


@pytest.mark.parametrize(("age", "counted"), [(9.0, 9.0), (0.5, 0.5), (21600.0, 21600.0), (-60.0, 0.0), (1e5, 0.0)])
def test_age_is_measured_here_or_read_from_the_provider_for_a_task_that_was_found(age: float, counted: float) -> None:
    meta = {"created_at": datetime.fromtimestamp(UNIX - age, UTC).isoformat()}
    found = play(wait(), seen("pending", meta=meta), seen("completed"))
    created = play(run(), *[seen("pending", meta=meta)] * 2, seen("completed", meta=meta), took=0.25)

    first = DurationTracker().next_poll_delay(KIND, 0.0)
    assert found.sleeps == [DurationTracker().next_poll_delay(KIND, counted)]
    assert created.sleeps == pytest.approx([first, DurationTracker().next_poll_delay(KIND, first + 0.25)])


def test_wait_learns_from_the_task_that_it_saw_end() -> None:
    trackers = seen_by_run, by_watch, by_wait, found, nothing = [DurationTracker() for _ in range(5)]
    play(run(durations=seen_by_run), seen("pending"), seen("completed", model="new"))
    play(watch(durations=by_watch), seen("pending"), seen("completed", model="new"))
    meta = {"created_at": "2026-01-01T00:00:00Z", "ended_at": "2026-01-01T00:01:40Z"}
    play(wait(kind=None, durations=by_wait), seen("completed", meta=meta))
    old = {"created_at": datetime.fromtimestamp(UNIX - 300.0, UTC).isoformat()}
    for _ in range(20):  # that each still runs after 300 s says nothing about those that ended before
        play(wait(durations=found, timeout=0.0), seen("pending", meta=old))
    play(wait(durations=nothing), seen("completed"))  # how long it took is not known
    usual = [tracker.usual_seconds(KIND) for tracker in trackers]

    assert usual[0] < 8 > usual[1]
    assert usual[2] > 8
    assert usual[3:] == [DurationTracker().usual_seconds(KIND)] * 2
    assert seen_by_run.usual_seconds(f"new {TASK_TYPE}") == pytest.approx(30.0, rel=1e-3)


@pytest.mark.parametrize("timeout", [0.0, 5.0])
@pytest.mark.parametrize("flow", [run, wait], ids=["run", "wait"])
def test_wait_ends_exactly_at_its_deadline_with_a_last_poll(flow: Callable[..., Flow[Any]], timeout: float) -> None:
    played = play(flow(timeout=timeout), seen("processing"))

    assert type(played.error) is errors.WaitTimeout
    assert played.sent_at[-1] == pytest.approx(timeout)
    assert played.ended_at == pytest.approx(timeout)


def test_timeout_holds_its_task_and_its_polls() -> None:
    last = dataclasses.replace(seen("processing"), headers={**TRACED, "x-other": "1"})
    played = play(run(timeout=9.0), seen("pending"), seen("pending"), last, took=0.5)
    error = played.error

    assert isinstance(error, errors.WaitTimeout)
    assert error.task
    assert (error.task_id, error.task.status) == (TASK_ID, "processing")
    assert str(error).startswith(f"task {TASK_ID} is not done after {error.elapsed:.1f} s and ")
    assert error.attempts == error.polls == len(played.sent) - 1
    assert error.elapsed == pytest.approx(played.sent_at[-1])  # since the answer to the submission, which took 0.5 s
    assert error.statuses == ((0.0, "pending"), (pytest.approx(played.sent_at[2]), "processing"))
    assert error.headers == TRACED


def test_poll_may_not_outlive_the_deadline() -> None:
    played = play(wait(timeout=10.0, http_timeout=4.0), seen("processing"), took=2.0)

    assert played.timeouts == [pytest.approx(min(4.0, max(1.0, 10.0 - moment))) for moment in played.sent_at]
    assert played.timeouts[0] == 4.0
    assert played.timeouts[-1] == 1.0


TROUBLES: dict[str, Reply] = {
    "502 in HTML": GATEWAY,
    "500 without credit": refused(500, "account credit not enough"),
    "302": answer(302, b"", location="/login"),
    "cut off": dataclasses.replace(seen("completed"), broken="ReadError: reset"),
    "429": refused(429),
    "no connection": NEVER_LEFT,
    "about another task": answer(200, {"data": {**task_data("completed"), "task_id": "another"}}),
}


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES.keys())
@pytest.mark.parametrize("flow", [wait, get], ids=["wait", "get"])
def test_polls_that_keep_failing_end_with_the_patience(flow: Callable[..., Flow[Any]], trouble: Reply) -> None:
    played = play(flow(timeout=1000.0, patience=10.0), trouble)
    passing = play(flow(), trouble, trouble, trouble, seen("completed"))

    assert passing.result.status == "completed"
    assert passing.sleeps == [0.375, 0.75, 1.5]
    assert isinstance(played.error, errors.Unreachable | errors.RateLimited | errors.ProviderBroken)
    assert played.error.task_id == TASK_ID
    assert played.sent_at[-1] > 10.0 >= played.sent_at[-2]
    assert (played.error.attempts, played.error.elapsed) == (len(played.sent), pytest.approx(played.ended_at))
    if trouble is TROUBLES["about another task"]:
        assert str(played.error) == f"task {TASK_ID!r} was requested, the answer is about 'another'"


@pytest.mark.parametrize("status", [301, 402, 404, 422])
@pytest.mark.parametrize("flow", [run, wait], ids=["run", "wait"])
def test_refused_polls_of_a_task_that_was_shown_end_with_patience(flow: Callable[..., Flow[Any]], status: int) -> None:
    stray = play(flow(), seen("pending"), refused(status), refused(status), seen("completed"))
    played = play(run(timeout=1000.0, patience=10.0), seen("pending"), refused(status, "credit not enough"))

    assert stray.result.status == "completed"
    assert isinstance(played.error, errors.ApiError)
    assert not isinstance(played.error, errors.InsufficientCredit)
    assert played.error.task_id == TASK_ID
    assert f"client.wait({TASK_ID!r})" in played.error.next_step
    assert pickle.loads(pickle.dumps(played.error)).next_step == played.error.next_step


@pytest.mark.parametrize("flow", [wait, watch, get])
def test_refused_poll_of_a_task_that_was_accepted_earlier_is_repeated(flow: Callable[..., Flow[Any]]) -> None:
    assert play(flow(exists=True), refused(404), seen("completed")).sent == ["GET", "GET"]


def test_watch_asks_once_for_an_unknown_task_and_not_for_one_that_is_done() -> None:
    assert play(flows.watch(TASK_ID, Output, KIND, limits()), refused(404)).sent == ["GET"]
    assert play(flows.watch(TASK_ID, Output, KIND, limits(), seen=finished())).sent == []


@pytest.mark.parametrize(
    "script",
    [
        [seen(), *[CUT_OFF] * 5, seen(), *[CUT_OFF] * 5, seen()],  # 8 seconds each
        [dataclasses.replace(seen(), headers={"retry-after": "100"}), CUT_OFF, CUT_OFF],
    ],
    ids=["anew after a success", "with the first failure"],
)
def test_patience_begins_with_the_first_failed_poll(script: list[Reply]) -> None:
    assert play(wait(timeout=1000.0, patience=10.0), *script, seen("completed")).result.status == "completed"


@pytest.mark.parametrize("slow", ["the caller between polls", "the failed poll"])
def test_poll_that_fails_is_repeated_once_at_least(slow: str) -> None:
    script = iter([seen("pending"), CUT_OFF, seen("completed")])

    def respond(step: Any, _: float) -> tuple[Reply | None, float]:
        if isinstance(step, SendRequest):
            reply = next(script)
            return reply, 60.0 if slow == "the failed poll" and reply is CUT_OFF else 0.0
        is_slow = slow == "the caller between polls" and isinstance(step, TaskUpdated)
        return None, 60.0 if is_slow else getattr(step, "seconds", 0.0)

    assert drive(watch(timeout=1000.0, patience=30.0, http_timeout=60.0), respond).result.status == "completed"


def test_repeated_poll_is_cut_off_soon_after_the_patience() -> None:
    played = play(wait(timeout=1000.0, patience=30.0, http_timeout=60.0), CUT_OFF, took=25.0)

    assert played.timeouts == [60.0, 10.0]
    assert play(cancel(patience=30.0), CUT_OFF, took=40.0).sent == ["DELETE", "DELETE"]


def test_retry_after_of_a_refused_poll_is_followed() -> None:
    played = play(
        wait(patience=500.0, timeout=1000.0),
        *(refused(429, retry_after=seconds) for seconds in ("7", "0", "9999")),
        seen("completed"),
    )

    assert played.sleeps == [7.0, retry.RETRY_AFTER_FLOOR, retry.RETRY_AFTER_CAP]


SEEN = [seen("pending"), seen("processing"), seen("completed")]


@pytest.mark.parametrize(
    ("flow", "number"), [(wait, 0), *((run, number) for number in range(3, len(play(run(), *SEEN).steps)))]
)
def test_interruption_names_the_task_at_every_step(flow: Callable[..., Flow[Any]], number: int) -> None:
    stop = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        play(flow(), *SEEN, interrupted=(number, stop))

    (note,) = stop.__notes__
    assert f"client.wait({TASK_ID!r})" in note


@pytest.mark.parametrize("status", [301, 400, 401, 404])
@pytest.mark.parametrize(("flow", "sent"), [(wait, "GET"), (get, "GET"), (cancel, "DELETE")])
def test_refused_request_ends_at_once_with_the_id(flow: Callable[..., Flow[Any]], sent: str, status: int) -> None:
    played = play(flow(), refused(status))

    assert isinstance(played.error, errors.ApiError)
    assert (played.error.status, played.error.task_id, played.sent) == (status, TASK_ID, [sent])


def test_answer_about_the_account_in_another_form_is_asked_for_again_but_a_redirect_is_not() -> None:
    for flow, what in ((retry.account(limits()), "an account"), (retry.active_tasks(limits()), "counts of tasks")):
        played = play(flow, answer(200, {"data": {"data": {}, "kling": 7}}))
        assert str(played.error).startswith(f"HTTP 200 without {what}: ")
        assert len(played.sent) > 1
    of_status = {each: retry.is_retryable(errors.ProviderBroken("", status=each)) for each in (300, 399, 400)}
    assert of_status == {300: False, 399: False, 400: True}


def test_repeated_cancel_that_is_refused_succeeds_when_the_task_is_cancelled() -> None:
    played = play(cancel(), CUT_OFF, refused(400), GATEWAY, seen("cancelled"))

    assert (played.error, played.result) == (None, "")
    assert played.sent == ["DELETE", "DELETE", "GET", "GET"]
    for shown in (seen("processing"), refused(404), seen("cancelled", task_id="another")):
        error = play(cancel(), CUT_OFF, refused(400), shown).error
        assert isinstance(error, errors.InvalidRequest)
        assert (error.task_id, error.attempts) == (TASK_ID, 2)


bodies = st.sampled_from(
    [b"", b"<html>", b"null", b"[1]", b'{"code": 500}', b'{"code": 500, "message": "x"}', b'{"data": {"task_id": " "}}']
)
answers = st.builds(
    lambda status, body, headers: answer(status, body, **headers),
    st.sampled_from([200, 200, 201, 204, 301, 400, 401, 402, 404, 418, 422, 429, 429, 500, 502, 503, 520, 599]),
    bodies | st.binary(max_size=20) | st.sampled_from([seen(word).body for word in ("pending", "odd", "completed")]),
    st.sampled_from([{}, {"retry_after": "0"}, {"retry_after": "40"}, {"retry_after": "soon"}]),
)
polls = [seen(word) for word in ("pending", "processing", "odd", None, "failed", "completed")]
scripts = st.lists(answers | st.sampled_from([*polls, NEVER_LEFT, CUT_OFF]), min_size=1, max_size=8)


@settings(max_examples=200)
@given(script=scripts)
def test_no_provider_makes_submit_send_a_second_submission_that_may_count(script: list[Any]) -> None:
    played = play(submit(), *script)
    met = [*script, *[script[-1]] * RESEND.attempts][: len(played.sent)]

    assert all(reply == NEVER_LEFT or getattr(reply, "status", None) == 429 for reply in met[:-1])
    assert len(met) <= RESEND.attempts
    assert isinstance(played.result, Task) != isinstance(played.error, errors.UnitaskError)


@settings(max_examples=300)
@given(
    script=scripts,
    flow=st.sampled_from([run, wait]),
    timeout=st.sampled_from([0.0, 1.0, 7.5, 100.0]),
    patience=st.sampled_from([0.1, 5.0, 200.0]),
    took=st.sampled_from([0.0, 0.3, 4.0]),
)
def test_no_provider_makes_a_wait_poll_late_or_lose_the_id(
    script: list[Any], flow: Callable[..., Flow[Any]], timeout: float, patience: float, took: float
) -> None:
    played = play(flow(timeout=timeout, patience=patience), *script, took=took)

    if flow is wait:
        assert max(played.sent_at) <= timeout + 1e-9
    assert played.sent.count("POST") <= RESEND.attempts
    if "GET" in played.sent:
        assert (played.error.task_id if played.error else played.result.id) == TASK_ID
    assert not any(isinstance(step, Sleep) and step.seconds < 0 for step in played.steps)


@given(
    kind=st.sampled_from(["FaceSwap", "KlingVideo", "UdioMusic", "no such type"]),
    done_at=st.floats(0, 4000),
    took=st.floats(0, 3),
    learned=st.lists(st.floats(0.1, 2000), max_size=6),
    retry_after=st.floats(0, 300),
)
def test_polls_keep_a_distance_and_follow_retry_after(
    kind: str, done_at: float, took: float, learned: list[float], retry_after: float
) -> None:
    durations = DurationTracker()
    for seconds in learned:
        durations.note_poll(kind, 0.0, seconds, ended=True)

    def respond(step: Any, now: float) -> tuple[Any, float]:
        if not isinstance(step, SendRequest):
            return None, getattr(step, "seconds", 0.0)
        found = seen("completed" if now + took >= done_at else "processing")
        return dataclasses.replace(found, headers={"retry-after": f"{retry_after:.3f}"}), took

    limited = limits(timeout=1e6, patience=1e9, durations=durations)
    sent_at = drive(flows.wait(TASK_ID, Output, kind, limited), respond).sent_at

    wish = min(retry_after, 120.0)
    pauses = [later - earlier - took for earlier, later in itertools.pairwise(sent_at)]
    assert all(max(0.5, wish) - 0.001 <= pause <= max(30.0, wish) + 0.001 for pause in pauses)  # whole milliseconds
    assert sum(moment + took >= done_at for moment in sent_at) == 1


@given(st.floats())
def test_every_clock_has_a_time(unix: float) -> None:
    assert 1970 <= Timestamp(0.0, unix).utc.year <= 9999


def test_wait_through_an_outage_of_hours_ends_with_the_patience() -> None:
    played = play(wait(timeout=1e9, patience=7200.0), CUT_OFF, took=0.5)

    assert isinstance(played.error, errors.Unreachable)
    assert 7200 <= played.ended_at <= 7260
