"""Defects that replace a method of a `Sandbox`, because no change of a request or an answer can make them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from unitask_sandbox import Sandbox
from unitask_sandbox.failures import Refusal
from unitask_sandbox.store import Ending
from unitask_sandbox.task import Task


def replaced(holder: str, name: str, make: Callable[[Callable[..., Any]], Any]) -> Callable[[Sandbox], object]:
    def inside(sandbox: Sandbox) -> None:
        owner = getattr(sandbox, holder) if holder else sandbox
        setattr(owner, name, make(getattr(owner, name)))

    return inside


def charging_twice(wanted: Callable[[Task], bool]) -> Callable[[Sandbox], object]:
    def make(accept: Callable[..., Any]) -> Any:
        def accept_twice(task: Task, *args: Any, **limits: Any) -> Any:
            twice = replace(task, frozen=2 * task.frozen, consume=2 * task.consume) if wanted(task) else task
            return accept(twice, *args, **limits)

        return accept_twice

    return replaced("_store", "accept", make)


def keeping_money(status: str) -> Callable[[Sandbox], object]:
    def inside(sandbox: Sandbox) -> None:
        store = sandbox._store
        end = store.end

        def end_and_keep(task_id: str, ending: Ending, *, before: Any) -> bool:
            task = store.task(task_id)
            ended = end(task_id, ending, before=before)
            if ended and task and ending.status == status and (taken := task.frozen + task.consume):
                with store._transaction() as db:
                    values = {"taken": taken, "account": task.account, "task_id": task_id, "at": ending.at}
                    db.execute("UPDATE accounts SET balance = balance - :taken WHERE account = :account", values)
                    db.execute("UPDATE tasks SET consume = :taken WHERE task_id = :task_id", values)
                    entry = "(account, task_id, at, reason, credits) VALUES (:account, :task_id, :at, 'kept', -:taken)"
                    db.execute(f"INSERT INTO ledger {entry}", values)
            return ended

        store.end = end_and_keep  # type: ignore[method-assign]

    return inside


def late_cancel(end: Callable[..., bool]) -> Any:
    ever = {"staged", "pending", "processing", "completed", "failed", "cancelled"}
    return lambda task_id, ending, *, before: end(
        task_id, ending, before=ever if ending.status == "cancelled" else before
    )


def idle_cancel(end: Callable[..., bool]) -> Any:
    return lambda task_id, ending, *, before: ending.status == "cancelled" or end(task_id, ending, before=before)


def idle_cancel_many(cancel: Callable[..., int]) -> Any:
    return lambda key, _before, _model=None: cancel(key, -math.inf)


def open_accounts(sandbox: Sandbox) -> None:
    get = sandbox.get

    def get_of_anybody(key: str | None, task_id: str, protocol: str | None = None) -> Task:
        try:
            return get(key, task_id, protocol)
        except Refusal as refusal:
            task = sandbox._store.task(task_id)
            if refusal.status != 404 or task is None or protocol is not None:
                raise
            return task

    sandbox.get = get_of_anybody  # type: ignore[method-assign]


def active(statuses: set[str]) -> Callable[[Sandbox], object]:
    def make(of_account: Callable[..., Any]) -> Any:
        return lambda account, wanted, before: of_account(account, statuses if "staged" in wanted else wanted, before)

    return replaced("_store", "of_account", make)


def ignoring(*names: str) -> Callable[[Sandbox], object]:
    def make(history: Callable[..., Any]) -> Any:
        return lambda key, **query: history(key, **{name: query[name] for name in query if name not in names})

    return replaced("", "history", make)
