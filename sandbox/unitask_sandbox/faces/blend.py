"""Where the new face goes and how its border vanishes: masks over a region, and the multi-band blend."""

from typing import Any

import cv2
import numpy as np

from unitask_sandbox.faces.arrays import Flags, Floats, Pixels, as_floats
from unitask_sandbox.faces.geometry import smoothstep
from unitask_sandbox.faces.mesh import LEFT_BROW, LEFT_EYE, NOSTRILS, OUTER_LIPS, RIGHT_BROW, RIGHT_EYE
from unitask_sandbox.faces.raster import Region, fill_hull

LEVELS = 4  # bands of the blend; the coarsest mixes over some 16 pixels

VISIBLE = 1 / 255  # weights up to this one cannot change a pixel


def depth_inside(covered: Flags) -> Floats:
    """Return how far each pixel is from the border of the covered area, in pixels; 0 outside.

    The region's own border counts as one: a face cut off by the picture ends there.
    """
    padded = cv2.copyMakeBorder(covered.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    return cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]


def feature_mask(vertices: Floats, region: Region, margin: int) -> Pixels:
    """Return a mask of what is not plain skin: eyes, lips, brows, nostrils and ``margin`` pixels around."""
    mask = np.zeros(region.shape, np.uint8)
    for feature in (RIGHT_EYE, LEFT_EYE, OUTER_LIPS, RIGHT_BROW, LEFT_BROW, NOSTRILS):
        mask |= fill_hull(vertices[list(feature)], region)
    return cv2.dilate(mask, np.ones((2 * margin + 1, 2 * margin + 1), np.uint8))


def face_weight(depth: Floats, hair: Floats, size: float) -> Floats:
    """Return the blending weight: 0 at the outline and on kept hair, 1 from 13 % of the size inside."""
    return as_floats(smoothstep(depth, 0.01 * size, 0.13 * size) * (1 - smoothstep(hair, 0.3, 0.75)))


def compose(face: Floats, patch: Pixels, weight: Floats, size: float) -> tuple[Pixels, Pixels]:
    """Return the patch with the face blended in, and the mask of pixels that may differ (255) from the patch.

    The blend mixes each frequency band over its own width (Burt and Adelson): coarse bands broadly, so no step in the
    light shows, and fine bands narrowly, so no detail appears twice. So it spreads a little beyond its mask: a ramp
    along the mask's border (2 % of the face's size) ends it there, and pixels outside stay as they are.
    """
    height, width = patch.shape[:2]
    blender: Any = cv2.detail.MultiBandBlender(0, LEVELS, cv2.CV_32F)
    blender.prepare((0, 0, width, height))
    share = np.rint(weight * 255).astype(np.uint8)
    for picture, mask in ((np.clip(face, 0, 255), share), (patch, 255 - share)):
        blender.feed(np.rint(as_floats(picture) * 64).astype(np.int16), mask, (0, 0))
    blended, _ = blender.blend(None, None)
    mask = cv2.dilate((weight > VISIBLE).astype(np.uint8), np.ones((3, 3)))
    ramp = np.clip(cv2.distanceTransform(mask, cv2.DIST_L2, 3) / max(2.0, 0.02 * size), 0, 1)[..., None]
    mixed = np.rint(np.clip(blended / 64 * ramp + patch * (1 - ramp), 0, 255)).astype(np.uint8)
    return mixed, mask * np.uint8(255)
