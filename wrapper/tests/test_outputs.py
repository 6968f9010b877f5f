"""The files in an output: every shape that a provider uses, or may use, becomes one list."""

from __future__ import annotations

import base64
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unitask import Output, OutputFile, Task, tasks
from unitask._model.output_files import content_of, ending_of, ending_of_type, files_of
from unitask_api.contract import document

from .pictures import encoded
from .script import TASK_ID, task_data

A, B, C, D = (f"https://out.test/{name}" for name in ("a.mp4", "b.png", "c.mp3", "d"))
PNG = encoded()
PNG64 = base64.b64encode(PNG).decode()
OUTPUTS = sorted({task["output"] for task in document()["x-tasks"]})


def files(output: Any, kind: type[Output] = Output) -> list[OutputFile]:
    """The files of an output, read by a class."""
    return kind(output, TASK_ID).files


def shown(output: Any, kind: type[Output] = Output) -> list[tuple[object, ...]]:
    """URL, kind and role of each file."""
    return [(file.url, file.kind, file.role) for file in files(output, kind)]


# ---- documented fields


def test_kling_has_the_clean_video_its_cover_and_the_marked_copy() -> None:
    """Its length is in milliseconds; the copy is no result while the clean one is there."""
    sizes = {"height": 1440, "width": 1080, "duration": 5100}
    work = {
        "cover": {"resource": B, "resource_without_watermark": "", "height": 144, "width": 108, "duration": 0},
        "video": {"resource": D, "resource_without_watermark": A, **sizes},
    }
    result, cover, marked = files({"works": [work]}, tasks.KlingOutput)
    known = {"width": 1080, "height": 1440, "duration_s": 5.1, "documented": True, "task_id": TASK_ID}

    assert result == OutputFile(
        A, "video", place="works[0].video.resource_without_watermark", watermark=False, number=1, **known
    )
    assert (cover.role, cover.kind, cover.width, cover.duration_s, cover.number) == ("preview", "image", 108, None, 2)
    assert marked == OutputFile(D, "video", "variant", "works[0].video.resource", watermark=True, number=3, **known)


def test_marked_copy_is_the_result_when_it_is_all_there_is() -> None:
    """As for the pictures of an account without that right."""
    picture = {"resource": B, "resource_without_watermark": ""}

    assert shown({"works": [{"image": picture}]}, tasks.KlingTryOnOutput) == [(B, "image", "result")]


def test_url_in_two_places_is_one_file_with_what_both_say() -> None:
    """`video_url` repeats the address that has a size in `works`."""
    work = {"video": {"resource_without_watermark": A, "width": 720, "duration": 1500}, "cover": {"resource": A}}
    (file,) = files({"video_url": A, "works": [work]}, tasks.KlingOutput)

    assert (file.place, file.role, file.width, file.duration_s, file.watermark) == (
        "video_url",
        "result",
        720,
        1.5,
        False,
    )


def test_url_that_is_a_result_too_is_a_result() -> None:
    """Wherever it stands first, and documented if one of its places is."""
    work = {"cover": {"resource": A}, "video": {"resource_without_watermark": A}}
    (file,) = files({"works": [work]}, tasks.KlingOutput)
    (new,) = files({"new_field": A, "video_url": A}, tasks.KlingOutput)

    assert (file.place, file.kind, file.role) == ("works[0].video.resource_without_watermark", "video", "result")
    assert (new.place, new.documented) == ("new_field", True)


def test_songs_have_seconds_and_covers() -> None:
    """All songs come before all covers; a picture that is not there yet is none."""
    songs = [
        {"song_path": "https://out.test/a%2520b.mp3", "image_path": B, "duration": 32.768},
        {"song_path": C, "image_path": "", "duration": 0},
    ]
    found = files({"songs": songs}, tasks.UdioMusicOutput)

    assert [(file.url, file.role, file.duration_s) for file in found] == [
        ("https://out.test/a%2520b.mp3", "result", 32.768),
        (C, "result", None),
        (B, "preview", None),
    ]


def test_clips_are_found_in_their_map() -> None:
    """By Suno's own ids; the length stands in an object of its own."""
    clips = {"x": {}, "y": {"audio_url": C, "video_url": A, "image_url": B, "metadata": {"duration": 12.5}}}
    sound, cover, video = files({"clips": clips}, tasks.SunoMusicOutput)

    assert (sound.url, sound.role, sound.duration_s, sound.place) == (C, "result", 12.5, "clips.y.audio_url")
    assert (cover.url, cover.role, cover.duration_s) == (B, "preview", None)
    assert (video.url, video.role, video.duration_s) == (A, "variant", 12.5)


def test_luma_has_objects() -> None:
    """Each null until it is there; the raw video is a result only where there is no other."""
    raw = {"video": {"url": A, "width": 1360, "height": 752}, "video_raw": {"url": D}, "thumbnail": {"url": B}}

    assert shown({**raw, "last_frame": None}, tasks.LumaOutput) == [
        (A, "video", "result"),
        (B, "image", "preview"),
        (D, "video", "variant"),
    ]
    assert shown({**raw, "video": None, "thumbnail": None}, tasks.LumaOutput) == [(D, "video", "result")]
    assert files(raw, tasks.LumaOutput)[0].width == 1360


def test_picture_that_you_gave_is_an_input() -> None:
    """Hailuo repeats it; its size is that of the video."""
    output = {"prompt_img_url": B, "video_url": A, "cover_url": D, "width": 1280.0, "height": 720}
    video, cover, given_picture = files(output, tasks.HailuoVideoOutput)

    assert (video.url, video.width, video.height) == (A, 1280, 720)
    assert (cover.role, cover.width) == ("preview", None)
    assert (given_picture.url, given_picture.role) == (B, "input")


def test_text_field_that_holds_a_url_is_no_file() -> None:
    """A prompt may be one."""
    assert files({"songs": [{"prompt": A, "title": B, "tags": [C]}]}, tasks.UdioMusicOutput) == []


def test_task_found_by_its_id_is_read_as_its_type() -> None:
    """The catalogue knows it by model and task type."""
    task = Task(task_data("completed", model="kling", task_type="video_generation", output={"video": A}), Output)

    assert task.output.files == [
        OutputFile(A, "video", place="video", documented=True, task_id=TASK_ID),
    ]


# ---- a file that stands in the output itself


def test_picture_in_base64_is_a_data_uri() -> None:
    """Legacy face swap sends one when it is asked for base64."""
    (file,) = files({"image": PNG64}, tasks.LegacyFaceSwapOutput)

    assert file.url == f"data:image/png;base64,{PNG64}"
    assert content_of(file.url) == ("image/png", PNG)
    assert len(repr(file)) < 400
    assert shown({"image": B}, tasks.LegacyFaceSwapOutput) == [(B, "image", "result")]


@pytest.mark.parametrize("text", ["", "not base64!", "A", "data:image/png;base64,", "data:image/png;base64,!"])
def test_text_that_is_no_file_is_left_out(text: str) -> None:
    """`image_base64` is empty in every sample."""
    assert files({"image": text, "image_base64": text}, tasks.LegacyFaceSwapOutput) == []
    assert files({"image_base64": text}, tasks.FluxOutput) == []


def test_base64_beside_an_address_is_a_variant() -> None:
    """The same picture twice."""
    found = shown({"image_base64": PNG64, "image_url": B}, tasks.FluxOutput)

    assert [(kind, role) for _, kind, role in found] == [("image", "result"), ("image", "variant")]
    assert [file.role for file in files({"image_base64": PNG64}, tasks.FluxOutput)] == ["result"]


# ---- fields that nobody documents


def test_unknown_shape_is_searched() -> None:
    """Every URL in document order; the ending tells the kind, else nothing does."""
    output = {
        "z": [{"deep": A}, [C]],
        "a": {"b": {"c": D}},
        "n": 7,
        "t": f"see {B}",
        "again": A,
        "model": f"{B}?x=.glb",
    }

    assert shown(output) == [
        (A, "video", "result"),
        (C, "audio", "result"),
        (D, None, "result"),
        (f"{B}?x=.glb", "image", "result"),
    ]
    assert [file.place for file in files(output)] == ["z[0].deep", "z[1][0]", "a.b.c", "model"]
    assert not any(file.documented for file in files(output))


@pytest.mark.parametrize(
    ("text", "is_file"),
    [
        ("HTTPS://OUT.TEST/A", True),
        ("https://", False),
        ("https:///a", False),
        ("https://out.test/a b.png is nice", False),
        (" https://out.test/a", False),
        ("ftp://out.test/a.png", False),
        ("data:image/png;base64,AAAA", True),
        ("data:model/gltf-binary,abc", True),
        ("data:Audio/mpeg;base64,AAAA", True),
        ("data:video/mp4;base64,AAAA", True),
        ("data:,hello", False),
        ("data:text/plain,hello", False),
    ],
)
def test_text_of_unknown_meaning_is_a_file_if_it_is_a_url(text: str, is_file: bool) -> None:
    """And nothing else."""
    assert [file.url for file in files({"x": text})] == ([text] if is_file else [])


def test_new_field_of_a_known_type_is_searched_too() -> None:
    """The provider adds some monthly; what stands below a preview is one."""
    output = {"image_url": B, "image_4k": A, "cover": {"large": D}}

    assert shown(output, tasks.FaceSwapOutput) == [
        (B, "image", "result"),
        (A, "video", "result"),
        (D, None, "result"),
    ]
    work = {"cover": {"tiny": {"url": D}}}
    assert shown({"works": [work]}, tasks.KlingOutput) == [(D, None, "preview")]


# ---- broken shapes


@pytest.mark.parametrize(
    "output",
    [
        {"works": {"video": 7}},
        {"works": [None, 7, "x", [], {"video": [], "cover": "x", "image": {"resource": {}}}]},
        {"works": [{"video": {"resource_without_watermark": 7, "resource": None, "width": "x"}}]},
        {"video": False, "video_url": [None]},
    ],
    ids=repr,
)
def test_broken_shape_is_no_file(output: Any) -> None:
    """`raw` has it, and reading the field says what is wrong."""
    assert files(output, tasks.KlingOutput) == []


@pytest.mark.parametrize("size", [0, -1, "720", True, None, 7.5, float("nan"), float("inf"), 10**400, [], {}])
def test_size_that_is_none_is_not_known(size: Any) -> None:
    """The file is there all the same."""
    video = {"resource": A, "width": size, "height": 9, "duration": size if size != 7.5 else "7"}
    (file,) = files({"works": [{"video": video}]}, tasks.KlingOutput)

    assert (file.width, file.height, file.duration_s) == (None, 9, None)


def test_file_too_deep_is_left_out() -> None:
    """No recursion error, however deep a body is."""
    output: dict[str, Any] = {"url": A}
    for _ in range(900):
        output = {"x": output}

    assert files({"x": output, "y": B}) == [OutputFile(B, "image", place="y", task_id=TASK_ID)]
    assert files({"video": output, "video_raw": output}, tasks.LumaOutput) == []


texts = st.text(max_size=6) | st.sampled_from(
    [A, B, "https://[", "http://\ud800", "data:,", PNG64, "data:image/x;base64,="]
)
names = st.sampled_from(
    [
        "works",
        "video",
        "cover",
        "resource",
        "resource_without_watermark",
        "width",
        "duration",
        "clips",
        "metadata",
        "songs",
        "song_path",
        "url",
        "video_raw",
        "thumbnail",
        "image",
        "image_base64",
        "image_urls",
        ".",
        "",
    ]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names | st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


@given(output=st.dictionaries(names, values, max_size=5), schema=st.sampled_from([*OUTPUTS, "Output", "Nothing"]))
def test_no_shape_raises(output: dict[str, Any], schema: str) -> None:
    """Any JSON, under any schema: no URL twice, results first, numbers in order, and the task's id on each."""
    found = files_of(output, schema, TASK_ID)
    ranks = [["result", "preview", "variant", "input"].index(file.role) for file in found]

    assert len({file.url for file in found}) == len(found)
    assert ranks == sorted(ranks)
    assert [file.number for file in found] == list(range(1, len(found) + 1))
    assert {file.task_id for file in found} <= {TASK_ID}
    assert pickle.loads(pickle.dumps(found)) == found


def test_file_shows_what_is_known_of_it() -> None:
    """And of a long URL, which may be the file itself, the beginning and its length."""
    address = "https://out.test/".ljust(300, "a")
    long = repr(OutputFile(f"{address}b", width=5))

    assert repr(OutputFile(address, "video")) == (
        f"OutputFile(url={address!r}, kind='video', role='result', place='', documented=False, task_id='', number=1)"
    )
    assert long.startswith(f"OutputFile(url='{address[:100]}... (301 characters)', role='result', place='', width=5, ")


# ---- endings


@pytest.mark.parametrize(
    ("url", "ending"),
    [
        ("https://out.test/a.MP4", ".mp4"),
        ("https://out.test/a.png?x=.exe#y.zip", ".png"),
        ("https://out.test/a.jpg.origin?x-kcdn-pid=1", ""),
        ("https://out.test", ""),
        ("https://out.test/a.png\n", ""),
        ("data:image/png;base64,AA.png", ""),
    ],
)
def test_ending_is_that_of_the_path(url: str, ending: str) -> None:
    """In lower case, without what follows the path."""
    assert ending_of(url) == ending


def test_ending_of_a_media_type() -> None:
    """Parameters do not matter; what is not known has none."""
    assert ending_of_type("Image/JPEG; charset=x") == ".jpg"
    assert ending_of_type("model/gltf-binary") == ".glb"
    assert ending_of_type("application/octet-stream") == ending_of_type("") == ""
