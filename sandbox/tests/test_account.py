"""Account, tasks in hand and history: what was done can be seen, by the key that did it alone."""

from __future__ import annotations

from typing import Any

import pytest

from .local import NOW, PRICE, Clock, Http, HttpWith

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


def test_accounts_have_numbers_of_their_own(http_with: HttpWith) -> None:
    http = http_with(keys={"sandbox": 1.0, "another": 2.0})
    one = http("GET", INFO).json()["data"]
    other = http("GET", INFO, headers={"x-api-key": "another"}).json()["data"]

    assert one["id"] != other["id"]
    assert (one["equivalent_in_usd"], other["equivalent_in_usd"]) == (1.0, 2.0)


def test_active_tasks_are_counted_in_the_groups_that_were_seen(http_with: HttpWith) -> None:
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
    answer = http_with()("GET", HISTORY, params=query)

    assert answer.status_code == 400
    assert words in answer.json()["message"]


def test_history_of_another_key_is_its_own(http_with: HttpWith) -> None:
    http = http_with(any_key=True)
    http.create()
    http.headers = {"x-api-key": "another"}

    assert history(http)["total"] == 0
    assert http("GET", ACTIVE).json()["data"]["flux"]["active_tasks"] == []
