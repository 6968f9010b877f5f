"""A task as a value, its token and output files; contract_tests/test_output_files.py has the documented files."""

import base64
import contextlib
import copy
import dataclasses
import json
import math
import pickle
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unitask import Output, OutputFile, ProviderBroken, Task, Timestamp, errors, tasks
from unitask._model import task_token
from unitask._model.task_token import Fingerprint, SubmissionTime, TaskToken
from unitask.tasks import FaceSwapOutput, LegacyFaceSwapOutput
from unitask_api.contract import document
from unitask_api.output_files import content_of, ending_of, ending_of_type, files_of, is_ending, text_of

from .pictures import encoded
from .script import MODEL, TASK_ID, TASK_TYPE, UNIX, json_values, task_data


def task(**fields: Any) -> Task[FaceSwapOutput]:
    return Task({**task_data(), **fields}, FaceSwapOutput)


MOMENT = datetime(2025, 7, 25, 14, 41, 18, 465048, UTC)
FACTS: list[tuple[str, object, dict[str, Any]]] = [  # a property, its value, and the fields of the body
    *((name, MOMENT, {"meta": {name: "2025-07-25T22:41:18.465048+08:00"}}) for name in ("created_at", "started_at")),
    ("ended_at", MOMENT, {"meta": {"ended_at": "2025-07-25T14:41:18.465048"}}),
    *((name, None, {"meta": {name: "1970-01-01T00:00:00Z"}}) for name in ("created_at", "started_at", "ended_at")),
    ("cost_usd", 0.00050005, {"meta": {"usage": {"consume": 5000.5}}}),
    *(
        ("cost_usd", None, {"meta": {"usage": {"consume": odd}}})
        for odd in (None, True, "100000", [], 10**400, math.nan, math.inf)
    ),
    ("failure", "failed; no face", {"error": {"message": "failed", "raw_message": "no face"}}),
    ("failure", "failed", {"error": {"message": "failed", "raw_message": "failed"}}),
    ("failure", "no face found", {"error": {"message": "", "raw_message": "no face found"}}),
    ("failure", "", {"error": {"code": 0, "message": ""}}),
    ("failure", "failed", {"error": "failed"}),
    ("failure", "", {"error": []}),
    *(("failure_code", code, {"error": {"code": code}}) for code in (10000, None)),
    *(("failure_code", None, {"error": {"code": odd}}) for odd in (True, "7", 0)),
    *(("done", True, {"status": word}) for word in ("Completed", "failed", "cancelled")),
    *(("done", False, {"status": word}) for word in ("staged", "odd", None)),
    *(("status", word, {"status": word}) for word in ("Completed", "odd", None)),
    *((name, value, {"meta": []}) for name, value in (("ended_at", None), ("cost_usd", None))),
    *((name, value, {name: 7}) for name, value in (("model", ""), ("task_type", ""))),
    *(("progress", None, {"progress": odd}) for odd in (True, "soon", [], -1, math.nan, "\u0661\u0662")),
    *(("progress", 100.0, fields) for fields in ({"progress": "101%"}, {"output": {"progress": 250}})),
    ("progress", 55.0, {"output": {"task_progress": "55%"}}),
    ("progress", 12.5, {"output": {"percent": 12.5}}),
    ("progress", 7.0, {"progress": 7, "output": None}),
    ("progress", 0.0, {"output": {"progress": 0}}),
    ("progress", None, {"output": {"progress": True}}),
    ("progress", 3.0, {"output": {"progress": -1, "percent": 3}}),
]


def test_fact_is_read_from_the_body_or_absent() -> None:
    for name, value, fields in FACTS:
        assert getattr(task(**fields), name) == value, fields


@given(consume=st.integers(0, 10**13))
def test_cost_is_the_float_next_to_the_amount(consume: int) -> None:
    usd = float(Decimal(consume) / 10_000_000)

    assert task(meta={"usage": {"consume": consume}}).cost_usd == usd
    assert task(meta={"usage": {"consume": float(consume)}}).cost_usd == usd


@pytest.mark.parametrize("output", ["text", ["a"], 0, "", [], {"image_url": 7}], ids=repr)
def test_output_of_another_type_is_broken_when_it_is_read(output: Any) -> None:
    with pytest.raises(ProviderBroken) as caught:
        _ = task(output=output).output.image_url

    assert caught.value.task_id == TASK_ID
    assert repr(output if output != {"image_url": 7} else 7) in str(caught.value)


def test_task_is_a_value_with_a_hash() -> None:
    made = task(output={"image_url": "u"})

    for twin in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):
        assert twin == made
        assert twin.output.image_url == "u"
    assert len({made, copy.deepcopy(made), task()}) == 2
    assert len({hash(task(task_id=name)) for name in "abcdef"}) > 1
    with pytest.raises(AttributeError):
        made.raw = {}  # type: ignore[misc]  # it must raise


def test_repr_shows_id_and_status_but_no_secret() -> None:
    made = task(config={"webhook_config": {"secret": "s3cret"}}, output={"image_url": "u"}, status="pending")

    assert repr(made) == f"Task({TASK_ID!r}, {MODEL!r}, {TASK_TYPE!r}, status='pending')"


def packed(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content, separators=(",", ":")).encode()).decode().rstrip("=")


def test_token_names_the_task_and_its_output_class() -> None:
    for output, model, name in (
        (FaceSwapOutput, MODEL, "FaceSwapOutput"),
        (LegacyFaceSwapOutput, MODEL, "LegacyFaceSwapOutput"),
        (Output, "", ""),
    ):
        made, token = Task(task_data(model=model or None), output), TaskToken(TASK_ID, model, TASK_TYPE, name)
        assert made.token == f"ut1.{packed(list(token))}"
        assert task_token.read(made.token) == token


def test_anything_else_is_an_id() -> None:
    for text in (TASK_ID, "", "ut1", "ut.abc", "utx.abc", "a.b", "out1.abc", "UT1.abc"):
        assert task_token.read(text) == TaskToken(text)


DAMAGED = ["%%%", "abc", f"%%%%{packed(['a', 'b', 'c', 'd'])}"]
DAMAGED += map(packed, ([], ["a", "b", "c", "d", "e"], ["", "b", "c", "d"], [7, "b", "c", "d"]))


def test_damaged_or_later_token_is_refused() -> None:
    with pytest.raises(errors.InvalidInput, match="update unitask"):
        task_token.read("ut2.abc")
    for text in DAMAGED:
        with pytest.raises(errors.InvalidInput, match="is damaged"):
            task_token.read(f"ut1.{text}")


@given(st.text(min_size=1), st.text(), st.text())
def test_any_task_is_read_back(task_id: str, model: str, task_type: str) -> None:
    task = Task({"task_id": task_id, "model": model, "task_type": task_type}, Output)

    assert task_token.read(task.token) == TaskToken(task_id, model, task_type, "")
    with contextlib.suppress(errors.InvalidInput):
        assert task_token.read("ut1." + task_id).task_id


def uncertain(**changes: object) -> errors.SubmissionUncertain:
    sent = SubmissionTime(Timestamp(1.0, UNIX), Timestamp(2.5, UNIX + 1.5), "process", (UNIX, UNIX + 9.0))
    identity = Fingerprint(MODEL, TASK_TYPE, "f" * 64, "a-mark", {"prompt": "d" * 64}, "a-submission", sent, "account")
    between = datetime.fromtimestamp(UNIX, UTC), datetime.fromtimestamp(UNIX + 1.5, UTC)
    changed = dataclasses.replace(identity, **changes)
    error = errors.SubmissionUncertain("no answer", identity=changed, sent_between=between)
    error.task_id = TASK_ID
    return error


def test_token_of_an_uncertain_submission_has_what_find_needs() -> None:
    sent = SubmissionTime(Timestamp(1.0, UNIX), Timestamp(2.5, UNIX + 1.5))  # unknown on the provider's clock
    for changes in ({}, {"correlation_id": None}, {"sent": None}, {"sent": sent}, {"submission": "", "account": ""}):
        error = uncertain(**changes)
        found = task_token.read_uncertain(error.token)
        assert found.identity == dataclasses.replace(error.identity, fields={})
        assert (found.task_id, found.sent_between) == (error.task_id, error.sent_between)
    assert ": its token was read. " in str(found)
    error.task_id = "../x"
    assert task_token.read_uncertain(error.token).task_id is None


def test_token_of_a_submission_is_no_task() -> None:
    for text in (uncertain().token, "us1.abc"):
        with pytest.raises(errors.InvalidInput, match="is the token of an uncertain submission"):
            task_token.read(text)


ODD = [((3,), None), ((4,), 1), ((2, 0, 0), "x"), ((2, 0, 1), math.nan), ((2, 1), [None, None]), ((2, 3), [1, "x"])]


def test_token_with_a_value_of_another_type_is_damaged() -> None:
    for place, value in ODD:
        content = json.loads(base64.urlsafe_b64decode(uncertain().token[4:] + "=="))
        part = content
        for step in place[:-1]:
            part = part[step]
        part[place[-1]] = value
        with pytest.raises(errors.InvalidInput, match="is damaged"):
            task_token.read_uncertain(f"us1.{packed(content)}")


token_values = st.recursive(
    st.none() | st.floats() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=9), max_leaves=12
)


@given(text=st.text(max_size=30) | st.builds(lambda content: f"us1.{packed(content)}", token_values))
def test_any_other_text_is_not_a_token_of_a_submission(text: str) -> None:
    with pytest.raises(errors.InvalidInput):
        task_token.read_uncertain(text)


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
values = json_values(FIELDS, texts)


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
