"""The life of tasks as a user has it: answers are lost, the provider stops, the user's program begins anew.

A state machine plays it with either client over the sandbox in-process, on a clock of its own, and holds after every
step what the user was told against the provider's records. Rules of this file: the user's program keeps ids, tokens and
pickled errors, nothing else; every promise is an `assert` with its words, so that a broken one is known by them.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import os
import pickle
import tempfile
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any
from unittest.mock import patch

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from unitask import AsyncClient, Client, Outcome, Task, errors
from unitask._core.retry_policy import RetryPolicy
from unitask.webhooks import TaskNotification
from unitask_sandbox import Fault
from unitask_sandbox.bundle import CREDITS_PER_USD
from unitask_sandbox.engines import ENGINES

from . import BASE_URL, KEY, SHELLS, rows
from .restartable_provider import (
    CALL,
    LATE_HISTORY,
    OPEN,
    PASSING,
    QUICK,
    RANK,
    SAID,
    START,
    TASKS,
    UNCONNECTED,
    WELL,
    LastingWorld,
    Line,
)
from .simulated_network import WEBHOOK, InstantReceiver

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # where there is one, no disk is waited for


@dataclass
class Order:
    """One call that was to make a task.

    Attributes:
        made: The id of the task that the provider made of it; None if it made none.
        marked: Whether it had a webhook.
        told: The id that the user knows.
        uncertain: What the user knows instead.
    """

    made: str | None
    marked: bool
    told: str | None = None
    uncertain: errors.SubmissionUncertain | None = None


@dataclass
class Memory:
    """What the user's program has written down, which a new one of it still has."""

    orders: list[Order] = field(default_factory=list)
    handles: dict[str, str] = field(default_factory=dict)  # ids and tokens, to ids
    seen: dict[str, str] = field(default_factory=dict)  # the status word that was last told of a task
    heard: list[Task[Any]] = field(default_factory=list)  # notifications


def _what_happens(otherwise: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.runner().flatmap(lambda machine: st.sampled_from(machine.happens) if machine.happens else otherwise)


ANY_TROUBLE = st.just(WELL) | st.sampled_from(PASSING)
FATES = _what_happens(st.just(WELL) | st.sampled_from([*OPEN]) | st.sampled_from([UNCONNECTED, *SAID]))
TROUBLES, TROUBLES_OF_A_SEARCH = _what_happens(ANY_TROUBLE), _what_happens(ANY_TROUBLE | st.just(LATE_HISTORY))
CREATE: Mapping[str, st.SearchStrategy[Any]] = {
    "call": st.sampled_from(["submit", "submit", "run"]),
    "task": st.sampled_from(TASKS),
    "webhook": st.sampled_from(["none", "none", "arrives", "lose", "repeat"]),
    "fate": FATES,
    "kept": st.sampled_from(["id", "token"]),
    "haste": st.none() | TROUBLES_OF_A_SEARCH,
}
handles = st.runner().flatmap(lambda machine: st.sampled_from(list(machine.memory.handles)))
open_orders = st.runner().flatmap(lambda machine: st.sampled_from(machine.open_orders()))
knows_a_task = precondition(lambda machine: machine.memory.handles)
is_up = precondition(lambda machine: machine.world.is_up)


class LifeCycle(RuleBasedStateMachine):
    """A user with one account, and a provider."""

    settings: Mapping[str, Any] = MappingProxyType({})  # of the provider, that are to be other
    happens: tuple[str, ...] = ()  # to requests, and nothing else; empty for anything

    def __init__(self) -> None:
        super().__init__()
        self.open = ExitStack()
        numbers = itertools.count(1)
        ids = SimpleNamespace(uuid4=lambda: uuid.UUID(int=next(numbers), version=4))  # how long it takes hangs on them
        self.open.enter_context(patch("unitask_sandbox.create_request.uuid", ids))
        self.open.enter_context(patch.dict(ENGINES, QUICK))
        folder = self.open.enter_context(tempfile.TemporaryDirectory(prefix="unitask-life-", dir=MEMORY))
        self.world = LastingWorld(Path(folder), self.open.enter_context(asyncio.Runner()), **self.settings)
        self.memory = Memory()
        self.has_acted = False  # since the program began

    def teardown(self) -> None:
        if self.world.is_up:
            self.world.sandbox.close()
        self.open.close()

    @initialize(shell=st.sampled_from(SHELLS), behind=st.sampled_from([0.0, 120.0, -120.0]), **CREATE)
    def begin(self, shell: str, behind: float, **create: Any) -> None:
        self.world.behind = behind
        self.world.start()
        self.forget(shell)
        self.create(**create)

    # What the user does.

    @precondition(lambda machine: machine.has_acted)
    @rule(shell=st.sampled_from(SHELLS))
    def forget(self, shell: str) -> None:
        self.world.receiver = InstantReceiver(self.world, self._hear)
        settings: dict[str, Any] = {"transport": Line(self.world), "clock": self.world.clock, "http_timeout": CALL}
        settings["webhooks"] = self.world.receiver
        self.client: Any = (
            Client(KEY, BASE_URL, sleep=self.world.sleep, **settings)
            if shell == "sync"
            else AsyncClient(KEY, BASE_URL, sleep=self.world.sleep_async, **settings)
        )
        self.client._retry_policy = RetryPolicy(lambda: 0.5)
        self.memory = replace(pickle.loads(pickle.dumps(self.memory)), heard=[])
        if self.world.is_up:
            self._take_stock()
        self.has_acted = False

    @rule(**CREATE)
    def create(self, call: str, task: Any, webhook: Any, fate: str, kept: str, haste: str | None) -> None:
        """A task is wanted; with haste it is cancelled at once, or looked for if it is not certain that there is one.

        Args:
            call: Which call of the client.
            task: What to make.
            webhook: "none", or what happens to its notification.
            fate: What happens to the create.
            kept: What is written down of the task.
            haste: What happens to the request after it; None: there is none.
        """
        self.world.order("create_task", fate)
        if webhook in ("lose", "repeat") and self.world.is_up:
            self.world.sandbox.fault(Fault("send_webhook", webhook, task="next"))
        before, arrived = set(self.world.records()), len(self.world.creates())
        more: dict[str, Any] = {"timeout": 20, "on_change": self._saw} if call == "run" else {}
        told = self._call(call, task, **more, **({} if webhook == "none" else WEBHOOK))
        made = [task_id for task_id in self.world.records() if task_id not in before]
        answered = self.world.creates()[arrived:]

        assert len(made) <= 1, "a call makes one task at most"
        assert all(status == 429 for status in answered[:-1]), "what may have been accepted is not sent again"
        order = Order(made[0] if made else None, marked=webhook != "none")
        self.memory.orders.append(order)
        if isinstance(told, errors.SubmissionUncertain):
            assert fate in OPEN, "what is certain is told"
            order.uncertain = told
            if haste:
                self.find(order=order, timeout=None, operation="list_task_history", trouble=haste)
            return
        order.told = told.task_id if isinstance(told, errors.UnitaskError) else told.id
        assert order.told == order.made, "the task that was made is named"
        if order.told is not None:
            self.memory.handles[told.token if kept == "token" and isinstance(told, Task) else order.told] = order.told
        if isinstance(told, errors.ApiError | errors.Unreachable):
            assert not made or self.world.record(order.made).usage_type == "", "what is told to be refused is not paid"
        else:
            self._ended(told, order.told, waited=call == "run")
            if haste and call == "submit":
                self.cancel(handle=list(self.memory.handles)[-1], trouble=haste)

    @knows_a_task
    @rule(handle=handles, trouble=TROUBLES)
    def look(self, handle: str, trouble: str) -> None:
        is_down = not self.world.is_up
        self.world.order("get_task", trouble)
        task_id, told = self.memory.handles[handle], self._call("get", handle)
        if isinstance(told, errors.UnitaskError):
            assert told.task_id == task_id, "an error names its task"
            assert is_down, "a trouble that passes is borne"
            assert isinstance(told, errors.Unreachable), "nobody answered"
        else:
            self._saw(told)
            assert (told.id, told.status) == (task_id, self.world.record(task_id).status), "a look tells how it is"

    @knows_a_task
    @rule(handle=handles, timeout=st.sampled_from([0, 2, 30, 300]), trouble=TROUBLES)
    def wait(self, handle: str, timeout: float, trouble: str) -> None:
        is_down = not self.world.is_up
        self.world.order("get_task", trouble)
        told = self._call("wait", handle, timeout=timeout, on_change=self._saw)
        assert is_down or not isinstance(told, errors.Unreachable | errors.ApiError), "a trouble that passes is borne"
        self._ended(told, self.memory.handles[handle], waited=True)

    @knows_a_task
    @rule(handle=handles, trouble=TROUBLES)
    def cancel(self, handle: str, trouble: str) -> None:
        task_id, is_down = self.memory.handles[handle], not self.world.is_up
        before = self.world.record(task_id).status
        self.world.order("cancel_task", trouble)
        told = self._call("cancel", handle)
        after = self.world.record(task_id).status
        if told is None:
            assert after == "cancelled", "what is told to be cancelled is"
            return
        assert told.task_id == task_id, "an error names its task"
        if isinstance(told, errors.InvalidRequest):
            assert after != "pending", "a pending task can be cancelled"
            assert before == after or after != "cancelled", "what was cancelled is told"
            assert before != "pending" or is_down or trouble != WELL, "a pending task can be cancelled"
        else:
            assert is_down, "a trouble that passes is borne"
            assert isinstance(told, errors.Unreachable), "nobody answered"

    @is_up
    @knows_a_task
    @rule(back=st.sampled_from([0, 30]))
    def cancel_many(self, back: int) -> None:
        self.world.sleep(0)
        until = int(self.world.now - self.world.behind) - back
        before = self.world.records()
        assert self._call("cancel_many", created_before=until) is None
        for task_id, task in self.world.records().items():
            is_meant = before[task_id].status == "pending" and task.created_at < until
            status = "cancelled" if is_meant else before[task_id].status
            assert task.status == status, "those of before are cancelled, and no other"

    @precondition(lambda machine: machine.open_orders())
    @rule(
        order=open_orders,
        timeout=st.sampled_from([0, 25, None]),
        operation=st.sampled_from(["list_task_history", "get_task"]),
        trouble=TROUBLES_OF_A_SEARCH,
    )
    def find(self, order: Order, timeout: float | None, operation: str, trouble: str) -> None:
        assert order.uncertain
        is_down, is_fresh = not self.world.is_up, self.world.now < order.uncertain.sent_between[1].timestamp() + 30
        self.world.order(operation, trouble)
        if trouble == LATE_HISTORY and is_fresh and not is_down:
            self.world.sandbox.fault(Fault("list_task_history", "edit", changes={"data.data": [], "data.total": 0}))
        told = self._call("find", order.uncertain, timeout=timeout)
        if not is_down:
            self.world.sandbox.clear_faults()  # a history without candidates has no looks
        if told.outcome is Outcome.ABSENT:
            assert order.made is None, "no task is called absent that exists"
        elif told.outcome is Outcome.FOUND:
            assert told.task.id == order.made, "what is found is the one"
            self._saw(told.task)
            order.told = order.made
            self.memory.handles[order.told] = order.told
        elif trouble == WELL and not is_down:
            candidates = [task.id for task in told.candidates]
            assert order.made is None or order.made in candidates, "what may be it is shown"
            assert order.made is None or not order.marked, "what has a mark is found"

    # What else happens.

    @rule(seconds=st.sampled_from([0.5, 2, 30, 300]))
    def pass_time(self, seconds: float) -> None:
        self.world.sleep(seconds)

    @is_up
    @rule(seconds=st.sampled_from([0, 2, 90]))
    def restart_provider(self, seconds: float) -> None:
        self.world.stop(seconds)

    # What holds after every step.

    @invariant()
    def money_adds_up(self) -> None:
        if not self.world.is_up:
            return
        records, purse = self.world.records(), self.world.purse()
        frozen = sum(task.frozen for task in records.values() if RANK[task.status] < 2)
        taken = sum(task.consume for task in records.values())
        assert purse.balance + frozen + taken == START, "the balance is what was not taken"
        assert purse.balance == START + self.world.moved(), "the ledger tells every movement"
        lost = [task for task in records.values() if task.status in ("failed", "cancelled") and task.consume]
        assert not lost, "what was not made is paid back"

    @invariant()
    def every_task_is_known(self) -> None:
        known = {order.told or (order.uncertain and order.made) for order in self.memory.orders}
        assert not self.world.records().keys() - known, "every task is known to the user"

    @invariant()
    def news_is_true(self) -> None:
        ended = [(task.id, task.status) for task in self.memory.heard]
        for task in self.memory.heard:
            self._saw(task)
            assert task.done, "an end is told"
        assert len(ended) == len(set(ended)), "it is told once"

    # How it is held.

    def open_orders(self) -> list[Order]:
        return [order for order in self.memory.orders if order.uncertain and not order.told]

    def _call(self, name: str, *arguments: Any, **options: Any) -> Any:
        arrived = len(self.world.creates())
        try:
            result = getattr(self.client, name)(*arguments, **options)
            result = rows(result) if name == "history" else result
            result = self.world.loop.run(result) if inspect.iscoroutine(result) else result
        except errors.UnitaskError as error:
            result = error
        if isinstance(result, errors.UnitaskError):
            copied = pickle.loads(pickle.dumps(result))
            assert (type(copied), vars(copied)) == (type(result), vars(result)), "an error survives pickle"
        self.has_acted = True
        self.world.unconnected = 0
        assert name in ("submit", "run") or len(self.world.creates()) == arrived, "nothing else creates a task"
        return result

    def _take_stock(self) -> None:
        account, history = self._call("account"), self._call("history")
        assert round(account.balance_usd * CREDITS_PER_USD) == self.world.purse().balance, "the balance is told"
        told = {row.task_id: row.raw["usage"] for row in history}
        assert told == {task_id: task.consume for task_id, task in self.world.records().items()}, "the bills are told"

    def _ended(self, told: Any, task_id: str | None, *, waited: bool) -> None:
        if isinstance(told, Task):
            assert told.id == task_id, "it is the task that was asked for"
            assert not waited or told.state == "completed", "a wait returns what is completed"
            self._saw(told)
            return
        assert told.task_id == task_id, "an error names its task"
        assert not isinstance(told, errors.NotFound), "a task that exists is found"
        if isinstance(told, errors.TaskFailed):
            assert told.task.state in ("failed", "cancelled"), "what is told to have failed has"
        if isinstance(told, errors.TaskFailed | errors.WaitTimeout) and told.task is not None:
            self._saw(told.task)

    def _saw(self, task: Task[Any]) -> None:
        record, said = self.world.record(task.id), str(task.status)
        before = self.memory.seen.get(task.id, "pending")
        assert RANK[before] <= RANK[said] <= RANK[record.status], "a status goes one way, and the provider goes ahead"
        if task.done:
            assert said == record.status, "an end stays"
            assert task.raw["meta"]["usage"]["consume"] == record.consume, "the bill is told"
        self.memory.seen[task.id] = said

    async def _hear(self, notification: object) -> None:
        assert isinstance(notification, TaskNotification)
        self.memory.heard.append(notification.task)
