"""Files of a create: what goes along, what is uploaded first, and what is uploaded once."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from unitask import InvalidInput, Output, Upload, errors, tasks
from unitask._core import flows
from unitask._core import uploads as uploading
from unitask._core.effects import Response, SendRequest, TransportFailure
from unitask._core.uploads import KEPT, LARGE, Uploads
from unitask._model.upload import Attachment, upload_ending
from unitask.inputs import request_body
from unitask.media import LARGEST_FILE, attachment, read_file

from .pictures import encoded
from .script import CUT_OFF, RESEND, UNIX, Played, answer, limits, play, refused, seen

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
    return play(uploading.with_uploads(sent, uploads or Uploads("https://upload.test"), limits()), *replies)


def paths(played: Played) -> list[str]:
    return [step.path for step in played.steps if isinstance(step, SendRequest)]


# ---- when


def test_small_file_goes_along() -> None:
    """One request instead of two."""
    sent = body(image=file(SMALL), prompt="fox")
    played = attach(sent)

    assert played.result is sent
    assert played.sent == []


def test_file_for_a_field_that_takes_a_url_is_uploaded() -> None:
    """However small it is."""
    played = attach(body(image=file(SMALL, URL_ONLY), prompt="fox"), stored())

    assert paths(played) == ["https://upload.test/api/ephemeral_resource"]
    assert played.result == body(image=STORED, prompt="fox")


@pytest.mark.parametrize(("size", "uploaded"), [(LARGE, False), (LARGE + 1, True)])
def test_large_file_is_uploaded(size: int, uploaded: bool) -> None:
    """Bodies with megabytes of base64 were refused."""
    content = PNG + bytes(size - len(PNG))
    played = attach(body(image=file(content)), stored())

    assert (played.result["input"]["image"] == STORED) is uploaded


def test_upload_is_what_the_page_says() -> None:
    """A name with the right ending, and the content in base64."""
    played = attach(body(image=file(SMALL, URL_ONLY)), stored())
    send = next(step for step in played.steps if isinstance(step, SendRequest))

    assert send.json == {
        "file_name": f"{hashlib.sha256(SMALL).hexdigest()[:32]}.png",
        "file_data": base64.b64encode(SMALL).decode(),
    }


def test_files_are_found_in_lists_and_objects() -> None:
    """And everything else stays."""
    sent = body(
        images=[file(SMALL, URL_ONLY), "https://me.test/b.png"], shots=[{"image": file(SMALL, URL_ONLY), "n": 1}]
    )
    played = attach(sent, stored())

    assert played.result["input"] == {"images": [STORED, "https://me.test/b.png"], "shots": [{"image": STORED, "n": 1}]}
    assert isinstance(sent["input"]["images"][0], Attachment)


def test_file_that_uploads_do_not_take_goes_along() -> None:
    """The provider may take it all the same."""
    sent = body(data=file(b"GIF89a" + bytes(LARGE)))

    assert attach(sent).result is sent


def test_files_that_go_along_stay_beside_those_that_are_uploaded() -> None:
    """Each is judged for itself, whatever came before it."""
    small, unknown, url_only = file(SMALL), file(b"GIF89a" + bytes(LARGE)), file(PNG + b"\0", URL_ONLY)
    played = attach(body(a=small, b=unknown, c=url_only), stored())

    assert played.result == body(a=small, b=unknown, c=STORED)


def test_nothing_is_uploaded_when_that_is_not_wanted() -> None:
    """`Client(uploads=False)`."""
    sent = body(image=file(BIG))

    assert attach(sent, uploads=Uploads("https://upload.test", wanted=False)).result is sent


# ---- once


def test_same_file_is_uploaded_once() -> None:
    """Twice in one task, and again in the next."""
    uploads = Uploads("https://upload.test")
    first = attach(body(a=file(SMALL, URL_ONLY), b=file(SMALL, URL_ONLY)), stored(), uploads=uploads)
    second = attach(body(c=file(SMALL, URL_ONLY)), uploads=uploads)

    assert len(first.sent) == 1
    assert second.sent == []
    assert second.result == body(c=STORED)


@pytest.mark.parametrize(("age", "again"), [(KEPT - uploading.MARGIN - 1, False), (KEPT - uploading.MARGIN, True)])
def test_upload_is_used_while_it_is_kept(age: float, again: bool) -> None:
    """With an hour left for the task to begin."""
    digest = hashlib.sha256(SMALL).hexdigest()
    made = Upload("https://old.test", datetime.fromtimestamp(UNIX - age + KEPT, UTC), digest)
    played = attach(body(a=file(SMALL, URL_ONLY)), stored(), uploads=Uploads("", known={digest: made}))

    assert len(played.sent) == again
    assert played.result["input"]["a"] == (STORED if again else "https://old.test")


def test_upload_says_when_it_ends() -> None:
    """24 hours after it was sent."""
    found = play(uploading.upload(SMALL, "png", Uploads(""), limits()), stored()).result

    assert found == Upload(STORED, datetime.fromtimestamp(UNIX + 86_400, UTC), hashlib.sha256(SMALL).hexdigest())


# ---- trouble


def test_plan_without_uploads_sends_large_files_along() -> None:
    """403 "Insufficient plan level"; it is not asked again."""
    uploads, sent = Uploads(""), body(image=file(BIG))
    first, second = attach(sent, refused(403), uploads=uploads), attach(sent, uploads=uploads)

    assert first.result is sent
    assert len(first.sent) == 1
    assert second.result is sent
    assert second.sent == []


def test_plan_without_uploads_cannot_fill_a_field_for_urls() -> None:
    """Nothing was created."""
    played = attach(body(image=file(SMALL, URL_ONLY)), refused(403, "Insufficient plan level"))

    assert isinstance(played.error, errors.AuthenticationFailed)
    assert "Insufficient plan level" in str(played.error)


def test_wrong_key_is_an_error() -> None:
    """The create would meet it too."""
    assert isinstance(attach(body(image=file(BIG)), refused(401)).error, errors.AuthenticationFailed)


def test_upload_without_an_answer_is_repeated() -> None:
    """It costs nothing."""
    played = attach(body(image=file(SMALL, URL_ONLY)), CUT_OFF, CUT_OFF, stored())

    assert played.result == body(image=STORED)
    assert len(played.sent) == 3


def test_uploaded_file_is_created_with_its_address() -> None:
    """The create that follows is as usual."""
    played = attach(body(image=file(SMALL, URL_ONLY)), stored())
    created = play(flows.submit(played.result, Output, RESEND), seen())

    assert next(step.json for step in created.steps if isinstance(step, SendRequest)) == body(image=STORED)


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
    """Known to work are jpg, jpeg, png, webp, mp4, wav and mp3 (clients, 2025)."""
    assert upload_ending(content) == ending


def test_file_over_ten_megabytes_is_a_problem_before_anything_is_sent() -> None:
    """With its size, whatever the field takes."""
    content = PNG[:-12] + bytes(LARGEST_FILE) + PNG[-12:]
    with pytest.raises(InvalidInput, match=r"target_image: it has 10\.5 MB; at most 10 MB can be sent: shrink it"):
        request_body(tasks.FaceSwap(target_image=content, swap_image=PNG), uploads=True)


def test_content_for_a_url_field_is_taken_where_uploads_are() -> None:
    """And is a problem where they are not."""
    hug = tasks.Hug(image_url=PNG)
    sent = request_body(hug, uploads=True)["input"]["image_url"]

    assert isinstance(sent, Attachment)
    assert (sent.content, sent.only_url) == (PNG, True)
    with pytest.raises(InvalidInput, match="only a URL is taken here: upload the file first"):
        request_body(hug)


def test_content_that_uploads_do_not_take_is_a_problem() -> None:
    """For a field that takes a URL alone."""
    with pytest.raises(InvalidInput, match=r"an upload takes png, jpg, webp, wav, mp4, mp3; it starts with b'GIF8"):
        request_body(tasks.Hug(image_url=encoded(form="GIF")), uploads=True)


def test_upload_is_a_file_wherever_files_are_taken() -> None:
    """Its address is sent."""
    made = Upload(STORED, datetime(2026, 1, 1, tzinfo=UTC), "0" * 64)
    sent = request_body(tasks.FaceSwap(target_image=made, swap_image=PNG))["input"]

    assert sent["target_image"] == STORED


def test_attachment_does_not_fill_a_traceback() -> None:
    """Ten megabytes of base64 are no help to anybody."""
    assert repr(file(SMALL)) == f"<file of {len(SMALL)} bytes>"


def test_read_file_says_why_not(tmp_path: Path) -> None:
    """A URL needs no upload."""
    assert read_file(PNG) == PNG
    with pytest.raises(InvalidInput, match=r"missing\.png' cannot be read"):
        read_file(tmp_path / "missing.png")
    with pytest.raises(InvalidInput, match=r"'https://me\.test/a\.png' has an address already"):
        read_file("https://me.test/a.png")
