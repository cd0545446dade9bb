"""Guard: which addresses a host named by a tenant may have.

A list of our own: `ipaddress.is_global` calls some addresses global behind which clouds keep their metadata, and it
differs between Python versions. Of IPv6 only 2000::/3 is public, less what is set aside in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

# RFC 6890 and its registry.
_DENIED_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",  # a cloud's wire server, on a public address
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_PUBLIC_V6 = IPv6Network("2000::/3")
_DENIED_V6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4 carries any IPv4 address
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)


class NotPublic(Exception):
    """A host has an address that a tenant must not reach."""


class Guard:
    """`networks` are those an administrator has opened: `security.outbound_networks`."""

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network] = ()) -> None:
        self._networks = tuple(networks)

    def permits(self, address: str) -> bool:
        """Whether this very address (a literal, with or without a scope) may be connected to."""
        ip = ip_address(address)
        if any(ip in network for network in self._networks if network.version == ip.version):
            return True
        if isinstance(ip, IPv4Address):
            return not any(ip in network for network in _DENIED_V4)
        return _is_public(ip)

    def check(self, host: str, addresses: Iterable[str]) -> None:
        """Raise NotPublic unless every address that `host` has is permitted: one of them would be enough for an attack."""
        if not all(self.permits(address) for address in addresses):
            raise NotPublic(
                f"host {host} has an address that is not public; "
                "an administrator can open its network in security.outbound_networks, or own the account"
            )


def _is_public(ip: IPv6Address) -> bool:
    return ip in _PUBLIC_V6 and ip.scope_id is None and not any(ip in network for network in _DENIED_V6)
