"""Simulated results: what is asked is what comes, for every task type of the catalogue, and the same each time."""

from __future__ import annotations

import base64
import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from jsonschema import Draft202012Validator
from unitask_sandbox import bundle
from unitask_sandbox.bundle import TaskType
from unitask_sandbox.engines import simulate, simulated_picture
from unitask_sandbox.engines.simulated import MARK, asked
from unitask_sandbox.failures import TaskFailure

from .files import File, files_of, seconds_of, size_of
from .local import HttpWith, base64_of

OUTPUT = {
    "type": "object",
    "properties": {
        "text": {"type": ["string", "null"]},
        "count": {"type": "integer", "minimum": 3},
        "good": {"type": "boolean"},
        "nothing": {"type": "null"},
        "word": {"enum": ["a", "b"]},
        "base64": {"type": "string", "x-media": {"kind": "image", "holds": ["base64"]}},
        "items": {"type": "array", "items": {"anyOf": [{"$ref": "#/components/schemas/TaskError"}, {"type": "null"}]}},
        **{
            kind: {"type": "string", "x-media": {"kind": kind}} for kind in ("image", "video", "audio", "model", "file")
        },
    },
}
FLUX = bundle.task_type("Qubico/flux1-schnell", "txt2img", {})
IMAGE_TO_IMAGE = bundle.task_type("Qubico/flux1-schnell", "img2img", {})
FILM = bundle.task_type("seedance", "seedance-2.5", {})
SONG = bundle.task_type("Qubico/ace-step", "txt2audio", {})


def named(entry: TaskType) -> str:
    return f"{entry.model} {entry.task_type} {entry.match or ''}".strip()


def picture(colour: tuple[int, int, int], size: tuple[int, int] = (400, 300)) -> bytes:
    """A PNG of one colour."""
    return cv2.imencode(".png", np.full((size[1], size[0], 3), colour, np.uint8))[1].tobytes()


def pixels(file: File) -> Any:
    return cv2.imdecode(np.frombuffer(file[0], np.uint8), cv2.IMREAD_COLOR)


# The shape of the output.


@pytest.fixture
def result(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What is simulated for an output that has everything."""
    component = bundle.component
    monkeypatch.setattr(bundle, "component", lambda name: OUTPUT if name == "Everything" else component(name))
    everything = dataclasses.replace(FLUX, model="x", task_type="y", output="Everything")
    return dict(simulate(everything, {"width": 300, "height": 400}).output)


def test_simulated_result_has_the_shape_of_its_schema(result: dict[str, Any]) -> None:
    """Every field is there, of its type; nested components are filled, too."""
    shown = {name: "https://x.test" if isinstance(value, tuple) else value for name, value in result.items()}
    schema = {**OUTPUT, "components": bundle.document()["components"]}

    assert list(Draft202012Validator(schema).iter_errors(shown)) == []
    assert shown.keys() == OUTPUT["properties"].keys()
    assert {name for name, value in result.items() if isinstance(value, tuple)} == {
        "image", "video", "audio", "model", "file",
    }  # fmt: skip


def test_field_for_a_file_itself_is_empty(result: dict[str, Any]) -> None:
    """As in every sample of such a field: the address stands beside it."""
    assert result["base64"] == ""


def test_output_is_filled_as_the_sample_of_its_version() -> None:
    """Kling 3.0 has one video, older versions have works, with the length in milliseconds and the size of the film."""
    (old,) = simulate(bundle.task_type("kling", "video_generation", {}), {"duration": 10}).output["works"]
    new = simulate(bundle.task_type("kling", "video_generation", {"version": "3.0"}), {}).output

    assert new.keys() == {"video"}
    assert (old["status"], old["cover"]["resource_without_watermark"]) == (99, "")
    assert (old["video"]["duration"], old["video"]["width"], old["video"]["height"]) == (10000, 320, 180)


def test_grid_is_put_together_from_the_four_pictures() -> None:
    """Midjourney's picture has four in it, the ones that come one by one; an enlarged one is one."""
    output = simulate(bundle.task_type("midjourney", "imagine", {}), {"prompt": "a", "aspect_ratio": "16:9"}).output
    grid, four = pixels(output["image_url"]), [pixels(one) for one in output["temporary_image_urls"]]
    corners = [grid[:60, :60], grid[:60, 512:572], grid[288:348, :60], grid[288:348, 512:572]]
    enlarged = simulate(bundle.task_type("midjourney", "upscale", {}), {"origin_task_id": "a", "index": "1"}).output

    assert [one.shape for one in four] == [grid.shape] * 4
    for corner, one in zip(corners, four, strict=True):
        assert np.abs(corner.mean(axis=(0, 1)) - one[:120, :120].mean(axis=(0, 1))).max() < 12
    assert enlarged.keys() == {"image_url"}


def test_songs_are_two_with_lengths_of_their_files() -> None:
    """Both clips of the map are filled, as MP3 as in the sample, and say how long they are."""
    clips = simulate(bundle.task_type("music-s", "generate_music", {}), {}).output["clips"]
    songs = simulate(bundle.task_type("music-u", "generate_music", {}), {"lyrics_type": "generate"}).output["songs"]

    assert len(clips) == len(songs) == 2
    for clip in clips.values():
        assert clip["audio_url"][1] == "mp3"
        assert seconds_of(clip["audio_url"]) == pytest.approx(clip["metadata"]["duration"], abs=0.04)
    assert [song["duration"] for song in songs] == [seconds_of(song["song_path"]) for song in songs]
    assert songs[0]["id"] != songs[1]["id"]
    assert all(song["finished"] for song in songs)


@pytest.mark.parametrize(
    ("entry", "extension"), [(SONG, "mp3"), (bundle.task_type("Qubico/tts", "zero-shot", {}), "wav")]
)
def test_sound_is_of_the_documented_format(entry: TaskType, extension: str) -> None:
    """An MP3 where the spec says so, a WAV elsewhere."""
    assert simulate(entry, {}).output["audio_url"][1] == extension


def test_texts_are_marked_and_follow_from_the_input() -> None:
    """Lyrics and prompts say SIMULATED; a seed is digits; another input gets others."""
    lyrics = [simulate(bundle.task_type("music-u", "generate_lyrics", {}), {"prompt": word}) for word in ("a", "b")]
    seeds = [simulate(bundle.task_type("midjourney", "seed", {}), {"origin_task_id": word}) for word in ("a", "b")]
    described = simulate(bundle.task_type("midjourney", "describe", {}), {"image_url": "https://a.test/a.png"})

    assert all(MARK in pair["text"] for pair in lyrics[0].output["lyrics_pairs"])
    assert MARK in described.output["description"]
    assert seeds[0].output["seed"].isdecimal()
    assert lyrics[0].output != lyrics[1].output
    assert seeds[0].output != seeds[1].output


# What is asked is what comes.


def wanted_of(entry: TaskType) -> dict[str, Any]:
    """An input that asks for something unusual in every field that decides what is made."""
    return {
        name: _unusual(name, rule)
        for name, rule in bundle.component(entry.input).get("properties", {}).items()
        if name in asked.READ
    }


def _unusual(name: str, rule: dict[str, Any]) -> Any:
    known = rule.get("enum") or rule.get("x-advisory", {}).get("enum")
    match name:
        case "aspect_ratio":
            return "9:16" if not known or "9:16" in known else known[0]
        case "duration" if rule["type"] == "string":
            return "7s"
        case "duration":
            return known[-1] if known else 13
        case "resolution" | "size":
            return known[0] if known else "480p"
        case "output_format":
            return "jpeg"
        case "batch_size":
            return 3
        case "width":
            return 640
        case _:
            return 384


@pytest.mark.parametrize("entry", bundle.task_types(), ids=named)
def test_what_is_asked_is_what_comes(entry: TaskType) -> None:
    """Size, shape, length, number and format of the files are those of the input; each says SIMULATED."""
    given = wanted_of(entry)
    result = simulate(entry, given)
    files = list(files_of(result.output))
    kinds = {extension for _, extension in files}

    assert "SIMULATED" in result.meta["simulated"]
    assert [extension for data, extension in files if b"SIMULATED" not in data] == []
    for file in files:
        _hold_against(given, file)
    if "output_format" in given:
        assert kinds == {"jpeg"}
    if "batch_size" in given:
        lists = [value for value in result.output.values() if isinstance(value, list)]
        assert [len(one) for one in lists] == [3]


def _hold_against(given: dict[str, Any], file: File) -> None:
    size = size_of(file)
    if size and "aspect_ratio" in given:
        across, down = map(int, given["aspect_ratio"].split(":"))
        assert size[0] / size[1] == pytest.approx(across / down, rel=0.02)
    if size and "width" in given:
        assert size == (640, 384)
    if file[1] in ("mp4", "mp3", "wav") and "duration" in given:
        tolerance = 0.02 if file[1] == "mp3" else 0.001
        assert seconds_of(file) == pytest.approx(float(str(given["duration"]).rstrip("s")), abs=tolerance)


def test_no_field_that_decides_what_is_made_is_forgotten() -> None:
    """A field whose name speaks of size, shape, length, number or format is read, or is not of the result."""
    telling = re.compile("width|height|ratio|resolution|^size|duration|seconds|length|fps|frames|count|batch|format")
    fields = {
        name
        for entry in bundle.task_types()
        for name in bundle.component(entry.input).get("properties", {})
        if telling.search(name)
    }

    assert fields - asked.READ == {"key_frames", "zoom_ratio"}  # pictures, and how far to paint on


@pytest.mark.parametrize(
    ("description", "value"),
    [
        ("Length in seconds; documented default 5.", "5"),
        ("Height of the picture; 720p is the default.", "720p"),
        ("Shape of the video; documented default 16:9, ignored with a picture.", "16:9"),
        ("Seconds; the model page says 4 to 30, and 5 by default, older ones 4 to 15.", "5"),
        ("Length in seconds; 5 in the page's sample.", "5"),
        ("Seconds; clients know 5, 10 and 15.", None),
    ],
)
def test_default_is_read_off_the_description(description: str, value: str | None) -> None:
    """What a page says is taken for an absent field is taken."""
    assert asked.documented_default(description) == value


def test_absent_length_is_the_documented_one() -> None:
    """Kling's sound lasts ten seconds when nothing is asked, a film of shots as long as all of them."""
    (sound,) = files_of(simulate(bundle.task_type("kling", "sound", {}), {}).output)
    shots = {"multi_shots": [{"prompt": "a", "duration": 4}, {"prompt": "b"}]}  # three seconds when it is not said
    (film,) = files_of(simulate(bundle.task_type("kling", "omni_video_generation", {}), shots).output)

    assert (seconds_of(sound), seconds_of(film)) == (10, 7)


@pytest.mark.parametrize(
    "hostile",
    [
        {"width": 10**400, "height": 1},
        {"width": 10**9, "height": 10**9, "batch_size": 10**9},
        {"width": 0.4, "height": -5},
        {"width": 1e300, "height": True},
        {"duration": 1e300},
        {"duration": -3},
        {"duration": "99999999999999999999s", "aspect_ratio": "0:0"},
        {"aspect_ratio": "99999:1", "resolution": "999999999K"},
        {"aspect_ratio": "adaptive", "resolution": "0p", "duration": 0},
        {"size": "0x0", "output_format": "exe" * 1000},
        {"prompt": "\N{SNOWMAN}" * 100_000},
        {"prompt": ["a"], "width": None},
    ],
    ids=lambda given: str(given)[:40],
)
@pytest.mark.parametrize("entry", [FLUX, FILM, SONG], ids=named)
def test_hostile_values_are_bounded(entry: TaskType, hostile: dict[str, Any]) -> None:
    """Whatever JSON can hold, the files are small and can be read."""
    files = list(files_of(simulate(entry, hostile).output))

    assert 1 <= len(files) <= asked.MOST_FILES
    assert all(len(data) < 6_000_000 for data, _ in files)
    assert all(min(size_of(file) or (16,)) >= asked.SMALLEST_SIDE for file in files)
    assert all(max(size_of(file) or (0,)) <= asked.LARGEST_SIDE for file in files)


def test_what_is_made_smaller_is_said() -> None:
    """The meta names a limit that was reached, and nothing where all is as asked."""
    large, exact = (simulate(FLUX, {"width": side, "height": side}).meta for side in (4096, 512))

    assert "1024" in large["simulated_size"]
    assert exact.keys() == {"simulated"}


def test_same_input_gives_the_same_bytes() -> None:
    """The order of the fields is no difference, every value is one."""
    first, again = ({"prompt": "a", "width": 64}, {"width": 64, "prompt": "a"})

    for entry in (FLUX, FILM, SONG, bundle.task_type("Qubico/trellis", "text-to-3d", {})):
        assert simulate(entry, first).output == simulate(entry, again).output
        others = [*files_of(simulate(entry, {**first, "seed": 1}).output)]
        assert not {data for data, _ in files_of(simulate(entry, first).output)} & {data for data, _ in others}


def test_several_results_differ() -> None:
    """Each of a batch is another picture."""
    several = simulate(FLUX, {"prompt": "a", "batch_size": 4}).output

    assert several["image_url"] is None
    assert len({data for data, _ in several["image_urls"]}) == 4


# Pictures of the input.


def uploads(data: bytes) -> Any:
    return lambda url: data if url.startswith("http://here.test/") else None


@pytest.fixture(params=["base64", "data URI", "upload"])
def shown(request: pytest.FixtureRequest) -> Iterator[Any]:
    """An img2img result for a green picture of 400 x 300, in each way that it can be at hand."""
    green = picture((40, 200, 40))
    text = {
        "base64": base64_of(green),
        "data URI": "data:image/png;base64," + base64_of(green),
        "upload": "http://here.test/files/a.png",
    }[request.param]
    return simulate(IMAGE_TO_IMAGE, {"prompt": "a", "image": text}, uploads(green)).output["image_url"]


def test_picture_of_the_input_is_shown_dimmed(shown: File) -> None:
    """Its colours are there at half their brightness, in its size, below the words."""
    assert size_of(shown) == (400, 300)
    assert np.abs(pixels(shown)[:100].mean(axis=(0, 1)) - (20, 100, 20)).max() < 8


def test_shape_that_is_asked_wins_over_that_of_a_picture() -> None:
    """The picture is cut to it."""
    given = {"prompt": "a", "image_urls": [base64_of(picture((40, 200, 40)))]}
    entry = bundle.task_type("gemini", "nano-banana-pro", {})
    sizes = [size_of(simulate(entry, {**given, **more}).output["image_url"]) for more in ({}, {"aspect_ratio": "1:1"})]

    assert sizes == [(400, 300), (1024, 1024)]


@pytest.mark.parametrize("data", [b"no picture", picture((1, 2, 3))[:60]], ids=["none", "cut off"])
@pytest.mark.parametrize("field", ["image", "image_urls"])
def test_picture_that_cannot_be_read_fails_the_task(field: str, data: bytes) -> None:
    """The words are the provider's, and name the field."""
    entry = IMAGE_TO_IMAGE if field == "image" else bundle.task_type("gemini", "nano-banana-pro", {})
    given = base64.b64encode(data).decode()

    with pytest.raises(TaskFailure, match=rf"failed to get valid image \({field}\)"):
        simulate(entry, {"prompt": "a", field: given if field == "image" else [given]})


def test_address_elsewhere_is_not_fetched() -> None:
    """A stand-in needs no network: the result shows a pattern instead."""
    result = simulate(IMAGE_TO_IMAGE, {"prompt": "a", "image": "https://nowhere.test/a.png"}, uploads(b""))

    assert size_of(result.output["image_url"]) == (1024, 1024)


def test_very_large_picture_is_not_decoded() -> None:
    """Of a header that says 60,000 x 30,000 pixels only the shape is taken."""
    head = picture((0, 0, 0))
    enormous = head[:16] + (60_000).to_bytes(4, "big") + (30_000).to_bytes(4, "big") + head[24:]
    result = simulate(IMAGE_TO_IMAGE, {"prompt": "a", "image": base64_of(enormous)})

    assert size_of(result.output["image_url"]) == (1024, 512)


def test_uploaded_picture_is_shown_by_the_provider(http_with: HttpWith) -> None:
    """From the upload to the file: the address of an upload is read where it lies."""
    http = http_with()
    upload = {"file_name": "a.png", "file_data": base64_of(picture((40, 200, 40)))}
    url = http("POST", "/api/ephemeral_resource", json=upload).json()["data"]["url"]
    create = {"model": "Qubico/flux1-schnell", "task_type": "img2img", "input": {"prompt": "a", "image": url}}
    task_id = http("POST", "/api/v1/task", json=create).json()["data"]["task_id"]
    http.sandbox.advance()
    content = http.unchecked("GET", http.task(task_id)["output"]["image_url"]).content

    assert size_of((content, "png")) == (400, 300)


@pytest.mark.parametrize(("extension", "start"), [("png", b"\x89PNG"), ("jpeg", b"\xff\xd8"), ("webp", b"RIFF")])
def test_simulated_picture_is_of_its_format(extension: str, start: bytes) -> None:
    """In each format; sides that are too large or too small are the nearest."""
    data = simulated_picture(2048, 1, extension, "a title", "a prompt")

    assert data.startswith(start)
    assert size_of((data, extension)) == (1024, 16)
