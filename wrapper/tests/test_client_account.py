"""The rest of what clients do: find, wait for many, read the account, upload. Each test runs with both clients."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from unitask import InvalidInput, Outcome, Output, Task, errors, tasks, webhooks
from unitask._core import polling
from unitask._core.effects import Response
from unitask._model.task_token import Fingerprint

from .pictures import encoded
from .script import GATEWAY, TASK_ID, answer, refused, seen, task_data
from .shells import FACE_SWAP, KEY, InstantClock, all_of, empty_histories, perform, provider

HISTORIES = "GET /api/open/tasks/histories"
DONE = seen("completed", output={"image_url": "https://out.test/a.png"})
LOST = answer(520, b"<html>")
LOST_CREATE = errors.SubmissionUncertain(
    "no answer", identity=Fingerprint("m", "t", "f" * 64), sent_between=(datetime(2026, 1, 1, tzinfo=UTC),) * 2
)


def in_turn(*calls: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several calls with one client; errors are results here."""

    async def asynchronous(client: Any) -> list[Any]:
        results: list[Any] = []
        for call in calls:
            try:
                result = call(client)
                results.append(await result if inspect.isawaitable(result) else result)
            except errors.UnitaskError as error:
                results.append(error)
        return results

    def either(client: Any) -> Any:
        steps = asynchronous(client)
        if inspect.iscoroutinefunction(client.run):
            return steps
        try:  # without anything to wait for, it ends at its first step
            steps.send(None)
        except StopIteration as end:
            return end.value

    return either


def page(*task_ids: str) -> Response:
    rows = [{"task_id": task_id} for task_id in task_ids]
    return answer(200, {"code": 200, "data": {"data": rows, "total": len(rows)}})


# ---- find


def test_webhook_gets_a_mark_by_which_its_task_is_found(shell: str) -> None:
    script, plain = provider(LOST, LOST), provider(seen())
    calls = [lambda client: client.submit(FACE_SWAP, webhook_url="https://me.test/h")] * 2
    uncertain, *_ = perform(shell, script, in_turn(*calls))
    perform(shell, plain, calls[0], mark_webhooks=False)
    endpoints = [each.body["config"]["webhook_config"]["endpoint"] for each in (*script.requests, *plain.requests)]

    assert re.fullmatch(r"https://me\.test/h\?unitask=[0-9a-f]{16}", endpoints[0])
    assert endpoints[0] != endpoints[1]
    assert endpoints[2] == "https://me.test/h"
    echo = {"webhook_config": {"endpoint": endpoints[0]}}
    script = provider(page("other", TASK_ID), refused(404), seen("processing", config=echo))
    found = perform(shell, script, lambda client: uncertain.find(client, timeout=0))
    assert (found.outcome, found.task.id) == (Outcome.FOUND, TASK_ID)
    assert script.lines[0].startswith(HISTORIES)


OTHER = "this client has another key or base_url"


@pytest.mark.parametrize(
    ("settings", "outcome"),
    [
        ({}, Outcome.ABSENT),
        ({"api_key": "f" * 64}, Outcome.UNCLEAR),
        ({"base_url": "https://other.test"}, Outcome.UNCLEAR),
    ],
)
def test_find_goes_on_until_the_history_of_its_account_can_tell(
    shell: str, settings: dict[str, str], outcome: Outcome
) -> None:
    uncertain = perform(shell, provider(LOST), in_turn(lambda client: client.submit(FACE_SWAP)))[0]
    script = provider(*empty_histories())
    found = perform(shell, script, lambda client: client.find(uncertain), **settings)

    assert found.outcome is outcome
    assert (found.reason == OTHER) is bool(settings)
    assert script.clock.passed == pytest.approx(61.0)


def test_task_is_given_to_one_submission(shell: str) -> None:
    named = answer(520, {"code": 520, "message": "odd", "data": {"task_id": TASK_ID}})
    calls = [lambda client: client.submit(FACE_SWAP)] * 2
    first, second = perform(shell, provider(named, named), in_turn(*calls))
    finds = [first, second, first]
    script = provider(seen(), page(TASK_ID), seen())
    found = perform(
        shell, script, in_turn(*[lambda client, error=error: client.find(error, timeout=0) for error in finds])
    )

    assert [finding.outcome for finding in found] == [Outcome.FOUND, Outcome.UNCLEAR, Outcome.FOUND]
    assert found[1].candidates == ()


# ---- wait for many, and by token


def test_wait_all_returns_tasks_and_errors_in_their_order(shell: str) -> None:
    told: list[object] = []

    def handler(request: httpx.Request) -> httpx.Response:
        name = request.url.path.rpartition("/")[2]
        if name == "untyped":
            raise MemoryError("as a transport may")
        status = "failed" if name == "failed" else "completed"
        return httpx.Response(200, json={"code": 200, "data": {"task_id": name, "status": status}})

    names = ["a", "failed", "untyped", "b"]
    first, failed, untyped, last = perform(
        shell, handler, lambda client: client.wait_all(names, timeout=5, on_change=lambda task: told.append(task.id))
    )

    assert (first.id, last.id) == ("a", "b")
    assert isinstance(failed, errors.TaskFailed)
    assert isinstance(untyped, errors.UnitaskError)
    assert (untyped.task_id, untyped.retryable) == ("untyped", False)
    assert sorted(told) == ["a", "b", "failed"]


def test_token_of_a_legacy_task_finds_it(shell: str) -> None:
    created = answer(200, {"code": 200, "data": {"task_id": TASK_ID}, "message": "success"})
    legacy = tasks.LegacyFaceSwap(target_image="https://me.test/a.jpg", swap_image="https://me.test/b.jpg")
    token = perform(shell, provider(created), lambda client: client.submit(legacy)).token

    done = answer(200, {"code": 200, "data": {"task_id": TASK_ID, "status": "success", "image": "https://out.test/a"}})
    script = provider(done)
    task = perform(shell, script, lambda client: client.get(token))

    assert script.lines == ["POST /api/face_swap/v1/fetch"]
    assert task.output.image == "https://out.test/a"


def test_client_learns_how_long_tasks_take(shell: str) -> None:
    times = {"created_at": "2026-01-01T00:00:00Z", "ended_at": "2026-01-01T00:01:40Z"}
    done = seen("completed", meta=times)
    script = provider(seen("processing"), *[done] * 30, seen(), done)
    waits = [lambda client: client.wait(TASK_ID)] * 30
    perform(shell, script, in_turn(*waits, lambda client: client.run(FACE_SWAP)))

    assert script.clock.sleeps[0] == pytest.approx(polling.next_poll_delay(0.0, polling.DurationEstimate(8.0)))
    assert script.clock.sleeps[-1] > 5 * script.clock.sleeps[0]


class Standing(InstantClock):
    """A clock that stands still or goes back."""

    def __init__(self, backwards: float = 0.0) -> None:
        super().__init__()
        self.backwards = backwards

    def sleep(self, seconds: float) -> None:
        self.advance(-self.backwards * seconds)
        self.sleeps.append(seconds)


@pytest.mark.parametrize("backwards", [0.0, 1.0])
@pytest.mark.parametrize(
    ("call", "reply", "ending"),
    [
        (lambda client: client.wait(TASK_ID, timeout=2), seen("processing"), errors.WaitTimeout),
        (lambda client: client.account(), GATEWAY, errors.ProviderBroken),
    ],
)
def test_clock_that_stands_still_makes_nothing_endless(
    shell: str, call: Any, reply: Response, ending: type[errors.UnitaskError], backwards: float
) -> None:
    clock = Standing(backwards)
    with pytest.raises(ending):
        perform(shell, provider(*[reply] * 100), call, clock=clock)

    assert sum(clock.sleeps) >= 2


def test_error_of_the_callers_function_ends_all_waits(shell: str) -> None:
    def fail(task: Any) -> None:
        raise ValueError("the caller's")

    with pytest.raises(ValueError, match="the caller's") as caught:
        perform(shell, provider(DONE), lambda client: client.wait_all([TASK_ID, "b"], on_change=fail))

    assert [TASK_ID in caught.value.__notes__[0], "'b'" in caught.value.__notes__[1]] == [True, True]


# ---- news


class News(webhooks.Receiver):
    """A receiver at which news arrives as written down: (which task, after how many seconds)."""

    def __init__(self, clock: InstantClock, *news: tuple[str, float]) -> None:
        super().__init__(None)
        self.clock, self.news, self.asked = clock, list(news), list[Any]()

    def wait_for_notification(self, task_ids: Any, seconds: float) -> str | None:
        """Let time pass until the next news, or all of it."""
        self.asked.append(task_ids)
        task_id, after = self.news.pop(0) if self.news else (None, seconds)
        self.clock.advance(after)
        return task_id

    async def wait_for_notification_async(self, task_ids: Any, seconds: float) -> str | None:
        return self.wait_for_notification(task_ids, seconds)


def test_news_of_a_task_makes_its_wait_look_at_once(shell: str) -> None:
    script = provider(seen(), seen("processing"), DONE)
    news, clock = News(script.clock, (TASK_ID, 0.3)), script.clock
    perform(shell, script, lambda client: client.run(FACE_SWAP), webhooks=news)

    without_news = polling.next_poll_delay(0.3, polling.DurationEstimate(8.0))
    assert clock.passed == pytest.approx(0.3 + without_news)
    assert clock.sleeps == pytest.approx([without_news])
    assert news.asked[0] == (TASK_ID,)


def test_news_of_one_of_many_looks_at_that_one(shell: str) -> None:
    other = answer(200, {"data": {**task_data("processing"), "task_id": "b"}})
    done = answer(200, {"data": {**task_data("completed"), "task_id": "b"}})
    script = provider(seen("processing"), other, done, DONE)
    news = News(script.clock, ("b", 0.2))
    perform(shell, script, lambda client: client.wait_all([TASK_ID, "b"]), webhooks=news)

    assert [line.rpartition("/")[2] for line in script.lines] == [TASK_ID, "b", "b", TASK_ID]


def test_pauses_after_trouble_are_not_cut_by_news(shell: str) -> None:
    script = provider(seen("processing"), refused(500), refused(500), DONE)
    news = News(script.clock, (TASK_ID, 0.1))
    perform(shell, script, lambda client: client.wait(TASK_ID), webhooks=news)

    assert len(script.clock.sleeps) == 2
    assert len(news.asked) == 1


# ---- account


def test_account_active_tasks_and_history_are_read(shell: str) -> None:
    pages = [answer(200, {"data": {"data": [{"task_id": name}], "total": 2}}) for name in "ab"]
    counts = answer(200, {"data": {"kling": {"pending_count": 3}}})
    script = provider(answer(200, {"data": {"equivalent_in_usd": 2, "name": "me"}}), counts, *pages)
    query: dict[str, Any] = {"start": datetime(2026, 1, 1, tzinfo=UTC), "end": 1.8e9, "page_size": 1}
    account, active, rows = perform(
        shell,
        script,
        in_turn(
            lambda client: client.account(),
            lambda client: client.active_tasks(),
            lambda client: all_of(client.history(group="kling", **query)),
        ),
    )

    assert (account.balance_usd, active["kling"].pending_count) == (2.0, 3)
    assert [row.task_id for row in rows] == ["a", "b"]
    asked = "model=kling&start_time=1767225600&end_time=1800000000"
    pages_asked = [f"{HISTORIES}?page={page}&page_size=1&{asked}" for page in (1, 2)]
    assert script.lines == ["GET /account/info", "GET /account/active_tasks", *pages_asked]


PNG = encoded()
HUGE = PNG + bytes(11_000_000)
REFUSED: list[tuple[Callable[[Any], Any], str]] = [
    (lambda client: all_of(client.history(page_size=101)), "page_size is 101: give 1 to 100 rows"),
    (lambda client: all_of(client.history(page_size=0)), "page_size is 0"),
    (lambda client: all_of(client.history(start=-1.0)), r"start is -1\.0: give a datetime, or unix seconds"),
    (lambda client: all_of(client.history(end=float("nan"))), "end is nan"),
    (lambda client: all_of(client.history(end="now")), "end is 'now'"),
    (lambda client: client.cancel_many(created_before="today"), "created_before is 'today'"),
    (lambda client: client.wait("ut1.###"), "is damaged"),
    (lambda client: client.wait_all([TASK_ID, ""]), "the task id is empty"),
    (lambda client: client.get(" "), "the task id is empty"),
    (lambda client: client.cancel(" "), "the task id is empty"),
    (lambda client: all_of(client.watch(" ")), "the task id is empty"),
    (lambda client: client.wait(" "), "the task id is empty"),
    (lambda client: client.wait(TASK_ID, timeout="60"), "timeout is '60'"),
    (lambda client: client.wait(TASK_ID, timeout=float("nan")), "timeout is nan"),
    (lambda client: client.run(FACE_SWAP, timeout=-0.1), r"timeout is -0\.1"),
    (lambda client: client.find(LOST_CREATE, timeout=-1), "timeout is -1"),
    (lambda client: client.upload(b"GIF89a"), "an upload takes jpg, png, webp, mp4, wav and mp3; this starts with"),
    (lambda client: client.upload(HUGE), r"it has 11\.0 MB; an upload takes at most 10 MB"),
    (lambda client: client.upload("https://me.test/a.png"), "is an address already"),
    (lambda client: client.run(FACE_SWAP, webhook="https://me.test"), "there is no option 'webhook'"),
    (
        lambda client: client.submit(tasks.FaceSwap(target_image="missing.png", swap_image=PNG)),
        "target_image: 'missing.png'",
    ),
    (lambda client: client.submit(tasks.Hug(image_url=PNG)), "only a URL is taken here"),
]


@pytest.mark.parametrize(
    ("call", "problem"), REFUSED, ids=[f"{number}: {problem}" for number, (_, problem) in enumerate(REFUSED)]
)
def test_what_cannot_be_asked_is_refused_before_anything_is_sent(
    shell: str, call: Callable[[Any], Any], problem: str
) -> None:
    with pytest.raises(InvalidInput, match=problem):
        perform(shell, provider(), call, uploads=False)


# ---- upload


def test_file_for_a_url_field_is_uploaded_first(shell: str) -> None:
    stored = answer(200, {"code": 200, "data": {"url": "https://img.test/1.png"}})
    script, piapi = provider(stored, seen()), provider(stored)
    perform(shell, script, lambda client: client.submit(tasks.Hug(image_url=encoded())))
    perform(shell, piapi, lambda client: client.upload(encoded()), base_url=None)

    assert script.lines == ["POST /api/ephemeral_resource", "POST /api/v1/task"]
    assert script.requests[1].body["input"] == {"image_url": "https://img.test/1.png"}
    assert piapi.requests[0].url == "https://upload.theapi.app/api/ephemeral_resource"
    assert {each.headers["x-api-key"] for each in (*script.requests, *piapi.requests)} == {KEY}


# ---- progress


@pytest.mark.parametrize(
    ("fields", "percent"),
    [
        ({"output": {"progress": 40}}, 40.0),
        ({"output": {"task_progress": "55%"}}, 55.0),
        ({"output": {"percent": 12.5}}, 12.5),
        ({"progress": 7, "output": None}, 7.0),
        ({"output": {"progress": 0}}, 0.0),
        ({"output": {"progress": 250}}, 100.0),
        ({"output": {"progress": True}}, None),
        ({"output": {"progress": "soon"}}, None),
        ({"output": {"progress": -1, "percent": 3}}, 3.0),
        ({"output": None}, None),
        ({}, None),
    ],
)
def test_progress_is_what_the_body_says(fields: dict[str, Any], percent: float | None) -> None:
    assert Task(task_data("processing", **fields), Output).progress == percent
