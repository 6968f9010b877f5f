"""The sandbox, or any base URL, keeps every promise of the contract; and a check finds each planted defect."""

import itertools
import json
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from unitask._core import contents
from unitask_api import output_files
from unitask_contract import causes, provider, runner
from unitask_contract.checks import fuzz, task_types
from unitask_contract.checks._http import create
from unitask_contract.patches.proposals import differences
from unitask_contract.report import Level, Report
from unitask_sandbox.engines import ENGINES

from .support import ENTRIES, tries
from .support.defective_provider import DEFECTS, ENDED, Defect, answering, defective, replying, task, with_defects

FAILED = (runner.Outcome.BROKEN, runner.Outcome.NOT_RUN)


def under_test(config: pytest.Config) -> AbstractContextManager[provider.Provider]:
    base_url, key, money = (config.getoption(name) for name in ("--base-url", "--key", "--max-usd"))
    return provider.remote(base_url, key, money) if base_url else provider.sandbox()


@pytest.fixture(scope="module")
def shared(request: pytest.FixtureRequest) -> Iterator[provider.Provider]:
    with under_test(request.config) as made:
        yield made


@pytest.mark.parametrize("check", runner.OF_PROVIDER, ids=lambda check: check.id)
def test_provider_keeps_its_promise(check: runner.Check, request: pytest.FixtureRequest) -> None:
    with under_test(request.config) as subject:
        try:
            if check.run is fuzz.check_every_answer:
                check.run(subject, examples=tries(5))  # `unitask contract` sends more, and `make contract-fuzz` most
            else:
                check.run(subject)
        except provider.LeftOut as reason:
            pytest.skip(str(reason))


@pytest.mark.parametrize("name", task_types.task_types())
def test_task_type_is_as_the_catalogue_says(name: str, shared: provider.Provider) -> None:
    results = [runner.made(shared, check, name) for check in runner.OF_TASK_TYPES]

    assert [(result.check.id, result.detail) for result in results if result.outcome in FAILED] == []
    if not shared.inside:
        return
    kept = {result.check.id for result in results if result.outcome is runner.Outcome.KEPT}
    task = shared.memo["ended", name]
    assert kept >= {"accepted", "echoed", "listed"}
    for ending, content in files_of(shared, task["output"]):
        contents.check(content, output_files.kind_of_ending(f".{ending}"), f".{ending}")
        assert re.search(b"synthetic|simulated", content, re.IGNORECASE), ending
    if (ENTRIES[name]["model"], ENTRIES[name]["task_type"]) not in ENGINES:
        assert kept >= {"ended", "output"}
        assert "SIMULATED" in task["meta"]["simulated"]


def files_of(subject: provider.Provider, output: Any) -> list[tuple[str, bytes]]:
    urls = re.findall(r'"(http[^"]*)"', json.dumps(output))
    return [(urlsplit(url).path.rpartition(".")[2], subject.http.get(url).content) for url in urls]


def test_price_is_found_in_any_balance() -> None:
    with provider.sandbox() as rich:
        for _ in range(5):
            create(rich)
        assert runner.made(rich, *runner.chosen(["account"])).outcome is runner.Outcome.KEPT


IN_TIME = [check for check in runner.OF_PROVIDER if check.run.__module__ != fuzz.__name__]


@pytest.mark.parametrize("check", IN_TIME, ids=lambda check: check.id)
def test_quick_provider_is_not_called_broken(check: runner.Check) -> None:
    with provider.sandbox() as quick:
        quick.inside = None
        quick.http.event_hooks = {"response": [quick.advance]}
        result = runner.made(quick, check)

    assert result.outcome in (runner.Outcome.KEPT, runner.Outcome.LEFT_OUT), result.detail


def results_of(defect: str, chosen: str) -> tuple[list[runner.Result], provider.Provider]:
    """Run a family, or checks, before a defective provider as before a remote one, without its clock."""
    ENDED.clear()
    with provider.sandbox(defective(defect), seed=1) as subject:
        subject.inside = None
        of_family = bool(task_types.task_types((chosen,)))
        only = runner.chosen([] if of_family else chosen.split(","))
        return list(runner.run(subject, (chosen,) if of_family else (), only)), subject


ALTERATIONS = (
    ("output-of-another-task", "faceswap", causes.OUTPUT, "task {id} shows the output of task {id}"),
    ("output-of-another-task", "own_output", causes.OUTPUT, "task {id} shows the output of task {id}"),
    ("input-of-another-task", "faceswap", causes.INPUT, "task {id} shows the input of task {id}"),
    ("input-of-another-task", "echo", causes.INPUT, "task {id} shows the input of task {id}"),
    ("gone-after-its-end", "faceswap", causes.GONE, "task {id} was completed, and GET does not find it now"),
    ("going-back", "faceswap", causes.BACK, "task {id} was processing, and is pending now"),
    (
        "row-in-processing",
        "faceswap",
        causes.STALE,
        "task {id} is completed, and its row in the history says processing",
    ),
    ("row-in-processing", "rows", causes.STALE, "task {id} is completed, and its row in the history says processing"),
    ("secret-of-another-task", "echo", causes.SECRET, "task {id} shows the webhook secret of task {id}"),
    ("answers-without-type", "faceswap", causes.CONTENT_TYPE, "the answer is without a content type: HTTP 200"),
    ("answers-as-pages", "faceswap", causes.CONTENT_TYPE, "the answer is text/html: HTTP 200"),
    ("answers-as-pages", "account,chat,images", causes.CONTENT_TYPE, "the answer is text/html: HTTP 200"),
    ("answers-as-pages", "keys", causes.CONTENT_TYPE, "the answer is text/html: HTTP 401"),
    ("another-word-for-the-end", "no_face", causes.WORD, "task {id} has ended as 'rejected'"),
    ("back-for-ever", "faceswap", causes.BACK, "task {id} was processing, and is pending now"),
    ("stuck", "faceswap", causes.STUCK, "task {id} of Qubico/image-toolkit face-swap is 'processing' 45 s after"),
    ("stuck", "face_swap,no_face,account", causes.STUCK, "task {id} of Qubico/image-toolkit face-swap is 'processing'"),
)


@pytest.mark.parametrize(("defect", "chosen", "cause", "said"), ALTERATIONS)
def test_alteration_is_one_finding_that_names_it_within_a_minute(
    defect: str, chosen: str, cause: causes.Cause, said: str
) -> None:
    results, subject = results_of(defect, chosen)

    (finding,) = Report("a provider", 1, results).findings
    assert finding.cause == cause
    assert re.match(re.escape(said).replace(re.escape("{id}"), "[0-9a-f-]{36}"), finding.results[0].detail)
    assert subject.waited <= 60


JSON = {"content-type": "application/json"}
NOTHING = httpx.Response(404, json={"code": 404, "message": "no such route", "data": None})
ONE_CAUSE = {
    'an answer has no field "usage"': Defect("", task(lambda it: it["meta"].pop("usage", None))),
    "answers are not JSON by their content type": DEFECTS["answers-as-pages"],
    "answers are not JSON, though their content type says so": Defect(
        "", exchange=answering(lambda _, answer: httpx.Response(answer.status_code, content=b"<p>", headers=JSON))
    ),
    "HTTP 500 to POST /api/v1/task": Defect("", exchange=replying(httpx.Response(500, json={}), "create_task")),
    "the provider keeps no tasks": Defect("", exchange=replying(NOTHING, "get_task")),
    "the provider keeps no tasks: ": Defect("", task(lambda it: it.update(task_id="the-id-of-the-example"))),
}


@pytest.mark.parametrize("title", ONE_CAUSE)
def test_checks_and_differences_with_one_cause_are_one_finding(title: str) -> None:
    ids = ["face_swap", "no_face", "echo", "bad_requests", "account", "rows", "accepted", "ended", "charged"]
    with provider.sandbox(partial(with_defects, [ONE_CAUSE[title]])) as subject:
        results = list(runner.run(subject, ("general", "faceswap"), runner.chosen(ids)))
        report = Report("a provider", 1, results, cause=causes.of_all(subject.exchanges))
        found = [] if report.cause else differences(subject.exchanges)

    broken = [one for one in replace(report, differences=found).findings if one.level is Level.BROKEN]
    assert [one.cause.title.startswith(title) for one in broken] == [True]
    assert len(broken[0].results) > 3


def test_slow_answers_are_one_finding_with_median_and_limit() -> None:
    with provider.sandbox() as late:
        times = itertools.count(step=3.0)
        late.clock = lambda: next(times)
        results = list(runner.run(late, ("udio",), runner.chosen(["accepted", "ended"])))

    (finding,) = Report("a provider", 1, results, seconds=median(late.seconds)).findings
    assert next(finding.details()) == "the median answer took 3.0 s; the limit is 1 s"


@pytest.mark.parametrize("defect", DEFECTS)
def test_defect_is_found(defect: str) -> None:
    name, _, task_type = DEFECTS[defect].found_by.partition(" ")
    with provider.sandbox(defective(defect), seed=1) as broken:
        assert runner.made(broken, *runner.chosen([name]), task_type).outcome is runner.Outcome.BROKEN
