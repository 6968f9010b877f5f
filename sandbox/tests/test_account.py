"""Account, tasks in hand and history: what was done can be seen, by the key that did it alone."""

from typing import Any

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


def test_history_row_says_what_became_of_a_task(http: Http, clock: Clock) -> None:
    task_id = http.create(config={"service_mode": "public"})
    clock.now += 2
    http.sandbox.advance()
    page = history(http)
    assert history(http, page=2**62, page_size=100)["data"] == []

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


def test_history_is_of_a_time_both_ends_included(http: Http, clock: Clock) -> None:
    tasks = []
    for clock.now in (1_800_000_000.0, 1_800_000_010.0):
        tasks.append(http.create())
    query = ((0, 10, [1, 0]), (1, 10, [1]), (0, 9, [0]), (1, 9, []))
    for start, end, found in query:
        rows = history(http, start_time=1_800_000_000 + start, end_time=1_800_000_000 + end)["data"]
        assert [row["task_id"] for row in rows] == [tasks[number] for number in found]
