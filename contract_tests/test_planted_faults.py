"""Each fault planted here is one that a client could have; the contract test beside it finds it.

`make score` counts them.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from unitask import AsyncClient, errors, inputs, tasks
from unitask._core import effects, envelope, flows, pricing, requests, waiting
from unitask_sandbox import pricing as provider_pricing

from . import test_examples, test_fault_library, test_limits, test_parity, test_prices, test_requests, test_resend_rule
from .support import Plant, answer, replaced
from .support import envelope as body_of
from .support.scenario_runner import problems, scripted
from .support.scenarios import scenarios
from .support.simulated_network import World
from .test_resend_rule import Plan

pytestmark = pytest.mark.filterwarnings("ignore::unitask.AdvisoryWarning")

Check = Callable[[], object]
DONE = answer(200, body_of("completed"))
NOTHING = property(lambda _: None, lambda _, __: None)
send = AsyncClient._send


async def send_twice(self: AsyncClient, step: effects.SendRequest) -> effects.Reply:
    await send(self, step)
    return await send(self, step)


refused_as_decided = replaced(envelope, "_unreadable", lambda reply, _: envelope.refusal(reply))


def scenario(name: str) -> Check:
    def check() -> None:
        (found,) = [one for one in scenarios() if one.name.endswith(f": {name}")]
        assert list(problems(found, scripted(found, "sync"))) == []

    return check


FAULTS: dict[str, tuple[Plant, Check]] = {
    "HTTP 200 without an id is taken for a refusal": (
        refused_as_decided,
        lambda: test_resend_rule.check("sync", [Plan(200)]),
    ),
    "a gateway's page is taken for a refusal": (
        refused_as_decided,
        lambda: test_fault_library.hold(World(), "bad-gateway", "create_task", "sync", Path("nothing")),
    ),
    "one failed poll ends a wait": (
        replaced(waiting, "is_retryable", lambda _: False),
        scenario("failed polls do not end a wait"),
    ),
    "the id of a failed task is lost": (
        replaced(errors.UnitaskError, "task_id", NOTHING),
        scenario("a task with status failed raises"),
    ),
    "a failed task is returned": (replaced(flows, "wait", flows.watch), scenario("a task with status failed raises")),
    "a field of a request is lost": (
        replaced(tasks.FaceSwap, "values", lambda self: {"target_image": self.target_image}),
        test_examples.test_wrapper_sends_the_documented_requests,
    ),
    "a poll goes to a path that is not documented": (
        replaced(requests, "get_task", lambda task_id, *_: effects.SendRequest("GET", f"/api/v1/tasks/{task_id}")),
        lambda: test_requests.test_request_is_documented("get"),
    ),
    "a field of another type is sent": (
        replaced(requests, "create", lambda body, _: effects.SendRequest("POST", "/api/v1/task", {**body, "model": 7})),
        lambda: test_requests.test_request_is_documented("submit"),
    ),
    "a documented limit is not checked": (
        replaced(inputs, "problems", lambda *_: iter(())),
        test_limits.test_documented_limits_are_checked_before_sending,
    ),
    "client and provider share a wrong price": (
        lambda patch: [patch.setattr(one, "CREDITS_PER_USD", 1_000_000) for one in (pricing, provider_pricing)],
        lambda: test_prices.test_price_is_the_documented_one(test_prices.DOCUMENTED[0]),
    ),
    "the async client sends everything twice": (
        replaced(AsyncClient, "_send", send_twice),
        lambda: test_parity.check(test_parity.CALLS["wait"], [DONE], [answer(200, body_of("processing")), DONE]),
    ),
}
FOUND = (AssertionError, pytest.fail.Exception, LookupError, ValueError, AttributeError, errors.UnitaskError)


@pytest.mark.parametrize("name", FAULTS)
def test_planted_fault_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, check = FAULTS[name]
    check()
    plant(monkeypatch)

    with pytest.raises(FOUND):
        check()
