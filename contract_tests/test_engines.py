"""Every engine of the sandbox, whichever there are: no medium breaks it.

Nothing here is written for one engine. Each gets the least input of its task type with hostile media in their places.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from unitask.inputs import request_body
from unitask_sandbox import Sandbox, Settings, bundle
from unitask_sandbox.engines import ENGINES
from unitask_sandbox.engines.registry import Engine

from sandbox.tests.hostile import PICTURES

from .support import ENTRIES, make

pytestmark = pytest.mark.filterwarnings("ignore::unitask.AdvisoryWarning")

KEY = "contract"
OF_ENGINES = [
    name
    for name, entry in ENTRIES.items()
    if entry["protocol"] == "unified" and (entry["model"], entry["task_type"]) in ENGINES
]
MEDIA = {
    **PICTURES,
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


@pytest.fixture(scope="module")
def sandbox() -> Iterator[tuple[Sandbox, dict[str, bytes]]]:
    media: dict[str, bytes] = {}
    settings = Settings(keys={KEY: 1e9}, autorun=False, fetch=lambda url: media[url.rpartition("/")[2]])
    made = Sandbox(settings)
    yield made, media
    made.close()


def end_of(sandbox: Sandbox, name: str) -> Any:
    body = json.loads(json.dumps(request_body(make(name))))
    media = bundle.task_type(body["model"], body["task_type"], body["input"]).media
    for field, kind in media.items():
        if kind == "image" or field in body["input"]:
            body["input"][field] = f"https://me.test/{kind}"
    task_id = sandbox.accept(KEY, json.dumps(body).encode()).task_id
    sandbox.advance()
    return sandbox.get(KEY, task_id)


@pytest.mark.parametrize("name", OF_ENGINES)
def test_hostile_media_break_no_engine(sandbox: Any, name: str) -> None:
    made, media = sandbox
    broken: dict[str, str] = {}
    for title, data in MEDIA.items():
        media.update(dict.fromkeys(("image", "video", "audio"), data))
        task = end_of(made, name)
        words = str(task.error["raw_message"])
        if task.status != "completed" and (not words or re.search(r"crashed|took over|sandbox broke|raised", words)):
            broken[title] = words

    assert broken == {}


def test_every_engine_is_of_a_known_task_type() -> None:
    """So that each is walked here."""
    walked = {(ENTRIES[name]["model"], ENTRIES[name]["task_type"]) for name in OF_ENGINES}
    engines: dict[tuple[str, str], Engine] = ENGINES

    assert engines.keys() == walked
