"""The OpenAI-shaped endpoints: simulated answers in the documented form, with the quirks that clients met."""

import base64
import io
import json
import sys
from typing import Any

import av
import pytest
from jsonschema import Draft202012Validator
from PIL import Image
from unitask_sandbox import provider, speech
from unitask_sandbox.engines import simulated_picture

from .local import Clock, Http, HttpWith, base64_of

CHAT, IMAGE, EDIT = "/v1/chat/completions", "/v1/images/generations", "/v1/images/edits"
BEARER = {"authorization": "Bearer sandbox"}
HELLO = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello there"}]}


@pytest.fixture
def http(http_with: HttpWith) -> Http:
    made = http_with()
    made.headers = BEARER
    return made


def size_of(image: dict[str, str]) -> tuple[int, int]:
    return Image.open(io.BytesIO(base64.b64decode(image["b64_json"]))).size


def events_of(http: Http, **more: Any) -> list[str]:
    """The events of a stream, as a parser has them that splits at blank lines."""
    text = http.unchecked("POST", CHAT, json={**HELLO, "stream": True, **more}).text
    events = text.removesuffix("\n\n").split("\n\n")
    assert all(event.startswith("data: ") and event.splitlines() == [event] for event in events)
    return [event.removeprefix("data: ") for event in events]


def test_stream_is_one_event_after_another_with_an_empty_usage_at_its_end(http: Http) -> None:
    assert events_of(http, messages=[{"role": "user", "content": "ends of lines: \u2028 \u0085 \x0c"}])
    *said, last, end = events_of(http, model="gpt-4o-image")
    deltas = [json.loads(event)["choices"][0] for event in said]

    assert end == "[DONE]"
    assert any(delta["delta"].get("content", "").endswith(".png)") for delta in deltas)  # the link is whole
    assert deltas[-1]["finish_reason"] == "stop"
    assert (json.loads(last)["choices"], json.loads(last)["usage"]) == ([], {})
    assert json.loads(events_of(http, stream_options={"include_usage": True})[-2])["usage"]["prompt_tokens"] == 2


TOOLS = [{"type": "function", "function": {"name": name}} for name in ("get_weather", "get_time")]
RESULT = [*HELLO["messages"], {"role": "tool", "tool_call_id": "1", "content": "rain in get_time"}]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, None),
        ({"tool_choice": "required"}, "get_weather"),
        ({"tool_choice": "required", "messages": RESULT}, "get_weather"),
        ({"messages": RESULT}, None),
        ({"tool_choice": {"type": "function", "function": {"name": "get_time"}}}, "get_time"),
        ({"messages": [{"role": "user", "content": "call get_time, please"}]}, "get_time"),
        ({"messages": [{"role": "user", "content": "call get_time"}], "tool_choice": "none"}, None),
    ],
)
def test_function_is_called_where_the_request_names_it(http: Http, more: dict[str, Any], expected: str | None) -> None:
    (choice,) = http("POST", CHAT, json={**HELLO, "tools": TOOLS, **more}).json()["choices"]
    calls = choice["message"].get("tool_calls", [None])

    assert [call and call["function"] for call in calls] == [expected and {"name": expected, "arguments": "{}"}]
    assert choice["finish_reason"] == ("tool_calls" if expected else "stop")


@pytest.mark.parametrize(
    ("more", "content", "end"),
    [
        ({"max_tokens": 3}, "SIMULATED by the", "length"),
        ({"max_completion_tokens": 1, "max_tokens": 9}, "SIMULATED", "length"),
        ({"max_tokens": None}, "SIMULATED by the unitask sandbox. You asked: Hello there", "stop"),
        ({"stop": "."}, "SIMULATED by the unitask sandbox", "stop"),
        ({"stop": ["You", " by"]}, "SIMULATED", "stop"),
        ({"response_format": {"type": "json_object"}, "max_tokens": 2}, '{"answer": "SIMULATED', "length"),
    ],
)
def test_text_is_cut_where_the_request_says(http: Http, more: dict[str, Any], content: str, end: str) -> None:
    (choice,) = http("POST", CHAT, json={**HELLO, **more}).json()["choices"]

    assert (choice["message"]["content"], choice["finish_reason"]) == (content, end)


def formatted(schema: dict[str, Any]) -> dict[str, Any]:
    return {**HELLO, "response_format": {"type": "json_schema", "json_schema": {"name": "it", "schema": schema}}}


NODE = {
    "$ref": "#/$defs/a~1b",
    "$defs": {
        "a/b": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "minLength": 30, "maxLength": 40},
                "next": {"anyOf": [{"$ref": "#/$defs/a~1b"}, {"type": "null"}]},
                "children": {"type": "array", "items": {"$ref": "#/$defs/a~1b"}},
                "pair": {"prefixItems": [{"type": "integer"}, True], "items": False, "minItems": 2, "type": "array"},
            },
            "required": ["name", "next", "children", "pair"],
            "additionalProperties": False,
        }
    },
}


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"enum": ["x", "y"]}, "b": {"const": None}}, "required": ["a", "b"]},
        {"type": "array", "minItems": 3, "items": {"type": ["null", "boolean"]}},
        {"type": "integer", "exclusiveMinimum": 7, "multipleOf": 5},
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        {"type": "string", "format": "date-time"},
        {"allOf": [{"required": ["a"]}, {"properties": {"a": {"type": "null"}}}], "type": "object"},
        {"type": "object", "minProperties": 1, "properties": {"a": {"oneOf": [{"maximum": -2, "type": "integer"}]}}},
        {"type": "object", "properties": {"parent": {"$ref": "#"}}},
        NODE,
    ],
)
def test_answer_fits_the_schema_of_the_request(http: Http, schema: dict[str, Any]) -> None:
    one, again = (http("POST", CHAT, json=formatted(schema)).json()["choices"][0] for _ in range(2))

    Draft202012Validator(schema).validate(json.loads(one["message"]["content"]))
    assert one == again


def doubled(keyword: str) -> dict[str, Any]:
    """Return a schema whose number of rules doubles sixty times."""
    rules = {f"a{n}": {keyword: [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(60)}
    return {"$defs": {**rules, "a60": {"pattern": "^a+$"}}, "$ref": "#/$defs/a0"}


def test_chat_model_that_makes_pictures_answers_in_markdown(http: Http) -> None:
    parts = [{"type": "text", "text": "a cat"}, {"type": "image_url", "image_url": {"url": "https://me.test/a.png"}}]
    body = {"model": "gpt-4o-image", "messages": [{"role": "user", "content": parts}]}
    text = http("POST", CHAT, json=body).json()["choices"][0]["message"]["content"]
    mark, _, url = text.removesuffix(")").partition("](")

    assert mark == "![SIMULATED by the unitask sandbox"
    assert b"SIMULATED" in http("GET", url, headers={}).content


def test_odd_questions_and_numbers_are_answered(http: Http) -> None:
    for content in (None, 5, [], ["x", {"type": "image_url"}, {"text": 5}]):
        answer = http("POST", CHAT, json={"model": "m", "messages": [{"content": content}]})
        assert answer.json()["choices"][0]["message"]["content"].endswith("You asked: ")
    assert [len(http("POST", CHAT, json={**HELLO, "n": n}).json()["choices"]) for n in (-5, 3, 10**30)] == [1, 3, 10]


def test_image_has_the_requested_size(http: Http) -> None:
    for more, size, magic in (
        ({"size": "320x200", "output_format": "jpeg"}, (320, 200), b"\xff\xd8"),
        ({"size": "1x99999", "output_format": "webp"}, (16, 4096), b"\x89PNG"),
    ):
        (image,) = http("POST", IMAGE, json={"model": "m", "prompt": "an otter", **more}).json()["data"]
        data = base64.b64decode(image["b64_json"])
        assert (size_of(image), data[: len(magic)]) == (size, magic)
        assert b"SIMULATED" in data


def test_edit_takes_a_form(http: Http) -> None:
    data = {"model": "gpt-image-1", "prompt": "a höt", "n": "2", "size": "64x32"}
    for field in ("image", "image[]"):
        answer = http("POST", EDIT, data=data, files={field: ("a.png", b"\r\n--\x00\xff", "image/png")}).json()
        assert [size_of(image) for image in answer["data"]] == [(64, 32)] * 2
    masked = {"image": ("a.png", b"\xff", "image/png"), "mask": ("m.png", b"\xfe" * 2**20, "image/png")}
    assert len(http("POST", EDIT, data=data, files=masked).json()["data"]) == 2
    urls = http("POST", IMAGE, json={**data, "n": 2.0, "response_format": "url"}).json()["data"]
    assert [http("GET", image["url"], headers={}).status_code for image in urls] == [200, 200]


FIELDS = {"model": "m", "prompt": "p"}


@pytest.mark.parametrize(
    ("path", "sent", "words"),
    [
        (CHAT, {"json": {"model": "m"}}, '"messages" is a required property'),
        (CHAT, {"json": {**HELLO, "tool_choice": "required"}}, "tools has no function"),
        (CHAT, {"json": {**HELLO, "tools": TOOLS, "tool_choice": {"function": {"name": "x"}}}}, "has no function x"),
        (CHAT, {"json": formatted({"type": "nope"})}, "is not a JSON Schema"),
        (CHAT, {"json": formatted({"$ref": "http://127.0.0.1:9/schema"})}, "Retrieval is disabled"),
        (
            CHAT,
            {"json": formatted({"pattern": "^a+$"})},
            '"SIMULATED" does not match "^a+$"',
        ),
        (CHAT, {"json": formatted({"$ref": "#"})}, "RecursionError"),
        (CHAT, {"json": formatted({"type": "array", "minItems": 10**30})}, "does not fit this schema"),
        (CHAT, {"json": formatted({"type": "array", "minItems": 1e300})}, "does not fit this schema"),
        (CHAT, {"json": formatted({"type": "array", "minItems": 2001})}, "more than 2000 values"),
        (CHAT, {"json": formatted(doubled("prefixItems"))}, "more than 50000 rules"),
        (CHAT, {"json": formatted(doubled("allOf"))}, "more than 50000 rules"),
        (CHAT, {"json": formatted(doubled("anyOf"))}, "more than 50000 rules"),
        (EDIT, {"json": FIELDS}, "the body is not a form"),
        (EDIT, {"data": {**FIELDS, "n": "two"}, "files": {"mask": b"x"}}, '"image" is a required property'),
        (EDIT, {"content": b"--b\r\n", "headers": {"content-type": "multipart/form-data"}}, "boundary"),
    ],
)
def test_bad_request_is_refused_in_the_form_of_openai(http: Http, path: str, sent: dict[str, Any], words: str) -> None:
    answer = http("POST", path, **{**sent, "headers": {**BEARER, **sent.get("headers", {})}})

    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]


def test_key_comes_as_a_bearer_token(http: Http) -> None:
    for path, headers in ((CHAT, {"x-api-key": "sandbox"}), (CHAT, {"authorization": "sandbox"}), (EDIT, {})):
        answer = http("POST", path, headers=headers, json=HELLO)
        assert (answer.status_code, answer.json()["error"]["message"]) == (401, "failed to verify api key")
    http("POST", CHAT, json=HELLO)
    http("GET", "/account/info", headers={"x-api-key": "sandbox"})
    chat, info = [*http.sandbox.arrivals][-2:]

    assert (chat.operation, chat.key == info.key is not None) == ("create_chat_completion", True)


def test_every_model_of_the_list_answers_a_chat(http: Http) -> None:
    named = [model["id"] for model in http("GET", "/v1/models").json()["data"]]

    assert {"gpt-4o-mini", "gpt-image-1", "tts-1"} <= {*named}
    assert {http("POST", CHAT, json={**HELLO, "model": name}).json()["model"] for name in named} == {*named}


SAY = {"model": "tts-1", "voice": "alloy", "input": "Hello there, this is spoken."}


@pytest.mark.parametrize(
    ("text", "has_extra", "mark"),
    [
        (SAY["input"], True, b"synthetic: speech made by the unitask sandbox"),
        (
            SAY["input"],
            False,
            b"SIMULATED by the unitask sandbox: the engine unitask_sandbox.engines.real.spoken",
        ),
        ("日本", True, b"SIMULATED by the unitask sandbox: no speech can be made of the text"),
        ("a " * 3000, True, b"SIMULATED by the unitask sandbox: the sandbox's voice reads at most 4096 characters"),
    ],
    ids=["speech", "without the extra", "not English", "long"],
)
def test_speech_is_an_mp3_that_says_what_made_it(
    http: Http, monkeypatch: pytest.MonkeyPatch, text: str, has_extra: bool, mark: bytes
) -> None:
    if not has_extra:
        speech._voice.cache_clear()
        monkeypatch.setitem(sys.modules, "hibari", None)
    answer = http.unchecked("POST", "/v1/audio/speech", json={**SAY, "input": text})
    with av.open(io.BytesIO(answer.content), "r", format="mp3") as sound:
        seconds = (sound.duration or 0) / av.time_base

    assert answer.headers["content-type"] == "audio/mpeg"
    assert mark in answer.content
    assert 1 < seconds < 5


ASSETS = "/api/v1/asset"


def test_asset_can_be_used_by_its_account_once_it_is_active(
    http_with: HttpWith, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    http = http_with(keys={"sandbox": 10.0, "other": 10.0}, speed="real")
    picture = {"file_name": "a.png", "file_data": base64_of(simulated_picture("", 90, 60))}
    url = http("POST", "/api/ephemeral_resource", json=picture).json()["data"]["url"]
    asset, refused = (http("POST", f"{ASSETS}/upload", json={"url": text}).json()["asset_id"] for text in (url, "x"))

    def made_of(asset_id: str, key: str = "sandbox") -> dict[str, Any]:
        http.headers = {"x-api-key": key}
        given = {"prompt": "a lamp", "image_urls": [f"asset://{asset_id}"]}
        task_id = http.create({"model": "seedance", "task_type": "seedance-2-mini", "input": given})
        clock.now += 5_000
        http.sandbox.advance()
        clock.now += 5_000
        http.sandbox.advance()
        return http.task(task_id)

    def statuses() -> list[str]:
        return [item["status"] for item in http("GET", f"{ASSETS}/list").json()["items"]]

    assert (asset[:6], statuses()) == ("asset-", ["Processing", "Processing"])
    clock.now += 100
    assert statuses() == ["Active", "Failed"]
    with av.open(io.BytesIO(http.file(made_of(asset), "video")), "r", format="mp4") as film:
        assert (film.streams.video[0].width, film.streams.video[0].height) == (90, 60)
    monkeypatch.setattr(provider, "REVIEW_SECONDS", 1e6)
    later = http("POST", f"{ASSETS}/upload", json={"url": url}).json()["asset_id"]
    for asset_id, key in ((later, "sandbox"), (asset, "other"), (refused, "sandbox"), ("asset-1", "sandbox")):
        task = made_of(asset_id, key)
        assert task["error"]["raw_message"].startswith(f"failed to get valid asset: asset://{asset_id}")
