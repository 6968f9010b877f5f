"""Hostile media break no engine: each task type with an engine gets them in all its places."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from unitask.inputs import request_body
from unitask_sandbox import Sandbox, Settings, bundle
from unitask_sandbox.engines import ENGINES

from sandbox.tests.hostile import PICTURES

from .support import ENTRIES, KEY, make

pytestmark = pytest.mark.filterwarnings("ignore::unitask.AdvisoryWarning")

NAMES = {
    (entry["model"], entry["task_type"]): name for name, entry in ENTRIES.items() if entry["protocol"] == "unified"
}
WAV = b"RIFF%bWAVEfmt \x10\0\0\0%bdata%b"
MEDIA = {
    **PICTURES,
    "film without frames": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom\0\0\0\x08moov",
    "film of an exabyte": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom\0\0\0\x01mdat" + b"\xff" * 8,
    "sound of 4 GB": WAV % (b"\xff" * 4, b"\1\0\2\0\x44\xac\0\0\x10\xb1\2\0\4\0\x10\0", b"\xff" * 4),
    "sound without a rate": WAV % (b"\x24\0\0\0", b"\1\0" + bytes(14), bytes(4)),
    "playlist": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
    "concat": b"ffconcat version 1.0\nfile /etc/passwd\n",
}


FETCHED = {"content": b""}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    made = Sandbox(Settings(keys={KEY: 1e9}, autorun=False, fetch=lambda _url: FETCHED["content"]))
    yield made
    made.close()


@pytest.mark.parametrize("engine", ENGINES, ids=" ".join)
def test_hostile_media_break_no_engine(engine: tuple[str, str], sandbox: Sandbox) -> None:
    body = json.loads(json.dumps(request_body(make(NAMES[engine]))))
    places = bundle.task_type(body["model"], body["task_type"], body["input"]).media
    for name, kind in places.items():
        if kind == "image" or name in body["input"]:
            body["input"][name] = f"https://me.test/{name}"
    broken: dict[str, Any] = {}
    for title, content in MEDIA.items():
        FETCHED["content"] = content
        task_id = sandbox.accept(KEY, json.dumps(body).encode()).task_id
        sandbox.advance()
        task = sandbox.get(KEY, task_id)
        words = str(task.error["raw_message"])
        if task.status != "completed" and (not words or re.search(r"crashed|took over|sandbox broke|raised", words)):
            broken[title] = words

    assert broken == {}
