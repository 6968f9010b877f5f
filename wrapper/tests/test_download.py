"""Downloads: which files are fetched, where they go, and what an error says about a task that is paid."""

import errno
import os
import re
import stat
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from unitask import DownloadFailed, InvalidInput, Output, OutputFile, Task, download, tasks
from unitask.download import check_destination

from .pictures import encoded
from .script import OUTPUT_URL as URL
from .script import TASK_ID, answer, finished, task_data
from .shells import fetch, files_in, provider

PNG = encoded()
MARKED = {"resource": "https://out.test/marked.mp4", "resource_without_watermark": "https://out.test/1.mp4"}
FIRST = {"cover": {"resource": "https://out.test/cover.jpg"}, "video": MARKED}
KLING = {"works": [FIRST, {"video": {"resource_without_watermark": "https://out.test/2.mp4"}}]}


def kling(output: Any) -> Task[Output]:
    return finished(output, model="kling", task_type="video_generation")


def refuse(number: int, words: str) -> Any:
    def refused(*_: object, **__: object) -> Any:
        raise OSError(number, words)

    return refused


def host(request: httpx.Request) -> httpx.Response:
    """Answer with the stem of the URL behind a byte that no text has; a cover is a picture."""
    name = Path(request.url.path).stem
    return httpx.Response(200, content=PNG if name == "cover" else b"\0" + name.encode())


def test_results_are_fetched_under_their_numbers_and_covers_only_on_request(shell: str, tmp_path: Path) -> None:
    def names(what: Any, to: Any = f"{tmp_path}/", **options: Any) -> list[str]:
        paths = fetch(shell, host, what, to, overwrite=True, **options)
        assert all(path.parent == tmp_path for path in paths)
        return [path.name.removeprefix(TASK_ID) for path in paths]

    files = kling(KLING).output.files
    assert names(kling(KLING)) == ["-1.mp4", "-2.mp4"]
    assert (tmp_path / f"{TASK_ID}-2.mp4").read_bytes() == b"\x002"
    assert len(files_in(tmp_path)) == 2
    assert names(kling(KLING), previews=True) == ["-1.mp4", "-2.mp4", "-3.jpg"]
    for chosen in (files[3:4], files[1:4:2]):
        assert names(iter([*chosen, chosen[0]])) == [f"-{file.number}.mp4" for file in chosen]
    only = kling({"works": [FIRST]})
    assert (names(only), names(only, tmp_path / "mine.mp4")) == ([".mp4"], ["mine.mp4"])
    assert names(OutputFile("https://out.test/a.mp4")) == ["output-1.mp4"]


@pytest.mark.parametrize(
    ("task_id", "url", "name"),
    [("../../X", URL, "______X.png"), ("..", "https://out.test/a.PNG", "__.png"), ("t", f"{URL}.longest", "t")],
)
def test_file_is_named_by_its_task_and_stays_in_the_folder(task_id: str, url: str, name: str, tmp_path: Path) -> None:
    fetch("sync", provider(answer(200, PNG)), finished({"image_url": url}, task_id=task_id), f"{tmp_path}/a/b/")

    assert files_in(tmp_path) == [f"a/b/{name}"]


def test_file_without_an_ending_gets_that_of_its_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_bytes", None)  # a file is checked without being read into memory
    reply = answer(200, b"x", content_type="video/mp4; codecs=x")
    what = OutputFile("https://out.test/a?sig=1", task_id="t")

    assert fetch("sync", provider(reply), what, f"{tmp_path}/") == [tmp_path / "t-1.mp4"]
    assert fetch("sync", provider(reply), what, f"{tmp_path}/b") == [tmp_path / "b"]
    with pytest.raises(DownloadFailed, match=r"t-1.mp4' exists"):
        fetch("sync", provider(reply), what, f"{tmp_path}/")  # the name is known only after the answer
    assert fetch("sync", provider(reply), what, f"{tmp_path}/", overwrite=True) == [tmp_path / "t-1.mp4"]
    with pytest.raises(DownloadFailed, match="it is not a picture"):  # as the name that is given says
        fetch("sync", provider(*[answer(200, b"x")] * 4), OutputFile("https://out.test/a.php"), f"{tmp_path}/c.png")


@pytest.mark.parametrize("url", ["data:image/png;base64,iVBORw0KGgo=", "data:image/png,%89PNG%0D%0A%1A%0A"])
def test_file_in_the_output_is_written(shell: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(total=1 << 40, free=0))  # its size is not stated
    (path,) = fetch(shell, provider(), OutputFile(url, "image", task_id="t"), f"{tmp_path}/")

    assert path == tmp_path / "t-1.png"
    assert path.read_bytes().startswith(b"\x89PNG")
    host, broken = provider(), OutputFile(url, "image", documented=True)
    with pytest.raises(DownloadFailed, match="it is a PNG that is cut off"):
        fetch(shell, host, broken, f"{tmp_path}/")
    assert host.clock.sleeps == []  # it would be the same again
    assert files_in(tmp_path) == ["t-1.png"]


@pytest.mark.parametrize(
    ("to", "is_folder"),
    [
        ("new/", True),
        ("new/a.jpg", False),
        (PurePosixPath("new/"), True),
        (PurePosixPath("new.PNG"), False),
        ("v1.0", True),
        ("taken", False),
        ("x" * 255, False),  # the longest name
        ("é" * 120 + ".mp4", False),
    ],
)
def test_place_is_a_folder_or_a_file(to: Any, is_folder: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "v1.0").mkdir()
    (tmp_path / "taken").write_bytes(b"mine")
    check_destination(to, overwrite=True)
    (path,) = fetch("sync", provider(answer(200, PNG)), finished(), to, overwrite=True)

    assert path == (Path(to) / f"{TASK_ID}.png" if is_folder else Path(to))
    assert path.read_bytes() == PNG


RAIN, SUN = {"title": "Rain", "text": "Es regnet\nüber "}, {"title": "Sun", "text": "La"}
LYRICS = {"lyrics_pairs": [RAIN, SUN, {"text": None}]}


@pytest.mark.parametrize(
    ("kind", "output", "text"),
    [
        (tasks.UdioLyricsOutput, LYRICS, "Rain\n\nEs regnet\nüber \n\nSun\n\nLa\n"),
        (tasks.MidjourneyDescribeOutput, {"description": "1. <b> a cat", "progress": "100"}, "1. <b> a cat\n"),
        (tasks.MidjourneySeedOutput, {"seed": "123"}, "123\n"),
        (tasks.UdioLyricsOutput, {"lyrics_pairs": [{"text": "half a pair: \ud800"}]}, "half a pair: ?\n"),
    ],
)
def test_text_of_a_task_is_written(shell: str, kind: Any, output: dict[str, Any], text: str, tmp_path: Path) -> None:
    task = Task(task_data("completed", output=output), kind)

    assert fetch(shell, provider(), task, f"{tmp_path}/o.txt")[0].read_text("utf-8") == text
    assert fetch(shell, provider(), task, f"{tmp_path}/") == [tmp_path / f"{TASK_ID}.txt"]


def test_several_files_with_one_name_get_the_numbers_that_are_free(shell: str, tmp_path: Path) -> None:
    (tmp_path / "a-2.mp4").write_bytes(b"mine")
    taken = [*kling(KLING).output.files[:2], OutputFile("https://out.test/cover.jpg")]
    replies = [answer(200, b"\0x", content_type="video/mp4")] * 2 + [answer(200, PNG)]

    assert [path.name for path in fetch(shell, host, taken, f"{tmp_path}/a.mp4")] == ["a-1.mp4", "a-3.mp4", "a-4.jpg"]
    assert (tmp_path / "a-2.mp4").read_bytes() == b"mine"
    assert files_in(tmp_path) == ["a-1.mp4", "a-2.mp4", "a-3.mp4", "a-4.jpg"]
    paths = fetch(shell, host, taken[:2], f"{tmp_path}/a.mp4", overwrite=True)
    assert [path.name for path in paths] == ["a-1.mp4", "a-2.mp4"]

    unknown = [OutputFile(f"https://out.test/{name}?sig=1") for name in "ab"]
    names = [path.name for path in fetch(shell, provider(*replies[:2]), unknown, f"{tmp_path}/b")]
    assert names == ["b-1.mp4", "b-2.mp4"]


TWO = [OutputFile(URL, task_id="a"), OutputFile(URL, task_id="b", number=2)]


@pytest.mark.parametrize(
    ("what", "options", "reason"),
    [
        ([], {}, " the list is empty: give files or a task"),
        (TASK_ID, {}, f"'{TASK_ID}' is not a file of a task"),
        (kling({"works": [{"cover": {"resource": URL}}]}), {}, "has no output file but 1 of other roles"),
        (kling(KLING), {"parallel": 0}, "parallel is 0"),
        (kling(KLING), {"parallel": 1.5}, "parallel is 1.5"),
        (TWO, {"to": f"{__file__}/a.mp4"}, "files. Task 'b' is done and paid: client.download(client.get('b')"),
        ([OutputFile(URL), OutputFile(f"{URL}?x")], {}, " two of the files would have one name: fetch them"),
        (Task(task_data("processing"), Output), {}, f"Task '{TASK_ID}' is not done: client.wait('{TASK_ID}')"),
        (Task(task_data("failed"), Output), {}, "(status 'failed')"),
        (Task(task_data("failed", output=LYRICS), tasks.UdioLyricsOutput), {}, "has no output file"),
        (finished({"lyrics_pairs": [{"text": " "}, 7, {}]}), {}, "has no output file"),
        (finished({"image_url": "ftp://out.test/a"}), {}, "has no output file"),
    ],
)
def test_what_cannot_be_fetched_is_refused(what: Any, options: dict[str, Any], reason: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=rf"^nothing was fetched:.*{re.escape(reason)}"):
        fetch("sync", provider(), what, **{"to": f"{tmp_path}/", **options})

    assert files_in(tmp_path) == []
    assert download.recourse(Task(task_data("failed"), Output)) == ""  # nothing was paid


@pytest.mark.parametrize(
    ("to", "options", "replies"),
    [("a.png", {}, []), ("a.png", {"parallel": 0}, []), ("b.png", {}, [answer(410)])],
    ids=["taken", "wrong use", "gone"],
)
def test_error_of_a_download_says_that_the_task_is_paid_and_how_to_fetch_it(
    shell: str, to: str, options: dict[str, Any], replies: list[Any], tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(b"mine")
    with pytest.raises((InvalidInput, DownloadFailed)) as caught:
        fetch(shell, provider(*replies), finished(), tmp_path / to, **options)

    assert f"Task '{TASK_ID}' is done and paid: client.download(client.get('{TASK_ID}')" in str(caught.value)
    assert caught.value.task_id == TASK_ID
    assert "nothing was sent" not in str(caught.value)
    legacy = Task(task_data("completed", output={"image": URL}), tasks.LegacyFaceSwapOutput)
    with pytest.raises(DownloadFailed, match=re.escape(f"client.download(client.get('{legacy.token}'), ")):
        fetch(shell, provider(answer(410)), legacy, f"{tmp_path}/")


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("/proc/new/", r"/proc/new' cannot be written"),
        ("{0}/file/a.mp4", r"file' is a file, not a folder"),
        ("{0}/new/" + "x" * 300 + ".mp4", "cannot be written: File name too long"),
        ("{0}/" + "x" * 300, "/xxx.* cannot be written: File name too long"),
        ("{0}/a\0b.mp4", r"a\\x00b\.mp4' cannot be written: .*embedded null"),
        ("{0}/file", "exists: name another file"),
        ("{0}/lost", "exists: name another file"),
        ("{0}/folder.mp4", "folder.mp4' is a folder"),
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
    disk = SimpleNamespace(total=1 << 50, free=1 << 40)
    monkeypatch.setattr("shutil.disk_usage", lambda _: disk)
    monkeypatch.setattr(download, "LEAST_FREE", 1 << 40)
    check_destination(tmp_path / "new" / "a.mp4")
    with monkeypatch.context() as patch:
        patch.setattr("tempfile.NamedTemporaryFile", refuse(errno.EROFS, "Read-only file system"))
        with pytest.raises(InvalidInput, match="cannot be written: Read-only file system"):
            check_destination(f"{tmp_path}/new/")
    disk.free -= 1
    named = rf"{re.escape(str(tmp_path))}.* has 1099511\.6 MB free, .* more than 1099512 MB"
    with pytest.raises(InvalidInput, match=named):
        check_destination(f"{tmp_path}/new/")

    assert files_in(tmp_path) == []


def test_existing_file_is_replaced_when_the_new_one_is_whole(shell: str, tmp_path: Path) -> None:
    place = tmp_path / "a.png"
    place.write_bytes(b"mine")
    with pytest.raises(DownloadFailed):
        fetch(shell, provider(*[answer(200, PNG[:50])] * 4), finished(), place, overwrite=True)
    assert (place.read_bytes(), files_in(tmp_path)) == (b"mine", ["a.png"])

    fetch(shell, provider(answer(200, PNG)), finished(), place, overwrite=True)
    assert place.read_bytes() == PNG


@pytest.mark.parametrize("links", [True, False])
def test_file_that_appears_meanwhile_is_kept(links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not links:
        monkeypatch.setattr("os.link", refuse(errno.EOPNOTSUPP, "no links here"))

    def slow(request: httpx.Request) -> httpx.Response:
        (tmp_path / "a.png").write_bytes(b"theirs")
        return httpx.Response(200, content=PNG)

    fetch("sync", provider(answer(200, PNG)), finished(), tmp_path / "b.png")
    with pytest.raises(DownloadFailed, match=r"a\.png' was created meanwhile"):
        fetch("sync", slow, finished(), tmp_path / "a.png")

    assert (tmp_path / "a.png").read_bytes() == b"theirs"
    assert files_in(tmp_path) == ["a.png", "b.png"]


def test_disk_that_becomes_full_leaves_nothing(shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Path.open

    def full(path: Path, *how: Any, **more: Any) -> Any:
        file: Any = opened(path, *how, **more)
        file.write = refuse(errno.ENOSPC, "No space left on device")
        return file

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(DownloadFailed, match="it cannot be stored: No space left on device") as caught:
        fetch(shell, provider(answer(200, PNG)), finished(), tmp_path / "a.png")

    assert caught.value.task_id == TASK_ID
    assert files_in(tmp_path) == []
    monkeypatch.setattr(Path, "open", refuse(errno.EROFS, "Read-only file system"))
    with pytest.raises(DownloadFailed, match=r"/a\.png' cannot be written: Read-only file system"):
        fetch(shell, provider(answer(200, PNG)), finished(), tmp_path / "a.png")


def test_file_is_on_the_disk_before_it_has_its_name(
    shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, fsync, link = list[str](), os.fsync, os.link

    def synced(number: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(number).st_mode) else "file")
        fsync(number)

    monkeypatch.setattr("os.fsync", synced)
    monkeypatch.setattr("os.link", lambda *paths: (steps.append("name"), link(*paths)))
    fetch(shell, host, OutputFile("https://out.test/a.mp4"), tmp_path / "a.mp4")
    assert steps == ["file", "name", "folder"]


def test_file_system_that_cannot_map_files_gets_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmap.mmap", refuse(errno.ENODEV, "No such device"))
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(total=0, free=0))
    check_destination(f"{tmp_path}/")
    fetch("sync", provider(answer(200, PNG, content_length=str(len(PNG)))), finished(), tmp_path / "a.png")
    with pytest.raises(DownloadFailed, match="it is not a picture"):
        fetch("sync", provider(answer(200, b"%PDF-1.7")), finished(), tmp_path / "b.png")

    assert files_in(tmp_path) == ["a.png"]
