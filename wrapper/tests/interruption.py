"""Raise KeyboardInterrupt in the middle of code, as a signal does."""

import itertools
import linecache
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self


class Interruption:
    """Raise KeyboardInterrupt before the n-th line run in some modules, counted from 0; `reached` is whether it ran.

    A line with `try:` alone does not count: it has no instruction, so no signal arrives there.
    """

    def __init__(self, line: int, *modules: str) -> None:
        self._left, self._modules, self.reached = line, modules, False

    def __enter__(self) -> Self:
        sys.settrace(self._enter_function)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _enter_function(self, frame: Any, _event: str, _argument: object) -> Any:
        module = frame.f_globals.get("__name__", "")
        is_traced = any(module == name or module.startswith(f"{name}.") for name in self._modules)
        return self._trace if is_traced else None

    def _trace(self, frame: Any, event: str, _argument: object) -> Any:
        if event == "line" and linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip() != "try:":
            if self._left == 0:
                self.reached = True
                sys.settrace(None)
                raise KeyboardInterrupt
            self._left -= 1
        return self._trace


def at_each_line(call: Callable[[Interruption], object], *modules: str, step: int = 1) -> int:
    """Make a call with the interruption of each n-th line, until that line is not reached; return the number of lines.

    It runs in a thread of its own: in CPython 3.11, an exception raised by a trace function stays the current exception
    of its thread.
    """

    def lines() -> int:
        for line in itertools.count(step=step):
            interruption = Interruption(line, *modules)
            call(interruption)
            if not interruption.reached:
                break
        return line

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lines).result()
