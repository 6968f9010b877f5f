"""The files in an output: shapes beyond the documented ones, which contract_tests/test_output_files.py has."""

import base64
import pickle
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from unitask import Output, OutputFile, tasks
from unitask_api.contract import document
from unitask_api.output_files import content_of, ending_of, ending_of_type, files_of, is_ending, text_of

from .pictures import encoded
from .script import TASK_ID

A, B, C, D = (f"https://out.test/{name}" for name in ("a.mp4", "b.png", "c.mp3", "d"))
PNG = encoded()
PNG64 = base64.b64encode(PNG).decode()
OUTPUTS = sorted({task["output"] for task in document()["x-tasks"]})


def files(output: Any, kind: type[Output] = Output) -> list[OutputFile]:
    return kind(output, TASK_ID).files


def shown(output: Any, kind: type[Output] = Output) -> list[tuple[object, ...]]:
    """Return URL, kind and role of each file."""
    return [(file.url, file.kind, file.role) for file in files(output, kind)]


def test_url_in_two_places_is_one_file_of_the_better_role_with_what_both_say() -> None:
    work = {"cover": {"resource": A}, "video": {"resource_without_watermark": A, "width": 720, "duration": 1500}}
    (named,) = files({"video_url": A, "new_field": A, "works": [work]}, tasks.KlingOutput)

    assert (named.place, named.documented, named.role) == ("video_url", True, "result")
    assert (named.width, named.duration_s, named.watermark) == (720, 1.5, False)


def test_picture_in_base64_is_a_data_uri() -> None:
    (file,) = files({"image": f"{PNG64[:60]}\n{PNG64[60:]}"}, tasks.LegacyFaceSwapOutput)

    assert file.url == f"data:image/png;base64,{PNG64}"
    assert content_of(file.url) == ("image/png", PNG)
    for text in ("", "not base64!", "A", "data:image/png;base64,", "data:image/png;base64,!"):
        assert files({"image": text, "image_base64": text}, tasks.LegacyFaceSwapOutput) == []


def test_undocumented_fields_are_searched_and_documented_texts_are_not() -> None:
    output = {"z": [{"deep": A}, [C]], "a": {"b": D}, "n": 7, "t": f"see {B}", "again": A, "model": f"{B}?x=.glb"}

    assert shown(output) == [
        (A, "video", "result"),
        (C, "audio", "result"),
        (D, None, "result"),
        (f"{B}?x=.glb", "image", "result"),
    ]
    assert [file.place for file in files(output)] == ["z[0].deep", "z[1][0]", "a.b", "model"]
    assert not any(file.documented for file in files(output))
    assert shown({"image_url": B, "image_4k": A}, tasks.FaceSwapOutput)[1] == (A, "video", "result")
    assert shown({"video": None, "video_raw": {"url": D}}, tasks.LumaOutput) == [(D, "video", "result")]
    assert files({"songs": [{"prompt": A, "title": B, "tags": [C]}]}, tasks.UdioMusicOutput) == []
    assert shown({"works": [{"cover": {"tiny": {"url": D}}}]}, tasks.KlingOutput) == [(D, None, "preview")]


def test_text_of_unknown_meaning_is_a_file_only_if_it_is_a_url() -> None:
    urls = {"HTTPS://OUT.TEST/A": None, "data:model/gltf-binary,abc": "model", "data:Audio/mpeg;base64,AAAA": "audio"}
    texts = ["https:///a", "https://out.test/a b.png is nice", "data:,hello"]

    assert shown({"urls": list(urls), "texts": texts}) == [(url, kind, "result") for url, kind in urls.items()]


def test_size_that_is_not_a_positive_number_is_absent() -> None:
    for size in (0, -1, "720", True, None, float("nan"), float("inf"), 10**400, []):
        video = {"resource": A, "width": size, "height": 9, "duration": size}
        (file,) = files({"works": [{"video": video}]}, tasks.KlingOutput)
        assert (file.width, file.height, file.duration_s) == (None, 9, None)


def test_file_deeper_than_forty_levels_is_left_out() -> None:
    def nested(levels: int) -> Any:
        return {"x": nested(levels - 1)} if levels else A

    assert shown({"x": nested(39), "y": B}) == [(A, "video", "result"), (B, "image", "result")]
    assert shown({"x": nested(40), "y": B}) == [(B, "image", "result")]


texts = st.text(max_size=6) | st.sampled_from([A, B, "https://[", "http://\ud800", "data:,", PNG64, "data:x;base64,="])
FIELDS = ["works", "video", "cover", "resource", "width", "duration", "clips", "songs", "url", "video_raw", "image"]
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(FIELDS), values, max_size=5), st.sampled_from([*OUTPUTS, "Output", "Nothing"]))
def test_no_shape_raises(output: dict[str, Any], schema: str) -> None:
    found = files_of(output, schema, TASK_ID)
    ranks = [["result", "preview", "variant", "input"].index(file.role) for file in found]

    assert len({file.url for file in found}) == len(found)
    assert ranks == sorted(ranks)
    assert [file.number for file in found] == list(range(1, len(found) + 1))
    assert pickle.loads(pickle.dumps(found)) == found
    assert isinstance(text_of(output, schema), str)


def test_ending_is_that_of_the_path_or_of_the_media_type() -> None:
    assert ending_of("https://out.test/a.MP4") == ".mp4"
    assert ending_of("https://out.test/a.png?x=.exe#y.zip") == ".png"
    assert ending_of("https://out.test/a.jpg.origin?x-kcdn-pid=1") == ending_of("https://out.test/a.png\n") == ""
    assert ending_of_type("Image/JPEG; charset=x") == ".jpg"
    assert ending_of_type("application/octet-stream") == ending_of_type("") == ""
    assert (is_ending(".GLB"), is_ending(".exe")) == (True, False)
