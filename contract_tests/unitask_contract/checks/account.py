"""Checks of accounts: who sees a task, what it costs, and where it is listed."""

import time
from decimal import Decimal
from typing import Any

from unitask_contract.checks import _http as api
from unitask_contract.prices import credits_per_usd
from unitask_contract.provider import LeftOut, Provider

SONG = {
    "model": "music-u",
    "task_type": "generate_music",
    "input": {"gpt_description_prompt": "a song", "lyrics_type": "generate"},
}


def check_keys(provider: Provider) -> None:
    """Without a key, or with a wrong one, every request is refused, with JSON."""
    requests: tuple[tuple[str, str, Any], ...] = (
        ("POST", api.TASK, api.face_swap()),
        ("GET", f"{api.TASK}/x", None),
        ("DELETE", f"{api.TASK}/x", None),
        ("DELETE", "/api/v1/tasks?created_before=1", None),
        ("GET", "/account/info", None),
        ("GET", "/account/active_tasks", None),
        ("GET", api.HISTORY, None),
        ("POST", api.UPLOAD, api.file()),
        ("POST", "/v1/chat/completions", api.CHAT),
    )
    for key in (None, "wrong"):
        for method, path, body in requests:
            answer = provider.request(method, path, key, json=body)
            assert answer.status_code == 401, f"with {'no' if key is None else 'a wrong'} key: {api.shown(answer)}"
            api.json_of(answer)


def check_accounts_are_apart(provider: Provider) -> None:
    """The task of one key cannot be seen, cancelled or listed with another key."""
    other, task_id = api.inside_of(provider).other_key, api.create(provider)["task_id"]
    for method in ("GET", "DELETE"):
        assert provider.request(method, f"{api.TASK}/{task_id}", other).status_code == 404, method
    assert provider.request("GET", api.HISTORY, other).json()["data"]["total"] == 0


def check_account(provider: Provider) -> None:
    """The balance of the account falls by the price of a task."""
    before = _balance(provider)
    task = api.until_done(provider, api.create(provider)["task_id"])
    after = _balance(provider)
    spent = Decimal(str(before)) - Decimal(str(after))  # floats lose the last digits of a large balance
    assert round(spent * credits_per_usd()) == task["meta"]["usage"]["consume"], (before, after, task["meta"])


def check_lack_of_credit(provider: Provider) -> None:
    """A submission that the balance does not cover is HTTP 500 with a failed task that gives the reason."""
    poor = api.inside_of(provider).poor_key
    answer = provider.request("POST", api.TASK, poor, json=api.DRAWING)
    task = answer.json()["data"]
    assert answer.status_code == 500, answer.text
    assert task is not None, answer.text
    assert (task["status"], task["meta"]["usage"]["consume"]) == ("failed", 0), task
    assert "not enough" in task["error"]["raw_message"], task


def check_cancelled_is_paid_back(provider: Provider) -> None:
    """A cancelled task costs nothing: the balance is restored."""
    before = _balance(provider)
    task_id = api.create(provider)["task_id"]
    during = _balance(provider)
    api.cancel(provider, task_id)
    assert during < before, f"{during} after the submission, {before} before"
    assert _balance(provider) == before


def check_active_tasks(provider: Provider) -> None:
    """A task is among the active tasks until it ends."""
    before = _active(provider)
    task_id = api.create(provider)["task_id"]
    during = _active(provider)
    is_listed = task_id in str(during)
    if not is_listed and provider.inside is None and api.is_done(api.poll(provider, task_id)):
        raise LeftOut("the task ended before the active tasks were listed")
    api.until_done(provider, task_id)
    after = _active(provider)
    assert is_listed, during
    number = during["pending_count"] + during["processing_count"]
    if provider.inside is None:
        assert number >= 1, during  # earlier tasks may have ended meanwhile
    else:
        assert number == before["pending_count"] + 1, during
    assert task_id not in str(after), after


def check_history(provider: Provider) -> None:
    """A task is in the history from its submission on, newest first, and found by its time."""
    since = int(time.time()) - 60
    created = [api.create(provider)["task_id"] for _ in range(3)]
    pages = [api.rows(provider, page=page, page_size=2, start_time=since) for page in (1, 2)]
    listed: list[str] = [row["task_id"] for page in pages for row in page]
    assert [task_id for task_id in listed if task_id in created] == created[::-1], (listed, created)
    earlier = api.rows(provider, end_time=since)
    assert not [row for row in earlier if row["task_id"] in created], earlier


def check_pages(provider: Provider) -> None:
    """A page of the history has as many rows as requested, and the total number."""
    before = api.history(provider, page_size=1)["total"]
    for _ in range(3):
        api.create(provider)
    page = api.history(provider, page_size=2)
    assert (len(page["data"]), page["total"]) == (2, before + 3), page


def check_groups(provider: Provider) -> None:
    """The history of a model has only its tasks."""
    drawing, song = api.create(provider)["task_id"], api.create(provider, SONG)["task_id"]
    listed = [row["task_id"] for row in api.history(provider, model="flux")["data"]]
    assert drawing in listed, listed
    assert song not in listed, listed


def check_rows(provider: Provider) -> None:
    """A row of the history has the model and the price of the task, and shows that it has ended."""
    task = api.until_done(provider, api.create(provider)["task_id"])
    (row,) = [row for row in api.history(provider)["data"] if row["task_id"] == task["task_id"]]
    assert row["detail"]["model"] == task["model"], row
    api.require_ended_row(provider, row)
    assert row["usage"] == task["meta"]["usage"]["consume"] > 0, row


def _active(provider: Provider) -> dict[str, Any]:
    group: dict[str, Any] = api.data_of(provider, "GET", "/account/active_tasks")["flux"]
    return group


def _balance(provider: Provider) -> float:
    usd: float = api.data_of(provider, "GET", "/account/info")["equivalent_in_usd"]
    return usd
