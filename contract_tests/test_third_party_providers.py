"""Providers that somebody else could have: whatever they answer, the run ends, and says what was wrong with what."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Event, Thread
from typing import Any

import httpx
import pytest
import requests
from hypothesis.errors import FlakyStrategyDefinition
from unitask.cli import main
from unitask_contract import connecting, provider, runner
from unitask_contract.provider import Limited
from unitask_contract.reports.files import FORMS
from unitask_contract.reports.report import Report
from unitask_contract.runner import Outcome, Result

Captured = pytest.CaptureFixture[str]
Change = Callable[[httpx.Response], httpx.Response]
KEY = "a-key-that-nobody-may-see-0123456789"
JSON = {"content-type": "application/json"}
PAGE = (200, {"content-type": "text/html"}, b"<html>welcome</html>")


def checked(check: str, change: Change, *, faster: bool = False) -> Result:
    """What comes of a check, where the sandbox's answers are changed on their way.

    Args:
        check: Its id.
        change: What becomes of an answer.
        faster: Whether tasks are done at once, as somewhere else.
    """
    with provider.sandbox(seed=1) as subject:
        over = subject.http._transport

        def handle(request: httpx.Request) -> httpx.Response:
            answer = over.handle_request(request)
            answer.read()
            answer.request = request
            if faster:
                subject.advance(0)
            return change(answer)

        subject.http = httpx.Client(transport=httpx.MockTransport(handle), base_url=subject.http.base_url)
        subject.inside = None if faster else subject.inside
        return runner.made(subject, *runner.chosen([check]))


def with_status(word: Callable[[str], str]) -> Change:
    def change(answer: httpx.Response) -> httpx.Response:
        if not answer.headers["content-type"].startswith("application/json"):
            return answer
        body = answer.json()
        if isinstance(body.get("data"), dict) and "status" in body["data"]:
            body["data"]["status"] = word(body["data"]["status"])
        return httpx.Response(answer.status_code, json=body)

    return change


def refusing(wanted: Callable[[int], bool], answers: list[int]) -> Change:
    def change(answer: httpx.Response) -> httpx.Response:
        limited = wanted(len(answers))
        answers.append(429 if limited else answer.status_code)
        return httpx.Response(429, headers={"retry-after": "7"}, json={"code": 429}) if limited else answer

    return change


@contextmanager
def serving(status: int, headers: dict[str, str], body: bytes) -> Iterator[str]:
    head = [f"HTTP/1.0 {status} OK", *(f"{name}: {value}" for name, value in headers.items())]

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            length = 0
            while line := self.rfile.readline().strip().lower():
                length = int(line.partition(b":")[2]) if line.startswith(b"content-length:") else length
            self.rfile.read(length)
            self.wfile.write("\r\n".join([*head, "", ""]).encode() + body)

    with listening(Handler) as base_url:
        yield base_url


@contextmanager
def listening(handler: type[StreamRequestHandler]) -> Iterator[str]:
    with ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def run(base_url: str, *more: str) -> int:
    return main(["contract", "--base-url", base_url, "--key", KEY, *more])


def test_page_instead_of_an_answer_is_shown() -> None:
    page = checked("account", lambda _: httpx.Response(200, headers=JSON, content=PAGE[2]))
    refusals = checked("bad_requests", lambda _: httpx.Response(*PAGE[:1], headers=PAGE[1], content=PAGE[2]))

    assert "the last answer, to GET /account/info: HTTP 200, application/json: <html>welcome</html>" in page.detail
    assert "assert 400 <= answer.status_code < 500" in refusals.detail
    assert "HTTP 200 to POST http://sandbox.test/api/v1/task of {}: <html>" in refusals.detail


@pytest.mark.parametrize("spell", [str, lambda text: "".join(f"\\u{ord(letter):04x}" for letter in text)])
def test_answer_that_shows_the_key_is_without_it(spell: Callable[[str], str], tmp_path: Path) -> None:
    places = [tmp_path / f"out{ending}" for ending in FORMS]
    for length in (runner.ANSWERED - 60, runner.ANSWERED - 45, runner.ANSWERED - 30):
        body = f'{{"code": 200, "data": 7, "status": "KEY", "x": "{"x" * length}", "key": "KEY"}}'
        with serving(200, {"content-type": "application/json"}, body.replace("KEY", spell(KEY)).encode()) as base_url:
            assert run(base_url, "--checks", "account,echo", *(f"--report={place}" for place in places)) == 1
        shown = "".join(place.read_text() for place in places)
        assert "(the key)" in shown
        assert spell(KEY[:12]) not in shown
        assert KEY[:12] not in shown


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((307, {"location": "http://elsewhere.test/account/info?a=b"}, b""), "to http://elsewhere.test/account/info;"),
        ((200, {"content-encoding": "gzip"}, b"no gzip"), "cannot be read"),
    ],
)
def test_address_that_is_no_provider_is_2(answer: Any, words: str, capsys: Captured) -> None:
    with serving(*answer) as base_url:
        assert run(base_url) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("drawn", [False, True], ids=["asked", "drawn"])
@pytest.mark.parametrize(
    ("head", "drip"),
    [(b"HTTP/1.1 200 OK\r\n", b"x: 1\r\n"), (b"HTTP/1.1 200 OK\r\n\r\n", b" "), (b"", b"HTTP/1.1 103 X\r\n\r\n")],
    ids=["head", "body", "hints"],
)
def test_answer_without_an_end_is_left(head: bytes, drip: bytes, drawn: bool) -> None:
    done = Event()

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            self.wfile.write(head)
            with suppress(OSError):
                while not done.wait(0.02):
                    self.wfile.write(drip)

    with listening(Handler) as base_url, connecting.open_http(base_url, 0.3) as http:
        try:
            with pytest.raises(httpx.ReadTimeout):
                asked(http, drawn, "/")
        finally:
            done.set()


@pytest.mark.parametrize("drawn", [False, True], ids=["asked", "drawn"])
@pytest.mark.parametrize("layers", [0, 1, 2])
def test_answer_that_holds_too_much_is_left(layers: int, drawn: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "LARGEST_ANSWER", 2**20)
    body, packed = b" " * (2**20 + 1), ", ".join(["gzip"] * layers)
    for _ in range(layers):
        body = gzip.compress(body)
    headers = {"content-encoding": packed} if packed else {}
    with serving(200, headers, body) as base_url, connecting.open_http(base_url, 30.0) as http:
        with pytest.raises(httpx.DecodingError, match="larger than 1 MB"):
            asked(http, drawn, f"{base_url}/")
        assert http.get("/", extensions={connecting.LARGEST: 2 * 2**20}).content == b" " * (2**20 + 1)


@pytest.mark.parametrize("drawn", [False, True], ids=["asked", "drawn"])
def test_packed_answer_is_read(drawn: bool) -> None:
    whole = gzip.compress(b'{"code": 200}' * 1000)
    answers = [("gzip", whole), ("gzip", whole[:-9]), ("br", whole)]
    for (packed, body), words in zip(answers, ["", "cut off", "packed as br"], strict=True):
        with serving(200, {"content-encoding": packed}, body) as base_url, connecting.open_http(base_url, 30.0) as http:
            if words:
                with pytest.raises(httpx.DecodingError, match=words):
                    asked(http, drawn, "/")
            else:
                assert asked(http, drawn, "/").content == b'{"code": 200}' * 1000


def asked(http: httpx.Client, drawn: bool, path: str) -> Any:
    if not drawn:
        return http.get(path)
    with requests.Session() as session:
        session.mount("http://", connecting.OverHttpx(http))
        return session.get(str(http.base_url.join(path)))


def test_refusal_for_the_rate_is_waited_for() -> None:
    answers: list[int] = []
    limited = checked("echo", refusing(lambda number: number % 2 == 0, answers))

    assert limited.outcome is Outcome.KEPT
    assert answers == [429, 200] * 4


@pytest.mark.parametrize("asked", ["86400", "Fri, 31 Dec 2999 23:59:59 GMT"])
def test_longer_pause_than_is_waited_could_not_run(asked: str) -> None:
    pauses: list[float] = []
    with provider.sandbox() as subject:
        limit = httpx.Response(429, headers={"retry-after": asked}, json={"code": 429})
        subject.http = httpx.Client(transport=httpx.MockTransport(lambda _: limit), base_url="https://p.test")
        subject.advance = pauses.append
        results = [runner.made(subject, check) for check in runner.chosen(["account", "history"])]

    assert {result.outcome for result in results} == {Outcome.NOT_RUN}
    assert all(f"Retry-After: {asked}" in result.detail for result in results)
    assert pauses == []


def test_pauses_are_told_and_bounded() -> None:
    said: list[str] = []
    pauses: list[float] = []
    with provider.sandbox() as subject:
        limit = httpx.Response(429, headers={"retry-after": "20"}, json={"code": 429})
        subject.http = httpx.Client(transport=httpx.MockTransport(lambda _: limit), base_url="https://p.test")
        subject.advance, subject.say = pauses.append, said.append
        results = [runner.made(subject, check) for check in runner.chosen(["account", "history", "keys"])]

    assert {result.outcome for result in results} == {Outcome.NOT_RUN}
    assert pauses == [20.0] * 5
    assert said[0] == "waits 20 s: HTTP 429 to GET https://p.test/account/info, with Retry-After: 20"


def test_tasks_that_never_end_are_not_all_waited_for() -> None:
    """Each would be waited for as long as a task may take; the first ones are broken, the others are left out."""
    with provider.sandbox() as subject:
        pauses: list[float] = []
        said: list[str] = []
        subject.advance, subject.say, subject.looks = pauses.append, said.append, 20
        results = list(runner.run(subject, ("wanx",), runner.chosen(["ended"])))
        waited = len(pauses)

    outcomes = [result.outcome for result in results]
    assert outcomes == [Outcome.BROKEN] * 3 + [Outcome.LEFT_OUT] * (len(results) - 3)
    assert len(said) == 3
    assert all(told in results[-1].detail for told in subject.stuck)
    assert waited < 20 * 3 + 10 * len(results)


@pytest.mark.parametrize("check", ["end", "cancel"])
def test_status_word_may_be_written_large(check: str) -> None:
    assert checked(check, with_status(str.title)).outcome is Outcome.KEPT


def test_unknown_status_word_is_broken() -> None:
    unknown = checked("end", with_status(lambda _: "baking"))

    assert unknown.outcome is Outcome.BROKEN
    assert '"status":"baking"' in unknown.detail.replace('": "', '":"')


def test_task_that_is_done_at_once_is_not_missed_in_hand() -> None:
    assert checked("tasks_in_hand", lambda answer: answer, faster=True).outcome is Outcome.LEFT_OUT


def test_slow_answers_are_reported() -> None:
    assert "slow" not in Report("x", None).verdict
    assert "slow: half of the answers took 3.0 s or more" in Report("x", None, seconds=3.0).verdict


@pytest.mark.parametrize(
    ("error", "outcome", "words"),
    [
        (FlakyStrategyDefinition("x"), Outcome.NOT_RUN, "answered otherwise the second time"),
        (ExceptionGroup("x", [ConnectionResetError("gone")]), Outcome.NOT_RUN, "gone"),
        (ExceptionGroup("x", [AssertionError("wrong")]), Outcome.BROKEN, "wrong"),
        (httpx.UnsupportedProtocol("no http"), Outcome.BROKEN, "no http"),
        (httpx.DecodingError("no gzip"), Outcome.BROKEN, "DecodingError: no gzip"),
        (httpx.ConnectError("refused"), Outcome.NOT_RUN, "ConnectError: refused"),
        (httpx.InvalidURL("no address"), Outcome.BROKEN, "no address"),
        (Limited("HTTP 429"), Outcome.NOT_RUN, "HTTP 429"),
        (RuntimeError("a bug"), Outcome.NOT_RUN, "a fault of unitask"),
    ],
    ids=["unsteady", "closed", "one-of-many", "no-http", "no-gzip", "nobody", "no-address", "rate", "bug"],
)
def test_whatever_a_check_raises_is_a_result(error: Exception, outcome: Outcome, words: str) -> None:
    def check(_: provider.Provider) -> None:
        raise error

    with provider.sandbox() as subject:
        result = runner.made(subject, runner.Check("x", "x", False, check))

    assert result.outcome is outcome
    assert words in result.detail


def test_interruption_before_the_first_check_is_2(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(provider.httpx.Client, "request", interrupted)

    assert run("http://127.0.0.1:1") == 2
    assert capsys.readouterr().err == "unitask contract: interrupted before anything was checked\n"
