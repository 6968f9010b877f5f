"""Several files at once, each in one piece or in several. Each test runs with both clients, except where it says so."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import re
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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

from .pictures import encoded
from .script import TASK_ID, answer, task_data
from .shells import BASE_URL, KEY, FakeClock, perform

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
    """Answers by the stem of the URL; every other file is there, and holds its own name behind a byte of no text."""

    def host(request: httpx.Request) -> httpx.Response:
        name = Path(request.url.path).stem
        reply = answers.get(name, answer(200, b"\0" + name.encode()))
        return httpx.Response(reply.status, headers=dict(reply.headers), content=reply.body)

    return host


# ---- which files, and their names


def test_results_are_fetched_and_no_covers(shell: str, tmp_path: Path) -> None:
    """Nor the copy with a watermark; numbers are those of `output.files`."""
    paths = fetch(shell, hosts(), task(KLING), f"{tmp_path}/")

    assert [(path.name, path.read_bytes()) for path in paths] == [
        (f"{TASK_ID}-1.mp4", b"\x001"),
        (f"{TASK_ID}-2.mp4", b"\x002"),
    ]
    assert names_in(tmp_path) == [f"{TASK_ID}-1.mp4", f"{TASK_ID}-2.mp4"]


def test_previews_are_fetched_when_asked_for(shell: str, tmp_path: Path) -> None:
    """The numbers of the results stay as they are."""
    host = hosts(cover=answer(200, PNG))
    paths = fetch(shell, host, task(KLING), f"{tmp_path}/", previews=True)

    assert [path.name for path in paths] == [f"{TASK_ID}-1.mp4", f"{TASK_ID}-2.mp4", f"{TASK_ID}-3.jpg"]


def test_one_result_is_called_by_the_id_alone(shell: str, tmp_path: Path) -> None:
    """And goes under any name, though it has a cover."""
    only = {"works": KLING["works"][:1]}

    assert fetch(shell, hosts(), task(only), f"{tmp_path}/") == [tmp_path / f"{TASK_ID}.mp4"]
    assert fetch(shell, hosts(), task(only), tmp_path / "mine.mp4") == [tmp_path / "mine.mp4"]


@pytest.mark.parametrize("chosen", [slice(3, 4), slice(1, 4, 2)], ids=["one", "two"])
def test_chosen_files_keep_their_numbers(shell: str, chosen: slice, tmp_path: Path) -> None:
    """Any file of `output.files` can be fetched, one or several of them, each once."""
    files = task(KLING).output.files[chosen]
    paths = fetch(shell, hosts(), iter([*files, files[0]]), f"{tmp_path}/")

    assert [path.name for path in paths] == [f"{TASK_ID}-{file.number}.mp4" for file in files]
    assert files[-1].role == "variant"


def test_file_is_fetched_by_itself(shell: str, tmp_path: Path) -> None:
    """Into a folder by its number, or under any name."""
    cover = task(KLING).output.files[2]

    assert fetch(shell, hosts(cover=answer(200, PNG)), cover, tmp_path) == [tmp_path / f"{TASK_ID}-3.jpg"]
    assert fetch(shell, hosts(), OutputFile(URL), f"{tmp_path}/") == [tmp_path / "output-1.mp4"]
    assert fetch(shell, hosts(), OutputFile(URL), tmp_path / "x.mp4") == [tmp_path / "x.mp4"]


@pytest.mark.parametrize(
    ("what", "options", "reason"),
    [
        ([], {}, "the list is empty"),
        (TASK_ID, {}, "'9' is no file of a task: give a task"),
        ([7], {}, "7 is no file of a task"),
        (task({"works": [{"cover": {"resource": URL}}]}), {}, "has no output file but 1 of other roles: pass those"),
        (task(KLING), {"parallel": 0}, "parallel is 0: give a whole number from 1"),
        (task(KLING), {"parallel": 1.5}, "parallel is 1.5"),
        ([OutputFile(URL), OutputFile(f"{URL}x")], {"to": "/nowhere/a.mp4"}, "2 output files: name a folder"),
        ([OutputFile(URL), OutputFile(f"{URL}?x")], {}, "two of the files would have one name"),
    ],
    ids=[
        "empty",
        "id",
        "number",
        "only-a-cover",
        "none-at-once",
        "half-at-once",
        "two-in-one-file",
        "two-under-one-name",
    ],
)
def test_what_cannot_be_fetched_is_refused(
    shell: str, what: Any, options: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    """Before anything is sent."""
    call = {"to": f"{tmp_path}/", **options}
    with pytest.raises(InvalidInput, match=re.escape(reason)):
        fetch(shell, lambda _: pytest.fail("sent"), what, **call)

    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("media_type", "ending"),
    [
        ("image/jpeg", ".jpg"),
        ("video/mp4; codecs=x", ".mp4"),
        ("application/octet-stream", ""),
        ("model/gltf-binary", ".glb"),
    ],
)
def test_file_without_an_ending_gets_that_of_its_type(shell: str, media_type: str, ending: str, tmp_path: Path) -> None:
    """What the server says; a given name stays as it is."""
    host = hosts(a=answer(200, b"x", content_type=media_type))
    what = OutputFile("https://out.test/a?sig=1", task_id="t")

    assert fetch(shell, host, what, f"{tmp_path}/") == [tmp_path / f"t-1{ending}"]
    assert fetch(shell, host, what, f"{tmp_path}/b") == [tmp_path / "b"]


def test_name_that_turns_out_to_be_taken_is_refused(shell: str, tmp_path: Path) -> None:
    """As soon as the type is known."""
    (tmp_path / "t-1.jpg").write_bytes(b"mine")
    host, what = hosts(a=answer(200, b"x", content_type="image/jpeg")), OutputFile("https://out.test/a", task_id="t")
    with pytest.raises(DownloadFailed, match=r"t-1\.jpg' exists: name another file, or pass overwrite=True"):
        fetch(shell, host, what, f"{tmp_path}/")

    assert names_in(tmp_path) == ["t-1.jpg"]
    assert fetch(shell, host, what, f"{tmp_path}/", overwrite=True)[0].read_bytes() == b"x"


@pytest.mark.parametrize("url", ["data:image/png;base64,", "data:image/png,"])
def test_file_in_the_output_itself_is_written(shell: str, url: str, tmp_path: Path) -> None:
    """A data URI needs no network; what is in it is checked like any other file."""
    whole = OutputFile(url + ("iVBORw0KGgo=" if "base64" in url else "%89PNG%0D%0A%1A%0A"), "image", task_id="t")
    (path,) = fetch(shell, lambda _: pytest.fail("sent"), whole, f"{tmp_path}/")

    assert path == tmp_path / "t-1.png"
    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(DownloadFailed, match="it is a PNG that is cut off"):
        fetch(shell, hosts(), OutputFile(whole.url, "image", documented=True), f"{tmp_path}/")
    assert names_in(tmp_path) == ["t-1.png"]


# ---- in pieces


class Cut(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that breaks off at its end, unless it is whole."""

    def __init__(self, content: bytes, *, whole: bool = False) -> None:
        self.content, self.whole = content, whole

    def __iter__(self) -> Iterator[bytes]:
        yield from (self.content[start : start + 1000] for start in range(0, len(self.content), 1000))
        if not self.whole:
            raise httpx.ReadError("connection reset")

    async def __aiter__(self) -> Any:
        for chunk in self:
            yield chunk


@dataclass
class Host:
    """A host of one file that knows ranges (RFC 9110, 14) and breaks off as it is told.

    Attributes:
        cuts: How many bytes each answer brings before it breaks off; then none breaks.
        names: The headers that name this version of the file.
        versions: What the file holds at each request, the last one from then on.
        ranges: Whether it knows them.
        spoil: Changes an answer to a range.
    """

    cuts: list[int] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=lambda: {"etag": '"v1"'})
    versions: list[bytes] = field(default_factory=lambda: [CONTENT])
    ranges: bool = True
    spoil: Callable[[dict[str, str]], object] = dict
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
            self.spoil(headers)
        if self.cuts:
            return httpx.Response(status, headers=headers, stream=Cut(content[: self.cuts.pop(0)]))
        return httpx.Response(status, headers=headers, stream=Cut(content, whole=True))


def whole(shell: str, host: Host, folder: Path, **settings: Any) -> bytes:
    """What a download from this host brings."""
    (path,) = perform(shell, host, lambda client: client.download(task(), folder / "a.mp4", overwrite=True), **settings)
    assert names_in(folder) == ["a.mp4"]
    content: bytes = path.read_bytes()
    return content


@pytest.mark.parametrize("name", [{"etag": '"v1"'}, {"last-modified": "Fri, 21 Nov 2025 08:00:00 GMT"}], ids=str)
def test_broken_connection_is_continued(shell: str, name: dict[str, str], tmp_path: Path) -> None:
    """From where it stopped, of the same version of the file; twice, if need be."""
    host = Host(cuts=[3000, 2000], names=name)
    (version,) = name.values()

    assert whole(shell, host, tmp_path) == CONTENT
    assert host.asked == [(None, None), ("bytes=3000-", version), ("bytes=5000-", version)]


@pytest.mark.parametrize("name", [{}, {"etag": 'W/"v1"'}, {"etag": "v1"}], ids=str)
def test_file_whose_version_has_no_name_is_begun_again(shell: str, name: dict[str, str], tmp_path: Path) -> None:
    """Two versions are never put together; a weak ETag names none (RFC 9110, 13.1.5)."""
    host = Host(cuts=[3000], names=name)

    assert whole(shell, host, tmp_path) == CONTENT
    assert host.asked == [(None, None), (None, None)]


def test_compressed_file_is_begun_again(shell: str, tmp_path: Path) -> None:
    """Where it stopped cannot be told from what was unpacked."""
    replies = [
        httpx.Response(200, headers={"etag": '"v1"', "content-encoding": "identity"}, stream=Cut(CONTENT[:2000])),
        httpx.Response(200, headers={"etag": '"v1"', "content-encoding": "gzip"}, stream=Cut(b"")),
        httpx.Response(200, content=CONTENT),
    ]
    asked: list[str | None] = []

    def host(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("range"))
        assert request.headers["accept-encoding"] == "identity"
        return replies.pop(0)

    (path,) = fetch(shell, host, task(), tmp_path / "a.mp4")

    assert path.read_bytes() == CONTENT
    assert asked == [None, "bytes=2000-", None]


@pytest.mark.parametrize("ranges", [True, False], ids=["changed", "no-ranges"])
def test_whole_file_in_answer_starts_again(shell: str, ranges: bool, tmp_path: Path) -> None:
    """The file has changed meanwhile, and is shorter; or the host knows no ranges."""
    other = b"\0other" if ranges else CONTENT
    host = Host(cuts=[3000], versions=[CONTENT, other], ranges=ranges)

    assert whole(shell, host, tmp_path) == other
    assert host.asked == [(None, None), ("bytes=3000-", '"v1"')]


@pytest.mark.parametrize(
    "spoiled",
    [
        {"content-range": "bytes 2999-10239/10240"},
        {"content-range": "bytes 3001-10239/10240"},
        {"content-range": "bytes 3000-10239/10241"},
        {"content-range": "bytes 3000-10240/10240"},
        {"content-range": "bytes 3000-2000/10240"},
        {"content-range": "bytes */10240"},
        {"content-range": "items 3000-10239/10240"},
        {"content-range": ""},
        {"content-encoding": "gzip"},
    ],
    ids=str,
)
def test_other_part_than_the_one_asked_for_is_refused(shell: str, spoiled: dict[str, str], tmp_path: Path) -> None:
    """None of it gets into the file, which is begun again."""
    host = Host(cuts=[3000], spoil=lambda headers: headers.update(spoiled))

    assert whole(shell, host, tmp_path) == CONTENT
    assert host.asked == [(None, None), ("bytes=3000-", '"v1"'), (None, None)]


def test_part_of_unknown_whole_is_taken(shell: str, tmp_path: Path) -> None:
    """A star stands for a length that the host does not know."""
    host = Host(cuts=[3000], spoil=lambda headers: headers.update({"content-range": "bytes 3000-10239/*"}))

    assert whole(shell, host, tmp_path) == CONTENT
    assert len(host.asked) == 2


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (203, {}),
        (206, {"content-range": f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}"}),
        (200, {"content-encoding": "aws-chunked"}),
        (200, {"content-encoding": "Aws-Chunked, identity"}),
        (200, {"content-encoding": "utf-8"}),
        (200, {"content-encoding": "binary"}),
        (200, {"content-encoding": "none"}),
        (200, {"content-encoding": "base64"}),
    ],
    ids=str,
)
def test_whole_file_is_taken_from_a_host_that_describes_it_oddly(
    shell: str, status: int, headers: dict[str, str], tmp_path: Path
) -> None:
    """Stores repeat what an uploader wrote into Content-Encoding, and caches answer 203 or 206 to a plain GET."""

    def host(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers=headers, stream=Cut(CONTENT, whole=True))

    (path,) = fetch(shell, host, task(), tmp_path / "a.mp4")

    assert path.read_bytes() == CONTENT


def test_file_that_a_host_brings_in_parts_unasked_is_put_together(shell: str, tmp_path: Path) -> None:
    """The first part names the version of the file, with which the others are asked for."""
    asked: list[tuple[str | None, str | None]] = []

    def host(request: httpx.Request) -> httpx.Response:
        wanted = request.headers.get("range")
        asked.append((wanted, request.headers.get("if-range")))
        start = int(wanted[6:-1]) if wanted else 0
        part = CONTENT[start : start + 4096]
        headers = {"etag": '"v1"', "content-range": f"bytes {start}-{start + len(part) - 1}/{len(CONTENT)}"}
        return httpx.Response(206, headers=headers, stream=Cut(part, whole=True))

    (path,) = fetch(shell, host, task(), tmp_path / "a.mp4")

    assert path.read_bytes() == CONTENT
    assert asked == [(None, None), ("bytes=4096-", '"v1"'), ("bytes=8192-", '"v1"')]


@pytest.mark.parametrize("written", ["bytes 0-99/*", "bytes 1-99/100", ""])
def test_part_that_nobody_asked_for_is_no_file(shell: str, written: str, tmp_path: Path) -> None:
    """It does not begin at the beginning, or does not say whether it is all."""

    def host(_: httpx.Request) -> httpx.Response:
        return httpx.Response(206, headers={"content-range": written}, stream=Cut(CONTENT, whole=True))

    with pytest.raises(DownloadFailed, match="bytes from 0 on were asked for"):
        fetch(shell, host, task(), tmp_path / "a.mp4")
    assert names_in(tmp_path) == []


def test_range_that_cannot_be_had_starts_again(shell: str, tmp_path: Path) -> None:
    """HTTP 416: the file is shorter now."""
    replies = [
        httpx.Response(200, headers={"etag": '"v1"'}, stream=Cut(CONTENT[:2000])),
        httpx.Response(416, headers={"content-range": "bytes */1000"}),
        httpx.Response(200, content=CONTENT[:1000]),
    ]
    asked: list[str | None] = []

    def host(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("range"))
        return replies.pop(0)

    (path,) = fetch(shell, host, task(), tmp_path / "a.mp4")

    assert path.read_bytes() == CONTENT[:1000]
    assert asked == [None, "bytes=2000-", None]


def test_connection_that_gets_on_may_break_any_number_of_times(
    shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only attempts in a row that bring too little are counted."""
    monkeypatch.setattr(range_download, "PROGRESS", 1000)
    host, clock = Host(cuts=[1000] * 9), FakeClock()

    assert whole(shell, host, tmp_path, clock=clock) == CONTENT
    assert len(host.asked) == 10
    assert max(clock.sleeps) <= 0.5


class Slow(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body whose chunks come so many seconds apart."""

    def __init__(self, clock: FakeClock, chunk: bytes, apart: float, chunks: int = 100_000) -> None:
        self.clock, self.chunk, self.apart, self.chunks = clock, chunk, apart, chunks

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(self.chunks):
            self.clock.monotonic += self.apart
            yield self.chunk

    async def __aiter__(self) -> Any:
        for chunk in self:
            yield chunk


@pytest.mark.parametrize(("http_timeout", "window"), [(60.0, 30.0), (2.0, 2.0)])
@pytest.mark.parametrize("chunk", [b"\0", b"\0" * 1024], ids=len)
def test_file_that_drips_is_given_up(
    shell: str, chunk: bytes, http_timeout: float, window: float, tmp_path: Path
) -> None:
    """After four windows, and the pauses between them."""
    clock, asked = FakeClock(), list[httpx.Request]()

    def host(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, stream=Slow(clock, chunk, 0.5))

    with pytest.raises(DownloadFailed, match=f"it comes too slowly: .* bytes in {window:.0f} s"):
        perform(
            shell,
            host,
            lambda client: client.download(task(), tmp_path / "a.mp4"),
            clock=clock,
            http_timeout=http_timeout,
        )

    assert len(asked) == 4
    assert clock.monotonic < 4 * (window + 0.5) + 4  # the chunk that ends a window may come just before it does
    assert names_in(tmp_path) == []


def test_slow_line_brings_a_large_file(shell: str, tmp_path: Path) -> None:
    """Of 20 kB a second, for as long as it takes."""
    clock = FakeClock()
    reply = httpx.Response(200, stream=Slow(clock, bytes(10_000), 0.5, chunks=2000))
    (path,) = perform(shell, lambda _: reply, lambda client: client.download(task(), tmp_path / "a.mp4"), clock=clock)

    assert path.stat().st_size == 20_000_000


def test_file_of_another_version_is_never_put_together(shell: str, tmp_path: Path) -> None:
    """Nor from a host that knows ranges, and not If-Range."""
    host = Host(cuts=[3000], spoil=lambda headers: headers.update(etag='"v2"'))

    assert whole(shell, host, tmp_path) == CONTENT
    assert [wanted for wanted, _ in host.asked] == [None, "bytes=3000-", None]


def test_bomb_is_given_up(shell: str, tmp_path: Path) -> None:
    """Before it fills the disk."""
    bomb = gzip.compress(bytes(64 << 20))
    reply = httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(bomb))
    with pytest.raises(DownloadFailed, match="compressed bytes unpack to more than 33554432"):
        fetch(shell, lambda _: reply, task(), tmp_path / "a.mp4")

    assert names_in(tmp_path) == []


def test_file_that_the_disk_has_no_room_for_is_not_begun(
    shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its length is announced."""
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(total=1 << 40, free=len(CONTENT) - 1))
    with pytest.raises(DownloadFailed, match=r"it has 10240 bytes more, and its disk has 10239 free"):
        whole(shell, Host(), tmp_path)

    assert names_in(tmp_path) == []


def test_file_without_an_end_is_given_up(shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No output has that size."""
    monkeypatch.setattr(range_download, "LARGEST", 1 << 20)
    reply = httpx.Response(200, stream=Slow(FakeClock(), bytes(1 << 18), 0))
    with pytest.raises(DownloadFailed, match="which no output has"):
        fetch(shell, lambda _: reply, task(), tmp_path / "a.mp4")

    assert names_in(tmp_path) == []


@pytest.mark.parametrize("ranges", [True, False], ids=["too-little", "the-same-again"])
def test_connection_that_gets_nowhere_is_given_up(
    shell: str, ranges: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without ranges the same bytes come again and again, and are no progress."""
    monkeypatch.setattr(range_download, "PROGRESS", 1000)
    host = Host(cuts=[4000] + ([10] if ranges else [4000]) * 99, ranges=ranges)
    with pytest.raises(DownloadFailed, match="ReadError: connection reset"):
        whole(shell, host, tmp_path)

    assert len(host.asked) == 4
    assert names_in(tmp_path) == []


def test_file_that_grows_and_is_never_whole_is_given_up(shell: str, tmp_path: Path) -> None:
    """More of what is of no use is no progress."""
    sizes = itertools.count(1)
    head = b"\0\0\0\x10ftypisom\0\0\0\0\xff\xff\xff\xffmdat"
    asked: list[int] = []

    def host(_: httpx.Request) -> httpx.Response:
        asked.append(next(sizes))
        return httpx.Response(200, content=head + bytes(asked[-1] << 21))

    with pytest.raises(DownloadFailed, match="it is a MP4 that is cut off"):
        fetch(shell, host, task(), tmp_path / "a.mp4")

    assert asked == [1, 2, 3, 4]


# ---- side by side


@pytest.mark.parametrize("parallel", [2, 4])
def test_so_many_files_come_at_once(shell: str, parallel: int, tmp_path: Path) -> None:
    """Each waits for the others of its group, so fewer would never end; more are counted."""
    crowd = Crowd(parallel)
    output = {"image_urls": [f"https://out.test/{number}" for number in range(8)]}
    paths = fetch(
        shell,
        lambda _: httpx.Response(200, stream=crowd),
        Task(task_data(output=output), Output),
        f"{tmp_path}/",
        parallel=parallel,
    )

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
    """The error says which are there and which are not, and what is missing can be fetched with it."""
    output = {"images": [f"https://out.test/{name}.png" for name in "abc"], "more": "https://out.test/d"}
    unknown = Task(task_data(model="new", output=output), Output)
    host = hosts(b=answer(404), d=answer(403))
    with pytest.raises(DownloadFailed) as caught:
        fetch(shell, host, unknown, f"{tmp_path}/")
    there = (tmp_path / f"{TASK_ID}-1.png", tmp_path / f"{TASK_ID}-3.png")

    assert caught.value.fetched == there
    assert [(file.url, file.number) for file in caught.value.missing] == [
        ("https://out.test/b.png", 2),
        ("https://out.test/d", 4),
    ]
    assert (caught.value.url, caught.value.task_id) == ("https://out.test/b.png", TASK_ID)
    assert str(caught.value).startswith("2 of 4 files are missing: https://out.test/b.png was not fetched: HTTP 404; ")
    assert all(repr(str(path)) in str(caught.value) for path in there)
    assert names_in(tmp_path) == [path.name for path in there]

    rest = fetch(shell, hosts(), caught.value.missing, f"{tmp_path}/")
    assert [path.name for path in rest] == [f"{TASK_ID}-2.png", f"{TASK_ID}-4"]


def test_bug_among_several_files_comes_through(shell: str, tmp_path: Path) -> None:
    """It is no failed download."""

    def host(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/2.mp4":
            raise ZeroDivisionError
        return httpx.Response(200, content=b"\0x")

    with pytest.raises(ZeroDivisionError):
        fetch(shell, host, task(KLING), f"{tmp_path}/")

    assert names_in(tmp_path) == [f"{TASK_ID}-1.mp4"]


def test_interrupted_downloads_leave_whole_files(tmp_path: Path) -> None:
    """Sync: Ctrl-C while one file is done and another on its way; the latter is dropped at its next bytes."""
    done = threading.Event()
    stopped = threading.Event()

    class Endless(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            while True:
                if done.is_set():
                    stopped.set()
                yield bytes(1 << 16)

    def host(request: httpx.Request) -> httpx.Response:
        name = request.url.path.strip("/")
        if name == "endless":
            return httpx.Response(200, stream=Endless())
        if name == "whole":
            return httpx.Response(200, content=b"\0x")
        done.set()
        assert stopped.wait(30)
        raise KeyboardInterrupt

    output = {"files": [f"https://out.test/{name}" for name in ("whole", "interrupt", "endless")]}
    with pytest.raises(KeyboardInterrupt):
        fetch("sync", host, Task(task_data(model="new", output=output), Output), f"{tmp_path}/")

    assert names_in(tmp_path) == [f"{TASK_ID}-1"]


def test_cancelled_downloads_leave_whole_files(tmp_path: Path) -> None:
    """Async: no task goes on behind the caller's back."""

    class Slow(httpx.AsyncByteStream):
        async def __aiter__(self) -> Any:
            yield b"x"
            begun.set()
            await asyncio.Event().wait()

    def host(request: httpx.Request) -> httpx.Response:
        return (
            httpx.Response(200, content=b"\0x") if request.url.path == "/1.mp4" else httpx.Response(200, stream=Slow())
        )

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

    begun = asyncio.Event()
    assert asyncio.run(main()) == 1
    assert names_in(tmp_path) == [f"{TASK_ID}-1.mp4"]


# ---- over the wire


@contextmanager
def wire(answers: Callable[[str], bytes]) -> Iterator[tuple[str, list[str]]]:
    """A server on this machine; its address, and what it was asked for: each target, with a range if there is one."""
    targets: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def handle(self) -> None:
            target = self.rfile.readline().split()[1].decode("ascii")
            headers = iter(self.rfile.readline, b"\r\n")
            asked = [line.decode("ascii").strip().lower() for line in headers if line.lower().startswith(b"range:")]
            targets.append(" ".join([target, *asked]))
            self.wfile.write(answers(targets[-1]))

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """A client that hangs up is none."""

    server: socketserver.BaseServer = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", targets  # type: ignore[str-bytes-safe]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def from_wire(shell: str, url: str, folder: Path) -> bytes:
    """What a client of either kind fetches over a real connection."""
    (path,) = perform(shell, None, lambda client: client.download(OutputFile(url), f"{folder}/"), transport=None)  # type: ignore[arg-type]
    content: bytes = path.read_bytes()
    return content


def ok(target: str) -> bytes:
    """An answer that holds the target, behind a byte of no text."""
    return f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(target) + 1}\r\n\r\n\0{target}".encode()


@pytest.mark.parametrize(
    "path",
    [
        "/cdn-cgi/image/trim=0;816;1456;0/mj/x.png",
        "/a%2520b%20c.mp3?x=1;2&y=%2F&z=a+b&sig=%2b%2B==",
        "/a/../b/./c.png",
        "//x//y.png",
        '/{a}/"b"/<c>/`d`/^e|f\\g.png?h={i}"\'j<k>[l]',
        "/%zz%e4/~u/x.png?",
        "?q=1",
        "/",
    ],
)
def test_url_leaves_as_it_was_written(shell: str, path: str, tmp_path: Path) -> None:
    """Nothing in it is encoded or resolved: a signature may be over every character of it."""
    with wire(ok) as (origin, targets):
        from_wire(shell, f"{origin}{path}", tmp_path)

    assert targets == [path if path.startswith("/") else f"/{path}"]


def test_what_http_cannot_carry_is_encoded(shell: str, tmp_path: Path) -> None:
    """Blanks, letters outside ASCII; the fragment stays at home."""
    with wire(ok) as (origin, targets):
        from_wire(shell, f"{origin}/a b/ü.png?ä=%C3%A4#part", tmp_path)

    assert targets == ["/a%20b/%C3%BC.png?%C3%A4=%C3%A4"]


def test_redirect_leads_to_its_own_target(shell: str, tmp_path: Path) -> None:
    """Not to that of the first request."""

    def answers(target: str) -> bytes:
        return (
            b"HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: /there;1?x=%2520\r\nContent-Length: 0\r\n\r\n"
            if target == "/a/../b"
            else ok(target)
        )

    with wire(answers) as (origin, targets):
        assert from_wire(shell, f"{origin}/a/../b", tmp_path) == b"\0/there;1?x=%2520"

    assert targets == ["/a/../b", "/there;1?x=%2520"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999/a", "http://127.0.0.1:-1/a", "http://a..b/", "http://[v1.x]/"])
def test_address_that_cannot_be_connected_to_is_a_failed_download(shell: str, url: str, tmp_path: Path) -> None:
    """What the system and its libraries raise for it is of many kinds."""
    with pytest.raises(DownloadFailed):
        from_wire(shell, url, tmp_path)

    assert names_in(tmp_path) == []


def test_server_that_hangs_up_is_asked_for_the_rest(shell: str, tmp_path: Path) -> None:
    """What came before is not fetched twice."""

    def answers(asked: str) -> bytes:
        start = int(asked.partition("=")[2].rstrip("-") or 0)
        status = f"206 Partial Content\r\nContent-Range: bytes {start}-10239/10240" if start else "200 OK"
        head = f'HTTP/1.1 {status}\r\nConnection: close\r\nETag: "v1"\r\nContent-Length: {10240 - start}\r\n\r\n'
        return head.encode() + CONTENT[start : start + 4000]

    with wire(answers) as (origin, asked):
        assert from_wire(shell, f"{origin}/a", tmp_path) == CONTENT

    assert asked == ["/a", "/a range: bytes=4000-", "/a range: bytes=8000-"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    rest=st.text(max_size=20), start=st.sampled_from(["https://o", "http://out.test", "https://out.test/", "http://["])
)
@example(rest="[", start="http:////")  # httpx takes it, the cookies of the standard library do not
def test_url_of_any_kind_is_a_file_or_a_failed_download(shell: str, rest: str, start: str, tmp_path: Path) -> None:
    """It is the provider's word; a half of a surrogate pair is in it as well."""
    for text in (start + rest, start + rest + "\ud800"):
        try:
            fetch(shell, hosts(), OutputFile(text), tmp_path / "a", overwrite=True)
        except UnitaskError as error:
            assert isinstance(error, DownloadFailed)  # noqa: PT017 - either is right

    assert set(names_in(tmp_path)) <= {"a"}
