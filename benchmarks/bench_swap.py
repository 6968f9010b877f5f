"""Time of one face swap: detection in both pictures and the swap, on decoded 512x512 and 512x600 pictures.

    python benchmarks/bench_swap.py                   in units of a yardstick: 20 blurs of a 512x512 float picture
    python benchmarks/bench_swap.py --prototype DIR   against another engine: DIR holds its swap.py, facekit.py, models/

Engine and reference run in turn (A B A B ...) in one process, and medians are compared: the ratio is steady on a
machine that is busy with other things, where a time alone says little.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from unitask_sandbox import samples
from unitask_sandbox.faces.detect import find_faces
from unitask_sandbox.faces.pictures import decode
from unitask_sandbox.faces.swap import SourceFace, swap_face, warm_up

THREADS = 2


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Measure the face swap against a reference.")
    parser.add_argument("--prototype", type=Path, metavar="DIR", help="folder of the engine to compare with")
    parser.add_argument("--rounds", type=int, default=15, help="runs of each (default: %(default)s)")
    options = parser.parse_args()
    warm_up(threads=THREADS)
    target = decode(samples.ASTRONAUT.read_bytes(), "target_image")
    source = decode(samples.GRACE_HOPPER.read_bytes(), "swap_image")
    reference = other_engine(options.prototype, target, source) if options.prototype else yardstick()
    engine_time, reference_time = interleaved([lambda: swap(target, source), reference], options.rounds)
    megapixels = target.shape[0] * target.shape[1] / 1e6
    print(f"engine     {engine_time * 1e3:7.1f} ms, {engine_time * 1e3 / megapixels:.0f} ms per target megapixel")
    print(f"reference  {reference_time * 1e3:7.1f} ms ({options.prototype or '20 blurs'})")
    print(f"ratio      {engine_time / reference_time:7.2f}")


def swap(target: np.ndarray, source: np.ndarray) -> None:
    """Do what a task does between decoding and encoding."""
    face = find_faces(target)[0]
    swap_face(target, face, SourceFace(source, find_faces(source)[0]))


def yardstick() -> Callable[[], object]:
    """Return a fixed piece of work of the same kind: memory traffic and vector arithmetic inside OpenCV."""
    picture = np.random.default_rng(0).random((512, 512, 3), np.float32)
    return lambda: [cv2.GaussianBlur(picture, (0, 0), 5) for _ in range(20)]


def other_engine(folder: Path, target: np.ndarray, source: np.ndarray) -> Callable[[], object]:
    """Return the same swap by another engine."""
    sys.path.insert(0, str(folder))
    engine = import_module("swap").Engine()
    return lambda: engine.swap_image(target, source)


def interleaved(works: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Return the median seconds of each piece of work, run in turn after one round to warm up."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(rounds + 1):
        for work, taken in zip(works, times, strict=True):
            start = time.perf_counter()
            work()
            taken.append(time.perf_counter() - start)
    return [median(taken[1:]) for taken in times]


if __name__ == "__main__":
    main()
