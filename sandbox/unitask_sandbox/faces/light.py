"""Light and detail of the warped source face are matched to those of the target.

Pictures here are float32: BGR 0 to 255, or CIE Lab with L 0 to 100 and a, b about -127 to 127. ``size`` is
the face's size in pixels (the square root of its area): every radius is a share of it, so that a face looks
the same at every resolution.
"""

import math

import cv2
import numpy as np

from unitask_sandbox.faces.arrays import Flags, Floats, as_floats

FEWEST_SKIN_PIXELS = 200  # Below this many, statistics of the skin are left alone

# The largest deviation of the noise that a face gets, of 255; stronger noise would hide the face
STRONGEST_GRAIN = 24.0


def blur(values: Floats, radius: float) -> Floats:
    """Return a Gaussian blur; a ``radius`` (sigma) up to 0.3 pixels would change nothing and is skipped."""
    return cv2.GaussianBlur(values, (0, 0), radius) if radius > 0.3 else values


def skin_likelihood(lab: Floats, sample: Flags) -> Floats:
    """Return 0 to 1 for each pixel: how much its colour is like that of the sample, which is surely skin.

    A Gaussian around the sample's median, as wide as the median absolute deviation (1.4826 makes that comparable with a
    standard deviation). Lighter pixels are excused more than darker ones, since shine is skin and hair is not.
    """
    colours = lab[sample]
    if len(colours) < 50:
        return np.ones(lab.shape[:2], np.float32)
    median = np.median(colours, 0)
    smallest_width = [6, 2.5, 2.5]  # in L, a, b: in flat light the sample's neighbours count as skin, too
    deviation = np.median(np.abs(colours - median), 0) * 1.4826 + smallest_width
    distance = (lab - median) / (deviation * [1.6, 1.5, 1.5])
    lightness = distance[..., 0]
    lightness[lightness > 0] *= 0.6
    return as_floats(np.exp(-0.5 * np.maximum(0, (distance**2).sum(-1) - 2.0)))


def relight(target: Floats, warped: Floats, target_weight: Floats, warped_weight: Floats, size: float) -> Floats:
    """Return a warped face (Lab) as BGR under the light of the target (Lab), which is aligned with it.

    The weights say how much each pixel is evidence of the light, 0 to 1. Luminance follows the target locally, as a
    ratio; chroma follows it slowly, as a shift, so that lips and cheeks keep the source's colours relative to its skin.
    """
    lab = warped.copy()
    target, warped = (np.dstack([np.log(np.maximum(each[..., 0], 3)), each[..., 1:]]) for each in (target, warped))
    broad_target, broad_warped = _mean(target, target_weight, 0.30 * size), _mean(warped, warped_weight, 0.30 * size)
    local_target, local_warped = _mean(target, target_weight, 0.12 * size), _mean(warped, warped_weight, 0.12 * size)
    gain = 0.35 * (broad_target - broad_warped)[..., 0] + 0.65 * (local_target - local_warped)[..., 0]
    lab[..., 0] *= np.exp(np.clip(gain, -1.1, 1.1))  # at most three times lighter or darker
    # JPEG keeps chroma at half the resolution: a slight blur takes its blocks out of an enlarged source.
    own = blur(warped[..., 1:], 0.006 * size) - broad_warped[..., 1:]
    saturation = _saturation(broad_target[..., 1:], broad_warped[..., 1:], target_weight > 0.5)
    lab[..., 1:] = own * saturation + broad_target[..., 1:]
    return cv2.cvtColor(lab, cv2.COLOR_Lab2BGR) * np.float32(255)


def _mean(values: Floats, weight: Floats, radius: float) -> Floats:
    """Return the mean of the values around each pixel, each counted with its weight."""
    side = 2 * round(math.sqrt(6) * radius) + 1  # a triangle of this side has the deviation of the radius
    weighted = np.dstack([values * weight[..., None], weight])
    summed = cv2.stackBlur(weighted, (side, side))
    return summed[..., :-1] / (summed[..., -1:] + 1e-6)


def _saturation(target: Floats, warped: Floats, skin: Flags) -> float:
    """Return the factor on the source's own colour differences; it is near 0 for a grey target."""
    if skin.sum() <= FEWEST_SKIN_PIXELS:
        return 1.0
    ratio = (np.linalg.norm(target[skin].mean(0)) + 0.3) / (np.linalg.norm(warped[skin].mean(0)) + 0.3)
    return float(np.clip(ratio, 0.0, 1.2))


def match_grain(picture: Floats, target: Floats, skin: Flags) -> Floats:
    """Return the picture with about as much fine detail on the skin as the target has.

    Of a sharper face a part of the detail is taken; a smoother one gets noise without low frequencies, like that of a
    sensor, from a fixed seed: the same pictures give the same bytes.
    """
    if skin.sum() <= FEWEST_SKIN_PIXELS:
        return picture
    wanted, present = (_deviation(_detail(each)[skin].mean(-1)) for each in (target, picture))
    if present > 1.8 * wanted:
        return picture - _detail(picture) * np.float32(1 - 1.5 * wanted / present)
    if wanted > 1.25 * present:
        noise = _detail(np.random.default_rng(7).standard_normal(picture.shape[:2], np.float32))
        strength = min(math.sqrt(wanted**2 - present**2), STRONGEST_GRAIN) / noise.std()
        return picture + noise[..., None] * np.float32(0.8 * strength)
    return picture


def _detail(picture: Floats) -> Floats:
    return picture - blur(picture, 1.2)


def _deviation(values: Floats) -> float:
    """Return the median absolute deviation (1.4826 makes that comparable with a standard deviation).

    A few hard edges, as of a bar over the eyes or of a frame of glasses, are not grain.
    """
    return float(np.median(np.abs(values - np.median(values))) * 1.4826)


def kept_hair(skin: Floats, forehead: Floats, size: float) -> Floats:
    """Return where the forehead must stay the target's, 0 to 1: where a face shows hair or a hat.

    The target's hair is kept, and the source's is not brought along. ``skin`` is the likelihood in both faces.
    """
    covered = (1 - skin) * np.clip(forehead * 1.3, 0, 1)
    return blur(cv2.dilate(covered, np.ones((3, 3))), 0.015 * size)
