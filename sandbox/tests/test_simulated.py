"""Simulated results: every task type gives what was requested, the same each time, and says that it is simulated."""

import io
import re
from typing import Any

import av
import numpy as np
import pytest
from unitask_api import contract
from unitask_api.contract import TaskType
from unitask_sandbox import bundle
from unitask_sandbox.engines import simulate
from unitask_sandbox.engines.simulated import requested_media as requested
from unitask_sandbox.engines.simulated.files import RATE, film, sound
from unitask_sandbox.engines.simulated.outputs import MARK
from unitask_sandbox.failures import TaskFailure

from .local import base64_of
from .media import files_of, has_sound, png, seconds_of, size_of

FLUX = bundle.task_type("Qubico/flux1-schnell", "txt2img", {})
IMAGE_TO_IMAGE = bundle.task_type("Qubico/flux1-schnell", "img2img", {})
GEMINI = bundle.task_type("gemini", "nano-banana-pro", {})
FILM = bundle.task_type("seedance", "seedance-2.5", {})
FILM_WITHOUT_DEFAULTS = bundle.task_type("kling", "video_generation", {})
LIP_SYNC = bundle.task_type("kling", "lip_sync", {})
SONG = bundle.task_type("Qubico/ace-step", "txt2audio", {})
MESH = bundle.task_type("Qubico/trellis", "text-to-3d", {})
GREEN = png(np.full((300, 400, 3), (40, 200, 40), np.uint8))


def named(entry: TaskType) -> str:
    return f"{entry.model} {entry.task_type} {entry.match or ''}".strip()


def simulated(model: str, task_type: str, **given: Any) -> Any:
    return simulate(bundle.task_type(model, task_type, given), given).output


def test_texts_are_marked_and_follow_from_the_input() -> None:
    lyrics, others = (simulated("music-u", "generate_lyrics", prompt=word)["lyrics_pairs"] for word in ("a", "b"))
    seeds = [simulated("midjourney", "seed", origin_task_id=word)["seed"] for word in ("a", "b")]
    songs = simulated("music-u", "generate_music", lyrics_type="generate")["songs"]

    assert all(MARK in pair["text"] for pair in lyrics)
    assert MARK in simulated("midjourney", "describe", image_url="https://a.test/a.png")["description"]
    assert lyrics != others
    assert len({seed for seed in seeds if seed.isdecimal()}) == 2
    assert [seconds_of(song["song_path"]) for song in songs] == [song["duration"] for song in songs]
    assert songs[0]["id"] != songs[1]["id"]


# Requested sizes, lengths, numbers and formats.

UNUSUAL = {"output_format": "jpeg", "batch_size": 3, "width": 640, "height": 384}


def unusual(name: str, rule: dict[str, Any]) -> Any:
    known = rule.get("enum") or rule.get("x-advisory", {}).get("enum")
    match name:
        case "aspect_ratio":
            return "9:16" if not known or "9:16" in known else known[0]
        case "duration":
            return "7s" if rule["type"] == "string" else known[-1] if known else 13
        case "resolution" | "size":
            return known[0] if known else "480p"
        case "audio" | "enable_audio" | "generate_audio" | "keep_original_sound":
            return True
        case _:
            return UNUSUAL[name]


def requested_of(entry: TaskType) -> dict[str, Any]:
    rules = contract.component(entry.input).get("properties", {})
    return {name: unusual(name, rule) for name, rule in rules.items() if name in requested.READ}


# One task type for each output and each request; contract_tests/test_provider.py runs all of them.
DIFFERENT = {(entry.output, *requested_of(entry).items()): entry for entry in bundle.task_types()}


@pytest.mark.parametrize("entry", DIFFERENT.values(), ids=named)
def test_files_have_the_requested_size_length_number_and_format(entry: TaskType) -> None:
    given = requested_of(entry)
    result = simulate(entry, given)
    files = list(files_of(result.output))
    sizes = {size for file in files if (size := size_of(file))}
    lengths = {seconds_of(file) for file in files if file[1] in ("mp4", "mp3", "wav")}

    assert "SIMULATED" in result.meta["simulated"]
    assert [extension for data, extension in files if b"SIMULATED" not in data] == []
    if "aspect_ratio" in given:
        across, down = map(int, given["aspect_ratio"].split(":"))
        assert [width / height for width, height in sizes] == pytest.approx([across / down] * len(sizes), rel=0.02)
    if given.keys() & set(requested.SOUND):
        assert [data for data, extension in files if extension == "mp4" and not has_sound(data)] == []
    if "width" in given:
        assert sizes <= {(640, 384)}
    if "duration" in given:
        assert lengths <= {float(str(given["duration"]).rstrip("s"))}
    if "output_format" in given:
        assert {extension for _, extension in files} == {"jpeg"}
    if "batch_size" in given:
        assert [len(value) for value in result.output.values() if isinstance(value, list)] == [3]


def test_every_field_that_decides_what_is_made_is_read() -> None:
    deciding = re.compile("width|height|ratio|resolution|^size|duration|seconds|length|fps|frames|count|batch|format")
    inputs = [contract.component(entry.input).get("properties", {}) for entry in bundle.task_types()]
    fields = {name for rules in inputs for name in rules if deciding.search(name)}

    assert fields - requested.READ == {"key_frames", "zoom_ratio"}  # pictures, and how far to paint on


FILMS: dict[str, tuple[TaskType, dict[str, Any], tuple[int, int], bool]] = {
    "nothing is requested": (FILM_WITHOUT_DEFAULTS, {}, (320, 180), False),
    "1080p": (FILM, {"resolution": "1080p", "aspect_ratio": "9:16"}, (1080, 1920), False),
    "the documented resolution": (FILM, {"aspect_ratio": "16:9", "audio": False}, (1280, 720), False),
    "beyond the limit": (FILM, {"resolution": "4K", "aspect_ratio": "16:9"}, (2560, 1440), False),
    "a switch": (FILM_WITHOUT_DEFAULTS, {"enable_audio": True}, (320, 180), True),
    "a text to speak": (LIP_SYNC, {"video_url": "https://a.test/a.mp4", "tts_text": "a"}, (320, 180), True),
    "a recording": (LIP_SYNC, {"local_dubbing_url": "https://a.test/a.mp3"}, (320, 180), True),
}


@pytest.mark.parametrize(("entry", "given", "size", "sounds"), FILMS.values(), ids=FILMS.keys())
def test_film_has_the_requested_pixels_and_sound(
    entry: TaskType, given: dict[str, Any], size: tuple[int, int], sounds: bool
) -> None:
    result = simulate(entry, given)
    films = [file for file in files_of(result.output) if file[1] == "mp4"]

    assert ("smaller" in result.meta["simulated"]) == (given.get("resolution") == "4K")
    assert {(size_of(film), has_sound(film[0]), seconds_of(film)) for film in films} == {(size, sounds, 5.0)}


def test_absent_length_is_the_documented_one() -> None:
    (sound,) = files_of(simulated("kling", "sound"))

    assert seconds_of(sound) == 10


@pytest.mark.parametrize(
    "given",
    [
        {"width": 10**400, "height": 1},
        {"width": 10**9, "height": 10**9, "batch_size": 10**9},
        {"width": 0.4, "height": True, "duration": -3, "batch_size": True},
        {"duration": "99999999999999999999s", "aspect_ratio": "0:0"},
        {"aspect_ratio": "99999:1", "resolution": "999999999K"},
        {"aspect_ratio": "adaptive", "resolution": "0p", "duration": 0},
        {"size": "0x0", "output_format": "exe" * 1000},
        {"prompt": "\N{SNOWMAN}" * 100_000, "duration": 1e300},
        {"prompt": ["a"], "width": None},
    ],
    ids=range(9),
)
def test_hostile_values_are_bounded(given: dict[str, Any]) -> None:
    for entry in (FLUX, FILM):
        files = list(files_of(simulate(entry, given).output))
        sides = [side for file in files for side in size_of(file) or ()]
        assert 1 <= len(files) <= requested.MOST_FILES
        assert all(len(data) < 6_000_000 for data, _ in files)
        assert requested.SMALLEST_SIDE <= min(sides) <= max(sides) <= requested.LARGEST_SIDE


@pytest.mark.parametrize("entry", [FLUX, FILM, SONG, MESH], ids=named)
def test_same_input_gives_the_same_bytes_and_another_input_others(entry: TaskType) -> None:
    first = simulate(entry, {"prompt": "a", "width": 64}).output
    again = simulate(entry, {"width": 64, "prompt": "a"}).output
    other = simulate(entry, {"prompt": "a", "width": 64, "seed": 1}).output

    assert first == again
    assert not {data for data, _ in files_of(first)} & {data for data, _ in files_of(other)}


@pytest.mark.parametrize("text", [base64_of(GREEN), "http://here.test/files/a.png"])
def test_result_has_the_size_of_the_picture_of_the_input(text: str) -> None:
    result = simulate(IMAGE_TO_IMAGE, {"image": text}, lambda url: GREEN if url.startswith("http:") else None)

    assert size_of(result.output["image_url"]) == (400, 300)


@pytest.mark.parametrize(
    ("entry", "field", "value"),
    [(IMAGE_TO_IMAGE, "image", base64_of(b"no picture")), (GEMINI, "image_urls", [base64_of(GREEN[:20])])],
)
def test_picture_that_cannot_be_read_fails_the_task(entry: TaskType, field: str, value: object) -> None:
    with pytest.raises(TaskFailure, match=rf"failed to get valid image \({field}\)"):
        simulate(entry, {"prompt": "a", field: value})


# The files.

WORD = "SIMULATED by a test"


def test_film_moves_and_shows_its_word_in_full() -> None:
    with av.open(io.BytesIO(film(7, WORD, (1024, 300), 1.3))) as opened:
        comment, frames = opened.metadata["comment"], [frame.to_ndarray(format="gray") for frame in opened.decode()]
    columns = np.flatnonzero((frames[0] > 200).any(axis=0))

    assert (comment, len(frames)) == (WORD, 5)
    assert 0 < columns[0] < columns[-1] < 1023
    assert not np.array_equal(frames[0], frames[-1])


def test_sound_has_a_soft_tone_and_its_word() -> None:
    with av.open(io.BytesIO(sound(1, WORD, 12.5, "wav"))) as opened:
        samples = np.concatenate([np.ravel(frame.to_ndarray()) for frame in opened.decode(audio=0)]) / 32768
        comment = opened.metadata["comment"]

    assert comment == WORD
    assert len(samples) == 12.5 * RATE
    assert 0.1 < np.abs(samples).max() < 0.2
