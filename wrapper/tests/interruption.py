"""Raise KeyboardInterrupt in the middle of code, as a signal does."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class Interruption:
    """Raise KeyboardInterrupt before the n-th line run in some modules, counted from 0; `reached` is whether it ran.

    A line with `try:` alone does not count: it has no instruction, so no signal arrives there.
    """

    def __init__(self, line: int, *modules: str) -> None:
        self._left, self._modules, self.reached = line, modules, False

    def __enter__(self) -> Interruption:
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


def in_own_thread(work: Callable[[], T]) -> T:
    """Run work that is interrupted in a thread that ends with it, and return its result.

    In CPython 3.11, an exception raised by a trace function stays the current exception of its thread.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()
