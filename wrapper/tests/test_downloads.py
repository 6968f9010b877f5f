"""Several files at once, each in one piece or in several. Each test runs with both clients, except where it says so."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gzip
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from unitask import AsyncClient, DownloadFailed, InvalidInput, Output, OutputFile, Task, UnitaskError
from unitask._core import range_download
from unitask._core.effects import Response
from unitask.testing import InstantClock

from .pictures import encoded
from .raw_server import Received, raw_server, response
from .script import TASK_ID, answer, task_data
from .shells import BASE_URL, KEY, Body, cut_off, instant_clock, perform, provider

CONTENT = bytes(range(256)) * 40
PNG = encoded()
URL = "https://out.test/a.mp4"
KLING = {
    "works": [
        {
            "cover": {"resource": "https://out.test/cover.jpg"},
            "video": {
                "resource": "https://out.test/marked.mp4",
                "resource_without_watermark": "https://out.test/1.mp4",
            },
        },
        {"video": {"resource_without_watermark": "https://out.test/2.mp4"}},
    ]
}


def task(output: Any = None, **fields: Any) -> Task[Output]:
    """A completed Kling task."""
    given = {"model": "kling", "task_type": "video_generation", "output": output or {"video": URL}, **fields}
    return Task(task_data("completed", **given), Output)


def fetch(shell: str, host: Callable[[httpx.Request], httpx.Response], what: Any, to: Any, **options: Any) -> Any:
    """Download with a client of either kind."""
    return perform(shell, host, lambda client: client.download(what, to, **options))


def names_in(folder: Path) -> list[str]:
    """All that is in a folder, hidden files included."""
    return sorted(path.name for path in folder.iterdir())


def hosts(**answers: Response) -> Callable[[httpx.Request], httpx.Response]:
    """Answer by the stem of the URL; every other file holds its own name behind a byte that no text has."""

    def host(request: httpx.Request) -> httpx.Response:
        name = Path(request.url.path).stem
        reply = answers.get(name, answer(200, b"\0" + name.encode()))
        return httpx.Response(reply.status, headers=dict(reply.headers), content=reply.body)

    return host


# ---- which files, and their names


def test_results_are_fetched_under_their_numbers_and_covers_only_on_request(shell: str, tmp_path: Path) -> None:
    first, second, cover = (tmp_path / f"{TASK_ID}-{ending}" for ending in ("1.mp4", "2.mp4", "3.jpg"))
    files = task(KLING).output.files
    to = f"{tmp_path}/"

    assert fetch(shell, hosts(), task(KLING), to) == [first, second]
    assert [first.read_bytes(), second.read_bytes()] == [b"\x001", b"\x002"]
    assert names_in(tmp_path) == [first.name, second.name]
    host = hosts(cover=answer(200, PNG))
    assert fetch(shell, host, task(KLING), to, previews=True, overwrite=True) == [first, second, cover]
    for chosen in (files[3:4], files[1:4:2]):
        paths = fetch(shell, hosts(), iter([*chosen, chosen[0]]), to, overwrite=True)
        assert [path.name for path in paths] == [f"{TASK_ID}-{file.number}.mp4" for file in chosen]
    only = {"works": KLING["works"][:1]}
    assert fetch(shell, hosts(), task(only), to) == [tmp_path / f"{TASK_ID}.mp4"]
    assert fetch(shell, hosts(), task(only), tmp_path / "mine.mp4") == [tmp_path / "mine.mp4"]
    assert fetch(shell, hosts(), OutputFile(URL), to) == [tmp_path / "output-1.mp4"]


@pytest.mark.parametrize(
    ("what", "options", "reason"),
    [
        ([], {}, "the list is empty"),
        (TASK_ID, {}, "'9' is not a file of a task: give a task"),
        (task({"works": [{"cover": {"resource": URL}}]}), {}, "has no output file but 1 of other roles: pass those"),
        (task(KLING), {"parallel": 0}, "parallel is 0: give a whole number from 1"),
        (task(KLING), {"parallel": 1.5}, "parallel is 1.5"),
        ([OutputFile(URL), OutputFile(f"{URL}x")], {"to": "/nowhere/a.mp4"}, "2 output files: name a folder"),
        ([OutputFile(URL), OutputFile(f"{URL}?x")], {}, "two of the files would have one name"),
    ],
)
def test_what_cannot_be_fetched_is_refused(
    shell: str, what: Any, options: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    call = {"to": f"{tmp_path}/", **options}
    with pytest.raises(InvalidInput, match=re.escape(reason)):
        fetch(shell, lambda _: pytest.fail("sent"), what, **call)

    assert names_in(tmp_path) == []


@pytest.mark.parametrize(("media_type", "ending"), [("image/jpeg", ".jpg"), ("video/mp4; codecs=x", ".mp4")])
def test_file_without_an_ending_gets_that_of_its_type(shell: str, media_type: str, ending: str, tmp_path: Path) -> None:
    host = hosts(a=answer(200, b"x", content_type=media_type))
    what = OutputFile("https://out.test/a?sig=1", task_id="t")

    assert fetch(shell, host, what, f"{tmp_path}/") == [tmp_path / f"t-1{ending}"]
    assert fetch(shell, host, what, f"{tmp_path}/b") == [tmp_path / "b"]
    with pytest.raises(DownloadFailed, match=r"t-1.*' exists: name another file, or allow"):
        fetch(shell, host, what, f"{tmp_path}/")  # the name is known only now


@pytest.mark.parametrize("url", ["data:image/png;base64,", "data:image/png,"])
def test_file_in_the_output_itself_is_written(shell: str, url: str, tmp_path: Path) -> None:
    whole = OutputFile(url + ("iVBORw0KGgo=" if "base64" in url else "%89PNG%0D%0A%1A%0A"), "image", task_id="t")
    (path,) = fetch(shell, lambda _: pytest.fail("sent"), whole, f"{tmp_path}/")

    assert path == tmp_path / "t-1.png"
    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(DownloadFailed, match="it is a PNG that is cut off"):
        fetch(shell, hosts(), OutputFile(whole.url, "image", documented=True), f"{tmp_path}/")
    assert names_in(tmp_path) == ["t-1.png"]


# ---- in pieces


@dataclass
class Host:
    """A host of one file that knows ranges (RFC 9110, 14) and breaks off as it is told.

    Attributes:
        cuts: How many bytes each answer brings before it breaks off; then none breaks.
        names: The headers that name this version of the file.
        versions: What the file holds at each request, the last one from then on.
        ranges: Whether it knows them.
        spoil: Headers that an answer to a range has instead.
    """

    cuts: list[int] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=lambda: {"etag": '"v1"'})
    versions: list[bytes] = field(default_factory=lambda: [CONTENT])
    ranges: bool = True
    spoil: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str | None, str | None]] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        wanted, version = request.headers.get("range"), request.headers.get("if-range")
        self.asked.append((wanted, version))
        content = self.versions.pop(0) if len(self.versions) > 1 else self.versions[0]
        fresh = version in self.names.values() and content == CONTENT
        status, headers = 200, {**self.names, "content-length": str(len(content))}
        if wanted and fresh and self.ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])  # type: ignore[index]
            status, headers["content-range"] = 206, f"bytes {start}-{len(content) - 1}/{len(content)}"
            content = content[start:]
            headers["content-length"] = str(len(content))
            headers |= self.spoil
        body = cut_off(content[: self.cuts.pop(0)]) if self.cuts else Body([content])
        return httpx.Response(status, headers=headers, stream=body)


def whole(shell: str, host: Host, folder: Path, **settings: Any) -> bytes:
    """What a download from this host brings."""
    (path,) = perform(shell, host, lambda client: client.download(task(), folder / "a.mp4", overwrite=True), **settings)
    assert names_in(folder) == ["a.mp4"]
    content: bytes = path.read_bytes()
    return content


DATE = "Fri, 21 Nov 2025 08:00:00 GMT"
AGAIN, ON = (None, None), ("bytes=3000-", '"v1"')
BROKEN: list[tuple[dict[str, Any], list[tuple[str | None, str | None]]]] = [  # the host, and what it is asked then
    ({}, [ON]),
    ({"names": {"last-modified": DATE}}, [("bytes=3000-", DATE)]),
    ({"spoil": {"content-range": "bytes 3000-10239/*"}}, [ON]),
    # Without a strong name, it may be another version (RFC 9110, 13.1.5).
    ({"names": {}}, [AGAIN]),
    ({"names": {"etag": 'W/"v1"'}}, [AGAIN]),
    ({"names": {"etag": "v1"}}, [AGAIN]),
    ({"ranges": False}, [ON]),  # and the whole file comes
    ({"versions": [CONTENT, b"\0other"]}, [ON]),
    *(
        ({"spoil": {name: value}}, [ON, AGAIN])
        for name, value in (
            ("content-range", "bytes 2999-10239/10240"),
            ("content-range", "bytes 3000-10239/10241"),
            ("content-range", "bytes 3000-10240/10240"),
            ("content-range", "bytes */10240"),
            ("content-encoding", "gzip"),
            ("etag", '"v2"'),
        )
    ),
]


@pytest.mark.parametrize(("kind", "then"), BROKEN, ids=str)
def test_file_that_breaks_off_is_continued_only_with_the_rest_of_its_version(
    shell: str, kind: dict[str, Any], then: list[Any], tmp_path: Path
) -> None:
    host = Host(cuts=[3000], **copy.deepcopy(kind))
    content = whole(shell, host, tmp_path)

    assert content == host.versions[-1]
    assert host.asked == [AGAIN, *then]


@pytest.mark.parametrize(
    ("status", "headers", "is_whole"),
    [
        (203, {}, True),
        (206, {"content-range": f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}"}, True),
        (200, {"content-encoding": "aws-chunked"}, True),
        *((206, {"content-range": written}, False) for written in ("bytes 0-99/*", "bytes 1-99/100", "")),
    ],
    ids=str,
)
def test_first_answer_is_taken_if_it_is_the_whole_file(
    shell: str, status: int, headers: dict[str, str], is_whole: bool, tmp_path: Path
) -> None:
    def host(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers=headers, stream=Body([CONTENT]))

    refused = pytest.raises(DownloadFailed, match="bytes from 0 on were requested")
    with contextlib.nullcontext() if is_whole else refused:
        assert fetch(shell, host, task(), tmp_path / "a.mp4")[0].read_bytes() == CONTENT
    assert names_in(tmp_path) == ["a.mp4"] * is_whole


def test_file_that_a_host_brings_in_parts_unasked_is_put_together(shell: str, tmp_path: Path) -> None:
    asked: list[tuple[str | None, str | None]] = []

    def host(request: httpx.Request) -> httpx.Response:
        wanted = request.headers.get("range")
        asked.append((wanted, request.headers.get("if-range")))
        start = int(wanted[6:-1]) if wanted else 0
        part = CONTENT[start : start + 4096]
        place = f"bytes {start}-{start + len(part) - 1}/{len(CONTENT)}"
        return httpx.Response(206, headers={"etag": '"v1"', "content-range": place}, stream=Body([part]))

    assert fetch(shell, host, task(), tmp_path / "a.mp4")[0].read_bytes() == CONTENT
    assert asked == [(None, None), ("bytes=4096-", '"v1"'), ("bytes=8192-", '"v1"')]


def test_connection_may_break_as_long_as_it_gets_on(
    shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(range_download, "PROGRESS", 1000)
    host, clock = Host(cuts=[1000] * 9), instant_clock()

    assert whole(shell, host, tmp_path, clock=clock) == CONTENT
    assert [start for start, _ in host.asked] == [None, *(f"bytes={number}000-" for number in range(1, 10))]
    assert max(clock.sleeps) <= 0.5
    for stuck in (Host(cuts=[4000] + [10] * 99), Host(cuts=[4000] * 100, ranges=False)):
        (tmp_path / "a.mp4").unlink(missing_ok=True)
        with pytest.raises(DownloadFailed, match="ReadError: connection reset"):
            whole(shell, stuck, tmp_path)
        assert len(stuck.asked) == 4
        assert names_in(tmp_path) == []


def slow(clock: InstantClock, chunk: bytes, chunks: int = 100_000) -> Body:
    """A body whose chunks come half a second apart."""

    def made() -> Iterator[bytes]:
        for _ in range(chunks):
            clock.advance(0.5)
            yield chunk

    return Body(made())


@pytest.mark.parametrize(("http_timeout", "window"), [(60.0, 30.0), (2.0, 2.0)])
@pytest.mark.parametrize("chunk", [b"\0", b"\0" * 1024], ids=len)
def test_file_that_drips_is_given_up_and_a_slow_one_comes(
    shell: str, chunk: bytes, http_timeout: float, window: float, tmp_path: Path
) -> None:
    clock, asked = instant_clock(), list[httpx.Request]()

    def host(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        is_slow = "slow" in request.url.path
        return httpx.Response(200, stream=slow(clock, bytes(10_000), 200) if is_slow else slow(clock, chunk))

    def call(url: str) -> Any:
        what = OutputFile(url, "video")
        return perform(
            shell, host, lambda client: client.download(what, f"{tmp_path}/"), clock=clock, http_timeout=http_timeout
        )

    call("https://out.test/slow.mp4")[0].unlink()
    before = clock.passed
    with pytest.raises(DownloadFailed, match=f"it comes too slowly: .* bytes in {window:.0f} s"):
        call(URL)

    assert len(asked) == 5
    # the chunk that ends a window may come just before it does
    assert clock.passed - before < 4 * (window + 0.5) + 4
    assert names_in(tmp_path) == []


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

    assert fetch(shell, script, task(), tmp_path / "a.mp4")[0].read_bytes() == third
    assert [request.headers.get("range") for request in script.requests] == [None, "bytes=2000-", None]
    assert {request.headers["accept-encoding"] for request in script.requests} == {"identity"}


BOMB = httpx.ByteStream(gzip.compress(bytes(64 << 20)))


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ({"headers": {"content-encoding": "gzip"}, "stream": BOMB}, "compressed bytes unpack to more than 33554432"),
        ({"headers": {"content-length": "10240"}, "content": CONTENT}, "has 10240 bytes more, and its disk has 10239"),
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
        fetch(shell, lambda _: httpx.Response(200, **reply), task(), tmp_path / "a.mp4")

    assert names_in(tmp_path) == []


# ---- side by side


@pytest.mark.parametrize("parallel", [1, 4])
def test_so_many_files_come_at_once(shell: str, parallel: int, tmp_path: Path) -> None:
    crowd = Crowd(parallel)
    what = task({"image_urls": [f"https://out.test/{number}" for number in range(8)]}, model="new")
    paths = fetch(shell, lambda _: httpx.Response(200, stream=crowd), what, f"{tmp_path}/", parallel=parallel)

    assert len(paths) == 8
    assert crowd.most == parallel


class Crowd(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that comes once so many others are on their way, and counts them."""

    def __init__(self, size: int) -> None:
        self.size, self.now, self.most, self._lock = size, 0, 0, threading.Lock()
        self._threads = threading.Barrier(size, timeout=30)
        self._coroutines: asyncio.Barrier | None = None

    def _count(self, change: int) -> None:
        with self._lock:
            self.now += change
            self.most = max(self.most, self.now)

    def __iter__(self) -> Iterator[bytes]:
        self._count(1)
        self._threads.wait()
        self._count(-1)
        yield PNG

    async def __aiter__(self) -> Any:
        self._coroutines = self._coroutines or asyncio.Barrier(self.size)
        self._count(1)
        await asyncio.wait_for(self._coroutines.wait(), 30)
        self._count(-1)
        yield PNG


def test_failed_file_keeps_the_others(shell: str, tmp_path: Path) -> None:
    output = {"images": [f"https://out.test/{name}.png" for name in "abc"], "more": "https://out.test/d"}
    with pytest.raises(DownloadFailed) as caught:
        fetch(shell, hosts(b=answer(404), d=answer(403)), task(output, model="new"), f"{tmp_path}/")
    error, there = caught.value, (tmp_path / f"{TASK_ID}-1.png", tmp_path / f"{TASK_ID}-3.png")

    assert error.fetched == there
    assert [(file.url, file.number) for file in error.missing] == [(output["images"][1], 2), (output["more"], 4)]
    assert (error.url, error.task_id) == (output["images"][1], TASK_ID)
    assert str(error).startswith("2 of 4 files are missing: https://out.test/b.png was not fetched: HTTP 404; ")
    assert all(repr(str(path)) in str(error) for path in there)
    assert names_in(tmp_path) == [path.name for path in there]
    rest = fetch(shell, hosts(), error.missing, f"{tmp_path}/")
    assert [path.name for path in rest] == [f"{TASK_ID}-2.png", f"{TASK_ID}-4"]


def test_downloads_to_one_place_do_not_disturb_each_other(shell: str, tmp_path: Path) -> None:
    def overtaken() -> Iterator[bytes]:
        yield CONTENT[:5000]
        (other,) = fetch("sync", hosts(), task(), tmp_path / "a.mp4")  # begins and ends meanwhile
        assert other.read_bytes() == b"\0a"
        yield CONTENT[5000:]

    reply = httpx.Response(200, stream=Body(overtaken()))
    (path,) = fetch(shell, lambda _: reply, task(), tmp_path / "a.mp4", overwrite=True)

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

    output = {"files": [f"https://out.test/{name}" for name in ("whole", "interrupt", "endless")]}
    with pytest.raises(KeyboardInterrupt):
        fetch("sync", host, task(output, model="new"), f"{tmp_path}/")

    assert names_in(tmp_path) == [f"{TASK_ID}-1"]


def test_cancelled_downloads_leave_whole_files(tmp_path: Path) -> None:
    begun = asyncio.Event()

    class Slow(httpx.AsyncByteStream):
        async def __aiter__(self) -> Any:
            yield b"x"
            begun.set()
            await asyncio.Event().wait()

    def host(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Body([b"\0x"]) if request.url.path == "/1.mp4" else Slow())

    async def main() -> int:
        async with AsyncClient(KEY, BASE_URL, transport=httpx.MockTransport(host)) as client:
            work = asyncio.create_task(client.download(task(KLING), f"{tmp_path}/"))
            await begun.wait()
            while not (tmp_path / f"{TASK_ID}-1.mp4").exists():
                await asyncio.sleep(0)
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work
            return len(asyncio.all_tasks())

    assert asyncio.run(main()) == 1
    assert names_in(tmp_path) == [f"{TASK_ID}-1.mp4"]


# ---- over the wire


def from_wire(shell: str, url: str, folder: Path) -> bytes:
    (path,) = perform(shell, None, lambda client: client.download(OutputFile(url), f"{folder}/"), transport=None)  # type: ignore[arg-type]
    return bytes(path.read_bytes())


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/cdn-cgi/image/trim=0;816;1456;0/mj/x.png", None),
        ("/a%2520b%20c.mp3?x=1;2&y=%2F&z=a+b&sig=%2b%2B==", None),
        ("//a/../b/./c.png", None),
        ('/{a}/"b"/<c>/`d`/^e|f\\g.png?h={i}"\'j<k>[l]', None),
        ("/%zz%e4/~u/x.png?", None),
        ("?q=1", "/?q=1"),
        ("/a b/ü.png?ä=%C3%A4#part", "/a%20b/%C3%BC.png?%C3%A4=%C3%A4"),  # what HTTP cannot carry
    ],
)
def test_url_leaves_as_it_was_written_also_before_a_redirect(
    shell: str, path: str, target: str | None, tmp_path: Path
) -> None:
    def respond(request: Received) -> list[bytes]:
        if request.path == "/there;1?x=%2520":
            return [response(200, b"\0x")]
        return [response(302, b"", "location: /there;1?x=%2520")]

    with raw_server(respond) as server:
        assert from_wire(shell, f"{server.url}{path}", tmp_path) == b"\0x"

    assert [request.path for request in server.requests] == [target or path, "/there;1?x=%2520"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999/a", "http://a..b/"])
def test_address_that_cannot_be_connected_to_is_a_failed_download(shell: str, url: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed):
        from_wire(shell, url, tmp_path)

    assert names_in(tmp_path) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    rest=st.text(max_size=20), start=st.sampled_from(["https://o", "http://out.test", "https://out.test/", "http://["])
)
@example(rest="[", start="http:////")  # httpx takes it, the cookies of the standard library do not
def test_url_of_any_kind_is_a_file_or_a_failed_download(shell: str, rest: str, start: str, tmp_path: Path) -> None:
    for text in (start + rest, start + rest + "\ud800"):
        try:
            fetch(shell, hosts(), OutputFile(text), tmp_path / "a", overwrite=True)
        except UnitaskError as error:
            assert isinstance(error, DownloadFailed)  # noqa: PT017 - either is right

    assert set(names_in(tmp_path)) <= {"a"}
