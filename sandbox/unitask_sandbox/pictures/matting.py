"""What stands in front, and the picture without its background.

U^2-Net in its small form (u2netp) says on 320 x 320 pixels how much each belongs to the salient object; a guided filter
brings that to the picture's own edges.
"""

from functools import cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from unitask_sandbox.faces.arrays import Floats, Network, Pixels, as_floats, as_pixels
from unitask_sandbox.faces.pictures import decode, encode

FIELD: Final = "image"
MARK: Final = "synthetic: background removed by the unitask sandbox"

LIMIT: Final = 4097  # No side of the picture may reach this: larger than a telephone's pictures. No page names a limit

# How u2netp was trained to be shown a picture: sides, and mean and deviation of red, green and blue.
_SIDE: Final = 320
_MEAN: Final = (0.485, 0.456, 0.406)
_DEVIATION: Final = (0.229, 0.224, 0.225)
_OUTPUT: Final = "1959"  # the finest of its seven

_GUIDE_SIDE: Final = 640  # the filter's coefficients are computed on a copy of at most this side: they vary slowly
_RADIUS: Final = 8  # of its windows, in pixels of that copy: some five of the network's
_SMOOTHNESS: Final = 1e-3  # variance of colour, of 1, below which there is no edge to follow


def remove_background(data: bytes) -> bytes:
    """Return what stands in front of a picture, as PNG whose alpha is 0 where the background was."""
    picture = decode(data, FIELD, LIMIT)
    return encode(cut_out(picture, salient(picture)), MARK)


def cut_out(picture: Pixels, mask: Pixels) -> Pixels:
    """Return a BGR picture with the mask as its alpha; what cannot be seen is black, so that it is not in the file."""
    return as_pixels(np.dstack([np.where(mask[..., None] > 0, picture, np.uint8(0)), mask]))


def salient(picture: Pixels) -> Pixels:
    """Return how much each pixel of a BGR picture belongs to what stands in front, 0 to 255."""
    height, width = picture.shape[:2]
    reduction = min(1.0, _GUIDE_SIDE / max(height, width))
    size = (max(1, round(width * reduction)), max(1, round(height * reduction)))
    guide = as_floats(cv2.resize(picture, size, interpolation=cv2.INTER_AREA)) / np.float32(255)
    slope, offset = _guided(guide, as_floats(cv2.resize(_salience(picture), size)))
    slope, offset = (as_floats(cv2.resize(values, (width, height))) for values in (slope, offset))
    alpha = np.einsum("ijk,ijk->ij", slope, picture) / np.float32(255) + offset
    # The ends of the scale are drawn in: a faint veil over the background, or a hole in the object, is the filter's.
    return as_pixels(np.rint(np.clip((alpha - 0.1) / 0.8, 0, 1) * 255).astype(np.uint8))


def _guided(guide: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Return slope and offset of the guided filter (He, Sun, Tang 2013, equations 14 to 16) with a guide in colour.

    In each window the values are taken to be ``slope @ colour + offset``; each pixel gets the mean over its windows.
    """
    mean_colour, mean_value = _mean(guide), _mean(values)
    covariance = _mean(guide * values[..., None]) - mean_colour * mean_value[..., None]
    products = guide[..., :, None] * guide[..., None, :]
    squares = _mean(products.reshape(*guide.shape[:2], 9)).reshape(products.shape)
    scatter = squares - mean_colour[..., :, None] * mean_colour[..., None, :] + np.eye(3) * _SMOOTHNESS
    slope = as_floats(np.linalg.solve(scatter, covariance[..., None])[..., 0])
    offset = mean_value - np.einsum("ijk,ijk->ij", slope, mean_colour)
    return _mean(slope), _mean(as_floats(offset))


def _mean(values: Floats) -> Floats:
    side = 2 * _RADIUS + 1
    return as_floats(cv2.blur(values, (side, side)))


def _salience(picture: Pixels) -> Floats:
    """Return a ``(320, 320)`` map, 0 to 1, of a picture of any size."""
    # Means of areas for what is larger; what is smaller must stay sharp, or little of it is found.
    way = cv2.INTER_AREA if min(picture.shape[:2]) > _SIDE else cv2.INTER_CUBIC
    small = as_floats(cv2.resize(picture, (_SIDE, _SIDE), interpolation=way))[..., ::-1]
    shown = (small / max(float(small.max()), 1.0) - as_floats(_MEAN)) / as_floats(_DEVIATION)
    (((found,),),) = _network()(np.ascontiguousarray(shown.transpose(2, 0, 1)[None], np.float32), _OUTPUT)
    lowest, highest = float(found.min()), float(found.max())
    return as_floats((found - lowest) / max(highest - lowest, 1e-6))


@cache
def _network() -> Network:
    return Network(cv2.dnn.readNetFromONNX(str(Path(__file__).with_name("weights") / "u2netp.onnx")))
