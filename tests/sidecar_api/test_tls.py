"""TLS at the REST door, and a certificate that is renewed while the relay runs."""

from __future__ import annotations

import http.client
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.support.relay_process import RelayProcess, relay_directory


@pytest.fixture
def directory() -> Iterator[Path]:
    with relay_directory() as path:
        yield path


def _issue(authority: trustme.CA, directory: Path) -> None:
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(str(directory / "key.pem"))
    (directory / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))


def _trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def _live(port: int, context: ssl.SSLContext) -> int:
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
    try:
        connection.request("GET", "/health/live")
        return connection.getresponse().status
    finally:
        connection.close()


def test_tls_with_a_certificate_that_is_renewed(directory: Path) -> None:
    old, new = trustme.CA(), trustme.CA()
    _issue(old, directory)
    tls = {"certificate": str(directory / "cert.pem"), "private_key": str(directory / "key.pem")}
    with RelayProcess(directory, f"sqlite://{directory}/mail.db", {"api": tls}) as relay:
        relay.start()
        assert f"https://127.0.0.1:{relay.api_port}" in relay.log
        assert _live(relay.api_port, _trusting(old)) == 200
        with pytest.raises((http.client.HTTPException, OSError)):
            relay.request("GET", "/health/live")  # no plain HTTP
        assert relay.cli("messages", "list")["items"] == []  # the command line needs no certificate
        with pytest.raises(ssl.SSLCertVerificationError):
            _live(relay.api_port, _trusting(new))
        _issue(new, directory)
        assert relay.process is not None
        relay.process.send_signal(signal.SIGHUP)
        _wait_for(relay, _trusting(new))
        assert relay.stop() == 0


def _wait_for(relay: RelayProcess, context: ssl.SSLContext) -> None:
    """Until the renewed certificate is shown: each attempt is a whole handshake, and their number is bounded."""
    for _ in range(500):
        try:
            assert _live(relay.api_port, context) == 200
        except ssl.SSLCertVerificationError:
            continue
        return
    raise AssertionError(relay.log)
