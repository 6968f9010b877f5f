"""Many uncertain submissions in one search: each task is polled once, and none is adopted twice."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from unitask import Outcome, Output, Recovery, Task, Timestamp, _base_client, errors, tasks
from unitask._core import recovery
from unitask._core.effects import Flow, SendRequest
from unitask._core.journal import RowState
from unitask._core.ledger import Ledger
from unitask._core.recovery import Submission
from unitask.bulk import Journal

from .script import BODY, TICKS, UNIX, limits, play
from .test_recovery import ABSENT, CLIENT, FOUND, HOOK, LATE, UNCLEAR, World, history, task, uncertain

FOX, CAT = {"prompt": "a red fox", "steps": 4}, {"prompt": "a blue cat", "steps": 4}
SHORT = {"prompt": "a red fox"}  # a part of the input of the fox


def submitted(given: dict[str, Any], mark: str | None = None) -> errors.SubmissionUncertain:
    body = {**BODY, "input": given}
    if mark is not None:
        body = recovery.with_correlation_id({**body, "config": {"webhook_config": {"endpoint": HOOK}}}, mark)
    return uncertain(body, LATE)


def marked(mark: str) -> dict[str, Any]:
    return {"config": {"webhook_config": {"endpoint": f"{HOOK}&unitask={mark}"}}}


def search(
    wanted: list[errors.SubmissionUncertain], *listed: dict[str, Any], own: tuple[str, ...] = ()
) -> tuple[list[Recovery], list[str]]:
    """Search in a history with tasks of these fields, "0" and so on; return the ids that were polled, too."""
    polled: list[str] = []

    def respond(step: SendRequest) -> Any:
        if "page" in step.params:
            return history(*map(str, range(len(listed))))
        polled.append(step.path.rpartition("/")[2])
        return task(polled[-1], **listed[int(polled[-1])])

    flow = recovery.find_many(wanted, dict.fromkeys(own, "another"), limits(timeout=0.0), CLIENT)
    return play(flow, respond, dated=True).result, polled


def test_task_of_a_submission_without_its_answer_yet_is_not_adopted() -> None:
    def searched(given: dict[str, Any]) -> Recovery:
        flow = recovery.find_many([submitted(FOX)], {}, limits(timeout=0.0), CLIENT, {7: sent(given)})
        return play(flow, history("0"), task("0", **shown(given)), history("0"), dated=True).result[0]

    assert searched(CAT).outcome is ABSENT
    assert (searched(FOX).outcome, recovery.adopt([searched(FOX)])) == (UNCLEAR, [None])


def shown(given: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"input": given, **fields}


FOUR = {"prompt": "a red fox", "steps": 4, "seed": 7}  # the provider adds a default
CASES: dict[str, tuple[list[Any], list[dict[str, Any]], list[tuple[Outcome, str | None]]]] = {
    # the inputs that were submitted, the tasks in the history, the outcome of each, and the task that it adopts
    "each has its task": ([FOX, CAT], [shown(CAT), shown(FOUR)], [(UNCLEAR, "1"), (UNCLEAR, "0")]),
    "the task of another is not its own": ([FOX, CAT], [shown(CAT)], [(ABSENT, None), (UNCLEAR, "0")]),
    "one input twice, two tasks": ([FOX, FOX], [shown(FOX), shown(FOX)], [(UNCLEAR, "0"), (UNCLEAR, "1")]),
    "one input twice, one task": ([FOX, FOX], [shown(FOX)], [(UNCLEAR, "0"), (ABSENT, None)]),
    "an input that is a part of another": ([SHORT, FOX], [shown(FOX)], [(UNCLEAR, None), (UNCLEAR, None)]),
    "an input that was rewritten": ([FOX, CAT], [shown({"prompt": "x"})], [(UNCLEAR, None), (UNCLEAR, None)]),
    "an input that is shown in part": ([FOX, FOX], [shown(SHORT)], [(UNCLEAR, None), (ABSENT, None)]),
    "another spelling of the model": ([FOX], [shown(FOX, model="a new name")], [(UNCLEAR, None)]),
    "more tasks than submissions": ([FOX], [shown(FOX), shown(FOX)], [(UNCLEAR, "0")]),
}


@pytest.mark.parametrize(("inputs", "listed", "expected"), CASES.values(), ids=CASES)
def test_outcome_of_each_submission_and_the_task_that_it_adopts(
    inputs: list[Any], listed: list[dict[str, Any]], expected: list[tuple[Outcome, str | None]]
) -> None:
    found, _ = search([submitted(given) for given in inputs], *listed)

    adopted = [None if task is None else task.id for task in recovery.adopt(found)]
    assert list(zip([each.outcome for each in found], adopted, strict=True)) == expected


def test_tasks_are_polled_once_and_those_of_the_client_never() -> None:
    wanted = [submitted(FOX, f"mark{number}") for number in range(32)]
    listed = [shown({}, **marked(f"mark{number}")) for number in reversed(range(32))]
    found, polled = search(wanted, shown({}), *listed, own=("0",))

    assert {each.outcome for each in found} == {FOUND}
    assert [each.task and each.task.id for each in found] == [str(32 - number) for number in range(32)]
    assert sorted(polled, key=int) == [str(number) for number in range(1, 33)]
    assert recovery.adopt(found) == [each.task for each in found]


def test_task_that_was_found_is_not_adopted_by_another_submission() -> None:
    found, _ = search([submitted(FOX), submitted(FOX, "ours")], shown(FOX, **marked("ours")), shown(FOX))

    assert [each.outcome for each in found] == [UNCLEAR, FOUND]
    assert [task and task.id for task in recovery.adopt(found)] == ["1", "0"]

    named = submitted(FOX)
    named.task_id = "0"
    assert [each.outcome for each in search([submitted(FOX), named], shown(FOX))[0]] == [ABSENT, FOUND]


def test_history_of_one_period_is_read_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    early, late = submitted(FOX), uncertain({**BODY, "input": CAT}, LATE + 5000)
    flow = recovery.find_many([early, late], {}, limits(timeout=0.0), CLIENT)
    played = play(flow, history(), dated=True)
    asked = [step.params for step in played.steps if isinstance(step, SendRequest)]

    assert [each.outcome for each in played.result] == [ABSENT, ABSENT]
    assert len(asked) == 2  # the second is without a filter
    assert asked[0]["end_time"] - asked[0]["start_time"] == pytest.approx(5000 + 2 * 360, abs=3)


def resumed(submission: Submission, *, dated: str = "both") -> errors.SubmissionUncertain:
    """A submission as a process reads it that starts some time after the end of its own."""
    at, after = Timestamp(TICKS - 9000, UNIX - LATE - 30), Timestamp(TICKS - LATE, UNIX - LATE)
    submission.dated = lambda: (at.unix, at) if dated != "later" else None
    text = submission.to_json(at)
    seen = (after.unix, after) if dated != "earlier" else None
    return recovery.from_json(text, BODY["model"], BODY["task_type"], after, seen, CLIENT.process)


def sent(given: dict[str, Any] = FOX, mark: str | None = None) -> Submission:
    body = {**BODY, "input": given}
    if mark is not None:
        body = recovery.with_correlation_id({**body, "config": {"webhook_config": {"endpoint": HOOK}}}, mark)
    return Submission(body=body, token="ours")


def test_submission_of_a_process_that_has_ended_is_searched() -> None:
    listed = [shown(FOX, **marked("ours")), shown(FOX)]

    assert search([resumed(sent(mark="ours"))], *listed)[0][0].outcome is FOUND
    assert [task and task.id for task in recovery.adopt(search([resumed(sent())], *listed)[0])] == ["1"]
    assert search([resumed(sent())], shown(FOX, model="kling"))[0][0].outcome is ABSENT
    assert search([resumed(sent(), dated="earlier")])[0][0].outcome is ABSENT
    undated = search([resumed(sent(), dated="later")])[0][0]
    assert undated.outcome is UNCLEAR
    assert "when that was is unknown on the provider's clock" in undated.reason


def test_uploaded_files_are_recognised_by_their_urls() -> None:
    uploaded = {**FOX, "image": "https://files.test/1.jpg"}
    other = {**FOX, "image": "https://files.test/2.jpg"}
    found = [search([resumed(sent(uploaded))], shown(given))[0] for given in (uploaded, other)]

    assert [recovery.adopt(each)[0] is not None for each in found] == [True, False]


def test_damaged_intent_is_named() -> None:
    with pytest.raises(errors.JournalError, match=r"an intent that cannot be read: '\{'"):
        recovery.from_json("{", "", "", Timestamp(TICKS, UNIX), None, "")


def test_no_outcome_of_many_submissions_pays_twice() -> None:
    outcomes: Counter[Outcome] = Counter()
    for seed in range(60):
        world = World(draw := random.Random(seed), lag=draw.choice([0.0, 55.0]))
        client = world.client()
        inputs = [tasks.Raw(BODY["model"], BODY["task_type"], draw.choice([FOX, CAT, SHORT])) for _ in range(5)]
        lost: list[errors.SubmissionUncertain] = []
        accepted = Counter[str]()
        next(client.history(), None)  # from which the client learns the time of the provider
        for wanted in inputs:
            world.fate = draw.choice(["accepted", "refused"])
            options = {"webhook_url": HOOK} if draw.random() < 0.5 else {}
            with pytest.raises(errors.SubmissionUncertain) as caught:
                client.submit(wanted, **options)  # type: ignore[arg-type]  # drawn options
            lost.append(caught.value)
            accepted[caught.value.fingerprint] += world.fate == "accepted"
        found = client._drive(
            recovery.find_many(
                lost,
                client._own_ids,
                client._limits(None),
                recovery.ClientIdentity(_base_client.PROCESS, client._account),
            )
        )
        adopted = [task.id for task in recovery.adopt(found) if task is not None]
        absent = Counter(error.fingerprint for error, each in zip(lost, found, strict=True) if each.outcome is ABSENT)
        outcomes.update(each.outcome for each in found)

        assert len(adopted) == len(set(adopted))
        for fingerprint, number in Counter(error.fingerprint for error in lost).items():
            assert absent[fingerprint] <= number - accepted[fingerprint], seed
    assert min(outcomes.values()) > 10, outcomes


def test_tasks_that_are_submitted_while_the_history_is_read_leave_no_doubt() -> None:
    ids = [str(number) for number in range(1000, 1250)]
    own = dict.fromkeys(ids, "another")

    def respond(step: SendRequest) -> Any:
        ids.insert(0, str(len(own)))
        own[ids[0]] = "another"
        first = (int(step.params["page"]) - 1) * 100
        return history(*ids[first : first + 100], total=len(ids))

    flow = recovery.find_many([submitted(FOX), submitted(CAT)], own, limits(timeout=0.0), CLIENT)
    played = play(flow, respond, dated=True)
    assert [each.outcome for each in played.result] == [ABSENT, ABSENT]
    assert len(played.sent) == 6  # all pages, the first one again, and the newest tasks of all times


def test_job_writes_what_it_finds_before_it_waits_for_the_rest(tmp_path: Path) -> None:
    rows: list[dict[int, RowState]] = []
    task = Task({"task_id": "1"}, Output)
    outcomes = [
        [Recovery(FOUND, "", task), Recovery(UNCLEAR, ""), Recovery(ABSENT, "")],
        [Recovery(UNCLEAR, "no"), Recovery(ABSENT, "")],
    ]

    def find(lost: list[Any], *_: object) -> Flow[list[Recovery]]:
        yield from ()
        rows.append({row.key: row.state for row in journal.rows()})
        return outcomes[len(rows) - 1]

    with Journal(tmp_path / "job.db") as journal:
        for key in range(3):
            journal.intent(key, "d", "{}", 0).result()
        search = Ledger(journal, str, find).search({key: submitted(FOX) for key in range(3)})
        found = play(search).result
        last = {row.key: row.state for row in journal.rows()}

    sending = dict.fromkeys(range(3), RowState.SENDING)
    assert [*rows, last] == [sending, {**sending, 0: RowState.SENT}, {0: RowState.SENT, 1: RowState.UNKNOWN}]
    assert {index: (each.outcome, each.task) for index, each in found.items()} == {
        0: (FOUND, task),
        1: (UNCLEAR, None),
        2: (ABSENT, None),
    }
