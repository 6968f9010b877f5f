"""What the page reads beside the API: tasks, inputs while they are kept, money and attempts to send webhooks."""

from unitask_sandbox import Fault

from .local import CREATE, NO_FACE, NOW, PRICE, Clock, Http, HttpWith, Receiver, simulated

USD = PRICE / 10_000_000
WEBHOOK = {"webhook_config": {"endpoint": "https://me:password@me.test/done?token=1#x", "secret": "s"}}


def test_page_is_for_browsers(http: Http) -> None:
    for accept, kind in (("text/html,*/*;q=0.8", "text/html"), ("*/*", "text/plain")):
        answer = http("GET", "/", headers={"accept": accept})
        assert answer.headers["content-type"].startswith(kind)
        assert answer.headers["vary"] == "accept"
        assert ("default-src 'self'" in answer.headers.get("content-security-policy", "")) is (kind == "text/html")


def test_parts_of_the_page_are_served_and_nothing_beside_them(http: Http) -> None:
    paths = "page/app.js samples/astronaut.png page/page.py page/%2e%2e%2fpage.py samples/__init__.py tasks?limit=0"
    statuses = [http("GET", f"/_sandbox/{path}").status_code for path in paths.split()]

    assert statuses == [200, 200, 404, 404, 404, 400]


def test_tasks_are_those_of_the_key(http_with: HttpWith, clock: Clock) -> None:
    http = http_with(keys={"sandbox": 1.0, "other": 1.0})
    first = http.create()
    clock.now += 1
    second = http.create(target=NO_FACE)
    http.sandbox.advance()
    seen = http("GET", "/_sandbox/tasks").json()
    rows = [(task["task_id"], task["status"], task["cost_usd"], task["error"]) for task in seen["tasks"]]

    assert rows == [(second, "failed", 0, "no face found in the image"), (first, "completed", USD, "")]
    assert (seen["tasks"][1]["created_at"], seen["tasks"][1]["ended_at"]) == (NOW, NOW + 1)
    assert (seen["total"], seen["balance_usd"], seen["spent_usd"]) == (2, 1 - USD, USD)
    assert http("GET", "/_sandbox/tasks", headers={"x-api-key": "other"}).json()["tasks"] == []
    assert http("GET", f"/_sandbox/tasks/{first}", headers={"x-api-key": "other"}).status_code == 404
    assert http("GET", "/_sandbox/tasks", headers={}).status_code == 401
    http.create(simulated("kling", "extend_video", origin_task_id="00000000-0000-4000-8000-000000000000"))
    assert http("GET", "/_sandbox/tasks?limit=1").json()["tasks"][0]["cost_usd"] is None  # it has no published price


def test_same_answer_is_not_sent_again(http: Http) -> None:
    path = f"/_sandbox/tasks/{http.create()}"
    known = {**http.headers, "if-none-match": http("GET", path).headers["etag"]}
    unchanged = http("GET", path, headers=known).status_code
    http.sandbox.advance()

    assert (unchanged, http("GET", path, headers=known).status_code) == (304, 200)


def test_attempts_to_send_a_webhook_are_shown_without_secrets(http_with: HttpWith, clock: Clock) -> None:
    refused = ConnectionRefusedError(111, "https://me:password@me.test")
    http = http_with(send_webhook=Receiver([503, refused, 204]))
    task_id = http.create(config=WEBHOOK)
    for _ in range(4):
        http.sandbox.advance()
        clock.now += 5
    webhook = http("GET", f"/_sandbox/tasks/{task_id}").json()["webhook"]
    attempts = [(attempt["at"], attempt["status"], attempt["error"]) for attempt in webhook["attempts"]]

    assert attempts == [(NOW, 503, ""), (NOW + 5, None, "ConnectionRefusedError"), (NOW + 10, 204, "")]
    assert {attempt["endpoint"] for attempt in webhook["attempts"]} == {"https://me.test/done"}
    assert webhook["at_most"] == 3


def test_page_takes_no_fault_and_is_not_among_the_arrivals(http_with: HttpWith) -> None:
    http = http_with(faults=(Fault("get_task", "refuse", 503), Fault("list_task_history", "refuse", 503)))
    task_id = http.create()
    before = len(http.sandbox.arrivals)
    for path in ("tasks", f"tasks/{task_id}", f"tasks/{task_id}/input", "about"):
        assert http("GET", f"/_sandbox/{path}").status_code == 200

    assert len(http.sandbox.arrivals) == before
    assert http.unchecked("GET", f"{CREATE}/{task_id}").status_code == 503


def test_form_is_checked_in_words_and_priced_while_it_is_incomplete(http: Http) -> None:
    def check(name: str, **given: object) -> tuple[list[str], float | None]:
        answer = http("POST", f"/_sandbox/check/{name}", json=given).json()
        return sorted(f"{problem['path']} {problem['words']}" for problem in answer["problems"]), answer["usd"]

    assert check("FaceSwap", target_image="x") == (["['swap_image'] is required"], USD)
    wrong = {"prompt": 7, "width": 0.5}
    assert check("FluxSchnellTxt2Img", **wrong) == (
        ["['prompt'] must be a text", "['width'] must be a whole number"],
        None,
    )
    assert check("KlingVideo", prompt="waves")[1] is None  # the price depends on more fields
    assert http("POST", "/_sandbox/check/NoSuchTask", json={}).status_code == 400
