"""From what to make to what is sent: every problem at once, before anything is paid for."""

from __future__ import annotations

import base64
import contextlib
import copy
import io
import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from unitask import AdvisoryWarning, InvalidInput, Output, inputs, tasks
from unitask.inputs import request_body
from unitask.tasks import FaceSwap, FaceSwapOutput, Raw
from unitask.webhooks import Receiver
from unitask_api import contract

from .pictures import encoded, picture

URL = "https://me.test/a.png"
PNG = encoded()
SECRET = "a webhook secret, in clear"


def swap(target: Any = URL, **changes: Any) -> FaceSwap:
    """A face swap with one good picture."""
    return FaceSwap(target_image=target, **{"swap_image": URL, **changes})


def problems(task: Any, validate: bool = True, **options: Any) -> tuple[str, ...]:
    """What is wrong with a task."""
    with pytest.raises(InvalidInput) as caught:
        request_body(task, options, validate=validate)  # type: ignore[arg-type]
    assert str(caught.value) == "nothing was sent: " + "; ".join(caught.value.problems)
    return caught.value.problems


# ---- what is sent


def test_extra_fields_are_sent_and_may_replace_known_ones() -> None:
    body = request_body(swap(extra={"strength": 0.5, "swap_image": "https://me.test/b.png", "nested": [{"a": None}]}))

    assert body["input"] == {
        "target_image": URL,
        "swap_image": "https://me.test/b.png",
        "strength": 0.5,
        "nested": [{"a": None}],
    }


def test_files_are_found_wherever_the_rules_say() -> None:
    image: dict[str, Any] = {"type": "string", "x-media": {"kind": "image", "formats": ["png"]}}
    rule = {"type": "array", "items": {"type": "object", "properties": {"image": image, "n": {"type": "integer"}}}}
    found: list[str] = []
    text = base64.b64encode(PNG).decode()
    value = ({"image": PNG, "n": 1, "new": [PNG]}, {"image": encoded(form="GIF")}, "no object")
    sent = inputs._wire("shots", value, rule, inputs._Checks(True, False, found))

    referred = inputs._wire(
        "swap", {"swap_image": PNG}, {"$ref": "#/components/schemas/FaceSwapInput"}, inputs._Checks(True, False, [])
    )

    may_be_empty = {"x-media": {"kind": "image", "may_be_empty": True}}

    assert inputs._wire("mask", "", may_be_empty, inputs._Checks(True, False, found)) == ""
    assert referred == {"swap_image": text}
    assert sent[0] == {"image": text, "n": 1, "new": [PNG]}
    assert sent[2] == "no object"
    assert found == ["shots[1].image: it is a gif picture by its content; png are taken: convert it"]


def test_raw_task_is_sent_as_it_is() -> None:
    given = {"target_image": "not a file", "n": [1, None]}

    assert request_body(Raw("Qubico/image-toolkit", "face-swap", given)) == {
        "model": "Qubico/image-toolkit",
        "task_type": "face-swap",
        "input": given,
    }
    assert request_body(Raw("new", "thing"))["input"] == {}
    assert Raw("new", "thing").output_type() is Output


CONFIGS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"webhook_url": ""}, {"webhook_config": {"endpoint": ""}}),
    ({"webhook_url": "http://[::1]:80/h?a=b#c"}, {"webhook_config": {"endpoint": "http://[::1]:80/h?a=b#c"}}),
    ({"webhook_url": "HTTPS://u:w@me.test/h"}, {"webhook_config": {"endpoint": "HTTPS://u:w@me.test/h"}}),
    ({"webhook_url": URL, "webhook_secret": SECRET}, {"webhook_config": {"endpoint": URL, "secret": SECRET}}),
    ({"service_mode": ""}, {"service_mode": ""}),
    ({"webhook_url": None, "service_mode": "public"}, {"service_mode": "public"}),
]


@pytest.mark.parametrize(("options", "config"), CONFIGS, ids=str)
def test_options_go_into_the_config(options: Any, config: dict[str, Any]) -> None:
    body = request_body(swap(PNG, swap_image=io.BytesIO(PNG)), options)

    assert body == {
        "model": "Qubico/image-toolkit",
        "task_type": "face-swap",
        "input": dict.fromkeys(["target_image", "swap_image"], base64.b64encode(PNG).decode()),
        "config": config,
    }
    assert SECRET not in repr(body) + repr(options)
    assert "config" not in request_body(swap(), {})
    with pytest.warns(AdvisoryWarning, match=r"config.service_mode: 'ppu' is not one of \['public', 'private', ''\]"):
        assert request_body(swap(), {"service_mode": "ppu"})["config"] == {"service_mode": "ppu"}


def test_what_was_given_is_not_changed() -> None:
    file, array, content, extra = io.BytesIO(PNG), np.zeros((2, 3), np.uint8), bytearray(PNG), {"deep": {"list": [1]}}
    file.seek(3)
    file.seek(0)
    before = copy.deepcopy((array.tolist(), content, extra))
    task = swap(file, swap_image=array, extra={**extra, "more": 1})
    request_body(task)
    request_body(swap(content, extra=extra))

    assert (array.tolist(), content, extra) == before
    assert file.tell() == 0
    assert task.target_image is file
    assert task.swap_image is array


# ---- what is refused

UNUSABLE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "unreadable file": (lambda _: "missing.png", "'missing.png' cannot be read: No such file or directory"),
    "too large": (lambda _: picture(4096, 100), "it is 4096 x 100 pixels; both sides must be under 2048: shrink it"),
    "no bytes": (lambda _: b"", "it is empty (0 bytes)"),
    "broken base64": (lambda _: "A" * 257, "its base64 is broken"),
    "empty data URI": (lambda _: "data:image/png;base64,", "it is empty (0 bytes)"),
    "URL without an ending": (lambda _: "https://me.test/a", "must end in .jpg, .jpeg, .png, .webp"),
    "number": (lambda _: 7, "a int is not a picture"),
    "cut off": (lambda _: PNG[:-9], "it is a PNG that is cut off"),
    "GIF under another name": (
        lambda _: encoded(form="GIF"),
        "it is a gif picture by its content; jpeg, png, webp are",
    ),
    "5 MB of URL": (lambda _: "https://me.test/" + "x" * 5_000_000, "must end in"),
}


@pytest.mark.parametrize(("unusable", "reason"), UNUSABLE.values(), ids=UNUSABLE.keys())
def test_unusable_picture_is_refused_under_its_name(
    unusable: Callable[[Path], Any], reason: str, tmp_path: Path
) -> None:
    problem, *others = problems(swap(unusable(tmp_path)))

    assert problem.startswith("target_image: ")
    assert others in ([], ["input.target_image: <file of 0 bytes> is shorter than 1 character"])
    assert reason in problem
    assert len(problem) < 2000


def test_every_problem_is_told_at_once() -> None:
    task = FaceSwap(target_image="missing.png", swap_image=Image.new("L", (2048, 1)))
    found = problems(task, webhook_url=7, webhook_secret=[SECRET], timeout=60)
    nothing: Any = None

    assert [problem.partition(": ")[0] for problem in found] == [
        "target_image",
        "swap_image",
        "there is no option 'timeout'; there are service_mode, webhook_secret, webhook_url",
        "config.webhook_config.endpoint",
        "config.webhook_config.secret",
    ]
    assert SECRET not in "".join(found)
    absent = problems(FaceSwap(target_image=nothing, swap_image=nothing))
    assert absent == tuple(f"input: '{name}' is a required property" for name in ("target_image", "swap_image"))
    assert request_body(swap(Image.new("L", (1, 2047))))


@pytest.mark.parametrize("validate", [True, False])
@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://[bad/hook", "is malformed"),
        ("https://me.test/a\nb", r"has '\n' in it"),
        ("me.test/hook", "is not a URL of http:// or https://"),
    ],
)
def test_webhook_that_cannot_be_called_is_refused(validate: bool, url: str, reason: str) -> None:
    (problem,) = problems(swap(), validate, webhook_url=url)

    assert problem.startswith("webhook_url: ")
    assert reason in problem


@pytest.mark.parametrize("secret", ["", "a\nb", " s3cr3t", "\ud800", "a b", "schlüssel"], ids=ascii)
def test_secret_is_judged_as_its_receiver_judges_it(secret: str) -> None:
    try:
        Receiver(secret)
    except InvalidInput:
        found = problems(swap(), validate=False, webhook_secret=secret)
        assert found[0].startswith("webhook_secret: the webhook secret ")
        assert not secret.strip() or secret not in "".join(found)
    else:
        assert request_body(swap(), {"webhook_secret": secret})


@pytest.mark.parametrize(
    "task",
    [
        tasks.LegacyMidjourneyImagine(prompt="a", webhook_secret="a\nb"),
        tasks.LegacyKlingVideo(prompt="a", webhook_config={"secret": "a\nb"}),
    ],
)
def test_secret_of_a_legacy_task_is_judged_too(task: Any) -> None:
    assert "which no header can carry" in problems(task)[0]


LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    "value", [object(), math.nan, "\ud800", {(1, 2): 3}, LOOP], ids=["object", "nan", "surrogate", "tuple key", "loop"]
)
@pytest.mark.parametrize("validate", [True, False])
def test_value_that_json_has_no_form_for_is_refused(value: Any, validate: bool) -> None:
    (problem,) = problems(swap(extra={"field": value}), validate=validate)

    assert problem.startswith("input: it cannot be written as JSON: ")


@pytest.mark.parametrize(
    ("task", "field"),
    [(Raw("", "t"), "model"), (Raw("m", ""), "task_type"), (Raw(7, "t"), "model")],  # type: ignore[arg-type]
)
def test_raw_task_must_name_its_operation(task: Raw, field: str) -> None:
    assert problems(task)[0].startswith(f"{field}: ")


WITH_AREA = next(name for name, schema in contract.components().items() if "x-max-product" in schema)


@pytest.mark.parametrize(
    ("sides", "problem"),
    [
        ({"width": 1024, "height": 1024}, None),
        ({"width": 1024, "height": 1025}, "input: width x height is 1049600, at most 1048576 is allowed"),
        ({"width": 10**9}, None),
        ({"width": 10**9, "height": None}, None),
    ],
    ids=["at the limit", "above it", "one side", "no height"],
)
@pytest.mark.filterwarnings("ignore::unitask.inputs.AdvisoryWarning")
def test_area_is_limited_when_both_sides_are_given(sides: dict[str, Any], problem: str | None) -> None:
    value = {"prompt": "x", **sides}
    found = [each for each in inputs._check(WITH_AREA, value, value, "") if " x " in each]

    assert found == ([problem] if problem else [])


# ---- past us


def test_unchecked_content_goes_out_as_it_is_if_it_can_be_read() -> None:
    nothing: Any = None
    for content in (encoded(2048, 1), b"%PDF"):
        body = request_body(swap(content), validate=False)
        assert base64.b64decode(body["input"]["target_image"]) == content
    assert request_body(swap(swap_image=nothing), validate=False)["input"] == {"target_image": URL}
    for unreadable in ("missing.png", 7):
        assert problems(swap(unreadable), validate=False)[0].startswith("target_image: ")


# ---- the task as a value


def test_task_shows_no_picture() -> None:
    array, content = np.full((50, 60, 3), 219, np.uint8), encoded(64, 64)
    text = base64.b64encode(content).decode()
    shown = repr([swap(content), swap(bytearray(content)), swap(text), swap(array), swap(extra={"more": [content]})])

    assert text[80:100] not in shown
    assert "\\x" not in shown
    assert "219" not in shown
    assert shown.count(f"<{len(content)} bytes>") == 3
    assert repr(swap("a.png", extra={"n": 1})) == f"FaceSwap(target_image='a.png', swap_image={URL!r}, n=1)"
    assert repr(Raw("m", "t", {"prompt": "x"})) == "Raw(prompt='x')"
    assert "<array of shape (50, 60, 3)>" in shown
    assert f"... ({len(text) + 2} characters)" in shown


def test_task_is_a_plain_value() -> None:
    task = swap(extra={"a": 1})

    assert pickle.loads(pickle.dumps(task)) == task == swap(extra={"a": 1})
    assert task.operation() == ("Qubico/image-toolkit", "face-swap")
    assert task.output_type() is FaceSwapOutput
    assert dir(tasks) == sorted(tasks.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'FaceSwop'"):
        _ = tasks.FaceSwop  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        task.target_image = "b"  # type: ignore[misc]


# ---- whatever object is given


def raising(error: Exception) -> Callable[..., Any]:
    def method(*_: object) -> Any:
        raise error

    return method


def hostile(error: Exception) -> Any:
    """Make an object that raises for everything that is asked of it."""
    names = {"__getattribute__": raising(error), "__eq__": raising(error), "__hash__": None}
    return type("Hostile", (), names)()


ERRORS = st.sampled_from(
    [RuntimeError("x"), KeyError("x"), OSError("x"), ZeroDivisionError(), RecursionError(), MemoryError(), TypeError()]
)
RETURNED = st.one_of(st.none(), st.integers(), st.text(max_size=5), st.binary(max_size=5), st.just([]), st.just({}))
METHODS = ["read", "tell", "seek", "seekable", "tobytes", "save", "__fspath__", "__array_interface__", "file", "mode"]


@st.composite
def objects(draw: st.DrawFn) -> Any:
    """An object with some of the attributes that files, pictures and arrays are known by, which do anything."""
    made: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(METHODS), unique=True)):
        value, error = draw(RETURNED), draw(st.none() | ERRORS)
        method = raising(error) if error else lambda *_, value=value: value
        made[name] = property(method) if draw(st.booleans()) else method
    return type("Odd", (), made)()


VALUES: st.SearchStrategy[Any] = st.one_of(
    objects(),
    ERRORS,  # stands for a hostile object with it, which hypothesis itself cannot hold
    RETURNED,
    st.floats(),
    st.sampled_from(["\ud800", "\0", "file:///\0", "data:,", b"\xff\xd8\xff", object, len, np.zeros(3), np.int64(3)]),
    st.builds(lambda: iter("abc")),
    st.builds(lambda: 10**5000),
    st.text(max_size=20),
)
FIELDS: list[Callable[[Any], Any]] = [
    swap,
    lambda value: tasks.Seedance2(prompt="a", image_urls=[value]),
    lambda value: tasks.Seedance2(prompt="a", duration=value, resolution=value, video_urls=[value]),
    lambda value: tasks.ImageSegment(image=value, prompt=value),
    lambda value: tasks.Kling3Video(prompt="a", multi_shots=[value]),
    lambda value: tasks.Kling3Video(prompt="a", enable_audio=value, multi_shots=[{"prompt": value, "duration": value}]),
    lambda value: swap(extra={"field": value}),
    lambda value: Raw("a", "b", {"field": [value]}),
]


@given(value=VALUES, make=st.sampled_from(FIELDS), validate=st.booleans(), uploads=st.booleans())
@pytest.mark.filterwarnings("ignore::unitask.AdvisoryWarning")
def test_any_object_makes_a_body_or_is_refused(value: Any, make: Any, validate: bool, uploads: bool) -> None:
    task = make(hostile(value) if isinstance(value, Exception) else value)
    task.estimate_usd()
    with contextlib.suppress(InvalidInput):
        assert json.dumps(request_body(task, validate=validate, uploads=uploads), allow_nan=False)
