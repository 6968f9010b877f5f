"""The shells: what goes over HTTP, how settings are found, what is never shown. Each test runs with both clients."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import json
import logging
import pickle
import re
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpcore
import httpx
import pytest
from unitask import AsyncClient, Client, Output, Task, errors, tasks
from unitask._base_client import NEVER_LEFT
from unitask._core import polling
from unitask._core.effects import Response
from unitask._model.task_token import Fingerprint
from unitask.tasks import FaceSwapOutput
from unitask_api import contract

from .pictures import encoded
from .script import GATEWAY, MODEL, TASK_ID, TASK_TYPE, answer, seen, task_data
from .shells import FACE_SWAP, KEY, StoppedClock, all_of, perform, provider, responded

OUTPUT_URL = "https://out.test/temp/swapped.png"
DONE = seen("completed", output={"image_url": OUTPUT_URL})
CREATE, LOOK = "POST /api/v1/task", f"GET /api/v1/task/{TASK_ID}"
CLASSES: dict[str, Any] = {"sync": Client, "async": AsyncClient}
TIMES = ("http_timeout", "poll_patience")


# ---- the calls


def test_run_sends_one_create_polls_as_planned_and_returns_the_task(shell: str) -> None:
    told: list[object] = []
    script = provider(seen("pending"), seen("processing"), seen("processing"), DONE)
    options = {"service_mode": "public", "on_change": lambda task: told.append(task.status)}
    task = perform(shell, script, lambda client: client.run(FACE_SWAP, **options))

    assert script.lines == [CREATE, LOOK, LOOK, LOOK]
    assert told == ["pending", "processing", "completed"]
    assert script.requests[0].body == {
        "model": MODEL,
        "task_type": TASK_TYPE,
        "input": {"target_image": "https://me.test/a.jpg", "swap_image": "https://me.test/b.png"},
        "config": {"service_mode": "public"},
    }
    assert task.output.image_url == OUTPUT_URL
    usual = polling.DurationEstimate(contract.task_types()["FaceSwap"].typical_seconds)
    first = polling.next_poll_delay(0.0, usual)
    assert script.clock.sleeps[:2] == pytest.approx([first, polling.next_poll_delay(first, usual)])
    script = provider(seen("completed"))
    perform(shell, script, lambda client: client.submit(tasks.Raw("", ""), validate=False))
    assert script.requests[0].body == {"model": "", "task_type": "", "input": {}}


@pytest.mark.parametrize("given", [TASK_ID, Task(task_data(), FaceSwapOutput)], ids=["id", "value"])
def test_task_is_given_by_its_id_or_itself(shell: str, given: Any) -> None:
    script = provider(seen("pending"), DONE)
    task = perform(shell, script, lambda client: client.wait(given))
    watched = perform(shell, provider(seen(), seen(), DONE), lambda client: all_of(client.watch(given)))
    acknowledged = provider(answer(200, {"code": 200, "message": "task canceled"}))

    assert script.lines == [LOOK, LOOK]
    assert task.output_type is (Output if given is TASK_ID else FaceSwapOutput)
    assert task.output.image_url == OUTPUT_URL
    assert [event.status for event in watched] == ["pending", "completed"]
    assert perform(shell, acknowledged, lambda client: client.cancel(given)) is None
    assert acknowledged.lines == [f"DELETE /api/v1/task/{TASK_ID}"]


@pytest.mark.parametrize(
    ("given", "query"),
    [
        ({"created_before": 1_700_000_000}, "created_before=1700000000"),
        ({"created_before": 1_700_000_000.9, "group": "kling"}, "created_before=1700000000&model=kling"),
        ({"created_before": datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)}, "created_before=1700000000"),
    ],
    ids=["seconds", "fraction and model", "datetime"],
)
def test_cancel_many_says_before_when(shell: str, given: dict[str, Any], query: str) -> None:
    script = provider(answer(200, {"code": 200, "message": "ok"}))

    assert perform(shell, script, lambda client: client.cancel_many(**given)) is None
    assert script.lines == [f"DELETE /api/v1/tasks?{query}"]


@pytest.mark.parametrize(("asked", "limit"), [({}, 60.0), ({"http_timeout": 7}, 7)], ids=["default", "given"])
def test_each_call_has_the_limit_of_the_client(shell: str, asked: dict[str, Any], limit: float) -> None:
    requests: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return responded(seen("pending") if request.method == "POST" else DONE)

    perform(shell, handler, lambda client: client.run(FACE_SWAP), **asked)

    for request in requests:
        sending = int(request.headers.get("content-length", 0)) / 50_000  # bytes a second
        timeouts = {"connect": limit, "pool": limit, "read": limit + sending, "write": limit + sending}
        assert request.extensions["timeout"] == timeouts


# ---- settings


@pytest.mark.parametrize(
    ("environment", "given", "key", "url"),
    [
        ({}, {}, KEY, "https://api.piapi.ai"),
        ({"UNITASK_API_KEY": "first", "PIAPI_API_KEY": "second"}, {"api_key": None}, "first", "https://api.piapi.ai"),
        ({"UNITASK_API_KEY": "", "PIAPI_API_KEY": "second"}, {"api_key": ""}, "second", "https://api.piapi.ai"),
        ({"UNITASK_API_KEY": "first", "UNITASK_BASE_URL": ""}, {"api_key": "given"}, "given", "https://api.piapi.ai"),
        ({"UNITASK_BASE_URL": "http://127.0.0.1:8042"}, {}, KEY, "http://127.0.0.1:8042"),
        ({"UNITASK_BASE_URL": "http://127.0.0.1:8042"}, {"base_url": "https://a.test/b/"}, KEY, "https://a.test/b"),
    ],
)
def test_key_and_base_url_are_the_given_ones_or_those_of_the_environment(
    shell: str, environment: dict[str, str], given: Any, key: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    script = provider(seen())
    perform(shell, script, get, **{"base_url": None, **given})

    assert script.requests[0].headers["x-api-key"] == key
    assert script.requests[0].url == f"{url}/api/v1/task/{TASK_ID}"
    assert contract.document()["servers"][0]["url"] == "https://api.piapi.ai"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("api_key", "", r"set UNITASK_API_KEY or pass api_key=.*`unitask sandbox`"),
        *(("api_key", key, "copy it again") for key in (f"{KEY}\n", f"a {KEY}", f"ключ{KEY}")),
        *(("base_url", url, "base_url is") for url in ("provider.test", "ftp://provider.test", 7)),
        *(("base_url", f"http://{url}", "base_url is") for url in ("p.test/?a=b", "user:word@p.test", "api..example")),
        *(("base_url", f"http://{url}", "base_url is") for url in ("a:0", "a.test/\ud800")),
        *((name, value, f"{name} is") for name in TIMES for value in (0, float("nan"), "6")),
        ("http_timeout", 1e12, "http_timeout is"),  # no socket takes it
    ],
    ids=str,
)
def test_unusable_setting_is_refused_without_the_key(shell: str, name: str, value: Any, message: str) -> None:
    with pytest.raises(errors.InvalidInput, match=message) as caught:
        CLASSES[shell](transport=provider().transport, **{"api_key": KEY, name: value})

    assert KEY not in "\n".join(told(caught.value))


def test_client_cannot_be_pickled(shell: str) -> None:
    with pytest.raises(TypeError, match="make one in each process"):
        pickle.dumps(CLASSES[shell](KEY, poll_patience=float("inf")))


# ---- the key


# ---- no answer


MAY_HAVE_ARRIVED = {
    *(httpx.ReadTimeout, httpx.WriteTimeout, httpx.ReadError, httpx.WriteError, httpx.CloseError),
    *(httpx.RemoteProtocolError, httpx.LocalProtocolError, httpx.DecodingError, httpx.TooManyRedirects),
}


def test_every_error_of_httpx_is_known_to_have_left_or_not() -> None:
    kinds = [kind for kind in vars(httpx).values() if isinstance(kind, type) and issubclass(kind, httpx.RequestError)]
    leaves = {kind for kind in kinds if not any(kind in other.__bases__ for other in kinds)}

    assert leaves == {*NEVER_LEFT, *MAY_HAVE_ARRIVED}
    assert not MAY_HAVE_ARRIVED.intersection(NEVER_LEFT)


def test_broken_compression_leaves_it_open(shell: str) -> None:
    broken = answer(200, b"not gzip", content_encoding="gzip")
    with pytest.raises(errors.SubmissionUncertain, match="HTTP 200, and its body cannot be unpacked"):
        perform(shell, provider(broken), lambda client: client.submit(FACE_SWAP))


# ---- interruption


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("by", [KeyboardInterrupt, asyncio.CancelledError], ids=lambda by: by.__name__)
@pytest.mark.parametrize(
    "call", [lambda client: client.run(FACE_SWAP), lambda client: all_of(client.watch(TASK_ID))], ids=["run", "watch"]
)
def test_interruption_names_the_task(shell: str, call: Any, by: type[BaseException], at: int) -> None:
    script = provider(seen("pending"), *[seen("processing")] * 9)
    with pytest.raises(by) as caught:
        perform(shell, script, call, clock=StoppedClock(at, by))

    assert caught.value.__notes__ == [f"unitask: task {TASK_ID} goes on; client.wait({TASK_ID!r}) waits for it again"]


# ---- what is logged


def test_changes_are_logged_and_an_unknown_word_warns_once(shell: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "unitask")
    odd = [seen("odd\nCRITICAL \ud800"), seen("odd\nCRITICAL \ud800", progress=1), seen("odder"), DONE]
    perform(shell, provider(*odd), lambda client: client.wait(TASK_ID))
    lines = [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "unitask"]

    first = r"odd\nCRITICAL \ud800"  # on one line, whatever the provider says
    assert [line for line in lines if line[0] == "INFO"] == [
        ("INFO", f"task {TASK_ID}: {word}") for word in (first, first, "odder", "completed")
    ]
    assert [words.partition("; the wait")[0] for level, words in lines if level == "WARNING"] == [
        f"task {TASK_ID} has the unknown status {word!r}" for word in ("odd\nCRITICAL \ud800", "odder")
    ]


# ---- what is never shown

SECRET = "5ecret-" * 5
CONFIG = {"webhook_config": {"endpoint": "https://me.test", "secret": SECRET}}
ECHOED = ("x-request-id", "x-trace-id", "cf-ray", "server", "location", "x-echo")


def leaky(status: int, /, words: str = f"{KEY} is not {SECRET}", **task: Any) -> Response:
    """An answer of a provider that repeats what it was sent wherever it can, and the secret where it is documented."""
    body = {
        "code": status,
        "message": words if status >= 300 else "success",
        "data": {**task_data(**task), "config": CONFIG, "detail": words, "logs": [{"x-api-key": KEY}]},
        "api_key": KEY,
    }
    return Response(status, dict.fromkeys(ECHOED, words), json.dumps(body).encode(), GATEWAY.at)


def leaky_look(status: int = 200, /, **task: Any) -> Response:
    """The same for a poll: a client that sent no secret knows it only from where it is documented."""
    return leaky(status, KEY, **task)


def submit(client: Any) -> Any:
    return client.submit(FACE_SWAP, webhook_url="https://me.test", webhook_secret=SECRET)


def run(client: Any) -> Any:
    return client.run(FACE_SWAP, timeout=0, webhook_url="https://me.test", webhook_secret=SECRET)


def get(client: Any) -> Any:
    return client.get(TASK_ID)


@pytest.mark.parametrize("call", [submit, run, get, lambda client: all_of(client.history())])
def test_closed_client_refuses_every_call_and_sends_nothing(shell: str, call: Callable[[Any], Any]) -> None:
    script, kept = provider(seen()), list[Any]()
    perform(shell, script, lambda client: (kept.append(client), client.get(TASK_ID))[1])
    with pytest.raises(errors.InvalidInput, match="this client is closed"):
        asyncio.run(call(kept[0])) if shell == "async" else call(kept[0])

    assert len(script.requests) == 1


LOST = errors.SubmissionUncertain(
    "no answer",
    identity=Fingerprint(MODEL, TASK_TYPE, "f" * 64),
    sent_between=(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)),
)
UNSENDABLE = dataclasses.replace(FACE_SWAP, extra={"a": object()})
LEAKY_PAGE = answer(502, f"<html>{KEY} {SECRET}".encode(), server=f"{KEY} {SECRET}")
LEAKS: dict[str, tuple[Callable[[Any], Any], list[Any]]] = {
    "refused create": (submit, [leaky(400, status="failed")]),
    "lack of credit": (submit, [leaky(500, status="failed")]),
    "create, broken gateway": (submit, [LEAKY_PAGE]),
    "create, read timeout": (submit, [httpx.ReadTimeout(KEY)]),
    "create without an id": (submit, [leaky(200, task_id="")]),
    "bad option": (lambda client: client.submit(FACE_SWAP, webhook_url=7, webhook_secret=SECRET), []),
    "bad input": (lambda client: client.run(UNSENDABLE, webhook_secret=SECRET), []),
    "timeout": (run, [leaky(200), leaky_look()]),
    "failed task": (run, [leaky(200, status="failed", error={"message": KEY})]),
    "look at another task": (get, [leaky_look(task_id="other")] * 99),
    "refused account": (lambda client: client.account(), [leaky_look(401)]),
    "refused upload": (lambda client: client.upload(encoded()), [leaky_look(403)]),
    "bad token": (lambda client: client.wait("ut1.###"), []),
}


def told(error: BaseException) -> list[str]:
    """An error as text, and its traceback with the variables of every frame but those of the tests."""
    frames = traceback.TracebackException.from_exception(error, capture_locals=True)
    for frame in frames.stack:
        if Path(frame.filename).parent == Path(__file__).parent:
            frame.locals = None
    return [str(error), repr(error), *frames.format()]


@pytest.mark.parametrize(("call", "script"), LEAKS.values(), ids=LEAKS.keys())
def test_error_shows_neither_key_nor_secret(
    shell: str, call: Callable[[Any], Any], script: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.NOTSET)
    with pytest.raises(errors.UnitaskError) as caught:
        perform(shell, provider(*script), call, poll_patience=1)

    shown = "\n".join([str(vars(caught.value)), caplog.text, *told(caught.value)]).encode()
    shown += pickle.dumps(caught.value)
    assert KEY.encode() not in shown
    assert SECRET.encode() not in shown


def leaky_data(data: Any) -> Response:
    """An answer about the account, with the key where it is documented and where it is not."""
    return answer(200, {"data": data, "message": KEY}, server=KEY)


RESULTS: dict[str, tuple[Callable[[Any], Any], list[Response]]] = {
    "account": (lambda client: client.account(), [leaky_data({"api_key": KEY, "name": KEY, "wallet": {"id": KEY}})]),
    "active_tasks": (lambda client: client.active_tasks(), [leaky_data({"flux": {"active_tasks": [KEY]}})]),
    "history": (
        lambda client: all_of(client.history()),
        [leaky_data({"data": [{"task_id": "t", "api_key_id": KEY}], "total": 1})],
    ),
    "upload": (lambda client: client.upload(encoded()), [leaky_data({"url": f"https://img.test/{KEY}.png"})]),
    "wait_all": (lambda client: client.wait_all([TASK_ID, "other"]), [leaky_look(status="failed"), leaky_look(401)]),
    "find": (
        lambda client: client.find(LOST, timeout=0),
        [leaky_data({"data": [{"task_id": TASK_ID}], "total": 1}), leaky_look()],
    ),
    "find, refused": (lambda client: client.find(LOST, timeout=0), [leaky_look(401)]),
    **{call.__name__: (call, [leaky(200, status="completed")]) for call in (submit, run)},
    "get": (get, [leaky_look(status="completed")]),
}


@pytest.mark.parametrize(("call", "script"), RESULTS.values(), ids=RESULTS.keys())
def test_result_shows_neither_key_nor_secret(
    shell: str, call: Callable[[Any], Any], script: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.NOTSET)
    result = perform(shell, provider(*script), call)

    shown = f"{result!r} {getattr(result, 'raw', '')!r}".encode() + pickle.dumps(result) + caplog.text.encode()
    assert KEY.encode() not in shown
    assert SECRET.encode() not in shown


def test_short_key_is_not_searched_for(shell: str) -> None:
    task = perform(shell, provider(seen("pending", detail="sandbox")), get, api_key="sandbox")

    assert task.raw["detail"] == "sandbox"


def test_httpcore_logs_no_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.NOTSET)
    content = seen("completed").body
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    transport = httpx.HTTPTransport()
    transport._pool = httpcore.ConnectionPool(network_backend=httpcore.MockBackend([head.encode(), content]))
    with Client(KEY, "http://provider.test", transport=transport) as client:
        client.submit(FACE_SWAP, webhook_secret=SECRET)

    assert "receive_response_headers.complete" in caplog.text
    assert KEY not in caplog.text
    assert SECRET not in caplog.text


# ---- both clients are one


def public(kind: type[Any]) -> dict[str, Any]:
    """The public methods of a class."""
    return {name: method for name, method in inspect.getmembers(kind, callable) if not name.startswith("_")}


@pytest.mark.parametrize("name", ["__init__", *(public(Client).keys() - {"close"})])
def test_both_clients_have_the_same_signatures(name: str) -> None:
    def shape(kind: type[Any]) -> list[Any]:
        signature = inspect.signature(getattr(kind, name))
        result = re.sub(r"\bAsync(Iterator|OpenAI)\b", r"\1", str(signature.return_annotation))
        given = [
            (
                each.name,
                each.kind,
                *(() if each.name in ("transport", "http_client", "sleep") else (each.default, str(each.annotation))),
            )
            for each in signature.parameters.values()
        ]
        return [*given, result]

    asynchronous, sync = (getattr(kind, name).__doc__ or "" for kind in (AsyncClient, Client))
    assert re.sub(r"await |async |[()]", "", asynchronous) == re.sub(r"[()]", "", sync) or name == "__init__"
    assert shape(Client) == shape(AsyncClient)
