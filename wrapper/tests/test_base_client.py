"""Wrong use of the clients, words of the provider, and secrets: nothing is sent, obeyed or shown."""

import asyncio
import dataclasses
import inspect
import json
import logging
import pickle
import re
import traceback
import unicodedata
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from unitask import AdvisoryWarning, AsyncClient, Client, Output, SubmissionUncertain, Task, errors, tasks
from unitask._base_client import target_of
from unitask._core import envelope
from unitask._core.effects import Response
from unitask._model.task_token import Fingerprint
from unitask.webhooks import Receiver

from . import shells
from .pictures import encoded
from .script import AT_SOME_TIME, MODEL, TASK_ID, TASK_TYPE, answer, finished, refused, seen, task_data
from .shells import BASE_URL, CLIENTS, FACE_SWAP, KEY, all_of, get, in_turn, perform, provider

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LOST = SubmissionUncertain("no answer", identity=Fingerprint(MODEL, TASK_TYPE, "f" * 64), sent_between=(NOW, NOW))
NAN, HUGE = float("nan"), 10**400
FIRST = datetime.min  # noqa: DTZ901 - a local time that the system cannot convert
A_TASK: list[Any] = [None, 5, b"x", tasks.FaceSwap, FACE_SWAP, Task({}, Output), "", " ", "ut1.###", ".", ".."]
A_TASK += ["../x", "a/..", "a\\..\\b", "a\x00", "a\nb", "\x1b[2J", "\u202ea", "\ud800", " a", "a\t", "a" * 600]
A_FILE: list[Any] = [None, 1.5, "", f"{__file__}/nowhere", "https://a.test/a.png", b"", b"GIF89a"]
A_FILE += [encoded() + bytes(11 << 20)]
A_LIMIT: list[Any] = ["5", NAN, -0.1, HUGE, True, NOW]
A_CALLBACK: list[Any] = ["x", object()]
A_PAGE_SIZE: list[Any] = [None, "10", 0, 101, 1.5, True, NAN]
A_TIME: list[Any] = [None, "2026-01-01", NAN, -1, 2.0**53, HUGE, True, FIRST]
NO_TEXT: list[Any] = [5, b"x"]
MISSING = tasks.FaceSwap(target_image="missing.png", swap_image=encoded())

# Wrong values of each argument of each public method.
WRONG: dict[str, dict[str, list[Any]]] = {
    "submit": {"task": [None, "x", tasks.FaceSwap, Task({}, Output), MISSING, tasks.Hug(image_url=encoded())]},
    "run": {"task": [None, tasks.Raw("", "")], "timeout": A_LIMIT, "on_change": A_CALLBACK},
    "wait": {"task": A_TASK, "timeout": A_LIMIT, "on_change": A_CALLBACK},
    "wait_all": {
        "tasks": [None, TASK_ID, Task(task_data(), Output), [None], [TASK_ID, ""], ["."]],
        "timeout": A_LIMIT,
        "on_change": A_CALLBACK,
    },
    "map": {
        "tasks": [None, 5, "x", FACE_SWAP],
        "concurrency": [None, "5", 0, 1.5, True],
        "per_second": ["5", NAN, 0, -1.0, True],
        "max_usd": ["5", NAN, -1.0, True],
        "timeout": A_LIMIT,
        "to": [5, "file.png", f"{__file__}/nowhere/"],
        "on_progress": A_CALLBACK,
        "journal": ["job.db", 5],
    },
    "find": {"uncertain": [None, "x", ValueError("x")], "timeout": A_LIMIT},
    "watch": {"task": A_TASK, "timeout": A_LIMIT},
    "get": {"task": A_TASK},
    "cancel": {"task": A_TASK},
    "cancel_many": {"created_before": A_TIME, "group": NO_TEXT},
    "account": {},
    "active_tasks": {},
    "history": {"group": NO_TEXT, "start": A_TIME[1:], "end": A_TIME[1:], "page_size": A_PAGE_SIZE},
    "upload": {"file": A_FILE},
    "openai": {},
    "download": {
        "task": [None, TASK_ID, [], [None], Task(task_data(), Output)],
        "to": [None, 5],
        "parallel": [None, "x", 0, 1.5],
    },
    "close": {},
}
RIGHT: dict[str, dict[str, Any]] = {
    **{name: {"task": FACE_SWAP} for name in ("submit", "run")},
    **{name: {"task": TASK_ID} for name in ("wait", "watch", "get", "cancel")},
    "wait_all": {"tasks": [TASK_ID]},
    "map": {"tasks": []},
    "find": {"uncertain": LOST},
    "cancel_many": {"created_before": 1},
    "download": {"task": finished(), "to": f"{__file__}/nowhere/"},
}
CASES = [(method, name, value) for method, names in WRONG.items() for name, values in names.items() for value in values]
IDS = [f"{method}-{name}-{number}" for number, (method, name, _) in enumerate(CASES)]


def test_each_argument_of_each_method_is_tried() -> None:
    flags = {"self", "validate", "previews", "ordered", "overwrite", "long_answers", "options"}
    methods = {name: method for name, method in vars(Client).items() if not name.startswith("_")}

    assert {name: inspect.signature(method).parameters.keys() - flags for name, method in methods.items()} == {
        name: wrong.keys() for name, wrong in WRONG.items()
    }


@pytest.mark.parametrize(("method", "name", "value"), CASES, ids=IDS)
def test_wrong_argument_is_refused_before_anything_is_sent(shell: str, method: str, name: str, value: Any) -> None:
    def call(client: Any) -> Any:
        result = getattr(client, method)(**{**RIGHT.get(method, {}), name: value})
        return all_of(result) if hasattr(result, "__next__") or hasattr(result, "__anext__") else result

    by_name = name not in {"file", "task", "tasks", "to", "uncertain"}
    shown = f"{name} is {re.escape(f'{value!r:.80}')}: give (a|an|seconds,|[0-9]+ to) " if by_name else "."
    with pytest.raises((errors.InvalidInput, TypeError), match=shown):
        perform(shell, provider(), call, uploads=False)


def test_task_names_its_output_and_its_duration() -> None:
    named = {"model": "Qubico/image-toolkit", "task_type": "face-swap"}
    swap = Task(task_data(**named), tasks.FaceSwapOutput)
    several = Task(task_data(model="kling", task_type="video_generation"), tasks.KlingOutput)
    with pytest.raises(errors.InvalidInput, match="the task has no usable id: 7"):
        target_of(Task({"task_id": 7}, Output))
    with pytest.raises(errors.InvalidInput, match=r"^the task id is empty$"):
        target_of(" ")

    assert target_of(swap) == target_of(swap.token) == (TASK_ID, tasks.FaceSwapOutput, "FaceSwap")
    assert target_of(Task(task_data(**named), Output)) == (TASK_ID, Output, None)
    assert target_of(several) == target_of(several.token) == (TASK_ID, tasks.KlingOutput, None)


def test_unknown_option_is_refused(shell: str) -> None:
    with pytest.raises(errors.InvalidInput, match="'webhook'"):
        perform(shell, provider(), lambda client: client.run(FACE_SWAP, webhook="https://me.test"))


SETTINGS: dict[str, list[Any]] = {
    "api_key": [5, KEY.encode(), "", f"{KEY}\n", f"a {KEY}", f"ключ{KEY}"],
    "base_url": [
        *(5, httpx.URL(BASE_URL), "provider.test", "ftp://provider.test", "http://p.test/?a=b"),
        *("http://user:word@p.test", "http://api..example", "http://a:0", "http://a.test/\ud800"),
    ],
    "http_timeout": [None, 0, 1e12, *A_LIMIT],
    "poll_patience": [None, 0, *A_LIMIT],
    "webhooks": ["x", Receiver],
    "budget": [0.5, 0],
    "transport": ["x", httpx.Client],
    "max_retries": [-1, 1.5, True, "3"],
    "default_headers": ["x", {5: "x"}, {"a b": "c"}, {"x-a": 5}, {"x-a": "b\nc"}, {"x-a": "b "}, {"x-a": "é"}],
    "proxy": [5, "ftp://proxy.test", "http://", "http://proxy.test:0"],
    "http_client": ["x", httpx.Client, httpx.MockTransport(print)],
    "clock": ["x", lambda: 1.0],
    "sleep": ["x"],
}


def test_each_setting_is_tried() -> None:
    for kind in (Client, AsyncClient):
        assert inspect.signature(kind).parameters.keys() - {"mark_webhooks", "uploads"} == SETTINGS.keys()


@pytest.mark.parametrize("name", SETTINGS)
def test_wrong_setting_is_refused_by_its_name(shell: str, name: str) -> None:
    is_text = name in {"api_key", "base_url", "default_headers", "proxy"}
    for value in SETTINGS[name]:
        shown = f"^{name} is {re.escape(f'{value!r:.80}')}: give (a|an|at most) "
        with pytest.raises(errors.InvalidInput, match="(?i)" + name.replace("api_", "") if is_text else shown):
            CLIENTS[shell](**{"api_key": KEY, "base_url": BASE_URL, name: value})


ODD_KEY = "the API key has a space, a line break or a character outside ASCII: copy it again"
ODD_HEADER = "has a line break, a space at an end or a character outside ASCII: give plain text"
SAID: list[tuple[str, Any, str]] = [
    ("api_key", 5, "api_key is of type int: give text"),
    ("api_key", f"a {KEY}", ODD_KEY),
    (
        *("api_key", ""),
        "there is no API key: set UNITASK_API_KEY or pass api_key=. Without an account, start the local provider "
        "with `unitask sandbox`, and use the key 'sandbox' and the base_url that it prints",
    ),
    ("http_timeout", 1e12, "http_timeout is 1000000000000.0: give at most 86400 seconds"),
    ("poll_patience", 0, "poll_patience is 0: give a number of seconds above 0"),
    ("max_retries", -1, "max_retries is -1: give a whole number from 0, or None"),
    ("clock", "x", "clock is 'x': give a function that returns a unitask.Timestamp"),
    ("default_headers", "x", "default_headers is of type str: give a dictionary of names and values"),
    ("default_headers", {"x-a": "b "}, f"the value of x-a in default_headers {ODD_HEADER}"),
]


@pytest.mark.parametrize(("name", "value", "words"), SAID)
def test_refusal_of_a_setting_says_what_to_give(name: str, value: Any, words: str) -> None:
    with pytest.raises(errors.InvalidInput) as caught:
        Client(**{"api_key": KEY, name: value})
    assert str(caught.value) == words


def test_limits_of_time_have_defaults_and_the_longest_is_a_day() -> None:
    usual = Client(KEY)

    assert (usual.http_timeout, usual.poll_patience) == (60.0, 60.0)
    assert Client(KEY, http_timeout=86_400).http_timeout == 86_400
    with pytest.raises(errors.InvalidInput, match=r"^timeout is -1: give seconds, 0 to poll once, None for the usual"):
        usual.wait(TASK_ID, timeout=-1)


def test_refusal_of_a_setting_does_not_show_the_key(shell: str) -> None:
    for name, values in SETTINGS.items():
        for value in values:
            with pytest.raises(errors.InvalidInput) as caught:
                CLIENTS[shell](**{"api_key": KEY, "base_url": BASE_URL, name: value})
            assert isinstance(value, bytes) or KEY not in everything_shown(caught.value), name


@example(task_id="a?b=c#d/e")
@example(task_id="%2e%2e")
@given(task_id=st.text(max_size=40) | st.text("./\\%?#ab\x00", max_size=6))
def test_id_is_quoted_and_reaches_no_other_resource(task_id: str) -> None:
    script = provider(seen("completed", task_id=task_id), answer(200, {"code": 200, "message": "ok"}))
    calls = in_turn(lambda client: client.get(task_id), lambda client: client.cancel(task_id))
    found, _ = perform("sync", script, calls)
    if isinstance(found, errors.InvalidInput):
        assert script.requests == []
        return
    (path,) = {line.removeprefix("GET ").removeprefix("DELETE ") for line in script.lines}
    *folders, last = path.split("/")
    assert folders == ["", "api", "v1", "task"]
    assert last not in ("", ".", "..")
    assert unquote(last) == task_id


ODD_WORDS = "\x1b[2J\x1b]0;owned\x07\x9b31m\r\n\u202egnp.exe\u2066\u200b\x7f"


def obeyed(text: str) -> list[str]:
    """Return the characters that a terminal obeys, or that hide what a text says."""
    return [letter for letter in text if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp")]


def stop(_: object) -> None:
    raise KeyboardInterrupt


WORDS: dict[str, tuple[list[Any], Callable[[Any], Any]]] = {
    "a refusal": ([refused(400, ODD_WORDS)], lambda client: client.submit(FACE_SWAP)),
    "a reason": ([seen("failed", error={"code": 1, "message": ODD_WORDS})], lambda client: client.run(FACE_SWAP)),
    "a status": ([seen(ODD_WORDS)] * 9, lambda client: client.wait(TASK_ID, timeout=0)),
    "another task": ([seen(task_id=ODD_WORDS)] * 99, lambda client: client.wait(TASK_ID, timeout=0)),
    "an interruption": ([seen(task_id=ODD_WORDS)], lambda client: client.run(FACE_SWAP, on_change=stop)),
    "an output": ([seen("completed", output=ODD_WORDS)], lambda client: client.run(FACE_SWAP).output),
}


@pytest.mark.parametrize(("script", "call"), WORDS.values(), ids=WORDS)
def test_error_and_log_control_no_terminal(script: list[Any], call: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "unitask")
    with pytest.raises((errors.UnitaskError, KeyboardInterrupt)) as caught:
        perform("sync", provider(*script), call, poll_patience=1)

    words = "".join([str(caught.value), *getattr(caught.value, "__notes__", ())])
    assert words
    assert obeyed(words) == []
    assert obeyed("".join(record.getMessage() for record in caplog.records)) == []


@given(word=st.text())
def test_task_and_errors_control_no_terminal(word: str) -> None:
    task = Task({"task_id": word, "model": word, "task_type": word, "status": word}, Output)

    assert obeyed(repr(task)) == []
    assert obeyed(str(errors.InvalidInput(word))) == []
    assert obeyed(str(envelope.task_failed(task))) == []


SECRET = "5ecret-" * 5


def leaky(status: int = 200, /, words: str = f"{KEY} is not {SECRET}", **task: Any) -> Response:
    """An answer that repeats the key and the webhook secret wherever it can."""
    config = {"webhook_config": {"endpoint": "https://me.test", "secret": SECRET}}
    body = {
        "code": status,
        "message": words if status >= 300 else "success",
        "data": {**task_data(**task), "config": config, "detail": words, "logs": [{"x-api-key": KEY}]},
        "api_key": KEY,
    }
    headers = dict.fromkeys(("x-request-id", "cf-ray", "server", "location", "x-echo"), words)
    return Response(status, headers, json.dumps(body).encode(), AT_SOME_TIME)


def leaky_poll(status: int = 200, /, **task: Any) -> Response:
    """The same for a client that sent no secret: it recognises the secret only in its documented place."""
    return leaky(status, KEY, **task)


def leaky_data(data: Any) -> Response:
    return answer(200, {"data": data, "message": KEY}, server=KEY)


def submit(client: Any, **options: Any) -> Any:
    return client.submit(FACE_SWAP, **{"webhook_url": "https://me.test", "webhook_secret": SECRET, **options})


def run(client: Any) -> Any:
    return client.run(FACE_SWAP, timeout=0, webhook_url="https://me.test", webhook_secret=SECRET)


UNSENDABLE = dataclasses.replace(FACE_SWAP, extra={"a": object()})
LEAKS: dict[str, tuple[Callable[[Any], Any], list[Any]]] = {  # with an error, or a result
    "refused submission": (submit, [leaky(400, status="failed")]),
    "submission, broken gateway": (submit, [answer(502, f"<html>{KEY} {SECRET}".encode(), server=f"{KEY} {SECRET}")]),
    "submission, read timeout": (submit, [httpx.ReadTimeout(KEY)]),
    "bad option": (lambda client: submit(client, webhook_url=7), []),
    "bad input": (lambda client: client.run(UNSENDABLE, webhook_secret=SECRET), []),
    "timeout": (run, [leaky(), leaky_poll()]),
    "failed task": (run, [leaky(status="failed", error={"message": KEY})]),
    "account": (lambda client: client.account(), [leaky_data({"api_key": KEY, "name": KEY, "wallet": {"id": KEY}})]),
    "history": (
        lambda client: all_of(client.history()),
        [leaky_data({"data": [{"task_id": "t", "api_key_id": KEY}], "total": 1})],
    ),
    "upload": (lambda client: client.upload(encoded()), [leaky_data({"url": f"https://img.test/{KEY}.png"})]),
    "wait_all": (lambda client: client.wait_all([TASK_ID, "b"]), [leaky_poll(status="failed"), leaky_poll(401)]),
    "find": (
        lambda client: client.find(LOST, timeout=0),
        [leaky_data({"data": [{"task_id": TASK_ID}], "total": 1}), leaky_poll()],
    ),
    "submit": (submit, [leaky(status="completed")]),
    "get": (get, [leaky_poll(status="completed")]),
}


def everything_shown(error: BaseException) -> str:
    """Return an error as text, with its traceback and the variables of every frame but those of the tests."""
    frames = traceback.TracebackException.from_exception(error, capture_locals=True)
    for frame in frames.stack:
        if Path(frame.filename).parent == Path(__file__).parent:
            frame.locals = None
    return "\n".join([str(vars(error)), str(error), repr(error), *frames.format()])


@pytest.mark.parametrize(("call", "script"), LEAKS.values(), ids=LEAKS.keys())
def test_results_errors_and_logs_show_neither_key_nor_secret(
    shell: str, call: Callable[[Any], Any], script: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.NOTSET)
    result: Any
    try:
        result = perform(shell, provider(*script), call, poll_patience=1)
        shown = f"{result!r} {getattr(result, 'raw', '')!r}"
    except errors.UnitaskError as error:
        result, shown = error, everything_shown(error)

    everything = pickle.dumps(result) + shown.encode() + caplog.text.encode()
    assert KEY.encode() not in everything
    assert SECRET.encode() not in everything


@pytest.mark.parametrize("number", [1, 2])  # of the change; the first one is the answer to the submission
@pytest.mark.parametrize("is_of_another", [False, True])
def test_error_of_the_callers_function_names_the_accepted_task(
    shell: str, number: int, is_of_another: bool, caplog: pytest.LogCaptureFixture
) -> None:
    limited = errors.RateLimited("too many cancels", status=429)
    raised = errors.TaskFailed(Task(task_data("failed", task_id="another"), Output)) if is_of_another else limited
    changes = list[object]()

    def fail(task: Any) -> None:
        changes.append(task.status)
        if len(changes) == number:
            raise raised

    script = provider(seen("pending"), seen("processing"))
    with pytest.raises(type(raised)):
        perform(shell, script, lambda client: client.run(FACE_SWAP, on_change=fail))

    places = [str(raised.__notes__), caplog.text] if is_of_another else [raised.next_step]
    assert all(f"client.wait({TASK_ID!r})" in place for place in places)
    assert is_of_another or (raised.task_id, raised.retryable) == (TASK_ID, False)


@pytest.mark.parametrize("method", ["submit", "run", "submit in a task"])
def test_advisory_warning_points_once_to_the_line_of_the_caller(shell: str, method: str) -> None:
    name = method.partition(" ")[0]

    async def asynchronous(client: Any) -> None:
        for _ in range(2):
            call = getattr(client, name)(FACE_SWAP, service_mode="ppu")
            await (asyncio.create_task(call) if method != name else call)

    def sync(client: Any) -> None:
        for _ in range(2):
            getattr(client, name)(FACE_SWAP, service_mode="ppu")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        perform(shell, provider(*[seen("completed")] * 2), asynchronous if shell == "async" else sync)

    (advice,) = caught
    assert advice.category is AdvisoryWarning
    assert Path(advice.filename) in (Path(__file__), Path(shells.__file__))  # where the loop of a task is run
