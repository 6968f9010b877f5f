"""What the input of a task requests of the files: size, shape, length, number and format.

The fields are read by their names; an absent one has the value of ``x-default`` in the spec, if any. No value that JSON
can hold raises, or makes anything large.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from unitask_api import contract
from unitask_api.contract import TaskType

LARGEST_SIDE = 4096  # pixels of a picture
LARGEST_FILM_SIDE = 2560  # 21:9 at 1080p; five seconds of it are encoded in half a second
USUAL_SIDE = 1024  # the longer one, where neither the input nor a page says how many pixels
USUAL_FILM_SIDE = 320
SMALLEST_SIDE = 16
LONGEST = {"video": 60.0, "audio": 300.0}  # seconds
USUAL_SECONDS = {"audio": 30.0}  # where the result is first of all a sound, and neither the input nor a page says
USUAL_FILM = 5.0  # seconds
MOST_FILES = 8

PIXELS = ("size", "resolution", "width", "height")
SOUND = ("enable_audio", "generate_audio", "audio", "keep_original_sound")  # fields that request it of a film

# The fields that decide what is made
READ = frozenset({"aspect_ratio", "batch_size", "duration", "output_format", *PIXELS, *SOUND})

_RATIO = re.compile(r"\s*([1-9][0-9]{0,4})\s*[:/]\s*([1-9][0-9]{0,4})\s*")
_SIZE = re.compile(r"\s*([0-9]{1,9})\s*[x*]\s*([0-9]{1,9})\s*", re.IGNORECASE)
_NUMBER = re.compile(r"\s*[0-9]{1,9}(\.[0-9]{1,9})?")
_FORMATS = {"image": ("png", "jpeg", "jpg", "webp"), "audio": ("wav", "mp3")}

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class RequestedMedia:
    """What a task requests of its files."""

    size: Size  # width and height of a picture, in pixels, within the limits; of a film's frame, `film_size`
    film_size: Size
    seconds: Mapping[str, float]  # the length of a film ("video") and of a sound ("audio"), within the limits
    has_sound: bool  # whether a film has a sound track
    count: int  # how many results
    is_limited: bool  # whether more was requested: larger, longer, or more results
    format: str | None  # the extension of the results; None: what is usual for their kind

    def extension(self, kind: str, usual: str) -> str:
        """Return the extension of a file of this kind."""
        return self.format if self.format and self.format in _FORMATS.get(kind, ()) else usual


def read_request(
    task_type: TaskType, given: Mapping[str, Any], kind: str = "image", picture: Size | None = None
) -> RequestedMedia:
    """Return what an input requests; without a size in it, the size of a `picture` in it is taken."""
    rules = contract.component(task_type.input).get("properties", {})
    fields = {name: rule["x-default"] for name, rule in rules.items() if name in READ and "x-default" in rule}
    fields |= {name: value for name, value in given.items() if value is not None}
    wanted = _wanted_size(fields, given, picture, (16, 9) if kind == "video" else (1, 1))
    is_film_of_size = kind == "video" and any(_number(fields.get(name)) for name in PIXELS)
    film_width, film_height = within(wanted, LARGEST_FILM_SIDE if is_film_of_size else USUAL_FILM_SIDE)
    largest = {"image": LARGEST_SIDE, "video": LARGEST_FILM_SIDE if is_film_of_size else math.inf}.get(kind, math.inf)
    length = _number(fields.get("duration"))
    if length is None:
        length = USUAL_SECONDS.get(kind, USUAL_FILM)
    count = max(1, int(_number(fields.get("batch_size")) or 1))
    wanted_format = str(fields.get("output_format", "")).lower()
    return RequestedMedia(
        size=within(wanted, LARGEST_SIDE),
        film_size=(film_width // 2 * 2, film_height // 2 * 2),  # H.264 demands even sides
        seconds={name: min(longest, max(1.0, length)) for name, longest in LONGEST.items()},
        has_sound=_has_sound(task_type, fields),
        count=min(count, MOST_FILES),
        is_limited=max(wanted) > largest or length > LONGEST.get(kind, math.inf) or count > MOST_FILES,
        format=wanted_format if any(wanted_format in formats for formats in _FORMATS.values()) else None,
    )


def _has_sound(task_type: TaskType, fields: Mapping[str, Any]) -> bool:
    """Return whether a film is to have sound: a switch is on, or there is a recording or a text to be heard."""
    heard = [name for name, kind in task_type.media.items() if kind == "audio"]
    return any(fields.get(name) is True for name in SOUND) or any(fields.get(name) for name in (*heard, "tts_text"))


def _number(value: object) -> float | None:
    """Return the number with which a value begins ("8s", "720p"); None when it is none, or is negative."""
    found = _NUMBER.match(str(value))
    return float(found[0]) if found else None


def _wanted_size(fields: Mapping[str, Any], given: Mapping[str, Any], picture: Size | None, usual: Size) -> Size:
    for name in ("size", "resolution"):
        if (pair := _SIZE.fullmatch(str(fields.get(name)))) is not None:
            return int(pair[1]), int(pair[2])
    if _number(given.get("width")) or _number(given.get("height")):
        width, height = (int(_number(fields.get(name)) or USUAL_SIDE) for name in ("width", "height"))
        return width, height
    shape = _ratio(given.get("aspect_ratio"))
    if picture and not shape and given.keys().isdisjoint(("size", "resolution")):
        return picture
    across, down = shape or picture or _ratio(fields.get("aspect_ratio")) or usual
    return _of_ratio(across, down, fields.get("resolution", fields.get("size")))


def _ratio(value: object) -> Size | None:
    found = _RATIO.fullmatch(str(value))  # "16:9"; there are words such as "auto"
    return (int(found[1]), int(found[2])) if found else None


def _of_ratio(across: int, down: int, resolution: object) -> Size:
    """Return a size of a shape: "2K" is 2048 pixels of its longer side, "720p" and 720 are those of its shorter one."""
    pixels = _number(resolution)
    if pixels and str(resolution).strip().lower().endswith("k"):
        scale = pixels * 1024 / max(across, down)
    elif pixels:
        scale = pixels / min(across, down)
    else:
        scale = USUAL_SIDE / max(across, down)
    return round(across * scale), round(down * scale)


def within(size: Size, largest: int) -> Size:
    """Return the nearest size of the same shape that is neither too large nor too small."""
    scale = min(1.0, largest / max(1, *size))
    width, height = (min(largest, max(SMALLEST_SIDE, round(side * scale))) for side in size)
    return width, height
