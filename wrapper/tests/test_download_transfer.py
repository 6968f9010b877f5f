"""Downloads: what each answer of a host means, how a file is continued, and several files at once."""

import asyncio
import copy
import gzip
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from unitask import AsyncClient, DownloadFailed, Output, OutputFile, Task, UnitaskError
from unitask._core import range_download
from unitask.testing import UnitaskProvider

from .pictures import encoded
from .raw_server import Received, raw_server, response
from .script import TASK_ID, answer, task_data
from .shells import BASE_URL, KEY, Body, cut_off, instant_clock, perform, provider

CONTENT = bytes(range(256)) * 40
PNG = encoded()
URL = "https://out.test/a.mp4"
PICTURE = OutputFile("https://out.test/a.png", task_id=TASK_ID)
FILM = OutputFile(URL, "video", task_id=TASK_ID)


def fetch(shell: str, host: Any, what: Any, to: Any, **options: Any) -> list[Path]:
    paths: list[Path] = perform(shell, host, lambda client: client.download(what, to, **options))
    return paths


def names_in(folder: Path) -> list[str]:
    """Return all that is in a folder, hidden files included."""
    return sorted(path.name for path in folder.iterdir())


def several(*names: str) -> Task[Output]:
    """Return a task with one file of each name."""
    return Task(task_data("completed", model="new", output={"files": [f"https://out.test/{n}" for n in names]}), Output)


# ---- what an answer means


def file(content: bytes = PNG, **headers: str) -> Any:
    return answer(200, content, **headers)


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
    "compression cut off": (file(gzip.compress(PNG)[:-9], content_encoding="gzip"), 0.5, "its compression is cut off"),
    "system error": (ConnectionResetError(104, "reset by peer"), 0.5, "ConnectionResetError"),
}


@pytest.mark.parametrize(("reply", "first", "reason"), ANSWERS.values(), ids=ANSWERS.keys())
def test_answer_without_the_file_is_retried_where_that_may_help(
    shell: str, reply: Any, first: float | None, reason: str, tmp_path: Path
) -> None:
    def host(times: int) -> UnitaskProvider:
        broken = isinstance(reply, bytes)
        return provider(*(httpx.Response(200, stream=cut_off(reply)) if broken else reply for _ in range(times)))

    script = host(4 if first else 1)
    with pytest.raises(DownloadFailed) as caught:
        fetch(shell, script, PICTURE, tmp_path / "a.png")

    assert reason in str(caught.value)
    assert (caught.value.url, caught.value.task_id) == (PICTURE.url, TASK_ID)
    assert len(script.clock.sleeps) == (3 if first else 0)
    assert names_in(tmp_path) == []
    if first:
        assert all(first / 2 * 2**n <= pause <= first * 2**n for n, pause in enumerate(script.clock.sleeps))
        script = host(3)
        script.answers(httpx.Response(200, content=PNG))
        assert fetch(shell, script, PICTURE, tmp_path / "a.png")[0].read_bytes() == PNG


@pytest.mark.parametrize(
    ("reply", "waited"),
    [
        (answer(503, retry_after="7"), 7.0),
        (answer(503, retry_after="0"), 0.5),
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
    assert [request.url for request in script.requests] == [PICTURE.url, "https://cdn.test/a.png"]
    assert all("x-api-key" not in request.headers for request in script.requests)


@pytest.mark.parametrize(
    ("status", "headers"),
    [(203, {}), (206, {"content-range": "bytes 0-10239/10240"}), (200, {"content-encoding": "aws-chunked"})],
    ids=str,
)
def test_whole_file_is_taken_from_each_kind_of_success(status: int, headers: dict[str, str], tmp_path: Path) -> None:
    host = provider(httpx.Response(status, headers=headers, stream=Body([CONTENT])))

    assert fetch("sync", host, FILM, tmp_path / "a.mp4")[0].read_bytes() == CONTENT


BOMB = httpx.ByteStream(gzip.compress(bytes(64 << 20)))


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ({"headers": {"content-encoding": "gzip"}, "stream": BOMB}, "compressed bytes unpack to more than 33554432"),
        ({"headers": {"content-length": "10240"}, "content": CONTENT}, "its disk has 10239"),
        ({"content": bytes(3 << 19)}, "which no output has"),
    ],
    ids=["bomb", "disk", "endless"],
)
def test_file_that_would_fill_the_disk_is_given_up(
    shell: str, reply: dict[str, Any], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "disk has" in reason:
        monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(total=1 << 40, free=len(CONTENT) - 1))
    if "no output" in reason:
        monkeypatch.setattr(range_download, "LARGEST", 1 << 20)
    with pytest.raises(DownloadFailed, match=reason):
        fetch(shell, lambda _: httpx.Response(200, **reply), FILM, tmp_path / "a.mp4")

    assert names_in(tmp_path) == []


# ---- a file in several attempts


@dataclass
class Host:
    """A host of one file that supports ranges (RFC 9110, 14)."""

    cuts: list[int]  # bytes of each answer before it breaks off; later answers are whole
    names: dict[str, str] = field(default_factory=lambda: {"etag": '"v1"'})  # validators of this version
    versions: list[bytes] = field(default_factory=lambda: [CONTENT])  # at each request; the last one repeats
    ranges: bool = True
    spoil: dict[str, str] = field(default_factory=dict)  # headers that an answer to a range has instead
    requests: list[tuple[str | None, str | None]] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        wanted, version = request.headers.get("range"), request.headers.get("if-range")
        self.requests.append((wanted, version))
        content = self.versions.pop(0) if len(self.versions) > 1 else self.versions[0]
        fresh = version in self.names.values() and content == CONTENT
        status, headers = 200, {**self.names, "content-length": str(len(content))}
        if wanted and fresh and self.ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])  # type: ignore[index]  # the client sends this form only
            status, headers["content-range"] = 206, f"bytes {start}-{len(content) - 1}/{len(content)}"
            content = content[start:]
            headers["content-length"] = str(len(content))
            headers |= self.spoil
        body = cut_off(content[: self.cuts.pop(0)]) if self.cuts else Body([content])
        return httpx.Response(status, headers=headers, stream=body)


DATE = "Fri, 21 Nov 2025 08:00:00 GMT"
ANEW, ON = (None, None), ("bytes=3000-", '"v1"')
BROKEN: list[tuple[dict[str, Any], list[tuple[str | None, str | None]]]] = [  # the host, and the later requests
    ({}, [ON]),
    ({"names": {"last-modified": DATE}}, [("bytes=3000-", DATE)]),
    # without a strong validator it may be another version (RFC 9110, 13.1.5)
    ({"names": {}}, [ANEW]),
    ({"names": {"etag": 'W/"v1"'}}, [ANEW]),
    ({"names": {"etag": "v1"}}, [ANEW]),
    ({"ranges": False}, [ON]),  # the whole file comes
    ({"versions": [CONTENT, b"\0other"]}, [ON]),
    ({"spoil": {"content-range": "bytes 2999-10239/10240"}}, [ON, ANEW]),
    ({"spoil": {"content-encoding": "gzip"}}, [ON, ANEW]),
    ({"spoil": {"etag": '"v2"'}}, [ON, ANEW]),
]


@pytest.mark.parametrize(("kind", "then"), BROKEN)
def test_file_that_breaks_off_is_continued_only_with_the_rest_of_its_version(
    kind: dict[str, Any], then: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(total=1 << 40, free=len(CONTENT)))
    host = Host([3000], **copy.deepcopy(kind))
    (path,) = fetch("sync", host, FILM, tmp_path / "a.mp4")

    assert path.read_bytes() == host.versions[-1]
    assert host.requests == [ANEW, *then]
    assert names_in(tmp_path) == ["a.mp4"]


@pytest.mark.parametrize(
    ("status", "headers", "third"),
    [
        (416, {"content-range": "bytes */1000"}, CONTENT[:1000]),  # it is shorter now
        (200, {"etag": '"v1"', "content-encoding": "gzip"}, CONTENT),  # its offset is unknown
    ],
)
def test_file_that_cannot_be_continued_is_begun_again(
    shell: str, status: int, headers: dict[str, str], third: bytes, tmp_path: Path
) -> None:
    first = httpx.Response(200, headers={"etag": '"v1"'}, stream=cut_off(CONTENT[:2000]))
    unread = httpx.Response(status, headers=headers, stream=httpx.ByteStream(b""))
    script = provider(first, unread, httpx.Response(200, content=third))

    assert fetch(shell, script, FILM, tmp_path / "a.mp4")[0].read_bytes() == third
    assert [request.headers.get("range") for request in script.requests] == [None, "bytes=2000-", None]
    assert {request.headers["accept-encoding"] for request in script.requests} == {"identity"}


def test_connection_may_break_while_there_is_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(range_download, "PROGRESS", 1000)
    host = Host([1000] * 9)

    assert fetch("sync", host, FILM, tmp_path / "a.mp4")[0].read_bytes() == CONTENT
    assert [start for start, _ in host.requests] == [None, *(f"bytes={number}000-" for number in range(1, 10))]
    for stuck in (Host([4000] + [10] * 99), Host([4000] * 100, ranges=False)):
        with pytest.raises(DownloadFailed, match="ReadError: connection reset"):
            fetch("sync", stuck, FILM, tmp_path / "b.mp4")
        assert len(stuck.requests) == 4
    assert names_in(tmp_path) == ["a.mp4"]


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
    assert names_in(tmp_path) == ["slow.mp4"]


# ---- several files at once


class Crowd(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that comes once so many others are on their way, and counts them."""

    def __init__(self, size: int) -> None:
        self.now, self.most, self._lock, self._barrier = 0, 0, threading.Lock(), threading.Barrier(size, timeout=30)

    def _meet(self) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self._barrier.wait()
        with self._lock:
            self.now -= 1

    def __iter__(self) -> Iterator[bytes]:
        self._meet()
        yield PNG

    async def __aiter__(self) -> Any:
        await asyncio.to_thread(self._meet)
        yield PNG


@pytest.mark.parametrize("parallel", [1, 4])
def test_as_many_files_are_fetched_at_once_as_requested(shell: str, parallel: int, tmp_path: Path) -> None:
    crowd = Crowd(parallel)

    def host(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=crowd)

    assert len(fetch(shell, host, several(*"abcdefgh"), f"{tmp_path}/", parallel=parallel)) == 8
    assert crowd.most == parallel


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
    assert all(repr(str(path)) in str(error) for path in there)
    assert f"client.get('{TASK_ID}')" in str(error)
    assert names_in(tmp_path) == [path.name for path in there]
    missing.clear()
    rest = fetch(shell, host, error.missing, f"{tmp_path}/")
    assert [path.name for path in rest] == [f"{TASK_ID}-2.png", f"{TASK_ID}-4"]


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
    assert names_in(tmp_path) == ["a.mp4"]


def test_interrupted_downloads_leave_whole_files(tmp_path: Path) -> None:
    done, stopped = threading.Event(), threading.Event()

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

    assert names_in(tmp_path) == [f"{TASK_ID}-1"]


def test_cancelled_downloads_leave_whole_files(tmp_path: Path) -> None:
    begun = asyncio.Event()

    class Slow(httpx.AsyncByteStream):
        async def __aiter__(self) -> Any:
            yield b"x"
            begun.set()
            await asyncio.Event().wait()

    def host(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Body([b"\0x"]) if request.url.path == "/whole" else Slow())

    async def main() -> int:
        async with AsyncClient(KEY, BASE_URL, transport=httpx.MockTransport(host)) as client:
            work = asyncio.create_task(client.download(several("whole", "slow"), f"{tmp_path}/"))
            await begun.wait()
            while not (tmp_path / f"{TASK_ID}-1").exists():
                await asyncio.sleep(0)
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work
            return len(asyncio.all_tasks())

    assert asyncio.run(main()) == 1
    assert names_in(tmp_path) == [f"{TASK_ID}-1"]


# ---- URLs


def over_the_wire(shell: str, url: str, folder: Path) -> bytes:
    """Fetch a file with the transport of the client."""
    settings: Any = {"replies": None, "transport": None}
    (path,) = perform(shell, call=lambda client: client.download(OutputFile(url), f"{folder}/"), **settings)
    return bytes(path.read_bytes())


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
def test_url_is_sent_as_it_was_written_also_before_a_redirect(
    shell: str, path: str, target: str | None, tmp_path: Path
) -> None:
    def respond(request: Received) -> list[bytes]:
        if request.path == "/there;1?x=%2520":
            return [response(200, b"\0x")]
        return [response(302, b"", "location: /there;1?x=%2520")]

    with raw_server(respond) as server:
        assert over_the_wire(shell, f"{server.url}{path}", tmp_path) == b"\0x"

    assert [request.path for request in server.requests] == [target or path, "/there;1?x=%2520"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999/a", "http://a..b/", "http://[::1"])
def test_address_that_cannot_be_connected_to_is_a_failed_download(shell: str, url: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed):
        over_the_wire(shell, url, tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    rest=st.text(max_size=20), start=st.sampled_from(["https://o", "http://out.test", "https://out.test/", "http://["])
)
@example(rest="[", start="http:////")  # httpx accepts it, the cookies of the standard library do not
def test_url_of_any_kind_is_a_file_or_a_failed_download(shell: str, rest: str, start: str, tmp_path: Path) -> None:
    host: Any = lambda _: httpx.Response(200, content=b"\0x")  # noqa: E731
    for text in (start + rest, start + rest + "\ud800"):
        try:
            fetch(shell, host, OutputFile(text), tmp_path / "a", overwrite=True)
        except UnitaskError as error:
            assert isinstance(error, DownloadFailed)  # noqa: PT017 - either is right

    assert set(names_in(tmp_path)) <= {"a"}
