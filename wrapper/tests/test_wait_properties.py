"""A wait, whatever the task and the provider do: no look after the deadline, none too soon, and no end missed for long.

The clock is injected: a wait of hours takes no time.
"""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unitask import Output, Task, errors
from unitask._core import flows, polling, retry_policy
from unitask._core.effects import Flow, Reply, Response, Resumed, SendRequest, Sleep, TransportFailure
from unitask._core.polling import DurationTracker
from unitask._core.retry_policy import Timeouts
from unitask._model.timestamp import Timestamp

from .script import AT_SOME_TIME, CUT_OFF, GATEWAY, RESEND, TASK_ID, UNIX, play, refused, seen

EPSILON = 1e-6
kinds = st.sampled_from(["FaceSwap", "KlingVideo", "UdioMusic", "WanxTxt2Video14b", "no such type"])
durations = st.floats(0, 20_000)
latencies = st.floats(0, 3)
troubles = st.lists(st.sampled_from([CUT_OFF, GATEWAY, refused(429), refused(500)]), max_size=4)


@dataclass
class Provider:
    """A task that is done after a while; looks may meet trouble, each only once."""

    done_at: float
    took: float
    troubles: list[Response | TransportFailure]
    retry_after: float | None = None

    def answer(self, now: float) -> Response | TransportFailure:
        if self.troubles:
            return self.troubles.pop(0)
        found = seen("completed" if now >= self.done_at else "processing")
        headers = {} if self.retry_after is None else {"retry-after": f"{self.retry_after:.3f}"}
        return dataclasses.replace(found, headers=headers)


@dataclass
class Watched:
    """When looks were sent, and how the wait ended."""

    looks: list[float]
    ended_at: float
    result: Task[Output] | errors.UnitaskError


def watch(flow: Flow[Task[Output]], provider: Provider) -> Watched:
    looks, now = list[float](), 0.0
    try:
        step = next(flow)
        while True:
            reply: Reply = Resumed(AT_SOME_TIME)
            if isinstance(step, SendRequest):
                looks.append(now)
                now += provider.took
                reply = provider.answer(now)
            elif isinstance(step, Sleep):
                now += step.seconds
            step = flow.send(dataclasses.replace(reply, at=Timestamp(now, UNIX + now)))
    except StopIteration as end:
        return Watched(looks, now, end.value)
    except errors.UnitaskError as error:
        return Watched(looks, now, error)


def wait(kind: str, timeout: float | None, *, fresh: bool, taught: list[float]) -> Flow[Task[Output]]:
    experience = DurationTracker()
    for seconds in taught:
        experience.learn(kind, Task({"task_id": "1", "status": "completed"}, Output), seconds)
    task = Task({"task_id": TASK_ID, "model": "m", "task_type": "t", "status": "pending"}, Output)
    limits = Timeouts(timeout, 1e9, 20.0, RESEND, experience)
    return flows.wait(TASK_ID, Output, kind, limits, seen=task if fresh else None)


taught_durations = st.lists(st.floats(0.1, 2000), max_size=12)


@given(kinds, durations, latencies, st.floats(0, 5_000), st.booleans(), troubles, taught_durations)
def test_no_look_begins_after_the_deadline(
    kind: str,
    done_at: float,
    took: float,
    timeout: float,
    fresh: bool,
    met: list[Response | TransportFailure],
    taught: list[float],
) -> None:
    """The last one begins at it; after that the wait has ended, one way or the other."""
    watched = watch(wait(kind, timeout, fresh=fresh, taught=taught), Provider(done_at, took, list(met)))

    assert max(watched.looks) <= timeout + EPSILON
    assert watched.ended_at <= timeout + took + EPSILON
    if isinstance(watched.result, errors.UnitaskError):
        assert isinstance(watched.result, errors.WaitTimeout)
        assert watched.result.polls == len(watched.looks)


@given(kinds, durations, latencies, st.booleans(), st.none() | st.floats(0, 300), taught_durations)
def test_no_look_is_too_soon(
    kind: str, done_at: float, took: float, fresh: bool, retry_after: float | None, taught: list[float]
) -> None:
    """At least the floor lies between an answer and the next look, and what the provider asks for, up to a cap."""
    provider = Provider(done_at, took, [], retry_after)
    watched = watch(wait(kind, 1e6, fresh=fresh, taught=taught), provider)

    asked = min(retry_after or 0.0, retry_policy.RETRY_AFTER_CAP)
    pauses = [later - earlier - took for earlier, later in itertools.pairwise(watched.looks)]
    assert all(pause >= max(polling.SHORTEST, asked) - 0.001 for pause in pauses)


@given(kinds, durations, latencies, st.booleans(), troubles, taught_durations)
def test_end_is_found_within_the_cap(
    kind: str, done_at: float, took: float, fresh: bool, met: list[Response | TransportFailure], taught: list[float]
) -> None:
    """However long the task takes, however wrong the expectation is, and whatever trouble looks meet."""
    watched = watch(wait(kind, 1e6, fresh=fresh, taught=taught), Provider(done_at, took, list(met)))

    late = watched.ended_at - done_at
    assert isinstance(watched.result, Task)
    assert late <= polling.LONGEST + (len(met) + 1) * (RESEND.cap + took) + took + EPSILON


@given(st.floats())
def test_every_clock_tells_some_moment(unix: float) -> None:
    """The error of a paid create says when it was sent, whatever the clock says."""
    assert 1970 <= Timestamp(0.0, unix).utc.year <= 9999


@pytest.mark.parametrize("hours", [2, 48])
def test_outage_of_hours_ends_as_any_other(hours: int) -> None:
    """After as many failures as that takes, with the error that says so."""
    limits = Timeouts(1e9, hours * 3600.0, 20.0, RESEND, DurationTracker())
    played = play(flows.wait(TASK_ID, Output, "FaceSwap", limits), CUT_OFF, took=0.5)

    assert isinstance(played.error, errors.Unreachable)
    assert hours * 3600 <= played.ended_at <= hours * 3600 + 60


@given(kinds, durations, latencies, st.booleans(), taught_durations)
def test_done_task_is_not_looked_at_again(
    kind: str, done_at: float, took: float, fresh: bool, taught: list[float]
) -> None:
    """One look sees the end, and it is the last."""
    watched = watch(wait(kind, 1e6, fresh=fresh, taught=taught), Provider(done_at, took, []))

    assert sum(moment + took >= done_at for moment in watched.looks) == 1
