"""Where the new face goes and how its border vanishes: masks over a region, and the multi-band blend."""

import cv2
import numpy as np

from unitask_sandbox.faces.arrays import Flags, Floats, Pixels, as_floats, as_pixels
from unitask_sandbox.faces.geometry import smoothstep
from unitask_sandbox.faces.mesh import (
    LEFT_BROW,
    LEFT_EYE,
    LEFT_NOSTRIL,
    NOSE_BASE,
    OUTER_LIPS,
    RIGHT_BROW,
    RIGHT_EYE,
    RIGHT_NOSTRIL,
)
from unitask_sandbox.faces.raster import Region, fill_outline

LEVELS = 4  # Bands of the blend; the coarsest mixes over some 16 pixels

VISIBLE = 1 / 255  # Weights up to this one cannot change a pixel


def depth_inside(covered: Flags) -> Floats:
    """Return how far each pixel is from the border of the covered area, in pixels; 0 outside.

    The region's own border counts as one: a face cut off by the picture ends there.
    """
    padded = cv2.copyMakeBorder(covered.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    return as_floats(cv2.distanceTransform(padded, cv2.DIST_L2, 3))[1:-1, 1:-1]


def feature_mask(landmarks: Floats, region: Region, margin: int) -> Pixels:
    """Return a mask of what is not plain skin: eyes, lips, brows, nostrils and ``margin`` pixels around."""
    mask = np.zeros(region.shape, np.uint8)
    for feature in (RIGHT_EYE, LEFT_EYE, OUTER_LIPS):
        mask |= fill_outline(landmarks[list(feature), :2], region)
    for brow in (RIGHT_BROW, LEFT_BROW):
        hull = cv2.convexHull(np.ascontiguousarray(landmarks[list(brow), :2]))
        mask |= fill_outline(as_floats(hull)[:, 0], region)
    nose = landmarks[[RIGHT_NOSTRIL, LEFT_NOSTRIL, NOSE_BASE]]
    for x, y in np.round(region.points(nose)).astype(int).tolist():
        cv2.circle(mask, (x, y), margin, 255, -1)
    return as_pixels(cv2.dilate(mask, np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)))


def multiband(over: Floats, under: Floats, mask: Floats) -> Floats:
    """Return ``over`` blended into ``under`` by ``mask`` (1 = over), each frequency band over its own width.

    Burt and Adelson's pyramid blend: coarse bands mix broadly, so no step in the light shows, and fine bands
    mix narrowly, so no detail appears twice.
    """
    levels = max(1, min(LEVELS, int(np.log2(min(over.shape[:2]))) - 3))
    overs, unders, masks = (_reductions(picture, levels) for picture in (over, under, mask))
    blended = _mix(overs[-1], unders[-1], masks[-1])
    for level in range(levels - 1, -1, -1):
        over_band, under_band = (_band(pyramid, level) for pyramid in (overs, unders))
        weight = masks[level][..., None]
        blended = as_floats(_enlarged(blended, overs[level]) + over_band * weight + under_band * (1 - weight))
    return blended


def _reductions(picture: Floats, levels: int) -> list[Floats]:
    pyramid = [picture]
    for _ in range(levels):
        pyramid.append(as_floats(cv2.pyrDown(pyramid[-1])))
    return pyramid


def _band(pyramid: list[Floats], level: int) -> Floats:
    """Return the detail that a level has over the next coarser one."""
    return pyramid[level] - _enlarged(pyramid[level + 1], pyramid[level])


def _enlarged(picture: Floats, like: Floats) -> Floats:
    return as_floats(cv2.pyrUp(picture, dstsize=(like.shape[1], like.shape[0])))


def _mix(over: Floats, under: Floats, mask: Floats) -> Floats:
    weight = mask[..., None]
    return as_floats(over * weight + under * (1 - weight))


def face_weight(depth: Floats, hair: Floats, size: float) -> Floats:
    """Return the blending weight: 0 at the outline and on kept hair, 1 from 13 % of the size inside."""
    weight = smoothstep(depth, 0.01 * size, 0.13 * size)
    return as_floats(weight * (1 - smoothstep(hair, 0.3, 0.75)))


def compose(face: Floats, patch: Pixels, weight: Floats, size: float) -> tuple[Pixels, Pixels]:
    """Return the patch with the face blended in, and the mask of pixels that may differ (255) from the patch.

    The multi-band blend spreads a little beyond its mask: a ramp along the mask's border (2 % of the face's
    size) ends it there, and pixels outside are copied, not computed.
    """
    original = patch.astype(np.float32)
    blended = multiband(face, original, weight)
    mask = as_pixels(cv2.dilate((weight > VISIBLE).astype(np.uint8), np.ones((3, 3))))
    depth = as_floats(cv2.distanceTransform(mask, cv2.DIST_L2, 3))
    ramp = np.clip(depth / max(2.0, 0.02 * size), 0, 1)
    mixed = np.rint(np.clip(_mix(blended, original, ramp), 0, 255)).astype(np.uint8)
    return np.where(mask[..., None] > 0, mixed, patch), mask * np.uint8(255)
