"""Who a client is by where it stands, the names of protocols, SASL, and the throttle: tables."""

from __future__ import annotations

from base64 import b64encode
from ipaddress import ip_network

import pytest

from relay.clock import MINUTE, SECOND
from relay.ingress.faults import ProtocolError
from relay.ingress.sasl import decode_response, split_plain
from relay.ingress.throttle import Throttle
from relay.ingress.trust import by_network, may_use_from, read_client_address, throttle_key, trace_of
from relay.model.tenant import Credential


def credential(name: str, *networks: str, secret: str | None = None) -> Credential:
    return Credential(name, "acme", secret, tuple(ip_network(network) for network in networks))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("", "None"),
        ("local", "None"),
    ],
)
def test_client_address(text: str, address: str) -> None:
    assert str(read_client_address(text)) == address


@pytest.mark.parametrize(
    ("client", "found"),
    [
        ("192.0.2.1", "host"),  # the narrowest
        ("192.0.2.2", "a-net"),  # the first by name
        ("::ffff:192.0.2.2", "a-net"),
        ("2001:db8::7", "six"),
        ("198.51.100.1", None),
        ("203.0.113.1", None),  # with a secret, a network is a condition and not a proof
    ],
)
def test_by_network(client: str, found: str | None) -> None:
    credentials = [
        credential("z-net", "192.0.2.0/24"),
        credential("a-net", "192.0.2.0/24", "10.0.0.0/8"),
        credential("host", "192.0.2.1/32"),
        credential("six", "2001:db8::/32"),
        credential("alice", "203.0.113.0/24", secret="sha256$00"),
        credential("nowhere"),
    ]
    address = read_client_address(client)
    assert address is not None
    one = by_network(address, credentials)
    assert (one.username if one else None) == found


@pytest.mark.parametrize(
    ("networks", "client", "may"),
    [
        ((), "192.0.2.1", True),
        ((), "", True),
        (("192.0.2.0/24",), "192.0.2.1", True),
        (("192.0.2.0/24",), "10.0.0.1", False),
        (("192.0.2.0/24",), "", False),
    ],
)
def test_may_use_from(networks: tuple[str, ...], client: str, may: bool) -> None:
    assert may_use_from(credential("alice", *networks, secret="x"), read_client_address(client)) is may


@pytest.mark.parametrize(
    ("extended", "utf8", "secure", "authenticated", "name"),
    [
        (False, False, True, False, "SMTP"),
        (True, False, False, False, "ESMTP"),
        (True, False, True, False, "ESMTPS"),
        (True, False, False, True, "ESMTPA"),
        (True, False, True, True, "ESMTPSA"),
        (True, True, False, False, "UTF8SMTP"),
        (True, True, True, True, "UTF8SMTPSA"),
    ],
)
def test_protocol_name(extended: bool, utf8: bool, secure: bool, authenticated: bool, name: str) -> None:
    tls = "TLSv1.3" if secure else None
    trace = trace_of("192.0.2.1", "c", tls, extended=extended, utf8=utf8, authenticated=authenticated)
    assert (trace.protocol, trace.peer, trace.helo, trace.tls) == (name, "192.0.2.1", "c", tls)


@pytest.mark.parametrize(
    ("message", "user"),
    [
        ("\0alice\0secret", ("alice", "secret")),
        ("alice\0alice\0secret", ("alice", "secret")),
        ("\0alice\0", ("alice", "")),
        ("\0jürgen\0pässword", ("jürgen", "pässword")),
    ],
)
def test_plain(message: str, user: tuple[str, str]) -> None:
    assert split_plain(decode_response(b64encode(message.encode()))) == user


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (b"*", 501),
        (b"=", 501),
        (b"", 501),
        (b"AA", 501),
        (b"AA=A", 501),
        (b"A A=", 501),
        (b64encode(b"\0alice"), 501),
        (b64encode(b"\0a\0b\0c"), 501),
        (b64encode(b"\0\xff\0b"), 501),
        (b64encode(b"bob\0alice\0secret"), 535),
    ],
)
def test_plain_refused(response: bytes, code: int) -> None:
    with pytest.raises(ProtocolError) as refused:
        split_plain(decode_response(response))
    assert refused.value.reply.code == code


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8:1:2::3", "2001:db8:1:2:ffff::4", True),
        ("2001:db8:1:2::3", "2001:db8:1:3::3", False),
    ],
)
def test_throttle_key(one: str, other: str, same: bool) -> None:
    assert (throttle_key(read_client_address(one)) == throttle_key(read_client_address(other))) is same


def test_throttle_lets_a_burst_through_then_one_each_interval() -> None:
    throttle = Throttle(6)
    assert [throttle.take("a", 0, 60 * SECOND) for _ in range(8)] == [0] * 6 + [10 * SECOND, 20 * SECOND]
    assert throttle.take("b", 0, 0) == 0
    assert throttle.take("a", 30 * SECOND, 0) == 0


def test_throttle_does_not_count_what_it_refuses() -> None:
    throttle = Throttle(1)
    assert throttle.take("a", 0, 0) == 0
    assert [throttle.take("a", 0, 0) for _ in range(100)] == [None] * 100
    assert throttle.take("a", MINUTE, 0) == 0


def test_throttle_gives_back() -> None:
    throttle = Throttle(1)
    for _ in range(100):
        assert throttle.take("a", 0, 0) == 0
        throttle.give_back("a")
    throttle.give_back("unknown")


def test_throttle_is_bounded() -> None:
    throttle = Throttle(1, max_keys=10)
    for number in range(1000):
        throttle.take(str(number), 0, 0)
    assert len(throttle) == 10
