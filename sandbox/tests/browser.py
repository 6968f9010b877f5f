"""A headless Chromium for the tests of the page: the system's, driven by playwright; skipped where there is none."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from unitask_sandbox import Sandbox
from unitask_sandbox.samples import ASTRONAUT, GRACE_HOPPER

from .local import CREATE, face_swap

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
PATIENCE = 60_000  # milliseconds: a real swap on a busy machine
HOSTILE = '"><img src=x onerror=alert(1)><script>alert(2)</script>${alert(3)}'


@contextmanager
def started() -> Iterator[Any]:
    """A browser with a new, empty folder of its own.

    While it runs, this thread has an event loop, and asyncio.run raises: use it a module at most.
    """
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    found = next(filter(_runs, filter(None, map(shutil.which, NAMES))), None)
    if found is None:
        pytest.skip("there is no Chromium on this machine: apt-get install chromium")
    sync_api.expect.set_options(timeout=PATIENCE)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def _runs(path: str) -> bool:
    """Whether it is a browser, and not a script that says where to get one."""
    return subprocess.run([path, "--version"], check=False, capture_output=True).returncode == 0


@contextmanager
def opened(browser: Any, **options: Any) -> Iterator[Any]:
    """A page; at the end, fail if it sent anything to another host, or if anything in it went wrong."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    hosts: set[str] = set()
    wrong: list[str] = []

    def on_console(message: Any) -> None:
        refused = message.text.startswith("Failed to load resource")  # a status that a test expects
        if message.type in ("error", "warning") and not refused:
            wrong.append(message.text)

    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    page.on("console", on_console)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: (wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
    try:
        yield page
        here = urlsplit(page.url).netloc
    finally:
        context.close()
    assert hosts - {""} == {here}  # blob: and data: have none
    assert wrong == []


@dataclass(frozen=True, slots=True)
class Site:
    """A provider on a port."""

    url: str
    sandbox: Sandbox

    def create(self, key: str = "sandbox", **changes: Any) -> str:
        """Create a face swap as another client does, and return its id."""
        answer = httpx.post(f"{self.url}{CREATE}", json=face_swap(**changes), headers={"x-api-key": key})
        task_id: str = answer.json()["data"]["task_id"]
        return task_id


def rows(page: Any) -> Any:
    return page.get_by_role("list", name="Tasks", exact=True).get_by_role("link")


def part(page: Any, name: str) -> Any:
    return page.locator(f"[data-part={name}]")


def chooser(page: Any, field: str) -> Any:
    return page.get_by_label(f"{field}: choose a picture")


def put_portraits(page: Any) -> None:
    chooser(page, "target_image").set_input_files(ASTRONAUT)
    chooser(page, "swap_image").set_input_files(GRACE_HOPPER)


def is_loaded(image: Any) -> bool:
    """Wait until a picture is there, and return whether it is one."""
    loaded: bool = image.evaluate("async (image) => { await image.decode(); return image.naturalWidth > 0; }")
    return loaded
