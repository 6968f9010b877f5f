"""The rest of what clients do: find, wait for many, read the account, upload. Each test runs with both clients."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from unitask import Account, InvalidInput, Outcome, Output, Task, errors, tasks
from unitask._core import polling
from unitask._core.effects import Response

from .pictures import encoded
from .script import GATEWAY, TASK_ID, UNIX, answer, refused, seen, task_data
from .shells import FACE_SWAP, KEY, FakeClock, all_of, empty_histories, perform, provider

HISTORIES = "GET /api/open/tasks/histories"
DONE = seen("completed", output={"image_url": "https://out.test/a.png"})
LOST = answer(520, b"<html>")


async def awaited(value: Any) -> Any:
    """What a call of either client brings."""
    return await value if inspect.isawaitable(value) else value


def in_turn(*calls: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several calls with one client; errors are results here."""

    def sync(client: Any) -> list[Any]:
        return [_caught(call, client) for call in calls]

    async def asynchronous(client: Any) -> list[Any]:
        results: list[Any] = []
        for call in calls:
            try:
                results.append(await awaited(call(client)))
            except errors.UnitaskError as error:
                results.append(error)
        return results

    return lambda client: asynchronous(client) if inspect.iscoroutinefunction(client.run) else sync(client)


def _caught(call: Callable[[Any], Any], client: Any) -> Any:
    try:
        return call(client)
    except errors.UnitaskError as error:
        return error


def page(*task_ids: str) -> Response:
    rows = [{"task_id": task_id} for task_id in task_ids]
    return answer(200, {"code": 200, "data": {"data": rows, "total": len(rows)}})


# ---- find


def test_webhook_gets_a_mark_by_which_its_task_is_found(shell: str) -> None:
    """From the create whose answer was lost to the task, with nothing but the error."""
    script = provider(LOST)
    uncertain, *_ = perform(
        shell, script, in_turn(lambda client: client.submit(FACE_SWAP, webhook_url="https://me.test/h"))
    )
    endpoint = script.body()["config"]["webhook_config"]["endpoint"]
    assert re.fullmatch(r"https://me\.test/h\?unitask=[0-9a-f]{16}", endpoint)

    echo = {"webhook_config": {"endpoint": endpoint}}
    script = provider(page("other", TASK_ID), refused(404), seen("processing", config=echo))
    found = perform(shell, script, lambda client: uncertain.find(client, timeout=0))

    assert found.outcome is Outcome.FOUND
    assert found.task.id == TASK_ID
    assert script.lines[0].startswith(HISTORIES)


def test_two_creates_have_two_marks(shell: str) -> None:
    """Or one could be taken for the other."""
    script = provider(seen(), seen())
    perform(shell, script, in_turn(*[lambda client: client.submit(FACE_SWAP, webhook_url="https://me.test")] * 2))

    endpoints = [script.body(number)["config"]["webhook_config"]["endpoint"] for number in (0, 1)]
    assert endpoints[0] != endpoints[1]


def test_webhook_stays_as_given_when_no_mark_is_wanted(shell: str) -> None:
    """Some receivers have a signed query."""
    script = provider(seen())
    perform(shell, script, lambda client: client.submit(FACE_SWAP, webhook_url="https://me.test"), mark_webhooks=False)

    assert script.body()["config"]["webhook_config"] == {"endpoint": "https://me.test"}


def test_what_the_client_created_itself_is_not_the_lost_one(shell: str) -> None:
    """The task of the first create is known, and not looked at."""
    known: list[errors.SubmissionUncertain] = []

    def lost(client: Any) -> Any:
        return client.submit(FACE_SWAP)

    def keep(client: Any) -> Any:
        return client.find(known[0], timeout=0)

    known += perform(shell, provider(LOST), in_turn(lost))
    script = provider(seen(), page(TASK_ID))
    _, found = perform(shell, script, in_turn(lost, keep))

    assert found.task is None
    assert found.candidates == ()
    assert len(script.requests) == 2


def test_find_goes_on_until_it_can_be_told(shell: str) -> None:
    """A minute after the create."""
    uncertain = perform(shell, provider(LOST), in_turn(lambda client: client.submit(FACE_SWAP)))[0]
    clock = FakeClock()
    found = perform(shell, provider(*empty_histories()), lambda client: client.find(uncertain), clock=clock)

    assert found.outcome is Outcome.ABSENT
    assert clock.monotonic == pytest.approx(61.0)


def test_task_is_given_to_one_submission(shell: str) -> None:
    """When two answers name one task, since they were mixed up on the way, the first that asks has it and keeps it."""
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


@pytest.mark.parametrize("other", [{"api_key": "f" * 64}, {"base_url": "https://other.test"}])
def test_history_of_another_account_says_nothing(shell: str, other: dict[str, str]) -> None:
    """The task was created with another key, or at another provider."""
    uncertain = perform(shell, provider(LOST), in_turn(lambda client: client.submit(FACE_SWAP)))[0]
    found = perform(shell, provider(*empty_histories()), lambda client: client.find(uncertain), **other)

    assert found.outcome is Outcome.UNCLEAR
    assert found.reason == "this client has another key or base_url than the one that sent it"


def test_find_with_a_bad_timeout_is_refused(shell: str) -> None:
    """Before anything is sent."""
    uncertain = perform(shell, provider(LOST), in_turn(lambda client: client.submit(FACE_SWAP)))[0]
    with pytest.raises(InvalidInput, match="timeout is -1"):
        perform(shell, provider(), lambda client: client.find(uncertain, timeout=-1))


# ---- wait for many, and by token


def test_wait_all_returns_tasks_and_errors_in_their_order(shell: str) -> None:
    """A failure is a result like the others."""
    failed = answer(200, {"data": {**task_data("failed"), "task_id": "b"}})
    told: list[object] = []
    results = perform(
        shell,
        provider(DONE, failed),
        lambda client: client.wait_all([TASK_ID, "b"], on_change=lambda task: told.append(task.id)),
    )

    assert results[0].id == TASK_ID
    assert isinstance(results[1], errors.TaskFailed)
    assert told == [TASK_ID, "b"]


def test_wait_all_of_nothing_asks_nothing(shell: str) -> None:
    """An empty list is a list."""
    assert perform(shell, provider(), lambda client: client.wait_all([])) == []


def test_wait_all_refuses_a_bad_id_before_it_asks(shell: str) -> None:
    """None of them was looked at."""
    with pytest.raises(InvalidInput, match="the task id is empty"):
        perform(shell, provider(), lambda client: client.wait_all([TASK_ID, ""]))


@pytest.mark.parametrize("call", ["wait", "get"])
def test_token_of_a_legacy_task_finds_it(shell: str, call: str) -> None:
    """Its protocol is in the token; the id alone would ask the unified endpoint."""
    created = answer(200, {"code": 200, "data": {"task_id": TASK_ID}, "message": "success"})
    legacy = tasks.LegacyFaceSwap(target_image="https://me.test/a.jpg", swap_image="https://me.test/b.jpg")
    token = perform(shell, provider(created), lambda client: client.submit(legacy)).token

    done = answer(200, {"code": 200, "data": {"task_id": TASK_ID, "status": "success", "image": "https://out.test/a"}})
    script = provider(done)
    task = perform(shell, script, lambda client: getattr(client, call)(token))

    assert script.lines == ["POST /api/face_swap/v1/fetch"]
    assert task.output.image == "https://out.test/a"


def test_damaged_token_is_refused(shell: str) -> None:
    """And not asked for as an id."""
    with pytest.raises(InvalidInput, match="is damaged"):
        perform(shell, provider(), lambda client: client.wait("ut1.###"))


def test_wait_for_a_found_task_takes_its_age_into_account(shell: str) -> None:
    """A task that was created a minute ago is not waited for as if it were new."""
    created = datetime.fromtimestamp(UNIX - 60, UTC).isoformat()
    clock = FakeClock()
    script = provider(seen("processing", meta={"created_at": created}), DONE)
    perform(shell, script, lambda client: client.wait(TASK_ID), clock=clock)

    assert clock.sleeps == pytest.approx([polling.next_poll_delay(60.0, polling.DurationEstimate(8.0))])


def test_client_learns_how_long_tasks_take(shell: str) -> None:
    """Tasks take far longer than the catalogue says, so the first look comes far later in the end."""
    times = {"created_at": "2026-01-01T00:00:00Z", "ended_at": "2026-01-01T00:01:40Z"}
    clock, done = FakeClock(), seen("completed", meta=times)
    script = provider(seen("processing"), *[done] * 30, seen(), done)
    waits = [lambda client: client.wait(TASK_ID)] * 30
    perform(shell, script, in_turn(*waits, lambda client: client.run(FACE_SWAP)), clock=clock)

    assert clock.sleeps[0] == pytest.approx(polling.next_poll_delay(0.0, polling.DurationEstimate(8.0)))
    assert clock.sleeps[-1] > 5 * clock.sleeps[0]


class Standing(FakeClock):
    """A clock that stands still, as in a test that freezes time, or one that goes back."""

    def __init__(self, backwards: float = 0.0) -> None:
        super().__init__()
        self.backwards = backwards

    def sleep(self, seconds: float) -> None:
        self.monotonic -= self.backwards * seconds
        self.sleeps.append(seconds)


@pytest.mark.parametrize("backwards", [0.0, 1.0])
@pytest.mark.parametrize(
    ("call", "reply", "ending"),
    [
        (lambda client: client.wait(TASK_ID, timeout=2), seen("processing"), errors.WaitTimeout),
        (lambda client: client.wait(TASK_ID), seen("processing"), errors.WaitTimeout),
        (lambda client: client.get(TASK_ID), GATEWAY, errors.ProviderBroken),
        (lambda client: client.account(), GATEWAY, errors.ProviderBroken),
    ],
)
def test_clock_that_stands_still_makes_nothing_endless(
    shell: str, call: Any, reply: Response, ending: type[errors.UnitaskError], backwards: float
) -> None:
    """The seconds that were slept count."""
    clock = Standing(backwards)
    with pytest.raises(ending):
        perform(shell, provider(*[reply] * 100), call, clock=clock)

    assert sum(clock.sleeps) >= 2


def test_kling_3_is_waited_for_and_learned_as_itself(shell: str) -> None:
    """By the echo of its input, also from a token, which has none."""
    times = {"created_at": "2026-01-01T00:00:00Z", "ended_at": "2026-01-01T01:00:00Z"}
    kling = {"model": "kling", "task_type": "video_generation", "input": {"version": "3.0"}}
    learned: list[dict[str, Any]] = []

    def waited(client: Any) -> Any:
        learned.append(client._durations._seen)
        return client.wait(Task({"task_id": TASK_ID, **kling}, tasks.KlingOutput).token)

    perform(shell, provider(seen("completed", meta=times, **kling)), waited)

    assert list(learned[0]) == ["Kling3Video"]


def test_untyped_error_of_one_leaves_the_others_their_results(shell: str) -> None:
    """Whatever a transport raises."""

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/b"):
            raise MemoryError("as a transport may")
        task = {"task_id": request.url.path.rpartition("/")[2], "status": "completed"}
        return httpx.Response(200, json={"code": 200, "data": task})

    found = perform(shell, handler, lambda client: client.wait_all(["a", "b", "c"], timeout=5))

    assert [type(each) for each in found[::2]] == [Task, Task]
    assert isinstance(found[1], errors.UnitaskError)
    assert (found[1].task_id, found[1].retry_advice) == ("b", errors.Advice.RESUME)


def test_error_of_the_callers_function_ends_all_waits(shell: str) -> None:
    """It is the caller's, and the tasks that go on are named."""

    def fail(task: Any) -> None:
        raise ValueError("the caller's")

    with pytest.raises(ValueError, match="the caller's") as caught:
        perform(shell, provider(DONE), lambda client: client.wait_all([TASK_ID, "b"], on_change=fail))

    assert [TASK_ID in caught.value.__notes__[0], "'b'" in caught.value.__notes__[1]] == [True, True]


# ---- news


class News:
    """A receiver at which news arrives as written down: (which task, after how many seconds)."""

    def __init__(self, clock: FakeClock, *news: tuple[str, float]) -> None:
        self.clock, self.news, self.asked = clock, list(news), list[tuple[Any, float]]()

    def wait_for_notification(self, task_ids: Any, seconds: float) -> str | None:
        """Let time pass until the next news, or all of it."""
        self.asked.append((task_ids, seconds))
        task_id, after = self.news.pop(0) if self.news else (None, seconds)
        self.clock.monotonic += after
        return task_id

    async def wait_for_notification_async(self, task_ids: Any, seconds: float) -> str | None:
        """The same."""
        return self.wait_for_notification(task_ids, seconds)


def test_news_of_a_task_makes_its_wait_look_at_once(shell: str) -> None:
    """The look decides."""
    clock = FakeClock()
    news, script = News(clock, (TASK_ID, 0.3)), provider(seen(), DONE)
    task = perform(shell, script, lambda client: client.run(FACE_SWAP), clock=clock, webhooks=news)

    assert task.output.image_url
    assert clock.monotonic == pytest.approx(0.3)
    assert clock.sleeps == []
    assert news.asked[0][0] == (TASK_ID,)


def test_without_news_a_wait_looks_as_always(shell: str) -> None:
    """A notification that never comes costs only the time until the next look."""
    clock = FakeClock()
    script = provider(seen("processing"), DONE)
    perform(shell, script, lambda client: client.wait(TASK_ID), clock=clock, webhooks=News(clock))

    assert clock.monotonic == pytest.approx(polling.next_poll_delay(0.0, polling.DurationEstimate(8.0)))


def test_news_of_one_of_many_looks_at_that_one(shell: str) -> None:
    """And not at the others."""
    other = answer(200, {"data": {**task_data("processing"), "task_id": "b"}})
    done = answer(200, {"data": {**task_data("completed"), "task_id": "b"}})
    clock = FakeClock()
    script = provider(seen("processing"), other, done, DONE)
    perform(
        shell,
        script,
        lambda client: client.wait_all([TASK_ID, "b"]),
        clock=clock,
        webhooks=News(clock, ("b", 0.2)),
    )

    assert [line.rpartition("/")[2] for line in script.lines] == [TASK_ID, "b", "b", TASK_ID]


def test_pauses_after_trouble_are_not_cut_by_news(shell: str) -> None:
    """A server in trouble is left alone."""
    clock = FakeClock()
    news, script = News(clock, (TASK_ID, 0.1)), provider(seen("processing"), refused(500), refused(500), DONE)
    perform(shell, script, lambda client: client.wait(TASK_ID), clock=clock, webhooks=news)

    assert len(clock.sleeps) == 2
    assert len(news.asked) == 1


# ---- account


def test_account_is_read(shell: str) -> None:
    """And its key is nowhere in it."""
    script = provider(answer(200, {"data": {"name": "me", "equivalent_in_usd": 2, "api_key": KEY}}))
    account = perform(shell, script, lambda client: client.account())

    assert isinstance(account, Account)
    assert account.balance_usd == 2.0
    assert script.lines == ["GET /account/info"]
    assert KEY not in repr(account.raw)


def test_active_tasks_are_read(shell: str) -> None:
    """By group."""
    script = provider(answer(200, {"data": {"kling": {"pending_count": 3}}}))
    groups = perform(shell, script, lambda client: client.active_tasks())

    assert groups["kling"].pending_count == 3
    assert script.lines == ["GET /account/active_tasks"]


def test_history_is_iterated_page_by_page(shell: str) -> None:
    """A page is asked for when it is needed."""
    pages = [answer(200, {"data": {"data": [{"task_id": name}], "total": 2}}) for name in "ab"]
    script = provider(*pages)
    rows = perform(
        shell,
        script,
        lambda client: all_of(
            client.history(model="kling", start=datetime(2026, 1, 1, tzinfo=UTC), end=1.8e9, page_size=1)
        ),
    )

    assert [row.task_id for row in rows] == ["a", "b"]
    query = "model=kling&start_time=1767225600&end_time=1800000000"
    assert script.lines == [f"{HISTORIES}?page={page}&page_size=1&{query}" for page in (1, 2)]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"page_size": 101}, "page_size is 101: give 1 to 100 rows"),
        ({"page_size": 0}, "page_size is 0"),
        ({"start": -1.0}, r"start is -1\.0: give a datetime, or unix seconds"),
        ({"end": float("nan")}, "end is nan"),
        ({"end": "now"}, "end is 'now'"),
    ],
)
def test_history_refuses_what_cannot_be_asked(shell: str, given: dict[str, Any], problem: str) -> None:
    """Before anything is sent."""
    with pytest.raises(InvalidInput, match=problem):
        perform(shell, provider(), lambda client: all_of(client.history(**given)))


def test_cancel_many_refuses_what_is_no_time(shell: str) -> None:
    """A misread time would cancel other tasks than meant."""
    with pytest.raises(InvalidInput, match="created_before is 'today'"):
        perform(shell, provider(), lambda client: client.cancel_many(created_before="today"))


# ---- upload


def stored() -> Response:
    return answer(200, {"code": 200, "data": {"url": "https://img.test/1.png"}})


def test_file_is_uploaded_and_used(shell: str) -> None:
    """The same server takes it, unless the provider is the one with a server for uploads."""
    script = provider(stored())
    made = perform(shell, script, lambda client: client.upload(encoded()))

    assert made.url == "https://img.test/1.png"
    assert script.lines == ["POST /api/ephemeral_resource"]
    assert script.requests[0].headers["x-api-key"] == KEY


def test_uploads_of_piapi_go_to_their_own_server(shell: str) -> None:
    """As the page says; the key is needed there."""
    script = provider(stored())
    perform(shell, script, lambda client: client.upload(encoded()), base_url=None)

    assert str(script.requests[0].url) == "https://upload.theapi.app/api/ephemeral_resource"
    assert script.requests[0].headers["x-api-key"] == KEY


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        (b"GIF89a", "an upload takes jpg, png, webp, mp4, wav and mp3; this starts with b'GIF89a'"),
        (encoded() + bytes(11_000_000), r"it has 11\.0 MB; an upload takes at most 10 MB"),
        ("https://me.test/a.png", "has an address already"),
    ],
)
def test_file_that_cannot_be_uploaded_is_refused(shell: str, file: Any, problem: str) -> None:
    """Before anything is sent."""
    with pytest.raises(InvalidInput, match=problem):
        perform(shell, provider(), lambda client: client.upload(file))


def test_file_for_a_url_field_is_uploaded_first(shell: str) -> None:
    """Upload, create: and the create has the address."""
    script = provider(stored(), seen())
    perform(shell, script, lambda client: client.submit(tasks.Hug(image_url=encoded())))

    assert script.lines == ["POST /api/ephemeral_resource", "POST /api/v1/task"]
    assert script.body(1)["input"] == {"image_url": "https://img.test/1.png"}


def test_nothing_is_uploaded_when_that_is_not_wanted(shell: str) -> None:
    """A field that takes a URL alone is a problem then."""
    with pytest.raises(InvalidInput, match="only a URL is taken here"):
        perform(shell, provider(), lambda client: client.submit(tasks.Hug(image_url=encoded())), uploads=False)


def test_create_after_a_refused_upload_is_not_sent(shell: str) -> None:
    """There is nothing to create."""
    script = provider(refused(403, "Insufficient plan level"))
    with pytest.raises(errors.AuthenticationFailed, match="Insufficient plan level"):
        perform(shell, script, lambda client: client.submit(tasks.Hug(image_url=encoded())))

    assert len(script.requests) == 1


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
    """In percent; None where nothing is said."""
    assert Task(task_data("processing", **fields), Output).progress == percent
