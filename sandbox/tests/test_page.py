"""The page at /, in a headless Chromium: tasks as a person sees and handles them, forms, and the reference.

The browser is the system's, driven by playwright; without one these tests are skipped.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image
from unitask_api import contract
from unitask_sandbox import Sandbox, Settings, create_app, running, server
from unitask_sandbox.samples import ASTRONAUT, GRACE_HOPPER

from .local import CREATE, KEY, NO_FACE, SONG, Clock, base64_of, face_swap, simulated

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
expect = sync_api.expect
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python").Axe()

FILM = simulated("kling", "video_generation", prompt="waves")
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
PATIENCE = 60_000  # milliseconds: a real swap on a busy machine
HOSTILE = '"><img src=x onerror=alert(1)><script>alert(2)</script>${alert(3)}'


def runs(path: str) -> bool:
    """Whether it is a browser, and not a script that says where to get one."""
    return subprocess.run([path, "--version"], check=False, capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser with a new, empty folder; while it runs, this thread has an event loop, and asyncio.run raises."""
    found = next(filter(runs, filter(None, map(shutil.which, NAMES))), None)
    if found is None:
        pytest.skip("there is no Chromium on this machine: apt-get install chromium")
    expect.set_options(timeout=PATIENCE)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield browser
        browser.close()


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


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    with opened(browser) as one:
        yield one


@dataclass(frozen=True, slots=True)
class Site:
    """A provider on a port."""

    url: str
    sandbox: Sandbox

    def create(self, **changes: Any) -> str:
        """Create a face swap as another client does, and return its id."""
        answer = httpx.post(f"{self.url}{CREATE}", json=face_swap(**changes), headers=KEY)
        task_id: str = answer.json()["data"]["task_id"]
        return task_id


@pytest.fixture
def serve(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Site]]:
    """Providers on a real port; `real=True`: as delivered."""
    apps: list[Any] = []
    monkeypatch.setattr(server, "create_app", lambda settings: apps.append(create_app(settings)) or apps[-1])
    with ExitStack() as stack:

        def start(*, real: bool = False, **changes: Any) -> Site:
            settings = Settings(**changes) if real else request.getfixturevalue("settings_with")(**changes)
            url = stack.enter_context(running(settings))
            return Site(url, apps[-1].state.sandbox)

        yield start


def rows(page: Any) -> Any:
    return page.get_by_role("list", name="Tasks", exact=True).get_by_role("link")


def part(page: Any, name: str) -> Any:
    return page.locator(f"[data-part={name}]")


def chooser(page: Any, field: str) -> Any:
    return page.get_by_label(f"{field}: choose a picture")


def put_portraits(page: Any) -> None:
    chooser(page, "Target image").set_input_files(ASTRONAUT)
    chooser(page, "Swap image").set_input_files(GRACE_HOPPER)


def go(page: Any, view: str) -> None:
    page.evaluate("(hash) => { location.hash = hash; }", f"#/{view}")


def check_accessibility(page: Any) -> None:
    """Fail when axe-core finds a violation, in light or in dark colours."""
    for scheme, rules in (("dark", ["color-contrast"]), ("light", None)):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        options = {"runOnly": {"type": "rule", "values": rules}} if rules else None
        found = axe.run(page, options=options)
        assert found.violations_count == 0, f"{scheme}: {found.generate_report()}"


def is_loaded(image: Any) -> bool:
    """Wait until a picture is there, and return whether it is one."""
    loaded: bool = image.evaluate("async (image) => { await image.decode(); return image.naturalWidth > 0; }")
    return loaded


# Tasks.


def test_list_and_task_follow_what_happens(page: Any, serve: Any, clock: Clock) -> None:
    site = serve(send_webhook=lambda *_sent: 503)
    page.goto(site.url)
    expect(page.get_by_role("heading", name="No tasks yet")).to_be_visible()
    page.evaluate("window.opened = 'once'")
    config = {"webhook_config": {"endpoint": "http://me.test/?id=1"}}
    task_id = site.create(target=ASTRONAUT.read_bytes(), config=config)
    rows(page).click()
    given = part(page, "input").locator("img")
    expect(given).to_have_count(1)
    assert is_loaded(given)
    site.create(target=NO_FACE)
    expect(rows(page).first).to_contain_text("pending")
    clock.now += 90
    site.sandbox.advance()
    clock.now += 5
    site.sandbox.advance()

    expect(rows(page).first).to_contain_text("failed")
    expect(rows(page).first).to_contain_text("no face found in the image")
    expect(part(page, "output")).to_contain_text("image_url")
    expect(given).to_have_count(1)
    expect(part(page, "times")).to_contain_text("after 1 min 30 s pending")
    expect(part(page, "webhook").get_by_role("row").last).to_contain_text("HTTP 503")
    expect(page).to_have_url(f"{site.url}/#/task/{task_id}")
    assert page.evaluate("window.opened") == "once"
    check_accessibility(page)
    page.get_by_role("link", name="Use again").click()
    expect(page.locator(".chosen li")).to_have_count(1)


def test_cancel_another_key_and_a_sandbox_that_does_not_answer(page: Any, serve: Any) -> None:
    site = serve(keys={"sandbox": 1.0, "other-key": 5.0})
    task_id = site.create()
    page.goto(f"{site.url}/#/task/{task_id}")
    expect(page.locator("#balance")).to_have_text("$0.99 left")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".detail-head .badge")).to_have_text("cancelled")
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    expect(part(page, "times")).to_contain_text("refund")
    expect(page.locator("#balance")).to_have_text("$1.00 left")

    def use(key: str) -> None:
        page.locator("#key summary").click()
        page.get_by_label("API key").fill(key)
        page.get_by_role("button", name="Use this key").click()

    page.goto(site.url)
    use("other-key")
    expect(rows(page)).to_have_count(0)
    page.reload()
    expect(page.locator("#balance")).to_have_text("$5.00 left")
    expect(page.locator("#key-shown")).to_have_text("oth…")
    use("unknown")
    expect(page.locator("#trouble")).to_contain_text("does not accept the key")
    use("sandbox")
    expect(page.locator("#trouble")).to_be_hidden()
    expect(rows(page)).to_have_count(1)
    page.route("**/_sandbox/**", lambda route: route.abort())
    expect(page.locator("#trouble")).to_contain_text("does not answer")
    site.create()
    page.unroute("**/_sandbox/**")
    expect(page.locator("#balance")).to_have_text("$0.99 left")
    expect(page.locator("#trouble")).to_be_hidden()


ROW = {
    **dict.fromkeys(("task_id", "model", "task_type", "status", "error"), HOSTILE),
    **dict.fromkeys(("created_at", "started_at", "cost_usd"), 1.0),
    "ended_at": 2.0,
    "simulated": True,
    "output": {
        "image_url": f"/files/{HOSTILE}.png",
        "video_url": " JavaScript:alert(1)",
        HOSTILE: "data:text/html,<script>alert(1)</script>",
    },
}
DETAIL = {
    "task": ROW,
    "data": {
        **dict.fromkeys(("task_id", "model", "task_type"), HOSTILE),
        "status": "failed",
        "error": {"code": HOSTILE, "message": HOSTILE, "raw_message": HOSTILE},
        "config": {"webhook_config": {"endpoint": "javascript:alert(1)", "secret": HOSTILE}},
        "logs": [{"message": HOSTILE}],
        "output": ROW["output"],
    },
    "ledger": [{"at": 1.0, "reason": HOSTILE, "usd": 1}],
    "webhook": {"at_most": 3, "attempts": [{"at": 1.0, "endpoint": HOSTILE, "status": None, "error": HOSTILE}]},
}


def test_hostile_texts_of_the_provider_are_shown_as_text(page: Any, serve: Any) -> None:
    site = serve()
    overview = {"tasks": [ROW], "total": 1, "balance_usd": 1, "spent_usd": 0}
    page.route("**/_sandbox/tasks?*", lambda route: route.fulfill(json=overview))
    page.route("**/_sandbox/tasks/*", lambda route: route.fulfill(json=DETAIL))
    page.goto(site.url)
    rows(page).click()
    expect(part(page, "error")).to_contain_text(HOSTILE)
    expect(part(page, "raw")).to_contain_text("<script>alert(2)</script>")
    addresses = page.locator("[href], [src]").evaluate_all("(all) => all.map((one) => one.href || one.src)")

    assert [one for one in addresses if not one.startswith((f"{site.url}/", "http://", "https://"))] == []
    assert page.locator("main script, main img[onerror]").count() == 0


def test_requests_are_shown_with_bodies_as_text(page: Any, serve: Any) -> None:
    site = serve(public_url="https://box.example/x/")
    page.goto(f"{site.url}/#/requests")
    expect(page.get_by_text("No requests yet")).to_be_visible()
    site.create(config={"webhook_config": {"endpoint": HOSTILE, "secret": "a-secret"}})
    row = page.get_by_role("list", name="Requests").get_by_role("listitem").filter(has_text="create_task")
    row.locator("summary").click()
    httpx.get(f"{site.url}{CREATE}/{HOSTILE}", params={"q": HOSTILE})

    expect(page.get_by_role("list", name="Requests").get_by_role("listitem")).to_have_count(2)
    expect(row).to_contain_text('"task_type": "face-swap"')
    expect(row).to_contain_text("[hidden]")
    expect(row).to_contain_text('"status": "pending"')
    page.get_by_label("Filter requests").fill("404")
    expect(row).to_be_hidden()
    page.locator("summary").filter(has_text="404").click()
    expect(page.locator(".exchange").last).to_contain_text("<script>alert(2)</script>")
    assert page.locator("main script, main img").count() == 0
    check_accessibility(page)
    page.get_by_label("Filter requests").fill("")
    page.get_by_role("button", name="Clear", exact=True).click()
    expect(page.get_by_text("No requests yet")).to_be_visible()
    go(page, "reference")
    expect(page.get_by_text("https://box.example/x", exact=True)).to_be_visible()
    check_accessibility(page)


# Forms.


def create(page: Any) -> None:
    page.get_by_role("button", name="Create task").click()


def test_pictures_of_the_page_show_a_swap_by_the_form_and_armed_faults(
    browser: Any, serve: Any, tmp_path: Path
) -> None:
    folder = Path(os.environ.get("PAGE_PICTURES") or tmp_path)
    site = serve(real=True)
    with opened(browser, color_scheme="light", viewport={"width": 1200, "height": 720}) as page:
        faceless = {"target_image": base64_of(GRACE_HOPPER.read_bytes()), "swap_image": base64_of(NO_FACE)}
        for task in (SONG, {"input": faceless}, FILM):
            site.create(**task)
        page.goto(f"{site.url}/#/new/FaceSwap")
        put_portraits(page)
        expect(page.locator(".chosen li")).to_have_count(2)
        expect(page.get_by_text("512 \N{MULTIPLICATION SIGN} 600")).to_be_visible()
        expect(page.get_by_text("costs $0.01")).to_be_visible()
        take_picture(page, folder / "sandbox-page-form.png", full_page=True)
        check_accessibility(page)
        create(page)
        slider = page.get_by_role("slider", name="Before and after")
        expect(slider).to_be_visible()
        expect(rows(page).filter(has_text="completed")).to_have_count(3)

        assert all(is_loaded(one) for one in page.locator("main img").all())
        image = part(page, "output").get_by_role("img", name="After")
        assert image.evaluate("(image) => [image.naturalWidth, image.naturalHeight]") == [512, 512]
        before = page.get_by_role("img", name="Before")
        slider.press("Home")
        assert before.evaluate("(image) => getComputedStyle(image).clipPath") == "inset(0px 100% 0px 0px)"
        slider.fill("50")
        expect(rows(page).first).to_contain_text("$0.01")
        expect(part(page, "raw")).to_contain_text('"status": "completed"')
        with page.expect_download() as download:
            part(page, "output").get_by_role("link", name="Download").click()
        assert download.value.path().read_bytes() != ASTRONAUT.read_bytes()
        check_accessibility(page)
        page.mouse.move(0, 0)
        take_picture(page, folder / "sandbox-page.png")
        for name, kind in (("KlingVideo", "video"), ("UdioMusic", "audio")):
            rows(page).filter(has_text=name).click()
            expect(part(page, "output").locator(kind).first).to_be_visible()
        go(page, "faults")
        page.get_by_label("Filter faults").fill("lost")
        page.get_by_label("How often").select_option("happens 5 times")
        page.get_by_label("Operation of answer-lost").select_option("get_task")
        page.get_by_role("button", name="Arm answer-lost", exact=True).click()
        expect(page.get_by_text("get_task is carried out without a response, 5 times")).to_be_visible()
        check_accessibility(page)
        take_picture(page, folder / "sandbox-page-faults.png")
        page.get_by_role("button", name="Clear all").click()
        expect(page.get_by_text("No fault is armed.")).to_be_visible()


def take_picture(page: Any, path: Path, *, full_page: bool = False) -> None:
    page.screenshot(path=path, animations="disabled", full_page=full_page)
    with Image.open(path) as shot:  # photos make large PNG files; 256 colours do
        colours = shot.convert("RGB")
    colours.quantize(palette=colours.quantize(256)).save(path, optimize=True)


def test_form_names_wrong_fields_by_their_labels_until_they_are_corrected(page: Any, serve: Any) -> None:
    site = serve()
    page.goto(f"{site.url}/#/new/FluxSchnellTxt2Img")
    expect(page.get_by_role("form")).to_be_visible()
    for _ in range(5):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.form?.ariaLabel ?? ''") == "FluxSchnellTxt2Img":
            break
    expect(page.get_by_label("Prompt", exact=True)).to_be_focused()
    page.get_by_text("optional fields").click()
    width, prompt = page.get_by_label("Width"), page.get_by_label("Prompt", exact=True)
    width.fill("0.5")
    create(page)

    expect(page.locator("[data-field=prompt] .field-error")).to_have_text("Prompt is required.")
    expect(page.locator("[data-field=width] .field-error")).to_have_text("Width must be a whole number.")
    expect(prompt).to_be_focused()
    assert not site.sandbox.arrivals
    prompt.fill("a lighthouse")
    expect(page.locator("[data-field=prompt] .field-error")).to_be_hidden()
    width.fill("512")
    expect(page.locator(".field-error:visible, .problem:visible")).to_have_count(0)
    page.get_by_label("Batch size").fill("4")
    expect(page.get_by_text("costs $0.006")).to_be_visible()
    site.sandbox.fault("queue-full")
    create(page)
    expect(page.get_by_role("alert").filter(has_text="HTTP 400")).to_contain_text("concurrency limit reached")
    page.get_by_role("button", name="Clear", exact=True).click()
    expect(prompt).to_have_value("")
    expect(page.locator(".problem:visible")).to_have_count(0)


def test_every_task_type_has_a_form_whose_controls_have_names(page: Any, serve: Any) -> None:
    site = serve()
    page.goto(f"{site.url}/#/new")
    expect(page.get_by_role("heading", name="New task")).to_be_visible()
    for entry in contract.document()["x-tasks"]:
        page.evaluate("(hash) => { location.hash = hash; }", f"#/new/{entry['name']}")
        expect(page.get_by_role("form", name=entry["name"], exact=True)).to_be_attached()
        fields = contract.component(entry["input"]).get("properties", {})
        shown = page.locator(".task-form [data-field]").evaluate_all("(all) => all.map((one) => one.dataset.field)")
        nameless = page.evaluate(
            """() => [...document.querySelectorAll("input, select, textarea, button, summary, a")]
                .filter((one) => !one.labels?.length && !one.ariaLabel && !one.textContent.trim())
                .map((one) => one.outerHTML)"""
        )

        assert set(fields) <= set(shown)
        assert nameless == []


def shown_code(page: Any, form: str) -> str:
    page.get_by_role("tab", name=form).click()
    code: str = page.locator(".request pre").inner_text()
    return code


def test_file_of_a_field_that_takes_an_address_is_uploaded(page: Any, serve: Any) -> None:
    site = serve()
    page.goto(f"{site.url}/#/new/Seedance2")
    page.get_by_text("optional fields").click()
    chooser(page, "Image URLs").set_input_files([ASTRONAUT, GRACE_HOPPER])
    expect(page.get_by_text("uploaded")).to_have_count(2)
    given = json.loads(shown_code(page, "JSON"))["input"]["image_urls"]

    assert [httpx.get(address).content for address in given] == [ASTRONAUT.read_bytes(), GRACE_HOPPER.read_bytes()]
    assert all(address.startswith(f"{site.url}/files/ephemeral/") for address in given)


def test_rendered_reference_shows_task_types_and_legacy_endpoints_and_loads_nothing_from_elsewhere(
    page: Any, serve: Any
) -> None:
    page.goto(f"{serve().url}/docs")
    section = page.locator('[id="tag/faceswap/FaceSwapRequest"]')
    for field in ("target_image", "swap_image", "Price: $0.01"):
        expect(section).to_contain_text(field)
    expect(page.locator('[id$="operation/legacy_mj_imagine"]')).not_to_have_count(0)
    expect(page.get_by_alt_text("redocly logo")).to_have_count(1)


def test_code_that_the_form_shows_does_the_same(page: Any, serve: Any, tmp_path: Path) -> None:
    site = serve(real=True)
    shutil.copy(ASTRONAUT, tmp_path)
    shutil.copy(GRACE_HOPPER, tmp_path)
    page.goto(f"{site.url}/#/new/FaceSwap")
    put_portraits(page)
    expect(page.locator(".chosen li")).to_have_count(2)
    ways = [[sys.executable, "-W", "error", "-c", shown_code(page, "Python")]]
    if shutil.which("curl"):
        ways.append(["sh", "-ec", shown_code(page, "curl")])
    command_line = shown_code(page, "Command line")
    assert "\nunitask run face-swap \\\n  target_image=astronaut.png \\\n" in command_line
    ways.append(["sh", "-ec", command_line.replace("unitask run", f"{sys.executable} -m unitask run")])
    for command in ways:
        done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    given = json.loads(shown_code(page, "JSON"))

    assert (given["model"], given["task_type"]) == ("Qubico/image-toolkit", "face-swap")
    assert site.sandbox.history("sandbox")["total"] == len(ways)
    assert [path.suffix for path in (tmp_path / "out").iterdir()] == [".png", ".png"]
