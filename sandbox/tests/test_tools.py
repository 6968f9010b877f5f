"""The picture tools: they really enlarge, cut out and find, and say how."""

from functools import cache
from typing import Any

import cv2
import numpy as np
import pytest
from unitask_sandbox.engines import run
from unitask_sandbox.engines.real import UPSCALE_PRICE, VIDEOS, background_remove, cut_out, upscale
from unitask_sandbox.failures import TaskFailure
from unitask_sandbox.pictures import segmenting, upscaling
from unitask_sandbox.pictures.matting import remove_background
from unitask_sandbox.pictures.segmenting import segment

from . import hostile
from .local import MODEL, Http, HttpWith
from .media import ASTRONAUT, HOPPER, clip, pixels, png, resized

BLANK = png(np.full((64, 96, 3), 200, np.uint8))
SMALL = png(resized(pixels(ASTRONAUT), 128, 128))


def made(engine: Any, **given: Any) -> tuple[bytes, dict[str, Any]]:
    """The picture that an engine makes, and the task's meta."""
    result = run(engine, given)
    data, extension = result.output["image_url"]
    assert extension == "png"
    return data, dict(result.meta)


@pytest.mark.parametrize(("task_type", "side"), [("upscale", 2049), ("background-remove", 4097), ("segment", 3073)])
def test_too_large_picture_fails_the_task_and_costs_nothing(http: Http, task_type: str, side: int) -> None:
    prompt = {"prompt": "face"} if task_type == "segment" else {}
    task = http.done(MODEL, task_type, image=hostile.png(side, 70), **prompt)

    assert (task["status"], task["error"]["code"]) == ("failed", 10003)
    assert f"(image): {side}x70, each side must be under {side} pixels" in task["error"]["raw_message"]
    assert http.usd == 10.0


@pytest.mark.parametrize(
    ("model", "task_type", "given", "credits_"),
    [
        (MODEL, "upscale", {"image": "http://me.test/small.png"}, 164),  # 128 x 128 pixels at $0.001 a million
        (MODEL, "upscale", {"image": SMALL}, 164),
        (MODEL, "segment", {"image": "http://me.test/a.png", "prompt": "face"}, 100_000),  # a million is the least
        (VIDEOS, "upscale", {"video": "http://me.test/a.mp4"}, 36_000),  # 12 frames at $0.0003
    ],
)
def test_task_is_charged_for_files_that_were_fetched(
    http_with: HttpWith, model: str, task_type: str, given: dict[str, Any], credits_: int
) -> None:
    film = clip([resized(pixels(ASTRONAUT), 64, 64)] * 12)
    files = {"http://me.test/a.mp4": film, "http://me.test/a.png": ASTRONAUT, "http://me.test/small.png": SMALL}
    http = http_with(fetch=files.__getitem__)
    task = http.done(model, task_type, **given)

    assert (task["status"], task["meta"]["usage"]["consume"]) == ("completed", credits_)
    assert http.usd == pytest.approx(10 - credits_ / 1e7)


def test_late_charge_takes_no_more_than_the_balance(http_with: HttpWith) -> None:
    http = http_with(fetch=lambda _url: ASTRONAUT, keys={"sandbox": 0.001})
    task = http.done(MODEL, "segment", image="http://me.test/a.png", prompt="face")

    assert (task["status"], task["meta"]["usage"]["consume"], http.usd) == ("completed", 10_000, 0.0)


# Enlarging.


def test_enlarged_picture_is_nearer_to_the_original_than_interpolation() -> None:
    original = pixels(ASTRONAUT)[:256, 64:320]
    small = resized(original, 128, 128)
    enlarged, meta = made(upscale, image=png(small), scale=2.0)
    bicubic = np.asarray(cv2.resize(small, (256, 256), interpolation=cv2.INTER_CUBIC), np.uint8)

    assert cv2.PSNR(pixels(enlarged), original) > cv2.PSNR(bicubic, original) + 2
    assert meta == {"method": "waifu2x upconv_7_photo to 2x", "price": UPSCALE_PRICE}
    assert b"synthetic: enlarged by the unitask sandbox" in enlarged


def test_sides_are_multiplied_exactly() -> None:
    for side, given, factor, method in (
        ((30, 20), {}, 2, "waifu2x upconv_7_photo to 2x"),
        ((30, 20), {"scale": 4}, 4, "waifu2x upconv_7_photo to 4x"),
        ((30, 20), {"scale": 3}, 3, "waifu2x upconv_7_photo to 2x, Lanczos to 3x"),
        ((1025, 512), {"scale": 2, "face_enhance": True}, 2, "Lanczos to 2x"),
    ):
        data, meta = made(upscale, image=png(resized(pixels(ASTRONAUT), *side), ".jpg"), **given)
        assert pixels(data).shape == (side[1] * factor, side[0] * factor, 3)
        assert meta["method"] == method
        assert meta.get("notes") == (["face_enhance is not done here"] if "face_enhance" in given else None)


def test_tiles_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = [resized(pixels(ASTRONAUT), *size) for size in ((33, 16), (9, 1))]
    at_once = [upscaling.doubled(picture).astype(int) for picture in shapes]
    monkeypatch.setattr(upscaling, "TILE", 16)

    assert [np.abs(upscaling.doubled(one) - whole).max() for one, whole in zip(shapes, at_once, strict=True)] <= [1, 1]


# The background.


def test_background_is_removed() -> None:
    data, meta = made(background_remove, image=ASTRONAUT, rmbg_model="BEN2")
    alpha = pixels(data)[..., 3]

    assert alpha[95:150, 195:255].min() > 250  # the face
    assert alpha[300:500, 150:280].mean() > 250  # the suit
    assert max(alpha[:180, :120].mean(), alpha[:180, 330:].mean()) < 5
    assert not pixels(data)[alpha == 0].any()
    assert meta["notes"] == ["rmbg_model 'BEN2' is not here: u2netp was taken"]
    assert b"synthetic: background removed by the unitask sandbox" in data
    small = pixels(remove_background(png(resized(pixels(ASTRONAUT), 100, 100))))[..., 3] > 127
    large = resized(pixels(data), 100, 100)[..., 3] > 127
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


def places(alpha: Any) -> set[tuple[int, int]]:
    return {(x, y) for x, y in PLACES if alpha[y, x] >= 128}


@cache
def astronaut() -> segmenting.Scene:
    return segmenting.Scene(pixels(ASTRONAUT))


@pytest.mark.parametrize("word", segmenting.WORDS)
def test_word_names_its_places(word: str) -> None:
    assert places(segmenting.WORDS[word](astronaut())) == FOUND_AT[word]


def test_words_are_united_and_unwanted_ones_are_left_out_the_same_each_time() -> None:
    given = {"image": ASTRONAUT, "prompt": " Face , HAIR", "negative_prompt": "lips,teeth, Eyes"}
    data, meta = made(cut_out, **given)
    cv2.setRNGSeed(77)
    same = made(cut_out, **given) == (data, meta)  # outside of the assert: pytest would compare them for minutes

    assert "notes" not in meta
    assert b"synthetic: cut out by the unitask sandbox" in data
    assert places(pixels(data)[..., 3]) == FOUND_AT["hair"] | {BROW, CHEEK}
    assert same


@pytest.mark.parametrize("factor", [-4, 6])
def test_segment_factor_moves_the_border(factor: int) -> None:
    plain, moved = (pixels(segment(ASTRONAUT, "face", "", by)[0])[..., 3] for by in (0, factor))
    smaller, larger = (plain, moved) if factor > 0 else (moved, plain)
    beyond = cv2.distanceTransform((smaller == 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[larger > 0]

    assert beyond.max() == pytest.approx(abs(factor), abs=1)
    assert (larger >= smaller).all()


def test_unknown_words_name_the_salient_object() -> None:
    data, notes = segment(ASTRONAUT, "clothes,shoes", "pants", -15)

    assert places(pixels(data)[..., 3]) >= {SUIT}
    assert WALL not in places(pixels(data)[..., 3])
    assert [note.partition(" ")[0] for note in notes] == ["'clothes'", "'shoes'", "'pants'"]
    empty, notes = segment(ASTRONAUT, "eyes", factor=-15)
    assert not pixels(empty).any()
    assert notes == ["nothing is left after negative_prompt and segment_factor: the picture is empty"]


def test_prompt_that_names_nothing_fails() -> None:
    for picture, prompt, words in (
        (BLANK, "eyes", r"no face found in the image \(image\)"),
        (HOPPER, "teeth", r"nothing found in the image \(image\) for the prompt 'teeth'"),
        (BLANK, " , ", r"nothing found in the image \(image\) for the prompt ' , '"),
    ):
        with pytest.raises(TaskFailure, match=words):
            segment(picture, prompt)
