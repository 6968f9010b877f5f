"""Files of a create: what goes along, what is uploaded first, and what is uploaded once."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from unitask import InvalidInput, Upload, errors, tasks
from unitask._core.effects import Response, SendRequest, TransportFailure
from unitask._core.uploads import KEPT, LARGE, Uploads, upload, with_uploads
from unitask._model.upload import Attachment, upload_ending
from unitask.inputs import request_body
from unitask.media import LARGEST_FILE, attachment, read_file

from .pictures import encoded
from .script import CUT_OFF, UNIX, Played, answer, limits, play, refused

PNG = encoded()
SMALL = PNG
BIG = PNG[:-12] + bytes(LARGE) + PNG[-12:]
STORED = "https://img.test/ephemeral/1.png"
URL_ONLY = {"kind": "image", "accepts": ["url"]}
EITHER = {"kind": "image"}


def file(content: bytes, rule: dict[str, Any] | None = None) -> Attachment:
    return attachment(base64.b64encode(content).decode(), content, rule or EITHER)


def body(**given: Any) -> dict[str, Any]:
    return {"model": "m", "task_type": "t", "input": given}


def stored(url: str = STORED) -> Response:
    return answer(200, {"code": 200, "data": {"url": url}, "message": "success"})


def attach(sent: dict[str, Any], *replies: Response | TransportFailure, uploads: Uploads | None = None) -> Played:
    return play(with_uploads(sent, uploads or Uploads("https://upload.test"), limits()), *replies)


def paths(played: Played) -> list[str]:
    return [step.path for step in played.steps if isinstance(step, SendRequest)]


# ---- when


def test_file_for_a_field_that_takes_a_url_is_uploaded() -> None:
    played = attach(body(image=file(SMALL, URL_ONLY), prompt="fox"), CUT_OFF, stored())
    send = next(step for step in played.steps if isinstance(step, SendRequest))

    assert paths(played) == ["https://upload.test/api/ephemeral_resource"] * 2
    assert send.json == {
        "file_name": f"{hashlib.sha256(SMALL).hexdigest()[:32]}.png",
        "file_data": base64.b64encode(SMALL).decode(),
    }
    assert played.result == body(image=STORED, prompt="fox")


def test_files_are_found_in_lists_and_objects() -> None:
    sent = body(
        images=[file(SMALL, URL_ONLY), "https://me.test/b.png"], shots=[{"image": file(SMALL, URL_ONLY), "n": 1}]
    )
    played = attach(sent, stored())

    assert played.result["input"] == {"images": [STORED, "https://me.test/b.png"], "shots": [{"image": STORED, "n": 1}]}
    assert isinstance(sent["input"]["images"][0], Attachment)


def test_files_that_go_along_stay_beside_those_that_are_uploaded() -> None:
    small, unknown, url_only = file(SMALL), file(b"GIF89a" + bytes(LARGE)), file(PNG + b"\0", URL_ONLY)
    large, larger = (file(PNG + bytes(size - len(PNG))) for size in (LARGE, LARGE + 1))
    played = attach(body(a=small, b=unknown, c=url_only, d=large, e=larger), stored())

    assert played.result == body(a=small, b=unknown, c=STORED, d=large, e=STORED)
    for sent, wanted in (
        (body(image=small, prompt="fox"), None),
        (body(data=unknown), None),
        (body(image=file(BIG)), Uploads("https://upload.test", wanted=False)),
    ):
        assert attach(sent, uploads=wanted).result is sent


# ---- once


def test_same_file_is_uploaded_once() -> None:
    uploads = Uploads("https://upload.test")
    first = attach(body(a=file(SMALL, URL_ONLY), b=file(SMALL, URL_ONLY)), stored(), uploads=uploads)
    second = attach(body(c=file(SMALL, URL_ONLY)), uploads=uploads)

    assert len(first.sent) == 1
    assert second.sent == []
    assert second.result == body(c=STORED)


@pytest.mark.parametrize(("age", "again"), [(23 * 3600 - 1, False), (23 * 3600, True)])  # kept for 24 hours
def test_upload_is_used_while_it_is_kept(age: float, again: bool) -> None:
    made = play(upload(SMALL, "png", Uploads(""), limits()), stored()).result
    assert made == Upload(STORED, datetime.fromtimestamp(UNIX + 86_400, UTC), hashlib.sha256(SMALL).hexdigest())

    old = dataclasses.replace(made, url="https://old.test", expires_at=datetime.fromtimestamp(UNIX - age + KEPT, UTC))
    played = attach(body(a=file(SMALL, URL_ONLY)), stored(), uploads=Uploads("", known={made.sha256: old}))
    assert len(played.sent) == again
    assert played.result["input"]["a"] == (STORED if again else "https://old.test")


# ---- trouble


def test_plan_without_uploads_sends_large_files_along_and_fails_where_a_url_is_needed() -> None:
    uploads, sent = Uploads(""), body(image=file(BIG))
    first, second = attach(sent, refused(403), uploads=uploads), attach(sent, uploads=uploads)

    assert first.result is sent
    assert len(first.sent) == 1
    assert second.result is sent
    assert second.sent == []
    for reply, needed in ((refused(403, "Insufficient plan level"), URL_ONLY), (refused(401), None)):
        error = attach(body(image=file(BIG, needed)), reply).error
        assert isinstance(error, errors.AuthenticationFailed | errors.PermissionDenied)


# ---- before


@pytest.mark.parametrize(
    ("content", "ending"),
    [
        (encoded(form="PNG"), "png"),
        (encoded(form="JPEG"), "jpg"),
        (encoded(form="WEBP"), "webp"),
        (b"RIFF\0\0\0\0WAVEfmt ", "wav"),
        (b"\0\0\0\x20ftypisom", "mp4"),
        (b"\0\0\0\x20ftypheic", None),
        (b"ID3\4\0", "mp3"),
        (b"\xff\xfb\x90\x44", "mp3"),
        (b"\xff\xd9\xff", None),
        (b"GIF89a", None),
        (b"", None),
    ],
)
def test_ending_is_told_by_the_content(content: bytes, ending: str | None) -> None:
    assert upload_ending(content) == ending


def test_file_over_ten_megabytes_is_a_problem_before_anything_is_sent() -> None:
    content = PNG[:-12] + bytes(LARGEST_FILE) + PNG[-12:]
    with pytest.raises(InvalidInput, match=r"target_image: it has 10\.5 MB; at most 10 MB can be sent: shrink it"):
        request_body(tasks.FaceSwap(target_image=content, swap_image=PNG), uploads=True)


def test_content_for_a_url_field_is_taken_where_uploads_are() -> None:
    hug = tasks.Hug(image_url=PNG)
    sent = request_body(hug, uploads=True)["input"]["image_url"]

    assert isinstance(sent, Attachment)
    assert (sent.content, sent.only_url) == (PNG, True)
    assert repr(sent) == f"<file of {len(PNG)} bytes>"
    with pytest.raises(InvalidInput, match="only a URL is taken here: upload the file first"):
        request_body(hug)
    with pytest.raises(InvalidInput, match=r"an upload takes png, jpg, webp, wav, mp4, mp3; it starts with b'GIF8"):
        request_body(tasks.Hug(image_url=encoded(form="GIF")), uploads=True)
    made = Upload(STORED, datetime(2026, 1, 1, tzinfo=UTC), "0" * 64)
    assert request_body(tasks.Hug(image_url=made))["input"] == {"image_url": STORED}


def test_read_file_says_why_not(tmp_path: Path) -> None:
    assert read_file(PNG) == PNG
    with pytest.raises(InvalidInput, match=r"missing\.png' cannot be read"):
        read_file(tmp_path / "missing.png")
    with pytest.raises(InvalidInput, match=r"'https://me\.test/a\.png' has an address already"):
        read_file("https://me.test/a.png")
