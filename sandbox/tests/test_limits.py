"""Limits of an account: tasks at once, requests a second, and what its plan allows."""

from typing import Any

import pytest
from unitask_api import contract
from unitask_sandbox import Sandbox
from unitask_sandbox.failures import Refusal
from unitask_sandbox.rate import Rate

from .local import NOW, PRICE, Clock, Http, HttpWith, SandboxWith, encoded, face_swap

FACE_SWAP = encoded(face_swap())
IMAGINE = encoded({"model": "midjourney", "task_type": "imagine", "input": {"prompt": "a cat"}})


def refusal(sandbox: Sandbox, body: bytes = FACE_SWAP, key: str = "sandbox") -> tuple[int, str]:
    with pytest.raises(Refusal) as caught:
        sandbox.accept(key, body)
    return caught.value.status, caught.value.message


def statuses(sandbox: Sandbox, *task_ids: str) -> list[str]:
    return [sandbox.get("sandbox", task_id).status for task_id in task_ids]


def test_create_over_the_concurrency_limit_is_refused(sandbox_with: SandboxWith) -> None:
    sandbox = sandbox_with(speed="real", concurrency=2)
    first, _ = (sandbox.accept("sandbox", FACE_SWAP).task_id for _ in range(2))
    sandbox._store.start(first, NOW)

    assert refusal(sandbox) == (429, "the concurrency limit is reached: 2 concurrent tasks are pending or processing")
    assert sandbox.balance("sandbox") == 9.98
    assert sandbox.history("sandbox")["total"] == 2


@pytest.mark.parametrize("ending", ["cancelled", "completed"])
def test_task_that_has_ended_makes_room(sandbox_with: SandboxWith, clock: Clock, ending: str) -> None:
    sandbox = sandbox_with(speed="real", concurrency=1)
    task_id = sandbox.accept("sandbox", FACE_SWAP).task_id
    refused = refusal(sandbox)[0]
    if ending == "cancelled":
        sandbox.cancel("sandbox", task_id)
    else:
        for _ in range(2):
            clock.now += 1000
            sandbox.advance()

    assert (refused, statuses(sandbox, task_id)) == (429, [ending])
    assert sandbox.accept("sandbox", FACE_SWAP).status == "pending"


def test_midjourney_is_staged_instead(sandbox_with: SandboxWith) -> None:
    sandbox = sandbox_with(concurrency=1)
    first, second, third = (sandbox.accept("sandbox", IMAGINE).task_id for _ in range(3))
    seen = [statuses(sandbox, first, second, third)]
    with pytest.raises(Refusal, match=f"task {second} is staged; only a pending task can be cancelled"):
        sandbox.cancel("sandbox", second)
    while sandbox.advance():
        seen.append(statuses(sandbox, first, second, third))

    assert seen == [
        ["pending", "staged", "staged"],
        ["completed", "pending", "staged"],
        ["completed", "completed", "pending"],
    ]
    assert statuses(sandbox, first, second, third) == ["completed"] * 3


def test_fifty_may_be_staged(sandbox_with: SandboxWith) -> None:
    sandbox = sandbox_with(concurrency=1)
    accepted = [sandbox.accept("sandbox", IMAGINE).status for _ in range(51)]

    assert accepted == ["pending", *["staged"] * 50]
    assert refusal(sandbox, IMAGINE)[0] == refusal(sandbox)[0] == 429


def test_staged_tasks_survive_a_restart(sandbox_with: SandboxWith, tmp_path: Any) -> None:
    first = sandbox_with(data=tmp_path, concurrency=1)
    tasks = [first.accept("sandbox", IMAGINE).task_id for _ in range(3)]
    first.close()
    second = sandbox_with(data=tmp_path)
    second.cancel("sandbox", tasks[0])
    while second.advance():
        pass

    assert statuses(second, *tasks) == ["cancelled", "completed", "completed"]


def test_limit_is_shown(http_with: HttpWith) -> None:
    http: Http = http_with(concurrency=2)
    for _ in range(3):
        http("POST", "/api/v1/task", content=IMAGINE)
    account = http("GET", "/account/info").json()["data"]
    group = http("GET", "/account/active_tasks").json()["data"]["midjourney"]
    unlimited = http_with()("GET", "/account/info").json()["data"]

    assert (group["staged_count"], group["pending_count"], group["processing_count"]) == (1, 2, 0)
    assert account["max_concurrent_task_count"] == account["max_kling_concurrency"] == 2
    assert unlimited["max_concurrent_task_count"] == 1000


def test_account_shows_what_is_frozen(http: Http) -> None:
    http.create()
    song = {"gpt_description_prompt": "a song", "lyrics_type": "instrumental"}
    http("POST", "/api/v1/task", json={"model": "music-u", "task_type": "generate_music", "input": song})
    account = http("GET", "/account/info").json()["data"]

    assert account["equivalent_in_usd"] == 9.94
    assert (account["wallet"]["point_frozen"], account["wallet"]["llm_used"]) == (500_000, PRICE)


def test_rate_lets_pass_what_it_may(clock: Clock) -> None:
    rate = Rate(4, clock)
    at_once = [rate.take("a") for _ in range(6)]
    clock.now += 0.25
    later = [rate.take("a") for _ in range(2)]
    clock.now += 100

    assert at_once == [0, 0, 0, 0, 0.25, 0.25]
    assert later == [0, 0.25]
    assert [rate.take("a") for _ in range(5)] == [0, 0, 0, 0, 0.25]
    assert rate.take("b") == 0


def test_slow_rate_lets_the_first_request_pass_whatever_the_clock_does(clock: Clock) -> None:
    rate = Rate(0.1, clock)
    first = rate.take("a")
    clock.now -= 100
    second = rate.take("a")
    clock.now += 10

    assert (first, second, rate.take("a")) == (0, 10, 0)


def test_request_over_the_rate_does_nothing(http_with: HttpWith, clock: Clock) -> None:
    http: Http = http_with(rate=0.4)
    accepted = http("POST", "/api/v1/task", json=face_swap())
    refused = http("POST", "/api/v1/task", json=face_swap())
    clock.now += int(refused.headers["retry-after"])
    again = http("POST", "/api/v1/task", json=face_swap())

    assert [answer.status_code for answer in (accepted, refused, again)] == [200, 429, 200]
    assert {http("GET", "/account/info", headers={"x-api-key": "bad"}).status_code for _ in range(3)} == {401}
    assert (refused.headers["retry-after"], refused.json()) == (
        "3",
        {"code": 429, "message": "too many requests", "data": None},
    )
    assert http.sandbox.balance("sandbox") == 9.98
    assert [arrival.status for arrival in http.sandbox.arrivals][:3] == [200, 429, 200]


def test_free_plan_is_refused_uploads(http_with: HttpWith) -> None:
    http: Http = http_with(plan="Free")
    answer = http("POST", "/api/ephemeral_resource", json={"file_name": "a.png", "file_data": "YQ=="})

    assert answer.status_code == 403
    assert answer.json() == contract.document()["components"]["examples"]["upload.plan.403"]["value"]
    assert http("GET", "/account/info").json()["data"]["plan"] == "Free"
