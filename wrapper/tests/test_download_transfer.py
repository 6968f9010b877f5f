"""Downloads: what each answer of a host means, how a file is continued, and several files at once."""

import asyncio
import gzip
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from unitask import DownloadFailed, Output, OutputFile, Task, UnitaskError, download
from unitask._core import range_download
from unitask._core.effects import Response
from unitask._core.retry import RetryPolicy
from unitask._model.timestamp import Timestamp
from unitask.download import Sink
from unitask.testing import UnitaskProvider

from .pictures import encoded
from .raw_server import Received, raw_server, response
from .script import TASK_ID, answer, finished
from .shells import BASE_URL, Body, fetch, files_in, instant_clock, perform, provider

CONTENT = bytes(range(256)) * 40
PNG = encoded()
PICTURE = OutputFile("https://out.test/a.png", task_id=TASK_ID)
FILM = OutputFile("https://out.test/a.mp4", "video", task_id=TASK_ID)


def several(*names: str) -> Task[Output]:
    """Return a task with one file of each name."""
    return finished({"files": [f"https://out.test/{name}" for name in names]}, model="new")


def file(content: bytes = PNG, **headers: str) -> Any:
    return answer(200, content, **headers)


def broken_off(content: bytes, status: int = 200, **headers: str) -> httpx.Response:
    def chunks() -> Iterator[bytes]:
        yield content
        raise httpx.ReadError("connection reset")

    return httpx.Response(status, headers=headers, stream=Body(chunks()))


# The answer, the first pause before the next attempt (None without one), and the reason in the error.
ANSWERS: dict[str, tuple[Any, float | None, str]] = {
    "410": (answer(410), None, "HTTP 410; outputs are stored for a few days only"),
    "too long": (file(content_length=str(len(PNG) - 1)), None, f"{len(PNG)} bytes came, {len(PNG) - 1} were announced"),
    "broken compression": (file(b"not gzip", content_encoding="gzip"), None, "its compression is broken"),
    "unknown compression": (file(content_encoding="br"), None, "came in 'br', which cannot be unpacked"),
    "two compressions": (file(content_encoding="gzip, gzip"), None, "came in 'gzip, gzip', which cannot be unpacked"),
    "endless redirects": (httpx.TooManyRedirects("20"), None, "TooManyRedirects: 20"),
    "unknown charset": (LookupError("unknown encoding: x"), None, "LookupError: unknown encoding: x"),
    "404": (answer(404, PNG), 2.0, "HTTP 404; outputs are stored for a few days only"),
    "403": (answer(403), 2.0, "HTTP 403; outputs are stored for a few days only"),
    "202": (answer(202, PNG), 2.0, "HTTP 202. Task"),
    "204": (answer(204), 2.0, "HTTP 204"),
    "423": (answer(423), 2.0, "HTTP 423"),
    "425": (answer(425), 2.0, "HTTP 425"),
    "HTML": (file(b"<html>", content_type="text/html; charset=utf-8"), 2.0, "a page of type text/html came instead"),
    "HTML as a file": (file(b"\n<!DOCTYPE html>", content_type="application/octet-stream"), 2.0, "it is not a picture"),
    "empty": (file(b""), 2.0, "0 bytes came, some were announced"),
    "cut off": (file(PNG[:50]), 2.0, "it is a PNG that is cut off"),
    "408": (answer(408), 0.5, "HTTP 408"),
    "429": (answer(429), 0.5, "HTTP 429"),
    "500": (answer(500, PNG), 0.5, "HTTP 500"),
    "416": (answer(416), 0.5, "HTTP 416"),
    "too short": (file(content_length=str(len(PNG) + 1)), 0.5, f"{len(PNG)} bytes came"),
    "broken off": (PNG[:20], 0.5, "ReadError: connection reset"),
    "no connection": (httpx.ConnectError("refused"), 0.5, "ConnectError: refused"),
    "packed, cut off": (file(gzip.compress(PNG)[:-9], content_encoding="gzip"), 0.5, "d: its compression is cut off"),
    "system error": (ConnectionResetError(104, "reset by peer"), 0.5, "ConnectionResetError"),
}


@pytest.mark.parametrize(("reply", "first", "reason"), ANSWERS.values(), ids=ANSWERS.keys())
def test_answer_without_the_file_is_retried_where_that_may_help(
    shell: str, reply: Any, first: float | None, reason: str, tmp_path: Path
) -> None:
    def host(times: int) -> UnitaskProvider:
        return provider(*(broken_off(reply) if isinstance(reply, bytes) else reply for _ in range(times)))

    script = host(4 if first else 1)
    with pytest.raises(DownloadFailed) as caught:
        fetch(shell, script, PICTURE, tmp_path / "a.png")

    assert reason in str(caught.value)
    assert (caught.value.url, caught.value.task_id) == (PICTURE.url, TASK_ID)
    assert len(script.clock.sleeps) == (3 if first else 0)
    assert files_in(tmp_path) == []
    if first:
        assert all(first / 2 * 2**n <= pause <= first * 2**n for n, pause in enumerate(script.clock.sleeps))
        script = host(3)
        script.answers(httpx.Response(200, content=PNG))
        assert fetch(shell, script, PICTURE, tmp_path / "a.png")[0].read_bytes() == PNG


@pytest.mark.parametrize(
    ("reply", "waited"),
    [
        (answer(503, retry_after="7"), 7.0),
        (answer(503, retry_after="999999"), 120.0),
        (file(b"<html>", content_type="text/html", retry_after="7"), 7.0),
    ],
)
def test_retry_after_of_a_host_is_followed(shell: str, reply: Any, waited: float, tmp_path: Path) -> None:
    script = provider(reply, file(gzip.compress(PNG), content_encoding="aws-chunked, gzip"))
    (path,) = fetch(shell, script, PICTURE, tmp_path / "a.png")

    assert script.clock.sleeps == [waited]
    assert path.read_bytes() == PNG


def test_redirect_is_followed_without_the_key(shell: str, tmp_path: Path) -> None:
    script = provider(answer(302, location="https://cdn.test/a.png"), file())
    (path,) = fetch(shell, script, PICTURE, tmp_path / "a.png")

    assert path.read_bytes() == PNG
    sent = [(request.method, request.url) for request in script.requests]
    assert sent == [("GET", PICTURE.url), ("GET", "https://cdn.test/a.png")]
    assert all("x-api-key" not in request.headers for request in script.requests)


@pytest.mark.parametrize(
    ("name", "status", "headers"),
    [
        ("a.mp4", 203, {}),
        ("a.mp4", 206, {"content-range": "bytes 0-10239/10240"}),
        ("a.mp4", 200, {"content-encoding": "aws-chunked"}),
        ("a.html", 200, {"content-type": "text/html"}),
    ],
    ids=str,
)
def test_whole_file_is_taken_from_each_kind_of_success(name: str, status: int, headers: Any, tmp_path: Path) -> None:
    content = b"<html>" if name == "a.html" else CONTENT
    host = provider(httpx.Response(status, headers=headers, stream=Body([content])))

    assert fetch("sync", host, OutputFile(f"https://out.test/{name}"), tmp_path / name)[0].read_bytes() == content


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (file(gzip.compress(bytes(64 << 20)), content_encoding="gzip"), "bytes unpack to more than 33554432"),
        (file(CONTENT, content_length="10240"), "its disk has 10239"),
    ],
    ids=["bomb", "disk"],
)
def test_file_that_would_fill_the_disk_is_given_up(
    shell: str, reply: Response, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = len(CONTENT) - 1 if "disk" in reason else 1 << 30
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(total=1 << 40, free=free))
    with pytest.raises(DownloadFailed, match=reason):
        fetch(shell, provider(reply), FILM, tmp_path / "a.mp4")

    assert files_in(tmp_path) == []


def test_bytes_are_taken_up_to_the_largest_size(tmp_path: Path) -> None:
    batch = download.plan(OutputFile("data:,12"), tmp_path / "a.mp4", previews=False, overwrite=False, parallel=1)
    with Sink(batch, batch.targets[0], RetryPolicy(lambda: 0.0), 60.0) as sink:
        assert sink.take_inline()
        sink._part = range_download.Part(range_download.LARGEST - 1)
        sink.write(b"3", Timestamp(0, 0))
        with pytest.raises(DownloadFailed, match="fetched: it has more than 16 GB, which no output has"):
            sink.write(b"4", Timestamp(0, 0))


def rest(first: int = 3000, **headers: str) -> Any:
    """Answer with the end of the file."""
    named = {"content_range": f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}", "etag": '"v1"'}
    return answer(206, CONTENT[first:], **{**named, **headers})


DATE = "Fri, 21 Nov 2025 08:00:00 GMT"
V1 = {"etag": '"v1"'}
ANEW, ON = (None, None), ("bytes=3000-", '"v1"')
# The validators of the first answer, the second one, and the requests after the first.
BROKEN: list[tuple[dict[str, str], Any, list[tuple[str | None, str | None]]]] = [
    (V1, rest(), [ON]),
    ({"last-modified": DATE}, rest(last_modified=DATE), [("bytes=3000-", DATE)]),
    # without a strong validator it may be another version (RFC 9110, 13.1.5)
    ({}, file(CONTENT), [ANEW]),
    ({"etag": 'W/"v1"'}, file(CONTENT), [ANEW]),
    ({"etag": "v1"}, file(CONTENT), [ANEW]),
    (V1, file(b"\0a later version"), [ON]),
    (V1, rest(2999), [ON, ANEW]),
    (V1, answer(416, content_range="bytes */1000"), [ON, ANEW]),  # it is shorter now
    (V1, file(b"", content_encoding="gzip", etag='"v1"'), [ON, ANEW]),  # its offset is unknown
]


@pytest.mark.parametrize(("named", "second", "then"), BROKEN)
def test_file_that_breaks_off_is_continued_only_with_the_rest_of_its_version(
    shell: str, named: dict[str, str], second: Any, then: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(total=1 << 40, free=len(CONTENT)))
    whole = file(b"\0begun anew") if ANEW in then[1:] else second
    script = provider(broken_off(CONTENT[:3000], **named), second, *[whole] * (len(then) - 1))
    (path,) = fetch(shell, script, FILM, tmp_path / "a.mp4")

    assert path.read_bytes() == (CONTENT if whole.status == 206 else whole.body)
    assert [(each.headers.get("range"), each.headers.get("if-range")) for each in script.requests] == [ANEW, *then]
    assert {request.headers["accept-encoding"] for request in script.requests} == {"identity"}
    assert files_in(tmp_path) == ["a.mp4"]


def test_host_may_be_unreachable_for_as_long_as_polls_may_fail(shell: str, tmp_path: Path) -> None:
    outage = [httpx.ConnectError("no network")] * 6
    script = provider(*outage, httpx.Response(200, content=PNG))
    (path,) = perform(shell, script, lambda client: client.download(PICTURE, tmp_path / "a.png"))
    assert path.read_bytes() == PNG
    assert 10 < script.clock.passed < 60

    for limit, attempts in (({"poll_patience": 0.1}, 4), ({"max_retries": 1}, 2)):
        script = provider(*outage)
        with pytest.raises(DownloadFailed):
            perform(shell, script, lambda client: client.download(PICTURE, tmp_path / "b.png"), **limit)
        assert len(script.requests) == attempts


def test_connection_may_break_while_there_is_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(range_download, "PROGRESS", 1000)

    def part(start: int, size: int) -> httpx.Response:
        place = {"content-range": f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"}
        return broken_off(CONTENT[start : start + size], 206, **V1, **place)

    script = provider(*(part(start, 1000) for start in range(0, 9000, 1000)), rest(9000))
    assert fetch("sync", script, FILM, tmp_path / "a.mp4")[0].read_bytes() == CONTENT
    starts = [request.headers.get("range") for request in script.requests]
    assert starts == [None, *(f"bytes={start}-" for start in range(1000, 10_000, 1000))]
    little = [part(0, 4000), *(part(start, 10) for start in (4000, 4010, 4020))]
    for stuck in (little, [broken_off(CONTENT[:4000], **V1) for _ in range(4)]):
        script = provider(*stuck)
        with pytest.raises(DownloadFailed, match="ReadError: connection reset"):
            fetch("sync", script, FILM, tmp_path / "b.mp4")
        assert len(script.requests) == 4
    assert files_in(tmp_path) == ["a.mp4"]


@pytest.mark.parametrize(("http_timeout", "window"), [(60.0, 30.0), (2.0, 2.0)])
@pytest.mark.parametrize("size", [1, 1024])
def test_file_that_drips_is_given_up_and_a_slow_one_arrives(
    shell: str, size: int, http_timeout: float, window: float, tmp_path: Path
) -> None:
    clock = instant_clock()

    def arriving(chunk: bytes, count: int) -> Iterator[bytes]:
        for _ in range(count):
            clock.advance(0.5)
            yield chunk

    def host(request: httpx.Request) -> httpx.Response:
        chunks = arriving(bytes(10_000), 200) if request.url.path == "/slow.mp4" else arriving(bytes(size), 100_000)
        return httpx.Response(200, stream=Body(chunks))

    def download(name: str) -> Any:
        file, settings = OutputFile(f"https://out.test/{name}", "video"), {"clock": clock, "http_timeout": http_timeout}
        return perform(shell, host, lambda client: client.download(file, tmp_path / name), **settings)

    download("slow.mp4")
    before = clock.passed
    with pytest.raises(DownloadFailed, match=f"it comes too slowly: .* bytes in {window:.0f} s"):
        download("drips.mp4")

    assert clock.passed - before < 4 * (window + 0.5) + 4  # a chunk may come just before the end of a window
    assert files_in(tmp_path) == ["slow.mp4"]


@pytest.mark.parametrize(("given", "parallel"), [({"parallel": 1}, 1), ({"parallel": 2}, 2), ({}, 4)])
def test_as_many_files_are_fetched_at_once_as_requested(
    shell: str, given: dict[str, int], parallel: int, tmp_path: Path
) -> None:
    together = threading.Barrier(parallel, timeout=30)

    def respond(_: Received) -> list[bytes]:
        together.wait()
        return [response(200, PNG)]

    with raw_server(respond) as server:
        files = [OutputFile(f"{server.url}/a.png", number=number) for number in range(8)]
        assert len(fetch(shell, server.url, files, f"{tmp_path}/", **given)) == 8

    assert server.most_open == parallel


def test_failed_file_leaves_the_others(shell: str, tmp_path: Path) -> None:
    missing = {"/b.png": 404, "/d": 403}

    def host(request: httpx.Request) -> httpx.Response:
        return httpx.Response(missing.get(request.url.path, 200), content=b"\0x")

    with pytest.raises(DownloadFailed) as caught:
        fetch(shell, host, several("a.png", "b.png", "c.png", "d"), f"{tmp_path}/")
    error, there = caught.value, (tmp_path / f"{TASK_ID}-1.png", tmp_path / f"{TASK_ID}-3.png")

    assert error.fetched == there
    assert [file.number for file in error.missing] == [2, 4]
    assert (error.url, error.task_id) == ("https://out.test/b.png", TASK_ID)
    assert str(error).startswith("2 of 4 files are missing: https://out.test/b.png was not fetched: HTTP 404; ")
    assert f". Fetched: {str(there[0])!r}, {str(there[1])!r}. Task" in str(error)
    assert f"client.get('{TASK_ID}')" in str(error)
    assert files_in(tmp_path) == [path.name for path in there]
    missing.clear()
    rest = fetch(shell, host, error.missing, f"{tmp_path}/")
    assert [path.name for path in rest] == [f"{TASK_ID}-2.png", f"{TASK_ID}-4"]


def test_failed_files_of_several_tasks_are_reported_with_the_first_task(shell: str, tmp_path: Path) -> None:
    urls = ["https://out.test/b.png", "https://out.test/d"]
    files = [OutputFile(url, task_id=task_id) for url, task_id in zip(urls, "ab", strict=True)]
    first = re.escape("Task 'a' is done and paid: client.download(client.get('a'), 'out/') fetches its files")
    with pytest.raises(DownloadFailed, match=rf"only; https://out\.test/d .*\. Fetched: none\. {first}$") as caught:
        fetch(shell, lambda _: httpx.Response(404), files, f"{tmp_path}/")

    assert caught.value.task_id == "a"
    assert str(caught.value.__cause__).startswith(f"{urls[0]} was not fetched: ")


def test_defect_of_a_transport_is_not_taken_for_a_missing_file(shell: str, tmp_path: Path) -> None:
    def host(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/b":
            raise ZeroDivisionError
        return httpx.Response(410)

    with pytest.raises(ZeroDivisionError):
        fetch(shell, host, several("a", "b"), f"{tmp_path}/", parallel=1)


def test_downloads_to_one_place_do_not_disturb_each_other(shell: str, tmp_path: Path) -> None:
    def overtaken() -> Iterator[bytes]:
        yield CONTENT[:5000]
        (other,) = fetch("sync", provider(file(b"\0a")), FILM, tmp_path / "a.mp4")  # begins and ends meanwhile
        assert other.read_bytes() == b"\0a"
        yield CONTENT[5000:]

    reply = httpx.Response(200, stream=Body(overtaken()))
    (path,) = fetch(shell, lambda _: reply, FILM, tmp_path / "a.mp4", overwrite=True)

    assert path.read_bytes() == CONTENT
    assert files_in(tmp_path) == ["a.mp4"]


def test_interrupted_downloads_leave_whole_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done, stopped, reasons, failed = threading.Event(), threading.Event(), list[str](), Sink.failed
    monkeypatch.setattr(Sink, "failed", lambda self, reason: reasons.append(reason) or failed(self, reason))

    def endless() -> Iterator[bytes]:
        while True:
            if done.is_set():
                stopped.set()
            yield bytes(1 << 16)

    def host(request: httpx.Request) -> httpx.Response:
        name = request.url.path.strip("/")
        if name != "interrupt":
            return httpx.Response(200, stream=Body(endless() if name == "endless" else [b"\0x"]))
        done.set()
        assert stopped.wait(30)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch("sync", host, several("whole", "interrupt", "endless"), f"{tmp_path}/")

    assert (files_in(tmp_path), reasons) == ([f"{TASK_ID}-1"], ["the download was stopped"])


def test_cancelled_downloads_leave_whole_files(tmp_path: Path) -> None:
    begun = asyncio.Event()

    class Slow(httpx.AsyncByteStream):
        async def __aiter__(self) -> Any:
            yield b"x"
            begun.set()
            await asyncio.Event().wait()

    def host(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Body([b"\0x"]) if request.url.path == "/whole" else Slow())

    async def call(client: Any) -> int:
        work = asyncio.create_task(client.download(several("whole", "slow"), f"{tmp_path}/"))
        await begun.wait()
        while not (tmp_path / f"{TASK_ID}-1").exists():
            await asyncio.sleep(0)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        return len(asyncio.all_tasks())

    assert perform("async", host, call) == 1
    assert files_in(tmp_path) == [f"{TASK_ID}-1"]


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/a%2520b%20c.mp3?x=1;2&y=%2F&z=a+b&sig=%2b%2B==", None),
        ("//a/../b/./c.png", None),
        ('/{a}/"b"/<c>/`d`/^e|f\\g.png?h={i}"\'j<k>[l]', None),
        ("/%zz%e4/~u/x.png?", None),
        ("/a?next=http://b.test/c", None),
        ("?q=1", "/?q=1"),
        ("", "/"),
        ("/a b/ü.png?ä=%C3%A4#part", "/a%20b/%C3%BC.png?%C3%A4=%C3%A4"),  # HTTP cannot carry it as it is
    ],
)
def test_url_and_redirect_are_sent_as_written(shell: str, path: str, target: str | None, tmp_path: Path) -> None:
    def respond(request: Received) -> list[bytes]:
        if request.path == "/there;1?x=%2520":
            return [response(200, b"\0x")]
        return [response(302, b"", "location: /there;1?x=%2520")]

    with raw_server(respond) as server:
        [file] = fetch(shell, server.url, OutputFile(f"{server.url}{path}"), f"{tmp_path}/")

    assert file.read_bytes() == b"\0x"
    assert [request.path for request in server.requests] == [target or path, "/there;1?x=%2520"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999/a", "http://a..b/", "http://[::1"])
def test_address_that_cannot_be_connected_to_is_a_failed_download(shell: str, url: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed):
        fetch(shell, BASE_URL, OutputFile(url), f"{tmp_path}/")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(rest=st.text(max_size=20), start=st.sampled_from(["https://o", "http://o.test", "https://o.test/", "http://["]))
@example(rest="[", start="http:////")  # httpx accepts it, the cookies of the standard library do not
def test_url_of_any_kind_is_a_file_or_a_failed_download(shell: str, rest: str, start: str, tmp_path: Path) -> None:
    host: Any = lambda _: httpx.Response(200, content=b"\0x")  # noqa: E731
    for text in (start + rest, start + rest + "\ud800"):
        try:
            fetch(shell, host, OutputFile(text), tmp_path / "a", overwrite=True)
        except UnitaskError as error:
            assert isinstance(error, DownloadFailed)  # noqa: PT017 - either is right

    assert {path.name for path in tmp_path.iterdir()} <= {"a"}
