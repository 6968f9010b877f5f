"""The comparison at scale: its server ends each task once, and delays are compared with the plan of the polls."""

import json
from argparse import Namespace
from typing import Any

import pytest
from unitask._core.polling import EARLY

from benchmarks.scale.collect import compared, measured, row, unfit
from benchmarks.scale.server import Provider, Task


def test_task_ends_at_its_fourth_poll_in_the_form_of_each_client() -> None:
    for client, ended in (("unitask", '"completed"'), ("openai", '"completed"'), ("runwayml", '"SUCCEEDED"')):
        provider = Provider(None)
        for polls in (1, 4):  # the first task ends at once, so that a client that begins need not wait
            _, made = provider.answer(b"POST", f"/{client}/tasks".encode(), b"host.test")
            path = f"/{client}/tasks/".encode() + made[made.index(b"ID-") :][:13]
            answers = [provider.answer(b"GET", path, b"")[1].decode() for _ in range(5)]
            assert [ended in body for body in answers] == [False] * (polls - 1) + [True] * (6 - polls)

        tasks = json.loads(provider.answer(b"GET", b"/_tasks", b"")[1])
        assert [task[3:] for task in tasks] == [[4, True]] * 2


def test_delays_are_compared_with_the_plan_and_polls_with_the_fewest() -> None:
    made = [
        Task(f"{number}", float(number), number + 0.3 + number / 500, polls=2, is_seen=True) for number in range(100)
    ]
    found = compared(made, {task.id: task.end + 0.7 for task in made})

    assert found["delays"] == pytest.approx([0.7, 0.7])
    assert found["plan"][1] == pytest.approx(EARLY - 0.3, abs=0.2)  # the first polls of an unknown provider
    assert (found["polls"], found["fewest"]) == (2, pytest.approx(1, rel=0.05))


def test_subject_that_fails_is_a_row_with_the_reason_and_is_not_run_with_more_tasks() -> None:
    reason = measured(Namespace(limit=60.0), "no subject", 1)
    assert reason == "failed: KeyError: 'no subject'"
    assert row(("no subject", 1), reason, lambda _: []) == f"| no subject | 1 | {reason} |"
    long = {"cpu_ms": 700.0}
    costs: Any = {("no subject", 1): reason, ("short", 100): {"cpu_ms": 5.0}, ("long", 1): long, ("long", 100): long}

    assert unfit(costs, "no subject", 100, 60.0) == f"not run: 1 {reason}"
    assert [unfit(costs, "short", tasks, 60.0) for tasks in (100, 1000)] == ["", ""]
    assert unfit(costs, "long", 100, 60.0) == ""
    assert unfit(costs, "long", 1000, 60.0) == "not run: about 700 s of CPU time"
