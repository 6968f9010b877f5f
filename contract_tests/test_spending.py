"""`unitask contract --max-usd`: every submission that may have been accepted counts, however it was answered."""

import contextlib
import json
from typing import Any

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from unitask_contract import runner
from unitask_contract.checks._http import face_swap
from unitask_contract.provider import LeftOut, Limited, Money, Provider
from unitask_contract.report import Report, text
from unitask_contract.report_files import as_html, as_json

from .support import tries

PRICE = 0.01  # US dollars of a face swap, by the provider's page
SWAP = face_swap(target_image="https://me.test/a.png", swap_image="https://me.test/b.png")
UNPRICED = {"model": "kling", "task_type": "extend_video", "input": {"origin_task_id": "a"}}
Step = tuple[int | type[httpx.TransportError], Any]  # a status and a body, or what fails
ACCEPTED: Step = (200, {"data": {"task_id": "a"}})
PENDING: Step = (429, {"code": 429, "data": {"task_id": "a", "status": "pending"}})
LIMITED: Step = (429, {"code": 429})


def answering(money: Money, *script: Step) -> tuple[Provider, list[Step]]:
    """Make a provider with these answers, the last one again and again, and the list of those that it gave."""
    given: list[Step] = []

    def handle(request: httpx.Request) -> httpx.Response:
        status, body = script[min(len(given), len(script) - 1)]
        given.append((status, body))
        if isinstance(status, int):
            return httpx.Response(status, content=json.dumps(body).encode())
        raise status("failed", request=request)

    http = httpx.Client(transport=httpx.MockTransport(handle), base_url="https://provider.test")
    return Provider(http, "key", lambda _: None, money=money), given


def may_have_accepted(step: Step) -> bool:
    status, body = step
    if not isinstance(status, int):
        return not issubclass(status, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    return not (400 <= status < 500) or status in (408, 499) or "task_id" in json.dumps(body)


bodies = st.sampled_from([{"code": 1}, PENDING[1], None, {"data": {"task_id": "b"}}])
statuses = st.sampled_from([200, 400, 401, 404, 408, 429, 499, 500, 502])
failures = st.sampled_from(
    [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ReadTimeout, httpx.RemoteProtocolError]
)


@settings(max_examples=tries(100))
@given(script=st.lists(st.tuples(statuses | failures, bodies)))
@example(script=[LIMITED, ACCEPTED] * 20)
def test_limit_holds_whatever_is_answered(script: list[Step]) -> None:
    money = Money(0.05)
    subject, given = answering(money, *script, ACCEPTED)
    for _ in range(12):
        with contextlib.suppress(LeftOut, Limited, httpx.TransportError):
            subject.request("POST", "/api/v1/task", json=SWAP)

    accepted = sum(map(may_have_accepted, given))
    assert accepted <= 5
    assert money.held_usd == pytest.approx(PRICE * accepted)


@pytest.mark.parametrize(("answer", "key"), [(PENDING, None), (ACCEPTED, "wrong")])
def test_answer_that_names_a_task_counts_once(answer: Step, key: str | None) -> None:
    money = Money(1.0)
    subject, given = answering(money, answer)
    subject.request("POST", "/api/v1/task", *([key] if key else []), json=SWAP)

    assert (len(given), money.held_usd) == (1, pytest.approx(PRICE))


def test_unknown_price_is_not_reported_as_nothing() -> None:
    money = Money()
    subject, _ = answering(money, ACCEPTED)
    for body in (UNPRICED, SWAP):
        subject.request("POST", "/api/v1/task", json=body)
    result = runner.Result(runner.chosen(["echo"])[0], "general", "", runner.Outcome.KEPT)
    report = Report("here", 1, [result], held_usd=money.held_usd, limit_usd=money.limit_usd, unpriced=money.unpriced)
    sandbox = Report("here", 1, [result])

    assert all("$0.01" in shown and "unknown price of 1 more" in shown for shown in (text(report), as_html(report)))
    assert json.loads(as_json(report))["submissions_of_unknown_price"] == 1
    assert "$" not in text(sandbox)
    assert json.loads(as_json(sandbox))["held_usd"] is None
