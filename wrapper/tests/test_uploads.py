"""Files of a submission: what goes along in it, what is uploaded first, and what is uploaded once."""

import base64
import dataclasses
import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from unitask import InvalidInput, Upload, errors, tasks
from unitask._core.effects import Response, SendRequest, TransportFailure
from unitask._core.uploads import KEPT, LARGE, Attachment, Uploads, upload, upload_ending, with_uploads
from unitask.inputs import request_body
from unitask.media import attachment, read_file

from .pictures import encoded
from .script import CUT_OFF, UNIX, Played, answer, limits, play, refused

PNG = encoded()
BIG = PNG[:-12] + bytes(LARGE) + PNG[-12:]
STORED = "https://img.test/ephemeral/1.png"
UPLOADED = answer(200, {"code": 200, "data": {"url": STORED}, "message": "success"})
URL_ONLY = {"kind": "image", "accepts": ["url"]}


def file(content: bytes, rule: dict[str, Any] | None = None) -> Attachment:
    return attachment(base64.b64encode(content).decode(), content, rule or {"kind": "image"})


def body(**given: Any) -> dict[str, Any]:
    return {"model": "m", "task_type": "t", "input": given}


def attach(sent: dict[str, Any], *replies: Response | TransportFailure, uploads: Uploads | None = None) -> Played:
    return play(with_uploads(sent, uploads or Uploads("https://upload.test"), limits()), *replies)


def test_file_for_a_field_that_takes_a_url_is_uploaded_once() -> None:
    uploads = Uploads("https://upload.test")
    images, shots = [file(PNG, URL_ONLY), "https://me.test/b.png"], [{"image": file(PNG, URL_ONLY), "n": 1}]
    first = attach(body(images=images, shots=shots), CUT_OFF, UPLOADED, uploads=uploads)
    second = attach(body(c=file(PNG, URL_ONLY)), uploads=uploads)
    sends = [step for step in first.steps if isinstance(step, SendRequest)]

    assert [send.path for send in sends] == ["https://upload.test/api/ephemeral_resource"] * 2  # one was cut off
    assert sends[0].json == {
        "file_name": f"{hashlib.sha256(PNG).hexdigest()[:32]}.png",
        "file_data": base64.b64encode(PNG).decode(),
    }
    assert first.result == body(images=[STORED, "https://me.test/b.png"], shots=[{"image": STORED, "n": 1}])
    assert isinstance(images[0], Attachment)
    assert (second.result, second.sent) == (body(c=STORED), [])


def test_files_that_go_along_stay_beside_those_that_are_uploaded() -> None:
    small, unknown, url_only = file(PNG), file(b"GIF89a" + bytes(LARGE)), file(PNG + b"\0", URL_ONLY)
    large, larger = (file(PNG + bytes(size - len(PNG))) for size in (LARGE, LARGE + 1))
    played = attach(body(a=small, b=unknown, c=url_only, d=large, e=larger), UPLOADED)

    assert played.result == body(a=small, b=unknown, c=STORED, d=large, e=STORED)
    never = Uploads("https://upload.test", wanted=False)
    for sent, uploads in ((body(image=small), None), (body(data=unknown), None), (body(image=file(BIG)), never)):
        assert attach(sent, uploads=uploads).result is sent


@pytest.mark.parametrize(("age", "again"), [(23 * 3600 - 1, False), (23 * 3600, True)])  # kept for 24 hours
def test_upload_is_used_while_it_is_kept(age: float, again: bool) -> None:
    made = play(upload(PNG, "png", Uploads(""), limits()), UPLOADED).result
    assert made == Upload(STORED, datetime.fromtimestamp(UNIX + 86_400, UTC), hashlib.sha256(PNG).hexdigest())

    old = dataclasses.replace(made, url="https://old.test", expires_at=datetime.fromtimestamp(UNIX - age + KEPT, UTC))
    played = attach(body(a=file(PNG, URL_ONLY)), UPLOADED, uploads=Uploads("", known={made.sha256: old}))
    assert len(played.sent) == again
    assert played.result["input"]["a"] == (STORED if again else "https://old.test")


def test_plan_without_uploads_sends_large_files_along_and_fails_where_a_url_is_needed() -> None:
    uploads, sent = Uploads(""), body(image=file(BIG))
    first, second = attach(sent, refused(403), uploads=uploads), attach(sent, uploads=uploads)

    assert first.result is second.result is sent
    assert (len(first.sent), second.sent) == (1, [])
    assert isinstance(attach(body(image=file(BIG, URL_ONLY)), refused(403)).error, errors.PermissionDenied)
    assert isinstance(attach(body(image=file(BIG)), refused(401)).error, errors.AuthenticationFailed)


ENDINGS: dict[bytes, str | None] = {
    encoded(form="PNG"): "png",
    encoded(form="JPEG"): "jpg",
    encoded(form="WEBP"): "webp",
    b"RIFF\0\0\0\0WAVEfmt ": "wav",
    b"\0\0\0\x20ftypisom": "mp4",
    b"ID3\4\0": "mp3",
    b"\xff\xfb\x90\x44": "mp3",
    **dict.fromkeys((b"\0\0\0\x20ftypheic", b"\xff\xd9\xff", b"")),
}


def test_content_decides_the_file_name_ending() -> None:
    assert {content: upload_ending(content) for content in ENDINGS} == ENDINGS


def test_content_for_a_url_field_is_taken_where_uploads_are() -> None:
    sent = request_body(tasks.Hug(image_url=PNG), uploads=True)["input"]["image_url"]
    made = Upload(STORED, datetime(2026, 1, 1, tzinfo=UTC), "0" * 64)

    assert (sent.content, sent.only_url, repr(sent)) == (PNG, True, f"<file of {len(PNG)} bytes>")
    assert request_body(tasks.Hug(image_url=made))["input"] == {"image_url": STORED}
    for content, uploads in ((PNG, False), (encoded(form="GIF"), True)):
        with pytest.raises(InvalidInput, match="only a URL is taken here"):
            request_body(tasks.Hug(image_url=content), uploads=uploads)


def test_file_that_cannot_be_uploaded_is_refused(tmp_path: Path) -> None:
    assert read_file(PNG) == PNG
    with pytest.raises(InvalidInput, match=r"missing\.png"):
        read_file(tmp_path / "missing.png")
    with pytest.raises(InvalidInput, match=r"https://me\.test/a\.png"):
        read_file("https://me.test/a.png")
