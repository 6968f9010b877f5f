"""How a notebook shows tasks, and the bar while a client waits; docs/notebooks runs in a kernel, with the sandbox."""

import asyncio
import base64
import json
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import nbformat
import pytest
from IPython.core.formatters import DisplayFormatter
from nbclient import NotebookClient
from unitask import AsyncClient, Client, OutputFile, Task, TaskFailed
from unitask._model.card import LARGEST
from unitask._notebook import fetched
from unitask.tasks import FaceSwapOutput, TrellisOutput
from unitask.testing import UnitaskProvider
from unitask.testing.samples import output_of, with_files
from unitask_api import contract
from unitask_api.output_files import text_of
from unitask_api.outputs import output_named
from unitask_sandbox import Settings, running

from .pictures import encoded
from .script import finished, task_data
from .shells import FACE_SWAP, KEY

NOTEBOOKS = Path(__file__).parents[2] / "docs" / "notebooks"
PICTURE = encoded()
MP4 = b"\0\0\0\x10ftypisom\0\0\0\0"
HOSTILE = "\"'><script>alert(1)</script><img src=//evil.test/x onerror=alert(1)>&lt;\u202e\x1b"
ATTRIBUTES = {
    "a": {"href", "target", "rel"},
    "img": {"alt", "src", "style"},
    "audio": {"controls", "src", "style"},
    "video": {"controls", "src", "style"},
    "pre": {"style"},
    "div": set[str](),
    "b": set[str](),
}


class Elements(HTMLParser):
    """The elements and texts of a piece of HTML that a notebook may show."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.media: list[tuple[str, str]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        assert given.keys() <= ATTRIBUTES[tag]
        assert "url(" not in given.get("style", "")
        if tag == "a":
            assert given["href"].startswith(("http://", "https://"))
            self.links.append(given["href"])
        if "src" in given:
            assert given["src"].startswith("data:")
            self.media.append((tag, given["src"]))

    def handle_data(self, data: str) -> None:
        self.text += data


class Shell:
    """The shell of a kernel, as far as this package uses it."""

    kernel = object()

    def __init__(self) -> None:
        self.display_formatter = DisplayFormatter()
        self.display_pub = SimpleNamespace(publish=self.publish)
        self.published: list[tuple[str, bool, str]] = []  # display id, whether it is an update, text

    def publish(self, data: dict[str, str], metadata: Any, transient: dict[str, str], update: bool) -> None:
        self.published.append((transient["display_id"], update, data["text/plain"]))

    def show(self, value: object) -> str:
        html: str = self.display_formatter.format(value)[0]["text/html"]
        return html


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Shell:
    shell = Shell()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    return shell


@pytest.fixture
def provider() -> Iterator[UnitaskProvider]:
    with UnitaskProvider() as provider:
        provider.completes(image_url=PICTURE, statuses=("pending", "pending", "completed"))
        yield provider


def run(shell: str, *inputs: Any) -> list[Any]:
    async def gathered() -> list[Any]:
        async with AsyncClient(KEY) as client:
            return await asyncio.gather(*map(client.run, inputs))

    if shell == "async":
        return asyncio.run(gathered())
    with Client(KEY) as client:
        return client.wait_all([client.submit(each) for each in inputs])


def test_text_of_a_provider_is_escaped(notebook: Shell) -> None:
    for field in ("task_id", "model", "task_type", "status"):
        task = Task({**task_data(), field: HOSTILE}, FaceSwapOutput)
        assert "<script>alert(1)</script>" in Elements(notebook.show(task)).text, field
    failed = Task(task_data("failed", error={"message": f"a\n{HOSTILE}"}, output=[HOSTILE]), FaceSwapOutput)
    assert "a\n\"'><script>" in Elements(notebook.show(failed)).text
    for url in (f"https://x.test/{HOSTILE}", 'https://x.test/"onclick="alert(1)', "javascript:alert(1)"):
        found = Elements(finished({"image_url": url}).to_html({url: PICTURE}))
        assert found.links == ([url] if url.isprintable() and url.startswith("https") else []), url
        assert "\u202e" not in found.text


def test_html_is_limited_in_size() -> None:
    large = PICTURE + bytes(5_000_000)
    urls = [f"https://x.test/{number}.png" for number in range(500)]
    task = finished({"image_urls": urls, "text": "x" * 10**6}, error={"message": "y" * 10**6}, model="z" * 10**6)

    html = task.to_html(dict.fromkeys(urls, large))

    assert len(Elements(html).media) == 1
    assert "and 488 more files" in html
    assert len(html) < LARGEST * 4 / 3 + 50_000


def test_file_is_shown_by_what_its_bytes_are() -> None:
    shown = {
        "img": [PICTURE, encoded(form="JPEG"), encoded(form="WEBP"), encoded(form="GIF"), b"\0\0\0\x1cftypavif"],
        "video": [MP4, b"\x1aE\xdf\xa3"],
        "audio": [b"RIFF\x04\0\0\0WAVE", b"ID3", b"\xff\xfb\x90", b"fLaC", b"OggS", b"\0\0\0\x1cftypM4A "],
        "": [b"<svg onload=alert(1)>", b"<html>", b"#EXTM3U\nhttps://x.test/1.ts", b"glTF", b"\0\0\0\x18ftypheic", b""],
    }
    url = "https://x.test/result"
    for element, contents in shown.items():
        for content in contents:
            found = Elements(finished({"image_url": url}).to_html({url: content}))
            assert [tag for tag, _ in found.media] == ([element] if element else []), content
            assert found.links == [url]


def test_file_inside_an_output_is_shown() -> None:
    source = f"data:image/png;base64,{base64.b64encode(PICTURE).decode()}"

    assert Elements(finished({"image_url": source}).to_html()).media == [("img", source)]


def test_preview_is_shown_beside_a_model_that_cannot_be() -> None:
    output = {"model_file": "https://x.test/1.glb", "combined_video": "https://x.test/2.mp4"}
    task = Task({**task_data("completed"), "output": output}, TrellisOutput)

    found = Elements(task.to_html({"https://x.test/1.glb": 2_400_000, "https://x.test/2.mp4": MP4}))

    assert [tag for tag, _ in found.media] == ["video"]
    assert "model 1, GLB, 2.4 MB" in found.text
    assert found.links == [*output.values()]


def test_output_of_each_task_type_has_a_form() -> None:
    elements = {"image": "img", "video": "video", "audio": "audio"}
    undocumented = "https://x.test/more.mp3"
    for entry in contract.task_types().values():
        contents: dict[str, bytes | int] = {undocumented: b"ID3"}
        made: dict[str, bytes] = {}
        output = with_files(output_of(contract.components()[entry.output]), "https://x.test", made)
        output["more"] = undocumented
        task = Task({**task_data("completed"), "output": output}, output_named(entry.output))
        files, found = task.output.files, Elements(task.to_html(contents | made))

        wanted = [elements[file.kind] for file in files if file.role == "result" and file.kind in elements]
        assert [tag for tag, _ in found.media] == wanted, entry.name
        assert found.links == [file.url for file in files], entry.name
        assert text_of(task.output.raw, entry.output) in found.text, entry.name


def test_notebook_shows_the_picture_of_a_finished_task_without_the_key(
    shell: str, notebook: Shell, provider: UnitaskProvider
) -> None:
    (task,) = run(shell, FACE_SWAP)

    html = notebook.show(task)

    fetch = provider.requests[-1]
    assert fetch.url == task.output.image_url
    assert Elements(html).media == [("img", f"data:image/png;base64,{base64.b64encode(PICTURE).decode()}")]
    assert KEY not in str(fetch.headers)


def test_key_that_a_provider_echoes_is_not_shown(shell: str, notebook: Shell, provider: UnitaskProvider) -> None:
    data = task_data("completed", model=KEY, output={"image_url": f"https://x.test/{KEY}"}, error={"message": KEY})
    provider.answers({"code": 200, "data": {**data, "status": KEY}}, {"code": 200, "data": data})

    (task,) = run(shell, FACE_SWAP)

    assert KEY not in notebook.show(task) + task.to_html() + str(notebook.published)


def test_file_that_cannot_be_fetched_is_a_link(notebook: Shell, provider: UnitaskProvider) -> None:
    (task,) = run("sync", FACE_SWAP)
    provider.down = True

    assert Elements(notebook.show(task)).links == [task.output.image_url]
    assert Elements(notebook.show(Task(task_data("completed", output="odd"), FaceSwapOutput))).links == []


def test_fetching_is_limited_in_time_and_size() -> None:
    released = threading.Event()

    def answer(request: httpx.Request) -> httpx.Response:
        match request.url.path:
            case "/slow.png":
                released.wait()
            case "/none.png":
                return httpx.Response(404, content=PICTURE)
            case "/broken.png":
                raise httpx.ReadError("broken")
            case "/model.glb":
                return httpx.Response(200, headers={"content-length": "7"}, stream=Unread())
            case "/large.png":
                return httpx.Response(200, headers={"content-length": str(LARGEST + 1)}, stream=Unread())
            case "/endless.png":
                return httpx.Response(200, stream=httpx.ByteStream(bytes(LARGEST + 1)))
        return httpx.Response(200, content=PICTURE)

    names = ("none", "broken", "large", "endless", "small")
    files = [OutputFile("https://x.test/model.glb", kind="model")]
    files += [OutputFile(f"https://x.test/{name}.png", kind="image") for name in names]

    def connect() -> httpx.Client:
        return httpx.Client(transport=httpx.MockTransport(answer))

    contents = fetched(connect, files)
    late = fetched(connect, [OutputFile("https://x.test/slow.png", kind="image")], seconds=0.01)
    released.set()

    assert contents == {
        "https://x.test/model.glb": 7,
        "https://x.test/large.png": LARGEST + 1,
        "https://x.test/small.png": PICTURE,
    }
    assert late == {}


class Unread(httpx.SyncByteStream):
    def __iter__(self) -> Iterator[bytes]:
        raise AssertionError("it was read")


def test_bar_shows_the_task_until_it_ended(shell: str, notebook: Shell, provider: UnitaskProvider) -> None:
    (task,) = run(shell, FACE_SWAP)

    ids, updates, texts = zip(*notebook.published, strict=True)
    assert len(set(ids)) == 1
    assert updates == (False, *[True] * (len(texts) - 1))
    assert any(text.startswith(f"task {task.id}: pending") for text in texts)
    assert f"task {task.id}: completed" in texts[-1]


def test_several_waits_share_one_bar(shell: str, notebook: Shell, provider: UnitaskProvider) -> None:
    run(shell, FACE_SWAP, FACE_SWAP, FACE_SWAP)

    first = run(shell, FACE_SWAP) and notebook.published[0][0]
    texts = [text for display_id, _, text in notebook.published if display_id == first]
    assert texts[-1].startswith("3 of 3 tasks ended")
    assert len({display_id for display_id, _, _ in notebook.published}) == 2


def test_wait_outlives_a_display_that_fails(shell: str, notebook: Shell, provider: UnitaskProvider) -> None:
    notebook.display_pub = SimpleNamespace()

    assert [task.done for task in run(shell, FACE_SWAP)] == [True]


def test_bar_ends_with_a_task_that_failed(notebook: Shell, provider: UnitaskProvider) -> None:
    provider.fails("no face found", times=1)

    with Client(KEY) as client, pytest.raises(TaskFailed):
        client.run(FACE_SWAP)

    assert ": failed, " in notebook.published[-1][2]


def test_nothing_is_shown_or_fetched_outside_of_a_notebook(shell: str, provider: UnitaskProvider) -> None:
    (task,) = run(shell, FACE_SWAP)
    before = len(provider.requests)

    bundle = DisplayFormatter().format(task)[0]

    assert bundle["text/plain"] == repr(task)
    assert Elements(bundle["text/html"]).media == []
    assert len(provider.requests) == before


@pytest.mark.parametrize("path", [*NOTEBOOKS.glob("*.ipynb")], ids=lambda path: path.stem)
def test_notebook_of_the_docs_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = nbformat.read(path, 4)
    assert [cell.get("outputs") or cell.get("execution_count") for cell in book.cells] == [None] * len(book.cells)
    monkeypatch.setenv("UNITASK_API_KEY", KEY)
    with running(Settings(keys={KEY: 1.0})) as url:
        monkeypatch.setenv("UNITASK_BASE_URL", url)
        NotebookClient(book, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()

    data = [output["data"] for cell in book.cells for output in cell.get("outputs", ())]
    (media,) = [media for each in data if "text/html" in each for media in Elements(each["text/html"]).media]
    (saved,) = (tmp_path / "out").iterdir()
    assert media == ("img", f"data:image/png;base64,{base64.b64encode(saved.read_bytes()).decode()}")
    assert any("completed" in each["text/plain"] and "<progress" not in each["text/html"] for each in data[1:2])
    assert KEY not in json.dumps(book)
