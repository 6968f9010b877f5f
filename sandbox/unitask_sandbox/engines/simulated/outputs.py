"""Fill an output like that of a documented finished task where there is one, else by its schema.

What is empty in the sample stays empty; a field of x-media gets a file; sizes and lengths beside a file are its own.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Protocol, cast

from unitask_api import contract
from unitask_api.contract import TaskType

from unitask_sandbox.engines.simulated.requested_media import RequestedMedia, Size

DEEPEST = 8

KINDS = {"image": "png", "video": "mp4", "audio": "wav", "model": "glb"}  # The usual extension of each kind of file

# Outputs of which no page shows a field: under which name the sandbox gives a file of which kind
UNDOCUMENTED = {
    "KlingSoundOutput": ("audio_url", "audio"),
    "OmniHumanOutput": ("video", "video"),
    "VeoVideoOutput": ("video", "video"),
}

_SAMPLES = {
    "Kling3VideoInput": "kling.video_generation_3.completed.200",  # what it echoes does not tell which version it is of
    "SunoMusicInput": "suno.generate_music.completed.200",  # it names the model otherwise than the page does
}
_ENDED = ("completed", "success")
_SEVERAL = {"clips": 2, "lyrics_pairs": 2, "songs": 2}  # as many as the documents show
_DONE: Mapping[str, Any] = {"finished": True, "percent": 100, "progress": 100, "task_progress": 100}
_NOTHING: Final = object()

Rule = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Made:
    """A file, its size in pixels and its length in seconds; None where its kind has none."""

    data: bytes
    extension: str
    size: Size | None = None
    seconds: float | None = None

    @property
    def facts(self) -> dict[str, float]:
        """What an output says of the file, by the names of x-media."""
        facts: dict[str, float] = {}
        if self.size is not None:
            facts |= {"width": self.size[0], "height": self.size[1]}
        if self.seconds is not None:
            facts |= {"duration_s": self.seconds, "duration_ms": round(self.seconds * 1000)}
        return facts


class Maker(Protocol):
    """Makes what fills an output; ``identity`` decides the ids."""

    identity: str
    requested: RequestedMedia

    def file(self, kind: str, extension: str, index: int) -> Made:
        """Return a file for the result of an index; the kind "grid" is a picture of four."""
        ...

    def text(self, name: str, index: int) -> str:
        """Return a text for a field."""
        ...


def output(task_type: TaskType, maker: Maker) -> dict[str, Any]:
    """The output of a task, in which a tuple of bytes and extension stands where a file's address shall be."""
    if task_type.output in UNDOCUMENTED:
        name, kind = UNDOCUMENTED[task_type.output]
        return {name: _file(maker, kind, KINDS[kind], 0)}
    rule = _resolved({"$ref": f"#/components/schemas/{task_type.output}"})
    filled: dict[str, Any] = _value(_Place(maker, rule, _sample(task_type), "", 0, DEEPEST))
    return filled


@cache
def main_kind(component: str) -> str:
    """The kind of the first file of an output; "text" when it has none."""
    if component in UNDOCUMENTED:
        return UNDOCUMENTED[component][1]
    return _first_kind({"$ref": f"#/components/schemas/{component}"}, DEEPEST) or "text"


def _first_kind(rule: Rule, depth: int) -> str | None:
    rule = _resolved(rule)
    kind: str | None = rule.get("x-media", {}).get("kind")
    if kind or not depth:
        return kind
    parts = [*rule.get("properties", {}).values(), rule.get("items", {})]
    if isinstance(rule.get("additionalProperties"), dict):
        parts.append(rule["additionalProperties"])
    return next((found for part in parts if (found := _first_kind(part, depth - 1))), None)


def _resolved(rule: Rule) -> Rule:
    """The rule that a reference or the first of several branches stands for."""
    while True:
        if "$ref" in rule:
            rule = contract.component(rule["$ref"].rpartition("/")[2])
        elif branches := rule.get("anyOf") or rule.get("oneOf"):
            rule = branches[0]
        else:
            return rule


@cache
def _samples() -> dict[str, dict[str, Any]]:
    """The outputs of documented finished tasks, by task type, and by component."""
    found: dict[str, dict[str, Any]] = {}
    examples: dict[str, Any] = contract.document()["components"]["examples"]
    for name, example in examples.items():
        value: Any = example["value"]
        task: Any = cast("dict[str, Any]", value).get("data") if isinstance(value, dict) else None
        if not isinstance(task, dict):
            continue
        task = cast("dict[str, Any]", task)
        if task.get("status") not in _ENDED or not task.get("output"):
            continue
        found[name] = task["output"]
        if entry := contract.find(task.get("model"), task.get("task_type"), task.get("input")):
            found.setdefault(entry.name, task["output"])
            found.setdefault(entry.output, task["output"])
    return found


def _sample(task_type: TaskType) -> Any:
    if (task_type.model, task_type.task_type) == ("midjourney", "upscale"):
        return {"image_url": "https://a.test/one.png"}  # one picture of the four
    names = (_SAMPLES.get(task_type.input), task_type.name, task_type.output)
    return next((_samples()[name] for name in names if name in _samples()), _NOTHING)


@dataclass(frozen=True, slots=True)
class _Place:
    """A place of an output: its rule, the sample's value (or _NOTHING), its name, the index of its result."""

    maker: Maker
    rule: Rule
    sample: Any
    name: str
    index: int
    depth: int

    def part(self, rule: Rule, sample: Any, name: str, index: int | None = None) -> _Place:
        index = self.index if index is None else index
        return _Place(self.maker, _resolved(rule), sample, name, index, self.depth - 1)


def _value(place: _Place) -> Any:
    rule, sample = place.rule, place.sample
    if sample is None or sample == "":
        return sample
    media = rule.get("x-media", {})
    if kind := media.get("kind"):
        if "url" not in media.get("holds", ["url"]):
            return ""
        shown = "grid" if kind == "image" and "grid" in rule.get("description", "") else kind
        return _file(place.maker, shown, _extension(rule, kind, sample), place.index)
    types = rule.get("type", "null")
    match types if isinstance(types, str) else types[0]:
        case "object" if place.depth:
            return _object(place)
        case "array":
            return _array(place)
        case one:
            return _scalar(place, one)


def _file(maker: Maker, kind: str, extension: str, index: int) -> tuple[bytes, str]:
    made = maker.file(kind, maker.requested.extension(kind, extension), index)
    return made.data, made.extension


def _extension(rule: Rule, kind: str, sample: Any) -> str:
    """As the sample's address ends, or as the description says, or as is usual."""
    if isinstance(sample, str):
        ending = sample.partition("?")[0].rpartition(".")[2]
        if ending in ("png", "jpg", "jpeg", "webp", "mp4", "mp3", "wav", "glb"):
            return ending
    return "mp3" if "MP3" in rule.get("description", "") else KINDS.get(kind, "txt")


def _object(place: _Place) -> dict[str, Any]:
    rules: dict[str, Rule] = place.rule.get("properties", {})
    more = place.rule.get("additionalProperties")
    if isinstance(more, dict):
        return _map(place, cast("Rule", more))
    sample = cast("dict[str, Any] | None", place.sample if isinstance(place.sample, dict) else None)
    filled = dict(sample or {})
    for name, rule in rules.items():
        if sample is None or name in sample or (place.maker.requested.count > 1 and _is_list_of_files(rule)):
            given = _NOTHING if sample is None else sample.get(name, _NOTHING)
            filled[name] = _value(place.part(rule, given, name))
    _one_or_several(place, rules, filled)
    for name, rule in rules.items():
        _state_facts(place, rule.get("x-media", {}), filled, name)
    return filled


def _map(place: _Place, rule: Rule) -> dict[str, Any]:
    """Results by ids of their own; the fullest of the sample is that of each."""
    samples = cast("dict[str, dict[str, Any]]", place.sample if isinstance(place.sample, dict) else {})
    sample = max(samples.values(), key=len, default=_NOTHING)
    return {
        _id(place.maker, f"{place.name} {index}"): _value(place.part(rule, sample, place.name, index))
        for index in range(_SEVERAL.get(place.name, 1))
    }


def _array(place: _Place) -> list[Any]:
    rule = place.rule.get("items", {})
    samples = cast("list[object]", place.sample if isinstance(place.sample, list) else [])
    count = len(samples) or _SEVERAL.get(place.name, 1)
    if _first_kind(rule, DEEPEST) and place.maker.requested.count > 1:
        count = place.maker.requested.count
    shown: list[Any] = samples or [_NOTHING]
    return [_value(place.part(rule, shown[min(at, len(shown) - 1)], place.name, at)) for at in range(count)]


def _one_or_several(place: _Place, rules: Mapping[str, Rule], filled: dict[str, Any]) -> None:
    """Where a picture has a field for one and a list for several, only one of both is filled."""
    lists = [name for name, rule in rules.items() if _is_list_of_files(rule) and filled.get(name)]
    ones = [name for name in rules if isinstance(filled.get(name), tuple)]
    if not lists or not ones:
        return
    if place.maker.requested.count > 1:
        filled.update(dict.fromkeys(ones))
    elif place.sample is _NOTHING:
        filled.update(dict.fromkeys(lists))


def _is_list_of_files(rule: Rule) -> bool:
    return "kind" in rule.get("items", {}).get("x-media", {})


def _state_facts(place: _Place, media: Mapping[str, Any], filled: dict[str, Any], name: str) -> None:
    """Write the size and the length of a file where its x-media says that they stand."""
    if not isinstance(filled.get(name), tuple):
        return
    extension = cast("tuple[bytes, str]", filled[name])[1]
    facts = place.maker.file(media["kind"], extension, place.index).facts
    for fact in facts.keys() & media.keys():
        *way, last = media[fact].split(".")
        target: Any = filled
        for step in way:
            target = cast("dict[str, Any]", target).get(step) if isinstance(target, dict) else None
        if isinstance(target, dict):
            cast("dict[str, Any]", target)[last] = facts[fact]


def _scalar(place: _Place, kind: str) -> Any:
    rule, name = place.rule, place.name
    if "const" in rule or "enum" in rule:
        return rule["const"] if "const" in rule else rule["enum"][0]
    if place.sample is not _NOTHING:
        return place.sample
    if name in _DONE:
        return _DONE[name]
    match kind:
        case "string":
            is_id = name == "id" or name.endswith("_id")
            return _id(place.maker, f"{name} {place.index}") if is_id else place.maker.text(name, place.index)
        case "integer" | "number":
            return rule.get("minimum", 0)
        case "boolean":
            return False
        case _:
            return None


def _id(maker: Maker, of: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{maker.identity} {of}"))
