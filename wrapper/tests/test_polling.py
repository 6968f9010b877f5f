"""When to poll, and what is learned of durations; the figures are written out, not read from the module."""

import math
import pickle
from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from statistics import NormalDist, mean

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unitask import Output, Task
from unitask._core.polling import DurationTracker, default_timeout, kind_of
from unitask_api import contract

from .script import task_data

SHORTEST_GAP, LONGEST_GAP = 0.5, 30.0  # seconds between polls
SWAP = "FaceSwap"  # 8 s by the catalogue
QUANTILES = [NormalDist().inv_cdf((number + 0.5) / 1000) for number in range(1000)]


def polls(tracker: DurationTracker, kind: str, until: float) -> list[float]:
    """Return the ages at which a wait polls, up to the first one after an age."""
    found = [tracker.next_poll_delay(kind, 0.0)]
    while found[-1] < until:
        found.append(found[-1] + tracker.next_poll_delay(kind, found[-1]))
    return found


def run_tasks(tracker: DurationTracker, *ends: float, kind: str = SWAP) -> int:
    """Wait for tasks of these seconds, one after another, and return the number of polls of the last one."""
    number = 0
    for end in ends:
        before, number = 0.0, 0
        while before < end:
            age, number = before + tracker.next_poll_delay(kind, before), number + 1
            tracker.note_poll(kind, before, age, ended=age >= end)
            before = age
    return number


@pytest.mark.parametrize(
    ("kind", "typical", "planned", "count"),
    [(SWAP, 8.0, 0.8, 8.2), ("AceStepAudio2Audio", 30.0, 3.0, 9.6), ("Hug", 180.0, 5.0, 29.4)],
)
def test_end_is_noticed_as_late_as_planned(kind: str, typical: float, planned: float, count: float) -> None:
    ends = [typical * math.exp(0.8 * share) for share in QUANTILES]
    plan = polls(DurationTracker(), kind, max(ends))
    places = [bisect_left(plan, end) for end in ends]

    assert mean(plan[place] - end for place, end in zip(places, ends, strict=True)) == pytest.approx(planned, rel=0.05)
    assert mean(places) + 1 == pytest.approx(count, rel=0.05)


def test_first_poll_of_every_task_type_comes_within_a_second() -> None:
    first = {name: DurationTracker().next_poll_delay(name, 0.0) for name in contract.task_types()}

    assert {name: age for name, age in first.items() if not 0 < age <= 0.9} == {}


@pytest.mark.parametrize(("seconds", "most"), [(0.5, 2), (1.0, 3), (8.0, 7), (64.0, 8), (1000.0, 110)])
def test_polls_of_a_task_are_few_when_the_provider_is_slower_or_faster_than_the_catalogue(
    seconds: float, most: int
) -> None:
    ends = [seconds * math.exp(0.5 * share) for share in QUANTILES[::37]]
    tracker = DurationTracker()
    run_tasks(tracker, *ends)

    assert run_tasks(tracker, seconds) <= most
    assert seconds / 2 < tracker.usual_seconds(SWAP) < seconds * 2
    assert all(SHORTEST_GAP <= tracker.next_poll_delay(SWAP, age) <= LONGEST_GAP for age in (0.0, 0.4, 10.0, seconds))


def test_durations_of_two_sorts_are_polled_around_both() -> None:
    tracker = DurationTracker()
    run_tasks(tracker, *[8.0, 9.0, 48.0] * 60)
    plan = polls(tracker, SWAP, 60.0)
    around_first, between, around_second = (
        sum(start <= age < start + 10 for age in plan) / 10 for start in (5.0, 20.0, 42.0)
    )

    assert around_first > 2 * between < around_second


def test_tasks_that_still_run_count() -> None:
    tracker = DurationTracker()
    tracker.next_poll_delay(SWAP, 0.0)
    for _ in range(100):
        tracker.note_poll(SWAP, 0.0, 100.0, ended=False)

    assert tracker.usual_seconds(SWAP) == 8  # by which time limits are set: they do not grow while nothing ends
    tracker.note_poll(SWAP, 90.0, 100.0, ended=True)
    assert tracker.usual_seconds(SWAP) > 90
    assert tracker.next_poll_delay(SWAP, 8.0) > 5 * DurationTracker().next_poll_delay(SWAP, 8.0)


def test_age_that_cannot_be_is_ignored() -> None:
    tracker = DurationTracker()
    for before, age in ((50.0, 10.0), (8.0, math.nan), (math.inf, 5.0)):
        tracker.note_poll(SWAP, before, age, ended=False)
    assert pickle.dumps(tracker) == pickle.dumps(DurationTracker())
    delays = [tracker.next_poll_delay(SWAP, age) for age in (math.nan, -5.0, math.inf)]

    assert delays == [DurationTracker().next_poll_delay(SWAP, age) for age in (0.0, 0.0, 21_600.0)]


def test_old_durations_fade() -> None:
    tracker = DurationTracker()
    for seconds in (100.0, 8.0):
        run_tasks(tracker, *[seconds] * 300)
        assert tracker.usual_seconds(SWAP) == pytest.approx(seconds, rel=0.2)


def test_memory_is_bounded() -> None:
    tracker = DurationTracker()
    for number in range(1000):
        tracker.note_poll(f"kind {number}", 0.0, 8.0, ended=True)
    size = len(pickle.dumps(tracker))
    run_tasks(tracker, *[30.0] * 500, kind="kind 999")

    assert size < 500_000
    assert len(pickle.dumps(tracker)) < size + 2000


def test_default_timeout_is_twenty_times_the_usual_within_ten_minutes_and_a_day() -> None:
    assert [default_timeout(usual) for usual in (30.0, 31.0, 600.0, 9999.0)] == [600.0, 620.0, 12_000.0, 86_400.0]
    assert DurationTracker().usual_seconds(SWAP) == pytest.approx(8.0, rel=1e-3)
    assert DurationTracker().usual_seconds("an unknown type") == pytest.approx(30.0, rel=1e-3)


def ended(seconds: float | None, status: str = "completed") -> Task[Output]:
    """A task that took this long by the times of the provider; None for one without times."""
    meta: dict[str, str] = {}
    if seconds is not None:
        start = datetime(2026, 1, 1, tzinfo=UTC)
        meta = {"created_at": start.isoformat(), "ended_at": (start + timedelta(seconds=seconds)).isoformat()}
    return Task(task_data(status, meta=meta), Output)


def test_task_that_was_not_completed_is_no_end() -> None:
    tracker = DurationTracker()
    for status in ("failed", "cancelled", "processing"):
        tracker.note_end(SWAP, ended(0.2, status), 0.0, 0.2)

    assert pickle.dumps(tracker) == pickle.dumps(DurationTracker())


instants = st.sampled_from(
    ["0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1970-01-01T08:00:00.5+08:00", "9999-12-31T23:59:59Z", "soon"]
) | st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat)
ages = st.floats() | st.floats(0, 1e5)
rows = st.tuples(instants, instants, ages, ages, st.floats(0, 1e12), st.floats(0, 1e12), st.booleans())


@given(st.lists(rows, max_size=12), ages)
def test_delays_are_bounded_whatever_the_clocks_say(
    rows: list[tuple[str, str, float, float, float, float, bool]], age: float
) -> None:
    tracker = DurationTracker()
    for created, end, before, now, least, most, is_end in rows:
        task = Task(task_data("completed", meta={"created_at": created, "ended_at": end}), Output)
        tracker.note_end(SWAP, task, before, now, least=min(least, most), most=most)
        tracker.note_poll(SWAP, before, now, ended=is_end)
    assert SHORTEST_GAP <= tracker.next_poll_delay(SWAP, age) <= LONGEST_GAP
    assert 0 < tracker.usual_seconds(SWAP) <= 25_000


BELIEVED: list[tuple[float | None, float, float, float]] = [  # reported, least, most and believed seconds
    (100.0, 0.0, math.inf, 100.0),  # found by its id: no other figure is known
    (100.0, 60.0, 110.0, 100.0),
    (20_000.0, 60.0, 110.0, 110.0),  # it was submitted here 110 s ago
    (0.0, 60.0, 110.0, 60.0),  # it was seen here, not yet done, after 60 s
    (21_600.0, 0.0, math.inf, 21_600.0),
]


def test_what_was_seen_here_bounds_what_the_provider_reports() -> None:
    for reported, least, most, believed in BELIEVED:
        tracker, expected = DurationTracker(), DurationTracker()
        tracker.note_end(SWAP, ended(reported), 0.0, 90.0, least=least, most=most)
        expected.note_end(SWAP, ended(believed), 0.0, math.nan)
        assert pickle.dumps(tracker) == pickle.dumps(expected), reported
    for reported in (None, 80_000.0):  # longer than any task: the measured time counts
        tracker, expected = DurationTracker(), DurationTracker()
        tracker.note_end(SWAP, ended(reported), 60.0, 90.0)
        expected.note_poll(SWAP, 60.0, 90.0, ended=True)
        assert pickle.dumps(tracker) == pickle.dumps(expected), reported


def test_kind_is_read_from_the_echo_of_the_input() -> None:
    tasks = [task_data(model="kling", task_type="video_generation", input=echo) for echo in ({"version": "3.0"}, None)]
    new = task_data(model="new", task_type="thing")

    assert [kind_of(Task(task, Output)) for task in (*tasks, new)] == ["Kling3Video", "KlingVideo", "new thing"]
    assert kind_of(None) == ""
