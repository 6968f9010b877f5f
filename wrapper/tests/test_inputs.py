"""Request bodies: what is sent for a task, and every problem at once before anything is paid for."""

import base64
import contextlib
import enum
import io
import json
import math
import pickle
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

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
        request_body(task, options, validate=validate)  # type: ignore[arg-type]  # options may be wrong here
    assert all(problem in str(caught.value) for problem in caught.value.problems)
    return caught.value.problems


def test_files_are_found_in_lists_and_objects() -> None:
    elements = ({"image": PNG, "n": 1, "new": [1]}, {"image": URL}, "not an object")
    task = tasks.KlingVideo(prompt="a", elements=elements, motion_brush={"mask_url": PNG, "x": 1})  # type: ignore[arg-type]  # a plain dict is a TypedDict
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
    with pytest.raises(InvalidInput, match=r"input is \[1\]: give names of fields with their values"):
        Raw("m", "t", [1])  # type: ignore[arg-type]  # a wrong type
    with pytest.raises(InvalidInput, match=r"extra is \[1\]"):
        tasks.HailuoVideo(model="t2v-01", extra=[1])  # type: ignore[arg-type]  # a wrong type


CONFIGS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"webhook_url": ""}, {"webhook_config": {"endpoint": ""}}),
    ({"webhook_url": "http://[::1]:80/h?a=b#c"}, {"webhook_config": {"endpoint": "http://[::1]:80/h?a=b#c"}}),
    ({"webhook_url": "HTTPS://u:w@me.test/h"}, {"webhook_config": {"endpoint": "HTTPS://u:w@me.test/h"}}),
    ({"webhook_url": URL, "webhook_secret": SECRET}, {"webhook_config": {"endpoint": URL, "secret": SECRET}}),
    ({"webhook_url": None, "service_mode": "public"}, {"service_mode": "public"}),
]


def test_options_go_into_the_config() -> None:
    for options, config in CONFIGS:
        body = request_body(swap(PNG, swap_image=io.BytesIO(PNG)), options)  # type: ignore[arg-type]  # plain dicts
        assert (body["model"], body["task_type"]) == ("Qubico/image-toolkit", "face-swap")
        assert body["input"] == {"target_image": PNG64, "swap_image": PNG64}
        assert body["config"] == config
        assert SECRET not in repr(body) + repr(options)

    assert "config" not in request_body(swap(), {})
    with pytest.warns(AdvisoryWarning, match="config.service_mode: 'ppu' is not one of"):  # one source rules it out
        assert request_body(swap(), {"service_mode": "ppu"})["config"] == {"service_mode": "ppu"}


class Seed(enum.IntEnum):
    ONE = 1


@pytest.mark.filterwarnings("ignore::unitask.AdvisoryWarning")
def test_value_that_json_can_write_is_taken() -> None:
    for extra in ({"seed": Seed.ONE}, {"seed": -(2**63)}, {"seed": 2**63 - 1}, {"new": (1, {2: None})}):
        assert request_body(flux(extra=extra))
    for fields in ({"width": 512.0}, {"prompt": "\0 \U0001f600"}, {"width": 1024, "height": 1024}):
        assert request_body(flux(**fields))


LOOP: list[Any] = []
LOOP.append(LOOP)
DEEP: Any = "a"
for _ in range(500):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("task", "problem"),
    [
        (flux(extra={"seed": 2**63}), "input.seed: 9223372036854775808 is not a 64-bit integer"),
        (flux(extra={"seed": -(2**63) - 1}), "input.seed: -9223372036854775809 is not a 64-bit integer"),
        (flux(extra={"seed": 10**400}), f"input.seed: {'1' + '0' * 59}... (401 characters) is not a 64-bit integer"),
        (flux(prompt={3: "a"}), "input.prompt: {3: 'a'} is not of type 'string'"),
        (flux(width=1024, height=1025), "input: width x height is 1049600, at most 1048576 is allowed"),
        (tasks.Kling3Video(prompt="a", mode="fast"), "input.mode: 'fast' is not one of ['std', 'pro']"),  # type: ignore[arg-type]  # a wrong word
        (swap("missing.png"), "target_image: 'missing.png' cannot be read: No such file or directory"),
        (tasks.Kling3Video(multi_shots=[{"prompt": 1}]), "input.multi_shots.0.prompt: 1 is not of type 'string'"),
        (Raw("", "t"), "model: "),
        (Raw("m", ""), "task_type: "),
        (Raw(7, "t"), "model: 7 "),  # type: ignore[arg-type]  # a wrong type
        (flux(prompt=DEEP), "input: it cannot be checked: "),
        (tasks.LegacyMidjourneyImagine(prompt="a", webhook_secret="a\nb"), "webhook_secret: the webhook secret "),
        (tasks.LegacyKlingVideo(prompt="a", webhook_config={"secret": "a\nb"}), "webhook_"),
    ],
    ids=range(14),
)
@pytest.mark.filterwarnings("ignore::unitask.AdvisoryWarning")
def test_message_names_path_value_and_limit(task: Any, problem: str) -> None:
    assert [found for found in problems(task) if found.startswith(problem)]


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


def test_webhook_that_cannot_be_called_and_secret_that_cannot_be_received_are_refused() -> None:
    for url in ("https://[bad/hook", "https://me.test/a\nb", "me.test/hook"):
        (problem,) = problems(swap(), False, webhook_url=url)
        assert problem.startswith("webhook_url: ")
    for secret in ("", "a\nb", " s3cr3t", "\ud800"):
        with pytest.raises(InvalidInput):
            Receiver(secret)
        found = problems(swap(), validate=False, webhook_secret=secret)
        assert found[0].startswith("webhook_secret: the webhook secret ")
        assert found[0].endswith("is empty: give None for no secret") is (not secret)
        assert not secret.strip() or secret not in "".join(found)
    for secret in ("a b", "schlüssel"):
        assert Receiver(secret)
        assert request_body(swap(), {"webhook_secret": secret})


def test_value_that_json_has_no_form_for_is_refused() -> None:
    for value in (object(), math.nan, "\ud800", {(1, 2): 3}, LOOP):
        (problem,) = problems(swap(extra={"field": value}), validate=False)
        assert problem.startswith("input: it cannot be written as JSON: ")


def test_unchecked_content_is_sent_as_it_is_if_it_can_be_read() -> None:
    nothing: Any = None
    for content in (encoded(2048, 1), b"%PDF"):
        body = request_body(swap(content), validate=False)
        assert base64.b64decode(body["input"]["target_image"]) == content
    assert request_body(swap(swap_image=nothing), validate=False)["input"] == {"target_image": URL}
    for unreadable in ("missing.png", 7):
        assert problems(swap(unreadable), validate=False)[0].startswith("target_image: ")


def test_task_shows_no_picture() -> None:
    array, content = np.full((50, 60, 3), 219, np.uint8), encoded(64, 64)
    text = base64.b64encode(content).decode()
    shown = repr([swap(content), swap(bytearray(content)), swap(text), swap(array), swap(extra={"more": [content]})])

    assert not [part for part in (text[80:100], "\\x", "219") if part in shown]
    assert shown.count(f"<{len(content)} bytes>") == 3
    assert repr(swap("a.png", extra={"n": 1})) == f"FaceSwap(target_image='a.png', swap_image={URL!r}, n=1)"


def test_task_is_a_plain_value() -> None:
    task = swap(extra={"a": 1})

    assert pickle.loads(pickle.dumps(task)) == task == swap(extra={"a": 1})
    assert (task.operation(), task.output_type()) == (("Qubico/image-toolkit", "face-swap"), FaceSwapOutput)
    with pytest.raises(AttributeError):
        task.target_image = "b"  # type: ignore[misc]  # it must raise


ERRORS = st.sampled_from([RuntimeError("x"), OSError("x"), ZeroDivisionError(), RecursionError(), MemoryError()])
RETURNED = st.one_of(st.none(), st.integers(), st.text(max_size=5), st.binary(max_size=5), st.just([]), st.just({}))
METHODS = ["read", "tell", "seek", "seekable", "tobytes", "save", "__fspath__", "__array_interface__", "file", "mode"]


def method(made: object) -> Mock:
    return Mock(side_effect=made) if isinstance(made, Exception) else Mock(return_value=made)


def odd_object(members: dict[str, Any], has_properties: bool) -> Any:
    """An object with some of the attributes of files, pictures and arrays, which return or raise anything."""
    methods = {name: method(made) for name, made in members.items()}
    return type("Odd", (), {name: property(made) if has_properties else made for name, made in methods.items()})()


objects = st.builds(odd_object, st.dictionaries(st.sampled_from(METHODS), RETURNED | ERRORS), st.booleans())
ODD = ["\ud800", "\0", "file:///\0", "data:,", b"\xff\xd8\xff", object, len, np.zeros(3), np.int64(3), 10**5000]
VALUES = st.one_of(objects, ERRORS, RETURNED, st.floats(), st.sampled_from(ODD), st.text(max_size=20))
FIELDS: list[Callable[[Any], Any]] = [
    swap,
    lambda value: tasks.Seedance2(prompt="a", duration=value, resolution=value, video_urls=[value]),
    lambda value: tasks.ImageSegment(image=value, prompt=value),
    lambda value: tasks.Kling3Video(prompt="a", enable_audio=value, multi_shots=[{"prompt": value, "duration": value}]),
    lambda value: swap(extra={"field": value}),
    lambda value: Raw("a", "b", {"field": [value]}),
]


@given(value=VALUES, make=st.sampled_from(FIELDS), validate=st.booleans(), uploads=st.booleans())
@pytest.mark.filterwarnings("ignore::unitask.AdvisoryWarning")
def test_any_object_makes_a_body_or_is_refused(value: Any, make: Any, validate: bool, uploads: bool) -> None:
    if isinstance(value, Exception):  # an object that hypothesis itself cannot hold: every use of it raises
        value = type("Hostile", (), {"__getattribute__": method(value), "__eq__": method(value), "__hash__": None})()
    task = make(value)
    task.estimate_usd()
    with contextlib.suppress(InvalidInput):
        assert json.dumps(request_body(task, validate=validate, uploads=uploads), allow_nan=False)
