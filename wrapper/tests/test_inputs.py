"""Request bodies: what is sent for a task, and every problem at once before anything is paid for."""

from __future__ import annotations

import base64
import contextlib
import copy
import enum
import io
import json
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from unitask import AdvisoryWarning, InvalidInput, Output, tasks
from unitask.inputs import request_body
from unitask.tasks import FaceSwap, FaceSwapOutput, Raw
from unitask.webhooks import Receiver

from .pictures import encoded

URL = "https://me.test/a.png"
PNG = encoded()
PNG64 = base64.b64encode(PNG).decode()
SECRET = "a webhook secret, in clear"


def swap(target: Any = URL, **changes: Any) -> FaceSwap:
    """A face swap with one good picture."""
    return FaceSwap(target_image=target, **{"swap_image": URL, **changes})


def flux(**fields: Any) -> Any:
    return tasks.FluxDevTxt2Img(**{"prompt": "a", **fields})


def problems(task: Any, validate: bool = True, **options: Any) -> tuple[str, ...]:
    """What is wrong with a task."""
    with pytest.raises(InvalidInput) as caught:
        request_body(task, options, validate=validate)  # type: ignore[arg-type]
    assert all(problem in str(caught.value) for problem in caught.value.problems)
    return caught.value.problems


# ---- what is sent


def test_extra_fields_are_sent_and_may_replace_known_ones() -> None:
    extra = {"strength": 0.5, "swap_image": "https://me.test/b.png", "nested": [{"a": None}]}

    assert request_body(swap(extra=extra))["input"] == {"target_image": URL, **extra}


def test_files_are_found_in_lists_and_objects() -> None:
    elements = ({"image": PNG, "n": 1, "new": [1]}, {"image": URL}, "not an object")
    task = tasks.KlingVideo(prompt="a", elements=elements, motion_brush={"mask_url": PNG, "x": 1})  # type: ignore[arg-type]
    gif = tasks.KlingVideo(prompt="a", motion_brush={"mask_url": encoded(form="GIF")})

    sent = request_body(task, validate=False)["input"]
    assert sent["elements"] == [{"image": PNG64, "n": 1, "new": [1]}, {"image": URL}, "not an object"]
    assert sent["motion_brush"] == {"mask_url": PNG64, "x": 1}
    assert problems(gif)[0].startswith("motion_brush.mask_url: it is a gif picture")
    assert request_body(tasks.KlingMotionControl(image_url=URL, video_url="", preset_motion="Running"))  # may be empty


def test_raw_task_is_sent_as_it_is() -> None:
    given = {"target_image": "not a file", "n": [1, None]}
    body = request_body(Raw("Qubico/image-toolkit", "face-swap", given))

    assert body == {"model": "Qubico/image-toolkit", "task_type": "face-swap", "input": given}
    assert request_body(Raw("new", "thing"))["input"] == {}
    assert Raw("new", "thing").output_type() is Output


CONFIGS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"webhook_url": ""}, {"webhook_config": {"endpoint": ""}}),
    ({"webhook_url": "http://[::1]:80/h?a=b#c"}, {"webhook_config": {"endpoint": "http://[::1]:80/h?a=b#c"}}),
    ({"webhook_url": "HTTPS://u:w@me.test/h"}, {"webhook_config": {"endpoint": "HTTPS://u:w@me.test/h"}}),
    ({"webhook_url": URL, "webhook_secret": SECRET}, {"webhook_config": {"endpoint": URL, "secret": SECRET}}),
    ({"webhook_url": None, "service_mode": "public"}, {"service_mode": "public"}),
]


@pytest.mark.parametrize(("options", "config"), CONFIGS, ids=str)
def test_options_go_into_the_config(options: Any, config: dict[str, Any]) -> None:
    body = request_body(swap(PNG, swap_image=io.BytesIO(PNG)), options)

    assert (body["model"], body["task_type"]) == ("Qubico/image-toolkit", "face-swap")
    assert body["input"] == {"target_image": PNG64, "swap_image": PNG64}
    assert body["config"] == config
    assert SECRET not in repr(body) + repr(options)
    assert "config" not in request_body(swap(), {})


def test_value_that_one_source_rules_out_is_sent_with_a_warning() -> None:
    with pytest.warns(AdvisoryWarning, match=r"config.service_mode: 'ppu' is not one of \['public', 'private', ''\]"):
        assert request_body(swap(), {"service_mode": "ppu"})["config"] == {"service_mode": "ppu"}
    with pytest.warns(AdvisoryWarning, match=r"width: 100 is less than the minimum of \d+"):
        assert request_body(flux(width=100, height=512))["input"]["width"] == 100


def test_what_was_given_is_not_changed() -> None:
    file, array, content, extra = io.BytesIO(PNG), np.zeros((2, 3), np.uint8), bytearray(PNG), {"deep": {"list": [1]}}
    before = copy.deepcopy((array.tolist(), content, extra))
    task = swap(file, swap_image=array, extra={**extra, "more": 1})
    request_body(task)
    request_body(swap(content, extra=extra))

    assert (array.tolist(), content, extra) == before
    assert (file.tell(), task.target_image, task.swap_image) == (0, file, array)


class Seed(enum.IntEnum):
    ONE = 1


@pytest.mark.parametrize(
    "fields",
    [
        {"width": 512.0},
        {"extra": {"seed": Seed.ONE}},
        {"extra": {"seed": 2**63 - 1}},
        {"extra": {"seed": -(2**63)}},
        {"extra": {"new": (1, {2: None})}},
        {"prompt": "\0 \U0001f600"},
        {"width": 1024, "height": 1024},
        {"width": 10**9, "height": None},
    ],
    ids=ascii,
)
@pytest.mark.filterwarnings("ignore::unitask.AdvisoryWarning")
def test_value_that_json_can_write_is_taken(fields: dict[str, Any]) -> None:
    assert request_body(flux(**fields))


# ---- what is refused


@pytest.mark.parametrize(
    ("task", "problem"),
    [
        (flux(width=512.5), "input.width: 512.5 is not of type 'integer'"),
        (flux(extra={"seed": 2**63}), "input.seed: 9223372036854775808 is not a 64-bit integer"),
        (flux(extra={"seed": 10**400}), f"input.seed: {'1' + '0' * 59}... (401 characters) is not a 64-bit integer"),
        (flux(prompt={3: "a"}), "input.prompt: {3: 'a'} is not of type 'string'"),
        (flux(width=1024, height=1025), "input: width x height is 1049600, at most 1048576 is allowed"),
        (tasks.KlingVideo(prompt="a", mode="fast"), "input.mode: 'fast' is not one of ['std', 'pro']"),  # type: ignore[arg-type]
        (swap(None), "input: 'target_image' is a required property"),
        (swap(b""), "target_image: it is empty (0 bytes)"),
        (swap("missing.png"), "target_image: 'missing.png' cannot be read: No such file or directory"),
        (tasks.Kling3Video(multi_shots=[{"prompt": 1}]), "input.multi_shots.0.prompt: 1 is not of type 'string'"),
    ],
    ids=lambda value: ascii(value)[:50],
)
@pytest.mark.filterwarnings("ignore::unitask.AdvisoryWarning")
def test_message_names_path_value_and_limit(task: Any, problem: str) -> None:
    assert problem in problems(task)


def test_every_problem_is_reported_at_once() -> None:
    task = FaceSwap(target_image="missing.png", swap_image=Image.new("L", (2048, 1)))
    found = problems(task, webhook_url=7, webhook_secret=[SECRET], timeout=60)

    assert [problem.partition(": ")[0] for problem in found] == [
        "target_image",
        "swap_image",
        "there is no option 'timeout'; there are service_mode, webhook_secret, webhook_url",
        "config.webhook_config.endpoint",
        "config.webhook_config.secret",
    ]
    assert SECRET not in "".join(found)


@pytest.mark.parametrize("validate", [True, False])
@pytest.mark.parametrize("url", ["https://[bad/hook", "https://me.test/a\nb", "me.test/hook"])
def test_webhook_that_cannot_be_called_is_refused(validate: bool, url: str) -> None:
    (problem,) = problems(swap(), validate, webhook_url=url)

    assert problem.startswith("webhook_url: ")


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
    assert "secret: the webhook secret " in problems(task)[0]


LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize("value", [object(), math.nan, "\ud800", {(1, 2): 3}, LOOP], ids=range(5))
@pytest.mark.parametrize("validate", [True, False])
def test_value_that_json_has_no_form_for_is_refused(value: Any, validate: bool) -> None:
    (problem,) = problems(swap(extra={"field": value}), validate=validate)

    assert problem.startswith("input: it cannot be written as JSON: ")


def test_value_too_deep_to_be_checked_is_refused() -> None:
    deep: Any = "a"
    for _ in range(500):
        deep = [deep]

    (problem,) = problems(flux(prompt=deep))
    assert problem.startswith("input: it cannot be checked: ")


@pytest.mark.parametrize(
    ("task", "field"),
    [(Raw("", "t"), "model"), (Raw("m", ""), "task_type"), (Raw(7, "t"), "model")],  # type: ignore[arg-type]
)
def test_raw_task_must_name_its_operation(task: Raw, field: str) -> None:
    assert problems(task)[0].startswith(f"{field}: ")


def test_unchecked_content_is_sent_as_it_is_if_it_can_be_read() -> None:
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
    """Make an object whose every attribute raises."""
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
