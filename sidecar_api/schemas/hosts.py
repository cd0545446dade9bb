"""Names of hosts that clients may give. Whether a host may be connected to is asked at each connection, not here."""

from __future__ import annotations

import re
from ipaddress import ip_address

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")


def check_host(host: str) -> str:
    """A host name in ASCII, or an IP address without brackets; ValueError else."""
    try:
        return str(ip_address(host.strip("[]")))
    except ValueError:
        pass
    if len(host) > 253 or not _HOST.fullmatch(host) or host.rstrip(".").rpartition(".")[2].isdigit():
        raise ValueError("must be a host name or an IP address")
    return host.lower().rstrip(".")
