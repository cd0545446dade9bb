"""Trust: who a client is, from what it proved or where it stands; and what that allows. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from relay.intake.submission import Principal, Trace
from relay.model.tenant import Credential

ClientAddress = IPv4Address | IPv6Address
LOOPBACK = "loopback"


@lru_cache(maxsize=1024)
def read_client_address(text: str) -> ClientAddress | None:
    """The address of a peer, an IPv4 one inside IPv6 as IPv4; None where there is none."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def throttle_key(address: ClientAddress | None) -> str:
    """What shares one allowance: an IPv4 address, the /64 that one IPv6 customer has."""
    if isinstance(address, IPv6Address):
        return address.exploded[:19]
    return str(address)


def by_network(address: ClientAddress, credentials: Iterable[Credential]) -> Credential | None:
    """The credential whose network the client stands in: the narrowest, then the first by name. None: no such network.

    A credential with a secret is never one of them: there, networks narrow where the secret may be used from.
    """
    found = [
        (-network.prefixlen, credential.username, credential)
        for credential in credentials
        if credential.secret_hash is None
        for network in credential.networks
        if address in network
    ]
    return min(found, key=lambda entry: entry[:2])[2] if found else None


def may_use_from(credential: Credential, address: ClientAddress | None) -> bool:
    """Whether the client stands where the credential may be used."""
    if not credential.networks:
        return True
    return address is not None and any(address in network for network in credential.networks)


def principal_of(credential: Credential) -> Principal:
    """Who hands in mail by this credential."""
    return Principal(
        tenant=credential.tenant,
        name=credential.username,
        account=credential.account,
        allowed_senders=credential.allowed_senders,
        priority=credential.priority,
        batch=credential.batch,
        tags=credential.tags,
    )


@lru_cache(maxsize=1024)
def trace_of(peer: str, helo: str, tls: str | None, *, extended: bool, utf8: bool, authenticated: bool) -> Trace:
    """What Received says of the client, its `with` clause as registered (RFC 3848, RFC 6531 §4.3)."""
    protocol = "SMTP"
    if extended:
        protocol = ("UTF8SMTP" if utf8 else "ESMTP") + ("S" if tls else "") + ("A" if authenticated else "")
    return Trace(protocol, peer, helo, tls)
