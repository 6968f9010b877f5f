"""The site of the documentation: it builds, works without a network, and its search finds what readers look for."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from scripts.error_page import error_page
from scripts.pages import DOCS, command_page

ROOT = Path(__file__).resolve().parents[1]
LOADS = (
    r"<(?:script|img|iframe|source|video|audio|embed|object|link)\b[^>]*\b(?:src|href|data)=[\"']?(?:https?:)?//[^>]*>"
)
SEARCHES = {
    "no face": "reference/errors.html#nofacefound",
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


def test_site_builds_strictly_loads_nothing_from_another_host_and_can_be_searched(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    built = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False
    )
    assert (built.returncode, built.stderr) == (0, "")  # an error: a broken link, a page outside of the navigation

    pages = {path: path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.html")}
    styles = "".join(path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.css"))
    assert {name: found for name, text in pages.items() if (found := re.findall(LOADS, text))} == {}
    assert re.findall(r"(?:@import|url\()[\"' ]*(?:https?:)?//[^;)]*", styles) == []
    assert not any("data-md-component=source" in text or 'class="mermaid"' in text for text in pages.values())  # fetch

    script = (tmp_path / "search/search_index.js").read_text(encoding="utf-8")  # what the page reads without a server
    entries = json.loads(script.removeprefix("var __index = "))["docs"]
    texts = {entry["location"]: f"{entry['title']} {entry['text']}".lower() for entry in entries}
    for words, location in SEARCHES.items():
        assert all(word in texts[location] for word in words.lower().split()), words


def test_pages_of_errors_and_commands_are_current() -> None:
    assert (DOCS / "reference/errors.md").read_text(encoding="utf-8") == error_page()
    assert (DOCS / "reference/commands.md").read_text(encoding="utf-8") == command_page()


def test_page_of_settings_names_each_variable_that_is_read() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "wrapper/unitask").rglob("*.py"))
    read = set(re.findall(r"\"((?:UNITASK|PIAPI|XDG|SSL)_?[A-Z]+[A-Z_]*)\"", code))

    assert "XDG_STATE_HOME" in read
    assert read <= set(re.findall(r"`(\w+)`", (DOCS / "reference/settings.md").read_text(encoding="utf-8")))
