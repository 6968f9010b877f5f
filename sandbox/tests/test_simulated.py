"""Simulated results: what is asked is what comes, for every task type of the catalogue, and the same each time."""

import dataclasses
import re
from typing import Any

import cv2
import numpy as np
import pytest
from jsonschema import Draft202012Validator
from unitask_api import contract
from unitask_api.contract import TaskType
from unitask_sandbox import bundle
from unitask_sandbox.engines import simulate
from unitask_sandbox.engines.simulated import requested_media as requested
from unitask_sandbox.engines.simulated.outputs import MARK
from unitask_sandbox.failures import TaskFailure

from .files import File, files_of, seconds_of, size_of
from .local import base64_of
from .portraits import encoded

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
GEMINI = bundle.task_type("gemini", "nano-banana-pro", {})
FILM = bundle.task_type("seedance", "seedance-2.5", {})
SONG = bundle.task_type("Qubico/ace-step", "txt2audio", {})
MESH = bundle.task_type("Qubico/trellis", "text-to-3d", {})
GREEN = encoded(np.full((300, 400, 3), (40, 200, 40), np.uint8))


def named(entry: TaskType) -> str:
    return f"{entry.model} {entry.task_type} {entry.match or ''}".strip()


def simulated(model: str, task_type: str, **given: Any) -> Any:
    return simulate(bundle.task_type(model, task_type, given), given).output


def test_result_has_the_shape_of_its_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    component = contract.component
    monkeypatch.setattr(contract, "component", lambda name: OUTPUT if name == "Everything" else component(name))
    everything = dataclasses.replace(FLUX, model="x", task_type="y", output="Everything")
    result = simulate(everything, {"width": 300, "height": 400}).output
    shown = {name: "https://x.test" if isinstance(value, tuple) else value for name, value in result.items()}
    schema = {**OUTPUT, "components": contract.document()["components"]}

    assert list(Draft202012Validator(schema).iter_errors(shown)) == []
    assert shown.keys() == OUTPUT["properties"].keys()  # type: ignore[attr-defined]
    files = {name for name, value in result.items() if isinstance(value, tuple)}
    assert files == {"image", "video", "audio", "model", "file"}
    assert result["base64"] == ""  # the address stands beside it


def test_output_is_filled_as_the_sample_of_its_version() -> None:
    (old,) = simulated("kling", "video_generation", duration=10)["works"]
    new = simulated("kling", "video_generation", version="3.0")

    assert new.keys() == {"video"}
    assert (old["status"], old["cover"]["resource_without_watermark"]) == (99, "")
    assert (old["video"]["duration"], old["video"]["width"], old["video"]["height"]) == (10000, 320, 180)


def test_upscaled_picture_of_a_grid_is_one() -> None:
    assert simulated("midjourney", "upscale", origin_task_id="a", index="1").keys() == {"image_url"}


def test_songs_are_two_with_lengths_of_their_files() -> None:
    clips = simulated("music-s", "generate_music")["clips"].values()
    songs = simulated("music-u", "generate_music", lyrics_type="generate")["songs"]

    assert [clip["audio_url"][1] for clip in clips] == ["mp3"] * 2
    assert [seconds_of(clip["audio_url"]) for clip in clips] == [clip["metadata"]["duration"] for clip in clips]
    assert [seconds_of(song["song_path"]) for song in songs] == [song["duration"] for song in songs]
    assert [song["finished"] for song in songs] == [True] * 2
    assert songs[0]["id"] != songs[1]["id"]


def test_texts_are_marked_and_follow_from_the_input() -> None:
    lyrics, others = (simulated("music-u", "generate_lyrics", prompt=word)["lyrics_pairs"] for word in ("a", "b"))
    seeds = {simulated("midjourney", "seed", origin_task_id=word)["seed"] for word in ("a", "b")}

    assert all(MARK in pair["text"] for pair in lyrics)
    assert MARK in simulated("midjourney", "describe", image_url="https://a.test/a.png")["description"]
    assert lyrics != others
    assert len(seeds) == 2
    assert all(seed.isdecimal() for seed in seeds)


# What is asked is what comes.


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
        case _:
            return {"output_format": "jpeg", "batch_size": 3, "width": 640, "height": 384}[name]


@pytest.mark.parametrize("entry", bundle.task_types(), ids=named)
def test_files_have_the_requested_size_length_number_and_format(entry: TaskType) -> None:
    rules = contract.component(entry.input).get("properties", {})
    given = {name: _unusual(name, rule) for name, rule in rules.items() if name in requested.READ}
    result = simulate(entry, given)
    files = list(files_of(result.output))

    assert "SIMULATED" in result.meta["simulated"]
    assert [extension for data, extension in files if b"SIMULATED" not in data] == []
    for file in files:
        _check_file(given, file)
    if "output_format" in given:
        assert {extension for _, extension in files} == {"jpeg"}
    if "batch_size" in given:
        assert [len(value) for value in result.output.values() if isinstance(value, list)] == [3]


def _check_file(given: dict[str, Any], file: File) -> None:
    size = size_of(file)
    if size and "aspect_ratio" in given:
        across, down = map(int, given["aspect_ratio"].split(":"))
        assert size[0] / size[1] == pytest.approx(across / down, rel=0.02)
    if size and "width" in given:
        assert size == (640, 384)
    if file[1] in ("mp4", "mp3", "wav") and "duration" in given:
        assert seconds_of(file) == float(str(given["duration"]).rstrip("s"))


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ({"resolution": "480p", "aspect_ratio": "16:9"}, (853, 480)),
        ({"resolution": "0.5K", "aspect_ratio": "2:1"}, (512, 256)),
        ({"size": "300x200", "aspect_ratio": "1:1"}, (300, 200)),
        ({"width": 300}, (300, 1024)),
        ({"width": 300, "height": -5}, (300, 1024)),  # a negative number is none
    ],
)
def test_size_is_that_of_the_fields(given: dict[str, Any], size: tuple[int, int]) -> None:
    assert requested.read_request(FLUX, given).size == size


def test_speech_is_as_long_as_its_words_take() -> None:
    speech = bundle.task_type("Qubico/tts", "zero-shot", {})

    assert requested.read_request(speech, {"gen_text": "one two three four five"}, "audio").seconds["audio"] == 2.0


def test_no_field_that_decides_what_is_made_is_forgotten() -> None:
    telling = re.compile("width|height|ratio|resolution|^size|duration|seconds|length|fps|frames|count|batch|format")
    fields = {
        name
        for entry in bundle.task_types()
        for name in contract.component(entry.input).get("properties", {})
        if telling.search(name)
    }

    assert fields - requested.READ == {"key_frames", "zoom_ratio"}  # pictures, and how far to paint on


def test_absent_length_is_the_documented_one() -> None:
    (sound,) = files_of(simulated("kling", "sound"))
    shots = [{"prompt": "a", "duration": 4}, {"prompt": "b"}]  # three seconds when it is not said
    (film,) = files_of(simulated("kling", "omni_video_generation", multi_shots=shots))

    assert (seconds_of(sound), seconds_of(film)) == (10, 7)


@pytest.mark.parametrize(
    "hostile",
    [
        {"width": 10**400, "height": 1},
        {"width": 10**9, "height": 10**9, "batch_size": 10**9},
        {"width": 0.4, "height": -5, "duration": -3, "batch_size": True},
        {"width": 1e300, "height": True},
        {"duration": "99999999999999999999s", "aspect_ratio": "0:0"},
        {"aspect_ratio": "99999:1", "resolution": "999999999K"},
        {"aspect_ratio": "adaptive", "resolution": "0p", "duration": 0},
        {"size": "0x0", "output_format": "exe" * 1000},
        {"prompt": "\N{SNOWMAN}" * 100_000, "duration": 1e300},
        {"prompt": ["a"], "width": None},
    ],
    ids=lambda given: str(given)[:40],
)
@pytest.mark.parametrize("entry", [FLUX, FILM], ids=named)
def test_hostile_values_are_bounded(entry: TaskType, hostile: dict[str, Any]) -> None:
    files = list(files_of(simulate(entry, hostile).output))

    assert 1 <= len(files) <= requested.MOST_FILES
    assert all(len(data) < 6_000_000 for data, _ in files)
    assert all(min(size_of(file) or (16,)) >= requested.SMALLEST_SIDE for file in files)
    assert all(max(size_of(file) or (0,)) <= requested.LARGEST_SIDE for file in files)


@pytest.mark.parametrize("entry", [FLUX, FILM, SONG, MESH], ids=named)
def test_same_input_gives_the_same_bytes_and_another_input_others(entry: TaskType) -> None:
    first = simulate(entry, {"prompt": "a", "width": 64}).output
    again = simulate(entry, {"width": 64, "prompt": "a"}).output
    other = simulate(entry, {"prompt": "a", "width": 64, "seed": 1}).output

    assert first == again
    assert not {data for data, _ in files_of(first)} & {data for data, _ in files_of(other)}


# Pictures of the input.


def own(url: str) -> bytes | None:
    return GREEN if url.startswith("http://here.test/") else None


@pytest.mark.parametrize(
    "text", [base64_of(GREEN), "data:image/png;base64," + base64_of(GREEN), "http://here.test/files/a.png"],
    ids=["base64", "data URI", "upload"],
)  # fmt: skip
def test_result_has_the_size_of_the_picture_of_the_input(text: str) -> None:
    shown = simulate(IMAGE_TO_IMAGE, {"prompt": "a", "image": text}, own).output["image_url"]

    assert size_of(shown) == (400, 300)


@pytest.mark.parametrize(("entry", "field"), [(IMAGE_TO_IMAGE, "image"), (GEMINI, "image_urls")])
def test_picture_that_cannot_be_read_fails_the_task(entry: TaskType, field: str) -> None:
    text = base64_of(b"no picture")

    with pytest.raises(TaskFailure, match=rf"failed to get valid image \({field}\)"):
        simulate(entry, {"prompt": "a", field: text if field == "image" else [text]})


def test_very_large_picture_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    large = encoded(np.zeros((1100, 2200, 3), np.uint8))
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("the picture was decoded"))
    result = simulate(IMAGE_TO_IMAGE, {"prompt": "a", "image": base64_of(large)})

    assert size_of(result.output["image_url"]) == (1024, 512)
