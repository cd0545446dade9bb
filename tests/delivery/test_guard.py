"""Which addresses a host of a tenant may have."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from relay.delivery.guard import Guard, NotPublic

FORBIDDEN = [
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.255.0.1", "168.63.129.16", "169.254.169.254", "172.16.0.1",
    "172.31.255.255", "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.1.1",
    "198.51.100.7", "203.0.113.7", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::7f00:1", "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1",
    "2001::1", "2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "5f00::1", "fc00::1",
    "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "8.8.8.8", "172.32.0.1", "192.0.1.1", "2606:4700:4700::1111", "2a00:1450:4001:800::2003"]


@pytest.mark.parametrize("address", FORBIDDEN)
def test_forbidden(address: str) -> None:
    assert not Guard().permits(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address: str) -> None:
    assert Guard().permits(address)


def test_an_opened_network() -> None:
    guard = Guard([ip_network("10.0.0.0/8"), ip_network("fd00::/8")])

    assert guard.permits("10.1.2.3")
    assert guard.permits("fd00::1")
    assert not guard.permits("192.168.1.1")
    assert not guard.permits("::ffff:10.1.2.3")


def test_one_bad_address_is_enough() -> None:
    with pytest.raises(NotPublic, match=r"outbound_networks") as refused:
        Guard().check("mail.example.com", ["1.1.1.1", "10.0.0.1"])

    assert "10.0.0.1" not in str(refused.value)
