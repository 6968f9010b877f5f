"""Scripted faults: what a client meets, what was done all the same, and what the report of arrivals says of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from unitask_sandbox import Fault, running
from unitask_sandbox.connection import AnswerLost

from .local import HttpWith, face_swap

CREATE, HISTORY, INFO = "/api/v1/task", "/api/open/tasks/histories", "/account/info"
KEY = {"x-api-key": "sandbox"}


@pytest.fixture
def served(settings_with: Any) -> Any:
    """A client of a sandbox on a real socket, with a script of faults."""

    @contextmanager
    def serve(*faults: Fault) -> Iterator[httpx.Client]:
        with running(settings_with(faults=faults)) as url, httpx.Client(base_url=url, headers=KEY) as client:
            yield client

    return serve


def tasks(client: httpx.Client) -> int:
    """How many tasks the provider has."""
    total: int = client.get(HISTORY).json()["data"]["total"]
    return total


def statuses(client: httpx.Client) -> list[int | None]:
    """What the report says of each create."""
    arrivals = client.get("/_sandbox/arrivals").json()["arrivals"]
    return [arrival["status"] for arrival in arrivals if arrival["operation"] == "create_task"]


def test_refusal_comes_before_anything_is_done(served: Any) -> None:
    """The answer is the script's, to the letter, and there is no task."""
    fault = Fault("create_task", "refuse", 429, b'{"code":429,"message":"slow down"}', {"retry-after": "7"})
    with served(fault) as client:
        answer = client.post(CREATE, json=face_swap(b"large" * 100_000))

        assert (answer.status_code, answer.json()["message"]) == (429, "slow down")
        assert (answer.headers["retry-after"], answer.headers["content-type"]) == ("7", "application/json")
        assert (tasks(client), statuses(client)) == (0, [429])


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        pytest.param(
            520, b"<html>web server is returning an unknown error</html>", {"content-type": "text/html"}, id="html"
        ),
        pytest.param(200, b"", {}, id="empty"),
    ],
)
def test_answer_can_be_replaced_after_the_work(served: Any, status: int, body: bytes, headers: dict[str, str]) -> None:
    """The task is there, and the caller is told something else."""
    with served(Fault("create_task", "replace", status, body, headers)) as client:
        answer = client.post(CREATE, json=face_swap())

        assert (answer.status_code, answer.content) == (status, body)
        assert answer.headers["content-type"] == headers.get("content-type", "application/json")
        assert (tasks(client), statuses(client)) == (1, [status])


def test_answer_can_be_lost_after_the_work(served: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """The connection closes without a byte; the task is there, and the report says that it was not answered."""
    with served(Fault("create_task", "lose")) as client:
        with pytest.raises(httpx.RemoteProtocolError, match="without sending a resp"):
            client.post(CREATE, json=face_swap())

        assert (tasks(client), statuses(client)) == (1, [None])
        assert client.post(CREATE, json=face_swap()).status_code == 200
    assert capfd.readouterr().err == ""


def test_answer_can_be_cut_in_its_body(served: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """Headers announce the whole, half of the JSON arrives, and then the connection closes."""
    with served(Fault("create_task", "cut")) as client:
        with client.stream("POST", CREATE, json=face_swap()) as answer:
            whole = int(answer.headers["content-length"])
            pieces = answer.iter_raw()
            received = next(pieces)
            with pytest.raises(httpx.RemoteProtocolError, match=f"received {whole // 2} bytes, expected {whole}"):
                next(pieces)

        assert received.startswith(b'{"code": 200, "data": {"task_id": ')
        assert (tasks(client), statuses(client)) == (1, [200])
    assert capfd.readouterr().err == ""


def test_stream_can_be_cut(served: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """A stream breaks in its first event, and nothing says that it ended."""
    asked = {"model": "m", "messages": [{"content": "Hello"}], "stream": True}
    bearer = {"authorization": "Bearer sandbox"}
    with (
        served(Fault("create_chat_completion", "cut")) as client,
        client.stream("POST", "/v1/chat/completions", json=asked, headers=bearer) as answer,
    ):
        pieces = answer.iter_raw()
        received = next(pieces)
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
            next(pieces)

    assert received.startswith(b'data: {"id": "chatcmpl-')
    assert capfd.readouterr().err == ""


def test_refused_work_is_lost_like_any_other(served: Any) -> None:
    """What is lost is the answer, whatever it would have been."""
    with served(Fault("create_task", "lose"), Fault("get_task", "cut")) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            client.post(CREATE, json={})
        with pytest.raises(httpx.RemoteProtocolError):
            client.get(f"{CREATE}/nothing")

        assert (tasks(client), statuses(client)) == (0, [None])


def test_script_goes_on_in_order_and_by_operation(http_with: HttpWith) -> None:
    """Each fault happens as often as it says, to its operation alone, and after the last one all is well."""
    twice, then = Fault("create_task", "refuse", 503, times=2), Fault("create_task", "refuse", 502)
    http = http_with(faults=(twice, Fault("get_account_info", "refuse", 500), then))
    seen = [http.unchecked("POST", CREATE, json=face_swap()).status_code for _ in range(4)]
    http.sandbox.fault(Fault("create_task", "refuse", 504))

    assert seen == [503, 503, 502, 200]
    assert [http.unchecked("GET", INFO).status_code for _ in range(2)] == [500, 200]
    assert http.unchecked("POST", CREATE, json=face_swap()).status_code == 504


@pytest.mark.parametrize("kind", ["lose", "cut"])
def test_lost_answer_is_raised_in_process(http_with: HttpWith, kind: Any) -> None:
    """Where there is no connection to close, the application raises; the work was done."""
    http = http_with(faults=(Fault("create_task", kind),))
    with pytest.raises(AnswerLost):
        http.unchecked("POST", CREATE, json=face_swap())

    assert http.sandbox.history("sandbox")["total"] == 1
    assert http.sandbox.arrivals[-1].status == (None if kind == "lose" else 200)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (("make_task", "lose"), "no operation 'make_task'; there are "),
        (("create_task", "forget"), "no fault of kind 'forget'; there are refuse, replace, lose, cut"),
        (("create_task", "refuse", 100), "status 100: give one from 200 to 599"),
        (("create_task", "refuse", 500, b"", {}, 0), "times 0"),
        (("create_task", "lose", 500), "kind 'lose' has no answer of its own"),
        (("create_task", "cut", 200, b"x"), "kind 'cut' has no answer of its own"),
    ],
)
def test_fault_that_means_nothing_is_refused(wrong: tuple[Any, ...], words: str) -> None:
    """A script with a mistake in it is an error at once, not a test that passes."""
    with pytest.raises(ValueError, match=words):
        Fault(*wrong)
