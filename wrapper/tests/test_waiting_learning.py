"""How long tasks take: the catalogue's figure, sharpened by what was seen."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unitask import Output, Task
from unitask._core import polling
from unitask._core.polling import DurationEstimate, DurationTracker, kind_of

from .script import task_data


def ended(seconds: float | None, status: str = "completed") -> Task[Output]:
    """A task that took this long, as the provider tells it; None for one that tells no times."""
    meta: dict[str, Any] = {}
    if seconds is not None:
        end = f"2026-01-01T{int(seconds // 3600):02}:{int(seconds // 60 % 60):02}:{seconds % 60:09.6f}Z"
        meta = {"created_at": "2026-01-01T00:00:00Z", "ended_at": end}
    return Task(task_data(status, meta=meta), Output)


def taught(*durations: float, kind: str = "FaceSwap") -> DurationTracker:
    experience = DurationTracker()
    for seconds in durations:
        experience.learn(kind, ended(seconds), 0.0)
    return experience


def test_nothing_seen_is_what_the_catalogue_says() -> None:
    """And half a minute for a type that it does not know."""
    assert DurationTracker().estimate("FaceSwap") == DurationEstimate(8.0, polling.SPREAD)
    assert DurationTracker().estimate("no such type") == DurationEstimate(polling.UNKNOWN_TYPE, polling.SPREAD)


def test_tasks_seen_are_weighed_against_three_of_the_catalogue() -> None:
    """Each task seen makes all before it count a twentieth less; the figures go in steps of a twentieth."""
    seen = [20.0, 5.0, 0.01]
    usual = taught(*seen).estimate("FaceSwap")

    weights = [3 * 0.95**3, 0.95**2, 0.95, 1.0]
    logarithms = [math.log(max(0.1, seconds)) for seconds in (8.0, *seen)]
    middle = sum(map(math.prod, zip(weights, logarithms, strict=True))) / sum(weights)
    squares = [(value - middle) ** 2 for value in logarithms]
    variance = (sum(map(math.prod, zip(weights, squares, strict=True))) + weights[0] * 0.8**2) / sum(weights)
    assert math.log(usual.seconds) == pytest.approx(middle, abs=0.025)
    assert usual.spread == pytest.approx(math.sqrt(variance), abs=0.025)
    assert [20 * math.log(usual.seconds), 20 * usual.spread] == pytest.approx([27, 37])


@pytest.mark.parametrize("truth", [2.0, 8.0, 60.0])
def test_usual_duration_comes_near_the_truth(truth: float) -> None:
    """Within a fifth after thirty tasks, wherever the catalogue stood."""
    draw = random.Random(1)
    usual = taught(*(truth * math.exp(draw.gauss(0, 0.3)) for _ in range(30))).estimate("FaceSwap")

    assert usual.seconds == pytest.approx(truth, rel=0.2)
    assert usual.spread < polling.SPREAD


def test_old_tasks_fade() -> None:
    """The provider's speed changes."""
    usual = taught(*[8.0] * 200, *[80.0] * 60).estimate("FaceSwap")

    assert usual.seconds == pytest.approx(80.0, rel=0.1)


def test_kinds_are_apart() -> None:
    """What is learned of one says nothing of another."""
    assert taught(100.0, 100.0).estimate("MultiFaceSwap") == DurationTracker().estimate("MultiFaceSwap")


@pytest.mark.parametrize("status", ["failed", "cancelled", "processing"])
def test_only_completed_tasks_teach(status: str) -> None:
    """A refused picture fails within a second, and says nothing of how long a swap takes."""
    experience = DurationTracker()
    experience.learn("FaceSwap", ended(0.2, status), 0.2)

    assert experience.estimate("FaceSwap") == DurationEstimate(8.0, polling.SPREAD)


def test_without_times_the_watch_tells() -> None:
    """Face-swap samples have an empty meta."""
    watched, told = DurationTracker(), DurationTracker()
    watched.learn("FaceSwap", ended(None), 100.0)
    told.learn("FaceSwap", ended(100.0), 5.0)

    assert watched.estimate("FaceSwap") == told.estimate("FaceSwap")


def test_task_that_took_no_time_counts_as_a_short_one() -> None:
    """A provider that tells whole seconds may say that it was done as soon as it was created."""
    assert taught(0.0).estimate("FaceSwap") == taught(polling.SHORTEST_TASK).estimate("FaceSwap")


def test_task_that_took_as_long_as_expected_makes_surer() -> None:
    """By its weight: sigma was 0.8, and the prior counts 2.85 of 3.85 now."""
    usual = taught(8.0).estimate("FaceSwap")

    assert usual.seconds == pytest.approx(8.0, rel=0.025)
    assert usual.spread == pytest.approx(math.sqrt(0.8**2 * 2.85 / 3.85), abs=0.025)


def test_tasks_that_are_all_alike_leave_some_doubt() -> None:
    """The next one may differ."""
    assert taught(*[8.0] * 200).estimate("FaceSwap").spread == pytest.approx(polling.LEAST_SPREAD)


@given(st.lists(st.floats(-10.0, 80_000.0), max_size=60))
def test_whatever_is_seen_gives_a_plan(durations: list[float]) -> None:
    """Also durations of nothing, of days, and before the beginning."""
    experience = DurationTracker()
    for seconds in durations:
        experience.learn("FaceSwap", ended(None), seconds)
    usual = experience.estimate("FaceSwap")

    assert usual.spread >= polling.LEAST_SPREAD - 0.03
    assert polling.SHORTEST <= polling.next_poll_delay(0.0, usual) <= polling.LONGEST


times = st.sampled_from(
    ["0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1970-01-01T08:00:00.5+08:00", "9999-12-31T23:59:59Z", "soon"]
) | st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat)
seconds = st.none() | st.floats()


@given(st.lists(st.tuples(times, times, seconds, st.floats(0, 1e12), st.floats(0, 1e12)), min_size=1, max_size=12))
def test_what_is_learned_is_bounded(told: list[tuple[str, str, float | None, float, float]]) -> None:
    """Whatever times a provider tells, and whatever the clock here does."""
    experience = DurationTracker()
    for created, end, watched, least, most in told:
        task = Task(task_data("completed", meta={"created_at": created, "ended_at": end}), Output)
        experience.learn("FaceSwap", task, watched, least=min(least, most), most=most)
    usual = experience.estimate("FaceSwap")

    assert 0.97 * polling.SHORTEST_TASK <= usual.seconds <= 1.03 * polling.LONGEST_TASK
    assert polling.LEAST_SPREAD - 0.03 <= usual.spread <= polling.MOST_SPREAD
    assert len(polling.poll_schedule(usual.seconds, usual.spread)) <= polling.MOST_STEPS + len(polling.EARLY)
    assert polling.LEAST_WAIT <= polling.default_timeout(usual) <= polling.LONGEST_WAIT


@pytest.mark.parametrize(
    ("told", "least", "most", "believed"),
    [
        (100.0, 0.0, math.inf, 100.0),  # found by its id: nobody here knows better
        (100.0, 60.0, 110.0, 100.0),
        (20_000.0, 60.0, 110.0, 110.0),  # it was submitted here 110 s ago
        (0.0, 60.0, 110.0, 60.0),  # it was seen here, not yet done, after 60 s
        (80_000.0, 0.0, math.inf, 90.0),  # longer than any task: only the watch tells
        (None, 60.0, 90.0, 90.0),
    ],
)
def test_what_was_seen_here_bounds_what_the_provider_says(
    told: float | None, least: float, most: float, believed: float
) -> None:
    """A wrong time of the provider makes no later wait late."""
    experience, expected = DurationTracker(), DurationTracker()
    experience.learn("FaceSwap", ended(told), 90.0, least=least, most=most)
    expected.learn("FaceSwap", ended(None), believed)

    assert experience.estimate("FaceSwap") == expected.estimate("FaceSwap")


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"version": "3.0", "prompt": "x"}, "Kling3Video"),
        ({"version": "2.6"}, "KlingVideo"),
        ({}, "KlingVideo"),
        (None, "KlingVideo"),
    ],
)
def test_kind_is_told_by_the_echo_of_the_input(given: Any, kind: str) -> None:
    """Kling 3.0 has the name of Kling on the wire, and takes another time."""
    task = {"task_id": "1", "model": "kling", "task_type": "video_generation", "input": given}

    assert kind_of(Task(task, Output)) == kind


def test_kind_is_the_name_in_the_catalogue() -> None:
    """Or model and task type."""
    assert kind_of(ended(None)) == "FaceSwap"
    assert kind_of(Task({"task_id": "1", "model": "new", "task_type": "thing"}, Output)) == "new thing"
