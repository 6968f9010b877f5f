"""The result of a task type without an engine: a small valid file of each kind that its output has, marked SIMULATED.

The same input gives the same bytes, another one others. A picture that was sent in the body or uploaded here decides
the size; other addresses are not fetched, since a stand-in must work without a network.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from unitask_api import contract
from unitask_api.contract import TaskType

from unitask_sandbox.engines.registry import EngineResult
from unitask_sandbox.engines.simulated.files import Scene, film, picture, plaque, sound
from unitask_sandbox.engines.simulated.outputs import UNDOCUMENTED, Made, main_kind, output
from unitask_sandbox.engines.simulated.requested_media import LARGEST_SIDE, RequestedMedia, Size, read_request, within
from unitask_sandbox.faces.pictures import picture_size, unreadable
from unitask_sandbox.inputs import read_media

MARK = "SIMULATED by the unitask sandbox"
NO_ENGINE = "SIMULATED: the sandbox has no engine for this task type"
SIDE = 512

# The fields whose words are shown, the first that has any
PROMPTS = ("prompt", "gen_text", "tts_text", "gpt_description_prompt", "style_prompt", "lyrics", "title")

LONGEST_PROMPT = 1000  # letters that are used of it

Own = Callable[[str], bytes | None]


def simulate(task_type: TaskType, given: Mapping[str, Any], own: Own = lambda _url: None) -> EngineResult:
    """Return a result of the shape of a task type's output, of the size, length and number that its input asks for.

    `own` returns the bytes behind an address of this sandbox; None for another address.
    """
    requested = read_request(task_type, given, main_kind(task_type.output), _input_size(task_type, given, own))
    files = _Files(task_type, given, requested)
    return EngineResult(output(task_type, files), _meta(task_type, requested, files.kinds))


def simulated_picture(
    width: int = SIDE, height: int = SIDE, extension: str = "png", title: str = "", prompt: str = ""
) -> bytes:
    """Return a picture that shows a title and a prompt, of the nearest size that is neither too large nor too small."""
    seed = int(hashlib.sha256(f"{title}\n{prompt}".encode()).hexdigest()[:16], 16)
    return picture(Scene(seed, title, prompt, MARK), within((width, height), LARGEST_SIDE), extension)


class _Files:
    """The files and texts of one task (`outputs.Maker`), each made once."""

    def __init__(self, task_type: TaskType, given: Mapping[str, Any], requested: RequestedMedia) -> None:
        # The order of the fields makes no difference.
        whole = json.dumps([task_type.model, task_type.task_type, given], sort_keys=True, separators=(",", ":"))
        self.identity = hashlib.sha256(whole.encode()).hexdigest()
        self.requested = requested
        self._seed = int(self.identity[:16], 16)
        texts = (given.get(name) for name in PROMPTS)
        self._prompt = next((text for text in texts if isinstance(text, str) and text.strip()), "")[:LONGEST_PROMPT]
        self._title = f"{task_type.model} {task_type.task_type}"
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
        match name:
            case "seed":
                return str(self._seed % 2**32)
            case "lyrics" | "text":
                return f"[{MARK}]\n[Verse {index + 1}]\n{self._prompt or 'la la la'}"
            case "prompt":
                return self._prompt
            case "description":
                return "\n".join(f"{number}. {MARK}, {self._seed >> number & 0xFFFF:04x}" for number in range(1, 5))
            case _:
                return MARK

    def _new(self, kind: str, extension: str, index: int) -> Made:
        requested, seed = self.requested, self._seed + index
        scene = Scene(seed, self._title, self._prompt, f"{MARK}: {self._title}, {seed:016x}")
        match kind:
            case "image":
                return Made(picture(scene, requested.size, extension), extension, requested.size)
            case "video":
                seconds = requested.seconds["video"]
                return Made(film(scene, requested.film_size, seconds), "mp4", requested.film_size, seconds)
            case "audio":
                seconds = requested.seconds["audio"]
                return Made(sound(seed, seconds, extension, scene.mark), extension, None, seconds)
            case "model":
                return Made(plaque(scene), "glb")
            case _:
                return Made(f"{scene.mark}\n{self._prompt}\n".encode(), "txt")


def _meta(task_type: TaskType, requested: RequestedMedia, kinds: set[str]) -> dict[str, str]:
    meta = {"simulated": NO_ENGINE}
    if task_type.output in UNDOCUMENTED:
        name, _ = UNDOCUMENTED[task_type.output]
        meta["simulated_output"] = f"no page shows this output; the field {name} is a guess"
    about = {"size": {"image", "video"}, "count": kinds, "format": kinds, "length": {"video", "audio"}}
    return meta | {f"simulated_{name}": note for name, note in requested.notes.items() if about[name] & kinds}


def _input_size(task_type: TaskType, given: Mapping[str, Any], own: Own) -> Size | None:
    """Return the size of the first picture of the input that needs no request."""
    sizes: list[Size] = []
    for name, text in _pictures(task_type, given):
        is_address = text[:8].lower().startswith(("http://", "https://"))
        data = own(text) if is_address else read_media({name: text}, {name: "image"}, lambda _url: b"")[name]
        if data is not None:
            size = picture_size(data)
            if size is None:
                raise unreadable(name)
            sizes.append(size)
    return next(iter(sizes), None)


def _pictures(task_type: TaskType, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, rule in contract.component(task_type.input).get("properties", {}).items():
        kinds = [each.get("x-media", {}).get("kind") for each in (rule, rule.get("items", {}))]
        if "image" in kinds and given.get(name):
            value: Any = given[name]
            several = cast("list[object]", value if isinstance(value, list) else [value])
            yield from ((name, text) for text in several if isinstance(text, str) and text)
