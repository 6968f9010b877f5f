"""The calls of the clients: what is sent, what is returned and logged. Each test runs with both clients."""

import asyncio
import contextlib
import dataclasses
import logging
import pickle
import re
import time
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from unitask import AsyncClient, Client, Outcome, Output, OutputFile, Task, Timestamp, errors, tasks, webhooks
from unitask._base_client import NEVER_LEFT
from unitask._core.effects import Response, Resumed, Sleep
from unitask._core.polling import DurationTracker
from unitask._drive import Drive
from unitask.tasks import FaceSwapOutput
from unitask.testing import InstantClock
from unitask_api import contract

from .pictures import encoded
from .script import GATEWAY, MODEL, OUTPUT_URL, TASK_ID, TASK_TYPE, UNIX, answer, history_page, refused, seen, task_data
from .shells import FACE_SWAP, KEY, StoppedClock, all_of, get, in_turn, perform, provider, responded, submit

DONE = seen("completed", output={"image_url": OUTPUT_URL})
LOST = answer(520, b"<html>")
SUBMIT, POLL = "POST /api/v1/task", f"GET /api/v1/task/{TASK_ID}"
HISTORIES = "GET /api/open/tasks/histories"


def empty_histories() -> list[Response]:
    """Make the pages of an empty history that `find` reads until it is sure."""
    read_at = (0, 10, 20, 30, 40, 50, 60, 61, 61)  # seconds after the submission
    dates = (formatdate(UNIX + seconds, usegmt=True) for seconds in read_at)
    return [dataclasses.replace(history_page(total=0), headers={"date": date}) for date in dates]


def test_run_sends_one_submission_polls_as_planned_and_returns_the_task(shell: str) -> None:
    changes: list[object] = []
    script = provider(seen("pending"), seen("processing"), seen("processing"), DONE)
    options = {"service_mode": "public", "on_change": lambda task: changes.append(task.status)}
    task = perform(shell, script, lambda client: client.run(FACE_SWAP, **options))

    assert script.lines == [SUBMIT, POLL, POLL, POLL]
    assert changes == ["pending", "processing", "completed"]
    assert script.requests[0].body == {
        "model": MODEL,
        "task_type": TASK_TYPE,
        "input": {"target_image": "https://me.test/a.jpg", "swap_image": "https://me.test/b.png"},
        "config": {"service_mode": "public"},
    }
    assert task.output.image_url == OUTPUT_URL
    first = DurationTracker().next_poll_delay("FaceSwap", 0.0)
    planned = pytest.approx([first, DurationTracker().next_poll_delay("FaceSwap", first)])
    assert script.clock.sleeps[:2] == planned
    raw = tasks.Raw(MODEL, TASK_TYPE, script.requests[0].body["input"])
    for swap, reply in ((FACE_SWAP, answer(200, {"data": {"task_id": TASK_ID}})), (raw, seen())):
        script = provider(reply, reply, DONE)
        perform(shell, script, lambda client, swap=swap: client.run(swap))
        assert script.clock.sleeps == planned  # its type is known from the input, or from the answer
    script = provider(seen("completed"))
    perform(shell, script, lambda client: client.submit(tasks.Raw("", ""), validate=False))
    assert script.requests[0].body == {"model": "", "task_type": "", "input": {}}


@pytest.mark.parametrize("given", [TASK_ID, UUID(TASK_ID), Task(task_data(), FaceSwapOutput)], ids=type)
def test_task_is_given_by_its_id_or_itself(shell: str, given: Any) -> None:
    stray = [refused(404)] if isinstance(given, Task) else []  # it is known to exist
    script = provider(*stray, seen("pending"), DONE)
    task = perform(shell, script, lambda client: client.wait(given))
    watched = perform(shell, provider(*stray, seen(), seen(), DONE), lambda client: all_of(client.watch(given)))
    read = perform(shell, provider(*stray, DONE), lambda client: client.get(given))
    cancelled = provider(answer(200, {"code": 200, "message": "task canceled"}))

    assert script.lines == [POLL] * (len(stray) + 2)
    assert task.output_type is (FaceSwapOutput if isinstance(given, Task) else Output)
    assert task.output.image_url == OUTPUT_URL
    assert [event.status for event in watched] == ["pending", "completed"]
    assert read.output_type is task.output_type
    assert perform(shell, cancelled, lambda client: client.cancel(given)) is None
    assert cancelled.lines == [f"DELETE /api/v1/task/{TASK_ID}"]


def test_task_that_does_not_exist_is_polled_once_and_one_of_this_client_again(shell: str) -> None:
    (missing,) = perform(shell, provider(refused(404)), in_turn(get))
    lost = provider(seen(), refused(404), DONE, *[refused(404)] * 9)
    _, found, gone = perform(shell, lost, in_turn(submit, get, get), poll_patience=1)

    assert isinstance(missing, errors.NotFound)
    assert found.output.image_url == OUTPUT_URL
    assert (type(gone), gone.task_id, gone.retryable) == (errors.NotFound, TASK_ID, False)


def test_submission_is_dated_by_the_clock_of_the_provider(shell: str) -> None:
    ahead = dataclasses.replace(seen(), headers={"date": formatdate(UNIX + 3600, usegmt=True)})
    _, uncertain = perform(shell, provider(ahead, LOST), in_turn(get, submit))

    assert uncertain.identity.sent.on_provider == (UNIX + 3600, UNIX + 3601)  # a date has whole seconds


SECRET = "5ecret-" * 5
WITH_SECRET: list[tuple[Any, dict[str, Any]]] = [
    (FACE_SWAP, {"webhook_url": "https://me.test", "webhook_secret": SECRET}),
    (tasks.LegacyMidjourneyImagine(prompt="a", webhook_secret=SECRET), {}),
    (tasks.LegacyKlingVideo(prompt="a", webhook_config={"secret": SECRET}), {}),
    (tasks.Raw("legacy", "mj_v2_imagine", {"webhook_config": {"secret": ""}, "webhook_secret": SECRET}), {}),
]


@pytest.mark.parametrize(("task", "options"), WITH_SECRET, ids=["unified", "legacy", "legacy object", "legacy, twice"])
def test_webhook_secret_that_an_answer_repeats_is_hidden(shell: str, task: Any, options: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidRequest, match=r"HTTP 400: \*\*\* is wrong\."):
        perform(shell, provider(refused(400, f"{SECRET} is wrong")), lambda client: client.submit(task, **options))


def test_cancel_many_sends_its_time_in_seconds(shell: str) -> None:
    script = provider(*[answer(200, {"code": 200, "message": "ok"})] * 3)
    moment = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    calls = [lambda client: client.cancel_many(created_before=1_700_000_000.9, group="kling")]
    calls += [lambda client: client.cancel_many(created_before=moment)]
    calls += [lambda client: client.cancel_many(created_before=0), lambda client: client.cancel_many(created_before=-1)]

    *cancelled, refusal = perform(shell, script, in_turn(*calls))
    assert cancelled == [None, None, None]
    assert "created_before is -1: give a datetime, or unix seconds" in str(refusal)
    seconds = "DELETE /api/v1/tasks?created_before=1700000000"
    assert script.lines == [f"{seconds}&model=kling", seconds, "DELETE /api/v1/tasks?created_before=0"]


def test_client_learns_how_long_tasks_take(shell: str) -> None:
    times = {"created_at": "2026-01-01T00:00:00Z", "ended_at": "2026-01-01T00:01:40Z"}
    done = seen("completed", meta=times)
    script = provider(seen("processing"), *[done] * 30, seen(), done)
    waits = [lambda client: client.wait(TASK_ID)] * 30
    perform(shell, script, in_turn(*waits, lambda client: client.run(FACE_SWAP)))

    assert script.clock.sleeps[0] == pytest.approx(DurationTracker().next_poll_delay("FaceSwap", 0.0))
    assert script.clock.sleeps[-1] > 5 * script.clock.sleeps[0]


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("by", [KeyboardInterrupt, asyncio.CancelledError], ids=lambda by: by.__name__)
@pytest.mark.parametrize(
    "call", [lambda client: client.run(FACE_SWAP), lambda client: all_of(client.watch(TASK_ID))], ids=["run", "watch"]
)
def test_interruption_names_the_task(
    shell: str, call: Any, by: type[BaseException], at: int, caplog: pytest.LogCaptureFixture
) -> None:
    script = provider(seen("pending"), *[seen("processing")] * 9)
    with pytest.raises(by) as caught:
        perform(shell, script, call, clock=StoppedClock(at, by))

    (note,) = caught.value.__notes__
    assert f"client.wait({TASK_ID!r})" in note
    assert caplog.messages == [f"stopped by {by.__name__}: {note}"] * (script.lines[0] == SUBMIT)


def test_error_names_what_the_transport_raised(shell: str) -> None:
    with pytest.raises(errors.Unreachable, match=r"account/info, ReadTimeout: too late"):
        perform(shell, provider(*[httpx.ReadTimeout("too late")] * 20), lambda client: client.account())
    untrusted = [httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate")] * 4
    with pytest.raises(errors.Unreachable, match="set SSL_CERT_FILE"):
        perform(shell, provider(*untrusted), submit)


def test_changes_are_logged_and_an_unknown_word_warns_once(shell: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "unitask")
    odd = [seen("odd\nCRITICAL \ud800"), seen("odd\nCRITICAL \ud800", progress=1), seen("odder"), seen(7), DONE]
    perform(shell, provider(*odd), lambda client: client.wait(TASK_ID))
    lines = [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "unitask"]

    first = r"odd\nCRITICAL \ud800"  # on one line, whatever the provider writes
    assert [line for line in lines if line[0] == "INFO"] == [
        ("INFO", f"task {TASK_ID}: {word}") for word in (first, first, "odder", "7", "completed")
    ]
    warned = [words for level, words in lines if level == "WARNING"]
    words = (f"'{first}'", "'odder'", "7")
    assert warned == [f"task {TASK_ID} has the unknown status {word}; the wait goes on" for word in words]


def test_time_of_a_flow_goes_on_though_the_clock_stands_still_or_goes_back() -> None:
    def flow() -> Any:
        times: list[float] = []
        for _ in range(4):
            times += [(yield Sleep(2.0)).at.monotonic]
        return times

    moments = [(10.0, None), (10.0, None), (5.0, None), (5.0, TASK_ID)]  # the last sleep is ended by a notification
    drive = Drive(flow())
    for ticks, notified in moments:
        drive.reply(Resumed(Timestamp(ticks, 0.0), notified))
    assert drive.result == [10.0, 12.0, 14.0, 14.0]


def test_flow_that_an_exception_has_moved_on_gets_the_next_reply() -> None:
    def flow() -> Any:
        with contextlib.suppress(ValueError):
            yield Sleep(0)
        return [(yield Sleep(0)).at.monotonic]

    drive = Drive(flow())
    with drive:
        raise ValueError
    drive.reply(None)  # to the step that failed
    drive.reply(Resumed(Timestamp(2.0, 0.0)))
    assert drive.result == [2.0]


class Standing(InstantClock):
    """A clock that stands still."""

    def advance(self, seconds: float) -> None:
        pass


def test_call_ends_though_the_clock_stands_still(shell: str) -> None:
    for call, reply, ending in (
        (lambda client: client.wait(TASK_ID, timeout=2), seen("processing"), errors.WaitTimeout),
        (lambda client: client.account(), GATEWAY, errors.ProviderBroken),
    ):
        clock = Standing()
        with pytest.raises(ending):
            perform(shell, provider(*[reply] * 100), call, clock=clock)
        assert sum(clock.sleeps) >= 2


def test_coroutine_function_for_changes_is_awaited_by_the_async_client_alone() -> None:
    changes: list[object] = []

    async def on_change(task: Any) -> None:
        await asyncio.sleep(0)
        changes.append(task.status)

    perform("async", provider(seen("completed")), lambda client: client.run(FACE_SWAP, on_change=on_change))
    with pytest.raises(errors.InvalidInput, match="on_change is a coroutine function: give AsyncClient"):
        perform("sync", provider(), lambda client: client.run(FACE_SWAP, on_change=on_change))

    assert changes == ["completed"]


def test_wait_all_returns_tasks_and_errors_in_their_order(shell: str) -> None:
    changed: list[str] = []
    allowed: list[float] = []

    def handler(request: httpx.Request) -> httpx.Response:
        allowed.append(request.extensions["timeout"]["read"])
        name = request.url.path.rpartition("/")[2]
        if name == "untyped":
            raise MemoryError("as a transport may")
        return responded(seen("failed" if name == "failed" else "completed", task_id=name))

    names, on_change = ["a", "failed", "untyped", "b"], lambda task: changed.append(task.id)
    found = perform(shell, handler, lambda client: client.wait_all(names, timeout=8, on_change=on_change))
    first, failed, untyped, last = found

    assert (first.id, last.id) == ("a", "b")
    assert isinstance(failed, errors.TaskFailed)
    assert (untyped.task_id, untyped.retryable) == ("untyped", False)
    assert sorted(changed) == ["a", "b", "failed"]
    assert allowed[0] == 4  # half of the time: others are due


def test_error_of_the_callers_function_ends_all_waits(shell: str) -> None:
    def fail(task: Any) -> None:
        raise ValueError("the caller's")

    with pytest.raises(ValueError, match="the caller's") as caught:
        perform(shell, provider(DONE), lambda client: client.wait_all([TASK_ID, "b"], on_change=fail))

    assert [TASK_ID in caught.value.__notes__[0], "'b'" in caught.value.__notes__[1]] == [True, True]


class Notified(webhooks.Receiver):
    """A receiver of one notification, after some seconds of the first wait."""

    def __init__(self, clock: InstantClock, after: float) -> None:
        super().__init__(None)
        self.clock, self.after, self.waits = clock, after, list[Any]()

    def wait_for_notification(self, task_ids: Any, seconds: float) -> str | None:
        self.waits.append((task_ids, seconds))
        is_first = len(self.waits) == 1
        self.clock.advance(self.after if is_first else seconds)
        return TASK_ID if is_first else None

    async def wait_for_notification_async(self, task_ids: Any, seconds: float) -> str | None:
        return self.wait_for_notification(task_ids, seconds)


def test_notification_of_a_task_makes_its_wait_poll_at_once(shell: str) -> None:
    script = provider(seen(), seen("processing"), DONE)
    receiver = Notified(script.clock, 0.3)
    perform(shell, script, lambda client: client.run(FACE_SWAP), webhooks=receiver)

    without_notification = DurationTracker().next_poll_delay("FaceSwap", 0.3)
    assert script.clock.passed == pytest.approx(0.3 + without_notification)
    assert script.clock.sleeps == pytest.approx([without_notification])
    assert receiver.waits[0] == ((TASK_ID,), 0)
    without_a_test_clock = Notified(script.clock, 0.0)
    script = provider(seen(), DONE)
    perform("sync", script, lambda client: client.run(FACE_SWAP), webhooks=without_a_test_clock, sleep=time.sleep)
    assert without_a_test_clock.waits == [
        ((TASK_ID,), pytest.approx(DurationTracker().next_poll_delay("FaceSwap", 0.0)))
    ]


def test_notification_of_one_of_several_tasks_makes_that_task_polled(shell: str) -> None:
    script = provider(seen(task_id="a"), seen(), DONE, seen("completed", task_id="a"))
    receiver = Notified(script.clock, 0.3)
    perform(shell, script, lambda client: client.wait_all(["a", TASK_ID]), webhooks=receiver)

    assert [line.rpartition("/")[2] for line in script.lines] == ["a", TASK_ID, TASK_ID, "a"]


def test_pause_after_a_failed_poll_is_not_cut_by_a_notification(shell: str) -> None:
    script = provider(seen("processing"), refused(500), refused(500), DONE)
    receiver = Notified(script.clock, 0.1)
    perform(shell, script, lambda client: client.wait(TASK_ID), webhooks=receiver)

    assert len(receiver.waits) == 1


def test_webhook_gets_a_correlation_id_by_which_its_task_is_found(shell: str) -> None:
    script, plain = provider(LOST, LOST), provider(seen())
    calls = [lambda client: client.submit(FACE_SWAP, webhook_url="https://me.test/h")] * 2
    uncertain, *_ = perform(shell, script, in_turn(*calls))
    perform(shell, plain, calls[0], mark_webhooks=False)
    endpoints = [each.body["config"]["webhook_config"]["endpoint"] for each in (*script.requests, *plain.requests)]

    assert re.fullmatch(r"https://me\.test/h\?unitask=[0-9a-f]{16}", endpoints[0])
    assert endpoints[0] != endpoints[1]
    assert endpoints[2] == "https://me.test/h"
    echo = {"webhook_config": {"endpoint": endpoints[0]}}
    script = provider(history_page("other", TASK_ID, total=2), refused(404), seen("processing", config=echo))
    found = perform(shell, script, lambda client: uncertain.find(client, timeout=0))
    assert (found.outcome, found.task.id) == (Outcome.FOUND, TASK_ID)
    assert script.lines[0].startswith(HISTORIES)


@pytest.mark.parametrize(
    ("settings", "outcome"),
    [
        ({}, Outcome.ABSENT),
        ({"api_key": "f" * 64}, Outcome.UNCLEAR),
        ({"base_url": "https://other.test"}, Outcome.UNCLEAR),
    ],
)
def test_absent_needs_a_settled_history_of_one_account(shell: str, settings: dict[str, str], outcome: Outcome) -> None:
    uncertain = perform(shell, provider(LOST), in_turn(submit))[0]
    script = provider(*empty_histories())
    found = perform(shell, script, lambda client: client.find(uncertain), **settings)

    assert found.outcome is outcome
    assert ("another key or base_url" in found.reason) is bool(settings)
    assert script.clock.passed == pytest.approx(61.0)


def test_task_is_found_for_one_submission_only(shell: str) -> None:
    named = answer(520, seen().body)
    first, second = perform(shell, provider(named, named), in_turn(submit, submit))
    script = provider(seen(), history_page(TASK_ID, total=1), seen())
    finds = [lambda client, error=error: client.find(error, timeout=0) for error in (first, second, first.token)]
    found = perform(shell, script, in_turn(*finds))

    assert [finding.outcome for finding in found] == [Outcome.FOUND, Outcome.UNCLEAR, Outcome.FOUND]
    assert found[1].candidates == ()


def test_account_active_tasks_and_history_are_read(shell: str) -> None:
    counts = answer(200, {"data": {"kling": {"pending_count": 3}}})
    pages = [history_page("a", total=2), history_page("b", total=2)]
    script = provider(answer(200, {"data": {"equivalent_in_usd": 2, "name": "me"}}), counts, *pages)
    query: dict[str, Any] = {"start": datetime(2026, 1, 1, tzinfo=UTC), "end": 1.8e9, "page_size": 1}
    calls = [lambda client: client.account(), lambda client: client.active_tasks()]
    calls += [lambda client: all_of(client.history(group="kling", **query))]
    account, active, rows = perform(shell, script, in_turn(*calls))

    assert (account.balance_usd, active["kling"].pending_count, [row.task_id for row in rows]) == (2.0, 3, ["a", "b"])
    parameters = "page_size=1&model=kling&start_time=1767225600&end_time=1800000000"
    pages_sent = [f"{HISTORIES}?page={page}&{parameters}" for page in (1, 2)]
    assert script.lines == ["GET /account/info", "GET /account/active_tasks", *pages_sent]


def test_file_for_a_url_field_is_uploaded_first(shell: str) -> None:
    stored = answer(200, {"code": 200, "data": {"url": "https://img.test/1.png"}})
    script, piapi = provider(stored, seen()), provider(stored)
    perform(shell, script, lambda client: client.submit(tasks.Hug(image_url=encoded())))
    perform(shell, piapi, lambda client: client.upload(encoded()), base_url=None)

    assert script.lines == ["POST /api/ephemeral_resource", "POST /api/v1/task"]
    assert script.requests[1].body["input"] == {"image_url": "https://img.test/1.png"}
    assert piapi.requests[0].url == "https://upload.theapi.app/api/ephemeral_resource"
    assert piapi.requests[0].body["file_name"].endswith(".png")
    assert {each.headers["x-api-key"] for each in (*script.requests, *piapi.requests)} == {KEY}


def test_upload_of_another_kind_or_above_10_mb_is_refused(shell: str) -> None:
    sized = [encoded() + bytes(size - len(encoded())) for size in (10 << 20, 10_550_005)]
    script = provider(answer(200, {"code": 200, "data": {"url": "https://img.test/1.png"}}))
    calls = [lambda client, file=file: client.upload(file) for file in (*sized, b"GIF89a, and more")]
    made, large, other = perform(shell, script, in_turn(*calls))

    assert made.url == "https://img.test/1.png"
    assert "it has 10.6 MB; an upload takes at most 10 MB" in str(large)
    assert "takes jpg, png, webp, mp4, wav and mp3; this starts with b'GIF89a, and '" in str(other)


@pytest.mark.parametrize(
    ("environment", "given", "key", "url"),
    [
        ({}, {}, KEY, "https://api.piapi.ai"),
        ({"UNITASK_API_KEY": "first", "PIAPI_API_KEY": "second"}, {"api_key": None}, "first", "https://api.piapi.ai"),
        ({"UNITASK_API_KEY": "", "PIAPI_API_KEY": "second"}, {"api_key": ""}, "second", "https://api.piapi.ai"),
        ({"UNITASK_API_KEY": "first", "UNITASK_BASE_URL": ""}, {"api_key": "given"}, "given", "https://api.piapi.ai"),
        ({"UNITASK_BASE_URL": "http://127.0.0.1:8042"}, {}, KEY, "http://127.0.0.1:8042"),
        ({"UNITASK_BASE_URL": "http://127.0.0.1:8042"}, {"base_url": "https://a.test/b/"}, KEY, "https://a.test/b"),
    ],
)
def test_key_and_base_url_are_the_given_ones_or_those_of_the_environment(
    shell: str, environment: dict[str, str], given: Any, key: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    script = provider(seen())
    perform(shell, script, get, **{"base_url": None, **given})

    assert script.requests[0].headers["x-api-key"] == key
    assert script.requests[0].url == f"{url}/api/v1/task/{TASK_ID}"
    assert contract.document()["servers"][0]["url"] == "https://api.piapi.ai"


@pytest.mark.parametrize(("given", "limit"), [({}, 60.0), ({"http_timeout": 7}, 7)], ids=["default", "given"])
def test_each_call_has_the_limit_of_the_client(shell: str, given: dict[str, Any], limit: float, tmp_path: Path) -> None:
    requests: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return responded(seen("pending") if request.method == "POST" else DONE)

    file = OutputFile("https://out.test/a.json")
    calls = [lambda client: client.run(FACE_SWAP), lambda client: client.download(file, tmp_path / "a.json")]
    perform(shell, handler, in_turn(*calls), **given)

    assert len(requests) == 3
    for request in requests:
        sending = int(request.headers.get("content-length", 0)) / 50_000  # bytes a second
        timeouts = {"connect": limit, "pool": limit, "read": limit + sending, "write": limit + sending}
        assert request.extensions["timeout"] == timeouts


def test_closed_client_refuses_every_call_and_ends_one_that_it_interrupts(shell: str) -> None:
    def run(client: Any) -> Any:
        close = client.close if shell == "sync" else client.aclose
        return client.run(FACE_SWAP, on_change=lambda _: close())

    script = provider(seen("pending"), DONE)
    calls = [submit, get, lambda client: all_of(client.history())]
    ended, *refused = perform(shell, script, in_turn(run, *calls))

    assert script.lines == [SUBMIT]
    assert isinstance(ended, errors.Unreachable)
    assert f"client.wait({TASK_ID!r})" in ended.next_step
    assert str(ended).startswith("the client was closed during the call, so the request was not sent: ")
    for error in refused:
        assert isinstance(error, errors.InvalidInput)
        assert str(error) == "this client is closed: make a new one"


def test_client_cannot_be_pickled() -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(
            TypeError, match=f"^a {kind.__name__} holds a key and connections: make one in each process"
        ):
            pickle.dumps(kind(KEY))


MAY_HAVE_ARRIVED = {
    *(httpx.ReadTimeout, httpx.WriteTimeout, httpx.ReadError, httpx.WriteError, httpx.CloseError),
    *(httpx.RemoteProtocolError, httpx.LocalProtocolError, httpx.DecodingError, httpx.TooManyRedirects),
}


def test_every_error_of_httpx_says_whether_the_request_may_have_arrived() -> None:
    kinds = [kind for kind in vars(httpx).values() if isinstance(kind, type) and issubclass(kind, httpx.RequestError)]
    leaves = {kind for kind in kinds if not any(kind in other.__bases__ for other in kinds)}

    assert leaves == {*NEVER_LEFT, *MAY_HAVE_ARRIVED}
    assert not MAY_HAVE_ARRIVED.intersection(NEVER_LEFT)
