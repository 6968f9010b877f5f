"""Every check has been seen red: each fault planted here is one that a client like ours could have, and is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import Phase, settings
from unitask import AsyncClient, _base_client, _sync_runner, errors, inputs, tasks
from unitask._core import effects, envelope, flows, polling, pricing, protocols, requests, retry_policy
from unitask._model.state import State, state_of
from unitask._model.task import Task
from unitask_sandbox import pricing as provider_pricing

from . import (
    support,
    test_drift,
    test_errors,
    test_examples,
    test_fault_library,
    test_legacy,
    test_limits,
    test_parity,
    test_prices,
    test_requests,
    test_resend_rule,
    test_status,
    test_submit_once,
)
from .support import Plant, replaced
from .support.simulated_network import World

pytestmark = pytest.mark.filterwarnings("ignore::unitask.AdvisoryWarning")

Check = Callable[[], object]

_failed_is_returned = replaced(flows, "wait", flows.watch)
_body_must_be_json = replaced(envelope, "_json_object", json.loads)
_every_5xx_is_decided = replaced(envelope, "_is_envelope", lambda _: True)
_read_timeout_is_sent_again = replaced(_base_client, "NEVER_LEFT", (httpx.RequestError,))
_refused_connection_is_uncertain = replaced(_base_client, "NEVER_LEFT", ())
_retry_after_is_ignored = replaced(retry_policy, "clamp_retry_after", lambda _: 1.0)
_one_bad_look_ends_the_wait = replaced(flows, "is_retryable", lambda _: False)
_id_of_a_failed_look_is_lost = replaced(errors.UnitaskError, "task_id", property(lambda _: None, lambda _, __: None))
_unknown_path = replaced(
    requests, "get_task", lambda task_id, *_: effects.SendRequest("GET", f"/api/v1/tasks/{task_id}")
)
_required_parameter_is_missing = replaced(
    requests, "cancel_many", lambda _, __: effects.SendRequest("DELETE", "/api/v1/tasks")
)


def _unknown_is_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def planted(word: object) -> State:
        state = state_of(word)
        return State.FAILED if state is State.UNKNOWN else state

    monkeypatch.setattr("unitask._model.task.state_of", planted)


def _case_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    words = {state.value: state for state in State}
    monkeypatch.setattr("unitask._model.task.state_of", lambda word: words.get(word, State.UNKNOWN))


def _id_of_a_refusal_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = envelope.refusal

    def without_id(answer: effects.Response, **options: Any) -> errors.ApiError:
        error = refusal(answer, **options)
        error.task_id = None
        return error

    monkeypatch.setattr(envelope, "refusal", without_id)


def _body_has_a_misspelt_field(monkeypatch: pytest.MonkeyPatch) -> None:
    create = requests.create

    def misspelt(body: dict[str, Any]) -> effects.SendRequest:
        sent = create(body)
        return effects.SendRequest(sent.method, sent.path, {**sent.json, "task_type": 7})

    monkeypatch.setattr(requests, "create", misspelt)


def _field_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    def values(self: tasks.FaceSwap) -> dict[str, Any]:
        return {"target_image": self.target_image}

    monkeypatch.setattr(tasks.FaceSwap, "values", values)


def _unknown_fields_of_an_answer_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    read = envelope.read_task

    def narrow(*arguments: Any, **options: Any) -> Any:
        found = read(*arguments, **options)
        if isinstance(found, Task):
            return Task({"task_id": found.id, "status": found.status}, found.output_type)
        return found

    monkeypatch.setattr(envelope, "read_task", narrow)


def _async_sleeps_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    take = AsyncClient._take

    async def longer(self: AsyncClient, step: effects.Step, *rest: Any) -> effects.Reply:
        is_sleep = isinstance(step, effects.Sleep) and step.seconds
        return await take(self, effects.Sleep(step.seconds * 2) if is_sleep else step, *rest)

    monkeypatch.setattr(AsyncClient, "_take", longer)


def _async_looks_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    send = AsyncClient._send

    async def twice(self: AsyncClient, step: effects.SendRequest) -> effects.Reply:
        await send(self, step)
        return await send(self, step)

    monkeypatch.setattr(AsyncClient, "_send", twice)


def _named(name: str, operation: str) -> Check:
    return lambda: test_fault_library.hold(World(), name, operation, "sync", Path("nothing"))


def _quick(test: Any, **arguments: Any) -> None:
    usual = test._hypothesis_internal_use_settings
    test._hypothesis_internal_use_settings = settings(usual, phases=[Phase.generate], report_multiple_bugs=False)
    try:
        test(**arguments)
    finally:
        test._hypothesis_internal_use_settings = usual


CASES: dict[str, tuple[Plant, Check]] = {
    "examples: a field of an answer is lost": (
        _unknown_fields_of_an_answer_are_dropped,
        test_examples.test_wrapper_returns_the_documented_answers,
    ),
    "examples: a field of a request is lost": (
        _field_is_dropped,
        test_examples.test_wrapper_sends_the_documented_requests,
    ),
    "examples: the id of a refusal is lost": (
        _id_of_a_refusal_is_lost,
        test_examples.test_documented_refusal_is_a_typed_error_with_the_task_id,
    ),
    "status: an unknown word is a failure": (
        _unknown_is_failed,
        lambda: _quick(test_status.test_unknown_status_keeps_waiting),
    ),
    "status: letter case matters": (
        _case_matters,
        lambda: _quick(test_status.test_word_means_what_its_sources_say),
    ),
    "status: a failed task is returned as if it were fine": (
        _failed_is_returned,
        lambda: _quick(test_status.test_failed_task_raises_with_the_task),
    ),
    "status: unknown fields are dropped": (
        _unknown_fields_of_an_answer_are_dropped,
        lambda: _quick(test_status.test_any_documented_answer_is_understood),
    ),
    "errors: a body that is not JSON raises": (
        _body_must_be_json,
        lambda: _quick(test_errors.test_any_refusal_of_a_create_ends_typed_and_is_never_sent_twice),
    ),
    "errors: a page with HTTP 500 is taken for the API's": (
        _every_5xx_is_decided,
        lambda: test_errors.test_refused_create_is_decided_or_uncertain_and_sent_once(*test_errors.SHAPES["html"]),
    ),
    "errors: a create is sent again after a read timeout": (
        _read_timeout_is_sent_again,
        lambda: test_resend_rule.check("sync", [test_resend_rule.Plan(fails=httpx.ReadTimeout)]),
    ),
    "errors: a create whose answer was lost makes another task": (
        replaced(_sync_runner, "watching", lambda progress: lambda *_: setattr(progress, "left", False)),
        lambda: test_submit_once.test_call_makes_at_most_one_task("the answer is lost", "sync"),
    ),
    "errors: a refused connection is not tried again": (
        _refused_connection_is_uncertain,
        lambda: test_resend_rule.check("sync", [test_resend_rule.Plan(fails=httpx.ConnectError)]),
    ),
    "errors: Retry-After is ignored": (
        _retry_after_is_ignored,
        lambda: test_errors.test_rate_limited_create_waits_as_asked("7", 7.0),
    ),
    "errors: one bad look ends a wait": (
        _one_bad_look_ends_the_wait,
        lambda: _quick(test_errors.test_troubled_looks_do_not_end_a_wait),
    ),
    "errors: the id of a failed look is lost": (
        _id_of_a_failed_look_is_lost,
        lambda: _quick(test_errors.test_any_answer_to_a_look_ends_typed_with_the_id),
    ),
    "errors: a create whose answer is cut is sent again": (
        _read_timeout_is_sent_again,
        _named("answer-cut", "create_task"),
    ),
    "errors: a gateway's page is taken for a refusal": (
        replaced(envelope, "_unreadable", lambda answer, _: envelope.refusal(answer)),
        _named("bad-gateway", "create_task"),
    ),
    "errors: the id is lost where every look is refused": (
        _id_of_a_failed_look_is_lost,
        _named("rate-limited-for-good", "get_task"),
    ),
    "errors: HTTP 200 without an id is taken for a refusal": (
        replaced(envelope, "_unreadable", lambda answer, _: envelope.refusal(answer)),
        lambda: test_resend_rule.check("sync", [test_resend_rule.Plan(200)]),
    ),
    "errors: every refusal is of one kind": (
        replaced(errors, "KIND_BY_STATUS", {}),
        lambda: test_errors.test_refusal_has_the_kind_of_its_status(404, errors.NotFound),
    ),
    "errors: lack of credit is not told apart": (
        replaced(errors, "REASONS", ()),
        lambda: test_errors.test_lack_of_credit_is_told_by_its_words("failed to freeze point"),
    ),
    "requests: a field of another type is sent": (
        _body_has_a_misspelt_field,
        lambda: _quick(test_requests.test_create_is_documented_and_complete),
    ),
    "requests: a look goes to a path that is not documented": (
        _unknown_path,
        lambda: test_requests.test_every_other_call_is_documented("get"),
    ),
    "requests: a required parameter is missing": (
        _required_parameter_is_missing,
        lambda: test_requests.test_every_other_call_is_documented("cancel_many"),
    ),
    "requests: a documented limit is not checked": (
        replaced(inputs, "problems", lambda *_: iter(())),
        test_limits.test_documented_limits_are_checked_before_sending,
    ),
    "requests: advice is not given": (
        replaced(inputs, "problems", lambda *_: iter(())),
        test_limits.test_advised_limit_is_a_warning_and_is_sent,
    ),
    "requests: a legacy task is created like any other": (
        replaced(protocols, "LEGACY", "nothing"),
        test_legacy.test_legacy_face_swap_runs_over_its_own_endpoints,
    ),
    "requests: an id is not escaped": (
        replaced(requests, "get_task", lambda task_id, *_: effects.SendRequest("GET", f"/api/v1/task/{task_id}")),
        lambda: test_requests.test_odd_id_is_escaped(),
    ),
    "prices: the provider charges for what the price does not count": (
        replaced(provider_pricing, "_units", lambda *_: Decimal(1)),
        lambda: test_prices.test_estimate_is_what_the_sandbox_charges("Sora2Video"),
    ),
    "prices: the first rate is taken whatever is asked for": (
        replaced(pricing, "_rate", lambda rates, _: rates[0]),
        lambda: test_prices.test_estimate_is_what_the_sandbox_charges("Veo3Video"),
    ),
    "prices: a bill is estimated wrong": (
        replaced(pricing, "CREDITS_PER_USD", 1_000_000),
        lambda: test_prices.test_estimate_is_the_documented_bill(*next(test_prices.bills())),
    ),
    "prices: the client and the provider share a wrong price": (
        lambda monkeypatch: [
            monkeypatch.setattr(place, name, 1_000_000)
            for place, name in ((pricing, "CREDITS_PER_USD"), (provider_pricing, "CREDITS_PER_USD"))
        ],
        lambda: test_prices.test_price_is_the_documented_one(test_prices.DOCUMENTED[0]),
    ),
    "parity: the async client sleeps longer": (
        _async_sleeps_longer,
        lambda: _quick(test_parity.test_both_clients_give_one_trace, call=test_parity.CALLS["wait"]),
    ),
    "parity: the async client sends everything twice": (
        _async_looks_twice,
        lambda: _quick(test_parity.test_both_clients_give_one_trace, call=test_parity.CALLS["submit"]),
    ),
}


# What ends a check that is not its own assertion: any other error would be one of the plant.
FOUND_OTHERWISE: dict[str, tuple[type[Exception], ...]] = {
    "examples: a field of a request is lost": (errors.InvalidInput,),
    "errors: a body that is not JSON raises": (ValueError, AttributeError),  # no JSON or no UTF-8, and no object
    "requests: a look goes to a path that is not documented": (LookupError,),
    "requests: a legacy task is created like any other": (errors.SubmissionUncertain,),  # its address is not mocked
}


@pytest.mark.parametrize("name", CASES)
def test_planted_fault_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, check = CASES[name]
    check()
    plant(monkeypatch)

    with pytest.raises(FOUND_OTHERWISE.get(name, (AssertionError, pytest.fail.Exception))):
        check()


@pytest.mark.parametrize(
    ("changed", "check"),
    [
        ({"documented": {"schema": {"type": "string"}}}, test_drift.test_documented_schema_rejects_what_was_seen),
        ({"ours": "#/components/schemas/TaskMeta"}, test_drift.test_our_schema_accepts_what_was_seen),
    ],
)
def test_stale_drift_entry_is_found(changed: dict[str, Any], check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_drift, "LEDGER", [{**test_drift.LEDGER[0], **changed}])

    with pytest.raises(AssertionError):
        check()


def test_wait_that_looks_too_often_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trace shows every pause, so a hot loop cannot hide."""
    monkeypatch.setattr(polling, "next_poll_delay", lambda *_: 0.0)
    still = support.answer(200, support.envelope("processing"))
    trace = support.perform("sync", lambda client: client.wait(support.TASK_ID, timeout=30), looks=[still])

    assert len(trace.requests) > 20
