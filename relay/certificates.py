"""Certificates: TLS as the doors speak it, with certificates that are renewed without a restart."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"

log = logging.getLogger(__name__)


class Certificates:
    """Of all doors of a process."""

    def __init__(self) -> None:
        self._loaded: list[tuple[ssl.SSLContext, Path, Path]] = []

    def context(self, certificate: Path | None, private_key: Path | None) -> ssl.SSLContext | None:
        """The context of a door, or None where it has no certificate; `reload` renews it."""
        if certificate is None or private_key is None:
            return None
        context = server_tls(str(certificate), str(private_key))
        self._loaded.append((context, certificate, private_key))
        return context

    def reload(self) -> None:
        """Load them anew; connections that stand keep the old ones."""
        for context, certificate, private_key in self._loaded:
            try:
                context.load_cert_chain(str(certificate), str(private_key))
            except (OSError, ssl.SSLError) as error:
                log.error("certificate %s not loaded anew, the old one stays: %s", certificate, error)


def server_tls(certificate: str, key: str | None = None) -> ssl.SSLContext:
    """A server's context: TLS 1.2 and later, authenticated encryption alone. Load a renewed certificate into it in place."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.load_cert_chain(certificate, key)
    return context
