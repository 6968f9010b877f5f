"""What a create request costs, by the price that the spec gives for its task type.

Credits are whole numbers and rounded up; a cost that the spec does not settle is 0. The client's estimate reads the
same rules with code of its own, and a test compares both.
"""

import io
import math
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import ROUND_CEILING, Decimal, localcontext
from typing import Any, cast

import av
from av.error import FFmpegError

from unitask_sandbox.bundle import CREDITS_PER_USD
from unitask_sandbox.faces.pictures import picture_size
from unitask_sandbox.inputs import decoded

LARGEST = 10**12  # of any unit

# Models whose tasks are paid in points: frozen when they are accepted, taken when they are completed. Documented for
# hailuo, kling, luma and pixal3d, recorded for music-u, read by clients for midjourney, and for music-s. Tasks of
# every other model show "llm": taken when they are accepted, and nothing is frozen
POINT_MODELS = frozenset({"hailuo", "kling", "luma", "midjourney", "music-s", "music-u", "Qubico/pixal3d"})

Read = Callable[[str], bytes]


class _Unsettled(Exception):
    """The spec does not say what this costs."""


def credits_of(
    price: Mapping[str, Any] | None, given: Mapping[str, Any], media: Mapping[str, str], read: Read = decoded
) -> int:
    """Return the credits of a create request; 0 when the spec does not say.

    `read` returns the bytes of a file, and raises ValueError or OSError when they are not at hand.
    """
    fields = {name: value for name, value in given.items() if value is not None}
    if not price or not fields.keys().isdisjoint(price.get("unless", [])):
        return 0
    for name, value in price.get("absent", {}).items():
        fields.setdefault(name, value)
    rates = [price, *price.get("more", [])]
    with localcontext(prec=60):
        try:
            usd = next(rate["usd"] for rate in rates if _applies(rate.get("when", {}), fields))
            units = _units(price["count"], fields, media, read) if "count" in price else Decimal(1)
        except (_Unsettled, StopIteration):
            return 0
        return int((Decimal(str(usd)) * CREDITS_PER_USD * units).to_integral_value(ROUND_CEILING))


def credits_of_work(
    price: Mapping[str, Any] | None, given: Mapping[str, Any], media: Mapping[str, str], read: Read
) -> int:
    """Return the credits of a task that was done, with all of its files at hand.

    Which pixels of an enlargement are paid for is in no page: those of the given picture are counted.
    """
    if price and (price["per"], price.get("count")) == ("million pixels", "unknown"):
        price = {**price, "count": {"pixels": "image", "of": 1_000_000}}
    return credits_of(price, given, media, read)


def _applies(when: Mapping[str, Any], fields: Mapping[str, Any]) -> bool:
    open_questions = 0
    for key, wanted in when.items():
        try:
            if not _meets(key, wanted, fields):
                return False
        except _Unsettled:
            open_questions += 1
    if open_questions:
        raise _Unsettled
    return True


def _meets(key: str, wanted: object, fields: Mapping[str, Any]) -> bool:
    if isinstance(wanted, dict):
        area = math.prod(_number(fields.get(side)) for side in key.split(" * "))
        return area <= cast("dict[str, int]", wanted)["at_most"]
    given = [fields[name] for name in key.split(" or ") if name in fields]
    if not given:
        raise _Unsettled
    value = given[0]
    accepted: Iterable[object] = cast("Iterable[object]", wanted) if isinstance(wanted, list) else [wanted]
    return any(isinstance(one, bool) == isinstance(value, bool) and one == value for one in accepted)


def _units(count: Any, fields: Mapping[str, Any], media: Mapping[str, str], read: Read) -> Decimal:
    if count == "unknown":
        raise _Unsettled
    amount = _amount(count, fields, media, read)
    if "plus" in count and (references := fields.get(count["plus"])):
        lengths = [amount, *(_measured("seconds", text, read) for text in references)]
        if min(lengths) <= 0:
            raise _Unsettled
        amount = sum(lengths, Decimal(0))
    if not 0 < amount <= LARGEST:
        raise _Unsettled
    units = amount / Decimal(str(count.get("of", 1)))
    if count.get("whole"):
        units = units.to_integral_value(ROUND_CEILING)
    return min(max(units, Decimal(str(count.get("at_least", 0)))), Decimal(str(count.get("at_most", LARGEST))))


def _amount(count: Mapping[str, Any], fields: Mapping[str, Any], media: Mapping[str, str], read: Read) -> Decimal:
    match count:
        case {"pixels": field}:
            return _measured("pixels", fields.get(field), read)
        case {"frames": field}:
            return _measured("frames", fields.get(field), read)
        case {"seconds": field} if field in media:
            return _measured("seconds", fields.get(field), read)
        case {"seconds": field, "items": items} if fields.get(items):
            usual = fields.get(f"{items}.{field}")
            return sum((_seconds(item.get(field, usual)) for item in fields[items]), Decimal(0))
        case {"seconds": field}:
            return _seconds(fields.get(field))
        case {"characters": field} if isinstance(fields.get(field), str):
            return Decimal(len(fields[field]))
        case {"pictures": field} if (pictures := _number(fields.get(field))) == int(pictures):
            return pictures
        case _:
            raise _Unsettled


def _seconds(value: Any) -> Decimal:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?s", value):
        return Decimal(value.removesuffix("s"))
    return _number(value)


def _number(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Unsettled
    return Decimal(str(value))  # as it is written; create_request.py reads no NaN


def _measured(kind: str, text: Any, read: Read) -> Decimal:
    try:
        data = read(text)
        if kind == "pixels":
            width, height = picture_size(data) or (0, 0)
            return Decimal(width * height)
        return _film(data, kind)
    except (OSError, ValueError, TypeError, AttributeError, IndexError, FFmpegError):
        raise _Unsettled from None


def _film(data: bytes, kind: str) -> Decimal:
    """Return the seconds of an MP4 video, or the frames of its video track; 0 when the file does not say."""
    with av.open(io.BytesIO(data), "r", format="mp4") as film:
        return (
            Decimal(film.duration or 0) / av.time_base if kind == "seconds" else Decimal(film.streams.video[0].frames)
        )
