"""What the wrapper costs, as ratios measured side by side in one run: import, validation, reading an answer, size.

`python benchmarks/bench_wrapper.py`; the size is measured in a fresh environment, which needs the package index.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import timeit
from collections.abc import Callable
from pathlib import Path

from unitask._core.envelope import read_task
from unitask._core.messages import Answer
from unitask._core.validation import problems
from unitask._model.task import Output
from unitask._model.timestamp import Moment

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 15


def main() -> None:
    """Measure everything and print a table."""
    report("import unitask / import httpx", paired(importing("unitask"), importing("httpx")), "at most 0.4")
    report("import unitask, unitask.tasks / import httpx", paired(importing("unitask.tasks"), importing("httpx")), "")

    swap = {"target_image": "https://example.com/a.jpg", "swap_image": "https://example.com/b.jpg"}
    ratio = paired(timed(lambda: list(problems("FaceSwapInput", swap))), timed(lambda: json.dumps(swap)))
    report("check a face-swap input / json.dumps of it", ratio, "at most 15")

    example = json.loads((ROOT / "spec/examples/faceswap/face-swap.completed.200.json").read_text())
    body = json.dumps(example["value"]).encode()
    answer = Answer(200, {}, body, Moment(0.0, 0.0))
    ratio = paired(timed(lambda: read_task(answer, Output)), timed(lambda: json.loads(body)))
    report("read an answer / json.loads of it", ratio, "")

    print(f"{'base install, without pip':<50} {base_install_megabytes():8.1f} MB  (under 40 MB)")


def importing(module: str) -> Callable[[], float]:
    """Seconds that importing a module takes in a fresh interpreter."""
    program = f"import time; start = time.perf_counter(); import {module}; print(time.perf_counter() - start)"
    command = [sys.executable, "-c", program]
    return lambda: float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def timed(work: Callable[[], object], number: int = 2000) -> Callable[[], float]:
    """Seconds that a call takes."""
    return lambda: timeit.timeit(work, number=number) / number


def paired(one: Callable[[], float], other: Callable[[], float], rounds: int = ROUNDS) -> list[float]:
    """The ratio of two measurements, taken in turn."""
    one(), other()
    return [one() / other() for _ in range(rounds)]


def report(what: str, ratios: list[float], promise: str) -> None:
    """Print a ratio: its median, and the range it was seen in."""
    bound = f"  ({promise})" if promise else ""
    print(f"{what:<50} {statistics.median(ratios):8.2f}  [{min(ratios):.2f}, {max(ratios):.2f}]{bound}")


def base_install_megabytes() -> float:
    """Size of an environment that holds unitask and what it needs, and nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        base_install(Path(folder))
        return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / 1e6


def base_install(folder: Path) -> None:
    """Put unitask and what it needs into a folder."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--target", str(folder)]
    constraints = ["--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([*pip, *constraints, str(ROOT)], check=True, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
