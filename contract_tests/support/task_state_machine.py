"""A state machine of the life of tasks: answers are lost, the provider restarts, and so does the user's program.

It plays either client over the sandbox in-process, on a clock of its own, and compares after every step what the user
learns with the provider's records. The user's program keeps ids, tokens and pickled errors, nothing else. Every
promise is an `assert` with its words, so that tests can tell them apart.
"""

import asyncio
import hashlib
import inspect
import math
import os
import pickle
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from unitask import AsyncClient, Client, Outcome, Task, errors, tasks
from unitask._core.retry import RetryPolicy
from unitask_contract.checks._http import BLANK
from unitask_sandbox import Fault, Settings, create_app
from unitask_sandbox.bundle import CREDITS_PER_USD
from unitask_sandbox.engines import ENGINES, EngineResult

from . import BASE_URL, FACE_SWAP, KEY, SHELLS, rows
from .simulated_network import WEBHOOK, Wire, World, quick_swap

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # a file system without a disk
ACCOUNT = hashlib.sha256(KEY.encode()).hexdigest()
START = 1_200_000  # credits: two songs and two swaps, or twelve swaps
CALL = 10.0  # seconds that one HTTP call may take
RANK = {"pending": 0, "processing": 1, "completed": 2, "failed": 2, "cancelled": 2}
GONE = "https://me.test/gone.jpg"
TASKS: tuple[Any, ...] = (
    FACE_SWAP,
    tasks.FaceSwap(target_image=GONE, swap_image=GONE),  # is accepted, and fails
    tasks.UdioMusic(lyrics_type="instrumental", gpt_description_prompt="a song"),  # is paid when it is completed
)
QUICK = {
    ("Qubico/image-toolkit", "face-swap"): quick_swap,
    ("music-u", "generate_music"): lambda _given: EngineResult({}),
}


def refused(operation: str, status: int, times: int = 1) -> Fault:
    return Fault(operation, "refuse", status, b'{"code": %d, "message": "no"}' % status, times=times)


PAGE: tuple[bytes, dict[str, str]] = (b"<html></html>", {"content-type": "text/html"})
# Troubles of the next request of an operation. Those of the first kind leave it open whether it was carried out.
OPEN: Mapping[str, Callable[[str], Fault]] = {
    "the answer is lost": lambda name: Fault(name, "lose"),
    "the answer is cut": lambda name: Fault(name, "cut"),
    "the answer is late": lambda name: Fault(name, "slow", delay=CALL + 1),
    "a gateway answers": lambda name: Fault(name, "replace", 520, *PAGE),
    "the answer is broken": lambda name: Fault(name, "replace", 200, b'{"code": 200, "data": nul'),
    "the request is lost": lambda name: Fault(name, "drop"),
    "a gateway refuses": lambda name: Fault(name, "refuse", 502, *PAGE),
}
DECIDED: Mapping[str, Callable[[str], Fault]] = {
    "too many requests": lambda name: refused(name, 429, times=2),
    "far too many requests": lambda name: refused(name, 429, times=4),
    "the API fails": lambda name: refused(name, 500),
}
WELL, UNCONNECTED, LATE_HISTORY = "no trouble", "the connection is refused", "the history is behind"
PASSING = (WELL, UNCONNECTED, *OPEN, *(name for name in DECIDED if name != "far too many requests"))


class Provider(World):
    """A provider whose data folder outlives it; it can be stopped and started again."""

    def __init__(self, folder: Path, loop: asyncio.Runner) -> None:
        super().__init__()
        self.folder, self.loop = folder, loop
        self.back_at = 0.0  # when it starts again, while it is stopped
        self.unconnected = 0  # connections that are still to be refused
        self.behind = 0.0  # seconds that its clock is behind ours
        self._submissions: list[int | None] = []  # statuses of the answers before the last start
        self._kept: dict[str, Any] = {}

    @property
    def is_up(self) -> bool:
        return self.app is not None

    @property
    def provider_now(self) -> float:
        return self.now - self.behind

    def start(self) -> None:
        settings = {**self.settings(), "keys": {KEY: START / CREDITS_PER_USD}, "data": self.folder}
        settings |= {"fetch": fetch, "speed": 0.2, "concurrency": 4}  # slow enough to be cancelled, and for timeouts
        settings["send_webhook"] = lambda *_: 200
        settings["seed"] = 1  # how long a task takes depends on its id
        self.app = create_app(Settings(**settings))
        assert self.records() == self._kept, "a restart changes no task"

    def stop(self, seconds: float) -> None:
        self._submissions, self._kept = self.submissions(), self.records()
        self.sandbox.close()
        self.app, self.back_at = None, self.now + seconds
        self.sleep(0)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if not self.is_up and self.now >= self.back_at:
            self.start()
        if self.is_up:
            self.sandbox.advance()

    def trouble(self, operation: str, what: str) -> None:
        self.sleep(0)
        if what == UNCONNECTED:
            self.unconnected = 2
        elif self.is_up and what in OPEN | DECIDED:
            self.sandbox.fault((OPEN | DECIDED)[what](operation))

    # The provider's own records; while it is down, those that it had.

    def submissions(self) -> list[int | None]:
        arrivals = self.sandbox.arrivals if self.is_up else []
        return [*self._submissions, *(one.status for one in arrivals if one.operation == "create_task")]

    def records(self) -> dict[str, Any]:
        if not self.is_up:
            return self._kept
        return {task.task_id: task for task in self.sandbox._store.of_account(ACCOUNT, RANK, math.inf)}

    def record(self, task_id: str | None) -> Any:
        return self.records()[str(task_id)]


def fetch(url: str) -> bytes:
    if url == GONE:
        raise OSError("it is gone")
    return BLANK


class BreakableWire(Wire):
    """A connection to a provider that may be down."""

    def __init__(self, provider: Provider) -> None:
        super().__init__(provider)
        self._provider = provider

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not self._provider.is_up or self._provider.unconnected:
            self._provider.unconnected = max(0, self._provider.unconnected - 1)
            raise httpx.ConnectError("connection refused", request=request)
        return await super().handle_async_request(request)


@dataclass
class Order:
    """A call that was to make a task: what the provider made of it, and what the user knows."""

    made: str | None
    has_webhook: bool
    known: str | None = None
    uncertain: errors.SubmissionUncertain | None = None


@dataclass
class Memory:
    """What the user's program has stored, so that it outlives the program."""

    orders: list[Order] = field(default_factory=list)
    handles: dict[str, str] = field(default_factory=dict)  # ids and tokens, to ids
    seen: dict[str, str] = field(default_factory=dict)  # the last status word of each task


def drawn(otherwise: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.runner().flatmap(lambda machine: st.sampled_from(machine.troubles) if machine.troubles else otherwise)


TROUBLES = drawn(st.just(WELL) | st.sampled_from(PASSING))
TROUBLES_OF_A_SEARCH = drawn(st.just(WELL) | st.sampled_from(PASSING) | st.just(LATE_HISTORY))
SUBMISSION: Mapping[str, st.SearchStrategy[Any]] = {
    "call": st.sampled_from(["submit", "submit", "run"]),
    "task": st.sampled_from(TASKS),
    "has_webhook": st.booleans(),
    "trouble": drawn(st.just(WELL) | st.sampled_from([*OPEN]) | st.sampled_from([UNCONNECTED, *DECIDED])),
    "stored": st.sampled_from(["id", "token"]),
    "then": st.none() | TROUBLES_OF_A_SEARCH,
}
handles = st.runner().flatmap(lambda machine: st.sampled_from(list(machine.memory.handles)))
has_a_task = precondition(lambda machine: machine.memory.handles)


class LifeCycle(RuleBasedStateMachine):
    """A user with one account, and a provider."""

    troubles: tuple[str, ...] = ()  # the only ones of requests; empty for any

    def __init__(self) -> None:
        super().__init__()
        self.open = ExitStack()
        self.open.enter_context(patch.dict(ENGINES, QUICK))
        folder = self.open.enter_context(tempfile.TemporaryDirectory(prefix="unitask-life-", dir=MEMORY))
        self.provider = Provider(Path(folder), self.open.enter_context(asyncio.Runner()))
        self.memory = Memory()

    def teardown(self) -> None:
        if self.provider.is_up:
            self.provider.sandbox.close()
        self.open.close()

    @initialize(shell=st.sampled_from(SHELLS), behind=st.sampled_from([0.0, 120.0, -120.0]), **SUBMISSION)
    def begin(self, shell: str, behind: float, **submission: Any) -> None:
        self.provider.behind = behind
        self.provider.start()
        self.restart_program(shell)
        self.submit(**submission)

    # What the user does.

    @rule(shell=st.sampled_from(SHELLS))
    def restart_program(self, shell: str) -> None:
        made, sleep = (Client, self.provider.sleep) if shell == "sync" else (AsyncClient, self.provider.sleep_async)
        settings: dict[str, Any] = {"clock": self.provider.clock, "sleep": sleep, "http_timeout": CALL}
        wire = BreakableWire(self.provider)
        self.client: Any = made(KEY, BASE_URL, transport=wire, **settings)
        self.client._retry_policy = RetryPolicy(lambda: 0.5)
        self.memory = pickle.loads(pickle.dumps(self.memory))
        if self.provider.is_up:
            account, history = self._call("account"), self._call("history")
            bills = {row.task_id: row.raw["usage"] for row in history}
            assert round(account.balance_usd * CREDITS_PER_USD) == self._purse().balance, "the balance is reported"
            assert bills == {key: task.consume for key, task in self.provider.records().items()}, (
                "the bills are reported"
            )

    @rule(**SUBMISSION)
    def submit(self, call: str, task: Any, has_webhook: bool, trouble: str, stored: str, then: str | None) -> None:
        # `stored` is what the program stores of the task. If `then` is not None, a request with that trouble follows at
        # once: a cancel, or a search of the task if the submission is uncertain.
        self.provider.trouble("create_task", trouble)
        before, arrived = set(self.provider.records()), len(self.provider.submissions())
        more: dict[str, Any] = {"timeout": 20, "on_change": self._saw} if call == "run" else {}
        result = self._call(call, task, **more, **(WEBHOOK if has_webhook else {}))
        made = [task_id for task_id in self.provider.records() if task_id not in before]

        assert len(made) <= 1, "a call makes one task at most"
        answered = self.provider.submissions()[arrived:]
        assert all(status == 429 for status in answered[:-1]), "what may have been accepted is not sent again"
        order = Order(made[0] if made else None, has_webhook=has_webhook)
        self.memory.orders.append(order)
        if isinstance(result, errors.SubmissionUncertain):
            assert trouble in OPEN, "what is certain is reported"
            order.uncertain = result
            if then:
                self.find(order=order, timeout=None, operation="list_task_history", trouble=then)
            return
        order.known = result.task_id if isinstance(result, errors.UnitaskError) else result.id
        assert order.known == order.made, "the task that was made is named"
        if order.known is not None:
            is_token = stored == "token" and isinstance(result, Task)
            self.memory.handles[result.token if is_token else order.known] = order.known
        if isinstance(result, errors.ApiError | errors.Unreachable):
            assert not made or self.provider.record(order.made).usage_type == "", "a refused submission is not paid"
        else:
            self._ended(result, order.known, has_waited=call == "run")
            if then and call == "submit":
                self.cancel(handle=list(self.memory.handles)[-1], trouble=then)

    @has_a_task
    @rule(handle=handles, trouble=TROUBLES)
    def get(self, handle: str, trouble: str) -> None:
        is_down = not self.provider.is_up
        self.provider.trouble("get_task", trouble)
        task_id, result = self.memory.handles[handle], self._call("get", handle)
        if self._is_borne(result, task_id, is_down=is_down):
            self._saw(result)
            assert (result.id, result.status) == (task_id, self.provider.record(task_id).status), (
                "a poll returns the status"
            )

    @has_a_task
    @rule(handle=handles, timeout=st.sampled_from([0, 2, 30, 300]), trouble=TROUBLES)
    def wait(self, handle: str, timeout: float, trouble: str) -> None:
        is_down = not self.provider.is_up
        self.provider.trouble("get_task", trouble)
        result = self._call("wait", handle, timeout=timeout, on_change=self._saw)
        assert is_down or not isinstance(result, errors.Unreachable | errors.ApiError), "a passing trouble is borne"
        self._ended(result, self.memory.handles[handle], has_waited=True)

    @has_a_task
    @rule(handle=handles, trouble=TROUBLES)
    def cancel(self, handle: str, trouble: str) -> None:
        task_id, is_down = self.memory.handles[handle], not self.provider.is_up
        before = self.provider.record(task_id).status
        self.provider.trouble("cancel_task", trouble)
        result = self._call("cancel", handle)
        after = self.provider.record(task_id).status
        if isinstance(result, errors.InvalidRequest):
            assert result.task_id == task_id, "an error names its task"
            assert after != "pending", "a pending task can be cancelled"
            assert before == after or after != "cancelled", "what was cancelled is reported"
        elif self._is_borne(result, task_id, is_down=is_down):
            assert after == "cancelled", "what is reported as cancelled is cancelled"

    @precondition(lambda machine: machine.open_orders())
    @rule(
        order=st.runner().flatmap(lambda machine: st.sampled_from(machine.open_orders())),
        timeout=st.sampled_from([0, 25, None]),
        operation=st.sampled_from(["list_task_history", "get_task"]),
        trouble=TROUBLES_OF_A_SEARCH,
    )
    def find(self, order: Order, timeout: float | None, operation: str, trouble: str) -> None:
        assert order.uncertain
        is_down = not self.provider.is_up
        is_fresh = self.provider.now < order.uncertain.sent_between[1].timestamp() + 30
        self.provider.trouble(operation, trouble)
        if trouble == LATE_HISTORY and is_fresh and not is_down:
            self.provider.sandbox.fault(Fault("list_task_history", "edit", changes={"data.data": [], "data.total": 0}))
        result = self._call("find", order.uncertain, timeout=timeout)
        if not is_down:
            self.provider.sandbox.faults.clear()  # a history without candidates leads to no poll
        if result.outcome is Outcome.ABSENT:
            assert order.made is None, "no task is called absent that exists"
        elif result.outcome is Outcome.FOUND:
            assert result.task.id == order.made, "what is found is the task"
            self._saw(result.task)
            order.known = order.made
            self.memory.handles[order.known] = order.known
        elif trouble == WELL and not is_down:
            candidates = [task.id for task in result.candidates]
            assert order.made is None or order.made in candidates, "what may be the task is shown"
            assert order.made is None or not order.has_webhook, "a task with a webhook is found"

    # What else happens.

    @rule(seconds=st.sampled_from([0.5, 2, 30, 300]))
    def pass_time(self, seconds: float) -> None:
        self.provider.sleep(seconds)

    @precondition(lambda machine: machine.provider.is_up)
    @rule(seconds=st.sampled_from([0, 2, 90]))
    def restart_provider(self, seconds: float) -> None:
        self.provider.stop(seconds)

    # What holds after every step.

    @invariant()
    def money_adds_up(self) -> None:
        if not self.provider.is_up:
            return
        records, balance = self.provider.records(), self._purse().balance
        frozen = sum(task.frozen for task in records.values() if RANK[task.status] < 2)
        taken = sum(task.consume for task in records.values())
        moved = sum(credits_ for _, _, credits_ in self.provider.sandbox._store.ledger(ACCOUNT))
        assert balance + frozen + taken == START, "the balance is what was not taken"
        assert balance == START + moved, "the ledger has every movement"
        lost = [task for task in records.values() if task.status in ("failed", "cancelled") and task.consume]
        assert not lost, "what was not made is paid back"

    @invariant()
    def every_task_is_known(self) -> None:
        known = {order.known or (order.uncertain and order.made) for order in self.memory.orders}
        assert not self.provider.records().keys() - known, "every task is known to the user"

    # Helpers.

    def open_orders(self) -> list[Order]:
        return [order for order in self.memory.orders if order.uncertain and not order.known]

    def _purse(self) -> Any:
        return self.provider.sandbox._store.account(ACCOUNT)

    def _call(self, name: str, *arguments: Any, **options: Any) -> Any:
        arrived = len(self.provider.submissions())
        try:
            result = getattr(self.client, name)(*arguments, **options)
            result = rows(result) if name == "history" else result
            result = self.provider.loop.run(result) if inspect.iscoroutine(result) else result
        except errors.UnitaskError as error:
            result = error
        if isinstance(result, errors.UnitaskError):
            copied = pickle.loads(pickle.dumps(result))
            assert (type(copied), vars(copied)) == (type(result), vars(result)), "an error survives pickle"
        self.provider.unconnected = 0
        assert name in ("submit", "run") or len(self.provider.submissions()) == arrived, "nothing else makes a task"
        return result

    def _is_borne(self, result: Any, task_id: str, *, is_down: bool) -> bool:
        """Return whether a call succeeded; it may fail only while the provider is down."""
        if not isinstance(result, errors.UnitaskError):
            return True
        assert result.task_id == task_id, "an error names its task"
        assert is_down, "a passing trouble is borne"
        assert isinstance(result, errors.Unreachable), "the provider is down"
        return False

    def _ended(self, result: Any, task_id: str | None, *, has_waited: bool) -> None:
        if isinstance(result, Task):
            assert result.id == task_id, "the task is the one that was asked for"
            assert not has_waited or result.state == "completed", "a wait returns what is completed"
            self._saw(result)
            return
        assert result.task_id == task_id, "an error names its task"
        assert not isinstance(result, errors.NotFound), "a task that exists is found"
        if isinstance(result, errors.TaskFailed):
            assert result.task.state in ("failed", "cancelled"), "what is reported as failed has failed"
        if isinstance(result, errors.TaskFailed | errors.WaitTimeout) and result.task is not None:
            self._saw(result.task)

    def _saw(self, task: Task[Any]) -> None:
        record, word = self.provider.record(task.id), str(task.status)
        before = self.memory.seen.get(task.id, "pending")
        assert RANK[before] <= RANK[word] <= RANK[record.status], "a status goes one way"
        if task.done:
            assert word == record.status, "an end stays"
            assert task.raw["meta"]["usage"]["consume"] == record.consume, "the bill is reported"
        self.memory.seen[task.id] = word
