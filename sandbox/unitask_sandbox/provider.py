"""The provider itself, without HTTP: accounts, tasks, files and what arrived.

A task is accepted and cancelled here, and moved in life.py. Rules of this file: all times come from `Settings.clock`. A
task is paid when it is accepted, and paid back when it ends in any other way than completed.
"""

from __future__ import annotations

import base64
import hashlib
import math
import random
import shutil
import tempfile
import threading
import uuid
import weakref
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from unitask_sandbox import bundle, defects, llm
from unitask_sandbox.account import account_info, active_tasks, history_row, models_of
from unitask_sandbox.autorun import Autorun
from unitask_sandbox.creation import Creation, read_creation, stand_in
from unitask_sandbox.engines import simulated_picture
from unitask_sandbox.failures import (
    BAD_KEY,
    GENERAL_FAILURE,
    NO_CREDIT,
    PREPARING_FAILED,
    TASK_NOT_FOUND,
    Refusal,
    task_error,
)
from unitask_sandbox.faults import Fault, Script
from unitask_sandbox.files import Files
from unitask_sandbox.life import Life
from unitask_sandbox.overview import Overview
from unitask_sandbox.settings import STARTING_USD, Settings
from unitask_sandbox.store import Ending, Store
from unitask_sandbox.task import Task, file_url
from unitask_sandbox.uploads import read_upload
from unitask_sandbox.webhooks import Courier

QUEUE_SECONDS = 1.0  # a guess: how long a task typically stays pending
SPREAD = 0.5  # sigma of the log-normal factor on a typical time; a guess
ARRIVALS_KEPT = 100_000


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request to the API, as it was answered.

    Attributes:
        operation: The operation of the spec; None when the path or the method is none of it.
        key: The beginning of the SHA-256 of the API key; None when there was none.
        time: When it arrived: unix seconds.
        status: The HTTP status that it was answered with; None when the answer was lost.
    """

    operation: str | None
    method: str
    path: str
    key: str | None
    time: float
    status: int | None


class Sandbox:
    """A provider of its own, with its accounts, tasks and files. Any thread may call any method."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings: Final = settings or Settings()
        self._rules = defects.rules(self.settings.defects)
        self._faults = Script(self.settings.faults)
        self._folder = self.settings.data or Path(tempfile.mkdtemp(prefix="unitask-sandbox-"))
        self._folder.mkdir(parents=True, exist_ok=True)
        self._store = Store(self._folder / "sandbox.sqlite3")
        self._files = Files(self._folder / "files", self._store, self.settings.clock, self.settings.fetch)
        self._known: set[str] = set()
        self._arrivals: deque[Arrival] = deque(maxlen=ARRIVALS_KEPT)
        self._closing = threading.Event()
        self._life = Life(self.settings, self._store, self._files, self._closing, self._ended)
        self._courier = Courier(self._store, self.settings.clock, self.settings.send_webhook, self._closing)
        self._autorun = Autorun(self._step) if self.settings.autorun else None
        self._delivery = Autorun(self._deliver) if self.settings.autorun else None
        forgotten = None if self.settings.data else self._folder
        parts = (self._closing, self._life, self._courier.storing, self._store, forgotten)
        self._release = weakref.finalize(self, _release, *parts)
        for key, usd in self.settings.keys.items():
            self._open_account(key, usd)
        self._wake()
        if self._delivery:
            self._delivery.wake()  # what an earlier sandbox over the same folder left

    def close(self) -> None:
        """Stop, and remove the temporary folder. Tasks that have not ended go on when the data folder is used again."""
        self._release()
        if self._autorun:
            self._autorun.close()
        if self._delivery:
            self._delivery.close(wait=False)  # for a receiver that does not answer

    # The operations.

    def accept(self, key: str | None, body: bytes, base_url: str = "") -> Task:
        """Create a task from the body of a create, and charge its price.

        Args:
            key: The API key.
            body: What was sent.
            base_url: Of the addresses of files in its webhook.

        Raises:
            Refusal: 401, 400, or 500 with a failed task when the balance is too low.
        """
        account = self._account(key)
        creation = self._creation(body)
        task = self._task(account, creation)
        if not self._store.accept(task, creation.input, base_url if creation.has_webhook() else None):
            raise Refusal(500, PREPARING_FAILED, self._unpaid(task))
        self._wake()
        return task

    def get(self, key: str | None, task_id: str) -> Task:
        """A task as it stands.

        Raises:
            Refusal: 401, or 404 when this key has no such task.
        """
        account = self._account(key)
        task = self._store.task(task_id) if self._rules.tasks_are_found else None
        if task is None or task.account != account:
            raise Refusal(404, TASK_NOT_FOUND)
        return task

    def cancel(self, key: str | None, task_id: str) -> None:
        """Cancel a pending task and pay it back.

        Raises:
            Refusal: 401, 404, or 400 when the task is not pending.
        """
        task = self.get(key, task_id)
        if not self._cancel(task):
            status = self.get(key, task_id).status
            raise Refusal(400, f"task {task_id} is {status}; only a pending task can be cancelled")

    def cancel_many(self, key: str | None, created_before: float, model: str | None = None) -> int:
        """Cancel pending tasks, pay them back, and return how many they were.

        Args:
            key: The API key.
            created_before: Unix seconds; tasks created then or later stay.
            model: Only tasks of this model or family; None or "all" for every one.

        Raises:
            Refusal: 401.
        """
        account = self._account(key)
        found = self._store.of_account(account, self._rules.cancellable, created_before)
        return sum(self._cancel(task) for task in found if _is_of_model(task, model))

    def account_info(self, key: str | None) -> dict[str, Any]:
        """The account with its balance, and with the key in clear, as the live answer has it.

        Raises:
            Refusal: 401.
        """
        return account_info(self._store.account(self._account(key)), key or "")

    def active_tasks(self, key: str | None) -> dict[str, Any]:
        """The tasks that have not ended, by group.

        Raises:
            Refusal: 401.
        """
        account = self._account(key)
        return active_tasks(self._store.of_account(account, ("pending", "processing"), math.inf))

    def history(
        self,
        key: str | None,
        page: int = 1,
        page_size: int = 10,
        model: str | None = None,
        start_time: float = 0,
        end_time: float = math.inf,
    ) -> dict[str, Any]:
        """A page of the tasks that were created in a time, newest first.

        Args:
            key: The API key.
            page: Which page, from 1.
            page_size: Rows a page.
            model: Only of this group (image_toolkit, flux, mj, ...).
            start_time: Unix seconds, included.
            end_time: Unix seconds, included.

        Raises:
            Refusal: 401.
        """
        account = self._account(key)
        models = None if model is None else models_of(model)
        offset = min((page - 1) * page_size, 2**63 - 1)
        total, found = self._store.history(account, start_time, end_time, models, page_size, offset)
        owner = self._store.account(account).number
        rows = [history_row(number, owner, task) for number, task in found]
        return {"data": rows, "page": page, "size": page_size, "total": total}

    def upload(self, key: str | None, body: bytes) -> str:
        """Keep a file for 24 hours, and return its name.

        Raises:
            Refusal: 401, or 400 in the words of the upload service.
        """
        self._account(key)
        upload = read_upload(body)
        return self._keep_file(upload.content, upload.extension)

    def chat(self, key: str | None, body: bytes, base_url: str) -> dict[str, Any] | Iterator[str]:
        """A simulated completion, or the events that stream it.

        Raises:
            Refusal: 401 or 400.
        """
        self._account(key)
        request = llm.read_chat(body)
        picture = None
        if llm.makes_pictures(request):
            picture = file_url(base_url, self._keep_file(simulated_picture(), "png"))
        whole = llm.completion(request, self.settings.clock(), picture)
        return llm.stream(whole, ends=self._rules.streams_end) if request.get("stream") else whole

    def images(self, key: str | None, body: bytes, base_url: str, form: str | None = None) -> dict[str, Any]:
        """Simulated pictures.

        Args:
            key: The API key.
            body: What was sent.
            base_url: Of the addresses of pictures, if it asks for such.
            form: The content type of a form with a picture to change; None: the body is JSON.

        Raises:
            Refusal: 401 or 400.
        """
        self._account(key)
        request = llm.read_image(body) if form is None else llm.read_edit(form, body)
        extension = "jpeg" if request.get("output_format") in ("jpeg", "jpg") else "png"
        picture = simulated_picture(*llm.size_of(request), extension)
        pictures: list[dict[str, Any]] = [
            {"url": file_url(base_url, self._keep_file(picture, extension))}
            if request.get("response_format") == "url"
            else {"b64_json": base64.b64encode(picture).decode()}
            for _ in range(llm.answers(request))
        ]
        return llm.image_answer(request, self.settings.clock(), pictures)

    def file(self, name: str) -> Path:
        """Where an output file, or an uploaded one, lies.

        Raises:
            Refusal: 404, there is none, or it has expired.
        """
        return self._files.path(name)

    def balance(self, key: str) -> float:
        """The USD that a key has left."""
        return self._store.account(self._account(key)).balance / bundle.CREDITS_PER_USD

    def overview(self, key: str | None, base_url: str, told_url: str) -> Overview:
        """What the page shows of the account of a key.

        Args:
            key: The API key.
            base_url: What the addresses of files begin with.
            told_url: What they begin with in the answers of the API.

        Raises:
            Refusal: 401.
        """
        return Overview(self._store, self._account(key), base_url, told_url)

    # What arrived.

    @property
    def arrivals(self) -> list[Arrival]:
        """Every request to the API so far, refused ones included, in the order of their answers."""
        return list(self._arrivals)

    def note(self, arrival: Arrival) -> None:
        """Add a request to the arrivals."""
        self._arrivals.append(arrival)

    # What goes wrong on the way.

    def fault(self, fault: Fault) -> None:
        """Let something go wrong with the next requests of an operation; in-process or over HTTP."""
        self._faults.add(fault)

    def next_fault(self, operation: str) -> Fault | None:
        """What goes wrong with this request of an operation; it is not in the script any more then."""
        return self._faults.take(operation)

    # Time.

    def advance(self) -> bool:
        """Do everything that is due now; True when tasks or webhooks are left that will be due later.

        With autorun, webhooks are left to their own thread.
        """
        due = [self._life.advance(), None if self._delivery else self._courier.deliver()]
        return due != [None, None]

    def _wake(self) -> None:
        if self._autorun:
            self._autorun.wake()

    def _step(self) -> float | None:
        return self._pause(self._life.advance(), self._life.next_expiry())

    def _deliver(self) -> float | None:
        return self._pause(self._courier.deliver())

    def _pause(self, *due: float | None) -> float | None:
        """The seconds until the first of several times; None when there is none."""
        first = min((time for time in due if time is not None), default=None)
        return None if first is None else max(0.0, first - self.settings.clock())

    def _ended(self, task: Task) -> None:
        if self._delivery and task.config["webhook_config"]["endpoint"]:
            self._delivery.wake()

    # Parts of the operations.

    def _keep_file(self, content: bytes, extension: str) -> str:
        name = self._files.keep(content, extension)
        self._wake()  # somebody must remove it when it has expired
        return name

    def _account(self, key: str | None) -> str:
        if self._rules.keys_are_checked and not (key and (self.settings.any_key or key in self.settings.keys)):
            raise Refusal(401, BAD_KEY)
        account = _hashed(key or "")
        if account not in self._known:
            self._open_account(key or "", STARTING_USD)
        return account

    def _open_account(self, key: str, usd: float) -> None:
        self._store.open_account(_hashed(key), round(usd * bundle.CREDITS_PER_USD))
        self._known.add(_hashed(key))

    def _creation(self, body: bytes) -> Creation:
        try:
            return read_creation(body)
        except Refusal:
            if self._rules.bodies_are_checked:
                raise
            return stand_in()

    def _task(self, account: str, creation: Creation) -> Task:
        task_id = str(uuid.uuid4())
        draw = random.Random(task_id)  # noqa: S311 - the same task takes the same time
        now = self.settings.clock()
        queued, seconds = (
            self.settings.seconds(typical * draw.lognormvariate(0, SPREAD))
            for typical in (QUEUE_SECONDS, creation.task_type.typical_seconds)
        )
        return Task(
            task_id=task_id,
            account=account,
            model=creation.task_type.model,
            task_type=creation.task_type.task_type,
            status="pending",
            config=creation.echoed_config(),
            logs=creation.logs(),
            created_at=now,
            due_at=now + queued if self._rules.tasks_start else None,
            seconds=seconds,
            consume=creation.credits() * self._rules.charges,
        )

    def _unpaid(self, task: Task) -> Task:
        """The task as a failed one, as recorded for a create without credit."""
        failed = replace(
            task,
            status="failed",
            input=None,
            logs=None,
            error=task_error(GENERAL_FAILURE, PREPARING_FAILED, NO_CREDIT),
            ended_at=self.settings.clock(),
            due_at=None,
            usage_type="",
            frozen=task.consume,
            consume=0,
        )
        self._store.record(failed)
        return failed

    def _cancel(self, task: Task) -> bool:
        ending = Ending(status="cancelled", at=self.settings.clock())
        return self._store.end(task.task_id, ending, before=self._rules.cancellable)


def _is_of_model(task: Task, model: str | None) -> bool:
    family = bundle.task_type(task.model, task.task_type, {}).family
    return model in (None, "all", task.model, family)


def _hashed(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def key_fingerprint(key: str | None) -> str | None:
    """What the arrivals show of a key: enough to tell two apart, nothing to use."""
    return _hashed(key)[:8] if key else None


def _release(
    closing: threading.Event,
    life: Life,
    delivering: threading.Lock,
    store: Store,
    folder: Path | None,
) -> None:
    """Close a sandbox; also at the end of the program, when nobody has."""
    closing.set()
    life.worker.close()
    with life.advancing, delivering:
        store.close()
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
