"""Any provider's answers end a check in time, in bounded memory and with a result."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable

import httpx
import pytest
from hypothesis.errors import FlakyStrategyDefinition
from unitask_contract import connecting, provider, runner
from unitask_contract.provider import Limited
from unitask_contract.runner import Outcome, Result

from wrapper.tests.raw_server import RawServer, raw_server, response

Change = Callable[[httpx.Response], httpx.Response]


def checked(check: str, change: Change, *, is_quick: bool = False) -> Result:
    """Make a check of a sandbox whose answers are changed on their way; a quick one has finished its tasks at once."""
    with provider.sandbox(seed=1) as subject:
        transport = subject.http._transport

        def handle(request: httpx.Request) -> httpx.Response:
            answer = transport.handle_request(request)
            answer.read()
            if is_quick:
                subject.advance(0)
            return change(answer)

        subject.http = httpx.Client(transport=httpx.MockTransport(handle), base_url=subject.http.base_url)
        subject.inside = None if is_quick else subject.inside
        return runner.made(subject, *runner.chosen([check]))


@pytest.mark.parametrize(
    ("head", "drip"),
    [(b"HTTP/1.1 200 OK\r\n", b"x: 1\r\n"), (b"HTTP/1.1 200 OK\r\n\r\n", b" "), (b"", b"HTTP/1.1 103 X\r\n\r\n")],
    ids=["head", "body", "hints"],
)
def test_answer_without_an_end_is_given_up(head: bytes, drip: bytes) -> None:
    def respond(_: object) -> Iterable[bytes]:
        yield head
        while not servers[0].stopped.wait(0.02):
            yield drip

    servers: list[RawServer] = []
    with raw_server(respond) as server, connecting.open_http(server.url, 0.3) as http:
        servers.append(server)
        with pytest.raises(httpx.ReadTimeout):
            http.get(server.url)


WHOLE = gzip.compress(b'{"code": 200}' * 1000)


@pytest.mark.parametrize(
    ("body", "encoding", "error"),
    [
        (WHOLE, "gzip", None),
        (WHOLE[:-9], "gzip", "cut off"),
        (WHOLE, "br", "packed as br"),
        (b" " * (2**20 + 1), "identity", "larger than 1 MB"),
        (gzip.compress(b" " * (2**20 + 1)), "gzip", "larger than 1 MB"),
        (gzip.compress(WHOLE), "gzip, gzip", "packed as gzip, gzip"),
    ],
    ids=["whole", "cut off", "another encoding", "large", "packed", "packed twice"],
)
def test_body_is_unpacked_up_to_a_limit(
    body: bytes, encoding: str, error: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "LARGEST_ANSWER", 2**20)
    reply = response(200, body, f"content-encoding: {encoding}")
    with raw_server(lambda _: [reply]) as server, connecting.open_http(server.url, 30.0) as http:
        if error is None:
            assert http.get(server.url).content == gzip.decompress(body)
        else:
            with pytest.raises(httpx.DecodingError, match=error):
                http.get(server.url)


def test_refusal_for_the_rate_is_sent_again() -> None:
    statuses: list[int] = []

    def change(answer: httpx.Response) -> httpx.Response:
        statuses.append(429 if len(statuses) % 2 == 0 else answer.status_code)
        limit = httpx.Response(429, headers={"retry-after": "7"}, json={"code": 429})
        return limit if statuses[-1] == 429 else answer

    assert checked("echo", change).outcome is Outcome.KEPT
    assert statuses == [429, 200] * 4


@pytest.mark.parametrize(("asked", "slept"), [("20", [20.0] * 5), ("86400", []), ("Fri, 31 Dec 2999 23:59:59 GMT", [])])
def test_pauses_are_bounded_and_reported(asked: str, slept: list[float]) -> None:
    said: list[str] = []
    pauses: list[float] = []
    limit = httpx.Response(429, headers={"retry-after": asked}, json={"code": 429})
    with provider.sandbox() as subject:
        subject.http = httpx.Client(transport=httpx.MockTransport(lambda _: limit), base_url="https://p.test")
        subject.advance, subject.say = pauses.append, said.append
        results = [runner.made(subject, check) for check in runner.chosen(["account", "history", "keys"])]

    assert {result.outcome for result in results} == {Outcome.NOT_RUN}
    assert pauses == slept
    assert all(asked in line for line in said or [results[0].detail])


def test_no_more_than_three_tasks_that_never_end_are_waited_for() -> None:
    pauses: list[float] = []
    with provider.sandbox() as subject:
        subject.advance, subject.polls = pauses.append, 20
        results = list(runner.run(subject, ("wanx",), runner.chosen(["ended"])))

    outcomes = [result.outcome for result in results]
    assert outcomes == [Outcome.BROKEN] * 3 + [Outcome.LEFT_OUT] * (len(results) - 3)
    assert all(task_id in results[-1].detail for task_id in subject.stuck)
    assert len(pauses) < 20 * 3 + 10 * len(results)


def with_status(word: Callable[[str], str]) -> Change:
    def change(answer: httpx.Response) -> httpx.Response:
        if not answer.headers["content-type"].startswith("application/json"):
            return answer
        body = answer.json()
        if isinstance(body.get("data"), dict) and "status" in body["data"]:
            body["data"]["status"] = word(body["data"]["status"])
        return httpx.Response(answer.status_code, json=body)

    return change


def test_letter_case_of_a_status_does_not_matter_and_an_unknown_word_is_broken() -> None:
    assert checked("end", with_status(str.title)).outcome is Outcome.KEPT
    assert checked("cancel", with_status(str.title)).outcome is Outcome.KEPT
    assert checked("end", with_status(lambda _: "baking")).outcome is Outcome.BROKEN


def test_task_that_is_done_at_once_is_not_missed_among_the_active_tasks() -> None:
    assert checked("tasks_in_hand", lambda answer: answer, is_quick=True).outcome is Outcome.LEFT_OUT


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (FlakyStrategyDefinition("x"), Outcome.NOT_RUN),
        (ExceptionGroup("x", [ConnectionResetError("gone")]), Outcome.NOT_RUN),
        (ExceptionGroup("x", [AssertionError("wrong")]), Outcome.BROKEN),
        (httpx.UnsupportedProtocol("no http"), Outcome.BROKEN),
        (httpx.DecodingError("no gzip"), Outcome.BROKEN),
        (httpx.ConnectError("refused"), Outcome.NOT_RUN),
        (httpx.InvalidURL("no address"), Outcome.BROKEN),
        (Limited("HTTP 429"), Outcome.NOT_RUN),
        (RuntimeError("a bug"), Outcome.NOT_RUN),
    ],
    ids=repr,
)
def test_exception_of_a_check_is_its_result(error: Exception, outcome: Outcome) -> None:
    def check(_: provider.Provider) -> None:
        raise error

    with provider.sandbox() as subject:
        assert runner.made(subject, runner.Check("x", "x", False, check)).outcome is outcome
