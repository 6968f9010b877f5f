"""What a task type without an engine makes: a small valid file of each kind that its output promises, marked SIMULATED.

The mark stands in the content (a picture and a film show the word, a sound gives it in Morse code), in the metadata of
each file and in the task's meta. The same input gives the same bytes, another one others. A picture of the input is
shown dimmed where it is at hand: sent in the body, or uploaded here. Other addresses are not fetched, since a stand-in
must be had without a network; so only what is at hand can fail a task for being no picture.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from unitask_sandbox import bundle
from unitask_sandbox.bundle import TaskType
from unitask_sandbox.engines.registry import EngineResult, naming_extra
from unitask_sandbox.engines.simulated.outputs import UNDOCUMENTED, Made, Maker, main_kind, output
from unitask_sandbox.engines.simulated.requested_media import (
    LARGEST_SIDE,
    RequestedMedia,
    Size,
    read_request,
    within,
)
from unitask_sandbox.failures import TaskFailure
from unitask_sandbox.inputs import read_media

if TYPE_CHECKING:
    from unitask_sandbox.engines.simulated.pictures import Scene
    from unitask_sandbox.faces.arrays import Pixels

MARK = "SIMULATED by the unitask sandbox"
NO_ENGINE = "SIMULATED: the sandbox has no engine for this task type"
SIDE = 512

PROMPTS = ("prompt", "gen_text", "tts_text", "gpt_description_prompt", "style_prompt", "lyrics", "title")
"""The fields whose words are shown, the first that has any."""

LONGEST_PROMPT = 1000  # letters that are used of it

Own = Callable[[str], bytes | None]


def simulate(task_type: TaskType, given: Mapping[str, Any], own: Own = lambda _url: None) -> EngineResult:
    """A result of the shape that a task type's output has, of the size, length and number that its input asks for.

    Args:
        task_type: What is to be done.
        given: The input, as it was sent.
        own: What is behind an address of this sandbox's own; None when it is not.

    Raises:
        TaskFailure: A picture in the input is none, or what draws is not installed.
    """
    with naming_extra("sandbox", "a simulated result"):
        return _simulated(task_type, given, own)


def _simulated(task_type: TaskType, given: Mapping[str, Any], own: Own) -> EngineResult:
    identity = _identity(task_type, given)
    size, backdrop = _picture_of(task_type, given, own)
    kind = main_kind(task_type.output)
    requested = read_request(task_type, given, kind, size)
    files = _Files(task_type, requested, _prompt(given), int(identity[:16], 16), backdrop)
    made = output(task_type, Maker(requested, files.file, files.text, identity))
    return EngineResult(made, _meta(task_type, requested, files.kinds))


def simulated_picture(
    width: int = SIDE, height: int = SIDE, extension: str = "png", title: str = "", prompt: str = ""
) -> bytes:
    """A picture that shows a title and a prompt, in pixels; where that is too large or too small, of the nearest size.

    Args:
        width: In pixels.
        height: In pixels.
        extension: "png", "jpeg" or "webp".
        title: What stands below the mark.
        prompt: What was asked for.
    """
    from unitask_sandbox.engines.simulated.pictures import Scene, picture  # lazy: OpenCV

    seed = int(hashlib.sha256(f"{title}\n{prompt}".encode()).hexdigest()[:16], 16)
    return picture(Scene(seed, title, prompt, MARK), within((width, height), LARGEST_SIDE), extension)


class _Files:
    """Makes the files of one task, each once."""

    def __init__(
        self, task_type: TaskType, requested: RequestedMedia, prompt: str, seed: int, backdrop: Pixels | None
    ) -> None:
        self._requested = requested
        self._prompt = prompt
        self._title = f"{task_type.model} {task_type.task_type}"
        self._seed = seed
        self._backdrop = backdrop
        self._of_four = task_type.task_type != "upscale"
        self._made: dict[tuple[str, str, int], Made] = {}

    @property
    def kinds(self) -> set[str]:
        """The kinds of files made so far."""
        return {kind for kind, _, _ in self._made}

    def file(self, kind: str, extension: str, index: int) -> Made:
        """A file of a kind, for the result of an index."""
        key = kind, extension, index
        if key not in self._made:
            self._made[key] = self._new(*key)
        return self._made[key]

    def text(self, name: str, index: int) -> str:
        """A text for a field of this name."""
        if name == "seed":
            return str(self._seed % 2**32)
        if name in ("lyrics", "text"):
            return f"[{MARK}]\n[Verse {index + 1}]\n{self._prompt or 'la la la'}"
        if name == "prompt":
            return self._prompt
        if name == "description":
            lines = (f"{number}. {MARK}, {self._seed >> number & 0xFFFF:04x}" for number in range(1, 5))
            return "\n".join(lines)
        return MARK

    def _new(self, kind: str, extension: str, index: int) -> Made:
        size, film_size, seconds = self._requested.size, self._requested.film_size, self._requested.seconds
        match kind:
            case "image" | "grid":
                from unitask_sandbox.engines.simulated.pictures import grid, picture

                draw = grid if kind == "grid" and self._of_four else picture
                return Made(draw(self._scene(index), size, extension), extension, _facts(size))
            case "video":
                from unitask_sandbox.engines.simulated.film import film

                data = film(self._scene(index), film_size, seconds["video"])
                return Made(data, "mp4", _facts(film_size, seconds["video"]))
            case "audio":
                from unitask_sandbox.engines.simulated.sound import sound

                data = sound(self._seed + index, seconds["audio"], extension, self._mark(index))
                return Made(data, extension, _facts(None, seconds["audio"]))
            case "model":
                from unitask_sandbox.engines.simulated.mesh import plaque

                return Made(plaque(self._scene(index)), "glb", {})
            case _:
                return Made(f"{self._mark(index)}\n{self._prompt}\n".encode(), "txt", {})

    def _scene(self, index: int) -> Scene:
        from unitask_sandbox.engines.simulated.pictures import Scene

        return Scene(self._seed + index, self._title, self._prompt, self._mark(index), self._backdrop)

    def _mark(self, index: int) -> str:
        return f"{MARK}: {self._title}, {self._seed + index:016x}"


def _facts(size: Size | None, seconds: float | None = None) -> dict[str, float]:
    facts: dict[str, float] = {}
    if size is not None:
        facts |= {"width": size[0], "height": size[1]}
    if seconds is not None:
        facts |= {"duration_s": seconds, "duration_ms": round(seconds * 1000)}
    return facts


def _identity(task_type: TaskType, given: Mapping[str, Any]) -> str:
    """The same for the same task, whatever the order of its fields."""
    whole = json.dumps([task_type.model, task_type.task_type, given], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(whole.encode()).hexdigest()


def _prompt(given: Mapping[str, Any]) -> str:
    texts = (given.get(name) for name in PROMPTS)
    return next((text for text in texts if isinstance(text, str) and text.strip()), "")[:LONGEST_PROMPT]


def _meta(task_type: TaskType, requested: RequestedMedia, kinds: set[str]) -> dict[str, str]:
    meta = {"simulated": NO_ENGINE}
    if task_type.output in UNDOCUMENTED:
        meta["simulated_output"] = (
            f"no page shows this output; the field {UNDOCUMENTED[task_type.output][0]} is a guess"
        )
    about = {"size": {"image", "grid", "video"}, "count": kinds, "format": kinds, "length": {"video", "audio"}}
    return meta | {f"simulated_{name}": note for name, note in requested.notes.items() if about[name] & kinds}


def _picture_of(task_type: TaskType, given: Mapping[str, Any], own: Own) -> tuple[Size | None, Pixels | None]:
    """The size of the first picture of the input that is at hand, and the picture, unless it is very large.

    Raises:
        TaskFailure: One that is at hand is no picture.
    """
    found: list[tuple[Size, Pixels | None]] = []
    for name, text in _pictures(task_type, given):
        data = _at_hand(name, text, own)
        if data is not None:
            found.append(_decoded(name, data))
    return found[0] if found else (None, None)


def _pictures(task_type: TaskType, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The pictures of an input, each with the field that it is of."""
    for name, rule in bundle.component(task_type.input).get("properties", {}).items():
        value: Any = given.get(name)
        if rule.get("items", {}).get("x-media", {}).get("kind") == "image" and isinstance(value, list):
            yield from ((name, text) for text in cast("list[object]", value) if isinstance(text, str) and text)
        elif rule.get("x-media", {}).get("kind") == "image" and isinstance(value, str) and value:
            yield name, value


def _at_hand(name: str, text: str, own: Own) -> bytes | None:
    if text[:8].lower().startswith(("http://", "https://")):
        return own(text)
    data: bytes = read_media({name: text}, {name: "image"}, lambda _url: b"")[name]
    return data


def _decoded(name: str, data: bytes) -> tuple[Size, Pixels | None]:
    from unitask_sandbox.engines.simulated.pictures import input_picture  # lazy: OpenCV

    try:
        return input_picture(data)
    except ValueError as error:
        raise TaskFailure(f"failed to get valid image ({name}): {error}") from error
