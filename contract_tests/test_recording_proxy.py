"""The proxy of `unitask record` between two sockets of a test, which is the client and the provider."""

import errno
import gzip
import os
import resource
import socket
import struct
import threading
import zlib
from collections.abc import Generator
from contextlib import ExitStack, closing, contextmanager
from itertools import repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import brotli
import pytest
from unitask_contract import bundle
from unitask_contract.connecting import CannotRun
from unitask_contract.recording import connections, folder, messages, proxy
from unitask_contract.recording.live import Check
from unitask_contract.recording.redaction import Redactor

from .support.recording_proxy import NO_CERTIFICATES, Running, recording

KEY = b"a-key-of-a-test-17"
LONGEST = 30.0  # seconds


class Wire:
    """A connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        connection.settimeout(LONGEST)
        self.send, self.close = connection.sendall, connection.close

    def end(self) -> None:
        """Close the direction to the other side: no more is sent."""
        self._connection.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close the connection so that the other side is told at once."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def read(self, size: int) -> bytes:
        """Read so many bytes, or until the other side has closed the connection."""
        content = b""
        while len(content) < size and (piece := self._connection.recv(size - len(content))):
            content += piece
        return content

    def is_closed(self) -> bool:
        """Wait until the other side closes the connection."""
        try:
            return self._connection.recv(1) == b""
        except ConnectionResetError:
            return True


class Between:
    """A proxy, the client before it, and the provider behind it."""

    def __init__(self, running: Running, provider: socket.socket) -> None:
        self.running, self._provider, self.wires = running, provider, list[Wire]()
        self.host = f"127.0.0.1:{provider.getsockname()[1]}".encode()

    def connect(self) -> Wire:
        port = int(self.running.url.rpartition(":")[2])
        self.wires.append(Wire(socket.create_connection(("127.0.0.1", port), LONGEST)))
        return self.wires[-1]

    def accept(self) -> Wire:
        self.wires.append(Wire(self._provider.accept()[0]))
        return self.wires[-1]

    def forwarded(self, request: bytes) -> bytes:
        """Return a request as the provider receives it."""
        return request.replace(b"proxy.test", self.host)

    def forward(self, request: bytes) -> tuple[Wire, Wire]:
        """Send a request over new connections, and read it at the provider; return client and provider."""
        client = self.connect()
        client.send(request)
        provider = self.accept()
        expected = self.forwarded(request)
        assert provider.read(len(expected)) == expected
        return client, provider

    def exchange(self, request: bytes, answer: bytes) -> bytes:
        """Send a request over new connections, and return the answer."""
        client, provider = self.forward(request)
        provider.send(answer)
        return client.read(len(answer))

    def close(self) -> None:
        for wire in self.wires:
            wire.close()


@contextmanager
def between(to: Path, prefix: str = "", scheme: str = "http") -> Generator[Between]:
    with socket.create_server(("127.0.0.1", 0)) as provider:
        provider.settimeout(LONGEST)
        url = f"{scheme}://127.0.0.1:{provider.getsockname()[1]}{prefix}"
        with ExitStack() as wires, recording(to, url, KEY.decode()) as running:
            yield wires.enter_context(closing(Between(running, provider)))


class Case(NamedTuple):
    """A request and its answer, as bytes."""

    request: bytes
    answer: bytes
    status: int | None = 200
    lost: str = ""
    closes: bool = False  # the provider closes the connection after its answer
    content: object = None  # of the answer
    sent: object = None  # of the request


GET = b"GET /api/v1/task/1 HTTP/1.1\r\nHost: proxy.test\r\nx-api-key: " + KEY + b"\r\n\r\n"
POST = b"POST /api/v1/task?a=1 HTTP/1.1\r\nhOst:proxy.test\r\nAccept: */*\r\nContent-Length: 2\r\n"
JSON = b"HTTP/1.1 200 Fine\r\nContent-Type: application/json\r\n"
PLAIN = JSON + b"content-length: 2\r\n\r\n{}"
CHUNKS = b"1;a=b\r\n{\r\n1\r\n}\r\n0\r\nX-Sum: 1\r\n\r\n"
CHUNKED = POST.replace(b"Content-Length: 2", b"Transfer-Encoding: chunked") + b"\r\n" + CHUNKS
CODED = JSON + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n"
PACKED = gzip.compress(b'{"code":200}')
BROTLI = brotli.compress(b'{"code":200}')
CUT = JSON + b"content-length: 9\r\n\r\n{}"
LARGE = JSON + b"content-length: %d\r\n\r\n%s" % (messages.SMALL + 3, b"[1" + messages.SMALL // 2 * b",1" + b"]")
UPGRADE = GET[:-2] + b"Connection: Upgrade\r\nUpgrade: %s\r\n\r\n"
CASES = {
    "length": Case(POST + b"\r\n{}", PLAIN, content={}, sent={}),
    "chunks": Case(CHUNKED, JSON + b"transfer-encoding: chunked\r\n\r\n" + CHUNKS, content={}, sent={}),
    "until the end of the connection": Case(GET, JSON + b"\r\n{}", closes=True, content={}),
    "HTTP/1.0": Case(GET, PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"), closes=True, content={}),
    "HEAD": Case(GET.replace(b"GET", b"HEAD"), PLAIN[:-2]),
    "204": Case(GET, b"HTTP/1.1 204 No\r\n\r\n", 204),
    "304": Case(GET, b"HTTP/1.1 304 No\r\ncontent-length: 17\r\n\r\n", 304),
    "early hints": Case(GET, b"HTTP/1.1 103 Early\r\nlink: <a>\r\n\r\n" + PLAIN, content={}),
    "upgrade that is ignored": Case(UPGRADE % b"h2c", PLAIN, content={}),
    "upgrade with a body": Case(POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n{}", PLAIN, content={}, sent={}),
    "gzip": Case(GET, CODED % len(PACKED) + PACKED, content={"code": 200}),
    "brotli": Case(GET, CODED.replace(b"gzip", b"br") % len(BROTLI) + BROTLI, content={"code": 200}),
    "not gzip": Case(GET, CODED % 2 + b"{}", lost="the body is not gzip, as its header says", content={}),
    "more than announced": Case(GET, PLAIN + PLAIN, content={}, closes=True),
    "cut": Case(GET, CUT, lost=connections.BY_PROVIDER, closes=True),
    "cut in the head": Case(GET, CUT[:30], None, connections.BY_PROVIDER, closes=True),
    "no answer": Case(GET, b"", None, connections.BY_PROVIDER, closes=True),
    "no HTTP": Case(GET, b"220 ftp.test ready\r\n", None, connections.NOT_HTTP, closes=True),
    "another protocol": Case(
        UPGRADE % b"websocket",
        b"HTTP/1.1 101 Go\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n\x81\x01a",
        None,
        connections.NOT_HTTP,
        closes=True,
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_bytes_go_on_as_they_are_and_are_recorded(case: Case, tmp_path: Path) -> None:
    with between(tmp_path) as one:
        client = one.connect()
        expected, provider = one.forwarded(case.request), None
        for _ in range(1 if case.closes else 2):  # both connections are used again
            client.send(case.request)
            provider = provider or one.accept()
            assert provider.read(len(expected)) == expected
            provider.send(case.answer)
            if case.closes:
                provider.close()
            assert client.read(len(case.answer)) == case.answer
        assert not case.closes or client.is_closed()
        recorded = one.running.exchanges()

    assert [exchange.number for exchange in recorded] == ([1] if case.closes else [1, 2])
    assert {(exchange.status, exchange.lost) for exchange in recorded} == {(case.status, case.lost)}
    assert all(exchange.head_seconds <= exchange.seconds for exchange in recorded)
    if not case.lost or case.content:
        assert (recorded[-1].response.content, recorded[-1].request.content) == (case.content, case.sent)


def test_stream_goes_on_piece_by_piece_both_ways(tmp_path: Path) -> None:
    request = GET[:-2] + b"Content-Type: application/json\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    events = [b"data: %d\n\n" % number for number in range(3)]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    chunks = [head, *(b"%x\r\n%b\r\n" % (len(event), event) for event in events), b"0\r\n\r\n"]
    with between(tmp_path) as one:
        client = one.connect()
        client.send(request[:20])
        client.send(request[20:])
        provider = one.accept()
        assert provider.read(len(one.forwarded(request))) == one.forwarded(request)
        provider.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert client.read(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        for piece in (b"[1", b"2]"):
            client.send(piece)
            assert provider.read(2) == piece
        for chunk in chunks:
            assert one.running.exchanges() == []
            provider.send(chunk)
            assert client.read(len(chunk)) == chunk
        (recorded,) = one.running.exchanges()

    assert recorded.request.content == [12]
    assert recorded.response.form == "events"
    assert [text.encode() for _, text in recorded.response.content] == events


def test_exchange_is_written_before_the_last_byte_goes_on(tmp_path: Path) -> None:
    with between(tmp_path) as one:
        client, provider = one.forward(GET)
        provider.send(PLAIN[:-1])
        assert client.read(len(PLAIN) - 1) == PLAIN[:-1]
        assert one.running.exchanges() == []
        provider.send(PLAIN[-1:])
        assert client.read(1) == PLAIN[-1:]
        assert len(one.running.exchanges()) == 1


def test_other_clients_go_on_while_a_large_body_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go, redact = threading.Event(), Redactor.recorded

    def recorded(redactor: Redactor, number: int, *args: Any, **parts: Any) -> folder.Recorded:
        assert number != 1 or go.wait(LONGEST)
        return redact(redactor, number, *args, **parts)

    monkeypatch.setattr(Redactor, "recorded", recorded)
    with between(tmp_path) as one:
        client, provider = one.forward(GET)
        provider.send(LARGE)
        provider.close()
        assert one.exchange(GET, PLAIN) == PLAIN
        assert [each.number for each in one.running.exchanges()] == [2]
        go.set()
        assert client.read(len(LARGE)) == LARGE
        assert [each.number for each in one.running.exchanges()] == [1, 2]


def test_request_whose_answer_comes_before_its_body_is_recorded_with_its_body(tmp_path: Path) -> None:
    head, body = POST + b"\r\n", b"[]"
    with between(tmp_path) as one:
        client, provider = one.forward(head)
        provider.send(PLAIN)
        assert client.read(len(PLAIN)) == PLAIN
        client.send(body)
        assert provider.read(len(body)) == body
        client.send(GET)
        assert provider.read(len(one.forwarded(GET))) == one.forwarded(GET)
        (recorded,) = one.running.exchanges()

    assert (recorded.request.content, recorded.status, recorded.lost) == ([], 200, "")


def test_requests_behind_each_other_are_forwarded_one_by_one(tmp_path: Path) -> None:
    lines = CHUNKED.replace(CHUNKS, b"6\r\n[\n\r\n1]\r\n0\r\n\r\n")
    requests = [POST + b"\r\n{}", CHUNKED, GET, lines, GET]
    with between(tmp_path) as one:
        client = one.connect()
        client.send(b"".join(requests))
        provider = one.accept()
        for number, request in enumerate(requests):
            expected = one.forwarded(request)
            assert provider.read(len(expected)) == expected
            assert len(one.running.exchanges()) == number
            provider.send(PLAIN)
            assert client.read(len(PLAIN)) == PLAIN


def test_connection_that_the_provider_has_closed_is_replaced_before_a_request(tmp_path: Path) -> None:
    with between(tmp_path) as one:
        client = one.connect()
        for _ in range(3):
            client.send(GET)
            provider = one.accept()
            assert provider.read(len(one.forwarded(GET))) == one.forwarded(GET)
            provider.send(PLAIN)
            assert client.read(len(PLAIN)) == PLAIN
            provider.close()

        assert [exchange.lost for exchange in one.running.exchanges()] == ["", "", ""]


def test_end_of_an_idle_connection_is_seen_among_many_open_files() -> None:
    ours, theirs = socket.socketpair()
    number = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 1  # of 1024 or more where the limit allows it
    with ours, theirs, socket.socket(fileno=os.dup2(ours.fileno(), number)) as one:
        upstream = connections.Upstream(cast("Any", None), cast("Any", None))
        upstream.transport = cast("Any", SimpleNamespace(is_closing=bool, get_extra_info=lambda _: one))
        was_gone = upstream.is_gone()
        theirs.close()

        assert (was_gone, upstream.is_gone()) == (False, True)


@pytest.mark.parametrize("answer", [b"", PLAIN[:-1]])
def test_request_ends_with_the_connection_of_its_client(answer: bytes, tmp_path: Path) -> None:
    with between(tmp_path) as one:
        client, provider = one.forward(GET)
        provider.send(answer)
        assert client.read(len(answer)) == answer
        client.reset()
        assert provider.is_closed()
        (recorded,) = one.running.exchanges()

    assert (recorded.lost, recorded.status) == (connections.BY_CLIENT, 200 if answer else None)


def test_client_that_sends_no_more_gets_its_answer_and_then_the_end(tmp_path: Path) -> None:
    with between(tmp_path) as one:
        client, provider = one.forward(POST + b"\r\n{}")
        client.end()
        for piece in (PLAIN[:-1], PLAIN[-1:]):
            provider.send(piece)
            assert client.read(len(piece)) == piece
        assert client.is_closed()
        (recorded,) = one.running.exchanges()

    assert (recorded.lost, recorded.request.content, recorded.response.content) == ("", {}, {})


@pytest.mark.parametrize(("request_", "count"), [(GET[:-2], 0), (POST + b"\r\n{", 1)], ids=["head", "body"])
def test_client_that_sends_no_more_within_a_request_is_closed(request_: bytes, count: int, tmp_path: Path) -> None:
    with between(tmp_path) as one:
        client = one.connect()
        client.send(request_)
        client.end()

        assert client.is_closed()
        assert [each.lost for each in one.running.exchanges()] == [connections.BY_CLIENT] * count


def test_request_whose_end_is_not_known_gets_its_answer_and_then_the_end(tmp_path: Path) -> None:
    request = CHUNKED.replace(CHUNKS, b"2\n{}\n0\n\n")
    with between(tmp_path) as one:
        client, provider = one.forward(request)
        provider.send(PLAIN)
        assert client.read(len(PLAIN)) == PLAIN
        assert client.is_closed()
        (recorded,) = one.running.exchanges()

    assert (recorded.status, recorded.response.content) == (200, {})


def test_client_that_left_during_an_answer_is_noticed(tmp_path: Path) -> None:
    with between(tmp_path) as one:
        client, provider = one.forward(GET)
        client.close()
        provider.send(JSON + b"transfer-encoding: chunked\r\n\r\n")
        with pytest.raises(ConnectionError):
            all(provider.send(chunk) is None for chunk in repeat(b"2\r\n{}\r\n"))
        (recorded,) = one.running.exchanges()

    assert (recorded.lost, recorded.status) == (connections.BY_CLIENT, 200)


@pytest.mark.parametrize("reason", ["disk", "bug", "size"])
def test_exchange_that_cannot_be_recorded_is_forwarded_and_reported_once(
    reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(file: int, content: bytes) -> int:
        if len(content) > 100:
            return os_write(file, content[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    def fail(*_: object, **__: object) -> None:
        raise ValueError(KEY.decode())

    os_write = os.write
    with between(tmp_path) as one:
        if reason == "disk":
            monkeypatch.setattr(folder.os, "write", write)
        elif reason == "bug":
            monkeypatch.setattr(Redactor, "recorded", fail)
        else:
            monkeypatch.setattr(messages, "LARGEST_BODY", 1)
        assert [one.exchange(GET, PLAIN) for _ in range(2)] == [PLAIN, PLAIN]
        monkeypatch.undo()
        assert one.exchange(GET, PLAIN) == PLAIN
        said = [line for line in one.running.said if line.startswith("not recorded")]

    expected = {
        "disk": "No space left on device",
        "bug": "a bug of unitask: ValueError",
        "size": "a body has more than",
    }
    assert [path.name for path in tmp_path.glob("0*")] == ["000003-get_task.json"]
    assert len(said) == 1
    assert expected[reason] in said[0]
    assert KEY.decode() not in said[0]


@pytest.mark.parametrize("answer", [PLAIN, LARGE], ids=["small", "large"])
def test_exchange_in_flight_at_the_end_of_the_recording_is_lost(answer: bytes, tmp_path: Path) -> None:
    with between(tmp_path) as one:
        one.exchange(GET, answer[:-1])

    (recorded,) = one.running.exchanges()
    assert (recorded.lost, recorded.status) == (connections.BY_END, 200)


def test_nothing_is_sent_for_a_client_that_left_while_the_connection_was_opened(tmp_path: Path) -> None:
    with between(tmp_path, scheme="https") as one:
        client = one.connect()
        client.send(POST + b"\r\n{}")
        provider = one.accept()  # it does not answer the handshake
        assert provider.read(3)[0] == 0x16
        client.reset()
        assert POST[:4] not in provider.read(1 << 20)
        (recorded,) = one.running.exchanges()

    assert (recorded.lost, recorded.request.content) == (connections.BY_CLIENT, {})


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
def test_body_that_is_too_large_when_unpacked_is_not_recorded(coding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "LARGEST_BODY", 1000)
    pack = {"gzip": gzip.compress, "deflate": zlib.compress, "br": brotli.compress}[coding]
    answer = messages.Answer(is_to_head=False)
    packed = pack(bytes(1001))
    answer.feed(CODED.replace(b"gzip", coding.encode()) % len(packed) + packed, 0)

    with pytest.raises(messages.Unrecorded, match="a body has more than"):
        answer.body()


REFUSED = {
    "CONNECT": b"CONNECT api.piapi.ai:443 HTTP/1.1\r\nHost: api.piapi.ai\r\n\r\n",
    "of an HTTP proxy": b"GET http://api.piapi.ai/ HTTP/1.1\r\nHost: api.piapi.ai\r\n\r\n",
    "TLS": b"\x16\x03\x01\x00\xa5\x01",
    "lines that end with LF": GET.replace(b"\r\n", b"\n"),
    "a line that ends with LF": GET[:-2] + b"\n",
    "no HTTP": b"EHLO proxy.test\r\n\r\n",
    "no end": b"GET / HTTP/1.1\r\na: " + b"a" * connections.LARGEST_HEAD,
}


@pytest.mark.parametrize("request_", REFUSED.values(), ids=REFUSED.keys())
def test_request_that_is_not_for_a_server_is_refused_and_reported(request_: bytes, tmp_path: Path) -> None:
    with between(tmp_path) as one:
        client = one.connect()
        client.send(request_)

        assert client.read(9999).startswith(b"HTTP/1.1 400 ")
        assert (
            [line for line in one.running.said if line.startswith("refused: a request is ")] == one.running.said != []
        )
        assert one.running.exchanges() == []


def test_provider_that_cannot_be_reached_ends_the_connection_and_is_reported_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        host = f"127.0.0.1:{other.getsockname()[1]}"
    with recording(tmp_path, f"http://{host}") as running:
        for _ in range(2):
            with closing(Wire(socket.create_connection(("127.0.0.1", int(running.url.rpartition(":")[2]))))) as client:
                client.send(GET)
                assert client.is_closed()
        lost = [exchange.lost for exchange in running.exchanges()]

    assert running.said == [lost[0]]
    assert lost == [lost[0]] * 2
    assert lost[0].startswith(f"no connection to {host}: ")


def test_path_of_the_base_url_precedes_each_path_and_is_in_no_file(tmp_path: Path) -> None:
    with between(tmp_path, "/gateway") as one:
        client = one.connect()
        client.send(GET)
        expected = one.forwarded(GET).replace(b"/api", b"/gateway/api")
        provider = one.accept()
        assert provider.read(len(expected)) == expected
        provider.send(PLAIN)
        assert client.read(len(PLAIN)) == PLAIN

    assert [path.name for path in tmp_path.glob("*.json") if b"gateway" in path.read_bytes()] == []


def test_folder_is_for_one_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.Recording.create(tmp_path, "https://api.test", "2026-11-29T12:00:00Z")
    monkeypatch.setattr(Path, "iterdir", lambda _: iter(()))  # both see an empty folder

    with pytest.raises(CannotRun, match="cannot be written"):
        folder.Recording.create(tmp_path, "https://api.test", "2026-11-29T12:00:00Z")


def test_uploads_to_the_live_api_go_to_their_own_host() -> None:
    live = proxy.Proxy(bundle.document()["servers"][0]["url"], NO_CERTIFICATES, Redactor(), Check(), print)
    other = proxy.Proxy("https://gateway.test", NO_CERTIFICATES, Redactor(), Check(), print)
    hosts = [
        each.server_of(path).host for each in (live, other) for path in (b"/api/ephemeral_resource", b"/api/v1/task")
    ]

    assert hosts == ["upload.theapi.app", "api.piapi.ai", "gateway.test", "gateway.test"]


@pytest.mark.parametrize("obstacle", ["port", "folder", "file", "itself"])
def test_recording_that_cannot_begin_names_the_option_and_makes_no_folder(obstacle: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = {"port": taken.getsockname()[1], "itself": 8043}.get(obstacle, 0)
        made = {"folder": tmp_path, "file": tmp_path / "a file"}.get(obstacle, tmp_path / "recording")
        (tmp_path / "a file").touch()
        wanted = {
            "port": f"--port {port}: it is taken",
            "folder": "is not empty",
            "file": "this is a file; name a new folder",
            "itself": "is this proxy itself",
        }
        with pytest.raises(CannotRun, match=wanted[obstacle]):
            proxy.record(made, "http://127.0.0.1:8043", NO_CERTIFICATES, port)

    assert not (tmp_path / "recording").exists()
