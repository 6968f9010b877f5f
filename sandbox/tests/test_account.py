"""Account, tasks in hand and history: what was done can be seen, by the key that did it alone."""

from __future__ import annotations

from typing import Any

import pytest

from .local import NOW, PRICE, Clock, Http, HttpWith, face_swap

INFO, ACTIVE, HISTORY = "/account/info", "/account/active_tasks", "/api/open/tasks/histories"


def simulated(model: str, task_type: str, **given: Any) -> dict[str, Any]:
    return {"model": model, "task_type": task_type, "input": given}


FLUX = simulated("Qubico/flux1-dev", "txt2img", prompt="a cat")
SONG = simulated("music-u", "generate_music", gpt_description_prompt="a song", lyrics_type="instrumental")


def create(http: Http, body: dict[str, Any]) -> str:
    answer = http("POST", "/api/v1/task", json=body)
    assert answer.status_code == 200, answer.text
    task_id: str = answer.json()["data"]["task_id"]
    return task_id


def history(http: Http, **query: object) -> dict[str, Any]:
    answer = http("GET", HISTORY, params=query)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()["data"]
    return page


def ids(page: dict[str, Any]) -> list[str]:
    return [row["task_id"] for row in page["data"]]


def test_account_shows_balance_and_key(http_with: HttpWith) -> None:
    """The answer holds what is left in USD, and the key in clear, as the live one does."""
    http = http_with()
    http.create()
    account = http("GET", INFO).json()["data"]

    assert account["equivalent_in_usd"] == 9.99
    assert account["api_key"] == "sandbox"
    assert account["wallet"]["llm_remain"] == account["credit_pack_info"]["available_credits"] == 99_900_000
    assert account["wallet"]["llm_used"] == PRICE


def test_accounts_have_numbers_of_their_own(http_with: HttpWith) -> None:
    """Two keys are two accounts, with two numbers and two balances."""
    http = http_with(keys={"sandbox": 1.0, "another": 2.0})
    one = http("GET", INFO).json()["data"]
    other = http("GET", INFO, headers={"x-api-key": "another"}).json()["data"]

    assert one["id"] != other["id"]
    assert (one["equivalent_in_usd"], other["equivalent_in_usd"]) == (1.0, 2.0)


def test_active_tasks_are_counted_in_the_groups_that_were_seen(http_with: HttpWith) -> None:
    """Six groups are always there; tasks of others, and tasks that have ended, are in none."""
    http = http_with(speed="real")
    http.create()
    flux, song = create(http, FLUX), create(http, SONG)
    http.sandbox._store.start(flux, NOW)
    before = http("GET", ACTIVE).json()["data"]
    http("DELETE", f"/api/v1/task/{song}")
    after = http("GET", ACTIVE).json()["data"]

    assert list(before) == ["flux", "kling", "luma", "midjourney", "music-s", "music-u"]
    assert before["flux"] == {
        "staged_count": 0,
        "pending_count": 0,
        "processing_count": 1,
        "active_tasks": [{"task_id": flux, "status": "processing"}],
    }
    assert (before["music-u"]["pending_count"], after["music-u"]["pending_count"]) == (1, 0)
    assert sum(len(group["active_tasks"]) for group in before.values()) == 2


def test_history_row_says_what_became_of_a_task(http_with: HttpWith, clock: Clock) -> None:
    """A completed task is "finished" here; the row has its group, price and times."""
    http = http_with()
    task_id = http.create(config={"service_mode": "public"})
    clock.now += 2
    http.sandbox.advance()
    page = history(http)

    assert (page["page"], page["size"], page["total"]) == (1, 10, 1)
    assert page["data"] == [
        {
            "id": 1,
            "account_id": 1,
            "api_key_id": 1,
            "task_id": task_id,
            "task_model": "image_toolkit",
            "status": "finished",
            "service_mode": "public",
            "usage": PRICE,
            "usage_type": "llm",
            "action": "face-swap",
            "detail": {"model": "Qubico/image-toolkit", "task_id": task_id, "workflow_type": "face-swap"},
            "fixed": False,
            "created_at": "2027-01-15T08:00:00.250000Z",
            "updated_at": "2027-01-15T08:00:02.250000Z",
            "deleted_at": None,
        }
    ]


def test_history_comes_newest_first_page_by_page(http_with: HttpWith, clock: Clock) -> None:
    """Pages do not overlap and miss nothing, also when tasks were created at the same moment."""
    http = http_with()
    tasks = []
    for number in range(5):
        clock.now += number // 3
        tasks.append(http.create())
    pages = [history(http, page=number, page_size=2) for number in (1, 2, 3, 4)]

    assert [task_id for page in pages for task_id in ids(page)] == tasks[::-1]
    assert [(page["page"], page["size"], page["total"]) for page in pages] == [(n, 2, 5) for n in (1, 2, 3, 4)]
    assert history(http, page=2**62, page_size=100)["data"] == []


def test_history_is_of_a_time(http_with: HttpWith, clock: Clock) -> None:
    """Both ends of the window belong to it."""
    http = http_with()
    clock.now = 1_800_000_000.0
    first = http.create()
    clock.now += 10
    second = http.create()

    assert ids(history(http, start_time=1_800_000_000, end_time=1_800_000_010)) == [second, first]
    assert ids(history(http, start_time=1_800_000_001)) == [second]
    assert ids(history(http, end_time=1_800_000_009)) == [first]
    assert ids(history(http, start_time=1_800_000_001, end_time=1_800_000_009)) == []


@pytest.mark.parametrize(
    ("group", "found"),
    [("image_toolkit", "swap"), ("flux", "flux"), ("music-u", "song"), ("kling", None), ("Qubico/flux1-dev", None)],
)
def test_history_is_of_a_group(http_with: HttpWith, group: str, found: str | None) -> None:
    """The filter is the group that rows show, not the model."""
    http = http_with()
    tasks = {"swap": http.create(), "flux": create(http, FLUX), "song": create(http, SONG)}
    page = history(http, model=group)

    assert ids(page) == ([tasks[found]] if found else [])
    assert {row["task_model"] for row in page["data"]} <= {group}


def test_history_shows_a_create_that_was_not_paid(http_with: HttpWith) -> None:
    """The failed task of a refused create is in the history, and cost nothing."""
    http = http_with(keys={"sandbox": 0.0})
    task_id = http("POST", "/api/v1/task", json=face_swap()).json()["data"]["task_id"]
    (row,) = history(http)["data"]

    assert (row["task_id"], row["status"], row["usage"]) == (task_id, "failed", 0)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"page_size": 101}, "page_size does not meet maximum 100"),
        ({"page_size": 0}, "page_size does not meet minimum 1"),
        ({"page": 0}, "page does not meet minimum 1"),
        ({"page": "last"}, "page must be of type integer"),
        ({"start_time": "yesterday"}, "start_time must be of type integer"),
        ({"end_time": -1}, "end_time does not meet minimum 0"),
    ],
)
def test_history_refuses_a_wrong_query(http_with: HttpWith, query: dict[str, Any], words: str) -> None:
    """More than 100 rows a page, and what is no number, is a 400 that says so."""
    answer = http_with()("GET", HISTORY, params=query)

    assert answer.status_code == 400
    assert words in answer.json()["message"]


def test_history_of_another_key_is_its_own(http_with: HttpWith) -> None:
    """What a key did, only that key sees."""
    http = http_with(any_key=True)
    http.create()
    http.headers = {"x-api-key": "another"}

    assert history(http)["total"] == 0
    assert http("GET", ACTIVE).json()["data"]["flux"]["active_tasks"] == []


@pytest.mark.parametrize("path", [INFO, ACTIVE, HISTORY])
@pytest.mark.parametrize("headers", [{}, {"x-api-key": "unknown"}, {"authorization": "Bearer sandbox"}])
def test_bad_key_sees_no_account(http_with: HttpWith, path: str, headers: dict[str, str]) -> None:
    """Without a known key in x-api-key nothing is shown."""
    answer = http_with()("GET", path, headers=headers)

    assert answer.status_code == 401
    assert answer.json() == {"code": 401, "message": "failed to verify api key", "data": None}
