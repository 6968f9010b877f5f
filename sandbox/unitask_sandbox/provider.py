"""The provider without HTTP: accounts, tasks, files and the log of requests.

A task is accepted and cancelled here, and moved in scheduler.py. All times come from `Settings.clock`.
"""

import base64
import math
import shutil
import sqlite3
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

from unitask_api.contract import TaskType
from unitask_api.states import ENDED, State

from unitask_sandbox import bundle, failures, legacy, llm, snapshot
from unitask_sandbox.account import Overview, account_info, active_tasks, history_row, models_of
from unitask_sandbox.clock import Ids, MovableClock
from unitask_sandbox.create_request import CreateRequest, read_create_request, unpaid
from unitask_sandbox.data_dir import opening
from unitask_sandbox.engines import simulated_picture, simulated_sound
from unitask_sandbox.engines.real import spoken
from unitask_sandbox.failures import Refusal, TaskFailure
from unitask_sandbox.faults import Fault, Script, named
from unitask_sandbox.files import Files
from unitask_sandbox.http_client import HttpClient
from unitask_sandbox.inputs import is_address, read_upload
from unitask_sandbox.request_log import Rate, RequestLog, hashed, key_fingerprint
from unitask_sandbox.scheduler import Scheduler
from unitask_sandbox.settings import Settings
from unitask_sandbox.store import Ending, NoRoom, Store
from unitask_sandbox.task import Task, file_url
from unitask_sandbox.threads import Autorun
from unitask_sandbox.webhooks import Courier

MOVING_SECONDS = 10.0  # that tasks move while the clock is moved; the rest, of very many tasks, moves afterwards
CANCELLABLE = frozenset({State.PENDING})
ACTIVE = frozenset(State) - ENDED - {State.UNKNOWN}
REVIEW_SECONDS = 60.0  # a guess; a client waits for five minutes


class Sandbox:
    """A provider of its own, with its accounts, tasks and files. Any thread may call any method.

    An operation raises `failures.Refusal` with the HTTP status of the answer. Times are unix seconds.

    Args:
        settings: How it behaves.

    Raises:
        CannotStart: The data folder is in use, is damaged, or cannot be used; it is an OSError and a ValueError.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        settings = settings or Settings()
        self.clock: Final = MovableClock(settings.clock)
        self.settings: Final = replace(settings, clock=self.clock)
        self.faults: Final = Script(self.settings.faults)
        self.arrivals: Final = RequestLog()
        self._http = HttpClient(self.settings.private_addresses or "loopback")
        self._folder = self.settings.data or Path(tempfile.mkdtemp(prefix="unitask-sandbox-"))
        path, durable = self._folder / snapshot.DATABASE, self.settings.data is not None
        with ExitStack() as opened, opening(path):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._store = Store(path, durable=durable)
            opened.callback(self._store.close)  # else the folder would stay locked
            fetch = self.settings.fetch or self._http.get
            self._files = Files(self._folder / "files", self._store, self.settings.clock, fetch, durable)
            self._store.heed_clock(self.settings.clock())
            self._store.open_accounts(self._accounts())
            opened.pop_all()
        self._autorun = Autorun(self._step) if self.settings.autorun else None
        self._delivery = Autorun(self._deliver) if self.settings.autorun else None
        self._controlling = threading.Lock()
        self._start()

    def _start(self) -> None:
        """Let tasks and webhooks of the store move, also those that an earlier sandbox over the same folder left."""
        self._ids = Ids(self.settings.seed, self._store.is_used)
        self._rate = Rate(self.settings.rate, self.clock)
        self._closing = threading.Event()
        self._scheduler = Scheduler(self.settings, self._store, self._files, self._closing, self._ended, self.faults)
        send = self.settings.send_webhook or self._http.post
        self._courier = Courier(self._store, self.clock, send, self._closing, self.faults)
        temporary = None if self.settings.data else self._folder
        parts = (self._closing, self._scheduler, self._courier.storing, self._store, temporary)
        self._release = weakref.finalize(self, _release, *parts)
        self._wake_all()

    def close(self) -> None:
        """Stop, and remove the temporary folder. Tasks that have not ended go on when the data folder is used again."""
        self._release()
        if self._autorun and self._delivery:
            self._autorun.close()
            self._delivery.close(wait=0.0)

    def admit(self, key: str | None) -> None:
        """Count a request of an account; refuse with 401, or 429 when the account sends more than it may."""
        if wait := self._rate.take(self._account(key)):
            raise Refusal(429, failures.TOO_MANY_REQUESTS, retry_after=math.ceil(wait))

    def accept(
        self, key: str | None, body: bytes, base_url: str = "", operation: str = "create_task", origin: str = ""
    ) -> Task:
        """Create a task from the body of a create request (`operation`), and take or freeze its price.

        Addresses of files in its webhook begin with `base_url`. `origin` is the task in the path of the request.
        """
        account = self._account(key)
        is_legacy = operation in legacy.CREATES
        request = (
            legacy.read_create_request(operation, body, origin)
            if is_legacy
            else read_create_request(body, accept_unknown=self.settings.accept_unknown)
        )
        task = request.task(self._ids(), account, self.settings, self._files.at_hand)
        ordered = self.faults.accepted(key_fingerprint(key), task.task_id, task.model, task.task_type)
        webhook = base_url if request.has_webhook() else None
        try:
            accepted = self._store.accept(task, request.input, webhook, self.settings.concurrency)
        except Exception as error:
            self.faults.refused(task.task_id, ordered)
            if isinstance(error, NoRoom):
                raise Refusal(429, failures.QUEUE_FULL.format(limit=self.settings.concurrency)) from None
            raise
        if not accepted:
            self._store.record(failed := unpaid(task))
            raise Refusal(500, failures.PREPARING_FAILED, failed)
        self._wake()
        return task

    def get(self, key: str | None, task_id: str, protocol: str | None = None, *, keyless: bool = False) -> Task:
        """Return a task of the account, or of any account (`keyless`); of a legacy protocol alone, if one is given."""
        account = None if keyless else self._account(key)
        task = self._store.task(task_id)
        if task is None or account not in (None, task.account) or protocol not in (None, legacy.protocol_of(task)):
            raise Refusal(404, failures.TASK_NOT_FOUND)
        return task

    def cancel(self, key: str | None, task_id: str) -> None:
        """Cancel a pending task and refund it."""
        task = self.get(key, task_id)
        if not self._cancel(task):
            status = self.get(key, task_id).status
            raise Refusal(400, f"task {task_id} is {status}; only a pending task can be cancelled")

    def cancel_many(self, key: str | None, created_before: float, model: str | None = None) -> int:
        """Cancel pending tasks, refund them, and return how many they were. Tasks created at that time or later stay.

        A model is one, or a family; None or "all" for every one.
        """
        found = self._store.of_account(self._account(key), CANCELLABLE, created_before)
        return sum(
            self._cancel(task)
            for task in found
            if model in (None, "all", task.model, bundle.family_of(task.model, task.task_type))
        )

    def account_info(self, key: str | None) -> dict[str, Any]:
        """Return the account with its balance, and with the key in clear, as the live answer has it."""
        return account_info(self._store.account(self._account(key)), key or "", self.settings)

    def active_tasks(self, key: str | None) -> dict[str, Any]:
        """Return the tasks that have not ended, by group."""
        return active_tasks(self._store.of_account(self._account(key), ACTIVE, math.inf))

    def history(
        self,
        key: str | None,
        page: int = 1,
        page_size: int = 10,
        model: str | None = None,
        start_time: float = 0,
        end_time: float = math.inf,
    ) -> dict[str, Any]:
        """Return a page of the tasks of a group (image_toolkit, mj, ...) that were created in a time, newest first.

        Pages count from 1. Both ends of the time are included.
        """
        account = self._account(key)
        models = None if model is None else models_of(model)
        offset = min((page - 1) * page_size, 2**63 - 1)
        total, found = self._store.history(account, start_time, end_time, models, page_size, offset)
        owner = self._store.account(account).number
        rows = [history_row(number, owner, task) for number, task in found]
        return {"data": rows, "page": page, "size": page_size, "total": total}

    def upload(self, key: str | None, body: bytes) -> str:
        """Store a file for 24 hours, and return its name."""
        self._account(key)
        return self._keep_file(*read_upload(body))

    def chat(self, key: str | None, body: bytes, base_url: str) -> dict[str, Any] | Iterator[str]:
        """Return a simulated completion, or the events that stream it."""
        self._account(key)
        request = bundle.read("ChatRequest", body)
        picture = None
        if "image" in request["model"]:  # it answers with a picture
            content = simulated_picture(llm.question(request))
            picture = file_url(base_url, self._keep_file(content, "png"))
        whole = llm.completion(request, self.settings.clock(), picture)
        if not request.get("stream"):
            return whole
        options: dict[str, Any] = request.get("stream_options") or {}
        return llm.stream(whole, whole["usage"] if options.get("include_usage") else {})

    def images(self, key: str | None, body: bytes | Mapping[str, str], base_url: str) -> dict[str, Any]:
        """Return simulated pictures, for a body of JSON or for the fields of a form with a picture to change."""
        self._account(key)
        request = llm.read_image(body)
        extension = "jpeg" if request.get("output_format") in ("jpeg", "jpg") else "png"
        picture = simulated_picture(request["prompt"], *llm.size_of(request), extension)
        pictures: list[dict[str, Any]] = [
            {"url": file_url(base_url, self._keep_file(picture, extension))}
            if request.get("response_format") == "url"
            else {"b64_json": base64.b64encode(picture).decode()}
            for _ in range(llm.answers(request))
        ]
        sent = llm.words(request["prompt"])
        usage = {"input_tokens": sent, "output_tokens": 0, "total_tokens": sent}
        return {"created": int(self.settings.clock()), "data": pictures, "usage": usage}

    def models(self, key: str | None) -> dict[str, Any]:
        """Return the models of the chat, of pictures and of speech."""
        self._account(key)
        return llm.models()

    def speech(self, key: str | None, body: bytes) -> bytes:
        """Return an MP3 that says a text; a simulated tone when the voice cannot."""
        self._account(key)
        request = bundle.read("SpeechRequest", body)
        try:
            sound: bytes = self._scheduler.run_now(spoken, request).output["audio"][0]
        except TaskFailure as failure:
            sound = simulated_sound(request["input"], failure.raw_message)
        return sound

    def upload_asset(self, key: str | None, body: bytes) -> str:
        """Store a file as an asset, and return its id; it can be used after its review."""
        account = self._account(key)
        url = bundle.read("AssetRequest", body)["url"]
        now = self.settings.clock()
        asset_id = f"asset-{datetime.fromtimestamp(now, UTC):%Y%m%d%H%M%S}-{self._ids()[-12:]}"
        self._store.keep_asset(account, asset_id, url, now + self.settings.seconds(REVIEW_SECONDS))
        return asset_id

    def assets(self, key: str | None) -> list[dict[str, Any]]:
        """Return the assets of the account with their status."""
        now = self.settings.clock()
        return [
            {
                "asset_id": asset_id,
                "status": "Processing" if now < active_at else "Active" if is_address(url) else "Failed",
            }
            for asset_id, url, active_at in self._store.assets(self._account(key))
        ]

    def file(self, name: str) -> Path:
        """Return the path of an output or uploaded file that has not expired."""
        return self._files.path(name)

    def balance(self, key: str) -> float:
        """Return the USD that a key has left."""
        return self._store.account(self._account(key)).balance / bundle.CREDITS_PER_USD

    def price_usd(self, task_type: TaskType, given: dict[str, Any]) -> float | None:
        """Return what a create request with a valid input is charged; None when no source says, or a file decides."""
        credits_ = CreateRequest(task_type, given, {}).credits(self._files.at_hand)
        return credits_ / bundle.CREDITS_PER_USD or None

    def overview(self, key: str | None, base_url: str) -> Overview:
        """Return what the page shows of the account of a key; addresses of files begin with `base_url`."""
        return Overview(self._store, self._account(key), base_url)

    def overview_of_accounts(self) -> list[dict[str, Any]]:
        """Return the money and the number of tasks of every account, which is named by the fingerprint of its key."""
        return [
            {
                "key": name[:8],
                "balance_usd": account.balance / bundle.CREDITS_PER_USD,
                "frozen_usd": account.frozen / bundle.CREDITS_PER_USD,
                "starting_usd": account.starting / bundle.CREDITS_PER_USD,
                "tasks": tasks,
            }
            for name, account, tasks in self._store.overview()
        ]

    def move_clock(self, to: float) -> None:
        """Move the clock forward to a time (unix seconds); with autorun, tasks move at their times on the way.

        A time that has passed changes nothing.
        """
        with self._controlling:
            until = time.monotonic() + MOVING_SECONDS
            while self.settings.autorun and time.monotonic() < until:
                due = self._scheduler.advance()
                if due is None or due > to:
                    break
                self.clock.move(due)
            self.clock.move(to)
            self._wake_all()

    def reset(self) -> None:
        """Begin anew: without tasks, files and requests; money, faults, clock and ids are as at the start."""
        self._replace(None, None, set)
        self.arrivals.clear()
        self.faults.clear()
        self.faults.add(self.settings.faults)

    def save(self, to: IO[bytes]) -> None:
        """Write a snapshot: tasks, files, accounts, webhooks that are due, and the time."""
        snapshot.save(to, self._store, self._files, self.clock())

    def load(self, source: IO[bytes]) -> None:
        """Replace everything by what is in a snapshot; the request log and the faults stay."""
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            now = snapshot.extract(source, folder, self._store)
            install = partial(self._files.install, folder / snapshot.FILES)
            try:
                self._replace(folder / snapshot.DATABASE, now, install)
            except sqlite3.IntegrityError as error:
                raise snapshot.refusal(str(error)) from None

    def _replace(self, path: Path | None, now: float | None, install: Callable[[set[str]], set[str]]) -> None:
        with self._controlling:
            release = self._release
            _stop(self._closing, self._scheduler, self._courier.storing)  # what is under way is dropped
            try:
                self._store.load(path, self._accounts(), install)
                self.clock.start_at(now)
                self._files.remove_unlisted()
            finally:
                self._start()
                release.detach()

    def _accounts(self) -> dict[str, int]:
        return {hashed(key): round(usd * bundle.CREDITS_PER_USD) for key, usd in self.settings.keys.items()}

    def fault(self, fault: Fault | str, **changes: Any) -> None:
        """Order a fault, in-process or over HTTP.

        Args:
            fault: The fault, or its name in faults.json.
            **changes: Other attributes: operation, times, delay, key, task, model, task_type.

        Raises:
            ValueError: There is none of that name, or it cannot have that.
        """
        self.faults.add(named(fault, **changes) if isinstance(fault, str) else [replace(fault, **changes)])

    def advance(self) -> bool:
        """Do everything that is due now; return True when tasks or webhooks are left that will be due later.

        With autorun, engines and webhooks are left to threads of their own.

        Raises:
            sqlite3.Error, OSError: The database or the disk could not be used; call it again, nothing is lost.
        """
        due = [self._scheduler.advance(), None if self._delivery else self._courier.deliver()]
        return due != [None, None]

    def _wake(self) -> None:
        if self._autorun:
            self._autorun.wake()

    def _wake_all(self) -> None:
        self._wake()
        if self._delivery:
            self._delivery.wake()

    def _step(self) -> float | None:
        return self._pause(self._scheduler.advance(), self._scheduler.next_expiry())

    def _deliver(self) -> float | None:
        assert self._delivery
        return self._pause(self._courier.deliver(self._delivery.wake))

    def _pause(self, *due: float | None) -> float | None:
        first = min((time for time in due if time is not None), default=None)
        return None if first is None else max(0.0, first - self.settings.clock())

    def _ended(self, task: Task) -> None:
        self._wake()  # its files must be removed when they expire
        if self._delivery and task.config["webhook_config"]["endpoint"]:
            self._delivery.wake()

    def _keep_file(self, content: bytes, extension: str) -> str:
        name = self._files.keep(self._ids(), content, extension)
        self._wake()  # it must be removed when it expires
        return name

    def _account(self, key: str | None) -> str:
        if key is None or key not in self.settings.keys:
            raise Refusal(401, failures.BAD_KEY)
        return hashed(key)

    def _cancel(self, task: Task) -> bool:
        ending = Ending(status=State.CANCELLED, at=self.settings.clock())
        return self._store.end(task.task_id, ending, before=CANCELLABLE)


def _release(
    closing: threading.Event, scheduler: Scheduler, delivering: threading.Lock, store: Store, folder: Path | None
) -> None:
    _stop(closing, scheduler, delivering)
    store.close()
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def _stop(closing: threading.Event, scheduler: Scheduler, delivering: threading.Lock) -> None:
    """Stop what moves tasks and webhooks, and wait until the store is not used by it any more."""
    closing.set()
    scheduler.close()
    with scheduler.storing, delivering:
        pass
