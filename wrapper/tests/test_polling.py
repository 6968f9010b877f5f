"""When to poll, and the learned duration; the figures are written out, not read from the module."""

import math
from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from statistics import NormalDist, mean

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unitask import Output, Task
from unitask._core import polling
from unitask._core.polling import DurationEstimate, DurationTracker, kind_of
from unitask_api import contract

from .script import task_data

SHORTEST_GAP, LONGEST_GAP = 0.5, 30.0  # seconds between polls
EARLY = (0.75, 2.0, 5.0, 12.0)  # seconds
MOST_POLLS = 4100


def delay(age: float, typical: float, spread: float = 0.8) -> float:
    return polling.next_poll_delay(age, DurationEstimate(typical, spread))


def polls(typical: float, spread: float, until: float) -> list[float]:
    """Return the ages at which a wait polls, up to the first one after an age."""
    found = [delay(0.0, typical, spread)]
    while found[-1] < until:
        found.append(found[-1] + delay(found[-1], typical, spread))
    return found


@pytest.mark.parametrize(
    ("typical", "spread", "planned", "early", "count"),
    [
        (1.0, 0.8, 0.25, 0, 3.2),
        (8.0, 0.8, 0.8, 1, 8.0),
        (40.0, 0.8, 4.0, 3, 10.0),
        (180.0, 0.8, 5.0, 4, 26.0),
        (180.0, 0.3, 5.0, 0, 12.0),
        (600.0, 0.8, 5.0, 4, 76.0),
    ],
)
def test_end_is_noticed_as_late_as_planned_with_fewer_polls_than_a_fixed_interval(
    typical: float, spread: float, planned: float, early: int, count: float
) -> None:
    shares = [(number + 0.5) / 1000 for number in range(1000)]
    ends = [typical * math.exp(spread * NormalDist().inv_cdf(share)) for share in shares]  # of the log-normal prior
    plan = polls(typical, spread, max(ends))
    places = [bisect_left(plan, end) for end in ends]
    found = mean(plan[place] - end for place, end in zip(places, ends, strict=True))

    assert found == pytest.approx(planned, rel=0.1)
    assert len([age for age in polling.poll_schedule(typical, spread) if age in EARLY]) == early
    assert mean(places) + 1 == pytest.approx(count, rel=0.1)
    if typical > 1:
        assert mean(places) + 1 - early <= mean(math.ceil(end / (2 * found)) for end in ends)


def test_first_poll_of_every_task_type_comes_within_a_second() -> None:
    first = {name: polling.next_poll_delay(0.0, DurationTracker().estimate(name)) for name in contract.task_types()}

    assert {name: age for name, age in first.items() if not 0 < age <= 0.9} == {}


@given(age=st.floats(0, 1e6), typical=st.sampled_from([1.0, 8.0, 60.0, 600.0]))
def test_gap_between_polls_is_bounded(age: float, typical: float) -> None:
    assert SHORTEST_GAP <= delay(age, typical) <= LONGEST_GAP


def test_number_of_planned_polls_is_bounded() -> None:
    for typical in (1e6, math.inf, math.nan, -1.0):
        assert 0 < len(polling.poll_schedule(typical, 80.0)) <= MOST_POLLS


def test_first_poll_is_later_when_the_duration_is_well_known() -> None:
    assert taught(*[8.0] * 200).estimate("FaceSwap").spread == pytest.approx(0.15)
    assert polling.poll_schedule(60.0, 0.15)[0] > 30.0 > polling.poll_schedule(60.0, 0.8)[0]
    assert delay(0.5, 0.1, 0.15) == SHORTEST_GAP
    assert delay(1e9, 8.0) == LONGEST_GAP


def test_poll_that_is_planned_for_just_now_is_skipped() -> None:
    first, second = polling.poll_schedule(60.0)[20:22]

    assert delay(first - 0.26, 60.0) == SHORTEST_GAP
    assert delay(first - 0.24, 60.0) == pytest.approx(second - first + 0.24)


def test_default_timeout_is_twenty_times_the_typical_within_ten_minutes_and_a_day() -> None:
    found = [polling.default_timeout(DurationEstimate(typical)) for typical in (30.0, 31.0, 600.0, 9999.0)]

    assert found == [600.0, 620.0, 12_000.0, 86_400.0]


def ended(seconds: float | None, status: str = "completed") -> Task[Output]:
    """A task that took this long by the times of the provider; None for one without times."""
    meta: dict[str, str] = {}
    if seconds is not None:
        start = datetime(2026, 1, 1, tzinfo=UTC)
        meta = {"created_at": start.isoformat(), "ended_at": (start + timedelta(seconds=seconds)).isoformat()}
    return Task(task_data(status, meta=meta), Output)


def taught(*seconds: float) -> DurationTracker:
    tracker = DurationTracker()
    for each in seconds:
        tracker.learn("FaceSwap", ended(each), 0.0)
    return tracker


def test_estimate_before_any_completed_task_is_that_of_the_catalogue() -> None:
    tracker = taught(100.0, 100.0)
    for status in ("failed", "cancelled", "processing"):
        tracker.learn("MultiFaceSwap", ended(0.2, status), 0.2)

    assert tracker.estimate("MultiFaceSwap") == DurationTracker().estimate("MultiFaceSwap")
    assert DurationTracker().estimate("FaceSwap") == DurationEstimate(8.0, 0.8)
    assert tracker.estimate("an unknown type") == DurationEstimate(30.0, 0.8)


def test_completed_tasks_are_weighed_against_three_of_the_catalogue_and_older_ones_fade() -> None:
    usual = taught(20.0, 5.0, 0.01).estimate("FaceSwap")  # worked out by hand; in steps of 1/20

    assert (20 * math.log(usual.seconds), 20 * usual.spread) == pytest.approx((27, 37))
    assert taught(8.0).estimate("FaceSwap").spread == pytest.approx(0.7)


instants = st.sampled_from(
    ["0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1970-01-01T08:00:00.5+08:00", "9999-12-31T23:59:59Z", "soon"]
) | st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat)
bounds = st.floats(0, 1e12)


@given(st.lists(st.tuples(instants, instants, st.none() | st.floats(), bounds, bounds), min_size=1, max_size=12))
def test_what_is_learned_is_bounded(rows: list[tuple[str, str, float | None, float, float]]) -> None:
    tracker = DurationTracker()
    for created, end, watched, least, most in rows:
        task = Task(task_data("completed", meta={"created_at": created, "ended_at": end}), Output)
        tracker.learn("FaceSwap", task, watched, least=min(least, most), most=most)
    usual = tracker.estimate("FaceSwap")

    assert 0.097 <= usual.seconds <= 1.03 * 6 * 3600
    assert 0.12 <= usual.spread <= 3.0
    assert len(polling.poll_schedule(usual.seconds, usual.spread)) <= MOST_POLLS
    assert SHORTEST_GAP <= polling.next_poll_delay(0.0, usual) <= LONGEST_GAP
    assert 600 <= polling.default_timeout(usual) <= 86_400


BELIEVED: list[tuple[float | None, float, float, float]] = [  # reported, least, most and believed seconds
    (100.0, 0.0, math.inf, 100.0),  # found by its id: no other figure is known
    (100.0, 60.0, 110.0, 100.0),
    (20_000.0, 60.0, 110.0, 110.0),  # it was submitted here 110 s ago
    (0.0, 60.0, 110.0, 60.0),  # it was seen here, not yet done, after 60 s
    (0.0, 0.0, 110.0, 0.1),
    (21_600.0, 0.0, math.inf, 21_600.0),
    (80_000.0, 0.0, math.inf, 90.0),  # longer than any task: the measured time counts
    (None, 60.0, 90.0, 90.0),
]


def test_what_was_seen_here_bounds_what_the_provider_reports() -> None:
    for reported, least, most, believed in BELIEVED:
        tracker, expected = DurationTracker(), DurationTracker()
        tracker.learn("FaceSwap", ended(reported), 90.0, least=least, most=most)
        expected.learn("FaceSwap", ended(None), believed)
        assert tracker.estimate("FaceSwap") == expected.estimate("FaceSwap"), reported


def test_kind_is_read_from_the_echo_of_the_input() -> None:
    tasks = [task_data(model="kling", task_type="video_generation", input=echo) for echo in ({"version": "3.0"}, None)]
    new = task_data(model="new", task_type="thing")

    assert [kind_of(Task(task, Output)) for task in (*tasks, new)] == ["Kling3Video", "KlingVideo", "new thing"]
    assert kind_of(None) == ""
