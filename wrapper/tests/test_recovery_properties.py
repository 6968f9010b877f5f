"""`find` and `history` against a provider whose tasks, clocks and pages change: no outcome is false, no row is lost.

test_recovery.py has the odd rows, echoes, totals and failures.
"""

import contextlib
import itertools
import pickle
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from unitask import Client, Outcome, Recovery, Timestamp, _base_client, errors, tasks
from unitask.testing import InstantClock, UnitaskProvider

from .shells import BASE_URL, KEY

SUBMISSIONS = 600
START = datetime(2027, 1, 15, tzinfo=UTC)  # on the provider's clock
DAY = 86_400.0
MODEL, TASK_TYPE, INPUT = "Qubico/flux1-schnell", "txt2img", {"prompt": "a red fox", "image_urls": []}
TASK: dict[str, Any] = {"model": MODEL, "task_type": TASK_TYPE, "input": INPUT}
ANOTHER_ID = {"webhook_config": {"endpoint": "https://me.test/hook?unitask=0123456789abcdef"}}
OTHERS: list[dict[str, Any]] = [
    {**TASK, "model": "kling"},
    {**TASK, "input": {"prompt": "a blue cat"}},
    TASK,
    {**TASK, "config": ANOTHER_ID},
]


@dataclass
class World:
    """A provider that changes its answers, and the clocks of the client, whose wall clock may be set."""

    draw: random.Random
    provider: UnitaskProvider = field(default_factory=lambda: UnitaskProvider(clock=InstantClock(START)))
    apart: float = 0.0  # seconds that the client's wall clock is ahead of the provider's
    origin: float = 0.0  # of the monotonic clock
    fate: str = "accepted"  # of the next submission: accepted, refused, named
    is_dated: bool = True
    rush: float = 0.0  # tasks of others that are created with each request
    crowd: int = 40  # tasks after which no others are created
    most: int = 100  # rows on a page, whatever is requested
    total: str = "exact"
    other: dict[str, Any] = field(default_factory=lambda: OTHERS[0])  # what other programs submit
    lag: float = 0.0
    listed_at: dict[str, float] = field(default_factory=dict)  # when a task comes into the history

    def clock(self) -> Timestamp:
        now = self.provider.clock()
        return Timestamp(now.monotonic + self.origin, now.unix + self.apart)

    def make_other(self) -> None:
        """Accept a task of another program."""
        self._accept(httpx.Request("POST", f"{BASE_URL}/api/v1/task", json=self.other))

    def client(self) -> Client:
        transport, sleep = httpx.MockTransport(self.answer), self.provider.clock.sleep
        return Client(KEY, BASE_URL, transport=transport, clock=self.clock, sleep=sleep, poll_patience=5.0)

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.provider.clock.advance(self.draw.uniform(0.01, 0.3))
        for _ in range(int(self.rush + self.draw.random())):
            if len(self.provider.tasks) < self.crowd:
                self.make_other()
        if request.method == "POST":
            return self._create(request)
        page = request.url.params
        if "page" in page:  # all rows, so that those can be left out that the history does not list yet
            request = httpx.Request("GET", request.url.copy_merge_params({"page": 1, "page_size": 1_000_000}))
        response = self.provider.transport.handle_request(request)
        body = response.json()
        if "page" in page:
            body["data"] = self._page(body["data"]["data"], int(page["page"]), int(page["page_size"]))
        headers = {"date": response.headers["date"]} if self.is_dated and "date" in response.headers else {}
        return httpx.Response(response.status_code, headers=headers, json=body)

    def _create(self, request: httpx.Request) -> httpx.Response:
        if self.fate != "refused":
            self._accept(request)
        self.provider.clock.advance(self.draw.choice([0.0, 30.0]))
        if self.fate == "named":
            data = {"task_id": self.provider.tasks[-1].id}
            return httpx.Response(520, json={"code": 520, "data": data, "message": "odd"})
        raise httpx.ReadTimeout("slow")

    def _accept(self, request: httpx.Request) -> None:
        self.provider.transport.handle_request(request)
        self.listed_at[self.provider.tasks[-1].id] = self.provider.clock().unix + self.draw.uniform(0, self.lag)

    def _page(self, rows: list[dict[str, Any]], number: int, size: int) -> dict[str, Any]:
        now, size = self.provider.clock().unix, min(size, self.most)
        listed = [row for row in rows if self.listed_at[row["task_id"]] <= now]
        found = listed[(number - 1) * size : number * size]
        totals = {"exact": len(listed), "of the page": len(found)}
        return {"data": found, "page": number, "size": size, "total": totals.get(self.total)}


def drawn(seed: int) -> World:
    """A world of its own for each seed; half of them are calm, so that a sure outcome is possible."""
    draw = random.Random(seed)
    world = World(draw, origin=draw.choice([0.0, 1e5]))
    world.provider.clock.advance(draw.uniform(0, 1000))
    world.apart = draw.choice([0.0, 0.0, -400.0, 3600.0, -DAY, DAY, draw.uniform(-DAY, DAY)])
    world.lag = draw.choice([0.0, 20.0, 55.0])
    if draw.random() < 0.5:
        return world
    world.is_dated = draw.random() < 0.8
    world.rush = draw.choice([0.0, 0.3, 2.0])
    world.most = draw.choice([100, 10, 3])
    world.total = draw.choice(["exact", "exact", "none", "of the page"])
    world.other = draw.choice(OTHERS)
    return world


def lost(world: World, client: Client, **options: str) -> tuple[errors.SubmissionUncertain, str | None]:
    """A submission whose answer is lost, and the id of the task that it made."""
    world.fate = world.draw.choice(["accepted", "refused", "named"])
    with pytest.raises(errors.SubmissionUncertain) as caught:
        client.submit(tasks.Raw(MODEL, TASK_TYPE, INPUT), **options)  # type: ignore[arg-type]  # drawn options
    return caught.value, None if world.fate == "refused" else world.provider.tasks[-1].id


def searched(seed: int, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Recovery, str | None]]:
    """Up to two lost submissions with one input in one world, the outcome of each, and the truth."""
    world = drawn(seed)
    draw, clock = world.draw, world.provider.clock
    for _ in range(draw.choice([0, 0, 2, 8])):
        world.make_other()
        clock.advance(draw.uniform(0, 200))
    client = world.client()
    if draw.random() < 0.5:  # an answer from which the client learns the time of the provider
        with contextlib.suppress(errors.UnitaskError):
            next(client.history(), None)
        clock.advance(draw.choice([0.0, 500.0]))
    options = {"webhook_url": "https://me.test/hook"} if draw.random() < 0.5 else {}
    rush, world.rush = world.rush, 0.0  # so that it is known which task is of which submission
    cases = [lost(world, client, **options) for _ in range(draw.choice([1, 2]))]
    world.rush = rush
    clock.advance(draw.choice([0.0, 1.0, 45.0, 90.0, 2000.0]))
    world.apart += draw.choice([0.0, 0.0, 0.0, 400.0, -400.0, 3600.0, DAY, -DAY])
    with monkeypatch.context() as patched:
        if draw.random() < 0.3:
            patched.setattr(_base_client, "PROCESS", "another", raising=False)
            world.origin = draw.uniform(0, 1e6)
            client = world.client()
            cases = [(pickle.loads(pickle.dumps(error)), made) for error, made in cases]
        timeout = draw.choice([None, 0, 0, 20])
        return [(client.find(error, timeout=timeout), made) for error, made in cases]


def test_no_outcome_is_false(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes: Counter[Outcome] = Counter()
    false: list[tuple[int, str, str | None]] = []
    for seed in itertools.count():
        if outcomes.total() >= SUBMISSIONS:
            break
        for recovery, made in searched(seed, monkeypatch):
            outcomes[recovery.outcome] += 1
            found = recovery.task.id if recovery.task else None
            if recovery.outcome is not Outcome.UNCLEAR and found != made:
                false.append((seed, recovery.reason, made))

    assert false == []
    assert min(outcomes[Outcome.FOUND], outcomes[Outcome.ABSENT]) > SUBMISSIONS / 20, outcomes


@pytest.mark.parametrize("page_size", [1, 10])
@pytest.mark.parametrize("rush", [0.0, 12.0])
@pytest.mark.parametrize("total", ["exact", "none", "of the page"])
def test_history_loses_and_repeats_no_row(page_size: int, rush: float, total: str) -> None:
    world = World(random.Random(page_size), rush=rush, total=total, crowd=300)
    for _ in range(110):
        world.make_other()
    before = {task.id for task in world.provider.tasks}
    ids = [row.task_id for row in world.client().history(page_size=page_size)]

    assert len(ids) == len(set(ids))
    assert before <= set(ids)
