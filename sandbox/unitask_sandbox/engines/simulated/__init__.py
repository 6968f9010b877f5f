"""The result of a task type without an engine: a small valid file of each kind that its output has, marked SIMULATED.

The mark is in the content (a picture and a film show the word, a sound gives it in Morse code), in the metadata of each
file and in the task's meta. The same input gives the same bytes, another one others. A picture of the input is shown
dimmed if it was sent in the body or uploaded here; other addresses are not fetched, since a stand-in must work without
a network.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from unitask_api import contract
from unitask_api.contract import TaskType

from unitask_sandbox.engines.registry import EngineResult, naming_extra
from unitask_sandbox.engines.simulated.outputs import UNDOCUMENTED, Made, main_kind, output
from unitask_sandbox.engines.simulated.requested_media import LARGEST_SIDE, RequestedMedia, Size, read_request, within
from unitask_sandbox.failures import TaskFailure
from unitask_sandbox.inputs import read_media

if TYPE_CHECKING:
    from unitask_sandbox.engines.simulated.pictures import Scene
    from unitask_sandbox.faces.arrays import Pixels

MARK = "SIMULATED by the unitask sandbox"
NO_ENGINE = "SIMULATED: the sandbox has no engine for this task type"
SIDE = 512

# The fields whose words are shown, the first that has any
PROMPTS = ("prompt", "gen_text", "tts_text", "gpt_description_prompt", "style_prompt", "lyrics", "title")

LONGEST_PROMPT = 1000  # letters that are used of it

Own = Callable[[str], bytes | None]


def simulate(task_type: TaskType, given: Mapping[str, Any], own: Own = lambda _url: None) -> EngineResult:
    """Return a result of the shape of a task type's output, of the size, length and number that its input asks for."""
    with naming_extra("sandbox", "a simulated result"):
        size, backdrop = _picture_of(task_type, given, own)
        requested = read_request(task_type, given, main_kind(task_type.output), size)
        files = _Files(task_type, given, requested, backdrop)
        return EngineResult(output(task_type, files), _meta(task_type, requested, files.kinds))


def simulated_picture(
    width: int = SIDE, height: int = SIDE, extension: str = "png", title: str = "", prompt: str = ""
) -> bytes:
    """Return a picture that shows a title and a prompt, of the nearest size that is neither too large nor too small."""
    from unitask_sandbox.engines.simulated.pictures import Scene, picture  # lazy: OpenCV

    seed = int(hashlib.sha256(f"{title}\n{prompt}".encode()).hexdigest()[:16], 16)
    return picture(Scene(seed, title, prompt, MARK), within((width, height), LARGEST_SIDE), extension)


class _Files:
    """The files and texts of one task (`outputs.Maker`), each made once."""

    def __init__(
        self, task_type: TaskType, given: Mapping[str, Any], requested: RequestedMedia, backdrop: Pixels | None
    ) -> None:
        # The order of the fields makes no difference.
        whole = json.dumps([task_type.model, task_type.task_type, given], sort_keys=True, separators=(",", ":"))
        self.identity = hashlib.sha256(whole.encode()).hexdigest()
        self.requested = requested
        self._seed = int(self.identity[:16], 16)
        texts = (given.get(name) for name in PROMPTS)
        self._prompt = next((text for text in texts if isinstance(text, str) and text.strip()), "")[:LONGEST_PROMPT]
        self._title = f"{task_type.model} {task_type.task_type}"
        self._backdrop = backdrop
        self._of_four = task_type.task_type != "upscale"
        self._made: dict[tuple[str, str, int], Made] = {}

    @property
    def kinds(self) -> set[str]:
        """The kinds of files made so far."""
        return {kind for kind, _, _ in self._made}

    def file(self, kind: str, extension: str, index: int) -> Made:
        """Return a file of a kind, for the result of an index."""
        key = kind, extension, index
        if key not in self._made:
            self._made[key] = self._new(*key)
        return self._made[key]

    def text(self, name: str, index: int) -> str:
        """Return a text for a field of this name."""
        if name == "seed":
            return str(self._seed % 2**32)
        if name in ("lyrics", "text"):
            return f"[{MARK}]\n[Verse {index + 1}]\n{self._prompt or 'la la la'}"
        if name == "prompt":
            return self._prompt
        if name == "description":
            return "\n".join(f"{number}. {MARK}, {self._seed >> number & 0xFFFF:04x}" for number in range(1, 5))
        return MARK

    def _new(self, kind: str, extension: str, index: int) -> Made:
        requested, mark = self.requested, f"{MARK}: {self._title}, {self._seed + index:016x}"
        match kind:
            case "image" | "grid":
                from unitask_sandbox.engines.simulated.pictures import grid, picture

                draw = grid if kind == "grid" and self._of_four else picture
                return Made(draw(self._scene(index, mark), requested.size, extension), extension, requested.size)
            case "video":
                from unitask_sandbox.engines.simulated.film import film

                data = film(self._scene(index, mark), requested.film_size, requested.seconds["video"])
                return Made(data, "mp4", requested.film_size, requested.seconds["video"])
            case "audio":
                from unitask_sandbox.engines.simulated.sound import sound

                data = sound(self._seed + index, requested.seconds["audio"], extension, mark)
                return Made(data, extension, None, requested.seconds["audio"])
            case "model":
                from unitask_sandbox.engines.simulated.mesh import plaque

                return Made(plaque(self._scene(index, mark)), "glb")
            case _:
                return Made(f"{mark}\n{self._prompt}\n".encode(), "txt")

    def _scene(self, index: int, mark: str) -> Scene:
        from unitask_sandbox.engines.simulated.pictures import Scene

        return Scene(self._seed + index, self._title, self._prompt, mark, self._backdrop)


def _meta(task_type: TaskType, requested: RequestedMedia, kinds: set[str]) -> dict[str, str]:
    meta = {"simulated": NO_ENGINE}
    if task_type.output in UNDOCUMENTED:
        name, _ = UNDOCUMENTED[task_type.output]
        meta["simulated_output"] = f"no page shows this output; the field {name} is a guess"
    about = {"size": {"image", "grid", "video"}, "count": kinds, "format": kinds, "length": {"video", "audio"}}
    return meta | {f"simulated_{name}": note for name, note in requested.notes.items() if about[name] & kinds}


def _picture_of(task_type: TaskType, given: Mapping[str, Any], own: Own) -> tuple[Size | None, Pixels | None]:
    """Return the size of the first picture of the input that is at hand, and the picture unless it is very large."""
    found = [
        _decoded(name, data)
        for name, text in _pictures(task_type, given)
        if (data := _at_hand(name, text, own)) is not None
    ]
    return found[0] if found else (None, None)


def _pictures(task_type: TaskType, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, rule in contract.component(task_type.input).get("properties", {}).items():
        kinds = [each.get("x-media", {}).get("kind") for each in (rule, rule.get("items", {}))]
        if "image" in kinds and given.get(name):
            value: Any = given[name]
            several = cast("list[object]", value if isinstance(value, list) else [value])
            yield from ((name, text) for text in several if isinstance(text, str) and text)


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
