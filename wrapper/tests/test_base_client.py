"""Wrong use of the clients, and words of the provider: both end in a clear error, and nothing is sent for the first."""

from __future__ import annotations

import asyncio
import inspect
import logging
import unicodedata
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unitask import AdvisoryWarning, AsyncClient, Client, Output, SubmissionUncertain, Task, errors, tasks
from unitask._core import refusals
from unitask.webhooks import Receiver

from .script import TASK_ID, answer, refused, seen, task_data
from .shells import BASE_URL, FACE_SWAP, KEY, all_of, perform, provider

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAN, HUGE = float("nan"), 10**400
A_TASK: list[Any] = [None, 5, b"x", tasks.FaceSwap, FACE_SWAP, Task({}, Output), "", ".", "a\nb"]
FIRST = datetime.min  # noqa: DTZ901 - a local time that the system does not know
A_LIMIT: list[Any] = ["5", NAN, -1, HUGE, True, NOW]
A_CALLBACK: list[Any] = ["x", object()]
A_TIME: list[Any] = [None, "2026-01-01", NAN, -1, HUGE, True, FIRST]
NO_TEXT: list[Any] = [5, b"x"]

# For each argument of each public method: what it cannot be. What is not named here has a test of its own.
WRONG: dict[str, dict[str, list[Any]]] = {
    "submit": {"task": [None, "x", tasks.FaceSwap, Task({}, Output)]},
    "run": {"task": [None], "timeout": A_LIMIT, "on_change": A_CALLBACK},
    "wait": {"task": A_TASK, "timeout": A_LIMIT, "on_change": A_CALLBACK},
    "wait_all": {
        "tasks": [None, TASK_ID, Task(task_data(), Output), [None], ["."]],
        "timeout": A_LIMIT,
        "on_change": A_CALLBACK,
    },
    "find": {"uncertain": [None, "x", ValueError("x")], "timeout": A_LIMIT},
    "watch": {"task": A_TASK, "timeout": A_LIMIT},
    "get": {"task": A_TASK},
    "cancel": {"task": A_TASK},
    "cancel_many": {"created_before": A_TIME, "group": NO_TEXT},
    "account": {},
    "active_tasks": {},
    "history": {
        "group": NO_TEXT,
        "start": A_TIME[1:],
        "end": A_TIME[1:],
        "page_size": [None, "10", 0, 101, 1.5, True, NAN],
    },
    "upload": {"file": [None, 1.5, "", f"{__file__}/nowhere", "https://a.test/a.png", b"", b"x"]},
    "openai": {},
    "download": {
        "task": [None, TASK_ID, [], [None], Task(task_data(), Output)],
        "to": [None, 5],
        "parallel": [None, "x", 0, 1.5],
    },
    "close": {},
}
DONE = Task(task_data("completed", output={"image_url": "https://files.test/a.png"}), Output)
RIGHT: dict[str, dict[str, Any]] = {
    "submit": {"task": FACE_SWAP},
    "run": {"task": FACE_SWAP},
    "wait": {"task": TASK_ID},
    "wait_all": {"tasks": [TASK_ID]},
    "watch": {"task": TASK_ID},
    "get": {"task": TASK_ID},
    "cancel": {"task": TASK_ID},
    "cancel_many": {"created_before": 1},
    "download": {"task": DONE, "to": f"{__file__}/nowhere/"},
}
METHODS = [name for name in vars(Client) if not name.startswith("_")]
CASES = [(method, name, value) for method, names in WRONG.items() for name, values in names.items() for value in values]
IDS = [f"{method}-{name}-{number}" for number, (method, name, _) in enumerate(CASES)]


def test_each_argument_of_each_method_is_tried() -> None:
    flags = {"validate", "previews", "overwrite", "long_answers", "options"}
    for method in METHODS:
        names = inspect.signature(getattr(Client, method)).parameters.keys() - {"self"} - flags
        assert names == WRONG[method].keys()


@pytest.mark.parametrize(("method", "name", "value"), CASES, ids=IDS)
def test_wrong_argument_is_told_before_anything_is_sent(shell: str, method: str, name: str, value: Any) -> None:
    arguments = {**RIGHT.get(method, {}), name: value}
    if method == "find" and name == "timeout":
        arguments["uncertain"] = uncertain(shell)

    with pytest.raises((errors.InvalidInput, TypeError)) as caught:
        perform(shell, provider(), lambda client: all_of_it(getattr(client, method)(**arguments)))

    assert len(str(caught.value)) > len("nothing was sent: ")


def uncertain(shell: str) -> SubmissionUncertain:
    """The error of a create that brought no answer."""
    with pytest.raises(SubmissionUncertain) as caught:
        perform(shell, provider(answer(502, b"<html>")), lambda client: client.submit(FACE_SWAP))
    return caught.value


def all_of_it(result: Any) -> Any:
    """The result of a call, or all that its iterator gives."""
    return all_of(result) if hasattr(result, "__next__") or hasattr(result, "__anext__") else result


SETTINGS: dict[str, list[Any]] = {
    "api_key": [5, KEY.encode()],
    "base_url": [5, httpx.URL(BASE_URL)],
    "http_timeout": [None, 0, *A_LIMIT],
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
    names = inspect.signature(Client).parameters.keys() - {"mark_webhooks", "uploads"}
    assert names == SETTINGS.keys() == inspect.signature(AsyncClient).parameters.keys() - {"mark_webhooks", "uploads"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param(name, value, id=f"{name}-{n}")
        for name, values in SETTINGS.items()
        for n, value in enumerate(values)
    ],
)
def test_wrong_setting_is_told_by_its_name(shell: str, name: str, value: Any) -> None:
    with pytest.raises(errors.InvalidInput, match=name.removeprefix("http_")):
        (Client if shell == "sync" else AsyncClient)(**{"api_key": KEY, "base_url": BASE_URL, name: value})


# ---- ids


ODD_IDS = [" ", "..", "../x", "a/..", "a\\..\\b", "a\x00", "\x1b[2J", "\u202ea", "\ud800", " a", "a\t", "a" * 600]


@pytest.mark.parametrize("task_id", ODD_IDS, ids=ascii)
def test_text_that_cannot_be_an_id_is_refused(shell: str, task_id: str) -> None:
    with pytest.raises(errors.InvalidInput):
        perform(shell, provider(), lambda client: client.get(task_id))


@pytest.mark.parametrize(
    ("task_id", "path"),
    [
        ("a/b", "a%2Fb"),
        ("a?b=c#d", "a%3Fb%3Dc%23d"),
        ("%2e%2e", "%252e%252e"),
        ("é b;c", "%C3%A9%20b%3Bc"),
        ("a..b", "a..b"),
        (UUID(TASK_ID), TASK_ID),
    ],
)
def test_id_is_quoted(shell: str, task_id: Any, path: str) -> None:
    done = answer(200, {"data": {**task_data("completed"), "task_id": str(task_id)}})
    script = provider(done, answer(200, {"code": 200, "message": "ok"}))

    perform(shell, script, lambda client: client.get(task_id))
    perform(shell, script, lambda client: client.cancel(task_id))

    assert script.lines == [f"GET /api/v1/task/{path}", f"DELETE /api/v1/task/{path}"]


@given(task_id=st.text(max_size=40) | st.text("./\\%?#ab\x00", max_size=6))
def test_no_id_reaches_another_resource(task_id: str) -> None:
    script = provider(answer(200, {"code": 200, "message": "ok"}))
    try:
        perform("sync", script, lambda client: client.cancel(task_id))
    except errors.InvalidInput:
        assert script.requests == []
        return
    (line,) = script.lines
    *folders, last = line.split("/")
    assert folders == ["DELETE ", "api", "v1", "task"]
    assert last not in ("", ".", "..")


@pytest.mark.parametrize("task_id", ["a/../b", "\ud800", "a" * 5000], ids=lambda task_id: ascii(task_id)[:20])
def test_answer_whose_id_cannot_be_asked_for_names_no_task(shell: str, task_id: str) -> None:
    script = provider(answer(200, {"data": {**task_data(), "task_id": task_id}}))
    with pytest.raises(errors.SubmissionUncertain) as caught:
        perform(shell, script, lambda client: client.run(FACE_SWAP))

    assert '"task_id"' in caught.value.body


# ---- words of the provider

# as recorded, or as published clients read them; written out, since a lost word is a wrong branch in a program
WORDS_OF_A_REASON = {
    "account credit not enough": errors.InsufficientCredit,
    "Failed to freeze point": errors.InsufficientCredit,
    "prompt rejected by moderation": errors.ContentRejected,
    "Banned Prompt: x": errors.ContentRejected,
    "no face found in the image": errors.NoFaceFound,
    "failed to get valid image": errors.BadInputMedia,
    "Invalid Video URL": errors.BadInputMedia,
    "video resolution 2000x2000": errors.BadInputMedia,
    "image size too large": errors.BadInputMedia,
    "file size too large, maximum is 10MB": errors.BadInputMedia,
    "task input is too large": errors.BadInputMedia,
    "unsupported image format": errors.BadInputMedia,
}


@pytest.mark.parametrize(("words", "kind"), WORDS_OF_A_REASON.items())
@pytest.mark.parametrize("form", ["refused", "failed"])
def test_reason_is_an_error_class_of_its_own(words: str, kind: type[errors.UnitaskError], form: str) -> None:
    replies = {"refused": [refused(400, words)], "failed": [seen("failed", error={"code": 1, "message": words})]}
    with pytest.raises(kind) as caught:
        perform("sync", provider(*replies[form]), lambda client: client.run(FACE_SWAP))

    assert isinstance(caught.value, errors.ApiError if form == "refused" else errors.TaskFailed)


ODD_WORDS = "\x1b[2J\x1b]0;owned\x07\x9b31m\r\n\u202egnp.exe\u2066\u200b\x7f"


def obeyed(text: str) -> list[str]:
    """The characters that a terminal obeys, or that hide what a text says."""
    return [letter for letter in text if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp")]


WORDS: dict[str, tuple[list[Any], Callable[[Any], Any]]] = {
    "a refusal": ([refused(400, ODD_WORDS)], lambda client: client.submit(FACE_SWAP)),
    "a reason": (
        [seen("failed", error={"code": 1, "message": ODD_WORDS})],
        lambda client: client.run(FACE_SWAP),
    ),
    "a status": ([seen(ODD_WORDS)] * 9, lambda client: client.wait(TASK_ID, timeout=0)),
    "another task": (
        [answer(200, {"data": {**task_data(), "task_id": ODD_WORDS}})] * 99,
        lambda client: client.wait(TASK_ID, timeout=0),
    ),
    "an output": ([seen("completed", output=ODD_WORDS)], lambda client: client.run(FACE_SWAP).output),
}


@pytest.mark.parametrize("case", WORDS)
def test_error_holds_nothing_that_a_terminal_obeys(case: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "unitask")
    script, call = WORDS[case]
    with pytest.raises(errors.UnitaskError) as caught:
        perform("sync", provider(*script), call, poll_patience=1)

    assert obeyed(str(caught.value)) == []
    assert obeyed("".join(record.getMessage() for record in caplog.records)) == []


@given(word=st.text())
def test_task_and_notes_hold_nothing_that_a_terminal_obeys(word: str) -> None:
    task = Task({"task_id": word, "model": word, "task_type": word, "status": word}, Output)

    assert obeyed(repr(task)) == []
    assert obeyed(str(errors.InvalidInput(word))) == []
    assert obeyed(str(refusals.task_failed(task))) == []


def test_note_of_an_interruption_shows_the_id_escaped(shell: str) -> None:
    def stop(_: object) -> None:
        raise KeyboardInterrupt

    script = provider(answer(200, {"data": {**task_data(), "task_id": ODD_WORDS}}))
    with pytest.raises(KeyboardInterrupt) as caught:
        perform(shell, script, lambda client: client.run(FACE_SWAP, on_change=stop))

    assert obeyed("".join(caught.value.__notes__)) == []
    assert "owned" in "".join(caught.value.__notes__)


# ---- advisory warnings


@pytest.mark.parametrize("method", ["submit", "run", "submit in a task"])
def test_advice_points_once_to_the_line_of_the_program(shell: str, method: str) -> None:
    name = method.partition(" ")[0]

    async def main() -> None:
        transport = httpx.MockTransport(lambda _: httpx.Response(200, content=seen("completed").body))
        async with AsyncClient(KEY, BASE_URL, transport=transport) as client:
            for _ in range(2):
                call = getattr(client, name)(FACE_SWAP, service_mode="ppu")
                await (asyncio.create_task(call) if method != name else call)

    def sync(client: Any) -> None:
        for _ in range(2):
            getattr(client, name)(FACE_SWAP, service_mode="ppu")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        if shell == "async":
            asyncio.run(main())
        else:
            perform(shell, provider(*[seen("completed")] * 2), sync)

    (advice,) = caught
    assert advice.category is AdvisoryWarning
    assert Path(advice.filename) == Path(__file__)
