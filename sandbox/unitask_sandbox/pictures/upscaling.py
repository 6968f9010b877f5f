"""Enlarging a picture: by a network while it is small, by interpolation beyond that."""

from typing import Final

import cv2

from unitask_sandbox.faces.arrays import as_pixels
from unitask_sandbox.faces.pictures import decode, encode, too_large
from unitask_sandbox.pictures.waifu2x import doubled

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
