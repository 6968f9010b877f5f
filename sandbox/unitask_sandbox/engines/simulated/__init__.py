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
from unitask_sandbox.engines.simulated.files import picture, sound
from unitask_sandbox.engines.simulated.outputs import MARK, UNDOCUMENTED, main_kind, output
from unitask_sandbox.engines.simulated.requested_media import LARGEST_SIDE, Size, read_request, within
from unitask_sandbox.faces.pictures import picture_size, unreadable
from unitask_sandbox.inputs import is_address, read_media

NO_ENGINE = "SIMULATED: the sandbox has no engine for this task type"
LIMITED = "the result is smaller, shorter or less than requested, by the limits in docs/local-provider.md"
SIDE = 512
SOUND_SECONDS = 2.0

Own = Callable[[str], bytes | None]


def simulate(task_type: TaskType, given: Mapping[str, Any], own: Own = lambda _url: None) -> EngineResult:
    """Return a result of the shape of a task type's output, of the size, length and number that its input requests.

    `own` returns the bytes behind an address of this sandbox; None for another address.
    """
    requested = read_request(task_type, given, main_kind(task_type.output), _input_size(task_type, given, own))
    meta = {"simulated": f"{NO_ENGINE}; {LIMITED}" if requested.is_limited else NO_ENGINE}
    if task_type.output in UNDOCUMENTED:
        meta["simulated_output"] = f"no page shows this output; {UNDOCUMENTED[task_type.output][0]} is a guess"
    return EngineResult(output(task_type, given, requested), meta)


def simulate_unknown(model: str, task_type: str, given: Mapping[str, Any]) -> EngineResult:
    """Return a picture and a text for a task type that the spec does not have."""
    what = f"SIMULATED: the spec has no task type {task_type[:100]!r} of the model {model[:100]!r}"
    content = simulated_picture(json.dumps([model, task_type, given], sort_keys=True))
    return EngineResult({"image_url": (content, "png"), "text": what}, {"simulated": what})


def simulated_picture(of: str, width: int = SIDE, height: int = SIDE, extension: str = "png") -> bytes:
    """Return a picture for a text, of the nearest size that is neither too large nor too small."""
    seed = _seed(of)
    return picture(seed, f"{MARK}: {seed:016x}", within((width, height), LARGEST_SIDE), extension)


def simulated_sound(of: str, why: str) -> bytes:
    """Return an MP3 for a text, whose metadata says that it is simulated, and why."""
    return sound(_seed(of), f"{MARK}: {why}", SOUND_SECONDS, "mp3")


def _seed(of: str) -> int:
    return int(hashlib.sha256(of.encode()).hexdigest()[:16], 16)


def _input_size(task_type: TaskType, given: Mapping[str, Any], own: Own) -> Size | None:
    """Return the size of the first picture of the input that needs no request; each of them must be readable."""
    sizes: list[Size] = []
    for name, text in _pictures(task_type, given):
        data = own(text) if is_address(text) else read_media({name: text}, {name: "image"}, lambda _url: b"")[name]
        if data is not None:
            size = picture_size(data)
            if size is None:
                raise unreadable(name)
            sizes.append(size)
    return sizes[0] if sizes else None


def _pictures(task_type: TaskType, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, rule in contract.component(task_type.input).get("properties", {}).items():
        kinds = [each.get("x-media", {}).get("kind") for each in (rule, rule.get("items", {}))]
        if "image" in kinds:
            value: Any = given.get(name)
            several = cast("list[object]", value if isinstance(value, list) else [value])
            yield from ((name, text) for text in several if isinstance(text, str) and text)
