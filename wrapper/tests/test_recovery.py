"""What became of a submission without an answer: found, absent or unclear, and never a guess; no row is lost."""

import contextlib
import itertools
import pickle
import random
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from unitask import Client, Outcome, Output, Recovery, Timestamp, _base_client, errors, tasks
from unitask._core import flows, recovery
from unitask._core.effects import Flow, Response, SendRequest, TransportFailure
from unitask.testing import InstantClock, UnitaskProvider

from .script import BODY, CUT_OFF, GATEWAY, TASK_ID, UNIX, Played, answer, history_page, limits, play, refused, seen
from .shells import BASE_URL, KEY, perform

CLIENT = recovery.ClientIdentity()
FOUND, ABSENT, UNCLEAR = Outcome.FOUND, Outcome.ABSENT, Outcome.UNCLEAR
INPUT = {"prompt": "a red fox", "steps": 4, "image": "https://me.test/a.jpg"}
UNMARKED = {**BODY, "input": INPUT}
HOOK = "https://me.test/hook?user=7"
MARKED = recovery.with_correlation_id({**UNMARKED, "config": {"webhook_config": {"endpoint": HOOK}}}, "abc123")
LEGACY = {"model": "legacy", "task_type": "mj_v2_imagine", "input": {"prompt": "a red fox"}}
LATE = recovery.SETTLED + 2.0  # seconds after the submission, when a history without it means something
FULL = [f"t{number}" for number in range(100)]


def uncertain(body: dict[str, Any] = MARKED, ago: float = 0.0) -> errors.SubmissionUncertain:
    """The error of a submission without an answer, so many seconds ago on all clocks."""
    error = play(flows.submit(body, Output, limits().retry_policy), CUT_OFF).error
    assert isinstance(error, errors.SubmissionUncertain)
    start, end = (moment - timedelta(seconds=ago) for moment in error.sent_between)
    sent = error.identity.sent
    assert sent
    earlier = [Timestamp(moment.monotonic - ago, moment.unix - ago) for moment in (sent.start, sent.end)]
    error.sent_between = start, end
    error.identity = replace(error.identity, sent=sent._replace(start=earlier[0], end=earlier[1]))
    return error


def history(*rows: str | dict[str, Any], total: int | None = None) -> Response:
    """A page of the history with these rows, or rows of these tasks."""
    return history_page(*rows, total=len(rows) if total is None else total)


def task(task_id: str = TASK_ID, **fields: Any) -> Response:
    """The answer to a poll of a task of the history."""
    return seen("processing", task_id=task_id, **fields)


def with_hook(endpoint: str, task_id: str = TASK_ID) -> Response:
    return task(task_id, input=INPUT, config={"webhook_config": {"endpoint": endpoint}})


def search(
    *pages: Any,  # of the history of that time; the last one repeats
    newest: Any = None,  # the first page of the history of all times, if it is another one
    polled: Any = None,  # the answer to the poll of a task, or a function of its id; None: it has another model
    own: tuple[str, ...] = (),  # ids of tasks of other submissions
    body: dict[str, Any] = MARKED,
    named: str | None = None,  # the id that an answer to the submission named
    **identity: Any,  # what its error has instead
) -> Recovery:
    """Read the history once, so late that it has settled."""
    error = uncertain(body, LATE)
    error.task_id, error.identity = named, replace(error.identity, **identity)

    def respond(step: SendRequest) -> Any:
        if "page" in step.params:
            page = pages[min(int(step.params["page"]), len(pages)) - 1]
            return newest if newest and "start_time" not in step.params else page
        task_id = step.path.rpartition("/")[2]
        return polled(task_id) if callable(polled) else polled or task(task_id, model="kling")

    flow = recovery.find(error, dict.fromkeys(own, "another"), limits(timeout=0.0), CLIENT)
    result = play(flow, respond, dated=True).result
    assert isinstance(result, Recovery)
    return result


OURS = with_hook(f"{HOOK}&unitask=abc123")
POLLED: dict[str, tuple[Any, Outcome]] = {  # the answer to the poll of the one task in the history
    "our id": (OURS, FOUND),
    "another id": (with_hook(f"{HOOK}&unitask=other"), ABSENT),
    "our id cut short": (with_hook(f"{HOOK}&unitask=abc"), UNCLEAR),
    "a hidden id": (with_hook(f"{HOOK}&unitask=***"), UNCLEAR),
    "another id and ours": (with_hook(f"{HOOK}&unitask=other&unitask=abc123"), FOUND),
    "our id and another": (with_hook(f"{HOOK}&unitask=abc123&unitask=other"), UNCLEAR),
    "no id in the query": (with_hook(HOOK), UNCLEAR),
    "another model": (task(input=INPUT, model="kling"), ABSENT),
    "another model in another spelling": (task(input=INPUT, model="QubicoFlux1Schnell"), ABSENT),
    "another task type": (task(input=INPUT, task_type="txt2img"), ABSENT),
    "another spelling": (task(input=INPUT, model="QUBICO/image_toolkit"), UNCLEAR),
    "a part of the model": (task(input=INPUT, model="toolkit"), UNCLEAR),
    "an unknown model": (task(input=INPUT, model="a new name"), UNCLEAR),
    "another input": (task(input={"prompt": "a blue cat"}), UNCLEAR),  # the provider may have rewritten it
    "no input": (task(input={}), UNCLEAR),
    "an odd endpoint": (task(input=INPUT, config={"webhook_config": {"endpoint": 7}}), UNCLEAR),
    "404": (refused(404), UNCLEAR),
    "a gateway": (GATEWAY, UNCLEAR),
    "another task": (task("another id"), UNCLEAR),
}
ROWS: dict[str, tuple[dict[str, Any], Outcome]] = {  # the row of our task
    "of another model": ({"task_id": TASK_ID, "detail": {"model": "b", "workflow_type": "b"}}, FOUND),
    "id": ({"id": TASK_ID}, FOUND),
    "id in detail": ({"id": 7, "detail": {"task_id": TASK_ID}}, FOUND),
    "no id": ({"id": 7}, UNCLEAR),
    "two ids": ({"task_id": TASK_ID, "detail": {"task_id": "b"}}, UNCLEAR),
    "a blank id": ({"task_id": " "}, UNCLEAR),
}
NO_DATE = replace(history(), headers={"date": ""})
SMALL = [answer(200, {"code": 200, "data": {"data": [{"task_id": one}], "size": 1, "total": 1}}) for one in ("a", "c")]
PAGES: dict[str, tuple[list[Any], Outcome]] = {  # a history without our task
    "nothing": ([history()], ABSENT),
    "own tasks": ([history("a", total=2), history("b", total=2)], ABSENT),
    "a page behind the last one": ([history(*FULL, total=100), refused(400)], ABSENT),
    "others": ([history("x", "y", total=3), history("z", total=3)], ABSENT),
    "401": ([refused(401)], UNCLEAR),
    "no answer": ([CUT_OFF], UNCLEAR),
    "a gateway": ([GATEWAY], UNCLEAR),
    "empty pages": ([history(total=7)], UNCLEAR),
    "a round total and a task more": ([history(*FULL, total=100), history("late", total=100)], UNCLEAR),
    "small pages, and a task more than the total": (SMALL, UNCLEAR),
    "a smaller total": ([history(*FULL, total=100), history("late", total=1)], UNCLEAR),
    "a task is missing": ([history("x", total=3), history("y", total=3), history(total=3)], UNCLEAR),
    "more tasks than the total": ([history("x", total=0)], UNCLEAR),
    "no total": ([answer(200, {"code": 200, "data": {"data": []}})], UNCLEAR),
    **{
        f"code {code}": ([answer(200, {"code": code, "data": {"data": [], "total": 0}})], outcome)
        for code, outcome in ((0, ABSENT), (1, UNCLEAR), (300, UNCLEAR), (500, UNCLEAR))
    },
    "cut off": ([answer(200, b'{"code": 200, "data": {"data": [], "total": 0}} <!-- cut -->')], UNCLEAR),
    "the same page again": ([history(*FULL, total=100)], UNCLEAR),
    "the same page again, and a larger total": ([history(*FULL, total=300)], UNCLEAR),
    "no date": ([NO_DATE], UNCLEAR),
    "the epoch": ([replace(history(), headers={"date": "Thu, 01 Jan 1970 00:00:00 GMT"})], UNCLEAR),
    "a cached page": ([replace(history(), headers={"age": "90"})], UNCLEAR),
}


@pytest.mark.parametrize(("polled", "outcome"), POLLED.values(), ids=POLLED)
def test_outcome_of_a_task_in_the_history(polled: Any, outcome: Outcome) -> None:
    found = search(history(TASK_ID), polled=polled)

    assert (found.outcome, found.task is not None) == (outcome, outcome is FOUND)
    assert found.reason


@pytest.mark.parametrize(("row", "outcome"), ROWS.values(), ids=ROWS)
def test_outcome_of_a_row(row: dict[str, Any], outcome: Outcome) -> None:
    assert search(history(row), polled=OURS).outcome is outcome


@pytest.mark.parametrize(("pages", "outcome"), PAGES.values(), ids=PAGES)
def test_outcome_of_a_history_without_the_task(pages: list[Any], outcome: Outcome) -> None:
    found = search(*pages, own=("a", "b"))

    assert (found.outcome, found.task) == (outcome, None)


def test_task_of_another_submission_is_not_a_candidate() -> None:
    twin = task(input=INPUT)

    assert search(history(TASK_ID), polled=twin).outcome is UNCLEAR
    assert search(history(TASK_ID), polled=twin, own=(TASK_ID,)).outcome is ABSENT
    assert search(history("first", TASK_ID), polled=OURS, own=("first",)).outcome is FOUND


def test_history_of_all_times_is_read_too() -> None:
    def listed(after: float) -> Recovery:
        created = Timestamp(0.0, UNIX + after).utc.isoformat()
        return search(history(), newest=history({"task_id": TASK_ID, "created_at": created}), polled=OURS)

    assert [listed(after).outcome for after in (-LATE - 300, -LATE + 301, 300)] == [FOUND, FOUND, ABSENT]
    assert listed(301).reason == "the times in the history are not those of the provider's Date header"
    assert search(history(), newest=GATEWAY).outcome is UNCLEAR


def test_what_proves_nothing_is_unclear() -> None:
    id_of_the_caller = search(history(TASK_ID), polled=OURS, submission="0123456789abcdef")

    assert id_of_the_caller.outcome is UNCLEAR
    assert [each.id for each in id_of_the_caller.candidates] == [TASK_ID]
    doubts = "this client has another key or base_url; an answer to the submission named task a-task"
    assert search(history(), named="a-task", account="another", polled=refused(404)).reason == doubts


def test_time_of_the_submission_that_is_unknown_is_named() -> None:
    sent: Any = uncertain(ago=LATE).identity.sent
    elsewhere = sent._replace(process="another")
    undated = "the answers of the provider have no Date header, which is needed to compare times"
    apart = "the clocks contradict each other, so it is unknown when the submission was sent"
    another = "another process sent the submission, and when that was is unknown on the provider's clock"

    assert search(history(), sent=elsewhere._replace(on_provider=(UNIX - LATE, UNIX - LATE))).outcome is ABSENT
    assert search(history(), sent=elsewhere).reason == another
    assert search(history(), sent=sent._replace(on_provider=(UNIX, UNIX))).reason == apart
    assert search(NO_DATE).reason == undated
    assert "; it may enter the history later: search again in 6" in find_now(NO_DATE, timeout=0.0).result.reason


def test_each_task_is_polled_once_and_those_of_another_kind_last(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def polled(name: str) -> Response:
        asked.append(name)
        return task(name, model="kling")

    rows = history({"id": "a", "detail": {"model": "kling"}}, {"id": "b", "detail": {"workflow_type": "txt2img"}}, "c")
    assert search(rows, polled=polled).reason == "each of the 3 tasks of that time is another one"
    assert asked == ["c", "a", "b"]
    monkeypatch.setattr(recovery, "MOST_POLLS", 2)
    assert search(history("a", "b", "c", "d")).reason == "tasks that could not be polled: 2"


def test_tasks_with_the_same_input_are_candidates_and_come_first() -> None:
    inputs = {"a": {}, "b": INPUT}
    found = search(history("a", "b"), polled=lambda name: task(name, input=inputs[name]), body=UNMARKED)

    assert found.outcome is UNCLEAR
    assert [each.id for each in found.candidates] == ["b", "a"]
    assert "tasks with this input: 1;" in found.reason


def test_submission_of_either_protocol_is_sent_as_one() -> None:
    for body in (BODY, LEGACY):
        played = play(flows.submit(body, Output, limits().retry_policy), CUT_OFF)
        assert [step.submission for step in played.steps if isinstance(step, SendRequest)] == [True]


def test_task_that_this_client_submitted_is_not_taken_for_another() -> None:
    replies = iter([seen("pending"), CUT_OFF])

    def host(request: httpx.Request) -> httpx.Response:
        reply = (
            next(replies) if request.method == "POST" else history(TASK_ID) if "page" in request.url.params else task()
        )
        if isinstance(reply, TransportFailure):
            raise httpx.ReadTimeout("lost")
        return httpx.Response(reply.status, content=reply.body)

    def call(client: Client) -> Recovery:
        wanted = tasks.Raw(BODY["model"], BODY["task_type"], INPUT)
        client.submit(wanted)
        with pytest.raises(errors.SubmissionUncertain) as caught:
            client.submit(wanted)
        return client.find(caught.value, timeout=0.0)

    found = perform("sync", host, call)
    assert (found.task, found.candidates) == (None, ())


def test_named_task_is_polled_first_by_its_own_protocol() -> None:
    error, legacy = uncertain(UNMARKED), uncertain(LEGACY)
    error.task_id = legacy.task_id = TASK_ID
    played = play(recovery.find(error, {}, limits(timeout=0.0), CLIENT), task(input=None))
    shown = answer(200, {"task_id": TASK_ID, "status": "processing"})
    legacy_played = play(recovery.find(legacy, {}, limits(timeout=0.0), CLIENT), shown)

    assert played.result.outcome is legacy_played.result.outcome is FOUND
    assert TASK_ID in played.result.reason
    assert played.sent == ["GET"]
    assert [step.path for step in legacy_played.steps if isinstance(step, SendRequest)] == ["/mj/v2/fetch"]
    assert played.result.task.output_type is Output
    another = search(history(), named=TASK_ID, polled=task(model="kling"))
    assert (another.outcome, another.reason) == (UNCLEAR, f"an answer to the submission named task {TASK_ID}")
    unknown = search(body=LEGACY)
    assert unknown.outcome is UNCLEAR
    assert unknown.reason == "how the task history lists a legacy task is not documented"


def test_correlation_id_is_added_to_the_query_of_an_endpoint() -> None:
    def marked(endpoint: Any) -> Any:
        return recovery.with_correlation_id({"config": {"webhook_config": {"endpoint": endpoint}}}, "abc123")

    for given, sent in ((HOOK, f"{HOOK}&unitask=abc123"), ("https://me.test", "https://me.test?unitask=abc123")):
        assert marked(given)["config"]["webhook_config"] == {"endpoint": sent}
    for odd in (None, "", 7):
        assert marked(odd)["config"]["webhook_config"] == {"endpoint": odd}


def find_now(*replies: Response | TransportFailure, timeout: float | None, took: float = 0.0) -> Played:
    """A search that begins right after the submission."""
    return play(recovery.find(uncertain(), {}, limits(timeout=timeout), CLIENT), *replies, took=took, dated=True)


def test_history_is_read_again_until_the_task_is_there_or_it_has_settled() -> None:
    absent = find_now(history(), timeout=None)
    found = find_now(history(), history(TASK_ID), OURS, timeout=None)
    send = next(step for step in absent.steps if isinstance(step, SendRequest))

    assert (send.method, send.path) == ("GET", "/api/open/tasks/histories")
    assert send.params == {"page": 1, "page_size": 100, "start_time": int(UNIX) - 360, "end_time": int(UNIX) + 360}
    assert absent.result.outcome is ABSENT
    assert absent.ended_at == pytest.approx(recovery.SETTLED + 1)
    assert absent.sleeps == [recovery.PAUSE] * 6 + [1.0]
    assert (found.result.outcome, found.sleeps) == (FOUND, [recovery.PAUSE])


def test_search_ends_when_time_is_up() -> None:
    short = find_now(history(), timeout=25.0)
    hanging = find_now(history(*FULL, total=100), *[history()] * 3, timeout=0.0, took=19.0)

    assert short.result.outcome is hanging.result.outcome is UNCLEAR
    assert short.sleeps == [10.0, 10.0, 5.0]
    assert "again in 36 s" in short.result.reason
    assert hanging.ended_at < recovery.LONGEST_READING + 60.0


def test_error_holds_nothing_of_the_content_and_finds_in_another_process() -> None:
    error = uncertain()
    pickled = pickle.dumps(error)
    elsewhere = recovery.ClientIdentity("another")
    flow: Flow[Recovery] = recovery.find(pickle.loads(pickled), {}, limits(timeout=0.0), elsewhere)
    shown = repr(error) + str(error) + repr(vars(error)) + repr(pickled)

    assert not [part for part in ("red fox", "me.test") if part in shown]
    assert play(flow, history(TASK_ID), OURS).result.outcome is FOUND


SUBMISSIONS = 600
START = datetime(2027, 1, 15, tzinfo=UTC)  # on the provider's clock
DAY = 86_400.0
FOX = tasks.Raw("Qubico/flux1-schnell", "txt2img", {"prompt": "a red fox", "image_urls": []})
TASK: dict[str, Any] = {"model": FOX.model, "task_type": FOX.task_type, "input": FOX.input}
ANOTHER_ID = {"webhook_config": {"endpoint": "https://me.test/hook?unitask=0123456789abcdef"}}
OTHERS: list[dict[str, Any]] = [
    {**TASK, "model": "kling"},
    {**TASK, "input": {"prompt": "a blue cat"}},
    TASK,
    {**TASK, "config": ANOTHER_ID},
]


@dataclass
class World:
    """A provider that changes its answers, and the clocks of the client, whose wall clock may be set."""

    draw: random.Random
    provider: UnitaskProvider = field(default_factory=lambda: UnitaskProvider(clock=InstantClock(START)))
    apart: float = 0.0  # seconds that the client's wall clock is ahead of the provider's
    origin: float = 0.0  # of the monotonic clock
    fate: str = "accepted"  # of the next submission: accepted, refused, named
    is_dated: bool = True
    rush: float = 0.0  # tasks of others that are created with each request
    crowd: int = 40  # tasks after which no others are created
    most: int = 100  # rows on a page, whatever is requested
    total: str = "exact"
    other: dict[str, Any] = field(default_factory=lambda: OTHERS[0])  # what other programs submit
    lag: float = 0.0
    listed_at: dict[str, float] = field(default_factory=dict)  # when a task comes into the history

    def clock(self) -> Timestamp:
        now = self.provider.clock()
        return Timestamp(now.monotonic + self.origin, now.unix + self.apart)

    def make_other(self) -> None:
        """Accept a task of another program."""
        self._accept(httpx.Request("POST", f"{BASE_URL}/api/v1/task", json=self.other))

    def client(self) -> Client:
        transport, sleep = httpx.MockTransport(self.answer), self.provider.clock.sleep
        return Client(KEY, BASE_URL, transport=transport, clock=self.clock, sleep=sleep, poll_patience=5.0)

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.provider.clock.advance(self.draw.uniform(0.01, 0.3))
        for _ in range(int(self.rush + self.draw.random())):
            if len(self.provider.tasks) < self.crowd:
                self.make_other()
        if request.method == "POST":
            return self._create(request)
        page = request.url.params
        if "page" in page:  # all rows, so that those can be left out that the history does not list yet
            request = httpx.Request("GET", request.url.copy_merge_params({"page": 1, "page_size": 1_000_000}))
        response = self.provider.transport.handle_request(request)
        body = response.json()
        if "page" in page:
            body["data"] = self._page(body["data"]["data"], int(page["page"]), int(page["page_size"]))
        headers = {"date": response.headers["date"]} if self.is_dated and "date" in response.headers else {}
        return httpx.Response(response.status_code, headers=headers, json=body)

    def _create(self, request: httpx.Request) -> httpx.Response:
        if self.fate != "refused":
            self._accept(request)
        self.provider.clock.advance(self.draw.choice([0.0, 30.0]))
        if self.fate == "named":
            data = {"task_id": self.provider.tasks[-1].id}
            return httpx.Response(520, json={"code": 520, "data": data, "message": "odd"})
        raise httpx.ReadTimeout("slow")

    def _accept(self, request: httpx.Request) -> None:
        self.provider.transport.handle_request(request)
        self.listed_at[self.provider.tasks[-1].id] = self.provider.clock().unix + self.draw.uniform(0, self.lag)

    def _page(self, rows: list[dict[str, Any]], number: int, size: int) -> dict[str, Any]:
        now, size = self.provider.clock().unix, min(size, self.most)
        listed = [row for row in rows if self.listed_at[row["task_id"]] <= now]
        found = listed[(number - 1) * size : number * size]
        totals = {"exact": len(listed), "of the page": len(found)}
        return {"data": found, "page": number, "size": size, "total": totals.get(self.total)}


def drawn(seed: int) -> World:
    """A world of its own for each seed; half of them are calm, so that a sure outcome is possible."""
    draw = random.Random(seed)
    world = World(draw, origin=draw.choice([0.0, 1e5]))
    world.provider.clock.advance(draw.uniform(0, 1000))
    world.apart = draw.choice([0.0, 0.0, -400.0, 3600.0, -DAY, DAY, draw.uniform(-DAY, DAY)])
    world.lag = draw.choice([0.0, 20.0, 55.0])
    if draw.random() < 0.5:
        return world
    world.is_dated = draw.random() < 0.8
    world.rush = draw.choice([0.0, 0.3, 2.0])
    world.most = draw.choice([100, 10, 3])
    world.total = draw.choice(["exact", "exact", "none", "of the page"])
    world.other = draw.choice(OTHERS)
    return world


def lost(world: World, client: Client, **options: str) -> tuple[errors.SubmissionUncertain, str | None]:
    """A submission whose answer is lost, and the id of the task that it made."""
    world.fate = world.draw.choice(["accepted", "refused", "named"])
    with pytest.raises(errors.SubmissionUncertain) as caught:
        client.submit(FOX, **options)  # type: ignore[arg-type]  # drawn options
    return caught.value, None if world.fate == "refused" else world.provider.tasks[-1].id


def searched(seed: int, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Recovery, str | None]]:
    """Up to two lost submissions with one input in one world, the outcome of each, and the truth."""
    world = drawn(seed)
    draw, clock = world.draw, world.provider.clock
    for _ in range(draw.choice([0, 0, 2, 8])):
        world.make_other()
        clock.advance(draw.uniform(0, 200))
    client = world.client()
    if draw.random() < 0.5:  # an answer from which the client learns the time of the provider
        with contextlib.suppress(errors.UnitaskError):
            next(client.history(), None)
        clock.advance(draw.choice([0.0, 500.0]))
    options = {"webhook_url": "https://me.test/hook"} if draw.random() < 0.5 else {}
    rush, world.rush = world.rush, 0.0  # so that it is known which task is of which submission
    cases = [lost(world, client, **options) for _ in range(draw.choice([1, 2]))]
    world.rush = rush
    clock.advance(draw.choice([0.0, 1.0, 45.0, 90.0, 2000.0]))
    world.apart += draw.choice([0.0, 0.0, 0.0, 400.0, -400.0, 3600.0, DAY, -DAY])
    with monkeypatch.context() as patched:
        if draw.random() < 0.3:
            patched.setattr(_base_client, "PROCESS", "another", raising=False)
            world.origin = draw.uniform(0, 1e6)
            client = world.client()
            cases = [(pickle.loads(pickle.dumps(error)), made) for error, made in cases]
        timeout = draw.choice([None, 0, 0, 20])
        return [(client.find(error, timeout=timeout), made) for error, made in cases]


def test_no_outcome_is_false(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes: Counter[Outcome] = Counter()
    false: list[tuple[int, str, str | None]] = []
    for seed in itertools.count():
        if outcomes.total() >= SUBMISSIONS:
            break
        for result, made in searched(seed, monkeypatch):
            outcomes[result.outcome] += 1
            found = result.task.id if result.task else None
            if result.outcome is not UNCLEAR and found != made:
                false.append((seed, result.reason, made))

    assert false == []
    assert min(outcomes[FOUND], outcomes[ABSENT]) > SUBMISSIONS / 20, outcomes


@pytest.mark.parametrize("page_size", [1, 10])
@pytest.mark.parametrize("rush", [0.0, 12.0])
@pytest.mark.parametrize("total", ["exact", "none", "of the page"])
def test_history_loses_and_repeats_no_row(page_size: int, rush: float, total: str) -> None:
    world = World(random.Random(page_size), rush=rush, total=total, crowd=300)
    for _ in range(110):
        world.make_other()
    before = {task.id for task in world.provider.tasks}
    ids = [row.task_id for row in world.client().history(page_size=page_size)]

    assert len(ids) == len(set(ids))
    assert before <= set(ids)
