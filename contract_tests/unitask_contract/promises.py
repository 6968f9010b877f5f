"""More promises of a provider, one a check, over plain HTTP like those in checks.py.

What needs another account, the provider's clock or its webhooks is held in-process alone, and left out elsewhere; so
is cancelling many, which would reach tasks that are not ours.
"""

from __future__ import annotations

import base64
import copy
import time
from collections.abc import Callable
from typing import Any

from .checks import DRAWING, HISTORY, cancel
from .provider import Inside, LeftOut, Provider, answered, look, until_done

SONG = {
    "model": "music-u",
    "task_type": "generate_music",
    "input": {"gpt_description_prompt": "a song", "lyrics_type": "generate"},
}
ENDPOINT, SECRET = "https://me.test/hook", "the secret of the creates"
IMAGE = {"model": "gpt-image-1", "prompt": "a fox"}
PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF")


def check_echo(provider: Provider) -> None:
    """A create and each look show the same task, with the model, the task type and the config that were sent."""
    created = _created(provider)
    for task in (created, look(provider, created["task_id"])):
        assert task["task_id"] == created["task_id"], task
        assert (task["model"], task["task_type"]) == (DRAWING["model"], DRAWING["task_type"]), task
        assert task["config"]["webhook_config"]["endpoint"] == ENDPOINT, task


def check_end(provider: Provider) -> None:
    """A completed task has no error, and each address in its output leads to a file."""
    task = until_done(provider, _created(provider)["task_id"])
    urls = [value for value in task["output"].values() if str(value).startswith("http")]
    assert (task["status"], task["error"]["code"]) == ("completed", 0), task
    assert urls, task
    for url in urls:
        assert provider.http.get(url).status_code == 200, url


def check_refusals(provider: Provider) -> None:
    """A refusal repeats its HTTP status as code, and says in words what is wrong."""
    answers = [provider.request("POST", "/api/v1/task", json={}), provider.request("GET", "/api/v1/task/no-such-task")]
    for answer in answers:
        body = answer.json()
        assert body["code"] == answer.status_code, body
        assert body["message"].strip(), body


def check_accounts_are_apart(provider: Provider) -> None:
    """Nobody sees, cancels or lists the task of another key."""
    other, task_id = _inside(provider).other_key, _created(provider)["task_id"]
    for method in ("GET", "DELETE"):
        assert provider.request(method, f"/api/v1/task/{task_id}", other).status_code == 404, method
    assert provider.request("GET", HISTORY, other).json()["data"]["total"] == 0


def check_lack_of_credit(provider: Provider) -> None:
    """A create that the balance does not cover is HTTP 500 with a failed task that says so, and is not done."""
    poor = _inside(provider).poor_key
    answer = provider.request("POST", "/api/v1/task", poor, json=DRAWING)
    task = answer.json()["data"]
    assert answer.status_code == 500, answer.text
    assert task is not None, answer.text
    assert (task["status"], task["meta"]["usage"]["consume"]) == ("failed", 0), task
    assert "not enough" in task["error"]["raw_message"], task


def check_cancelled_is_paid_back(provider: Provider) -> None:
    """A cancelled task costs nothing: the balance is what it was."""
    before = _balance(provider)
    task_id = _created(provider)["task_id"]
    during = _balance(provider)
    cancel(provider, task_id)
    assert during < before, f"{during} after the create, {before} before"
    assert _balance(provider) == before


def check_cancel_many(provider: Provider) -> None:
    """Cancelling many ends pending tasks of the model that were created before the time, and no others."""
    _inside(provider)  # elsewhere there may be tasks that are not ours
    task_id, now = _created(provider)["task_id"], int(time.time())
    for query, status in (
        ({"created_before": now - 3600, "model": "all"}, "pending"),
        ({"created_before": now + 3600, "model": "kling"}, "pending"),
        ({"created_before": now + 3600, "model": "all"}, "cancelled"),
    ):
        assert provider.request("DELETE", "/api/v1/tasks", params=query).status_code == 200, query
        assert look(provider, task_id)["status"] == status, query


def check_pages(provider: Provider) -> None:
    """A page of the history has as many rows as were asked for, and says how many there are in all."""
    before = _page(provider, page_size=1)["total"]
    for _ in range(3):
        _created(provider)
    page = _page(provider, page_size=2)
    assert (len(page["data"]), page["total"]) == (2, before + 3), page


def check_groups(provider: Provider) -> None:
    """The history of a model has its tasks alone."""
    drawing, song = _created(provider)["task_id"], _created(provider, SONG)["task_id"]
    listed = [row["task_id"] for row in _page(provider, model="flux")["data"]]
    assert drawing in listed, listed
    assert song not in listed, listed


def check_rows(provider: Provider) -> None:
    """A row of the history names the model, and what the task has cost."""
    task = until_done(provider, _created(provider)["task_id"])
    (row,) = [row for row in _page(provider)["data"] if row["task_id"] == task["task_id"]]
    assert row["detail"]["model"] == task["model"], row
    assert row["usage"] == task["meta"]["usage"]["consume"] > 0, row


def check_tasks_in_hand(provider: Provider) -> None:
    """A task is among those in hand until it ends."""
    before = _in_hand(provider)
    task_id = _created(provider)["task_id"]
    during = _in_hand(provider)
    until_done(provider, task_id)
    after = _in_hand(provider)
    assert during["pending_count"] + during["processing_count"] == before["pending_count"] + 1, during
    assert task_id in str(during), during
    assert task_id not in str(after), after


def check_images(provider: Provider) -> None:
    """An image request is answered with a picture."""
    answer = provider.request("POST", "/v1/images/generations", json=IMAGE).json()
    assert answer["data"], answer
    assert base64.b64decode(answer["data"][0]["b64_json"]).startswith(PICTURES), answer


def check_webhook(provider: Provider) -> None:
    """The endpoint is told of the end once, as {timestamp, data}, with the secret, and data as a look shows it."""
    inside = _inside(provider)
    task_id = _created(provider)["task_id"]
    for _ in range(4):
        provider.advance(0)
        inside.later += 60
    told = inside.told_of(task_id)
    assert len(told) == 1, told
    ((headers, body),) = told
    seen = look(provider, task_id)
    assert body.keys() == {"timestamp", "data"}, body
    assert (body["data"]["status"], body["data"]["output"]) == (seen["status"], seen["output"]), body
    assert headers.get("x-webhook-secret") == SECRET, headers


def check_webhook_that_is_not_taken(provider: Provider) -> None:
    """It is sent again after some seconds, three times in all."""
    inside = _inside(provider)
    inside.answers = [500] * 9
    task_id = _created(provider)["task_id"]
    for _ in range(9):
        provider.advance(0)
        inside.later += 5
    told = inside.told_of(task_id)
    inside.answers.clear()
    assert len(told) == 3, told


CHECKS: tuple[Callable[[Provider], None], ...] = (
    check_echo,
    check_end,
    check_refusals,
    check_accounts_are_apart,
    check_lack_of_credit,
    check_cancelled_is_paid_back,
    check_cancel_many,
    check_pages,
    check_groups,
    check_rows,
    check_tasks_in_hand,
    check_images,
    check_webhook,
    check_webhook_that_is_not_taken,
)


def _inside(provider: Provider) -> Inside:
    if provider.inside is None:
        raise LeftOut("it is held in-process alone")
    return provider.inside


def _created(provider: Provider, body: dict[str, Any] = DRAWING) -> dict[str, Any]:
    webhook = {"webhook_config": {"endpoint": ENDPOINT, "secret": SECRET}}
    return answered(provider, "POST", "/api/v1/task", json={**copy.deepcopy(body), "config": webhook})


def _page(provider: Provider, **query: Any) -> dict[str, Any]:
    return answered(provider, "GET", HISTORY, params=query)


def _in_hand(provider: Provider) -> dict[str, Any]:
    group: dict[str, Any] = answered(provider, "GET", "/account/active_tasks")["flux"]
    return group


def _balance(provider: Provider) -> float:
    usd: float = answered(provider, "GET", "/account/info")["equivalent_in_usd"]
    return usd
