"""Time of one face swap: detection in both pictures and the swap, on decoded 512x512 and 512x600 pictures.

`python benchmarks/bench_swap.py`. The reference is 20 blurs of a 512x512 float picture. Both run in turn in one
process, and medians are compared: the ratio is steady on a busy machine, where a time alone says little.
"""

import time
from collections.abc import Callable
from statistics import median

import cv2
import numpy as np
from unitask_sandbox import samples
from unitask_sandbox.faces.detect import find_faces
from unitask_sandbox.faces.pictures import decode
from unitask_sandbox.faces.swap import SourceFace, swap_face, warm_up

THREADS = 2
ROUNDS = 15


def main() -> None:
    """Print the time of a swap, of the reference, and their ratio."""
    warm_up(threads=THREADS)
    target = decode(samples.ASTRONAUT.read_bytes(), "target_image")
    source = decode(samples.GRACE_HOPPER.read_bytes(), "swap_image")
    picture = np.random.default_rng(0).random((512, 512, 3), np.float32)

    def swap() -> None:
        face = find_faces(target)[0]
        swap_face(target, face, SourceFace(source, find_faces(source)[0]))

    def blur() -> None:
        for _ in range(20):
            cv2.GaussianBlur(picture, (0, 0), 5)

    rounds = [(seconds(swap), seconds(blur)) for _ in range(ROUNDS + 1)][1:]  # the first one warms up
    engine, reference = (median(times) for times in zip(*rounds, strict=True))
    megapixels = target.shape[0] * target.shape[1] / 1e6
    print(f"engine     {engine * 1e3:7.1f} ms, {engine * 1e3 / megapixels:.0f} ms per target megapixel")
    print(f"reference  {reference * 1e3:7.1f} ms (20 blurs)")
    print(f"ratio      {engine / reference:7.2f}")


def seconds(work: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
