"""The tools for pictures: they really enlarge, cut out and find, and say how; each over the life of a task."""

from __future__ import annotations

import hashlib
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from unitask_sandbox.pictures import scene, upscaling, waifu2x
from unitask_sandbox.pictures.matting import remove_background
from unitask_sandbox.pictures.segmenting import segment

from .local import Http, HttpWith
from .portraits import ASTRONAUT, HOPPER, Picture, done, encoded, pixels, resized, result

BLANK = encoded(np.full((64, 96, 3), 200, np.uint8))


def png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG that would be of this size."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


def signal_to_noise(picture: Picture, wanted: Picture) -> float:
    """PSNR in decibels."""
    return float(10 * np.log10(255**2 / np.mean((picture.astype(float) - wanted) ** 2)))


# What all three have in common.


@pytest.mark.parametrize("task_type", ["upscale", "background-remove", "segment"])
@pytest.mark.parametrize(
    ("picture", "code", "words"),
    [
        pytest.param(b"no picture", 10000, "failed to get valid image (image)", id="unreadable"),
        pytest.param(png_header(9000, 70), 10003, "image size too large (image): 9000x70", id="too-large"),
    ],
)
def test_picture_that_cannot_be_used_fails_the_task(
    http_with: HttpWith, task_type: str, picture: bytes, code: int, words: str
) -> None:
    """In the provider's words, before anything is decoded; the task is paid back."""
    http = http_with()
    task = done(http, task_type, image=picture, **({"prompt": "face"} if task_type == "segment" else {}))

    assert (task["status"], task["error"]["code"]) == ("failed", code)
    assert task["error"]["raw_message"].startswith(words)
    assert http.sandbox.balance("sandbox") == 10.0


# Enlarging.


def test_enlarged_picture_is_nearer_to_the_original_than_interpolation(http_with: HttpWith) -> None:
    """A reduced portrait at twice its size is two decibels above the bicubic one, and `meta` names the network."""
    http = http_with()
    original = pixels(ASTRONAUT)[:256, 64:320]
    small = np.asarray(cv2.resize(original, (128, 128), interpolation=cv2.INTER_AREA), np.uint8)
    task = done(http, "upscale", image=encoded(small), scale=2)
    enlarged = result(http, task)

    bicubic = np.asarray(cv2.resize(small, (256, 256), interpolation=cv2.INTER_CUBIC), np.uint8)
    assert signal_to_noise(pixels(enlarged), original) > signal_to_noise(bicubic, original) + 2
    assert task["meta"]["method"] == "waifu2x upconv_7_photo to 2x"
    assert b"synthetic: enlarged by the unitask sandbox" in enlarged


@pytest.mark.parametrize(
    ("given", "size", "method"),
    [
        pytest.param({}, (60, 40), "waifu2x upconv_7_photo to 2x", id="twice-by-default"),
        pytest.param({"scale": 4}, (120, 80), "waifu2x upconv_7_photo to 4x", id="twice-doubled"),
        pytest.param({"scale": 3}, (90, 60), "waifu2x upconv_7_photo to 2x, Lanczos to 3x", id="no-power-of-two"),
    ],
)
def test_picture_is_enlarged_by_the_scale(
    http_with: HttpWith, given: dict[str, int], size: tuple[int, int], method: str
) -> None:
    """The sides are multiplied exactly, whatever the scale."""
    http = http_with()
    task = done(http, "upscale", image=encoded(resized(ASTRONAUT, 30, 20)), **given)

    assert pixels(result(http, task)).shape == (size[1], size[0], 3)
    assert task["meta"]["method"] == method


def test_large_picture_is_enlarged_without_the_network(http_with: HttpWith) -> None:
    """Above half a million pixels it would take minutes: `meta` says that it was interpolated."""
    http = http_with()
    task = done(http, "upscale", image=encoded(resized(ASTRONAUT, 1025, 512), ".jpg"), scale=2, face_enhance=True)

    assert pixels(result(http, task)).shape == (1024, 2050, 3)
    assert task["meta"]["method"] == "Lanczos to 2x"
    assert task["meta"]["notes"] == ["face_enhance is not done here"]


def test_picture_that_would_become_too_large_fails_the_task(http_with: HttpWith) -> None:
    """The failure says how large it would be."""
    task = done(http_with(), "upscale", image=BLANK, scale=86)

    assert task["error"]["code"] == 10003
    assert "enlarged 86 times): 8256x5504, each side must be under 8193" in task["error"]["raw_message"]


@pytest.mark.parametrize(("width", "height"), [(40, 25), (33, 16), (9, 1)])
def test_tiles_do_not_show(monkeypatch: pytest.MonkeyPatch, width: int, height: int) -> None:
    """A picture enlarged in tiles is the picture enlarged at once."""
    picture = resized(ASTRONAUT, width, height)
    at_once = waifu2x.doubled(picture)
    monkeypatch.setattr(waifu2x, "TILE", 16)

    assert np.abs(waifu2x.doubled(picture).astype(int) - at_once).max() <= 1


# The background.


def test_background_is_removed(http_with: HttpWith) -> None:
    """The astronaut is opaque, the wall and the flag behind her are transparent, and no colour is left of them."""
    http = http_with()
    task = done(http, "background-remove", image=ASTRONAUT, rmbg_model="BEN2")
    data = result(http, task)
    alpha = pixels(data)[..., 3]

    assert alpha[95:150, 195:255].min() > 250  # the face
    assert alpha[300:500, 150:280].mean() > 250  # the suit
    assert alpha[:180, :120].mean() < 5
    assert alpha[:180, 330:].mean() < 5
    assert not pixels(data)[alpha == 0].any()
    assert task["meta"]["notes"] == ["rmbg_model 'BEN2' is not here: u2netp was taken"]
    assert b"synthetic: background removed by the unitask sandbox" in data


def test_background_of_a_small_picture_is_removed() -> None:
    """A picture smaller than what the network looks at is enlarged for it: the same is found as in the large one."""
    small = pixels(remove_background(encoded(resized(ASTRONAUT, 100, 100))))[..., 3] > 127
    large = resized(remove_background(ASTRONAUT), 100, 100)[..., 3] > 127

    assert (small & large).sum() > 0.8 * (small | large).sum()


# What a word names.

# Places in the portrait of the astronaut, found by eye.
HAIR, HAIR_LEFT, HAIR_RIGHT = (230, 32), (162, 77), (285, 95)
BROW, EYE, OTHER_EYE, CHEEK, TEETH, LIP = (199, 89), (204, 100), (247, 103), (195, 120), (222, 146), (222, 152)
WALL, SUIT = (145, 25), (200, 400)
PLACES = {HAIR, HAIR_LEFT, HAIR_RIGHT, BROW, EYE, OTHER_EYE, CHEEK, TEETH, LIP, WALL, SUIT}
FOUND_AT = {
    "face": {BROW, EYE, OTHER_EYE, CHEEK, TEETH, LIP},
    "eyes": {EYE, OTHER_EYE},
    "brows": {BROW},
    "lips": {LIP},
    "teeth": {TEETH},
    "hair": {HAIR, HAIR_LEFT, HAIR_RIGHT},
    "person": PLACES - {WALL},
    "background": {WALL},
}


def places(data: bytes) -> set[tuple[int, int]]:
    """Which of the places can be seen in what was cut out."""
    alpha = pixels(data)[..., 3]
    return {(x, y) for x, y in PLACES if alpha[y, x] >= 128}


def cut(http: Http, **given: Any) -> tuple[bytes, dict[str, Any]]:
    """What was cut out of the astronaut, and the task's meta."""
    task = done(http, "segment", **{"image": ASTRONAUT, **given})
    return result(http, task), task["meta"]


def test_every_known_word_is_tested() -> None:
    assert FOUND_AT.keys() == scene.WORDS.keys()


@pytest.mark.parametrize("word", FOUND_AT)
def test_word_names_its_places(http_with: HttpWith, word: str) -> None:
    """What can be seen of the result is what the word names; the rest is transparent, and nothing needs a note."""
    data, meta = cut(http_with(), prompt=word)

    assert places(data) == FOUND_AT[word]
    assert "notes" not in meta
    assert b"synthetic: cut out by the unitask sandbox" in data


def test_words_are_united_and_unwanted_ones_are_left_out(http_with: HttpWith) -> None:
    """Lists have commas between; case, blanks and the singular do not matter."""
    data, _ = cut(http_with(), prompt=" Face , HAIR", negative_prompt="lip,tooth, Eye")

    assert places(data) == FOUND_AT["hair"] | {BROW, CHEEK}


@pytest.mark.parametrize("factor", [-4, 6])
def test_segment_factor_moves_the_border(factor: int) -> None:
    """The mask's border lies so many pixels further out, or further in."""
    plain, moved = (pixels(segment(ASTRONAUT, "face", "", by).picture)[..., 3] for by in (0, factor))
    smaller, larger = (plain, moved) if factor > 0 else (moved, plain)
    beyond = cv2.distanceTransform((smaller == 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[larger > 0]

    assert beyond.max() == pytest.approx(abs(factor), abs=1)
    assert (larger >= smaller).all()


def test_part_that_is_shrunk_away_leaves_an_empty_picture(http_with: HttpWith) -> None:
    """As the page says: the factor shrinks by pixels. A note tells why there is nothing to see."""
    data, meta = cut(http_with(), prompt="eyes", segment_factor=-15)

    assert not pixels(data).any()
    assert meta["notes"] == ["nothing is left after negative_prompt and segment_factor: the picture is empty"]


def test_unknown_words_name_the_salient_object(http_with: HttpWith) -> None:
    """The sample of the provider's page gives a picture, and the notes say what it is not."""
    data, meta = cut(http_with(), prompt="clothes,shoes", negative_prompt="pants", segment_factor=-15)

    assert SUIT in places(data)
    assert WALL not in places(data)
    assert [note.partition(";")[0] for note in meta["notes"]] == [
        "'clothes' is not known: the salient object was taken",
        "'shoes' is not known: the salient object was taken",
        "'pants' is not known: nothing was left out for it",
    ]


def test_person_without_a_face_is_the_salient_object(http_with: HttpWith) -> None:
    """Somebody may turn their back."""
    disc = cv2.circle(np.full((200, 200, 3), 30, np.uint8), (100, 100), 60, (60, 160, 230), -1)
    data, meta = cut(http_with(), image=encoded(np.asarray(disc, np.uint8)), prompt="person")

    assert pixels(data)[100, 100, 3] > 128
    assert meta["notes"] == ["there is no face: the salient object was taken for the person"]


def test_person_is_only_what_has_a_face(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something else that stands in front, apart from the person, is left out; the face is in, whatever is salient."""
    elsewhere = np.zeros((512, 512), np.uint8)
    elsewhere[300:400, 20:60] = 255
    monkeypatch.setattr(scene, "salient", lambda _: elsewhere)

    alpha = pixels(segment(ASTRONAUT, "person").picture)[..., 3]

    assert not alpha[elsewhere > 0].any()
    assert alpha[CHEEK[1], CHEEK[0]] == 255


@pytest.mark.parametrize(
    ("picture", "prompt", "words"),
    [
        pytest.param(BLANK, "eyes", "no face found in the image (image)", id="no-face"),
        pytest.param(HOPPER, "teeth", "nothing found in the image (image) for the prompt 'teeth'", id="mouth-closed"),
        pytest.param(BLANK, " , ", "nothing found in the image (image) for the prompt ' , '", id="no-word"),
    ],
)
def test_prompt_that_names_nothing_fails_the_task(http_with: HttpWith, picture: bytes, prompt: str, words: str) -> None:
    """The failure says what was looked for."""
    task = done(http_with(), "segment", image=picture, prompt=prompt)

    assert (task["status"], task["error"]["raw_message"]) == ("failed", words)


# All of them.


def test_same_picture_gives_the_same_bytes() -> None:
    """Nothing depends on time, on earlier pictures or on chance."""
    small = encoded(resized(ASTRONAUT, 64, 64))
    hair, enlarged = segment(ASTRONAUT, "hair").picture, upscaling.enlarge(small, 2)[0]
    cv2.setRNGSeed(77)

    assert hashlib.sha256(segment(ASTRONAUT, "hair").picture).digest() == hashlib.sha256(hair).digest()
    assert hashlib.sha256(upscaling.enlarge(small, 2)[0]).digest() == hashlib.sha256(enlarged).digest()
