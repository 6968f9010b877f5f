"""Downloads: a file appears under its name whole and checked, or not at all. Each test runs with both clients."""

from __future__ import annotations

import errno
import gzip
import io
import re
import ssl
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from unitask import DownloadFailed, InvalidInput, Output, OutputFile, Task, download, tasks
from unitask._core.effects import Response
from unitask.download import check_destination
from unitask.testing import UnitaskProvider
from unitask_api import contract, output_files

from .pictures import encoded
from .script import TASK_ID, answer, task_data
from .shells import cut_off, perform, provider

URL = "https://out.test/temp/swapped.png"
PNG = encoded()


def finished(output: Any = None, **fields: Any) -> Task[Output]:
    """A completed face swap with this output."""
    return Task(task_data("completed", output=output or {"image_url": URL}, **fields), Output)


def fetch(shell: str, script: UnitaskProvider, task: Task[Output], to: Any, **options: Any) -> list[Path]:
    """Download the files of a task."""
    paths: list[Path] = perform(shell, script, lambda client: client.download(task, to, **options))
    return paths


def arrives(content: bytes = PNG, **headers: str) -> Response:
    """A file on its way."""
    return answer(200, content, **headers)


def files_in(folder: Path) -> list[str]:
    """All that is in a folder and below it, hidden files included."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# ---- where a file goes


@pytest.mark.parametrize(
    ("task_id", "url", "name"),
    [
        ("../../x", URL, "______x.png"),
        ("/etc/passwd", URL, "_etc_passwd.png"),
        ("..", URL, "__.png"),
        ("t", "https://out.test/a.PNG", "t.png"),
        ("t", "https://out.test/a", "t"),
        ("t", "https://out.test/a.longest", "t"),
    ],
)
def test_file_is_named_by_its_task_and_stays_in_the_folder(
    shell: str, task_id: str, url: str, name: str, tmp_path: Path
) -> None:
    fetch(shell, provider(arrives()), finished({"image_url": url}, task_id=task_id), f"{tmp_path}/a/b/")

    assert files_in(tmp_path) == [f"a/b/{name}"]


# ---- what is there already


def test_existing_file_is_replaced_when_the_new_one_is_whole(shell: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"mine")
    with pytest.raises(DownloadFailed):
        fetch(shell, provider(*[arrives(PNG[:50])] * 4), finished(), tmp_path / "a.png", overwrite=True)

    assert (tmp_path / "a.png").read_bytes() == b"mine"
    assert files_in(tmp_path) == ["a.png"]
    fetch(shell, provider(arrives()), finished(), tmp_path / "a.png", overwrite=True)
    assert (tmp_path / "a.png").read_bytes() == PNG


@pytest.mark.parametrize("links", [True, False])
def test_file_that_appears_meanwhile_is_not_replaced(
    shell: str, links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:
        monkeypatch.setattr("os.link", _refuse(errno.EOPNOTSUPP, "no links here"))

    def slow(request: httpx.Request) -> httpx.Response:
        (tmp_path / "a.png").write_bytes(b"theirs")
        return httpx.Response(200, content=PNG)

    assert fetch(shell, provider(arrives()), finished(), tmp_path / "b.png")  # without links too
    (tmp_path / "b.png").unlink()
    with pytest.raises(DownloadFailed, match=r"a\.png' was created meanwhile"):
        perform(shell, slow, lambda client: client.download(finished(), tmp_path / "a.png"))

    assert (tmp_path / "a.png").read_bytes() == b"theirs"
    assert files_in(tmp_path) == ["a.png"]


def test_full_disk_leaves_nothing(shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, content: Any, /) -> int:
            if content == bytes(4096):  # there is room when it is tried out
                return 4096
            raise OSError(errno.ENOSPC, "No space left on device")

    opened = Path.open

    def full(path: Path, *how: Any, **more: Any) -> Any:
        if path.parent != tmp_path:
            return opened(path, *how, **more)
        path.touch()
        return Full()

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(DownloadFailed, match="it cannot be stored: No space left on device") as caught:
        fetch(shell, provider(arrives()), finished(), tmp_path / "a.png")

    assert caught.value.task_id == TASK_ID
    assert files_in(tmp_path) == []


# ---- what came


LASTING: dict[str, tuple[Any, str]] = {
    "410": (answer(410), "HTTP 410; outputs are stored for a few days only"),
    "too long": (arrives(content_length=str(len(PNG) - 1)), f"{len(PNG)} bytes came, {len(PNG) - 1} were announced"),
    "broken compression": (arrives(b"not gzip", content_encoding="gzip"), "its compression is broken"),
    "unknown compression": (arrives(content_encoding="br"), "came in 'br', which cannot be unpacked"),
    "endless redirects": (httpx.TooManyRedirects("20"), "TooManyRedirects: 20"),
    "unknown charset": (LookupError("unknown encoding: x"), "LookupError: unknown encoding: x"),
    "broken TLS": (ssl.SSLError(1, "bad record"), "SSLError: "),
}
LATE: dict[str, tuple[Any, str]] = {
    "404": (answer(404, PNG), "HTTP 404; outputs are stored for a few days only"),
    "403": (answer(403), "HTTP 403; outputs are stored for a few days only"),
    "202": (answer(202, PNG), "HTTP 202. Task"),
    "425": (answer(425), "HTTP 425. Task"),
    "HTML": (arrives(b"<html>", content_type="text/html; charset=utf-8"), "a page of type text/html came instead"),
    "JSON": (arrives(b"{}", content_type="application/json"), "a page of type application/json came instead"),
    "HTML as a file": (arrives(b"\n<!DOCTYPE html><p>", content_type="application/octet-stream"), "is not a picture"),
    "text": (arrives(b"Not Found", content_type="text/plain"), "it is not a picture: it starts with b'Not Found'"),
    "empty": (arrives(b""), "0 bytes came, some were announced"),
    "cut off": (arrives(PNG[:50]), "it is a PNG that is cut off"),
}
PASSING: dict[str, tuple[Any, str]] = {
    "408": (answer(408), "HTTP 408"),
    "429": (answer(429), "HTTP 429"),
    "500": (answer(500, PNG), "HTTP 500"),
    "416": (answer(416), "HTTP 416"),
    "too short": (arrives(content_length=str(len(PNG) + 1)), f"{len(PNG)} bytes came, {len(PNG) + 1} were announced"),
    "broken off": (PNG[:20], "ReadError: connection reset"),
    "no connection": (httpx.ConnectError("refused"), "ConnectError: refused"),
    "compression cut off": (arrives(gzip.compress(PNG)[:-9], content_encoding="gzip"), "its compression is cut off"),
    "system error": (ConnectionResetError(104, "reset by peer"), "ConnectionResetError: [Errno 104] reset by peer"),
    "cut by the server": (httpx.RemoteProtocolError("peer closed"), "RemoteProtocolError: peer closed"),
}


def replies(reply: Any, times: int) -> UnitaskProvider:
    """A host that says the same so many times."""
    breaks = isinstance(reply, bytes)
    return provider(*(httpx.Response(200, stream=cut_off(reply)) if breaks else reply for _ in range(times)))


@pytest.mark.parametrize(("reply", "reason"), LASTING.values(), ids=LASTING.keys())
def test_file_that_cannot_come_whole_is_asked_for_once(shell: str, reply: Any, reason: str, tmp_path: Path) -> None:
    script = replies(reply, 1)
    with pytest.raises(DownloadFailed) as caught:
        fetch(shell, script, finished(), tmp_path / "a.png")

    assert reason in str(caught.value)
    assert (caught.value.url, caught.value.task_id) == (URL, TASK_ID)
    assert script.clock.sleeps == []
    assert files_in(tmp_path) == []


@pytest.mark.parametrize(
    ("reply", "reason", "first"),
    [(*case, 0.5) for case in PASSING.values()] + [(*case, 2.0) for case in LATE.values()],
    ids=[*PASSING, *LATE],
)
def test_file_that_may_yet_come_is_asked_for_four_times(
    shell: str, reply: Any, reason: str, first: float, tmp_path: Path
) -> None:
    script = replies(reply, 4)
    with pytest.raises(DownloadFailed) as caught:
        fetch(shell, script, finished(), tmp_path / "a.png")

    assert reason in str(caught.value)
    assert len(script.requests) == 4
    assert [first / 2 * 2**n <= pause <= first * 2**n for n, pause in enumerate(script.clock.sleeps)] == [True] * 3
    assert files_in(tmp_path) == []

    script = replies(reply, 3)
    script.answers(httpx.Response(200, content=PNG))
    assert fetch(shell, script, finished(), tmp_path / "a.png")[0].read_bytes() == PNG


def test_url_that_cannot_be_asked_is_not_asked_again(shell: str, tmp_path: Path) -> None:
    script = provider()
    with pytest.raises(DownloadFailed, match="InvalidURL"):
        fetch(shell, script, finished({"image_url": "http://[::1"}), tmp_path / "a")

    assert script.clock.sleeps == []


@pytest.mark.parametrize(("asked", "waited"), [("7", 7.0), ("0", 0.5), ("999999", 120.0)])
def test_host_that_asks_for_time_is_given_it(shell: str, asked: str, waited: float, tmp_path: Path) -> None:
    script = provider(answer(503, retry_after=asked), arrives(gzip.compress(PNG), content_encoding="gzip"))
    (path,) = fetch(shell, script, finished(), tmp_path / "a.png")

    assert script.clock.sleeps == [waited]
    assert path.read_bytes() == PNG


def test_redirect_of_an_output_is_followed_without_the_key(shell: str, tmp_path: Path) -> None:
    script = provider(answer(302, location="https://cdn.test/a.png"), arrives())
    (path,) = fetch(shell, script, finished(), tmp_path / "a.png")

    assert path.read_bytes() == PNG
    assert [request.url for request in script.requests] == [URL, "https://cdn.test/a.png"]
    assert all("x-api-key" not in request.headers for request in script.requests)


# ---- before a task is paid


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("/proc/new/", r"/proc/new' cannot be written"),
        ("{0}/file/a.mp4", r"file' is a file, not a folder"),
        ("{0}/new/" + "x" * 300 + ".mp4", "cannot be written: File name too long"),
        ("{0}/a\0b.mp4", "cannot be written: .*embedded null"),
        ("{0}/file", "exists: name another file"),
        ("{0}/lost", "exists: name another file"),
        ("/dev/null", "exists: name another file"),
        ("{0}/folder.mp4", "folder.mp4' is a folder: name a file, or end it with a slash"),
    ],
)
def test_place_that_cannot_be_written_is_found_before_paying(place: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "lost").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InvalidInput, match=reason):
        check_destination(place.format(tmp_path))

    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.mp4", "lost"]
    with pytest.raises(InvalidInput, match="'/dev/null' is not a regular file"):
        check_destination("/dev/null", overwrite=True)


def test_full_or_read_only_disk_is_found_before_paying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_destination(tmp_path / "new" / "a.mp4")
    with monkeypatch.context() as patch:
        patch.setattr("tempfile.NamedTemporaryFile", _refuse(errno.EROFS, "Read-only file system"))
        with pytest.raises(InvalidInput, match="cannot be written: Read-only file system"):
            check_destination(f"{tmp_path}/new/")
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(total=1 << 40, free=download.LEAST_FREE - 1))
    with pytest.raises(InvalidInput, match=r"has 33\.6 MB free, and an output may need more than 34 MB"):
        check_destination(f"{tmp_path}/new/")

    assert files_in(tmp_path) == []


def _refuse(number: int, words: str) -> Any:
    def refuse(*_: object, **__: object) -> Any:
        raise OSError(number, words)

    return refuse


@pytest.mark.parametrize(
    ("to", "is_folder"),
    [
        ("new/", True),
        ("new/a.jpg", False),
        (PurePosixPath("new/"), True),
        ("v1.0", True),
        ("taken", False),
        ("x" * 255, False),  # as long as a name may be
        ("é" * 120 + ".mp4", False),
    ],
)
def test_folder_is_told_from_a_file(
    to: Any, is_folder: bool, shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "v1.0").mkdir()
    (tmp_path / "taken").write_bytes(b"mine")
    check_destination(to, overwrite=True)
    (path,) = fetch(shell, provider(arrives()), finished(), to, overwrite=True)

    assert path == (Path(to) / f"{TASK_ID}.png" if is_folder else Path(to))
    assert path.read_bytes() == PNG


# ---- after a task is paid


@pytest.mark.parametrize(
    ("to", "options", "reply"), [("a.png", {}, None), ("a.png", {"parallel": 0}, None), ("b.png", {}, answer(410))]
)
def test_error_of_a_download_says_what_is_paid(
    shell: str, to: str, options: dict[str, Any], reply: Any, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(b"mine")
    task = finished(meta={"usage": {"consume": 100_000}})
    with pytest.raises((InvalidInput, DownloadFailed)) as caught:
        fetch(shell, provider(*filter(None, [reply])), task, f"{tmp_path}/{to}", **options)

    assert str(caught.value).endswith(
        f". Task '{TASK_ID}' is done and paid: client.download(client.get('{TASK_ID}'), 'out/') fetches its files"
    )
    assert caught.value.task_id == TASK_ID
    assert "nothing was sent" not in str(caught.value)
    legacy = Task(task_data("completed", output={"image": URL}), tasks.LegacyFaceSwapOutput)
    with pytest.raises(DownloadFailed, match=re.escape(f"client.download(client.get('{legacy.token}'), ")):
        fetch(shell, provider(answer(410)), legacy, f"{tmp_path}/")


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (Task(task_data("processing"), Output), f"Task '{TASK_ID}' is not done: client.wait('{TASK_ID}') waits for it"),
        (Task(task_data("failed"), Output), "(status 'failed')"),
    ],
)
def test_unpaid_task_is_not_called_paid(shell: str, what: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=rf"^nothing was fetched: .*{re.escape(words)}$"):
        fetch(shell, provider(), what, f"{tmp_path}/")


# ---- text that is all a task made

LYRICS = {
    "lyrics_pairs": [{"title": "Rain", "text": "Es regnet\nüber "}, {"title": "Sun", "text": "La"}, {"text": None}]
}
TEXTS: list[tuple[Any, dict[str, Any], str]] = [
    (tasks.UdioLyricsOutput, LYRICS, "Rain\n\nEs regnet\nüber \n\nSun\n\nLa\n"),
    (tasks.MidjourneyDescribeOutput, {"description": "1. <b> a cat", "progress": "100"}, "1. <b> a cat\n"),
    (tasks.MidjourneySeedOutput, {"seed": "123"}, "123\n"),
    (tasks.UdioLyricsOutput, {"lyrics_pairs": [{"text": "half a pair: \ud800"}]}, "half a pair: ?\n"),
]


@pytest.mark.parametrize(("kind", "output", "text"), TEXTS)
def test_text_of_a_task_is_written(shell: str, kind: Any, output: dict[str, Any], text: str, tmp_path: Path) -> None:
    task = Task(task_data("completed", output=output), kind)

    assert fetch(shell, provider(), task, f"{tmp_path}/o.txt")[0].read_text("utf-8") == text
    assert fetch(shell, provider(), task, f"{tmp_path}/") == [tmp_path / f"{TASK_ID}.txt"]


@pytest.mark.parametrize(
    ("kind", "output", "status"),
    [
        (tasks.UdioLyricsOutput, LYRICS, "failed"),
        (tasks.UdioLyricsOutput, {"lyrics_pairs": [{"text": " "}, 7, {}]}, "completed"),
        (tasks.KlingOutput, {"status": "text"}, "completed"),
        *((Output, output, "failed") for output in ({}, {"image_url": None}, {"image_url": "ftp://out.test/a"})),
    ],
)
def test_task_without_a_result_is_refused(
    shell: str, kind: Any, output: dict[str, Any], status: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match=rf"has no output file( \(status '{status}'\))?"):
        fetch(shell, provider(), Task(task_data(status, model="new", output=output), kind), f"{tmp_path}/o.txt")


def test_every_task_type_that_makes_text_alone_is_known() -> None:
    schemas = contract.components()
    filled = {entry.output: _filled(schemas[entry.output]) for entry in contract.task_types().values()}

    assert {name for name, output in filled.items() if output_files.text_of(output, name)} == {
        kind.__name__ for kind, _, _ in TEXTS
    }


def _filled(rule: dict[str, Any]) -> Any:
    """A value with a text wherever one may be."""
    rule = contract.resolve(rule)
    if "properties" in rule:
        return {name: _filled(part) for name, part in rule["properties"].items()}
    return [_filled(rule["items"])] if "items" in rule else "text"


def test_file_system_that_cannot_map_files_gets_its_file(
    shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmap.mmap", _refuse(errno.ENODEV, "No such device"))
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(total=0, free=0))
    check_destination(f"{tmp_path}/")
    fetch(shell, provider(arrives(content_length=str(len(PNG)))), finished(), tmp_path / "a.png")
    with pytest.raises(DownloadFailed, match="it is not a picture"):
        fetch(shell, provider(arrives(b"%PDF-1.7")), finished(), tmp_path / "b.png")

    assert files_in(tmp_path) == ["a.png"]


def test_files_of_several_tasks_name_each_of_them(shell: str, tmp_path: Path) -> None:
    given = [OutputFile(URL, task_id="a"), OutputFile(URL, task_id="b", number=2)]
    with pytest.raises(InvalidInput, match=r"Task 'a' is done and paid: .* Task 'b' is done and paid: "):
        fetch(shell, provider(), given, tmp_path / "a.png")  # type: ignore[arg-type]
    with pytest.raises(DownloadFailed, match=r"^1 of 2 files are missing: .* HTTP 410; .* Task 'b' is done and paid"):
        fetch(shell, provider(arrives(), answer(410)), given, f"{tmp_path}/", parallel=1)  # type: ignore[arg-type]
