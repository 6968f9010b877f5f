"""The endpoints below /_sandbox/ that control the provider: reset, clock, accounts, request log, snapshots; seeds."""

import hashlib
import io
import itertools
import sqlite3
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest
from unitask_sandbox import Fault, Settings, request_log, running, snapshot

from .local import CREATE, KEY, NOW, PRICE, SONG, Clock, Http, HttpWith, base64_of, encoded, face_swap, simulated

ARRIVALS, CLOCK, RESET, SNAPSHOT = "/_sandbox/arrivals", "/_sandbox/clock", "/_sandbox/reset", "/_sandbox/snapshot"
UPLOAD = {"file_name": "a.png", "file_data": base64_of(b"content")}


def control(http: Http, method: str, path: str, **request: Any) -> dict[str, Any]:
    answer = http(method, path, headers={}, **request)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def run_of(http: Http) -> list[str]:
    """Create, finish and upload something; return the ids and the names of files."""
    task_id = http.create()
    upload = http("POST", "/api/ephemeral_resource", json=UPLOAD).json()["data"]["url"]
    http.sandbox.advance()
    return [task_id, http.task(task_id)["output"]["image_url"], upload]


def test_reset_begins_anew(http_with: HttpWith, clock: Clock, tmp_path: Path) -> None:
    ordered = Fault("get_account_info", "refuse", status=418)
    http = http_with(seed=7, data=tmp_path, faults=(ordered,), keys={"sandbox": 10.0, "other": 1.0})
    before = run_of(http)
    http.unchecked("GET", "/account/info")
    http.sandbox.fault("answer-lost")
    control(http, "POST", CLOCK, json={"advance": 60})
    assert control(http, "POST", RESET) == {"status": "ok"}

    assert http("GET", f"{CREATE}/{before[0]}").status_code == 404
    assert [http.unchecked("GET", url).status_code for url in before[1:]] == [404, 404]
    assert not [path for path in (tmp_path / "files").rglob("*") if path.is_file()]
    assert [each.operation for each in http.sandbox.arrivals] == ["get_task"]
    assert http.sandbox.faults.coming() == [ordered]
    assert control(http, "GET", CLOCK) == {"now": NOW}
    assert {each["balance_usd"] for each in control(http, "GET", "/_sandbox/accounts")["accounts"]} == {10.0, 1.0}
    assert run_of(http) == before


def test_seed_gives_the_same_ids_in_each_run_and_new_ones_in_a_used_folder(http_with: HttpWith, tmp_path: Path) -> None:
    first = http_with(seed=7, data=tmp_path)
    ids = run_of(first)
    first.sandbox.close()
    again = run_of(http_with(seed=7, data=tmp_path))

    assert run_of(http_with(seed=7)) == ids
    assert not {*again, *run_of(http_with(seed=8)), *run_of(http_with())} & {*ids}


def test_seeded_asset_is_a_new_one_after_a_snapshot_is_loaded(http_with: HttpWith) -> None:
    http = http_with(seed=7)
    first = http("POST", "/api/v1/asset/upload", json={"url": "https://a.test/a.png"}).json()["asset_id"]
    control(http, "POST", SNAPSHOT, content=saved(http))
    second = http("POST", "/api/v1/asset/upload", json={"url": "https://a.test/a.png"}).json()["asset_id"]

    assert first != second


def test_accounts_are_shown_by_fingerprint(http_with: HttpWith) -> None:
    http = http_with(keys={"sandbox": 1.0, "a-second-key": 2.0})
    http.create()
    http.sandbox.advance()
    http.create(SONG)
    first, second = control(http, "GET", "/_sandbox/accounts")["accounts"]

    assert first == {
        "key": hashlib.sha256(b"sandbox").hexdigest()[:8],
        "balance_usd": 0.94,
        "frozen_usd": 0.05,
        "starting_usd": 1.0,
        "tasks": {"completed": 1, "pending": 1},
    }
    assert (second["balance_usd"], second["tasks"]) == (2.0, {})


# The clock.


def test_tasks_files_and_dates_follow_the_moved_clock(clock: Clock) -> None:
    def send(url: str, *_sent: Any) -> int:
        return 200

    settings = Settings(speed="real", clock=clock, send_webhook=send)
    with running(settings) as url, httpx.Client(base_url=url, headers=KEY) as http:
        task_id = http.post(CREATE, json=simulated()).json()["data"]["task_id"]
        moved = http.post(CLOCK, json={"advance": 3600})
        task = http.get(f"{CREATE}/{task_id}").json()["data"]
        file = [http.get(task["output"]["image_url"]).status_code]
        http.post(CLOCK, json={"set": NOW + 4 * 86400})
        file.append(http.get(task["output"]["image_url"]).status_code)

    assert moved.json() == {"now": NOW + 3600}
    assert task["status"] == "completed"
    created, started, ended = (task["meta"][name] for name in ("created_at", "started_at", "ended_at"))
    assert created < started < ended < "2027-01-15T08:10"
    assert file == [200, 404]
    assert moved.headers["date"] == "Fri, 15 Jan 2027 09:00:00 GMT"


def test_clock_can_be_moved_by_less_than_a_request_takes(http_with: HttpWith) -> None:
    http = http_with(clock=itertools.count(NOW).__next__)

    assert control(http, "POST", CLOCK, json={"advance": 0})["now"] > NOW


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ({"advance": -1}, "the clock is at 1800000000.250 and only moves forward; /_sandbox/reset begins anew"),
        ({"set": 0}, "only moves forward"),
        ({"set": 1e12}, "the latest time is"),
        ({"advance": 10**400}, "the latest time is"),
        ({"advance": -(10**400)}, "only moves forward"),
        ({"advance": True}, 'send {"advance": seconds} or {"set": unix seconds}'),
        ({"advance": 1, "set": 1}, 'send {"advance"'),
        ([], 'send {"advance"'),
    ],
    ids=lambda value: str(value)[:20],
)
def test_clock_refuses_what_it_cannot_do(http: Http, order: Any, words: str) -> None:
    answer = http("POST", CLOCK, json=order)

    assert (answer.status_code, control(http, "GET", CLOCK)) == (400, {"now": NOW})
    assert words in answer.json()["message"]


# The request log.


def test_request_log_has_bodies_without_keys(http_with: HttpWith) -> None:
    key, secret = "a-key/that-is-easy-to-find", "a-webhook-secret"
    http = http_with(keys={key: 1.0})
    http.headers = {"x-api-key": key, "idempotency-key": "one"}
    long = base64_of(bytes(300_000))
    config = {"webhook_config": {"endpoint": "https://a.test", "secret": secret}}
    body = {**face_swap(config=config, note=f"my {key}"), "input": {"target_image": long, "swap_image": "c291cmNl"}}
    task_id = http("POST", CREATE, content=encoded(body).replace(b"/", b"\\/")).json()["data"]["task_id"]
    http("GET", f"/account/info?token={key}&page={key}&{key}=x")
    other = {"x-api-key": key, "authorization": "Bearer a-real-key-by-mistake", "content-type": "a/b"}
    http("POST", CREATE, content=b"\x00\x01", headers=other)
    answer = http("GET", ARRIVALS)
    create, info, bad = answer.json()["arrivals"]

    assert [word for word in (key, secret, long, "a-real-key-by-mistake") if word in answer.text] == []
    assert (create["number"], create["query"], create["headers"]["idempotency-key"]) == (1, {}, "one")
    assert create["headers"]["x-api-key"] == bad["headers"]["authorization"] == "[hidden]"
    sent = create["request"]["json"]
    assert (sent["note"], sent["config"]["webhook_config"]["secret"]) == ("my [hidden]", "[hidden]")
    assert sent["input"]["swap_image"] == "c291cmNl"
    digest = hashlib.sha256(long.encode()).hexdigest()
    assert sent["input"]["target_image"] == f"{long[:60]}... (400000 characters, SHA-256 {digest})"
    assert create["request"]["size"] > 400_000
    assert create["response"]["json"]["data"]["task_id"] == task_id
    assert info["query"] == {"token": "[hidden]", "page": "[hidden]", "[hidden]": "x"}
    assert (info["request"], info["response"]["json"]["data"]["api_key"]) == (None, "[hidden]")
    assert bad["request"] == {"kind": "a/b", "size": 2, "sha256": hashlib.sha256(b"\x00\x01").hexdigest()}


def test_request_log_is_filtered_and_bounded(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_log, "KEPT_WHOLE", 2)
    numbers = [str(number) for number in range(30_000)]
    http("POST", CREATE, json={"model": "m", "task_type": "t", "input": {"numbers": numbers}})
    for path in (f"{CREATE}/one", f"{CREATE}/two", "/account/info"):
        http("GET", path)

    def found(query: str) -> list[int]:
        return [each["number"] for each in control(http, "GET", f"{ARRIVALS}?{query}")["arrivals"]]

    for wrong in ("operations=get_task", "operation=get_tasks"):
        assert http("GET", f"{ARRIVALS}?{wrong}").status_code == 400, wrong
    fingerprint = hashlib.sha256(b"sandbox").hexdigest()[:8]
    assert [found(query) for query in ("", "operation=get_task", f"path={CREATE}/", "limit=1")] == [
        [1, 2, 3, 4],
        [2, 3],
        [2, 3],
        [4],
    ]
    assert [found(query) for query in ("key=sandbox", f"key={fingerprint}", "key=x")] == [[1, 2, 3, 4]] * 2 + [[]]
    rows = control(http, "GET", ARRIVALS)["arrivals"]
    assert [(bool(row["headers"]), row["response"] is not None) for row in rows] == [
        (kept, kept) for kept in (0, 0, 1, 1)
    ]
    assert http("GET", f"{ARRIVALS}?limit=0").status_code == 400
    control(http, "DELETE", ARRIVALS)
    http("POST", CREATE, json={"model": "m", "task_type": "t", "input": {"numbers": numbers}})
    (one,) = control(http, "GET", ARRIVALS)["arrivals"]
    assert (one["number"], "json" in one["request"]) == (1, False)  # it is too large to be kept


# Snapshots.


def saved(http: Http) -> bytes:
    answer = http("GET", SNAPSHOT, headers={})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    return answer.content


def test_snapshot_restores_the_state_in_another_sandbox(http_with: HttpWith, clock: Clock, tmp_path: Path) -> None:
    http = http_with()
    done, image, upload = run_of(http)
    waiting = http.create()
    content = changed(saved(http), **{"files/": b""})  # a folder of its own, as the program zip adds it
    clock.now += 30 * 86400  # every file has expired, and would be removed
    other = http_with(data=tmp_path, keys={"sandbox": 99.0, "another-key": 5.0})
    lost = other.create()
    control(other, "POST", SNAPSHOT, content=content)

    assert other.statuses(done, waiting) == ["completed", "pending"]
    assert other("GET", f"{CREATE}/{lost}").status_code == 404
    assert other.unchecked("GET", image).content == b"<target>"
    assert other.unchecked("GET", upload).content == b"content"
    assert (other.usd, other.sandbox.balance("another-key")) == (10.0 - 2 * PRICE / 1e7, 5.0)
    assert control(other, "GET", CLOCK) == {"now": NOW}
    other.sandbox.advance()
    assert other.statuses(waiting) == ["completed"]
    other.sandbox.close()
    assert http_with(data=tmp_path).statuses(done, waiting) == ["completed", "completed"]


def changed(content: bytes, *left_out: str, **added: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            if name not in left_out:
                new.writestr(name, old.read(name))
        for name, data in added.items():
            new.writestr(name, data)
    return made.getvalue()


def by_lzma() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_LZMA) as new:
        new.writestr(snapshot.DATABASE, b"content")
    return made.getvalue()


def database(tmp_path: Path, content: bytes, statement: str) -> bytes:
    path = tmp_path / "changed.sqlite3"
    path.write_bytes(zipfile.ZipFile(io.BytesIO(content)).read(snapshot.DATABASE))
    db = sqlite3.connect(path, isolation_level=None)
    db.execute(statement)
    db.close()
    return changed(content, snapshot.DATABASE, **{snapshot.DATABASE: path.read_bytes()})


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("no zip", "File is not a zip file"),
        ("no database", "it has no sandbox.sqlite3"),
        ("traversal", "no snapshot has an entry '../../evil.png'"),
        ("too large", "the limit is 1"),
        ("bad clock", "its clock is at -1.0"),
        ("clock beyond a float", "int too large"),
        ("other compression", "by another method than deflate"),
        ("traversal by the database", "no snapshot lists a file '../../evil.png'"),
        ("no sqlite", "file is not a database"),
        ("other tables", "its database has other tables than this version of unitask"),
        ("no json", "its database is damaged"),
        ("no account", "a row refers to one that is missing"),
    ],
)
def test_bad_snapshot_is_refused_and_changes_nothing(
    http: Http, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, words: str
) -> None:
    done, image, upload = run_of(http)
    good = saved(http)
    waiting = http.create()
    if kind == "too large":
        monkeypatch.setattr(snapshot, "LARGEST", 1)
    content = {
        "no zip": lambda: b"PK",
        "no database": lambda: changed(good, snapshot.DATABASE),
        "traversal": lambda: changed(good, **{"../../evil.png": b"x"}),
        "too large": lambda: good,
        "bad clock": lambda: changed(good, snapshot.CLOCK, **{snapshot.CLOCK: encoded({"now": -1})}),
        "clock beyond a float": lambda: changed(good, snapshot.CLOCK, **{snapshot.CLOCK: encoded({"now": 10**400})}),
        "other compression": by_lzma,
        "traversal by the database": lambda: database(
            tmp_path, good, "INSERT INTO files VALUES ('../../evil.png', NULL, 1e12)"
        ),
        "no sqlite": lambda: changed(good, snapshot.DATABASE, **{snapshot.DATABASE: bytes(4096)}),
        "other tables": lambda: database(tmp_path, good, "CREATE TRIGGER t DELETE ON tasks BEGIN SELECT 1; END"),
        "no json": lambda: database(tmp_path, good, "UPDATE tasks SET meta = '{'"),
        "no account": lambda: database(tmp_path, good, "UPDATE ledger SET account = 'x'"),
    }[kind]()
    answer = http("POST", SNAPSHOT, content=content, headers={})

    assert answer.status_code == 400, answer.text
    assert answer.json()["message"].startswith("the snapshot cannot be loaded: ")
    assert words in answer.json()["message"]
    assert "the state has not changed" in answer.json()["message"]
    assert http.statuses(done, waiting) == ["completed", "pending"]
    assert [http.unchecked("GET", url).status_code for url in (image, upload)] == [200, 200]
    http.sandbox.advance()
    assert http.statuses(waiting) == ["completed"]


def test_work_of_before_a_reset_does_not_end_a_task_of_after(http_with: HttpWith, clock: Clock) -> None:
    body = face_swap(input={"target_image": "https://a.test/a.png", "swap_image": "c291cmNl"})

    def fetch(_url: str) -> bytes:
        control(http, "POST", RESET)
        assert http.create(body) == task_id
        clock.now += 60
        http.sandbox.advance()
        return b"old"

    http = http_with(seed=7, speed="real", fetch=fetch)
    task_id = http.create(body)
    for seconds in (60, 600):
        clock.now += seconds
        http.sandbox.advance()

    assert http.statuses(task_id) == ["processing"]


def test_unknown_task_type_is_simulated_with_the_switch_alone(http_with: HttpWith) -> None:
    unknown = simulated("Qubico/of-tomorrow", "dream", prompt="a", image="not base64")
    refused = http_with()("POST", CREATE, content=encoded(unknown))
    http = http_with(accept_unknown=True)
    task_id = http.create(unknown)
    http.sandbox.advance()
    task = http.task(task_id)

    assert refused.status_code == 400
    assert "to get it SIMULATED: `unitask sandbox --accept-unknown`" in refused.json()["message"]
    assert http.file(task).startswith(b"\x89PNG")
    assert task["output"]["text"] == task["meta"]["simulated"]
    assert "SIMULATED: the spec has no task type 'dream' of the model 'Qubico/of-tomorrow'" in task["output"]["text"]
    assert http.usd == 10.0
    http.create(unknown)
    assert http("DELETE", f"/api/v1/tasks?created_before={int(NOW) + 9}&model=all").status_code == 200
    assert http("POST", CREATE, json=simulated(width=[])).status_code == 400
