"""PIL images and arrays as PNG files of eight bits a channel, with the pixels as a viewer shows them.

Pillow and numpy are not dependencies: the module that an object comes from is used.
"""

import importlib
import io
import struct
import sys
import zlib
from typing import Any

_PLAIN = ("1", "L", "LA", "P", "RGB", "RGBA")  # modes that a PNG of eight bits holds as they are
_WITH_ALPHA = {"La": "LA", "PA": "RGBA", "RGBa": "RGBA"}


def is_pil_image(value: object) -> bool:
    """Whether the value is a Pillow image. Its attributes do not decide: file uploads have `save` and `mode`."""
    module: Any = sys.modules.get("PIL.Image")  # an image exists only where it is loaded
    return module is not None and isinstance(value, module.Image)


def pil_png(image: Any) -> bytes:
    """Encode a PIL image as PNG of eight bits, upright by its EXIF data."""
    try:
        upright = importlib.import_module("PIL.ImageOps").exif_transpose(image)
    except Exception:  # broken EXIF data raise anything, and viewers ignore them; broken pixels raise again below
        upright = image
    mode: str = upright.mode
    if mode in ("F", "I") or mode.startswith("I;"):
        raise ValueError(
            f"a PIL image of mode {mode} has no known white: scale it to 0 to 255, and convert it to mode L"
        )
    plain = upright if mode in _PLAIN else upright.convert(_WITH_ALPHA.get(mode, "RGB"))
    options = {} if plain is upright else {"icc_profile": None}  # a profile describes the mode from before
    buffer = io.BytesIO()
    plain.save(buffer, format="PNG", **options)
    return buffer.getvalue()


def array_png(array: Any) -> bytes:
    """Encode an array of unsigned bytes as PNG: (height, width), grey, or (height, width, 3 or 4) in RGB order."""
    interface = array.__array_interface__
    shape = tuple(interface["shape"])
    if not hasattr(array, "tobytes"):
        raise ValueError(f"an array of shape {shape} has no tobytes(): give numpy.asarray of it")
    channels = shape[2] if len(shape) == 3 else 1
    if interface["typestr"][1:] != "u1" or len(shape) not in (2, 3) or channels not in (1, 3, 4) or 0 in shape:
        raise ValueError(
            f"an array of shape {shape} and type {interface['typestr']} is not a picture: "
            "give (height, width[, 3 or 4]) of uint8, channels in RGB order"
        )
    height, width = shape[:2]
    pixels, row = bytes(array.tobytes()), width * channels
    lines = b"".join(b"\0" + pixels[start : start + row] for start in range(0, height * row, row))
    kind = {1: 0, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
