"""PIL images and arrays as PNG files of eight bits a channel, with the pixels as a viewer shows them.

Pillow and numpy are no dependencies: what is called is the module that the object comes from.
"""

from __future__ import annotations

import importlib
import io
import math
import struct
import sys
import zlib
from typing import Any

_PLAIN = ("1", "L", "LA", "P", "RGB", "RGBA")  # modes that a PNG of eight bits holds as they are
_WITH_ALPHA = {"La": "LA", "PA": "RGBA", "RGBa": "RGBA"}


def is_pil_image(value: object) -> bool:
    """Whether the value is a Pillow image. Its attributes do not decide: file uploads have `save` and `mode`."""
    module: Any = sys.modules.get("PIL.Image")  # who has such an image has loaded it
    return module is not None and isinstance(value, module.Image)


def pil_png(image: Any) -> bytes:
    """A PNG of a PIL image: upright, if its EXIF data say how it lies, and in eight bits.

    Grey levels of more than eight bits are scaled by their range: 0 to 255 is taken as it is (Pillow converts mode L
    so), of 0 to 65535 the upper eight bits are taken, and floats of 0 to 1 are shares of white.

    Raises:
        ValueError: The mode cannot be converted, or the values are in no such range.
    """
    upright = _upright(image)
    plain = _plain(upright)
    options = {} if plain is upright else {"icc_profile": None}  # a profile describes the mode from before
    buffer = io.BytesIO()
    plain.save(buffer, format="PNG", **options)
    return buffer.getvalue()


def _upright(image: Any) -> Any:
    """The image as viewers show it: a camera writes into the EXIF data how it was held."""
    operations: Any = importlib.import_module("PIL.ImageOps")
    try:
        return operations.exif_transpose(image)
    except Exception:  # broken EXIF data raise anything, and viewers ignore them; broken pixels raise again below
        return image


def _plain(image: Any) -> Any:
    mode: str = image.mode
    if mode in _PLAIN:
        return image
    if mode in _WITH_ALPHA:
        return image.convert(_WITH_ALPHA[mode])
    if mode == "F":
        return _scaled_floats(image).convert("L").convert("RGB")
    if mode == "I" or mode.startswith("I;"):
        return _scaled_integers(image.convert("I")).convert("L").convert("RGB")
    return image.convert("RGB")


def _scaled_integers(image: Any) -> Any:
    least, most = image.getextrema()
    if least < 0 or most > 65535:
        raise _no_range(image, least, most, "0 to 255 or 0 to 65535")
    return image if most <= 255 else _linear(image, 1 / 256, 0)


def _scaled_floats(image: Any) -> Any:
    least, most = image.getextrema()
    has_nan = math.isnan(sum(memoryview(image.tobytes()).cast("f")))
    if has_nan or not 0 <= least <= most <= 255:
        raise _no_range(image, least, math.nan if has_nan else most, "0 to 1 or 0 to 255")
    return _linear(image, 255 if most <= 1 else 1, 0.5)


def _linear(image: Any, factor: float, plus: float) -> Any:
    """The image with each level times a factor plus a number; Pillow then cuts fractions off."""

    def line(level: Any) -> Any:
        return level * factor + plus

    return image.point(line)


def _no_range(image: Any, least: float, most: float, ranges: str) -> ValueError:
    return ValueError(
        f"a PIL image of mode {image.mode} with levels from {least:g} to {most:g} has no known white: "
        f"scale it to {ranges}, or convert it to mode L"
    )


def array_png(array: Any) -> bytes:
    """A PNG of an array of unsigned bytes: (height, width), grey, or (height, width, 3 or 4) in RGB order.

    Raises:
        ValueError: It has another shape or type, or its bytes cannot be read.
    """
    interface = array.__array_interface__
    shape = tuple(interface["shape"])
    channels = shape[2] if len(shape) == 3 else 1
    if interface["typestr"][1:] != "u1" or len(shape) not in (2, 3) or channels not in (1, 3, 4) or 0 in shape:
        raise ValueError(
            f"an array of shape {shape} and type {interface['typestr']} is not a picture: "
            "give (height, width[, 3 or 4]) of uint8, channels in RGB order"
        )
    height, width = shape[:2]
    pixels, row = _array_bytes(array, interface), width * channels
    if len(pixels) != height * row:
        raise ValueError(f"an array of shape {shape} gives {len(pixels)} bytes, not {height * row}")
    lines = b"".join(b"\0" + pixels[start : start + row] for start in range(0, height * row, row))
    kind = {1: 0, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def _array_bytes(array: Any, interface: dict[str, Any]) -> bytes:
    """The bytes of an array, row by row. An object may have nothing but the interface."""
    if callable(getattr(array, "tobytes", None)):
        return bytes(array.tobytes())
    if interface.get("strides") is None and not isinstance(interface.get("data"), tuple | None):
        return memoryview(interface["data"]).tobytes()[interface.get("offset", 0) :]
    try:
        numpy: Any = importlib.import_module("numpy")  # it reads the memory that the interface points to
    except ImportError:
        raise ValueError(f"a {type(array).__name__} gives no bytes without numpy: install it") from None
    return bytes(numpy.asarray(array).tobytes())
