"""`map` with a journal: the same call goes on after any end, and no input is submitted twice."""

import io
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import httpx
import pytest
from unitask import Budget, MapProgress, MapResult, errors, tasks
from unitask._mapping_client import digest_of
from unitask.bulk import Journal
from unitask.bulk import journal as journals
from unitask.testing import UnitaskProvider

from .pictures import encoded
from .shells import BASE_URL, all_of, instant_clock, perform

MEMORY = Path("/dev/shm")
PRICE = 100_000  # of a face swap, in credits
A_PRICE = 0.01  # the same, in USD


class Crash(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(autouse=True)
def transactions_follow_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "SPACING", 0.0)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder in memory if possible, since a journal waits for the disk."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as path:
        yield Path(path)


def swaps(count: int) -> list[tasks.FaceSwap]:
    return [tasks.FaceSwap(target_image=url, swap_image="https://me.test/b.png") for url in urls(count)]


def urls(count: int) -> list[str]:
    return [f"https://me.test/{number}.jpg" for number in range(count)]


def provider() -> UnitaskProvider:
    return UnitaskProvider(clock=instant_clock())


def mapped(shell: str, made: Any, inputs: Any, journal: Any, **options: Any) -> list[MapResult[Any]]:
    settings = {name: options.pop(name) for name in ("budget", "clock") if name in options}
    return perform(shell, made, lambda client: all_of(client.map(inputs, journal=journal, **options)), **settings)


def targets(made: UnitaskProvider) -> list[str]:
    """Return the input of each task that was accepted, in order."""
    return sorted(task.input["target_image"] for task in made.tasks if task.id)


def states(journal: Journal) -> list[str]:
    return [row.state.value for row in journal.rows()]


def crashing(made: UnitaskProvider, at: int, *, answers: bool) -> Callable[[httpx.Request], httpx.Response]:
    """Let a provider crash the client at one of its requests, before or after it has carried the request out."""
    numbers = iter(range(10**6))

    def answer(request: httpx.Request) -> httpx.Response:
        is_last = next(numbers) == at
        if is_last and not answers:
            raise Crash
        response = made.transport.handle_request(request)
        if is_last:
            raise Crash
        return response

    return answer


@pytest.mark.parametrize("answers", [False, True])
def test_job_goes_on_after_a_crash_at_any_request(shell: str, folder: Path, answers: bool) -> None:
    for at in range(12):
        options = {"webhook_url": "https://me.test/hook"} if at % 2 else {}
        made, path, inputs = provider(), folder / f"{at}.db", swaps(4)
        with Journal(path) as journal, pytest.raises(Crash):
            mapped(
                shell,
                crashing(made, at, answers=answers),
                inputs,
                journal,
                clock=made.clock,
                to=f"{folder}/",
                **options,
            )
        with Journal(path) as journal:
            results = mapped(shell, made, inputs, journal, to=f"{folder}/", **options)
            assert states(journal) == ["done"] * 4, at
            assert journal.totals()[:2] == (0, 4 * PRICE)

        assert sorted(result.index for result in results) == [0, 1, 2, 3]
        assert all(result.files for result in results)
        assert targets(made) == urls(len(inputs)), at


@pytest.mark.parametrize("accepted", [False, True])
def test_lost_answer_is_searched(shell: str, folder: Path, accepted: bool) -> None:
    made = provider()
    made.completes(times=1)
    made.loses_the_answer(accepted=accepted, times=2)
    with Journal(folder / "job.db") as journal:
        results = mapped(shell, made, swaps(5), journal)
        assert states(journal) == ["done"] * 5

    assert all(result.error is None for result in results)
    assert targets(made) == urls(5)


def test_later_search_reads_only_the_time_before_the_first_one(shell: str, folder: Path) -> None:
    made, inputs = provider(), swaps(1)

    def doubtful(request: httpx.Request) -> httpx.Response:  # the history has a task that cannot be polled
        response = made.transport.handle_request(request)
        if "histories" not in request.url.path:
            return response
        page = response.json()
        row = page["data"]["data"][0]
        page["data"]["data"] += [{**row, "task_id": "gone", "detail": {**row["detail"], "task_id": "gone"}}]
        return httpx.Response(200, json=page, headers={"date": response.headers["date"]})

    perform(shell, made, lambda client: client.run(tasks.FluxSchnellTxt2Img(prompt="a cat")))
    with Journal(folder / "job.db") as journal, pytest.raises(Crash):
        mapped(shell, crashing(made, 1, answers=False), inputs, journal, clock=made.clock)
    with Journal(folder / "job.db") as journal:
        [result] = mapped(shell, doubtful, inputs, journal, clock=made.clock)
        assert (states(journal), type(result.error)) == (["unknown"], errors.SubmissionUncertain)

    made.clock.advance(86_400.0)
    other = perform(shell, made, lambda client: client.run(inputs[0]))  # of another program
    made.clock.advance(600.0)
    with Journal(folder / "job.db") as journal:
        [result] = mapped(shell, made, inputs, journal)
        assert states(journal) == ["done"]
    assert result.task is not None
    assert result.task.id != other.id


def test_lost_submission_is_not_sent_again_while_the_history_lags(shell: str, folder: Path) -> None:
    made, born = provider(), dict[str, float]()

    def lagging(request: httpx.Request) -> httpx.Response:
        response, now = made.transport.handle_request(request), made.clock().monotonic
        body = response.json()
        if request.method == "POST":
            born[body["data"]["task_id"]] = now
        if "histories" not in request.url.path:
            return response
        rows = [row for row in body["data"]["data"] if now - born[row["task_id"]] > 180]
        body["data"] |= {"data": rows, "total": len(rows)}
        return httpx.Response(200, json=body, headers={"date": response.headers["date"]})

    def crash(request: httpx.Request) -> httpx.Response:
        response = lagging(request)
        if len(born) == 3:
            raise Crash
        return response

    with Journal(folder / "job.db") as journal, pytest.raises(Crash):
        mapped(shell, crash, swaps(4), journal, clock=made.clock)
    with Journal(folder / "job.db") as journal:
        mapped(shell, lagging, swaps(4), journal, clock=made.clock)
        assert sorted(states(journal)) == ["done", "done", "done", "unknown"]
        assert "which was submitted at that time" in str([row.outcome for row in journal.rows()])
    made.clock.advance(180.0)
    with Journal(folder / "job.db") as journal:
        mapped(shell, lagging, swaps(4), journal, clock=made.clock)
        assert states(journal) == ["done"] * 4
    assert targets(made) == urls(4)


def test_lost_submission_is_found_when_its_picture_is_gone(shell: str, folder: Path) -> None:
    made, picture = provider(), folder / "a.png"
    picture.write_bytes(encoded())
    inputs = [tasks.FaceSwap(target_image=picture, swap_image=urls(1)[0]), *swaps(1)]
    with Journal(folder / "job.db") as journal, pytest.raises(Crash):
        mapped(shell, crashing(made, 1, answers=True), inputs, journal, clock=made.clock)
    picture.unlink()
    with Journal(folder / "job.db") as journal:
        results = mapped(shell, made, inputs, journal)
        assert states(journal) == ["done", "done"]

    assert [result.error for result in results] == [None, None]
    assert len(made.tasks) == 2


@pytest.mark.parametrize("accepted", [False, True])
def test_lost_submission_is_searched_when_the_clock_was_set_back(shell: str, folder: Path, accepted: bool) -> None:
    made = provider()

    def strict(request: httpx.Request) -> httpx.Response:
        period = [int(request.url.params.get(name, 0)) for name in ("start_time", "end_time")]
        refusal = httpx.Response(400, json={"code": 400, "message": "invalid period", "data": None})
        return made.transport.handle_request(request) if period == sorted(period) else refusal

    def set_back() -> Any:
        now = made.clock()
        return now._replace(unix=now.unix - 3600)

    set_back.sleep, set_back.sleep_async = made.clock.sleep, made.clock.sleep_async  # type: ignore[attr-defined]
    with Journal(folder / "job.db") as journal, pytest.raises(Crash):
        mapped(shell, crashing(made, 1, answers=accepted), swaps(2), journal, clock=made.clock)
    with Journal(folder / "job.db") as journal:
        mapped(shell, strict, swaps(2), journal, clock=set_back)
        assert states(journal) == ["done", "done"]
    assert targets(made) == urls(2)


def test_fewer_inputs_than_the_journal_has_are_refused_at_their_end(shell: str, folder: Path) -> None:
    made = provider()
    with Journal(folder / "job.db") as journal, pytest.raises(Crash):
        mapped(shell, crashing(made, 4, answers=True), swaps(3), journal, clock=made.clock)
    with Journal(folder / "job.db") as journal:
        with pytest.raises(errors.InvalidInput, match="there are 2 inputs, and the journal has 1 more"):
            mapped(shell, made, swaps(2), journal)
        assert states(journal) == ["done", "done", "sent"]
        mapped(shell, made, swaps(3), journal)
        assert states(journal) == ["done"] * 3


def test_file_whose_url_has_expired_is_fetched_from_the_one_of_a_new_poll(shell: str, folder: Path) -> None:
    made, signature = provider(), "1"

    def send(request: httpx.Request) -> httpx.Response:
        if request.url.host != httpx.URL(BASE_URL).host:
            is_valid = request.url.params.get("sig") == "2"
            there = httpx.Request("GET", request.url.copy_with(query=None))
            return made.transport.handle_request(there) if is_valid else httpx.Response(403)
        response = made.transport.handle_request(request)
        if b"completed" not in response.content:
            return response
        body = response.json()
        body["data"]["output"]["image_url"] += f"?sig={signature}"
        return httpx.Response(200, json=body, headers={"date": response.headers["date"]})

    with Journal(folder / "job.db") as journal:
        results = mapped(shell, send, swaps(2), journal, clock=made.clock, to=f"{folder}/")
        assert [type(result.error) for result in results] == [errors.DownloadFailed] * 2
        signature = "2"
        results = mapped(shell, send, swaps(2), journal, clock=made.clock, to=f"{folder}/")
        assert [len(result.files) for result in results] == [1, 1]
    assert len(made.tasks) == 2


FAILS = {"intent": 2, "accepted": 2, "ended": 2, "written": 2}


@pytest.mark.parametrize(("change", "number"), FAILS.items())
def test_journal_that_cannot_be_written_ends_the_run_and_the_next_one_goes_on(
    shell: str, folder: Path, change: str, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    made, path, calls = provider(), folder / "job.db", list[tuple[Any, ...]]()
    with Journal(path) as journal:
        write = getattr(journal, change)

        def failing(*values: Any) -> Future[Any]:
            calls.append(values)
            if len(calls) < number:
                return write(*values)
            future = Future[Any]()
            future.set_exception(errors.JournalError("the disk is full"))
            return future

        setattr(journal, change, failing)
        with pytest.raises(errors.JournalError, match="the disk is full") as failed:
            mapped(shell, made, swaps(6), journal, to=f"{folder}/")

    if change == "accepted":
        assert failed.value.task_id == made.tasks[-1].id
        assert made.tasks[-1].id in caplog.text
    with Journal(path) as journal:
        mapped(shell, made, swaps(6), journal, to=f"{folder}/")
        assert states(journal) == ["done"] * 6
    assert targets(made) == urls(6)


def test_journal_that_is_closed_meanwhile_ends_the_run(shell: str, folder: Path) -> None:
    made = provider()
    journal = Journal(folder / "job.db")

    def close(progress: MapProgress) -> None:
        if progress.done:
            journal.close()

    with pytest.raises(errors.JournalError, match="is closed"):
        mapped(shell, made, swaps(9), journal, concurrency=3, on_progress=close)


def test_job_goes_on_when_its_limit_is_raised(shell: str, folder: Path) -> None:
    made, budget = provider(), Budget(1.0)
    made.fails("no face found", times=1)
    with Journal(folder / "job.db") as journal:
        with pytest.raises(errors.BudgetExceeded):
            mapped(shell, made, swaps(6), journal, max_usd=2 * A_PRICE, budget=budget)
        assert journal.totals()[:2] == (0, 2 * PRICE)
        assert (budget.held_usd, budget.spent_usd) == (0, pytest.approx(2 * A_PRICE))
        results = mapped(shell, made, swaps(6), journal, max_usd=5 * A_PRICE)
        assert journal.totals()[:2] == (0, 5 * PRICE)

    assert [type(result.error).__name__ for result in results if result.error] == ["NoFaceFound"]
    assert len(made.tasks) == 6


@pytest.mark.parametrize(("is_failed", "state"), [(False, "done"), (True, "failed")])
def test_task_that_has_ended_when_it_is_accepted(shell: str, folder: Path, is_failed: bool, state: str) -> None:
    made = provider()
    made.completes(statuses=("completed",))
    if is_failed:
        made.fails("no face found", statuses=("failed",))
    with Journal(folder / "job.db") as journal:
        [result] = mapped(shell, made, swaps(1), journal)
        assert states(journal) == [state]
        assert journal.totals().held == 0

    assert isinstance(result.error, errors.NoFaceFound) == is_failed


def test_answer_with_the_task_of_another_input_is_uncertain(shell: str, folder: Path) -> None:
    made, mixed = provider(), list[httpx.Response]()

    def answer(request: httpx.Request) -> httpx.Response:
        response = made.transport.handle_request(request)
        if request.method == "POST":
            mixed.append(response)
            return mixed[0] if len(mixed) == 3 else response
        return response

    with Journal(folder / "job.db") as journal:
        results = mapped(shell, answer, swaps(4), journal, clock=made.clock)
        assert len({row.task_id for row in journal.rows()}) == 4
    assert len(made.tasks) == 4
    for result in results:
        assert result.task is not None
        assert result.task.raw["input"]["target_image"] == result.input.values()["target_image"]


def test_other_input_than_the_one_in_the_journal_is_refused(shell: str, folder: Path) -> None:
    made = provider()
    with Journal(folder / "job.db") as journal:
        mapped(shell, made, swaps(3), journal)
        with pytest.raises(errors.InvalidInput, match="input 0 is not the one in the journal"):
            mapped(shell, made, swaps(4)[1:], journal)
    assert len(made.tasks) == 3


def test_inputs_that_are_equal_are_submitted_each(shell: str, folder: Path) -> None:
    made, inputs = provider(), swaps(1) * 3
    made.loses_the_answer(times=2)
    with Journal(folder / "job.db") as journal:
        results = mapped(shell, made, inputs, journal)
    assert len({result.task.id for result in results if result.task}) == 3
    assert len(made.tasks) == 3


def pictures() -> Iterator[Any]:
    yield io.BytesIO(b"picture")
    yield Path("picture.png")
    yield b"picture"


@pytest.mark.parametrize("place", range(3))
def test_digest_of_an_input_is_the_same_in_another_process(place: int) -> None:
    one, other = (tasks.FaceSwap(target_image=[*pictures()][place], swap_image="https://me.test/b") for _ in range(2))
    assert digest_of(one) == digest_of(other)
