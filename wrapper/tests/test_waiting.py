"""When to look next: the plan keeps its promises for the durations that it is made for."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from statistics import NormalDist, mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unitask._core import waiting
from unitask_api import contract

TYPICALS = [1.0, 2.0, 8.0, 30.0, 60.0, 120.0, 300.0, 600.0]  # seconds
SHARES = [(number + 0.5) / 1000 for number in range(1000)]


def durations(typical: float) -> list[float]:
    """A thousand durations that stand for the log-normal prior, one for each thousandth of it."""
    return [typical * math.exp(waiting.SPREAD * NormalDist().inv_cdf(share)) for share in SHARES]


def looks(typical: float, until: float) -> list[float]:
    """The ages at which a wait looks, up to the first one after an age."""
    found = [waiting.next_look(0.0, waiting.Usual(typical))]
    while found[-1] < until:
        found.append(found[-1] + waiting.next_look(found[-1], waiting.Usual(typical)))
    return found


def outcome(typical: float) -> tuple[float, float]:
    """How late the end is noticed, in seconds, and how many looks that takes, on average."""
    ends = durations(typical)
    plan = looks(typical, max(ends))
    places = [bisect_left(plan, end) for end in ends]
    return mean(plan[place] - end for place, end in zip(places, ends, strict=True)), mean(places) + 1


@pytest.mark.parametrize("typical", TYPICALS)
def test_end_is_noticed_as_late_as_planned(typical: float) -> None:
    """On average, over the durations of the prior."""
    delay, _ = outcome(typical)

    assert delay == pytest.approx(waiting.mean_delay(typical), rel=0.1)


@pytest.mark.parametrize("typical", [typical for typical in TYPICALS if typical >= 2])
def test_plan_takes_no_more_looks_than_a_fixed_interval(typical: float) -> None:
    """For the same mean delay, which is half of the interval; the early looks are counted apart."""
    delay, count = outcome(typical)

    assert count - len(early(typical)) <= mean(math.ceil(end / (2 * delay)) for end in durations(typical))


def early(typical: float) -> list[float]:
    """The early looks of a plan."""
    return [age for age in waiting.look_ages(typical) if age in waiting.EARLY]


@pytest.mark.parametrize(("typical", "count"), [(1.0, 0), (8.0, 1), (30.0, 2), (180.0, 4), (600.0, 4), (21_600.0, 4)])
def test_early_looks_are_few(typical: float, count: int) -> None:
    """Four for a task of ten minutes, and none where the plan begins early by itself."""
    assert len(early(typical)) == count


def test_task_that_is_done_at_once_is_noticed_within_a_second() -> None:
    """Of every type, while nothing is known of the provider: a local one may be far faster than the catalogue says."""
    first = {name: waiting.next_look(0.0, waiting.Experience().usual(name)) for name in contract.task_types()}

    assert [name for name, age in first.items() if age > 0.9] == []


@pytest.mark.parametrize("typical", [1e6, math.inf, math.nan, -1.0, 0.0, waiting.LONGEST_TASK])
@pytest.mark.parametrize("spread", [0.8, 80.0, math.nan, 0.0])
def test_plan_is_bounded_whatever_the_figures_are(typical: float, spread: float) -> None:
    """In number, and so in memory and time; looks go on every half minute after it."""
    plan = waiting.look_ages(typical, spread)

    assert len(plan) <= waiting.MOST_STEPS + len(waiting.EARLY)
    assert list(plan) == sorted(plan)
    assert waiting.SHORTEST <= waiting.next_look(1e12, waiting.Usual(typical, spread)) <= waiting.LONGEST


@pytest.mark.parametrize("typical", [0.5, *TYPICALS, 3600.0])
def test_looks_are_neither_hasty_nor_rare(typical: float) -> None:
    """They come after one another, at least half a second and at most half a minute apart."""
    gaps = [later - earlier for earlier, later in itertools.pairwise(looks(typical, typical * 30))]

    assert min(gaps) >= waiting.SHORTEST - 1e-9
    assert max(gaps) <= waiting.LONGEST + 1e-9


@settings(max_examples=100, deadline=None)
@given(age=st.floats(0, 1e6), typical=st.sampled_from(TYPICALS))
def test_next_look_is_in_sight_at_any_age(age: float, typical: float) -> None:
    """Also between planned looks, and long after all of them."""
    pause = waiting.next_look(age, waiting.Usual(typical))

    assert waiting.SHORTEST / 2 <= pause <= waiting.LONGEST


def test_looks_are_densest_around_the_usual_end() -> None:
    """Rare before and after: that is what the square root of the hazard gives."""
    before, around, after = (waiting.next_look(age, waiting.Usual(60.0)) for age in (14.0, 60.0, 900.0))

    assert around < before
    assert around < after


def test_surer_knowledge_makes_the_first_look_later() -> None:
    """No task of a kind that always takes a minute is done after half of it."""
    assert waiting.look_ages(60.0, 0.15)[0] > 30.0 > waiting.look_ages(60.0, 0.8)[0]
    assert waiting.next_look(50.0, waiting.Usual(60.0, 0.15)) != waiting.next_look(50.0, waiting.Usual(60.0, 0.8))


@pytest.mark.parametrize(("before", "skipped"), [(0.26, False), (0.24, True)])
def test_look_that_is_planned_for_just_now_has_been(before: float, skipped: bool) -> None:
    """Within half of the shortest pause; the next is the one after it."""
    first, second = waiting.look_ages(60.0)[20:22]
    pause = waiting.next_look(first - before, waiting.Usual(60.0))

    assert pause == pytest.approx(second - first + before if skipped else waiting.SHORTEST)


def test_task_that_should_long_be_done_is_looked_at_rarely() -> None:
    """Beyond the plan the pause is the longest."""
    assert waiting.next_look(1e9, waiting.Usual(8.0)) == waiting.LONGEST


def test_task_that_should_long_be_done_is_never_looked_at_hastily() -> None:
    """However short its like usually are."""
    assert waiting.next_look(0.5, waiting.Usual(0.1, 0.15)) == waiting.SHORTEST


@pytest.mark.parametrize(("median", "spread"), [(8.0, 0.8), (60.0, 0.15)])
@pytest.mark.parametrize("sigmas", [-2.0, 0.0, 1.0])
def test_durations_are_log_normal(sigmas: float, median: float, spread: float) -> None:
    """The share that runs longer than an age, and the rate at which that share ends."""
    age, normal = median * math.exp(sigmas * spread), NormalDist()

    assert waiting._surviving(age, median, spread) == pytest.approx(1 - normal.cdf(sigmas))
    rate = normal.pdf(sigmas) / (spread * age) / (1 - normal.cdf(sigmas))
    assert waiting._hazard(age, median, spread) == pytest.approx(rate)


@pytest.mark.parametrize(("typical", "delay"), [(0.1, 0.25), (2.5, 0.25), (8.0, 0.8), (50.0, 5.0), (600.0, 5.0)])
def test_mean_delay_is_a_tenth_within_bounds(typical: float, delay: float) -> None:
    """A quarter of a second to five seconds."""
    assert waiting.mean_delay(typical) == pytest.approx(delay)


@pytest.mark.parametrize(("typical", "timeout"), [(8.0, 600.0), (30.0, 600.0), (31.0, 620.0), (600.0, 12_000.0)])
def test_default_timeout_is_twenty_times_the_usual_but_ten_minutes_at_least(typical: float, timeout: float) -> None:
    """A wait is never without a bound."""
    assert waiting.default_timeout(waiting.Usual(typical)) == timeout


def test_every_catalogued_duration_has_a_plan() -> None:
    """No figure of the catalogue is one that the formula cannot take."""
    assert all(
        waiting.next_look(0.0, waiting.Usual(entry.typical_seconds)) > 0 for entry in contract.task_types().values()
    )
