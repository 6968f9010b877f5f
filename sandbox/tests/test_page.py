"""The page at /, in a headless Chromium: tasks as a person sees and handles them."""

import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from unitask_sandbox.samples import ASTRONAUT, GRACE_HOPPER

from .browser import HOSTILE, is_loaded, opened, part, put_portraits, rows
from .local import NO_FACE, Clock, base64_of


def test_list_follows_what_other_clients_do(page: Any, expect: Any, serve: Any) -> None:
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


def test_one_click_shows_a_task(page: Any, expect: Any, serve: Any, clock: Clock) -> None:
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


def test_page_goes_on_when_the_sandbox_is_back(page: Any, expect: Any, serve: Any) -> None:
    site = serve()
    page.goto(site.url)
    expect(page.locator("#balance")).to_have_text("$10.00 left")
    page.route("**/_sandbox/**", lambda route: route.abort())
    expect(page.locator("#trouble")).to_contain_text("does not answer")
    site.create()
    page.unroute("**/_sandbox/**")

    expect(page.locator("#balance")).to_have_text("$9.99 left")
    expect(page.locator("#trouble")).to_be_hidden()


ROW = {
    **dict.fromkeys(("task_id", "model", "task_type", "status", "error"), HOSTILE),
    "created_at": 1.0,
    "started_at": 1.0,
    "ended_at": 2.0,
    "cost_usd": 0.01,
    "simulated": True,
    "output": {
        "image_url": f"/files/{HOSTILE}.png",
        "video_url": "javascript:alert(1)",
        HOSTILE: "data:text/html,<script>alert(1)</script>",
    },
}


def test_hostile_words_are_words(page: Any, expect: Any, serve: Any) -> None:
    site = serve()
    overview = {"tasks": [ROW], "total": 1, "balance_usd": 1, "spent_usd": 0}
    detail = {
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
    ("address", "is_link"), [("https://me.test/a.png", True), ("#/tasks", True), (" JavaScript:alert(1)", False)]
)
def test_only_addresses_of_the_web_are_links(page: Any, serve: Any, address: str, is_link: bool) -> None:
    page.goto(serve().url)
    made = page.evaluate(
        """async (address) => {
            const { h, isSafe } = await import("./_sandbox/page/dom.js");
            return [h("a", { href: address }).hasAttribute("href"), isSafe(address, "src")];
        }""",
        address,
    )

    assert made == [is_link, is_link]


def test_picture_of_the_page(browser: Any, expect: Any, serve: Any, tmp_path: Path) -> None:
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
