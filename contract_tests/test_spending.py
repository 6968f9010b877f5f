"""The money limit of `unitask contract`: every create that may have been accepted counts, however it was answered."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unitask_contract import runner
from unitask_contract.checks._http import face_swap
from unitask_contract.provider import LeftOut, Limited, Money, Provider
from unitask_contract.report import Report, text
from unitask_contract.report_files import as_html, as_json

from .support import tries

PRICE = 0.01  # of a face swap, by the provider's page
SWAP = face_swap(target_image="https://me.test/a.png", swap_image="https://me.test/b.png")
UNPRICED = {"model": "Qubico/image-toolkit", "task_type": "background-remove", "input": {"image": "https://me.test/a"}}
Step = tuple[int | type[httpx.TransportError], Any]  # a status and a body, or what fails


def answering(money: Money, steps: Callable[[int], Step]) -> tuple[Provider, list[Step]]:
    done: list[Step] = []

    def handle(request: httpx.Request) -> httpx.Response:
        status, body = steps(len(done))
        done.append((status, body))
        if isinstance(status, int):
            return httpx.Response(status, content=json.dumps(body).encode())
        raise status("failed", request=request)

    http = httpx.Client(transport=httpx.MockTransport(handle), base_url="https://provider.test")
    return Provider(http, None, "key", lambda _: None, money=money), done


def may_have_accepted(step: Step) -> bool:
    status, body = step
    if not isinstance(status, int):
        return not issubclass(status, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    return not (400 <= status < 500) or status in (408, 499) or "task_id" in json.dumps(body)


def test_create_that_is_sent_again_after_a_refusal_for_the_rate_is_held_again() -> None:
    money = Money(0.05)
    subject, done = answering(
        money, lambda n: (429, {"code": 429}) if n % 2 == 0 else (200, {"data": {"task_id": str(n)}})
    )
    for _ in range(20):
        with contextlib.suppress(LeftOut):
            subject.request("POST", "/api/v1/task", json=SWAP)

    assert sum(status == 200 for status, _ in done) == 5
    assert money.held_usd == pytest.approx(0.05)


bodies = st.sampled_from(
    [{"code": 1}, {"code": 429, "data": {"task_id": "a", "status": "pending"}}, None, {"data": {"task_id": "b"}}]
)
failures = st.sampled_from(
    [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ReadTimeout, httpx.RemoteProtocolError]
)


@settings(max_examples=tries(100))
@given(script=st.lists(st.tuples(st.sampled_from([200, 400, 401, 404, 408, 429, 499, 500, 502]) | failures, bodies)))
def test_whatever_is_answered_the_limit_holds(script: list[Step]) -> None:
    money = Money(0.05)
    subject, done = answering(money, lambda n: script[n] if n < len(script) else (200, {"data": {"task_id": "x"}}))
    for _ in range(12):
        try:
            subject.request("POST", "/api/v1/task", json=SWAP)
        except (LeftOut, Limited, httpx.TransportError):
            continue

    accepted = sum(map(may_have_accepted, done))
    assert accepted <= 5
    assert money.held_usd == pytest.approx(PRICE * accepted)


def test_accepted_create_that_shows_a_refusal_is_not_sent_again() -> None:
    subject, done = answering(Money(1.0), lambda _: (429, {"data": {"task_id": "a", "status": "pending"}}))
    subject.request("POST", "/api/v1/task", json=SWAP)

    assert len(done) == 1


def test_create_with_a_wrong_key_that_is_accepted_counts() -> None:
    money = Money(0.05)
    subject, _ = answering(money, lambda _: (200, {"data": {"task_id": "a"}}))
    subject.request("POST", "/api/v1/task", "wrong", json=SWAP)

    assert money.held_usd == pytest.approx(PRICE)


def test_unknown_price_is_never_shown_as_nothing() -> None:
    money = Money()
    subject, _ = answering(money, lambda _: (200, {"data": {"task_id": "a"}}))
    subject.request("POST", "/api/v1/task", json=UNPRICED)
    subject.request("POST", "/api/v1/task", json=SWAP)
    result = runner.Result(runner.chosen(["echo"])[0], "general", "", runner.Outcome.KEPT)
    report = Report("here", 1, [result], held_usd=money.held_usd, limit_usd=money.limit_usd, unpriced=money.unpriced)

    for shown in (text(report), as_html(report)):
        assert "at most $0.01 spent, by the prices of the catalogue, and the unknown price of 1 more" in shown
    assert json.loads(as_json(report))["submissions_of_unknown_price"] == 1
    nothing = Report("here", 1, [result])
    assert "$" not in text(nothing)
    assert json.loads(as_json(nothing))["held_usd"] is None
