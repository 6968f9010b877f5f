"""Light and detail of the warped source face are matched to those of the target.

Pictures here are float32: BGR 0 to 255, or CIE Lab with L 0 to 100 and a, b about -127 to 127. ``size`` is
the face's size in pixels (the square root of its area): every radius is a share of it, so that a face looks
the same at every resolution.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from unitask_sandbox.faces.arrays import Flags, Floats, Pixels, as_floats

FEWEST_SKIN_PIXELS = 200  # Below this many, statistics of the skin are left alone

# The largest deviation of the noise that a face gets, of 255; stronger noise would hide the face
STRONGEST_GRAIN = 24.0


def to_lab(picture: Floats) -> Floats:
    """Return a BGR picture as CIE Lab."""
    return as_floats(cv2.cvtColor(picture / 255, cv2.COLOR_BGR2Lab))


def to_bgr(lab: Floats) -> Floats:
    """Return a CIE Lab picture as BGR, not clipped."""
    return as_floats(cv2.cvtColor(lab, cv2.COLOR_Lab2BGR)) * np.float32(255)


def blur(values: Floats, radius: float) -> Floats:
    """Return a Gaussian blur; a ``radius`` (sigma) up to 0.3 pixels would change nothing and is skipped."""
    return as_floats(cv2.GaussianBlur(values, (0, 0), radius)) if radius > 0.3 else values


def skin_likelihood(lab: Floats, sample: Flags) -> Floats:
    """Return 0 to 1 for each pixel: how much its colour is like that of the sample, which is surely skin.

    A Gaussian around the sample's median, as wide as the median absolute deviation (1.4826 makes that comparable with a
    standard deviation). Lighter pixels are excused more than darker ones, since shine is skin and hair is not.
    """
    colours = lab[sample]
    if len(colours) < 50:
        return np.ones(lab.shape[:2], np.float32)
    median = np.median(colours, 0)
    smallest_width = [6, 2.5, 2.5]  # in L, a, b: flat light must not make the sample's neighbours strangers
    deviation = np.median(np.abs(colours - median), 0) * 1.4826 + smallest_width
    distance = (lab - median) / (deviation * [1.6, 1.5, 1.5])
    lightness = distance[..., 0]
    lightness[lightness > 0] *= 0.6
    return as_floats(np.exp(-0.5 * np.maximum(0, (distance**2).sum(-1) - 2.0)))


@dataclass(frozen=True, eq=False)
class Relight:
    """The two faces, aligned pixel by pixel, and each pixel's weight as evidence of the light, 0 to 1."""

    target_lab: Floats
    warped_lab: Floats
    target_weight: Floats
    warped_weight: Floats
    size: float

    def apply(self) -> Floats:
        """Return the warped face as BGR under the target's light.

        Luminance follows the target locally, as a ratio; chroma follows it slowly, as a shift, so that lips
        and cheeks keep the source's colours relative to its skin.
        """
        lab = self.warped_lab.copy()
        lab[..., 0] *= np.exp(np.clip(self._log_gain(), -1.1, 1.1))  # at most three times lighter or darker
        lab[..., 1:] = self._chroma()
        return to_bgr(lab)

    def _log_gain(self) -> Floats:
        """Return the log of target over source luminance: a third broad light, two thirds local shading."""
        target, warped = (np.log(np.maximum(lab[..., 0], 3)) for lab in (self.target_lab, self.warped_lab))
        broad, local = (
            _weighted_mean(target, self.target_weight, radius * self.size)
            - _weighted_mean(warped, self.warped_weight, radius * self.size)
            for radius in (0.30, 0.12)
        )
        return as_floats(0.35 * broad + 0.65 * local)

    def _chroma(self) -> Floats:
        radius = 0.35 * self.size
        target = _weighted_mean(self.target_lab[..., 1:], self.target_weight, radius)
        warped = _weighted_mean(self.warped_lab[..., 1:], self.warped_weight, radius)
        # JPEG keeps chroma at half the resolution: a slight blur takes its blocks out of an enlarged source.
        own = blur(self.warped_lab[..., 1:], 0.006 * self.size) - warped
        return own * self._saturation(target, warped) + target

    def _saturation(self, target: Floats, warped: Floats) -> float:
        """Return the factor on the source's own colour differences; it is near 0 for a grey target."""
        skin = self.target_weight > 0.5
        if skin.sum() <= FEWEST_SKIN_PIXELS:
            return 1.0
        ratio = (np.linalg.norm(target[skin].mean(0)) + 0.3) / (np.linalg.norm(warped[skin].mean(0)) + 0.3)
        return float(np.clip(ratio, 0.0, 1.2))


def _weighted_mean(values: Floats, weight: Floats, radius: float) -> Floats:
    """Return the mean of the values around each pixel, each counted with its weight."""
    if values.ndim == 2:
        return as_floats(_broad_blur(values * weight, radius) / (_broad_blur(weight, radius) + 1e-6))
    amount = _broad_blur(weight, radius)[..., None] + 1e-6
    return as_floats(_broad_blur(values * weight[..., None], radius) / amount)


def _broad_blur(values: Floats, radius: float) -> Floats:
    """Return a Gaussian blur of a large radius, computed on a reduced copy."""
    reduction = max(1, int(radius / 3))
    height, width = values.shape[:2]
    small_size = (max(2, width // reduction), max(2, height // reduction))
    small = cv2.resize(values, small_size, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), radius / reduction, borderType=cv2.BORDER_REPLICATE)
    return as_floats(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


def match_grain(picture: Floats, target: Floats, skin: Flags, size: float) -> Floats:
    """Return the picture with about as much fine detail on the skin as the target has.

    A sharper face is blurred; a smoother one gets noise, from a fixed seed: the same pictures give the same
    bytes.
    """
    if skin.sum() <= FEWEST_SKIN_PIXELS:
        return picture
    wanted, present = _fine_detail(target, skin), _fine_detail(picture, skin)
    if present > 1.8 * wanted:
        return _soften(picture, 1.5 * wanted, skin, max(0.6, 0.006 * size))
    if wanted > 1.25 * present:
        grain = _grain(picture.shape[:2], min(math.sqrt(wanted**2 - present**2), STRONGEST_GRAIN))
        return as_floats(picture + grain[..., None] * 0.8)
    return picture


def _fine_detail(picture: Floats, skin: Flags) -> float:
    """Return the deviation, over the skin, of what a blur by 1.2 pixels takes away.

    It is the median absolute deviation (1.4826 makes that comparable with a standard deviation): a few hard edges, as
    of a bar over the eyes or of a frame of glasses, are not grain.
    """
    detail = (picture - blur(picture, 1.2))[skin].mean(-1)
    return float(np.median(np.abs(detail - np.median(detail))) * 1.4826)


def _soften(picture: Floats, wanted: float, skin: Flags, strongest: float) -> Floats:
    """Return the least blurred picture that has no more detail than wanted, by bisection on the radius."""
    low, high = 0.0, strongest
    for _ in range(5):  # to 1/32 of the strongest blur, which is invisible
        middle = (low + high) / 2
        if _fine_detail(blur(picture, middle), skin) > wanted:
            low = middle
        else:
            high = middle
    return blur(picture, high)


def _grain(shape: tuple[int, ...], deviation: float) -> Floats:
    """Return noise of the given deviation without its low frequencies, like that of a sensor."""
    noise = np.random.default_rng(7).standard_normal(shape).astype(np.float32)
    noise -= blur(noise, 1.2)
    return as_floats(noise * (deviation / (noise.std() + 1e-6)))


def kept_hair(skin: Floats, forehead: Floats, size: float) -> Floats:
    """Return where the forehead must stay the target's, 0 to 1: where a face shows hair or a hat.

    The target's hair is kept, and the source's is not brought along. ``skin`` is the likelihood in both faces.
    """
    covered = (1 - skin) * np.clip(forehead * 1.3, 0, 1)
    return blur(as_floats(cv2.dilate(covered, np.ones((3, 3)))), 0.015 * size)


def evidence(covered: Flags, skin: Floats, features: Pixels) -> Floats:
    """Return each pixel's weight for the light: that of skin beside the features.

    The rest of the face keeps a trace, so that a mean is defined where no skin is near.
    """
    plain = covered & (features == 0)
    return as_floats(plain * skin + 1e-4 * covered)
