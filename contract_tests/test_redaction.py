"""The redaction of recorded exchanges: what a user wrote is in no file, and what the contract is about stays."""

import base64
import hashlib
import json
import re
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unitask import errors
from unitask._core import envelope
from unitask._core.effects import Response
from unitask._model.task import Output, Task
from unitask._model.timestamp import Timestamp
from unitask_contract import bundle
from unitask_contract.patches.proposals import differences
from unitask_contract.patches.redaction import names
from unitask_contract.recording import live, redaction, texts
from unitask_contract.recording.folder import Body, Recorded
from unitask_contract.recording.redaction import Mode, Redactor
from unitask_sandbox.faults import library, named

from .support import examples, mutation, tries
from .support.scenarios import scenarios

KEY = "k-9f8e7d6c5b4a39281706"
JSON = "application/json"
HEADERS = {"x-api-key": KEY, "content-type": JSON}
TASK_ID = "5ae2bdc1-1a2b-4c3d-8e9f-000102030405"
DRAWING: dict[str, Any] = {"model": "Qubico/flux1-dev", "task_type": "txt2img", "input": {"prompt": "a fox on a hill"}}
FAILED = examples()["core.no-credit.create.500"]["value"]


def recorded(sent: Any = b"", received: Any = b"", *, redactor: Redactor | None = None, **parts: Any) -> Recorded:
    """Redact an exchange of these bodies: bytes, or a JSON value; None is no body."""
    raw = [one or b"" if isinstance(one, bytes | None) else json.dumps(one).encode() for one in (sent, received)]
    values: dict[str, Any] = {
        "number": 1,
        "method": "POST",
        "path": "/api/v1/task",
        "query": "",
        "request_headers": HEADERS,
        "request_body": raw[0],
        "started": "2026-11-29T12:00:00Z",
        "head_seconds": 0.1,
        "seconds": 0.2,
        "status": 200,
        "response_headers": {"content-type": JSON},
        "response_body": raw[1],
    }
    return (redactor or Redactor()).recorded(**{**values, **parts})


def again(one: Recorded) -> Recorded:
    """Redact a redacted exchange."""
    kinds = ({"content-type": body.kind} if body.kind else {} for body in (one.request, one.response))
    pieces = [(at, text.encode()) for at, text in one.response.content] if one.response.form == "events" else []
    return recorded(
        one.request.raw,
        one.response.raw,
        method=one.method,
        path=one.path,
        query=one.query,
        request_headers={**one.request_headers, **next(kinds)},
        response_headers={**one.response_headers, **next(kinds)},
        status=one.status,
        pieces=pieces,
    )


def answered(body: Any, status: int = 200, kind: str = JSON) -> Body:
    return recorded(b"", body, status=status, response_headers={"content-type": kind}).response


# What vanishes: each canary is drawn, put somewhere, and no piece of it may be in the file.

letters = st.text("bcdfghjkmnpqrstvwxz", min_size=7, max_size=12)  # no part of a word that stays
prompts = st.lists(letters, min_size=2, max_size=6).map(lambda found: (" ".join(found), found))
hosts = letters.map(lambda word: f"{word}.test")
CANARIES: Mapping[str, st.SearchStrategy[tuple[str, list[str]]]] = {
    "key": st.just((KEY, [KEY])),
    "key in base64": st.just((base64.b64encode(KEY.encode()).decode(), [base64.b64encode(KEY.encode()).decode()])),
    "key in capitals, escaped": st.just(("".join(f"%{ord(one):02X}" for one in KEY), ["%6B%2D", "6b2d39"])),
    "e-mail": st.tuples(letters, hosts).map(lambda found: ("@".join(found), [found[0], found[1][:-5]])),
    "prompt": prompts,
    "prompt of other letters": st.text("äöüßéñçжщю漢字かな🦊🎉", min_size=5, max_size=30).map(
        lambda text: (text, [text])
    ),
    "URL": st.lists(letters, min_size=3, max_size=3, unique=True).map(
        lambda found: (f"https://{found[0]}.test/{found[1]}.png?X-Signature={found[2]}", [*found])
    ),
    "file name": letters.map(lambda word: (f"{word}-{word}.png", [word])),
    "data URI": st.binary(min_size=9, max_size=300).map(
        lambda raw: (f"data:image/png;base64,{base64.b64encode(raw).decode()}", [base64.b64encode(raw).decode()[:12]])
    ),
    "base64": st.binary(min_size=200, max_size=300).map(
        lambda raw: (base64.b64encode(raw).decode(), [base64.b64encode(raw).decode()[:20]])
    ),
    "id": st.uuids(version=4).map(lambda found: (str(found), [str(found)])),
    "phone number": st.from_regex(r"\+49 1[5-7]\d \d{3} \d{4,5}", fullmatch=True).map(
        lambda found: (found, [found[4:]])
    ),
}
canaries = st.one_of([*CANARIES.values()])
ANSWERS = [one["value"] for one in examples("200").values()] + [one["value"] for one in examples("default").values()]
REQUESTS = [one["value"] for one in examples("request").values() if one["x-operation"] in bundle.routes()]


def put(value: Any, text: str, data: st.DataObject) -> Any:
    """Return a JSON value with the text at a place that is drawn: as a value, in one, or as a name."""
    if isinstance(value, dict) and value and data.draw(st.integers(0, 5)):
        step = data.draw(st.sampled_from(sorted(value)))
        return {**value, step: put(value[step], text, data)}
    if isinstance(value, list) and value and data.draw(st.integers(0, 5)):
        return [put(value[0], text, data), *value[1:]]
    form = data.draw(st.sampled_from(["value", "quoted", "name", "JSON in a text", "list"]))
    if form == "name":
        return {text: 7, "status": "failed"}
    if form == "list":
        return [text, {"message": text, "error": {"message": [text]}, "logs": text}]
    quoted = f'the prompt "{text}" was rejected by moderation: {text}'
    return {"value": text, "quoted": quoted}.get(form) or json.dumps({"input": {"prompt": text}})


def multipart(text: str) -> bytes:
    parts = [
        'name="prompt"\r\n\r\n' + text,
        f'name="image"; filename="{text}"\r\nContent-Type: image/png\r\n\r\n\x89PNG{text}',
        f'name="{text.encode("ascii", "replace").decode()}"\r\n\r\n7',
    ]
    return "".join(f"--x\r\nContent-Disposition: form-data; {part}\r\n" for part in parts).encode() + b"--x--\r\n"


def streamed(text: str, cut: int) -> list[tuple[float, bytes]]:
    events = [{"choices": [{"delta": {"content": text}}], "error": {"message": text}}, {"message": text}]
    lines = [f"data: {json.dumps(event, ensure_ascii=False)}\n\n" for event in events]
    raw = f"event: {text}\nid: {text}\n: {text}\n{text}\n\n{''.join(lines)}data: {text}\n\ndata: [DONE]\n\n".encode()
    cut = cut % len(raw)
    return [(0.1, raw[:cut]), (0.2, raw[cut:])]


PLACES: dict[str, Callable[[str, st.DataObject], dict[str, Any]]] = {
    "request": lambda text, data: {"request_body": json.dumps(put(data.draw(st.sampled_from(REQUESTS)), text, data))},
    "answer": lambda text, data: {"response_body": json.dumps(put(data.draw(st.sampled_from(ANSWERS)), text, data))},
    "raw JSON": lambda text, data: {
        "response_body": json.dumps(put(data.draw(st.sampled_from(ANSWERS)), text, data), ensure_ascii=False)
    },
    "request header": lambda text, _: {
        "request_headers": {
            **dict.fromkeys(("user-agent", "cookie", "accept", "referer", "x-name", "authorization"), text),
            "content-type": f"{JSON}; name={text}",
        }
    },
    "response header": lambda text, _: {
        "response_headers": {
            **dict.fromkeys(
                ("set-cookie", "location", "x-request-id", "server", "date", "retry-after", "cf-ray"), text
            ),
            "content-type": f"{JSON}; name={text}",
        }
    },
    "location": lambda text, _: {
        "response_headers": {
            "location": f"/api/v1/task/{urllib.parse.quote(text, safe='')}?x={urllib.parse.quote(text)}"
        }
    },
    "query": lambda text, _: {"query": urllib.parse.urlencode({"model": text, text: "7", "api_key": text})},
    "raw query": lambda text, _: {"query": urllib.parse.quote(text)},
    "path": lambda text, _: {"path": f"/api/v1/task/{urllib.parse.quote(text, safe='')}", "method": "GET"},
    "unknown path": lambda text, _: {"path": f"/files/{urllib.parse.quote(text, safe='')}/x", "method": "GET"},
    "form": lambda text, _: {
        "request_headers": {**HEADERS, "content-type": "application/x-www-form-urlencoded"},
        "request_body": urllib.parse.urlencode({"prompt": text, text: "x", "token": text}),
    },
    "multipart": lambda text, _: {
        "request_headers": {**HEADERS, "content-type": "multipart/form-data; boundary=x"},
        "request_body": multipart(text),
    },
    "events": lambda text, data: {
        "response_headers": {"content-type": "text/event-stream"},
        "pieces": streamed(text, data.draw(st.integers(0, 2000))),
    },
    "page": lambda text, _: {
        "status": 502,
        "response_headers": {"content-type": "text/html"},
        "response_body": f"<html><a href='{text}'>{text}</a></html>",
    },
    "cut page": lambda text, data: {
        "response_headers": {"content-type": "text/plain"},
        "response_body": f"the key is {text}"[: 15 + data.draw(st.integers(0, len(text)))],
    },
    "not UTF-8": lambda text, _: {"response_body": b'{"message": "' + text.encode() + b'\xff", "data": 7}'},
    "cut": lambda text, data: {
        "response_body": (whole := json.dumps(put(data.draw(st.sampled_from(ANSWERS)), text, data)))[
            : data.draw(st.integers(0, len(whole)))
        ]
    },
    "twice": lambda text, data: {
        "response_body": 2 * json.dumps(put(data.draw(st.sampled_from(ANSWERS)), text, data)) + text
    },
    "sound": lambda text, _: {"response_headers": {"content-type": "audio/mpeg"}, "response_body": f"ID3{text}"},
}


@pytest.mark.parametrize("place", PLACES)
@settings(max_examples=tries(60))
@given(canary=canaries, data=st.data())
def test_canary_is_in_no_file(place: str, canary: tuple[str, list[str]], data: st.DataObject) -> None:
    check_canary(place, canary, data, keep_texts=False)


@pytest.mark.parametrize("place", ["unknown path", "location", "response header", "query", "request"])
@settings(max_examples=tries(30))
@given(data=st.data())
def test_key_like_a_word_is_in_no_file(place: str, data: st.DataObject) -> None:
    key = "live-key-Zq93kLmN"
    parts = PLACES[place](key, data)
    for name in ("request_headers", "response_headers"):
        parts[name] = {**HEADERS, **parts.get(name, {}), "content-type": f"{JSON}; charset={key}"}
    body = parts.get("request_body")
    one = recorded(redactor=Redactor(key=key), **parts | ({"request_body": body.encode()} if body else {}))

    assert key.casefold() not in one.written().decode().casefold()


def check_canary(place: str, canary: tuple[str, list[str]], data: st.DataObject, *, keep_texts: bool) -> None:
    text, needles = canary
    parts = PLACES[place](text, data)
    for name in ("request_body", "response_body"):
        if isinstance(parts.get(name), str):
            parts[name] = parts[name].encode()
    one = recorded(redactor=Redactor(keep_texts, KEY), **parts)
    written = one.written().decode()
    shown = json.dumps(json.loads(written), ensure_ascii=False).casefold()

    assert Recorded.read(one.written()) == one
    for needle in needles:
        assert needle.casefold() not in shown, (text, written)


KEPT = [CANARIES["key"], CANARIES["key in base64"], CANARIES["key in capitals, escaped"], CANARIES["e-mail"]]
KEPT += [CANARIES["URL"].map(lambda found: (found[0], found[1][2:]))]


@pytest.mark.parametrize("place", sorted(PLACES.keys() - {"location"}))
@settings(max_examples=tries(30))
@given(canary=st.one_of(KEPT), data=st.data())
def test_key_address_and_signature_are_in_no_file_with_texts(place: str, canary: Any, data: st.DataObject) -> None:
    check_canary(place, canary, data, keep_texts=True)


def test_words_and_numbers_stay_and_texts_become_pseudonyms() -> None:
    sent = {**DRAWING, "input": {**DRAWING["input"], "steps": 7}}
    task = {"task_id": TASK_ID, "status": "waiting", "input": sent["input"]}
    one = recorded(sent, {"code": 200, "data": task, "message": "success"})

    assert one.operation == "create_task"
    assert one.request.content["input"] == {"prompt": "(15 characters, sha256 72d5c100e1f4)", "steps": 7}
    assert one.request.content["model"] == DRAWING["model"]
    assert one.request_headers == {"content-type": JSON, "x-api-key": "(the key)"}
    data = one.response.content["data"]
    assert (data["status"], data["input"]) == ("waiting", one.request.content["input"])


WORDS = ["waiting", "In_Progress", "chat.completion.chunk", "gpt-4.1-mini", "7:5", "Qubico/new-2", "1440p", "E1"]
TEXTS = ["jane.doe", "jane-passport.png", "jqx.test", "Jane Doe", "a1b2c3d4e5f6a7b8c9d0", "AbCdEfGhIjKlMn", "x" * 41]


@pytest.mark.parametrize("text", [*WORDS, *TEXTS])
def test_word_stays_in_a_field_for_words_alone(text: str) -> None:
    content = answered({"data": {"status": text, "name": text}}).content

    assert (content["data"]["status"] == text) == (text in WORDS)
    assert content["data"]["name"] == f"({len(text)} characters)"


WORDY_KEY, SECRET = "secret-server-key", "delta-echo-foxtrot"  # words that would stay
HIDDEN: list[tuple[Any, Any]] = [
    ({"status": WORDY_KEY}, {"status": "(the key)"}),
    ({"status": f"x-{WORDY_KEY.upper()}"}, {"status": "(the key)"}),
    ({f"a-{WORDY_KEY}": 1}, {"(the key)": 1}),
    ({"message": f"no {WORDY_KEY} here"}, {"message": "no (the key) here"}),
    ({"secret": SECRET, "status": SECRET}, {"secret": "(secret)", "status": "(the key)"}),
    ({"group": "t-789"}, {"group": texts.pseudonym("t-789")}),
    ({"task_id": "t-789\ud800"}, {"task_id": texts.pseudonym("t-789") + "\ud800"}),
    ({"contact": "me@a.test"}, {"contact": "(e-mail)"}),
    ({"contact": " me@a.test"}, {"contact": " (e-mail)"}),
    (b'{"code": 200, "id": 4915112345678, "a": [4915112345678', '{"code": 200, "id": 1, "a": [1'),
    (b'{"status": "jqx', '{"status": "(3 characters)'),
    (b'{"code": 200} call 4915112345678', '{"code": 200} (...) 1'),
]


@pytest.mark.parametrize(("body", "shown"), HIDDEN)
def test_what_only_the_exchange_shows_to_be_private_is_removed(body: Any, shown: Any) -> None:
    one = recorded(
        b"",
        body,
        method="GET",
        path="/api/v1/task/t-789",
        query="page=7&prompt=4915112345678",
        request_headers={"authorization": f"Bearer {WORDY_KEY}"},
    )

    assert one.response.content == shown
    assert one.query.startswith("page=7&prompt=%2813+characters")


def test_keys_of_so_many_requests_are_remembered() -> None:
    redactor = Redactor(key="the-key-of-mine")
    for number in range(redaction.MOST_KEYS + 1):
        recorded(redactor=redactor, request_headers={"x-api-key": f"the-key-{'abcdefghijk'[number]}"})

    assert len(redactor._keys) == redaction.MOST_KEYS
    for key in ("the-key-b", "the-key-of-mine"):
        one = recorded({"status": key}, redactor=redactor, request_headers={})
        assert one.request.content == {"status": "(the key)"}


def test_id_has_one_pseudonym_in_path_body_query_and_header() -> None:
    poll = recorded(
        b"",
        {"data": {"task_id": TASK_ID, "input": {"origin_task_id": TASK_ID}, "output": {TASK_ID: TASK_ID}}},
        method="GET",
        path=f"/api/v1/task/{TASK_ID}",
        query=f"task_id={TASK_ID}",
        response_headers={"content-type": JSON, "x-request-id": TASK_ID, "location": f"/api/v1/task/{TASK_ID}"},
    )
    other = recorded({"id": TASK_ID.upper(), "message": TASK_ID})
    shown = poll.path.rpartition("/")[2]

    assert shown != TASK_ID
    assert poll.written().decode().count(shown) == 8
    assert other.request.content["id"] == shown


def test_request_of_a_replay_is_redacted_in_the_same_way() -> None:
    parts: dict[str, Any] = {"path": f"/api/v1/task/{TASK_ID}", "query": "page=1&model=kling"}
    body = json.dumps(DRAWING).encode()
    one = recorded(body, **parts)

    assert Redactor().request("POST", *parts.values(), HEADERS, body) == (one.path, one.query, one.request)
    other_key = {**HEADERS, "x-api-key": "another key of mine"}
    assert Redactor().request("POST", *parts.values(), other_key, body) == (one.path, one.query, one.request)


@pytest.mark.parametrize("place", PLACES)
@settings(max_examples=tries(20))
@given(canary=canaries, data=st.data())
def test_redaction_changes_nothing_of_what_is_redacted(place: str, canary: Any, data: st.DataObject) -> None:
    parts = PLACES[place](canary[0], data)
    for name in ("request_body", "response_body"):
        if isinstance(parts.get(name), str):
            parts[name] = parts[name].encode()
    once = recorded(**parts)
    twice = again(once)

    for name in ("path", "query", "response_headers"):
        assert getattr(twice, name) == getattr(once, name)
    for side in ("request", "response"):
        if getattr(once, side).form != "bytes":
            assert getattr(twice, side).content == getattr(once, side).content


# What stays.


def reading(status: int, headers: Mapping[str, str], body: bytes, protocol: str) -> list[object]:
    """Return what the client reads in an answer: class, state, reason, code, price, and whether a task is named."""

    class Read(Output):
        PROTOCOL = protocol

    answer = Response(status, headers, body, Timestamp(0, 1.8e9))
    found: list[object] = []
    for created in (True, False):
        read: Any = envelope.read_task(answer, Read, created=created)
        error: Any = read.error if isinstance(read, envelope.Unreadable) else read
        if isinstance(read, Task):
            error = envelope.task_failed(read)
            found += [read.state, read.cost_usd, read.progress, len(read.id) > 0]
        names = [one.__name__ for one in type(error).__mro__]
        facts = [getattr(error, name, None) for name in ("code", "status", "retry_after")]
        found.append([names, facts, error.task_id is not None])
    for read in (envelope.read_history, envelope.read_upload, envelope.read_acknowledgement, envelope.read_data):
        try:
            value: Any = read(answer)
            found.append((value.doubt, len(value.rows), value.total) if read is envelope.read_history else type(value))
        except errors.UnitaskError as error:
            found.append([one.__name__ for one in type(error).__mro__])
    return found


SIGNS = [sign for signs, _ in errors.REASONS for sign in signs]
DAMAGES: list[Callable[[bytes], bytes]] = [
    lambda raw: raw,
    lambda raw: raw[: len(raw) // 2],
    lambda raw: raw + raw,
    lambda raw: raw + b" garbage of 12 proxies",
    lambda raw: b"\xef\xbb\xbf" + raw,
    lambda raw: raw.replace(b'"message": "', b'"message": "caf\xe9 '),
    lambda raw: raw.replace(b"null", b"NaN"),
]


def answers() -> list[tuple[str, int, Mapping[str, str], bytes]]:
    """Return operation, status, headers and body of answers: documented, of scenarios, of faults, of each reason."""
    json_kind = {"content-type": JSON}
    found: list[tuple[str, int, Mapping[str, str], bytes]] = []
    for example in (*examples("200").values(), *examples("default").values()):
        raw = json.dumps(example["value"]).encode()
        statuses = (200,) if example["x-part"] == "200" else (400, 429, 500, 502)
        pairs = [*((statuses[0], damage(raw)) for damage in DAMAGES), *((status, raw) for status in statuses[1:])]
        found += [(example["x-operation"], status, json_kind, body) for status, body in pairs]
    for one in (answer for scenario in scenarios() for answer in scenario.answers):
        found.append((one.operation, one.status, one.headers, one.content))
    for fault in (fault for name in library() for fault in named(name)):
        found.append(("create_task", fault.status, {**json_kind, **fault.headers}, fault.body))
    for sign in SIGNS:
        failed = mutation._with(FAILED, ("data", "error", "raw_message"), f"xyzzy: {sign} of plugh")
        for body in (failed, {"code": 400, "message": sign}, {"code": 400, "message": {"detail": [sign]}}):
            found += [("create_task", status, json_kind, json.dumps(body).encode()) for status in (200, 400, 500)]
        drawn = {"task_id": TASK_ID, "status": "failed", "task_result": {"error_messages": [sign]}}
        found.append(("legacy_mj_fetch", 200, json_kind, json.dumps(drawn).encode()))
    return [one for one in found if one[0] in bundle.routes()]


def test_client_reads_the_same_in_a_redacted_answer() -> None:
    differing: list[object] = []
    for operation, status, headers, body in answers():
        method, path = bundle.routes()[operation]
        protocols = bundle.document()["x-protocols"]
        protocol = next((name for name, rules in protocols.items() if rules["poll"] == operation), "unified")
        sent = {"input": {"prompt": f"not {SIGNS[0]}, {SIGNS[4]} and failed to get valid image"}}
        one = recorded(sent, body, method=method, path=path, status=status, response_headers=headers)
        before = reading(status, headers, body, protocol)
        after = reading(status, one.response_headers, one.response.raw, protocol)
        differing += [] if before == after else [(operation, status, body, one.response.raw, before, after)]

    assert differing == []


UNLIKE = ("key twice", "as a text", "nested deep")  # changes of a body that a recording does not keep


def test_client_reads_the_same_in_redacted_answers_that_are_wrong() -> None:
    differing: list[object] = []
    for mutant in mutation.mutants()[::40]:
        method, path = bundle.routes()[mutant.operation]
        status = 500 if mutant.refusal else 200
        one = recorded(b"", mutant.content, method=method, path=path, status=status)
        before = reading(status, {"content-type": JSON}, mutant.content, "unified")
        after = reading(status, one.response_headers, one.response.raw, "unified")
        differing += [] if before == after or mutant.operator in UNLIKE else [(str(mutant), before, after)]

    assert differing == []


def violations(one: Recorded) -> set[Any]:
    task = bundle.fields(bundle.fields(one.response.content).get("data"))
    return {*live._violations([*live._sent(one), *live._received(one, task)])}


def test_redacted_body_breaks_the_contract_where_it_did() -> None:
    differing: list[object] = []
    broken = 0
    for example in examples().values():
        if example["x-operation"] not in bundle.routes():
            continue
        method, path = bundle.routes()[example["x-operation"]]
        for steps, operator, changed in [*mutation.changes(example["value"])][::15]:
            bodies = (changed, b"") if example["x-part"] == "request" else (b"", changed)
            one = recorded(*bodies, method=method, path=path, status=400 if example["x-part"] == "default" else 200)
            side = "request" if example["x-part"] == "request" else "response"
            found = violations(replace(one, **{side: replace(getattr(one, side), content=changed)}))
            broken += bool(found)
            differing += [] if violations(one) == found else [(example["summary"], steps, operator)]

    assert differing == []
    assert broken > 200


FORBIDDEN: list[tuple[str, Any, str]] = [
    ("prompt", "a " * 1250, ""),
    ("prompt", "a " * 1251, "maxLength"),
    ("aspect_ratio", "1:1", ""),
    ("aspect_ratio", "7:5", "enum"),
    ("aspect_ratio", "as wide as a house", "enum"),
    ("duration", 6, "enum"),
    ("prompt", 7, "type"),
    ("prompt", ["a fox"], "type"),
]


@pytest.mark.parametrize(("field", "value", "keyword"), FORBIDDEN)
def test_difference_of_a_request_is_found_when_it_is_redacted(field: str, value: Any, keyword: str) -> None:
    sent = {"model": "kling", "task_type": "video_generation", "input": {"prompt": "a fox", field: value}}
    one = recorded(sent, {"code": 200, "data": {"task_id": TASK_ID, "status": "pending"}, "message": "success"})
    found = [(each.where, each.key[1]) for each in differences([one.exchange], requests=True)]

    assert found == ([(f"/input/{field}", keyword)] if keyword else [])


def test_placeholders_are_shorter_than_every_limit_of_the_spec() -> None:
    assert len(texts.placeholder("x" * 80, has_digest=True)) <= min(texts._limits()) >= 45


QUOTES = [
    ("a red bear", 'banned prompt: "a red bear"', 'banned prompt: "(...)"'),
    ("A man in a red car, and a dog", "no: a man in a red...", "no: (...)..."),
    ("credit not enough", "account credit not enough", "account credit not enough"),
    ("zorblax", "failed to read zorblax.png of Jane", "failed to read (...).png of (...)"),
    (
        "x",
        "file https://a.test/b.png?s=1 of me@a.test is 1024x768, +49 170 1234567",
        "file (URL) of (e-mail) is 1024x768, (...)",
    ),
    ("x", "\\u0061\\u0062 %61%62 &#97;&#98;", "(...)"),
]


@pytest.mark.parametrize(("prompt", "said", "shown"), QUOTES)
@pytest.mark.parametrize("when", ["in the answer", "in a poll"])
def test_message_of_an_error_keeps_its_words_and_quotes_nothing(prompt: str, said: str, shown: str, when: str) -> None:
    redactor = Redactor()
    sent = {**DRAWING, "input": {"prompt": prompt}}
    failed = {"code": 200, "data": {"task_id": TASK_ID, "status": "failed", "error": {"message": said}}}
    if when == "in a poll":
        recorded(sent, {"code": 200, "data": {"task_id": TASK_ID}}, redactor=redactor)
        one = recorded(b"", failed, redactor=redactor, method="GET", path=f"/api/v1/task/{TASK_ID}")
    else:
        one = recorded(sent, failed, redactor=redactor)

    found = one.response.content["data"]["error"]["message"]
    assert re.sub(r"https://removed\.test/[0-9a-f]{12}\.png", "(URL)", found) == shown


def test_files_in_a_body_are_shown_by_kind_size_and_hash() -> None:
    raw = b"\x89PNG\r\n\x1a\n" + bytes(300)
    packed = base64.b64encode(raw).decode()
    shown = f"(image/png, 308 bytes, sha256 {hashlib.sha256(raw).hexdigest()[:12]})"
    inputs = {"a": packed, "b": f"data:image/png;base64,{packed}", "c": "data:jane/doe;base64,aGk="}
    one = recorded({**DRAWING, "input": inputs})
    form = recorded(
        b'--x\r\nContent-Disposition: form-data; name="image[]"; filename="me.png"\r\nContent-Type: image/png\r\n\r\n'
        + raw
        + b'\r\n--x\r\nContent-Disposition: form-data; name="n"\r\n\r\n2\r\n--x--\r\n',
        path="/v1/images/edits",
        request_headers={"content-type": "multipart/form-data; boundary=x"},
    )

    assert [*one.request.content["input"].values()][:2] == [shown, shown]
    assert one.request.content["input"]["c"].startswith("(application/octet-stream, 2 bytes, sha256 ")
    assert (form.request.form, form.request.kind) == ("json", "multipart/form-data")
    assert form.request.content == {"image": shown, "n": 2}
    assert answered(raw, kind="image/png") == Body("bytes", "image/png", 308, hashlib.sha256(raw).hexdigest())


def test_numbers_that_spell_a_text_do_not_stay() -> None:
    spelled = {"logprobs": {"content": [{"token": "fox", "bytes": [102, 111, 120], "logprob": -0.5}]}}
    body = {"choices": [spelled], "usage": {"total_tokens": 7}}
    plain = answered(body).content
    stream = recorded(
        pieces=[(0.1, f"data: {json.dumps(body)}\n\n".encode())], response_headers={"content-type": "text/event-stream"}
    ).response

    for shown in (plain, json.loads(stream.content[0][1][6:])):
        assert shown["choices"][0]["logprobs"]["content"] == [
            {"token": "(secret)", "bytes": [1, 1, 1], "logprob": -0.5}
        ]
        assert shown["usage"] == {"total_tokens": 7}


def test_work_grows_with_the_number_of_secrets_and_not_with_its_square() -> None:
    class Token(str):
        __slots__ = ()

        def casefold(self) -> str:
            compared.append(self)
            return super().casefold()

    compared: list[str] = []
    tokens = [{"token": Token(f"{number:04}-boxes"), f"name_of_{'abcdefgh'[number % 8]}": 1} for number in range(500)]
    shown = redaction._Exchange(keep_texts=False, keys=()).value([*tokens, {"status": "x-0499-boxes"}], "", Mode.PLAIN)

    assert shown[-1] == {"status": "(the key)"}
    assert len(compared) < 1100


@pytest.mark.parametrize("end", ["\n\n", "\r\n\r\n"])
def test_event_has_the_time_at_which_its_end_came(end: str) -> None:
    raw = f'data: {{"choices":[{{"delta":{{"content":"hi"}}}}]}}{end}data: [DONE]{end}'.encode()
    pieces = [(0.1, raw[:20]), (0.2, raw[20:50]), (0.3, raw[50:])]
    body = recorded(pieces=pieces, response_headers={"content-type": "text/event-stream"}).response

    assert [at for at, _ in body.content] == [0.2, 0.3]
    assert body.raw == raw.replace(b"hi", b"(2 characters)")


def test_texts_stay_on_demand_and_keys_secrets_and_addresses_vanish_all_the_same() -> None:
    redactor = Redactor(keep_texts=True)
    prompt = f"a fox for me@a.test with {KEY} and hush-hush-hush"
    sent = {
        **DRAWING,
        "input": {"prompt": prompt, "image": "https://me:word@a.test/b.png?sig=1"},
        "config": {"webhook_config": {"secret": "hush-hush-hush"}},
    }
    one = recorded(sent, {"code": 400, "message": f"unknown xyzzy {prompt}"}, redactor=redactor)
    written = one.written().decode()

    assert "a fox for (e-mail) with (the key)" in written
    assert "xyzzy" in written
    assert "https://a.test/b.png" in written
    assert not [word for word in (KEY, "me@a.test", "word", "sig=1") if word in written]


def test_work_is_done_once_for_a_text_and_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "MOST_TASKS", 50)
    redactor = Redactor()
    texts._short.cache_clear()
    for number in range(200):
        task = {"task_id": f"90efd2db-bcfc-413f-a0be-{number:012}", "status": "pending", "input": DRAWING["input"]}
        for _ in range(5):
            recorded(DRAWING, {"code": 200, "data": task, "message": "success"}, redactor=redactor)

    assert texts._short.cache_info().misses < 210
    assert len(redactor._texts) == 50
    memos = [value.cache_info() for value in vars(texts).values() if hasattr(value, "cache_info")]
    assert {memo.maxsize for memo in memos} == {texts.MOST_MEMOS, None}
    assert all(memo.maxsize or memo.currsize <= 3 for memo in memos)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.sampled_from(sorted(names())), inner),
    max_leaves=20,
)
raws = st.binary(max_size=300) | st.text().map(lambda text: text.encode(errors="replace")) | values.map(json.dumps)
KINDS = [JSON, "text/event-stream", "text/html", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"]


@settings(max_examples=tries(100))
@given(
    bodies=st.tuples(raws, raws),
    kinds=st.tuples(*[st.sampled_from(KINDS) | st.text(max_size=20)] * 2),
    path=st.sampled_from(sorted(path for _, path in bundle.routes().values())) | st.text(),
    query=st.text(),
    status=st.sampled_from([200, 201, 400, 502, None]),
    keep_texts=st.booleans(),
    data=st.data(),
)
def test_any_exchange_is_redacted_and_checked(
    bodies: Any, kinds: Any, path: str, query: str, status: int | None, keep_texts: bool, data: st.DataObject
) -> None:
    methods = [method for method, known in bundle.routes().values() if known == path] or ["GET"]
    sent, received = (body.encode() if isinstance(body, str) else body for body in bodies)
    one = recorded(
        sent,
        received,
        redactor=Redactor(keep_texts, KEY),
        method=data.draw(st.sampled_from(methods)),
        path=path,
        query=query,
        status=status,
        request_headers={"content-type": kinds[0]},
        response_headers={"content-type": kinds[1]},
    )
    check = live.Check()
    check.lines(one)

    assert Recorded.read(one.written()).written() == one.written()
    assert len(check.summary()) == 4
