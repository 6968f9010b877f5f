"""What stands in front, and the picture without its background.

U^2-Net in its small form (u2netp) says on 320 x 320 pixels how much each belongs to the salient object; a guided filter
brings that to the picture's own edges.
"""

from functools import cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from unitask_sandbox.faces.arrays import Floats, Network, Pixels, as_floats
from unitask_sandbox.faces.pictures import decode, encode

FIELD: Final = "image"
MARK: Final = "synthetic: background removed by the unitask sandbox"

LIMIT: Final = 4097  # No side of the picture may reach this: larger than a telephone's pictures. No page names a limit

# How u2netp was trained to be shown a picture: sides, and mean and deviation of red, green and blue.
_SIDE: Final = 320
_MEAN: Final = (0.485, 0.456, 0.406)
_DEVIATION: Final = (0.229, 0.224, 0.225)
_OUTPUT: Final = "1959"  # the finest of its seven

_GUIDE_SIDE: Final = 640  # the filter's coefficients are computed on a copy of this side: they vary slowly
_WINDOW: Final = (17, 17)  # of the filter, in pixels of that copy: some ten of the network's
_SMOOTHNESS: Final = 1e-3  # variance of light, of 1, below which there is no edge to follow


def remove_background(data: bytes) -> bytes:
    """Return what stands in front of a picture, as PNG whose alpha is 0 where the background was."""
    picture = decode(data, FIELD, LIMIT)
    return encode(cut_out(picture, salient(picture)), MARK)


def cut_out(picture: Pixels, mask: Pixels) -> Pixels:
    """Return a BGR picture with the mask as its alpha; what cannot be seen is black, so that it is not in the file."""
    return np.dstack([np.where(mask[..., None] > 0, picture, np.uint8(0)), mask])


def salient(picture: Pixels) -> Pixels:
    """Return how much each pixel of a BGR picture belongs to what stands in front, 0 to 255.

    The guided filter (He, Sun, Tang 2013, equations 5 to 8): in each window the values are taken to be
    ``slope * light + offset``; each pixel gets the mean over its windows.
    """
    light = as_floats(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)) / 255
    guide = cv2.resize(light, (_GUIDE_SIDE, _GUIDE_SIDE), interpolation=cv2.INTER_AREA)
    values = cv2.resize(_salience(picture), (_GUIDE_SIDE, _GUIDE_SIDE))
    mean_light, mean_value = (as_floats(cv2.blur(part, _WINDOW)) for part in (guide, values))
    variance = as_floats(cv2.blur(guide * guide, _WINDOW)) - mean_light**2
    slope = (cv2.blur(guide * values, _WINDOW) - mean_light * mean_value) / (variance + _SMOOTHNESS)
    offset = mean_value - slope * mean_light
    slope, offset = (cv2.resize(cv2.blur(part, _WINDOW), light.shape[::-1]) for part in (slope, offset))
    # The ends of the scale are drawn in: a faint veil over the background, or a hole in the object, is the filter's.
    alpha = (slope * light + offset - 0.1) / 0.8
    return np.asarray(np.rint(np.clip(alpha, 0, 1) * 255), np.uint8)


def _salience(picture: Pixels) -> Floats:
    """Return a ``(320, 320)`` map, 0 to 1, of a picture of any size."""
    # Means of areas for what is larger; what is smaller must stay sharp, or little of it is found.
    way = cv2.INTER_AREA if min(picture.shape[:2]) > _SIDE else cv2.INTER_CUBIC
    small = as_floats(cv2.resize(picture, (_SIDE, _SIDE), interpolation=way))[..., ::-1]
    shown = (small / max(float(small.max()), 1.0) - as_floats(_MEAN)) / as_floats(_DEVIATION)
    found: Floats
    (((found,),),) = _network()(cv2.dnn.blobFromImage(shown), _OUTPUT)
    return cv2.normalize(found, np.empty_like(found), 0.0, 1.0, cv2.NORM_MINMAX)


@cache
def _network() -> Network:
    return Network(cv2.dnn.readNetFromONNX(str(Path(__file__).with_name("weights") / "u2netp.onnx")))
