"""`find` and `history` against a provider whose tasks, clocks and words change: no outcome is false, no row is lost."""

from __future__ import annotations

import contextlib
import itertools
import json
import pickle
import random
from collections import Counter
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

import httpx
import pytest
from unitask import Client, Outcome, Recovery, _base_client, errors, tasks
from unitask._model.timestamp import Timestamp

from .shells import BASE_URL, KEY, all_of, perform

SUBMISSIONS = 600
START = 1.8e9  # on the provider's clock
DAY = 86_400.0
INPUT = {"prompt": " a red fox ", "steps": 100, "image_urls": ["https://me.test/a.jpg"], "flag": True, "mode": "std"}
REWRITTEN = {"prompt": "a red fox", "steps": 50, "image_urls": ["asset://asset-1"], "flag": False, "mode": "pro"}
MODEL, TASK_TYPE = "Qubico/flux1-schnell", "txt2img"


@dataclass
class Made:
    """A task that the provider has accepted."""

    task_id: str
    created_at: float
    listed_at: float  # when it comes into the history
    body: dict[str, Any]


@dataclass
class World:
    """A provider and three clocks: its own, the monotonic one, and the wall clock of the client, which may be set."""

    draw: random.Random
    now: float = START
    apart: float = 0.0  # seconds that the client's wall clock is ahead of the provider's
    origin: float = 0.0  # of the monotonic clock
    made: list[Made] = field(default_factory=list)
    fate: str = "accepted"  # of the next submission: accepted, refused, named
    is_dated: bool = True
    rush: float = 0.0  # tasks of others that are created with each request
    crowd: int = 40  # tasks after which no others are created
    most: int = 100  # rows on a page, whatever is requested
    total: str = "exact"
    row: str = "plain"
    echo: str = "whole"
    config: str = "whole"
    trouble: float = 0.0  # share of polls and pages that fail
    others: str = "another model"
    lag: float = 0.0
    numbers: Any = field(default_factory=itertools.count)

    def clock(self) -> Timestamp:
        return Timestamp(self.now - START + self.origin, self.now + self.apart)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def make(self, body: dict[str, Any], created_at: float) -> Made:
        """Accept a task."""
        listed_at = created_at + self.draw.uniform(0, self.lag)
        self.made.append(Made(f"t-{next(self.numbers)}", created_at, listed_at, body))
        return self.made[-1]

    def make_other(self, created_at: float) -> None:
        """Accept a task of another program."""
        body = {"model": MODEL, "task_type": TASK_TYPE, "input": {**INPUT, "prompt": "a blue cat"}}
        if self.others == "another model":
            body["model"] = "kling"
        elif self.others != "other input":
            body["input"] = INPUT
        if self.others == "own marks":
            endpoint = f"https://me.test/hook?unitask={self.draw.getrandbits(64):016x}"
            body["config"] = {"webhook_config": {"endpoint": endpoint}}
        self.make(body, created_at)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.now += self.draw.uniform(0.01, 0.3)
        for _ in range(int(self.rush + self.draw.random())):
            if len(self.made) < self.crowd:
                self.make_other(self.now)
        if request.method == "POST":
            return self._create(json.loads(request.content))
        if self.draw.random() < self.trouble:
            return self._answer(self.draw.choice([404, 502, 500]), {"code": 500, "message": "no", "data": None})
        if request.url.path.endswith("/histories"):
            return self._history({name: int(value) for name, value in request.url.params.items()})
        task_id = request.url.path.rpartition("/")[2]
        task = next((task for task in self.made if task.task_id == task_id), None)
        if task is None:
            return self._answer(404, {"code": 404, "message": "no task", "data": None})
        return self._answer(200, {"code": 200, "data": self._shown(task), "message": "success"})

    def _create(self, body: dict[str, Any]) -> httpx.Response:
        task = None if self.fate == "refused" else self.make(body, self.now)
        self.now += self.draw.choice([0.0, 30.0])
        if task is not None and self.fate == "named":
            return self._answer(520, {"code": 520, "data": {"task_id": task.task_id}, "message": "odd"})
        raise httpx.ReadTimeout("slow")

    def _history(self, query: dict[str, int]) -> httpx.Response:
        start, end = query.get("start_time", 0), query.get("end_time", 10**12)
        listed = [task for task in self.made if task.listed_at <= self.now and start <= task.created_at <= end]
        listed.sort(key=lambda task: (task.created_at, int(task.task_id[2:])), reverse=True)
        size = min(query["page_size"], self.most)
        first = (query["page"] - 1) * size
        found = [self._row(task) for task in listed[first : first + size]]
        totals = {"exact": len(listed), "of the page": len(found), "hollow": len(listed) + 7}
        page = {"data": [] if self.total == "hollow" else found, "page": query["page"], "size": size}
        return self._answer(200, {"code": 200, "data": {**page, "total": totals.get(self.total)}, "message": "success"})

    def _row(self, task: Made) -> dict[str, Any]:
        model = task.body["model"]
        spelled = {"spelled": model.upper().replace("-", "_"), "group": "flux", "another word": "engine 7"}
        created = Timestamp(0.0, task.created_at).utc.isoformat().replace("+00:00", "Z")
        row: dict[str, Any] = {"task_id": task.task_id, "created_at": created}
        if self.row != "no detail":
            row["detail"] = {"model": spelled.get(self.row, model), "workflow_type": task.body["task_type"]}
        if self.row in ("id", "no id"):
            del row["task_id"]
        return {**row, "id": task.task_id} if self.row == "id" else row

    def _shown(self, task: Made) -> dict[str, Any]:
        given = task.body["input"]
        echoes = {"whole": given, "rewritten": {**given, **REWRITTEN, "seed": 7}, "empty": {}, "null": None}
        endpoint = (task.body.get("config") or {}).get("webhook_config", {}).get("endpoint", "")
        endpoints = {"whole": endpoint, "cut": endpoint[:-5], "stripped": endpoint.partition("?")[0]}
        config = {"webhook_config": {"endpoint": endpoints.get(self.config, "")}} if endpoint else None
        return {**task.body, "task_id": task.task_id, "status": "pending", "input": echoes[self.echo], "config": config}

    def _answer(self, status: int, body: Any) -> httpx.Response:
        headers = {"date": formatdate(self.now, usegmt=True)} if self.is_dated else {}
        return httpx.Response(status, headers=headers, json=body)


def drawn(seed: int) -> World:
    """A world of its own for each seed; half of them are calm, so that a sure outcome is possible."""
    draw = random.Random(seed)
    world = World(draw, now=START + draw.uniform(0, 1000), origin=draw.choice([0.0, 1e5]))
    world.apart = draw.choice([0.0, 0.0, -400.0, 3600.0, -DAY, DAY, draw.uniform(-DAY, DAY)])
    world.lag = draw.choice([0.0, 20.0, 55.0])
    if draw.random() < 0.5:
        return world
    world.is_dated = draw.random() < 0.8
    world.rush = draw.choice([0.0, 0.3, 2.0])
    world.most = draw.choice([100, 10, 3])
    world.total = draw.choice(["exact", "exact", "none", "of the page", "hollow"])
    world.row = draw.choice(["plain", "spelled", "group", "another word", "id", "no id", "no detail"])
    world.echo = draw.choice(["whole", "rewritten", "empty", "null"])
    world.config = draw.choice(["whole", "none", "cut", "stripped"])
    world.trouble = draw.choice([0.0, 0.0, 0.05])
    world.others = draw.choice(["other input", "same input", "own marks", "another model"])
    return world


def client_of(world: World) -> Client:
    transport = httpx.MockTransport(world)
    return Client(KEY, BASE_URL, transport=transport, clock=world.clock, sleep=world.sleep, poll_patience=5.0)


def lost(world: World, client: Client, fate: str, **options: str) -> tuple[errors.SubmissionUncertain, str | None]:
    """A submission whose answer is lost, and the id of the task that it made."""
    before, world.fate = len(world.made), fate
    with pytest.raises(errors.SubmissionUncertain) as caught:
        client.submit(tasks.Raw(MODEL, TASK_TYPE, INPUT), **options)  # type: ignore[arg-type]
    return caught.value, world.made[before].task_id if len(world.made) > before else None


def searched(seed: int, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Recovery, str | None]]:
    """Up to two lost submissions with one input in one world, the outcome of each, and the truth."""
    world = drawn(seed)
    draw = world.draw
    for _ in range(draw.choice([0, 0, 2, 8])):
        world.make_other(world.now - draw.uniform(0, 700))
    client = client_of(world)
    if draw.random() < 0.5:  # an answer from which the client learns the time of the provider
        with contextlib.suppress(errors.UnitaskError):
            next(client.history(), None)
        world.now += draw.choice([0.0, 500.0])
    options = {"webhook_url": "https://me.test/hook"} if draw.random() < 0.5 else {}
    rush, world.rush = world.rush, 0.0  # so that it is known which task is of which submission
    fates = [draw.choice(["accepted", "refused", "named"]) for _ in range(draw.choice([1, 2]))]
    cases = [lost(world, client, fate, **options) for fate in fates]
    world.rush = rush
    world.now += draw.choice([0.0, 1.0, 45.0, 90.0, 2000.0])
    world.apart += draw.choice([0.0, 0.0, 0.0, 400.0, -400.0, 3600.0, DAY, -DAY])
    with monkeypatch.context() as patched:
        if draw.random() < 0.3:
            patched.setattr(_base_client, "PROCESS", "another", raising=False)
            world.origin = draw.uniform(0, 1e6)
            client = client_of(world)
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
    world = World(random.Random(page_size), rush=rush, total=total, crowd=900)
    for number in range(150):
        world.make_other(START - number // 3)
    before = {task.task_id for task in world.made}

    rows = perform("sync", world, lambda client: all_of(client.history(page_size=page_size)))
    ids = [row.task_id for row in rows]

    assert len(ids) == len(set(ids))
    assert before <= set(ids)
