"""`map` of both clients: many inputs, each with its result, within limits of number, rate and money."""

import itertools
import logging
import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, cast

import httpx
import pytest
from unitask import Client, MapProgress, MapResult, Output, Task, Timestamp, errors, tasks
from unitask._core.effects import TransportFailure
from unitask._core.journal import PoolLimits, Row, RowState
from unitask._core.pool import GATHERING, Pool, Turn
from unitask._core.recovery import Submission
from unitask.mapping import MapRun
from unitask.testing import UnitaskProvider

from .script import AT_SOME_TIME, BODY, answer, limits, task_data
from .shells import BASE_URL, KEY, all_of, instant_clock, perform

A_PRICE = 0.01  # of a face swap, in USD


def swaps(count: int) -> Iterator[tasks.FaceSwap]:
    for number in range(count):
        yield tasks.FaceSwap(target_image=f"https://me.test/{number}.jpg", swap_image="https://me.test/b.png")


def mapped(shell: str, made: UnitaskProvider, inputs: Any, **options: Any) -> list[MapResult[Any]]:
    return perform(shell, made, lambda client: all_of(client.map(inputs, **options)))


def provider() -> UnitaskProvider:
    return UnitaskProvider(clock=instant_clock())


def test_each_input_gets_its_result(shell: str) -> None:
    made = provider()
    results = mapped(shell, made, swaps(30))

    assert sorted(result.index for result in results) == list(range(30))
    assert all(result.error is None and result.task is not None and result.task.done for result in results)
    assert {result.input.values()["target_image"] for result in results} == {
        task.input["target_image"] for task in made.tasks
    }
    assert len(made.tasks) == 30


@pytest.mark.parametrize("ordered", [False, True])
def test_results_come_as_they_finish_or_in_order(shell: str, ordered: bool) -> None:
    made = provider()
    made.completes(tasks.FaceSwap, statuses=("pending", *("processing",) * 4, "completed"), times=1)
    results = mapped(shell, made, swaps(4), ordered=ordered)

    assert [result.index for result in results] == ([0, 1, 2, 3] if ordered else [1, 2, 3, 0])


def test_failure_of_one_is_its_result(shell: str, caplog: pytest.LogCaptureFixture) -> None:
    made = provider()
    made.fails("no face found", times=1)
    made.refuses(status=400, message="bad input", times=1)
    made.loses_the_answer(tasks.FaceSwap, times=1)
    inputs = [*swaps(3), tasks.FaceSwap(target_image="missing.png", swap_image="https://me.test/b.png"), *swaps(1)]
    with caplog.at_level(logging.WARNING, "unitask"):
        *failed, good = [result.error for result in mapped(shell, made, inputs, ordered=True)]

    kinds = [errors.NoFaceFound, errors.InvalidRequest, errors.SubmissionUncertain, errors.InvalidInput]
    assert [isinstance(error, kind) for error, kind in zip(failed, kinds, strict=True)] == [True] * 4
    assert good is None
    assert len(made.tasks) == 4
    assert failed[2].token in caplog.text


@pytest.mark.parametrize("ordered", [False, True])
def test_inputs_are_read_when_they_may_be_submitted(shell: str, ordered: bool) -> None:
    made, read = provider(), list[int]()
    made.completes(statuses=("pending", *("processing",) * 9, "completed"), times=1)

    def inputs() -> Iterator[tasks.FaceSwap]:
        for number, swap in enumerate(swaps(20)):
            read.append(number)
            assert number - len(taken) < 3
            yield swap

    taken: list[int] = []

    def take(client: Any) -> Any:
        results = client.map(inputs(), concurrency=3, ordered=ordered)
        if shell == "sync":
            for result in results:
                taken.append(result.index)  # noqa: PERF401 - the inputs read it meanwhile
            return None

        async def steps() -> None:
            async for result in results:
                taken.append(result.index)  # noqa: PERF401

        return steps()

    perform(shell, made, take)
    assert (len(read), len(taken)) == (20, 20)


def test_money_is_held_for_all_tasks_and_the_rest_is_not_submitted(shell: str) -> None:
    made, inputs = provider(), swaps(1000)
    with pytest.raises(errors.BudgetExceeded) as refused_:
        mapped(shell, made, inputs, max_usd=5 * A_PRICE)

    assert len(made.tasks) == 5
    assert refused_.value.spent_usd == pytest.approx(5 * A_PRICE)
    assert next(inputs, None) is not None


def test_money_of_a_failed_task_is_used_for_the_next(shell: str) -> None:
    made = provider()
    made.fails("no face found", times=3)
    results = mapped(shell, made, swaps(5), max_usd=2 * A_PRICE, ordered=True)

    assert [result.error is None for result in results] == [False] * 3 + [True] * 2


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (401, "no", errors.AuthenticationFailed),
        (403, "no", errors.PermissionDenied),
        (500, "account credit not enough", errors.InsufficientCredit),
    ],
)
def test_refusal_that_concerns_the_account_ends_the_submissions(
    shell: str, status: int, message: str, kind: type[Exception]
) -> None:
    made, inputs = provider(), swaps(1000)
    made.completes(tasks.FaceSwap, times=2)
    made.refuses(status=status, message=message)
    with pytest.raises(kind):
        mapped(shell, made, inputs)

    assert len([line for line in made.lines if line.startswith("POST")]) == 3


def test_provider_that_stays_unreachable_ends_the_submissions(shell: str) -> None:
    made, inputs = provider(), swaps(1000)
    made.down = True
    with pytest.raises(errors.Unreachable, match="the submission was not sent"):
        mapped(shell, made, inputs)

    assert 20 <= len(made.lines) < 200
    assert next(inputs, None) is not None


def test_outage_is_no_failure_of_the_tasks(shell: str) -> None:
    made = provider()
    made.completes(tasks.FaceSwap, statuses=("pending", *[httpx.ConnectError("down")] * 8, "completed"))
    (result,) = mapped(shell, made, swaps(1))

    assert result.error is None
    assert made.clock.passed > 200  # longer than the patience of one poll


def test_error_of_the_inputs_is_raised_after_the_results(shell: str) -> None:
    made = provider()

    def inputs() -> Iterator[tasks.FaceSwap]:
        yield from swaps(3)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        mapped(shell, made, inputs())

    assert len(made.tasks) == 3
    assert len([line for line in made.lines if line.startswith("GET")]) >= 3


def test_files_are_fetched_as_results_come(shell: str, tmp_path: Path) -> None:
    made = provider()
    results = mapped(shell, made, swaps(3), to=f"{tmp_path}/out/")

    files = sorted(file for result in results for file in result.files)
    assert len(files) == 3
    assert all(file.is_file() for file in files)


@pytest.mark.parametrize("of_files", [False, True])
def test_outage_of_minutes_is_no_failure_of_tasks_or_files(shell: str, of_files: bool, tmp_path: Path) -> None:
    made = provider()

    def send(request: httpx.Request) -> httpx.Response:
        is_of_file = request.url.host != httpx.URL(BASE_URL).host
        if made.clock.passed > 300.0 or of_files != is_of_file or request.method == "POST":
            return made.transport.handle_request(request)
        if is_of_file:
            raise httpx.ConnectError("no such host")
        return httpx.Response(502)

    def take(client: Any) -> Any:
        return all_of(client.map(swaps(6), to=f"{tmp_path}/"))

    results = perform(shell, send, take, clock=made.clock)
    assert [result.error for result in results] == [None] * 6
    assert len([*tmp_path.iterdir()]) == len(made.tasks) == 6
    assert 300.0 < made.clock.passed < 600.0


def test_task_that_the_provider_does_not_know_any_more_is_reported_as_such(shell: str) -> None:
    made = provider()

    def send(request: httpx.Request) -> httpx.Response:
        gone = httpx.Response(404, json={"code": 404, "message": "task not found", "data": None})
        return gone if request.method == "GET" else made.transport.handle_request(request)

    [result] = perform(shell, send, lambda client: all_of(client.map(swaps(1))), clock=made.clock)
    assert isinstance(result.error, errors.NotFound)
    assert result.error.task_id == made.tasks[0].id
    assert made.clock.passed < 120.0


def test_progress_is_reported(shell: str) -> None:
    made, reports = provider(), list[MapProgress]()
    mapped(shell, made, list(swaps(5)), on_progress=reports.append)

    last = reports[-1]
    assert (last.total, last.read, last.running, last.done, last.failed, last.rest) == (5, 5, 0, 5, 0, 0)
    assert last.spent_usd == pytest.approx(5 * A_PRICE)


def counted(results: Any, taken: list[int]) -> Any:
    """Take all results, and count them."""
    if not hasattr(results, "__aiter__"):
        for _ in results:
            taken[0] += 1
        return None

    async def gather() -> None:
        async for _ in results:
            taken[0] += 1

    return gather()


@pytest.mark.parametrize("answers", [False, True])
@pytest.mark.parametrize("at", range(6))
def test_interruption_names_every_task_that_was_or_may_be_accepted(
    shell: str, at: int, answers: bool, caplog: pytest.LogCaptureFixture
) -> None:
    made, methods, taken = provider(), list[str](), [0]

    def answer(request: httpx.Request) -> httpx.Response:
        methods.append(request.method)
        response = made.transport.handle_request(request) if answers or len(methods) <= at else None
        if response is None or len(methods) > at:
            raise KeyboardInterrupt
        return response

    with pytest.raises(KeyboardInterrupt):
        perform(shell, answer, lambda client: counted(client.map(swaps(3)), taken), clock=made.clock)
    known = made.tasks[:-1] if methods[-1] == "POST" and answers else made.tasks
    assert len([task for task in known if task.id in caplog.text]) == len(known) - taken[0]
    assert ("may have been accepted" in caplog.text) == (methods[-1] == "POST")


def test_second_interruption_names_the_submissions_without_an_answer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made, has_come, may_answer = provider(), threading.Event(), threading.Event()
    made.completes(statuses=("completed",))

    def answer(request: httpx.Request) -> httpx.Response:
        response = made.transport.handle_request(request)
        if request.method == "POST" and len(made.tasks) > 1:
            has_come.set()
            may_answer.wait(60)
        return response

    def interrupted(*_: object) -> None:
        has_come.wait(60)
        raise KeyboardInterrupt

    with Client(api_key=KEY, base_url=BASE_URL, transport=httpx.MockTransport(answer)) as client:
        monkeypatch.setattr(threading.Thread, "join", interrupted)
        with pytest.raises(KeyboardInterrupt) as again:
            list(client.map(swaps(2), concurrency=2, on_progress=interrupted))
        monkeypatch.undo()
        may_answer.set()
    assert "may have been accepted" in caplog.text
    assert "may have been accepted" in again.value.__notes__[0]


def test_error_of_the_callers_function_ends_the_run_and_names_the_tasks(shell: str) -> None:
    made = provider()

    def fail(progress: MapProgress) -> None:
        raise OSError(f"{progress.done} done")

    with pytest.raises(OSError, match="1 done") as failed:
        mapped(shell, made, swaps(3), on_progress=fail)
    assert all(task.id in failed.value.__notes__[0] for task in made.tasks)


def test_client_that_is_closed_ends_the_run(shell: str) -> None:
    made, inputs = provider(), swaps(1000)

    def take(client: Any) -> Any:
        results = client.map(inputs, concurrency=3)
        if shell == "sync":
            for _ in results:
                client.close()
            return None

        async def steps() -> None:
            async for _ in results:
                await client.aclose()

        return steps()

    with pytest.raises(errors.InvalidInput, match="this client is closed") as ended_:
        perform(shell, made, take)
    assert next(inputs, None) is not None
    assert made.tasks[-1].id in ended_.value.__notes__[0]


def a_pool(count: int, **changes: Any) -> Pool[Any]:
    return Pool(swaps(count), PoolLimits(**changes), limits())


def at(seconds: float) -> Timestamp:
    return AT_SOME_TIME._replace(monotonic=seconds)


def accepted(number: int) -> Task[Any]:
    return Task(task_data() | {"task_id": str(number)}, Output)


def begun(pool: Pool[Any], now: float) -> list[Turn[Any]]:
    """Return the turns that are due."""
    return list(itertools.takewhile(lambda turn: isinstance(turn, Turn), iter(lambda: pool.next(at(now)), 0)))


def ended(turn: Turn[Any], **how: Any) -> Turn[Any]:
    for name, value in how.items():
        setattr(turn, name, value)
    return turn


def test_submissions_keep_their_rate() -> None:
    pool = a_pool(100, per_second=2.0)
    times = []
    now = 0.0
    for _ in range(5):
        found = pool.next(at(now))
        while isinstance(found, float):
            now = found
            found = pool.next(at(now))
        times.append(now)

    assert times == [0.0, 0.5, 1.0, 1.5, 2.0]


@pytest.mark.parametrize(("asked", "pause"), [(7.0, 7.0), (float("nan"), 1.0), (9999.0, 120.0), (0.0, 0.5)])
def test_too_many_requests_pause_all_and_slow_the_submissions(asked: float, pause: float) -> None:
    pool = a_pool(100)
    first, second, *_ = (pool.next(at(0.0)) for _ in range(3))
    assert isinstance(first, Turn)
    assert isinstance(second, Turn)
    pool.finish(ended(first, limited=asked, pause=0.1), at(10.0))
    pool.finish(ended(second, limited=asked, pause=0.1), at(10.1))  # the same burst

    assert pool.next(at(10.2)) == pytest.approx(10.0 + pause)
    after = 10.0 + pause
    turns = [turn for step in range(4) for turn in begun(pool, after + 0.021 * step)]
    assert [turn.job.index for turn in turns] == [0, 1, 3, 4]  # both again, and the next ones, at the new rate


def test_submissions_without_an_answer_slow_the_others() -> None:
    pool, now, sent = a_pool(10**6), 0.0, [0, 0]
    uncertain = Submission(BODY).uncertain("HTTP 502", AT_SOME_TIME)
    while now < 720.0:
        turn, works = pool.next(at(now)), now > 600.0
        if isinstance(turn, float):
            now = turn
        elif turn is not None and turn.job.waiting is None:
            sent[works], now = sent[works] + 1, now + 0.01
            how: dict[str, Any] = {"task": accepted(sum(sent))} if works else {"error": uncertain}
            pool.finish(ended(turn, **how), at(now))
    assert sent[False] < 100
    assert sent[True] > 500


def test_pause_has_a_reason_until_a_request_succeeds() -> None:
    pool = a_pool(2)
    turn = pool.next(at(0.0))
    assert isinstance(turn, Turn)
    for reply, reason in ((TransportFailure("down", AT_SOME_TIME, never_left=True), "down"), (answer(429), "HTTP 429")):
        pool._limit(reply)
        assert pool.paused_by == reason
    pool._limit(answer(200))
    assert pool.paused_by == "HTTP 429"
    pool.finish(ended(turn, pause=0.1), at(10.0))
    assert pool.paused_by is None


def test_submission_beyond_a_budget_waits_while_another_one_may_fail() -> None:
    pool = a_pool(2)
    first, second = begun(pool, 0.0)
    refused = errors.BudgetExceeded("swap", estimate_usd=1, limit_usd=1, spent_usd=0, held_usd=1)
    assert not pool.finish(ended(first, pause=5.0), at(0.0))  # it is sent again
    assert not pool.finish(ended(second, error=refused), at(0.0))
    assert pool.next(at(0.0)) == 5.0
    [first] = begun(pool, 5.0)
    assert pool.finish(ended(first, error=errors.InvalidInput("bad")), at(5.0))
    [second] = begun(pool, 5.0)
    assert pool.finish(ended(second, error=refused), at(5.0))
    assert pool.next(at(5.0)) is None
    assert pool.stopped_by is refused


def test_notification_brings_the_next_poll_forward() -> None:
    pool = a_pool(1, has_webhook=True)
    pool.notify("0", 0.0)  # of a task that is not known yet
    [turn] = begun(pool, 0.0)
    pool.finish(ended(turn, task=accepted(0)), at(0.0))
    assert pool.next(at(0.0)) == 60.0
    pool.notify("0", 1.0)
    [turn] = begun(pool, 1.0)
    pool.notify("0", 2.0)  # during the poll
    pool.finish(turn, at(3.0))
    [turn] = begun(pool, 3.0)
    assert pool.finish(ended(turn, error=errors.Unreachable("gone")), at(4.0))
    pool.notify("0", 5.0)  # after its end
    assert pool.next(at(5.0)) is None


def test_tasks_are_polled_while_an_input_is_read() -> None:
    made, is_polled = UnitaskProvider(), threading.Event()

    def inputs() -> Iterator[tasks.FaceSwap]:
        yield from swaps(1)
        assert is_polled.wait(30.0)
        yield from swaps(1)

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            is_polled.set()
        return made.transport.handle_request(request)

    with Client(api_key=KEY, base_url=BASE_URL, transport=httpx.MockTransport(answer)) as client:
        assert [result.error for result in client.map(inputs())] == [None, None]


def test_inputs_are_read_when_a_limit_is_raised_while_nothing_is_due() -> None:
    run = MapRun(a_pool(9, concurrency=1), None, {}, (), None)
    turn = run.next(at(0.0))
    assert isinstance(turn, Turn)
    turn.error = errors.InvalidInput("bad")
    run.finish(turn, at(0.0))
    run.put(run.result(turn))
    assert run.next(at(0.0)) == math.inf
    run.pool.limits.concurrency = 2
    assert run.pop() is not None
    assert run.has_room


def test_any_number_of_lost_submissions_is_taken_up() -> None:
    class Lost:
        own: ClassVar[dict[str, str]] = {}

        def take(self, index: int, _: Any) -> Row:
            return Row(index, "", RowState.SENDING, "{}", None, 0, 0, None)

        def missing_inputs(self, _: int) -> None:
            """Return no error."""

    pool = Pool(swaps(3000), PoolLimits(concurrency=5000), limits(), cast("Any", Lost()))
    assert pool.next(at(0.0)) == GATHERING
    [search] = begun(pool, GATHERING)
    assert pool.is_search(search)
    assert len(pool.take_lost()) == 3000


def test_poll_that_is_due_is_postponed_when_other_tasks_show_that_it_would_be_early() -> None:
    pool = a_pool(3)
    durations = pool.timeouts.durations
    jobs = [turn.job for turn in begun(pool, 0.0)]
    for job in jobs:
        pool.finish(ended(Turn(job, 0.0, at(0.0)), task=accepted(job.index)), at(0.0))
    due = pool.next(at(0.0))
    for _ in range(100):
        durations.note_poll("FaceSwap", 0.0, 100.0, ended=False)

    assert isinstance(due, float)
    later = pool.next(at(due))
    assert isinstance(later, float)
    assert later > 5 * due
    assert later == pytest.approx(durations.next_poll_delay("FaceSwap", 0.0))
    pool.notify("1", 2 * due)
    assert [turn.job.index for turn in begun(pool, 2 * due)] == [1]
    assert len(begun(pool, later)) == 2
