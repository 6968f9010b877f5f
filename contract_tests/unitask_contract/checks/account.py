"""Whose a task is, what it costs, and where it is listed."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from unitask_contract.checks._http import (
    CHAT,
    DRAWING,
    HISTORY,
    OPEN,
    UPLOAD,
    answered,
    cancel,
    create,
    face_swap,
    file,
    history,
    inside_of,
    is_done,
    look,
    rows,
    shown,
    status_of,
    until_done,
)
from unitask_contract.prices import credits_per_usd
from unitask_contract.provider import LeftOut, Provider

SONG = {
    "model": "music-u",
    "task_type": "generate_music",
    "input": {"gpt_description_prompt": "a song", "lyrics_type": "generate"},
}


def check_keys(provider: Provider) -> None:
    """Without a key, and with a wrong one, nothing is done and nothing is shown."""
    requests: tuple[tuple[str, str, Any], ...] = (
        ("POST", "/api/v1/task", face_swap()),
        ("GET", "/api/v1/task/x", None),
        ("DELETE", "/api/v1/task/x", None),
        ("DELETE", "/api/v1/tasks?created_before=1", None),
        ("GET", "/account/info", None),
        ("GET", "/account/active_tasks", None),
        ("GET", HISTORY, None),
        ("POST", UPLOAD, file()),
        ("POST", "/v1/chat/completions", CHAT),
    )
    for key in (None, "wrong"):
        for method, path, body in requests:
            answer = provider.request(method, path, key, json=body)
            assert answer.status_code == 401, f"with {'no' if key is None else 'a wrong'} key: {shown(answer)}"


def check_accounts_are_apart(provider: Provider) -> None:
    """Nobody sees, cancels or lists the task of another key."""
    other, task_id = inside_of(provider).other_key, create(provider)["task_id"]
    for method in ("GET", "DELETE"):
        assert provider.request(method, f"/api/v1/task/{task_id}", other).status_code == 404, method
    assert provider.request("GET", HISTORY, other).json()["data"]["total"] == 0


def check_account(provider: Provider) -> None:
    """The account says what is left, and a task takes its price from it."""
    before = _balance(provider)
    task = until_done(provider, create(provider)["task_id"])
    after = _balance(provider)
    spent = Decimal(str(before)) - Decimal(str(after))  # as written: floats lose the last digits of a large balance
    assert round(spent * credits_per_usd()) == task["meta"]["usage"]["consume"], (before, after, task["meta"])


def check_lack_of_credit(provider: Provider) -> None:
    """A create that the balance does not cover is HTTP 500 with a failed task that says so, and is not done."""
    poor = inside_of(provider).poor_key
    answer = provider.request("POST", "/api/v1/task", poor, json=DRAWING)
    task = answer.json()["data"]
    assert answer.status_code == 500, answer.text
    assert task is not None, answer.text
    assert (task["status"], task["meta"]["usage"]["consume"]) == ("failed", 0), task
    assert "not enough" in task["error"]["raw_message"], task


def check_cancelled_is_paid_back(provider: Provider) -> None:
    """A cancelled task costs nothing: the balance is what it was."""
    before = _balance(provider)
    task_id = create(provider)["task_id"]
    during = _balance(provider)
    cancel(provider, task_id)
    assert during < before, f"{during} after the create, {before} before"
    assert _balance(provider) == before


def check_tasks_in_hand(provider: Provider) -> None:
    """A task is among those in hand until it ends."""
    before = _in_hand(provider)
    task_id = create(provider)["task_id"]
    during = _in_hand(provider)
    listed = task_id in str(during)
    if not listed and provider.inside is None and is_done(look(provider, task_id)):
        raise LeftOut("the task was done before it could be looked for")
    until_done(provider, task_id)
    after = _in_hand(provider)
    assert listed, during
    number = during["pending_count"] + during["processing_count"]
    if provider.inside is None:
        assert number >= 1, during  # tasks of before may have ended meanwhile
    else:
        assert number == before["pending_count"] + 1, during
    assert task_id not in str(after), after


def check_history(provider: Provider) -> None:
    """A task is in the history from its create on, newest first, in the time that it was created in."""
    since = int(time.time()) - 60
    created = [create(provider)["task_id"] for _ in range(3)]
    pages = [rows(provider, page=page, page_size=2, start_time=since) for page in (1, 2)]
    listed: list[str] = [row["task_id"] for page in pages for row in page]
    assert [task_id for task_id in listed if task_id in created] == created[::-1], (listed, created)
    earlier = rows(provider, end_time=since)
    assert not [row for row in earlier if row["task_id"] in created], earlier


def check_pages(provider: Provider) -> None:
    """A page of the history has as many rows as were asked for, and says how many there are in all."""
    before = history(provider, page_size=1)["total"]
    for _ in range(3):
        create(provider)
    page = history(provider, page_size=2)
    assert (len(page["data"]), page["total"]) == (2, before + 3), page


def check_groups(provider: Provider) -> None:
    """The history of a model has its tasks alone."""
    drawing, song = create(provider)["task_id"], create(provider, SONG)["task_id"]
    listed = [row["task_id"] for row in history(provider, model="flux")["data"]]
    assert drawing in listed, listed
    assert song not in listed, listed


def check_rows(provider: Provider) -> None:
    """A row of the history names the model and what the task has cost, and shows that the task has ended."""
    task = until_done(provider, create(provider)["task_id"])
    (row,) = [row for row in history(provider)["data"] if row["task_id"] == task["task_id"]]
    assert row["detail"]["model"] == task["model"], row
    assert status_of(row) not in OPEN, f"the task has ended, and its row says {row['status']}"
    assert row["usage"] == task["meta"]["usage"]["consume"] > 0, row


CHECKS: tuple[Callable[[Provider], None], ...] = (
    check_keys,
    check_accounts_are_apart,
    check_account,
    check_lack_of_credit,
    check_cancelled_is_paid_back,
    check_tasks_in_hand,
    check_history,
    check_pages,
    check_groups,
    check_rows,
)


def _in_hand(provider: Provider) -> dict[str, Any]:
    group: dict[str, Any] = answered(provider, "GET", "/account/active_tasks")["flux"]
    return group


def _balance(provider: Provider) -> float:
    usd: float = answered(provider, "GET", "/account/info")["equivalent_in_usd"]
    return usd
