"""The cost of the wrapper as ratios: import, start of commands, validation, reading a response, installed size.

`python benchmarks/bench_wrapper.py`. The size is measured in a fresh environment, which needs the package index.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable
from functools import partial
from pathlib import Path

from unitask import Timestamp, tasks
from unitask._core.effects import Response
from unitask._core.envelope import read_task
from unitask._model.task import Output
from unitask.inputs import request_body

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 15


def main() -> None:
    """Measure everything and print a table."""
    report(
        "import unitask / import httpx", paired(importing("import unitask"), importing("import httpx")), "at most 1.0"
    )

    for words in ("--help", "tasks"):
        ratio = paired(started("-m", "unitask", words), started("-c", "import httpx"))
        report(f"unitask {words} / python -c 'import httpx', user CPU", ratio, "at most 1.5")

    swap = tasks.FaceSwap(target_image="https://example.com/a.jpg", swap_image="https://example.com/b.jpg")
    made = request_body(swap)
    checked, unchecked = (timed(partial(request_body, swap, validate=validate)) for validate in (True, False))
    ratio = paired(lambda: checked() - unchecked(), timed(lambda: json.dumps(made)))
    report("validate a face swap / json.dumps of its body", ratio, "at most 1.0")
    report("make the body of a face swap / json.dumps of it", paired(checked, timed(lambda: json.dumps(made))), "")

    example = json.loads((ROOT / "spec/examples/faceswap/face-swap.completed.200.json").read_text())
    body = json.dumps(example["value"]).encode()
    answer = Response(200, {}, body, Timestamp(0.0, 0.0))
    ratio = paired(timed(lambda: read_task(answer, Output)), timed(lambda: json.loads(body)))
    report("read an answer / json.loads of it", ratio, "")

    print(f"{'base install, without pip':<50} {base_install_megabytes():8.1f} MB  (under 40 MB)")


def importing(statement: str) -> Callable[[], float]:
    """Return a measurement of the seconds that an import takes in a fresh interpreter."""
    program = f"import time; start = time.perf_counter(); {statement}; print(time.perf_counter() - start)"
    command = [sys.executable, "-c", program]
    return lambda: float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def started(*arguments: str) -> Callable[[], float]:
    """Return a measurement of the seconds of user CPU time that a Python program takes in all."""

    def run() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before

    return run


def timed(work: Callable[[], object], number: int = 2000) -> Callable[[], float]:
    """Return a measurement of the seconds of CPU time that a call takes."""
    return lambda: timeit.timeit(work, number=number, timer=time.process_time) / number


def paired(one: Callable[[], float], other: Callable[[], float]) -> list[float]:
    """Return the ratios of two measurements, taken in turn after one run to warm up."""
    one(), other()
    return [one() / other() for _ in range(ROUNDS)]


def report(what: str, ratios: list[float], promise: str) -> None:
    """Print the median and the range of a ratio."""
    bound = f"  ({promise})" if promise else ""
    print(f"{what:<50} {statistics.median(ratios):8.2f}  [{min(ratios):.2f}, {max(ratios):.2f}]{bound}")


def base_install_megabytes() -> float:
    """Return the size of an environment that holds unitask and what it needs."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    with tempfile.TemporaryDirectory() as folder:
        options = ["--target", folder, "--constraint", str(ROOT / "constraints.txt")]
        subprocess.run([*pip, *options, str(ROOT)], check=True, stderr=subprocess.DEVNULL)
        return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / 1e6


if __name__ == "__main__":
    main()
