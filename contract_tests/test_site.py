"""The site of the documentation: it builds, works without a network, and its search finds what readers look for."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from scripts.error_page import error_page
from scripts.pages import DOCS, command_page

ROOT = Path(__file__).resolve().parents[1]
LOADS = (
    r"<(?:script|img|iframe|source|video|audio|embed|object|link)\b[^>]*\b(?:src|href|data)=[\"']?(?:https?:)?//[^>]*>"
)
FIRST_RESULT = """() => {
    const links = [...document.querySelector(".md-search-result__item").querySelectorAll(".md-search-result__link")]
    const score = link => Number(link.querySelector("article").dataset.mdScore)
    return links.reduce((a, b) => score(b) > score(a) ? b : a).href.replace(/\\?h=[^#]*/, "")
}"""
SEARCHES = {  # what a reader types, and the first result
    "no face": "faq.html#no-face-found-in-the-image",
    "HEIC": "faq.html#can-i-send-a-heic-picture-from-an-iphone",
    "timeout": "reference/errors.html#waittimeout",
    "2048 pixels": "faq.html#my-picture-has-2048-pixels-and-is-refused",
    "two faces": "faq.html#there-are-two-faces-which-one-is-swapped",
    "results live": "faq.html#how-long-do-results-live",
    "refunded": "faq.html#is-a-failed-task-refunded",
    "HTTP 500": "faq.html#what-does-http-500-mean",
    "queued hour": "faq.html#my-task-has-been-queued-for-an-hour",
    "lost answer": "guides/lost-answer.html",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    built = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False
    )
    assert (built.returncode, built.stderr) == (0, "")  # an error: a broken link, a page outside of the navigation
    return folder


def test_pages_load_nothing_from_another_host(site: Path) -> None:
    pages = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert {name: found for name, text in pages.items() if (found := re.findall(LOADS, text))} == {}
    assert re.findall(r"(?:@import|url\()[\"' ]*(?:https?:)?//[^;)]*", styles) == []
    assert not any("data-md-component=source" in text or 'class="mermaid"' in text for text in pages.values())  # fetch


def test_search_finds_what_readers_look_for_first(site: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("there is no Chromium on this machine: apt-get install chromium")
    found: dict[str, str] = {}
    with sync_api.sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]).new_page()
        page.set_default_timeout(60_000)
        for words in SEARCHES:
            page.goto(f"{(site / 'index.html').as_uri()}?q={quote(words)}")
            page.wait_for_selector(".md-search-result__link", state="attached")
            found[words] = page.evaluate(FIRST_RESULT).removeprefix(f"{site.as_uri()}/")

    assert found == SEARCHES


def test_pages_of_errors_and_commands_are_current() -> None:
    assert (DOCS / "reference/errors.md").read_text(encoding="utf-8") == error_page()
    assert (DOCS / "reference/commands.md").read_text(encoding="utf-8") == command_page()


def test_page_of_settings_names_each_variable_that_is_read() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "wrapper/unitask").rglob("*.py"))
    read = set(re.findall(r"\"((?:UNITASK|PIAPI|XDG|SSL)_?[A-Z]+[A-Z_]*)\"", code))

    assert "XDG_STATE_HOME" in read
    assert read <= set(re.findall(r"`(\w+)`", (DOCS / "reference/settings.md").read_text(encoding="utf-8")))
