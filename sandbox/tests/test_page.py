"""The page at /, in a headless Chromium: tasks as a person sees and handles them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from unitask_sandbox.samples import ASTRONAUT, GRACE_HOPPER

from .browser import HOSTILE, is_loaded, opened, part, put_portraits, rows
from .local import NO_FACE, Clock, base64_of


def test_list_follows_what_other_clients_do(page: Any, expect: Any, serve: Any) -> None:
    """A task appears, moves and ends in the page that is open, which says so to a screen reader, too."""
    site = serve()
    page.goto(site.url)
    expect(page.get_by_role("heading", name="No tasks yet")).to_be_visible()
    page.evaluate("window.opened = 'once'")
    site.create(target=NO_FACE)
    expect(rows(page)).to_contain_text("pending")
    site.sandbox.advance()

    expect(rows(page)).to_contain_text("failed")
    expect(rows(page)).to_contain_text("no face found in the image")
    expect(page.locator("#news")).to_have_text("FaceSwap failed")
    assert page.evaluate("window.opened") == "once"


def test_tasks_are_found_by_state_and_words(page: Any, expect: Any, serve: Any) -> None:
    """The filters hide what does not fit."""
    site = serve()
    site.create(target=NO_FACE)
    site.sandbox.advance()
    site.create()
    page.goto(site.url)
    expect(rows(page)).to_have_count(2)
    page.get_by_label("State").select_option("pending")
    expect(rows(page)).to_have_count(1)
    page.get_by_label("State").select_option("")
    page.get_by_label("Filter tasks").fill("no face")

    expect(rows(page)).to_have_count(1)
    expect(rows(page)).to_contain_text("failed")
    expect(page.locator(".count")).to_have_text("1 of 2 tasks")


def test_one_click_shows_a_task(page: Any, expect: Any, serve: Any, clock: Clock) -> None:
    """Input while it is kept, then output, times, money, every attempt to tell the webhook, and the JSON."""
    site = serve(send_webhook=lambda *_sent: 503)
    task_id = site.create(
        target=ASTRONAUT.read_bytes(), config={"webhook_config": {"endpoint": "http://me.test/?id=1"}}
    )
    page.goto(site.url)
    rows(page).click()
    given = part(page, "input").locator("img")
    expect(given).to_have_count(1)
    assert is_loaded(given)
    clock.now += 90
    site.sandbox.advance()
    clock.now += 5
    site.sandbox.advance()

    expect(part(page, "input")).to_contain_text("Deleted")
    expect(given).to_have_count(0)
    expect(part(page, "output")).to_contain_text("image_url")
    expect(part(page, "times")).to_contain_text("after 1 min 30 s pending")
    expect(part(page, "webhook").get_by_role("row")).to_have_count(3)
    expect(part(page, "webhook").get_by_role("row").last).to_contain_text("HTTP 503")
    expect(part(page, "raw")).to_contain_text(task_id)
    expect(page).to_have_url(f"{site.url}/#/task/{task_id}")


def test_video_and_sound_play(page: Any, expect: Any, serve: Any) -> None:
    """The browser can decode what the sandbox makes."""
    site = serve()
    for task in (
        {"model": "kling", "task_type": "video_generation", "input": {"prompt": "waves"}},
        {"model": "music-u", "task_type": "generate_music", "input": {"lyrics_type": "instrumental"}},
    ):
        site.create(**task)
    site.sandbox.advance()
    page.goto(site.url)
    for name, kind in (("KlingVideo", "video"), ("UdioMusic", "audio")):
        rows(page).filter(has_text=name).click()
        player = part(page, "output").locator(kind).first
        expect(player).to_be_visible()
        played = """(player) => new Promise((resolve) => {
            player.ontimeupdate = () => player.currentTime > 0 && resolve(true);
            player.onerror = () => resolve(false);
            player.muted = true;
            player.play();
        })"""

        assert player.evaluate(played)


def test_pending_task_is_cancelled_and_paid_back(page: Any, expect: Any, serve: Any) -> None:
    """By the API's own operation, which says why when it does not."""
    site = serve()
    task_id = site.create()
    page.goto(f"{site.url}/#/task/{task_id}")
    expect(page.locator("#balance")).to_have_text("$9.99 left")
    page.get_by_role("button", name="Cancel").click()

    expect(page.locator(".detail-head .badge")).to_have_text("cancelled")
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    expect(part(page, "times")).to_contain_text("refund")
    expect(page.locator("#balance")).to_have_text("$10.00 left")
    assert [arrival.operation for arrival in site.sandbox.arrivals][-1] == "cancel_task"


def test_another_key_has_other_tasks(page: Any, expect: Any, serve: Any) -> None:
    """The key is chosen in the page, stays for the tab, and an unknown one is explained."""
    site = serve(keys={"sandbox": 1.0, "other-key": 5.0})
    site.create()
    page.goto(site.url)
    expect(rows(page)).to_have_count(1)

    def use(key: str) -> None:
        page.locator("#key summary").click()
        page.get_by_label("API key").fill(key)
        page.get_by_role("button", name="Use this key").click()

    use("other-key")
    expect(rows(page)).to_have_count(0)
    expect(page.locator("#balance")).to_have_text("$5.00 left")
    page.reload()
    expect(page.locator("#balance")).to_have_text("$5.00 left")
    expect(page.locator("#key-shown")).to_have_text("oth…")
    use("unknown")
    expect(page.locator("#trouble")).to_contain_text("does not know the key")
    use("sandbox")
    expect(page.locator("#trouble")).to_be_hidden()
    expect(rows(page)).to_have_count(1)


def test_key_that_was_typed_before_the_box_says_it_is_open_is_used(page: Any, expect: Any, serve: Any) -> None:
    """A busy browser tells the page of the opened box when a key was typed already: that key stays."""
    site = serve(keys={"sandbox": 1.0, "other-key": 5.0})
    page.goto(site.url)
    expect(page.locator("#balance")).to_have_text("$1.00 left")
    page.locator("#key summary").click()
    page.get_by_label("API key").fill("other-key")
    page.locator("#key").dispatch_event("toggle")
    page.get_by_role("button", name="Use this key").click()

    expect(page.locator("#balance")).to_have_text("$5.00 left")


@pytest.mark.parametrize("view", ["#/tasks", "#/reference"])
def test_late_answer_does_not_overwrite_a_newer_one(page: Any, expect: Any, serve: Any, view: str) -> None:
    """What was asked with another key, or before, changes nothing when its answer comes after a newer one."""
    site = serve(keys={"sandbox": 1.0, "other-key": 5.0})
    page.goto(f"{site.url}/#/reference")
    expect(page.locator("#balance")).to_have_text("$1.00 left")
    held: list[Any] = []

    def hold_unknown(route: Any) -> None:
        if route.request.headers.get("x-api-key") == "unknown":
            held.append(route)
        else:
            route.continue_()

    page.route("**/_sandbox/tasks?**", hold_unknown)
    page.evaluate("sessionStorage.setItem('key', 'unknown')")
    with page.expect_request(lambda request: request.headers.get("x-api-key") == "unknown"):
        page.evaluate("location.hash = '#/reference/get_task'")
    page.evaluate("sessionStorage.setItem('key', 'other-key')")
    page.evaluate("view => location.hash = view", view)
    expect(page.locator("#balance")).to_have_text("$5.00 left")
    for route in held:
        route.fulfill(status=401, json={"code": 401, "message": "failed to verify api key", "data": None})
    page.evaluate("fetch('_sandbox/about').then((answer) => answer.json())")  # the late answer was read before this one

    expect(page.locator("#trouble")).to_be_hidden()


def test_page_goes_on_when_the_sandbox_is_back(page: Any, expect: Any, serve: Any) -> None:
    """While nobody answers the page says so, and it needs no reload afterwards."""
    site = serve()
    page.goto(site.url)
    expect(page.locator("#balance")).to_have_text("$10.00 left")
    page.route("**/_sandbox/**", lambda route: route.abort())
    expect(page.locator("#trouble")).to_contain_text("does not answer")
    site.create()
    page.unroute("**/_sandbox/**")

    expect(page.locator("#balance")).to_have_text("$9.99 left")
    expect(page.locator("#trouble")).to_be_hidden()


def test_colours_follow_the_system_unless_one_is_chosen(page: Any, expect: Any, serve: Any) -> None:
    """Light and dark; the choice outlives a reload."""
    site = serve()
    page.goto(site.url)
    light, dark = "rgb(246, 246, 243)", "rgb(20, 23, 26)"
    root = page.locator("html")
    page.emulate_media(color_scheme="dark")
    expect(root).to_have_css("background-color", dark)
    page.get_by_label("Colours").select_option("light")
    expect(root).to_have_css("background-color", light)
    page.reload()
    expect(root).to_have_css("background-color", light)
    page.emulate_media(color_scheme="light")
    page.get_by_label("Colours").select_option("dark")
    expect(root).to_have_css("background-color", dark)


def test_narrow_screen_needs_no_sideways_scrolling(browser: Any, expect: Any, serve: Any) -> None:
    """On a telephone the task covers the list, with a way back; no view is wider than the screen."""
    site = serve()
    site.create()
    site.sandbox.advance()
    with opened(browser, viewport={"width": 360, "height": 740}) as page:
        page.goto(site.url)
        rows(page).click()
        expect(part(page, "raw")).to_be_visible()
        expect(rows(page)).to_have_count(0)
        page.get_by_role("link", name="All tasks").click()
        expect(rows(page)).to_have_count(1)
        for view in ("tasks", "new", "new/FaceSwap", "new/KlingVideo", "reference", "reference/create_task"):
            page.evaluate("(hash) => { location.hash = hash; }", f"#/{view}")
            expect(page.locator("main h1").first).to_be_visible()

            cut_off = "(all) => all.filter((one) => one.getBoundingClientRect().right > innerWidth).length"
            beyond = page.locator("main :is(h1, p, a, button, input, select, textarea)").evaluate_all(cut_off)
            assert beyond == 0, view
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view


def test_list_is_walked_by_keys(page: Any, expect: Any, serve: Any) -> None:
    """The arrows go from task to task, Enter opens one."""
    site = serve()
    site.create()
    site.create()
    page.goto(site.url)
    rows(page).first.focus()
    page.keyboard.press("ArrowDown")
    expect(rows(page).nth(1)).to_be_focused()
    page.keyboard.press("Enter")

    expect(rows(page).nth(1)).to_have_attribute("aria-current", "true")


def hostile_overview(url: str) -> dict[str, Any]:
    address = f"{url}/files/{HOSTILE}.png"
    output = {
        "image_url": address,
        "video_url": "javascript:alert(1)",
        HOSTILE: "data:text/html,<script>alert(1)</script>",
    }
    return {
        "task_id": HOSTILE,
        "model": HOSTILE,
        "task_type": HOSTILE,
        "status": HOSTILE,
        "created_at": 1.0,
        "started_at": 1.0,
        "ended_at": 2.0,
        "cost_usd": 0.01,
        "error": HOSTILE,
        "simulated": True,
        "output": output,
    }


def test_hostile_words_are_words(page: Any, expect: Any, serve: Any) -> None:
    """Whatever a task says, in any field, is text: no element is made of it, and no address but http(s) is a link."""
    site = serve()
    row = hostile_overview(site.url)
    overview = {"tasks": [row], "total": 1, "balance_usd": 1, "spent_usd": 0}
    detail = {
        "task": row,
        "data": {
            **dict.fromkeys(("task_id", "model", "task_type"), HOSTILE),
            "status": "failed",
            "error": {"code": HOSTILE, "message": HOSTILE, "raw_message": HOSTILE},
            "config": {"webhook_config": {"endpoint": "javascript:alert(1)", "secret": HOSTILE}},
            "logs": [{"message": HOSTILE}],
            "output": row["output"],
        },
        "ledger": [{"at": 1.0, "reason": HOSTILE, "usd": 1}],
        "webhook": {"at_most": 3, "attempts": [{"at": 1.0, "endpoint": HOSTILE, "status": None, "error": HOSTILE}]},
    }
    page.route("**/_sandbox/tasks?*", lambda route: route.fulfill(json=overview))
    page.route("**/_sandbox/tasks/*", lambda route: route.fulfill(json=detail))
    page.goto(site.url)
    rows(page).click()
    expect(part(page, "error")).to_contain_text(HOSTILE)
    expect(part(page, "raw")).to_contain_text("<script>alert(2)</script>")
    addresses = page.locator("[href], [src]").evaluate_all("(all) => all.map((one) => one.href || one.src)")

    assert [one for one in addresses if not one.startswith((f"{site.url}/", "http://", "https://"))] == []
    assert page.locator("main script, main img[onerror]").count() == 0


@pytest.mark.parametrize(
    ("address", "is_link"),
    [
        ("https://me.test/a.png", True),
        ("#/tasks", True),
        ("javascript:alert(1)", False),
        (" JavaScript:alert(1)", False),
        ("data:text/html,<script>alert(1)</script>", False),
        ("file:///etc/passwd", False),
    ],
)
def test_only_addresses_of_the_web_are_links(page: Any, serve: Any, address: str, is_link: bool) -> None:
    """Wherever the page makes an element, an address that could run or read something is left out."""
    page.goto(serve().url)
    made = page.evaluate(
        """async (address) => {
            const { h, isSafe } = await import("./_sandbox/page/dom.js");
            return [h("a", { href: address }).hasAttribute("href"), isSafe(address, "src")];
        }""",
        address,
    )

    assert made == [is_link, is_link]


def test_looking_at_a_task_as_a_client_does(page: Any, expect: Any, serve: Any) -> None:
    """Only when asked to, the page sends the API's own look, and shows what came."""
    site = serve()
    task_id = site.create()
    page.goto(f"{site.url}/#/task/{task_id}")
    button = page.get_by_role("button", name="Send GET")
    expect(button).to_be_visible()
    assert [arrival.operation for arrival in site.sandbox.arrivals] == ["create_task"]
    button.click()

    expect(part(page, "raw").locator(".answer")).to_contain_text("HTTP 200")
    assert [arrival.operation for arrival in site.sandbox.arrivals] == ["create_task", "get_task"]


def test_picture_of_the_page(browser: Any, expect: Any, serve: Any, tmp_path: Path) -> None:
    """docs/sandbox-page.png is this: the page with a swap that it has just made (`make page-picture`)."""
    picture = Path(os.environ.get("PAGE_PICTURE") or tmp_path / "page.png")
    site = serve(real=True)
    with opened(browser, color_scheme="light", viewport={"width": 1200, "height": 720}) as page:
        for task in (
            {"model": "music-u", "task_type": "generate_music", "input": {"lyrics_type": "instrumental"}},
            {"input": {"target_image": base64_of(GRACE_HOPPER.read_bytes()), "swap_image": base64_of(NO_FACE)}},
            {"model": "kling", "task_type": "video_generation", "input": {"prompt": "waves"}},
        ):
            site.create(**task)
        page.goto(f"{site.url}/#/new/FaceSwap")
        put_portraits(page)
        expect(page.locator(".chosen li")).to_have_count(2)
        page.get_by_role("button", name="Create task").click()
        expect(part(page, "output").locator("img")).to_be_visible()
        expect(rows(page).filter(has_text="completed")).to_have_count(3)
        for image in page.locator("main img").all():
            assert is_loaded(image)
        page.mouse.move(0, 0)
        page.screenshot(path=picture, animations="disabled")
    with Image.open(picture) as shot:  # photos make large PNG files; 256 colours do
        colours = shot.convert("RGB")
    colours.quantize(palette=colours.quantize(256)).save(picture, optimize=True)

    assert picture.stat().st_size < 300_000
