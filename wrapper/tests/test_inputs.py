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
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from unitask import AdvisoryWarning, InvalidInput, Output, inputs, tasks
from unitask._model import spec
from unitask.inputs import request_body
from unitask.tasks import FaceSwap, FaceSwapOutput, Raw
from unitask.webhooks import Receiver

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


def test_body_names_the_operation_and_holds_the_input() -> None:
    """Nothing is sent that was not given."""
    assert request_body(swap()) == {
        "model": "Qubico/image-toolkit",
        "task_type": "face-swap",
        "input": {"target_image": URL, "swap_image": URL},
    }


def test_pictures_are_sent_in_their_wire_form() -> None:
    """Each as media.py has it."""
    body = request_body(swap(PNG, swap_image=io.BytesIO(PNG)))

    assert body["input"] == dict.fromkeys(["target_image", "swap_image"], base64.b64encode(PNG).decode())


def test_extra_fields_are_sent_and_may_replace_known_ones() -> None:
    """The provider changes monthly: the user can always go past us."""
    body = request_body(swap(extra={"strength": 0.5, "swap_image": "https://me.test/b.png", "nested": [{"a": None}]}))

    assert body["input"] == {
        "target_image": URL,
        "swap_image": "https://me.test/b.png",
        "strength": 0.5,
        "nested": [{"a": None}],
    }


def test_files_are_found_wherever_the_rules_say() -> None:
    """In lists and in objects; each problem names its place."""
    image: dict[str, Any] = {"type": "string", "x-media": {"kind": "image", "formats": ["png"]}}
    rule = {"type": "array", "items": {"type": "object", "properties": {"image": image, "n": {"type": "integer"}}}}
    found: list[str] = []
    text = base64.b64encode(PNG).decode()
    value = ({"image": PNG, "n": 1, "new": [PNG]}, {"image": encoded(form="GIF")}, "no object")
    sent = inputs._wire("shots", value, rule, inputs._Checks(True, False, found))

    assert sent[0] == {"image": text, "n": 1, "new": [PNG]}
    assert sent[2] == "no object"
    assert found == ["shots[1].image: it is a gif picture by its content; png are taken: convert it"]


def test_files_are_found_behind_a_reference() -> None:
    """A component may be used in several places."""
    sent = inputs._wire(
        "swap", {"swap_image": PNG}, {"$ref": "#/components/schemas/FaceSwapInput"}, inputs._Checks(True, False, [])
    )

    assert sent == {"swap_image": base64.b64encode(PNG).decode()}


@pytest.mark.parametrize(("may_be_empty", "problem"), [(True, []), (False, ["mask: it is empty (0 bytes)"])])
def test_empty_text_is_a_file_only_where_the_rules_say_so(may_be_empty: bool, problem: list[str]) -> None:
    """Some fields are sent empty in the page's own samples."""
    found: list[str] = []
    rule = {"x-media": {"kind": "image", "may_be_empty": may_be_empty}}

    assert inputs._wire("mask", "", rule, inputs._Checks(True, False, found)) == ""
    assert found == problem


def test_raw_task_is_sent_as_it_is() -> None:
    """Also under a name that the catalogue has: nothing in it is looked at."""
    given = {"target_image": "not a file", "n": [1, None]}

    assert request_body(Raw("Qubico/image-toolkit", "face-swap", given)) == {
        "model": "Qubico/image-toolkit",
        "task_type": "face-swap",
        "input": given,
    }
    assert request_body(Raw("new", "thing"))["input"] == {}
    assert Raw("new", "thing").output_type() is Output


@pytest.mark.parametrize(
    ("options", "config"),
    [
        ({"webhook_url": "https://me.test"}, {"webhook_config": {"endpoint": "https://me.test"}}),
        (
            {"webhook_url": "https://me.test", "webhook_secret": SECRET},
            {"webhook_config": {"endpoint": "https://me.test", "secret": SECRET}},
        ),
        ({"service_mode": "private"}, {"service_mode": "private"}),
        ({"service_mode": ""}, {"service_mode": ""}),
        ({"webhook_url": None, "service_mode": "public"}, {"service_mode": "public"}),
    ],
    ids=["webhook", "webhook with a secret", "service mode", "empty service mode", "None is absent"],
)
def test_options_go_into_the_config(options: Any, config: dict[str, Any]) -> None:
    """And what is not given is not sent."""
    assert request_body(swap(), options)["config"] == config


def test_no_options_make_no_config() -> None:
    """An absent config is not an empty one."""
    assert "config" not in request_body(swap(), {})


def test_secret_of_the_webhook_is_sent_and_not_shown() -> None:
    """Crash reports show the variables of every frame, and a body is one of them."""
    options: Any = {"webhook_secret": SECRET}
    body = request_body(swap(), options)

    assert body["config"]["webhook_config"]["secret"] == SECRET
    assert SECRET not in repr(body)
    assert SECRET not in repr(options)


def test_odd_service_mode_is_sent_with_a_warning() -> None:
    """The page lists two words, its own samples have a third: advice, no refusal."""
    with pytest.warns(AdvisoryWarning, match=r"config.service_mode: 'ppu' is not one of \['public', 'private', ''\]"):
        body = request_body(swap(), {"service_mode": "ppu"})

    assert body["config"] == {"service_mode": "ppu"}


def test_what_was_given_is_not_changed() -> None:
    """Not the pictures, not their places, not the extra fields, not the task."""
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
    "folder": (lambda folder: folder, "cannot be read: Is a directory"),
    "too large": (lambda _: picture(4096, 100), "it is 4096 x 100 pixels; both sides must be under 2048: shrink it"),
    "at the limit": (lambda _: Image.new("L", (2048, 9)), "it is 2048 x 9 pixels"),
    "no bytes": (lambda _: b"", "it is empty (0 bytes)"),
    "no text": (lambda _: "", "it is empty (0 bytes)"),
    "broken base64": (lambda _: "A" * 257, "its base64 is broken"),
    "data URI without base64": (lambda _: "data:image/png,abc", "not of the form data:image/png;base64"),
    "empty data URI": (lambda _: "data:image/png;base64,", "it is empty (0 bytes)"),
    "URL without an ending": (lambda _: "https://me.test/a", "must end in .jpg, .jpeg, .png, .webp"),
    "number": (lambda _: 7, "a int is no picture"),
    "list": (lambda _: [PNG], "a list is no picture"),
    "text file": (lambda _: io.StringIO("x"), "gives text; open it in binary mode"),
    "cut off": (lambda _: PNG[:-9], "it is a PNG that is cut off"),
    "no picture": (lambda _: b"%PDF-1.7", "it is no picture: it starts with b'%PDF-1.7'"),
    "5 MB of nonsense": (lambda _: "!" * 5_000_000, "cannot be read: File name too long"),
    "5 MB of base64": (lambda _: base64.b64encode(bytes(5_000_000)).decode(), "it is no picture"),
    "5 MB of URL": (lambda _: "https://me.test/" + "x" * 5_000_000, "must end in"),
    "5 MB of file": (lambda _: bytes(5_000_000), "it is no picture"),
}


@pytest.mark.parametrize(("unusable", "reason"), UNUSABLE.values(), ids=UNUSABLE.keys())
def test_unusable_picture_is_refused_under_its_name(
    unusable: Callable[[Path], Any], reason: str, tmp_path: Path
) -> None:
    """One sentence, short whatever was given, for the field that it is about."""
    problem, *others = problems(swap(unusable(tmp_path)))

    assert problem.startswith("target_image: ")
    assert others in ([], ["input.target_image: <file of 0 bytes> should be non-empty"])
    assert reason in problem
    assert len(problem) < 2000


def test_gif_is_refused_whatever_its_name(tmp_path: Path) -> None:
    """The content decides."""
    path = tmp_path / "picture.png"
    path.write_bytes(encoded(form="GIF"))

    assert problems(swap(path)) == (
        "target_image: it is a gif picture by its content; jpeg, png, webp are taken: convert it",
    )


@pytest.mark.parametrize("side", [1, 2047])
def test_picture_under_the_limit_is_taken(side: int) -> None:
    """2047 is the longest side."""
    assert request_body(swap(Image.new("L", (side, 2047))))


def test_every_problem_is_told_at_once() -> None:
    """Nobody wants to hear them one after another."""
    task = FaceSwap(target_image="missing.png", swap_image=Image.new("L", (2048, 1)))
    found = problems(task, webhook_url=7, webhook_secret=8, timeout=60)

    assert [problem.partition(": ")[0] for problem in found] == [
        "target_image",
        "swap_image",
        "there is no option 'timeout'; there are service_mode, webhook_secret, webhook_url",
        "config.webhook_config.endpoint",
        "config.webhook_config.secret",
    ]


def test_missing_pictures_are_named() -> None:
    """None is as good as absent."""
    nothing: Any = None

    assert problems(FaceSwap(target_image=nothing, swap_image=nothing)) == (
        "input: 'target_image' is a required property",
        "input: 'swap_image' is a required property",
    )


def test_option_that_is_none_of_them_is_refused() -> None:
    """A misspelt keyword must not be swallowed, and the task be paid for without it; not even unchecked."""
    assert problems(swap(), validate=False, webhook="https://me.test") == (
        "there is no option 'webhook'; there are service_mode, webhook_secret, webhook_url",
    )


@pytest.mark.parametrize("validate", [True, False])
@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://[bad/hook", "is malformed"),
        ("https://me.test:x/hook", "is malformed"),
        ("https:///hook", "names no host"),
        ("https://me.test/a\nb", r"has '\n' in it"),
        ("https://me.test/a b", "has ' ' in it"),
        ("me.test/hook", "is not a URL of http:// or https://"),
        ("ftp://me.test/hook", "is not a URL of http:// or https://"),
    ],
)
def test_webhook_that_cannot_be_called_is_refused(validate: bool, url: str, reason: str) -> None:
    """Before the task is paid; the provider would accept it, and call nobody."""
    found = problems(swap(), validate, webhook_url=url)

    assert len(found) == 1
    assert found[0].startswith("webhook_url: ")
    assert reason in found[0]


@pytest.mark.parametrize("url", ["", "https://me.test", "http://[::1]:8080/hook?a=b#c", "HTTPS://user:word@me.test/h"])
def test_webhook_that_can_be_called_is_sent_as_given(url: str) -> None:
    """Empty means none (Image Faceswap, 2025-04-03)."""
    assert request_body(swap(), {"webhook_url": url})["config"]["webhook_config"] == {"endpoint": url}


@pytest.mark.parametrize(
    "secret", ["", "a\nb", " s3cr3t", "s3cr3t\t", "a\x7f", "\ud800", "a", "a b", "schlüssel"], ids=ascii
)
def test_secret_is_judged_as_its_receiver_judges_it(secret: str) -> None:
    """What no header can carry is refused before the task is paid, and is not shown."""
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
    """It stands in the input there."""
    assert "which no header can carry" in problems(task)[0]


@pytest.mark.parametrize("secret", [SECRET.encode(), [SECRET], {"a": SECRET}], ids=["bytes", "list", "dict"])
def test_secret_of_another_type_is_refused_and_not_shown(secret: Any) -> None:
    """A refusal goes into logs."""
    assert SECRET not in "".join(problems(swap(), webhook_secret=secret))


@pytest.mark.parametrize(
    "value",
    [object(), b"bytes", {1, 2}, math.nan, math.inf, "\ud800", {1: 2, "a": 3}, {(1, 2): 3}],
    ids=["object", "bytes", "set", "nan", "inf", "half a character", "mixed keys", "tuple key"],
)
@pytest.mark.parametrize("validate", [True, False])
def test_value_that_json_has_no_form_for_is_refused(value: Any, validate: bool) -> None:
    """Before the request is begun, so that nobody needs to ask whether it was sent."""
    (problem,) = problems(swap(extra={"field": value}), validate=validate)

    assert problem.startswith("input: it cannot be written as JSON: ")


def test_value_that_holds_itself_is_refused() -> None:
    """JSON has no form for that either."""
    loop: list[Any] = []
    loop.append(loop)

    assert problems(Raw("m", "t", {"loop": loop})) == (
        "input: it cannot be written as JSON: Circular reference detected",
    )


@pytest.mark.parametrize(
    ("task", "field"),
    [(Raw("", "t"), "model"), (Raw("m", ""), "task_type"), (Raw(7, "t"), "model")],  # type: ignore[arg-type]
    ids=["no model", "no task type", "number for the model"],
)
def test_raw_task_must_name_its_operation(task: Raw, field: str) -> None:
    """Model and task type are all that is known of it."""
    (problem,) = problems(task)

    assert problem.startswith(f"{field}: ")


WITH_AREA = next(name for name, schema in spec.bundle()["components"]["schemas"].items() if "x-max-product" in schema)


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
    """Each side may be fine, and the picture too large."""
    found = [each for each in inputs._check(WITH_AREA, {"prompt": "x", **sides}, "") if " x " in each]

    assert found == ([problem] if problem else [])


# ---- past us


@pytest.mark.parametrize("given_picture", [encoded(form="GIF"), encoded(2048, 1), b"%PDF", b"", PNG[:-9]], ids=len)
def test_unchecked_content_goes_out_as_it_is(given_picture: bytes) -> None:
    """validate=False lets size and format through."""
    body = request_body(swap(given_picture), validate=False)

    assert base64.b64decode(body["input"]["target_image"]) == given_picture


def test_unchecked_task_may_lack_a_picture() -> None:
    """What is required may have changed."""
    nothing: Any = None

    assert request_body(swap(swap_image=nothing), validate=False)["input"] == {"target_image": URL}


@pytest.mark.parametrize("given_picture", ["missing.png", 7, "data:image/png,x", "A" * 257])
def test_unchecked_picture_must_still_be_readable(given_picture: Any) -> None:
    """There is nothing that could be sent."""
    (problem,) = problems(swap(given_picture), validate=False)

    assert problem.startswith("target_image: ")


# ---- the task as a value


def test_task_shows_no_picture() -> None:
    """A repr goes into logs: kinds and sizes say enough."""
    array, content = np.full((50, 60, 3), 219, np.uint8), encoded(64, 64)
    text = base64.b64encode(content).decode()
    shown = repr([swap(content), swap(bytearray(content)), swap(text), swap(array), swap(extra={"more": [content]})])

    assert text[80:100] not in shown
    assert "\\x" not in shown
    assert "219" not in shown
    assert shown.count(f"<{len(content)} bytes>") == 3
    assert "<array of shape (50, 60, 3)>" in shown
    assert f"... ({len(text) + 2} characters)" in shown


def test_task_shows_what_it_is() -> None:
    """Short values are shown as they are."""
    assert repr(swap("a.png", extra={"n": 1})) == f"FaceSwap(target_image='a.png', swap_image={URL!r}, n=1)"
    assert repr(Raw("m", "t", {"prompt": "x"})) == "Raw(prompt='x')"


def test_task_is_a_plain_value() -> None:
    """Equal, frozen, and good for a queue."""
    task = swap(extra={"a": 1})

    assert pickle.loads(pickle.dumps(task)) == task == swap(extra={"a": 1})
    assert task.operation() == ("Qubico/image-toolkit", "face-swap")
    assert task.output_type() is FaceSwapOutput
    with pytest.raises(AttributeError):
        task.target_image = "b"  # type: ignore[misc]


def test_task_types_are_found_by_name() -> None:
    """And a misspelt one is no attribute."""
    assert tasks.FaceSwap is FaceSwap
    assert dir(tasks) == sorted(tasks.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'FaceSwop'"):
        _ = tasks.FaceSwop  # type: ignore[attr-defined]


# ---- whatever object is given


class Hostile:
    """An object that raises for everything that is asked of it."""

    def __init__(self, error: Exception) -> None:
        object.__setattr__(self, "error", error)

    def __getattribute__(self, name: str) -> Any:
        raise object.__getattribute__(self, "error")

    def __eq__(self, other: object) -> bool:
        raise object.__getattribute__(self, "error")

    __hash__ = None  # type: ignore[assignment]


def raising(error: Exception) -> Callable[..., Any]:
    def method(*_: object) -> Any:
        raise error

    return method


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
    ERRORS,  # stands for Hostile of it, which hypothesis itself cannot hold
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
    lambda value: tasks.Seedance2(prompt="a", duration=5, resolution="480p", video_urls=value),
    lambda value: tasks.Seedance2(prompt="a", duration=value, resolution=value, video_urls=[value]),
    lambda value: tasks.ImageSegment(image=value, prompt=value),
    lambda value: tasks.Kling3Video(prompt="a", multi_shots=[value]),
    lambda value: tasks.Kling3Video(prompt="a", enable_audio=value, multi_shots=[{"prompt": value, "duration": value}]),
    lambda value: swap(extra={"field": value}),
    lambda value: Raw("a", "b", {"field": [value]}),
]


@settings(max_examples=400, deadline=None)
@given(value=VALUES, make=st.sampled_from(FIELDS), validate=st.booleans(), uploads=st.booleans())
@pytest.mark.filterwarnings("ignore::unitask.AdvisoryWarning")
def test_any_object_makes_a_body_or_is_refused(value: Any, make: Any, validate: bool, uploads: bool) -> None:
    """No other error: what is raised before a submission says that nothing was sent."""
    task = make(Hostile(value) if isinstance(value, Exception) else value)
    task.estimate_usd()
    with contextlib.suppress(InvalidInput):
        assert json.dumps(request_body(task, validate=validate, uploads=uploads), allow_nan=False)
