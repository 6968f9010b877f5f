"""A wait, whatever the task and the provider do: it polls neither late nor hastily, and misses no end for long.

The figures here are written out, not read from the modules under test.
"""

from __future__ import annotations

import dataclasses
import itertools

from hypothesis import given
from hypothesis import strategies as st
from unitask import Output, Task, errors
from unitask._core import flows
from unitask._core.effects import Reply, Response, SendRequest, Sleep, Step, TransportFailure
from unitask._core.polling import DurationTracker
from unitask._core.retry_policy import Timeouts
from unitask._model.timestamp import Timestamp

from .script import CUT_OFF, GATEWAY, RESEND, TASK_ID, Played, drive, play, refused, seen

EPSILON = 1e-6
SHORTEST_GAP, LONGEST_GAP, LONGEST_PAUSE, LONGEST_RETRY_AFTER = 0.5, 30.0, 8.0, 120.0  # seconds
kinds = st.sampled_from(["FaceSwap", "KlingVideo", "UdioMusic", "WanxTxt2Video14b", "no such type"])
durations = st.floats(0, 4000)
latencies = st.floats(0, 3)
troubles = st.lists(st.sampled_from([CUT_OFF, GATEWAY, refused(429), refused(500)]), max_size=4)


@dataclasses.dataclass
class Case:
    """A wait for a task of a kind, and a provider; each trouble happens once."""

    kind: str
    done_at: float
    took: float
    fresh: bool
    taught: list[float]
    troubles: list[Response | TransportFailure] = dataclasses.field(default_factory=list[Response | TransportFailure])
    retry_after: float | None = None

    def wait(self, timeout: float) -> Played:
        experience = DurationTracker()
        for seconds in self.taught:
            experience.learn(self.kind, Task({"task_id": "1", "status": "completed"}, Output), seconds)
        task = Task({"task_id": TASK_ID, "model": "m", "task_type": "t", "status": "pending"}, Output)
        limits = Timeouts(timeout, 1e9, 20.0, RESEND, experience)
        return drive(flows.wait(TASK_ID, Output, self.kind, limits, seen=task if self.fresh else None), self._respond())

    def _respond(self):  # type: ignore[no-untyped-def]
        troubles = list(self.troubles)

        def respond(step: Step, now: float) -> tuple[Reply | None, float]:
            if not isinstance(step, SendRequest):
                return None, step.seconds if isinstance(step, Sleep) else 0.0
            if troubles:
                return troubles.pop(0), self.took
            found = seen("completed" if now + self.took >= self.done_at else "processing")
            headers = {} if self.retry_after is None else {"retry-after": f"{self.retry_after:.3f}"}
            return dataclasses.replace(found, headers=headers), self.took

        return respond


quiet = st.builds(Case, kinds, durations, latencies, st.booleans(), st.lists(st.floats(0.1, 2000), max_size=6))
troubled = st.builds(dataclasses.replace, quiet, troubles=troubles)


@given(troubled, st.floats(0, 5_000))
def test_no_poll_begins_after_the_deadline(case: Case, timeout: float) -> None:
    played = case.wait(timeout)

    assert max(played.sent_at) <= timeout + EPSILON
    assert played.ended_at <= timeout + case.took + EPSILON
    if played.error:
        assert isinstance(played.error, errors.WaitTimeout)
        assert played.error.polls == len(played.sent_at)


@given(st.builds(dataclasses.replace, quiet, retry_after=st.none() | st.floats(0, 300)))
def test_polls_keep_a_distance_and_the_wish_of_the_provider(case: Case) -> None:
    sent_at = case.wait(1e6).sent_at

    wish = min(case.retry_after or 0.0, LONGEST_RETRY_AFTER)
    pauses = [later - earlier - case.took for earlier, later in itertools.pairwise(sent_at)]
    # a header has whole milliseconds
    assert all(pause >= max(SHORTEST_GAP, wish) - 0.001 for pause in pauses)
    assert all(pause <= max(LONGEST_GAP, wish) + 0.001 for pause in pauses)
    assert sum(moment + case.took >= case.done_at for moment in sent_at) == 1


@given(troubled)
def test_end_is_noticed_within_the_longest_gap(case: Case) -> None:
    played = case.wait(1e6)

    late = played.ended_at - case.done_at
    assert isinstance(played.result, Task)
    assert late <= LONGEST_GAP + (len(case.troubles) + 1) * (LONGEST_PAUSE + case.took) + case.took + EPSILON


@given(st.floats())
def test_every_clock_gives_some_time(unix: float) -> None:
    assert 1970 <= Timestamp(0.0, unix).utc.year <= 9999


def test_wait_through_an_outage_ends_with_the_patience() -> None:
    limits = Timeouts(1e9, 7200.0, 20.0, RESEND, DurationTracker())
    played = play(flows.wait(TASK_ID, Output, "FaceSwap", limits), CUT_OFF, took=0.5)

    assert isinstance(played.error, errors.Unreachable)
    assert 7200 <= played.ended_at <= 7260
