"""What the sandbox asks of other servers: which addresses, how much and how long; there is no network here.

Names are resolved by a table, and the other side is one end of a pair of sockets, with its whole answer written to it
before it is asked.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from ipaddress import ip_address
from typing import Any

import pytest
from unitask_sandbox import outgoing
from unitask_sandbox.outgoing import LARGEST, NotFetched, Outgoing, kind_of

PUBLIC = "93.184.215.14"
NAMES = {
    "pictures.test": [PUBLIC],
    "both.test": [PUBLIC, "10.0.0.5"],
    "inside.test": ["10.0.0.5"],
    "me.test": ["127.0.0.1"],
    "nowhere.test": [],
}


class Internet:
    """Servers by address; each connection gets the next of its answers."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.connected: list[tuple[str, int]] = []
        self.ends: list[socket.socket] = []
        self.now = 0.0
        self.seconds_per_look = 0.0

    def resolve(self, host: str, _port: int) -> list[str]:
        return NAMES.get(host, [host])

    def connect(self, address: tuple[str, int], _timeout: float) -> socket.socket:
        self.connected.append(address)
        near, far = socket.socketpair()
        self.ends.append(far)
        far.sendall(self.answers.pop(0))
        far.shutdown(socket.SHUT_WR)
        return near

    def clock(self) -> float:
        self.now += self.seconds_per_look
        return self.now

    def outgoing(self, **settings: Any) -> Outgoing:
        return Outgoing(**settings, resolve=self.resolve, connect=self.connect, clock=self.clock)

    def asked(self) -> bytes:
        """What came to the last server."""
        return self.ends[-1].recv(65536)


@pytest.fixture
def internet_of() -> Iterator[Any]:
    made: list[Internet] = []

    def make(*answers: bytes) -> Internet:
        made.append(Internet(*answers))
        return made[-1]

    yield make
    for end in [end for internet in made for end in internet.ends]:
        end.close()


def ok(body: bytes = b"picture", headers: str = "") -> bytes:
    return f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode() + body


def moved(to: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Moved\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n".encode()


def test_public_address_is_fetched_from_where_it_was_looked_up(internet_of: Any) -> None:
    """The connection goes to the address that was checked, and asks for the name."""
    internet = internet_of(ok())
    fetched = internet.outgoing().get("http://pictures.test:81/a.png?x=1#top")

    assert fetched == b"picture"
    assert internet.connected == [(PUBLIC, 81)]
    asked = internet.asked()
    assert asked.startswith(b"GET /a.png?x=1 HTTP/1.1\r\nHost: pictures.test:81\r\n")
    assert b"accept-encoding: identity" in asked.lower()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200 OK\r\n\r\npicture",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\npic\r\n4\r\nture\r\n0\r\n\r\n",
    ],
    ids=["until-the-end", "chunked"],
)
def test_answer_without_a_length_is_fetched(internet_of: Any, answer: bytes) -> None:
    """Every form of body that HTTP has is read."""
    assert internet_of(answer).outgoing().get("http://pictures.test/") == b"picture"


@pytest.mark.parametrize(
    ("private", "url", "rule"),
    [
        ("loopback", "http://inside.test/", "10.0.0.5 is an address of a private network"),
        ("loopback", "http://both.test/", "10.0.0.5 is an address of a private network"),
        ("loopback", "http://169.254.169.254/latest/meta-data/", "169.254.169.254 is an address of a private network"),
        ("loopback", "http://[fd00::1]/", "fd00::1 is an address of a private network"),
        ("loopback", "http://[fec0::1]/", "fec0::1 is an address of a private network"),
        ("loopback", "http://[64:ff9b::7f00:1]/", "64:ff9b::7f00:1 is an address of a private network"),
        ("loopback", "http://[::ffff:0:7f00:1]/", "::ffff:0:7f00:1 is an address of a private network"),
        ("loopback", "http://168.63.129.16/machine", "168.63.129.16 is an address of a private network"),
        ("none", "http://me.test/", "127.0.0.1 is an address of this machine"),
        ("none", "http://0.0.0.0/", "0.0.0.0 is an address of this machine"),
        ("none", "http://[::ffff:127.0.0.1]/", "is an address of this machine"),
        ("all", "http://nowhere.test/", "its name stands for no address"),
        ("all", "http://me@pictures.test/", "a user name or a password"),
        ("all", "http://me:secret@pictures.test/", "a user name or a password"),
        ("all", "ftp://pictures.test/", "the scheme 'ftp' is not fetched"),
        ("all", "file:///etc/passwd", "the scheme 'file' is not fetched"),
        ("all", "http:///a.png", "it has no host"),
    ],
)
def test_address_that_is_not_allowed_is_not_asked(internet_of: Any, private: Any, url: str, rule: str) -> None:
    """Nothing is connected to, and the error names the rule; an address is refused when one of its name's is."""
    internet = internet_of()
    for ask in (
        internet.outgoing(private=private).get,
        lambda url: internet.outgoing(private=private).post(url, b"", {}),
    ):
        with pytest.raises(NotFetched) as caught:
            ask(url)
        assert rule in str(caught.value)

    assert internet.connected == []


@pytest.mark.parametrize(("private", "url"), [("loopback", "http://me.test/"), ("all", "http://inside.test/")])
def test_private_address_is_asked_when_allowed(internet_of: Any, private: Any, url: str) -> None:
    """The developer's own machine is allowed by default, everything else by name."""
    assert internet_of(ok()).outgoing(private=private).get(url) == b"picture"


def test_refusal_says_how_to_allow(internet_of: Any) -> None:
    """The message names the option and the setting, with the value that is needed."""
    with pytest.raises(NotFetched, match=r"--private-addresses loopback` or Settings\(private_addresses='loopback'\)"):
        internet_of().outgoing(private="none").get("http://me.test/")
    with pytest.raises(NotFetched, match=r"--private-addresses all` or Settings\(private_addresses='all'\)"):
        internet_of().outgoing().get("http://inside.test/")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (PUBLIC, "public"),
        ("2606:4700::1111", "public"),
        ("127.9.9.9", "loopback"),
        ("::1", "loopback"),
        ("0.0.0.0", "loopback"),
        ("::", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("10.0.0.1", "all"),
        ("172.16.0.1", "all"),
        ("192.168.1.1", "all"),
        ("100.64.0.1", "all"),
        ("169.254.169.254", "all"),
        ("192.0.2.1", "all"),
        ("224.0.0.1", "all"),
        ("255.255.255.255", "all"),
        ("fe80::1", "all"),
        ("fd12::1", "all"),
        ("ff02::1", "all"),
        ("::ffff:10.0.0.1", "all"),
        ("64:ff9b::a00:1", "all"),
        ("64:ff9b::5db8:d70e", "public"),
        ("2002:5db8:d70e::1", "public"),
        ("::ffff:93.184.215.14", "public"),
        # A gateway's 127.0.0.1 is not this machine.
        ("64:ff9b::7f00:1", "all"),
        ("2002:7f00:1::", "all"),
        ("::ffff:0:7f00:1", "all"),
        ("::ffff:0:a00:1", "all"),
        ("64:ff9b::a9fe:a9fe", "all"),
        ("64:ff9b:1::1", "all"),
        ("64:ff9b:1::5db8:d70e", "all"),
        ("2002:a9fe:a9fe::1", "all"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "all"),
        ("2606:4700::5efe:10.0.0.1", "all"),
        ("2606:4700::200:5efe:a9fe:a9fe", "all"),
        ("::10.0.0.1", "all"),
        ("fec0::1", "all"),
        ("feff::1", "all"),
        ("fd00:ec2::254", "all"),
        ("100::1", "all"),
        ("3fff::1", "all"),
        ("192.0.0.192", "all"),
        ("192.0.0.9", "all"),
        ("192.88.99.1", "all"),
        ("168.63.129.16", "all"),
        ("168.63.129.17", "public"),
        ("100.100.100.200", "all"),
        ("0.0.0.1", "all"),
        ("ff0e::1", "all"),
    ],
)
def test_kind_of_an_address(text: str, kind: str) -> None:
    """Each range is known, also inside of an IPv6 address."""
    assert kind_of(ip_address(text)) == kind


@pytest.mark.parametrize(
    ("to", "rule"),
    [
        ("http://10.0.0.5/", "a private network"),
        ("//inside.test/", "a private network"),
        ("file:///etc/passwd", "the scheme 'file'"),
        ("http://a:b@pictures.test/", "a user name"),
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_checked_like_the_first_address(internet_of: Any, status: int, to: str, rule: str) -> None:
    """A redirect leads nowhere that the caller could not have named."""
    internet = internet_of(moved(to, status))
    with pytest.raises(NotFetched, match=rule):
        internet.outgoing().get("http://pictures.test/")

    assert internet.connected == [(PUBLIC, 80)]


def test_redirects_are_followed_a_few_times(internet_of: Any) -> None:
    """Five are, a sixth is not."""
    assert internet_of(*[moved("/next")] * 5, ok()).outgoing().get("http://pictures.test/") == b"picture"
    with pytest.raises(NotFetched, match="redirects more than 5 times"):
        internet_of(*[moved("/next")] * 6).outgoing().get("http://pictures.test/")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "it answers HTTP 404"),
        (b"HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n", "it answers HTTP 302"),
        (f"HTTP/1.1 200 OK\r\ncontent-length: {LARGEST + 1}\r\n\r\n".encode(), "it is larger than"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npicture", "it ends early"),
    ],
    ids=["missing", "redirect-to-nowhere", "large", "truncated"],
)
def test_answer_of_no_use_is_an_error(internet_of: Any, answer: bytes, why: str) -> None:
    """What is not a whole answer of a fair size is none; a length is believed when it is too large."""
    with pytest.raises(NotFetched, match=why):
        internet_of(answer).outgoing().get("http://pictures.test/")


@pytest.mark.parametrize(
    "answer", [b"", b"nothing of HTTP", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffff\r\npic"]
)
def test_broken_answer_is_an_error_of_a_known_kind(internet_of: Any, answer: bytes) -> None:
    """Whoever asks need not know what can go wrong."""
    with pytest.raises(outgoing.ERRORS):
        internet_of(answer).outgoing().get("http://pictures.test/")


def test_large_answer_without_a_length_is_given_up(internet_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes is counted while it comes."""
    monkeypatch.setattr(outgoing, "LARGEST", 1000)
    with pytest.raises(NotFetched, match="larger than 1000 bytes"):
        internet_of(b"HTTP/1.0 200 OK\r\n\r\n" + bytes(1001)).outgoing().get("http://pictures.test/")


@pytest.mark.parametrize("answer", [ok(), b"HTTP/1.1 200 OK\r\nx: 1"], ids=["body", "head"])
def test_slow_answer_is_given_up(internet_of: Any, answer: bytes) -> None:
    """The time counts for all together: each look at the clock here takes three of the ten seconds."""
    internet = internet_of(answer)
    internet.seconds_per_look = 3.0
    with pytest.raises(NotFetched, match="took longer than 10 s"):
        internet.outgoing().get("http://pictures.test/")


def test_silent_server_is_given_up(internet_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that says nothing is hung up on when the time is over."""
    monkeypatch.setattr(outgoing, "SECONDS", 0.01)
    near, far = socket.socketpair()
    with closing(far), pytest.raises(OSError, match=r"timed out|took longer"):
        Outgoing(resolve=lambda host, _port: [PUBLIC], connect=lambda *_: near).get("http://pictures.test/")


def test_next_address_is_tried(internet_of: Any) -> None:
    """A name with two addresses is reached when one of them is down."""
    internet = internet_of(ok())

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        if address[0] == PUBLIC:
            raise ConnectionRefusedError
        return internet.connect(address, timeout)

    reach = Outgoing("all", internet.resolve, connect)

    assert reach.get("http://both.test/") == b"picture"


def test_post_follows_no_redirect(internet_of: Any) -> None:
    """The body and the headers go where they were sent to, and the status comes back, whatever it is."""
    internet = internet_of(moved("http://inside.test/", 307))
    status = internet.outgoing().post("http://pictures.test/hook", b"{}", {"x-webhook-secret": "s"})

    assert status == 307
    asked = internet.asked()
    assert asked.startswith(b"POST /hook HTTP/1.1\r\n")
    assert b"x-webhook-secret: s\r\n" in asked
    assert asked.endswith(b"\r\n\r\n{}")


def test_tls_is_checked_against_the_name(internet_of: Any) -> None:
    """What speaks no TLS on an https address is an OSError."""
    internet = internet_of(ok())
    with pytest.raises(OSError, match=r"SSL|ssl|WRONG"):
        internet.outgoing().get("https://pictures.test/")

    assert internet.connected == [(PUBLIC, 443)]
