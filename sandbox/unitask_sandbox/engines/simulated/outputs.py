"""Fill an output like that of a documented finished task where there is one, else by its schema.

What is empty in the sample stays empty; a field of x-media gets a file; sizes and lengths beside a file are its own.
"""

import hashlib
import json
import uuid
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, cast

from unitask_api import contract
from unitask_api.contract import TaskType

from unitask_sandbox.engines.simulated.files import film, picture, plaque, sound
from unitask_sandbox.engines.simulated.requested_media import RequestedMedia

MARK = "SIMULATED by the unitask sandbox"

# The fields whose words are repeated in texts, the first that has any
PROMPTS = ("prompt", "gen_text", "tts_text", "gpt_description_prompt", "style_prompt", "lyrics", "title")
LONGEST_PROMPT = 1000  # letters that are used of it

KINDS = {"image": "png", "video": "mp4", "audio": "mp3", "model": "glb"}  # the usual extension of each kind of file

UNDOCUMENTED = {
    "KlingSoundOutput": ("audio_url", "audio"),
    "OmniHumanOutput": ("video", "video"),
    "VeoVideoOutput": ("video", "video"),
}

_SAMPLES = {
    "Kling3VideoInput": "kling.video_generation_3.completed.200",  # its echo does not say which version it is of
    "SunoMusicInput": "suno.generate_music.completed.200",  # it names the model otherwise than the page does
}
_ENDED = ("completed", "success")
_SEVERAL = {"clips": 2, "lyrics_pairs": 2, "songs": 2}  # as many as the documents show
_DONE: Mapping[str, Any] = {"finished": True, "percent": 100, "progress": 100, "task_progress": 100}
_NOTHING: Final = object()  # in place of a sample

Rule = Mapping[str, Any]


def output(task_type: TaskType, given: Mapping[str, Any], requested: RequestedMedia) -> dict[str, Any]:
    """Return the output of a task, with a tuple of bytes and extension in the place of each file's address."""
    filler = _Filler(task_type, given, requested)
    filled: dict[str, Any] = filler.value(_output_rule(task_type.output), _sample(task_type), "", 0)
    return filled


def _output_rule(component: str) -> Rule:
    if component not in UNDOCUMENTED:
        return contract.component(component)
    name, kind = UNDOCUMENTED[component]
    return {"type": "object", "properties": {name: {"x-media": {"kind": kind}}}}


@cache
def main_kind(component: str) -> str:
    """Return the kind of the first file of an output; "text" when it has none."""
    return _first_kind(_output_rule(component)) or "text"


def _first_kind(rule: Rule) -> str | None:
    rule = _resolved(rule)
    parts = [*rule.get("properties", {}).values(), rule.get("items", {})]
    if isinstance(rule.get("additionalProperties"), dict):
        parts.append(rule["additionalProperties"])
    kind: str | None = rule.get("x-media", {}).get("kind")
    return kind or next((found for part in parts if part and (found := _first_kind(part))), None)


def _resolved(rule: Rule) -> Rule:
    """Return the rule that a reference or the first of several branches stands for."""
    while True:
        if "$ref" in rule:
            rule = contract.component(rule["$ref"].rpartition("/")[2])
        elif branches := rule.get("anyOf") or rule.get("oneOf"):
            rule = branches[0]
        else:
            return rule


@cache
def _samples() -> dict[str, dict[str, Any]]:
    """Return the outputs of documented finished tasks, by example, by task type and by component."""
    found: dict[str, dict[str, Any]] = {}
    examples: dict[str, Any] = contract.document()["components"]["examples"]
    for name, example in sorted(examples.items(), key=lambda item: item[1]["x-evidence"] != "recorded"):
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


class _Filler:
    """Fills places of an output: a rule, the sample's value or _NOTHING, the name, the index of the result."""

    def __init__(self, task_type: TaskType, given: Mapping[str, Any], requested: RequestedMedia) -> None:
        # The order of the fields makes no difference.
        whole = json.dumps([task_type.model, task_type.task_type, given], sort_keys=True, separators=(",", ":"))
        self.identity = hashlib.sha256(whole.encode()).hexdigest()
        self.requested = requested
        self._seed = int(self.identity[:16], 16)
        texts = (given.get(name) for name in PROMPTS)
        self._prompt = next((text for text in texts if isinstance(text, str) and text.strip()), "")[:LONGEST_PROMPT]
        self._title = f"{task_type.model} {task_type.task_type}"
        self._files: dict[tuple[str, str, int], tuple[bytes, str]] = {}  # an output can name one file several times

    def value(self, rule: Rule, sample: Any, name: str, index: int) -> Any:
        rule = _resolved(rule)
        if sample is None or sample == "":
            return sample
        media = rule.get("x-media", {})
        if kind := media.get("kind"):
            if "url" not in media.get("holds", ["url"]):
                return ""
            made = kind, self.requested.extension(kind, KINDS.get(kind, "txt")), index
            if made not in self._files:
                self._files[made] = self._file(*made)
            return self._files[made]
        types = rule.get("type", "null")
        match types if isinstance(types, str) else types[0]:
            case "object":
                return self._object(rule, sample, name, index)
            case "array":
                return self._array(rule.get("items", {}), sample, name)
            case one:
                return self._scalar(rule, sample, name, index, one)

    def _file(self, kind: str, extension: str, index: int) -> tuple[bytes, str]:
        requested, seed = self.requested, self._seed + index
        mark = f"{MARK}: {self._title}, {seed:016x}"
        match kind:
            case "image":
                return picture(seed, mark, requested.size, extension), extension
            case "video":
                size, seconds = requested.film_size, requested.seconds["video"]
                return film(seed, mark, size, seconds, has_sound=requested.has_sound), "mp4"
            case "audio":
                return sound(seed, mark, requested.seconds["audio"], extension), extension
            case "model":
                return plaque(seed, mark), "glb"
            case _:
                return f"{mark}\n{self._prompt}\n".encode(), "txt"

    def _object(self, rule: Rule, sample: Any, place: str, index: int) -> dict[str, Any]:
        rules: dict[str, Rule] = rule.get("properties", {})
        if isinstance(more := rule.get("additionalProperties"), dict):
            results = self._array(cast("Rule", more), [*sample.values()] if isinstance(sample, dict) else sample, place)
            return {self._id(f"{place} {number}"): result for number, result in enumerate(results)}
        samples = cast("dict[str, Any] | None", sample if isinstance(sample, dict) else None)
        filled = dict(samples or {})
        for name, part in rules.items():
            if samples is None or name in samples or (self.requested.count > 1 and _is_list_of_files(part)):
                given = _NOTHING if samples is None else samples.get(name, _NOTHING)
                filled[name] = self.value(part, given, name, index)
        self._leave_one_or_several(rules, filled, has_sample=sample is not _NOTHING)
        for name, part in rules.items():
            if isinstance(filled.get(name), tuple):
                self._state_facts(part["x-media"], filled)
        return filled

    def _array(self, rule: Rule, sample: Any, place: str) -> list[Any]:
        samples: list[Any] = cast("list[object]", sample if isinstance(sample, list) else [])
        count = len(samples) or _SEVERAL.get(place, 1)
        if _first_kind(rule) and self.requested.count > 1:
            count = self.requested.count
        shown = samples or [_NOTHING]
        return [self.value(rule, shown[min(at, len(shown) - 1)], place, at) for at in range(count)]

    def _leave_one_or_several(self, rules: Mapping[str, Rule], filled: dict[str, Any], *, has_sample: bool) -> None:
        """Where a picture has a field for one and a list for several, leave one of both filled."""
        lists = [name for name, rule in rules.items() if _is_list_of_files(rule) and filled.get(name)]
        ones = [name for name in rules if isinstance(filled.get(name), tuple)]
        if lists and ones and self.requested.count > 1:
            filled.update(dict.fromkeys(ones))
        elif lists and ones and not has_sample:
            filled.update(dict.fromkeys(lists))

    def _state_facts(self, media: Mapping[str, Any], filled: dict[str, Any]) -> None:
        """Write the size and the length of a file where its x-media says that they stand."""
        requested, seconds = self.requested, self.requested.seconds.get(media["kind"], 0.0)
        width, height = requested.size if media["kind"] == "image" else requested.film_size
        facts = {"width": width, "height": height, "duration_s": seconds, "duration_ms": round(seconds * 1000)}
        for fact in facts.keys() & media.keys():
            *way, last = media[fact].split(".")
            target: Any = filled
            for step in way:
                target = cast("dict[str, Any]", target).get(step) if isinstance(target, dict) else None
            if isinstance(target, dict):
                cast("dict[str, Any]", target)[last] = facts[fact]

    def _scalar(self, rule: Rule, sample: Any, name: str, index: int, kind: str) -> Any:
        if "const" in rule or "enum" in rule:
            return rule["const"] if "const" in rule else rule["enum"][0]
        if sample is not _NOTHING:
            return sample
        if name in _DONE:
            return _DONE[name]
        match kind:
            case "string":
                if name == "id" or name.endswith("_id"):
                    return self._id(f"{name} {index}")
                texts = {"seed": str(self._seed % 2**32), "prompt": self._prompt}
                return texts.get(name, f"[{MARK}]\n{self._prompt} {index + 1}")
            case "integer" | "number":
                return rule.get("minimum", 0)
            case "boolean":
                return False
            case _:
                return None

    def _id(self, of: str) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.identity} {of}"))


def _is_list_of_files(rule: Rule) -> bool:
    return "kind" in rule.get("items", {}).get("x-media", {})
