"""Every engine of the sandbox, whichever there are: its files say that they are synthetic, and no medium breaks it.

Nothing here is written for one engine. Each gets the least input of its task type with a real sample for each medium,
and then hostile media in their places.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from unitask.inputs import request_body
from unitask_contract.inputs import file_of
from unitask_sandbox import Sandbox, Settings, bundle, samples
from unitask_sandbox.engines import ENGINES, simulate
from unitask_sandbox.engines.registry import Engine

from sandbox.tests.hostile import PICTURES

from .support import ENTRIES, make

pytestmark = [pytest.mark.contract("provider"), pytest.mark.filterwarnings("ignore::unitask.AdvisoryWarning")]

MARK = re.compile(rb"synthetic|simulated", re.IGNORECASE)
KEY = "contract"
OF_ENGINES = [
    name
    for name, entry in ENTRIES.items()
    if entry["protocol"] == "unified" and (entry["model"], entry["task_type"]) in ENGINES
]
MAKE_WORDS = ("describe", "seed", "generate_lyrics")  # task types that make no file
MEDIA = {
    **{name: PICTURES[name][0] for name in ("png-bomb-30000", "png-with-a-bomb-inside", "png-truncated", "png-wide")},
    **{name: PICTURES[name][0] for name in ("jpeg-of-100000-scans", "jpeg-of-four-colours", "png-that-moves", "gif")},
    **{
        name: PICTURES[name][0]
        for name in ("webp-with-a-large-frame-on-a-small-canvas", "svg-that-reads", "noise", "film")
    },
    "empty-film": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom\0\0\0\x08moov",
    "film-of-an-exabyte": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom\0\0\0\x01mdat" + b"\xff" * 8,
    "sound-of-4-gb": b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0"
    + struct.pack("<HHIIHH", 1, 2, 44100, 176400, 4, 16)
    + b"data\xff\xff\xff\xff",
    "sound-of-no-rate": b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0"
    + struct.pack("<HHIIHH", 1, 0, 0, 0, 0, 0)
    + b"data\0\0\0\0",
    "playlist": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
    "concat": b"ffconcat version 1.0\nfile /etc/passwd\n",
}


# What a file says of itself, without its pixels and samples.


def png_texts(data: bytes) -> bytes:
    return b"".join(body for name, body in png_chunks(data) if name in (b"tEXt", b"iTXt", b"eXIf"))


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        yield name, data[at + 8 : at + 8 + length]
        at += 12 + length


def jpeg_segments(data: bytes) -> bytes:
    at, found = 2, b""
    while data[at : at + 1] == b"\xff" and data[at + 1] != 0xDA:
        marker, length = struct.unpack_from(">xBH", data, at)
        if marker == 0xFE or 0xE0 <= marker <= 0xEF:
            found += data[at + 4 : at + 2 + length]
        at += 2 + length
    return found


def riff_chunks(data: bytes) -> bytes:
    """WebP's EXIF and XMP, WAV's LIST and id3."""
    at, found = 12, b""
    while at + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        if name in (b"EXIF", b"XMP ", b"LIST", b"id3 ", b"bext"):
            found += data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
    return found


def mp4_boxes(data: bytes) -> bytes:
    """Every box but the one with the samples."""
    at, found = 0, b""
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if length == 1:
            length = struct.unpack_from(">Q", data, at + 8)[0]
        end = at + length if length else len(data)
        if name != b"mdat":
            found += data[at + 8 : end]
        at = max(end, at + 8)
    return found


def gltf_json(data: bytes) -> bytes:
    return json.dumps(json.loads(data[20 : 20 + struct.unpack_from("<I", data, 12)[0]])["asset"]).encode()


def gif_comments(data: bytes) -> bytes:
    return b"".join(re.findall(rb"\x21\xfe(.*?)\0", data, re.DOTALL))


def first_kilobytes(data: bytes) -> bytes:
    """ID3 and EBML say it at their beginning; a text says it anywhere."""
    return data[:8192]


METADATA: dict[str, Callable[[bytes], bytes]] = {
    "png": png_texts,
    "jpg": jpeg_segments,
    "jpeg": jpeg_segments,
    "webp": riff_chunks,
    "wav": riff_chunks,
    "gif": gif_comments,
    "mp4": mp4_boxes,
    "mov": mp4_boxes,
    "m4a": mp4_boxes,
    "glb": gltf_json,
    "mp3": first_kilobytes,
    "webm": first_kilobytes,
    "txt": first_kilobytes,
    "json": first_kilobytes,
    "srt": first_kilobytes,
    "vtt": first_kilobytes,
}


def unmarked(files: list[tuple[str, bytes]]) -> list[str]:
    """The extensions of the files that do not say what they are."""
    return [extension for extension, data in files if not MARK.search(METADATA[extension](data))]


# Engines at work.


@pytest.fixture(scope="module")
def sandbox() -> Iterator[tuple[Sandbox, dict[str, bytes]]]:
    """A sandbox whose worker is really another process, and what lies behind the address of each kind of medium."""
    media: dict[str, bytes] = {}
    settings = Settings(keys={KEY: 1e9}, autorun=False, fetch=lambda url: media[url.rpartition("/")[2]])
    made = Sandbox(settings)
    yield made, media
    made.close()


def end_of(sandbox: Sandbox, name: str) -> Any:
    """The task of a type, once it has ended."""
    body = json.loads(json.dumps(request_body(make(name))))
    media = bundle.task_type(body["model"], body["task_type"], body["input"]).media
    for field, kind in media.items():
        if kind == "image" or field in body["input"]:
            body["input"][field] = f"https://me.test/{kind}"
    task_id = sandbox.accept(KEY, json.dumps(body).encode()).task_id
    sandbox.advance()
    return sandbox.get(KEY, task_id)


def files_of(sandbox: Sandbox, output: Any) -> Iterator[tuple[str, bytes]]:
    if isinstance(output, list):
        for item in output:
            yield from files_of(sandbox, item)
    elif isinstance(output, dict) and "$file" in output:
        path = sandbox.file(output["$file"])
        yield path.suffix.removeprefix("."), path.read_bytes()
    elif isinstance(output, dict):
        yield from files_of(sandbox, list(output.values()))


@pytest.mark.parametrize("name", OF_ENGINES)
def test_every_file_of_an_engine_says_that_it_is_synthetic(sandbox: Any, name: str) -> None:
    """The mark is in the metadata of each file, whatever its format."""
    made, media = sandbox
    media.update({kind: file_of(kind) for kind in ("image", "video", "audio")})
    task = end_of(made, name)
    if "pip install" in str(task.error):  # an extra that `make test` installs, and others need not
        pytest.skip(task.error["raw_message"])
    assert task.status == "completed", task.error
    files = list(files_of(made, task.output))

    assert files
    assert unmarked(files) == []


@pytest.mark.parametrize("name", OF_ENGINES)
def test_hostile_media_break_no_engine(sandbox: Any, name: str) -> None:
    """A task with a bomb, half a file or none at all fails in words, or is done; no engine crashes or hangs."""
    made, media = sandbox
    broken: dict[str, str] = {}
    for title, data in MEDIA.items():
        media.update(dict.fromkeys(("image", "video", "audio"), data))
        task = end_of(made, name)
        words = str(task.error["raw_message"])
        if task.status != "completed" and (not words or re.search(r"crashed|took over|sandbox broke|raised", words)):
            broken[title] = words

    assert broken == {}


@pytest.mark.parametrize(
    "entry", bundle.task_types(), ids=lambda entry: f"{entry.model} {entry.task_type} {dict(entry.match)}"
)
def test_every_simulated_file_says_so(entry: bundle.TaskType) -> None:
    """What no engine makes is marked in its metadata, too."""

    def files(value: Any) -> Iterator[tuple[str, bytes]]:
        if isinstance(value, tuple):
            yield value[1], value[0]
        elif isinstance(value, (list, dict)):
            for item in value.values() if isinstance(value, dict) else value:
                yield from files(item)

    found = list(files(dict(simulate(entry, {}).output)))

    assert bool(found) == (entry.task_type not in MAKE_WORDS)
    assert unmarked(found) == []


def test_unmarked_file_is_noticed() -> None:
    """The check that every engine is held to is seen to fail: on the samples, which are real."""
    files = [("png", samples.ASTRONAUT.read_bytes()), ("jpg", samples.GRACE_HOPPER.read_bytes())]
    files += [("mp4", file_of("video"))]

    assert unmarked(files) == ["png", "jpg", "mp4"]


def test_every_engine_is_of_a_known_task_type() -> None:
    """So that each is walked here."""
    walked = {(ENTRIES[name]["model"], ENTRIES[name]["task_type"]) for name in OF_ENGINES}
    engines: dict[tuple[str, str], Engine] = ENGINES

    assert engines.keys() == walked
