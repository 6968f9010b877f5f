"""Any provider's answers end a check in time, in bounded memory and with a result."""

import gzip
from collections.abc import Iterable
from functools import partial

import httpx
import pytest
from hypothesis.errors import FlakyStrategyDefinition
from unitask_contract import connecting, provider, runner
from unitask_contract.provider import Limited
from unitask_contract.runner import Outcome

from wrapper.tests.raw_server import RawServer, raw_server, response

from .support.defective_provider import Defect, Perform, task, with_defects


def made(check: str, defect: Defect) -> Outcome:
    with provider.sandbox(partial(with_defects, [defect]), seed=1) as subject:
        return runner.made(subject, *runner.chosen([check])).outcome


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


PACKED = gzip.compress(b'{"code": 200}' * 1000)
LARGE = b" " * (2**20 + 1)
BODIES = {
    "cut off": (PACKED[:-9], "gzip", "cut off"),
    "another encoding": (PACKED, "br", "packed as br"),
    "large": (LARGE, "identity", "larger than 1 MB"),
    "packed": (gzip.compress(LARGE), "gzip", "larger than 1 MB"),
    "packed twice": (gzip.compress(PACKED), "gzip, gzip", "packed as gzip, gzip"),
}


@pytest.mark.parametrize("name", BODIES)
def test_body_is_unpacked_up_to_a_limit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "LARGEST_ANSWER", 2**20)
    body, encoding, error = BODIES[name]
    replies = [response(200, body, f"content-encoding: {encoding}"), response(200, PACKED, "content-encoding: gzip")]
    with raw_server(lambda _: [replies.pop(0)]) as server, connecting.open_http(server.url, 30.0) as http:
        with pytest.raises(httpx.DecodingError, match=error):
            http.get(server.url)
        assert http.get(server.url).content == gzip.decompress(PACKED)


def test_refusal_for_the_rate_is_sent_again() -> None:
    statuses: list[int] = []

    async def exchange(request: httpx.Request, perform: Perform) -> httpx.Response:
        limit = httpx.Response(429, headers={"retry-after": "7"}, json={"code": 429})
        answer: httpx.Response = limit if len(statuses) % 2 == 0 else await perform(request)
        statuses.append(answer.status_code)
        return answer

    assert made("echo", Defect("", exchange=exchange)) is Outcome.KEPT
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


@pytest.mark.parametrize(("pace", "stuck", "most_seconds"), [(None, 1, 603), (0.01, 3, 210), (1.0, 3, 1860)])
def test_tasks_that_never_end_are_given_up(pace: float | None, stuck: int, most_seconds: float) -> None:
    with provider.sandbox() as subject:
        subject.advance, subject.pace = str, pace  # None: no task has ended so far
        results = list(runner.run(subject, ("hailuo", "luma", "wanx", "skyreels"), runner.chosen(["ended"])))

    outcomes = [result.outcome for result in results]
    assert outcomes.count(Outcome.BROKEN) == len(subject.stuck) == stuck
    assert outcomes.count(Outcome.LEFT_OUT) == len(results) - stuck
    assert all(task_id in results[-1].detail for task_id in subject.stuck)
    assert subject.waited <= most_seconds


def test_time_limit_of_the_user_counts_for_a_stuck_task() -> None:
    with provider.sandbox() as subject:
        subject.advance, subject.timeout = str, 90.0
        (result,) = runner.run(subject, ("general",), runner.chosen(["account"]))

    assert (result.outcome, subject.waited // 3 * 3) == (Outcome.BROKEN, 90.0)


@pytest.mark.parametrize("check", ["rows", "cancel"])
def test_letter_case_of_a_status_does_not_matter(check: str) -> None:
    assert made(check, Defect("", task(lambda it: it.update(status=it["status"].title())))) is Outcome.KEPT


BROKEN = (
    ExceptionGroup("x", [AssertionError("wrong")]),
    httpx.UnsupportedProtocol("no http"),
    httpx.DecodingError("no gzip"),
    httpx.InvalidURL("no address"),
)
NOT_RUN = (
    FlakyStrategyDefinition("x"),
    ExceptionGroup("x", [ConnectionResetError("gone")]),
    httpx.ConnectError("refused"),
    Limited("HTTP 429"),
    RuntimeError("a bug"),
)


def test_exception_of_a_check_is_its_result() -> None:
    def check(_: provider.Provider) -> None:
        raise error

    with provider.sandbox() as subject:
        for error in (*BROKEN, *NOT_RUN):
            result = runner.made(subject, runner.Check("x", "x", False, check))

            assert result.outcome is (Outcome.BROKEN if error in BROKEN else Outcome.NOT_RUN), error
            assert ("bug of unitask" in result.detail) == isinstance(error, RuntimeError)
