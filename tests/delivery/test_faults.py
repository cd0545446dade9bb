"""What is the account's fault or the way's, and is found before any mail; and the TLS modes, none of which gives way."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from ipaddress import ip_network

import pytest
import trustme

from relay.delivery.connection import ConnectFailed, Connector
from relay.delivery.courier import Courier
from relay.delivery.probe import Probe
from relay.delivery.timeouts import Timeouts
from relay.model.delivery import AccountFault, Category, Phase, Verdict
from relay.model.tenant import AccountKind, TlsMode
from tests.delivery.post import account_at, make_delivery, verdicts
from tests.support.smtp_server import DROP, Action, Scripted, SmtpServer

USERS = {"relay": "s3cret"}


async def _fault(courier: Courier, port: int, **changes: object) -> AccountFault:
    attempt = await courier.deliver(make_delivery(), account_at(port, **changes))
    assert attempt.outcomes == ()
    assert attempt.fault is not None
    assert "s3cret" not in repr(attempt)
    return attempt.fault


def _server_context(authority: trustme.CA, name: str = "localhost") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


@pytest.fixture
def certificate(authority: trustme.CA) -> ssl.SSLContext:
    return _server_context(authority)


# -- the way ----------------------------------------------------------------------------------------------------------


async def test_nobody_listens(courier: Courier) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    fault = await _fault(courier, port)

    assert (fault.category, fault.phase) == (Category.CONNECTION, Phase.CONNECT)
    assert "refused" in fault.detail


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 64 + ".test", "exa mple"])
async def test_no_such_host(courier: Courier, host: str) -> None:
    fault = await _fault(courier, 25, host=host)

    assert (fault.category, fault.phase) == (Category.DNS, Phase.CONNECT)


@pytest.mark.parametrize(
    ("greeting", "category"),
    [
        ("421 4.3.2 too busy", Category.CONNECTION),
        ("554 5.7.1 no service for you", Category.POLICY),
        (b"\x16\x03\x01 noise\r\n", Category.PROTOCOL),
        (DROP, Category.CONNECTION),
    ],
)
async def test_greeting(courier: Courier, server: SmtpServer, greeting: Scripted, category: Category) -> None:
    server.on("connect", greeting)

    fault = await _fault(courier, server.port)

    assert (fault.category, fault.phase) == (category, Phase.CONNECT)


@pytest.mark.parametrize(
    ("answer", "category"),
    [("421 4.3.2 busy", Category.CONNECTION), ("550 5.7.1 bad name", Category.POLICY), (DROP, Category.CONNECTION)],
)
async def test_ehlo(courier: Courier, server: SmtpServer, answer: Scripted, category: Category) -> None:
    server.on("ehlo", answer)

    fault = await _fault(courier, server.port)

    assert (fault.category, fault.phase) == (category, Phase.EHLO)


async def test_helo_for_a_server_that_knows_no_better(courier: Courier, server: SmtpServer) -> None:
    server.esmtp = False

    attempt = await courier.deliver(make_delivery(), account_at(server.port))

    assert verdicts(attempt) == [Verdict.SENT]
    assert server.messages[0].parameters == ""


class TestImpatient:
    """With no patience at all, every silence is a fault."""

    @pytest.fixture
    def timeouts(self) -> Timeouts:
        return Timeouts(connect=5, greeting=0.05, mail=0.05, rcpt=0.05, data=0.05, body=0.05, dot=0.05, quit=1)

    async def test_silent_greeting(self, courier: Courier, server: SmtpServer) -> None:
        server.on("connect", Action("220 at last", when=asyncio.Event()))

        fault = await _fault(courier, server.port)

        assert (fault.category, fault.phase) == (Category.TIMEOUT, Phase.CONNECT)

    @pytest.mark.parametrize(
        ("step", "verdict", "phase"),
        [
            ("mail", Verdict.DEFERRED, Phase.MAIL),
            ("rcpt", Verdict.DEFERRED, Phase.RCPT),
            ("data", Verdict.DEFERRED, Phase.DATA),
            ("dot", Verdict.UNKNOWN, Phase.DOT),
        ],
    )
    async def test_silence_in_a_mail(
        self, courier: Courier, server: SmtpServer, step: str, verdict: Verdict, phase: Phase
    ) -> None:
        server.extensions = ()
        server.on(step, Action("250 at last", when=asyncio.Event()))  # type: ignore[arg-type]  # from the table above

        attempt = await courier.deliver(make_delivery(), account_at(server.port))

        [outcome] = attempt.outcomes
        assert (outcome.verdict, outcome.category, outcome.phase) == (verdict, Category.TIMEOUT, phase)

    async def test_a_server_that_takes_no_more(self, courier: Courier, server: SmtpServer) -> None:
        server.on("body", Action(when=asyncio.Event()))

        attempt = await courier.deliver(make_delivery(content=(b"x" * 70 + b"\r\n") * 400_000), account_at(server.port))

        [outcome] = attempt.outcomes
        assert (outcome.verdict, outcome.category, outcome.phase) == (Verdict.DEFERRED, Category.TIMEOUT, Phase.BODY)


# -- authentication ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("methods", ["PLAIN LOGIN", "LOGIN", "plain", "CRAM-MD5 LOGIN"])
async def test_authenticated(courier: Courier, server: SmtpServer, methods: str) -> None:
    server.users, server.auth_required, server.auth_methods = USERS, True, methods

    attempt = await courier.deliver(make_delivery(), account_at(server.port, user="relay", password="s3cret"))

    assert verdicts(attempt) == [Verdict.SENT]
    assert server.messages[0].user == "relay"


async def test_wrong_password_is_tried_once(courier: Courier, server: SmtpServer) -> None:
    server.users, server.auth_required = {"relay": "other"}, True

    fault = await _fault(courier, server.port, user="relay", password="s3cret")

    assert (fault.category, fault.phase) == (Category.AUTH, Phase.AUTH)
    assert fault.reply is not None
    assert fault.reply.code == 535
    assert sum(command.startswith("AUTH") for command in server.sessions[0].commands) == 1


async def test_offered_but_not_implemented(courier: Courier, server: SmtpServer) -> None:
    server.users = USERS
    server.on("auth", "504 5.5.4 mechanism not implemented", "235 2.7.0 welcome")

    attempt = await courier.deliver(make_delivery(), account_at(server.port, user="relay", password="s3cret"))

    assert verdicts(attempt) == [Verdict.SENT]


@pytest.mark.parametrize("methods", ["CRAM-MD5", "GSSAPI"])
async def test_no_method_of_ours(courier: Courier, server: SmtpServer, methods: str) -> None:
    server.users, server.auth_methods = USERS, methods

    fault = await _fault(courier, server.port, user="relay", password="s3cret")

    assert (fault.category, fault.phase) == (Category.AUTH, Phase.AUTH)


async def test_user_without_password(courier: Courier, server: SmtpServer) -> None:
    server.users = USERS

    fault = await _fault(courier, server.port, user="relay")

    assert fault.category is Category.CONFIGURATION


async def test_authentication_wanted_at_mail(courier: Courier, server: SmtpServer) -> None:
    server.users, server.auth_required = USERS, True

    fault = await _fault(courier, server.port)

    assert (fault.category, fault.phase) == (Category.AUTH, Phase.MAIL)


async def test_a_spent_quota_leaves_what_others_were_told(courier: Courier, server: SmtpServer) -> None:
    server.to("quota@receiver.test", "550 5.4.5 daily user sending limit exceeded")

    attempt = await courier.deliver(make_delivery("quota@receiver.test", "yes@receiver.test"), account_at(server.port))

    assert attempt.fault is not None
    assert attempt.fault.category is Category.RATE
    assert [(outcome.position, outcome.verdict) for outcome in attempt.outcomes] == [(1, Verdict.SENT)]


# -- TLS --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [TlsMode.STARTTLS, TlsMode.IMPLICIT])
class TestTls:
    """Both modes, against a server that has a certificate."""

    @pytest.fixture
    async def server(self, mode: TlsMode, certificate: ssl.SSLContext) -> AsyncIterator[SmtpServer]:
        implicit = mode is TlsMode.IMPLICIT
        async with SmtpServer(tls=certificate, implicit_tls=implicit, users=USERS, auth_required=True) as server:
            yield server

    async def test_secured(self, courier: Courier, server: SmtpServer, mode: TlsMode) -> None:
        account = account_at(server.port, tls=mode, user="relay", password="s3cret")

        first = await courier.deliver(make_delivery(), account)
        second = await courier.deliver(make_delivery(content=(b"x" * 70 + b"\r\n") * 50_000), account)

        assert verdicts(first) == verdicts(second) == [Verdict.SENT]
        assert second.reused
        assert first.tls in {"TLSv1.2", "TLSv1.3"}
        assert all(message.tls and message.user == "relay" for message in server.messages)
        assert b"AUTH" not in server.sessions[0].clear

    async def test_wrong_name(self, courier: Courier, server: SmtpServer, mode: TlsMode, authority: trustme.CA) -> None:
        authority.issue_cert("other.test").configure_cert(server.tls or ssl.SSLContext())

        fault = await _fault(courier, server.port, tls=mode, user="relay", password="s3cret")

        assert (fault.category, fault.phase) == (Category.TLS, Phase.TLS)
        assert "certificate" in fault.detail
        assert all("AUTH" not in " ".join(session.commands) for session in server.sessions)

    async def test_unknown_authority(self, courier: Courier, server: SmtpServer, mode: TlsMode) -> None:
        trustme.CA().issue_cert("localhost").configure_cert(server.tls or ssl.SSLContext())

        fault = await _fault(courier, server.port, tls=mode, user="relay", password="s3cret")

        assert (fault.category, fault.phase) == (Category.TLS, Phase.TLS)

    async def test_old_protocol(self, courier: Courier, server: SmtpServer, mode: TlsMode) -> None:
        assert server.tls is not None
        server.tls.maximum_version = ssl.TLSVersion.TLSv1_2
        server.tls.set_ciphers("AES128-SHA")  # which no client of today offers

        fault = await _fault(courier, server.port, tls=mode, user="relay", password="s3cret")

        assert (fault.category, fault.phase) == (Category.TLS, Phase.TLS)


async def test_starttls_stripped(courier: Courier, server: SmtpServer) -> None:
    """Somebody in between takes STARTTLS out of the offer, and offers AUTH in clear."""
    server.users = USERS

    fault = await _fault(courier, server.port, tls=TlsMode.STARTTLS, user="relay", password="s3cret")

    assert (fault.category, fault.phase) == (Category.TLS, Phase.TLS)
    assert server.sessions[0].commands == ["EHLO relay.test"]


@pytest.mark.parametrize("answer", ["454 4.7.0 not now", "220 go\r\n250 injected", b"nonsense\r\n", DROP])
async def test_starttls_refused(courier: Courier, server: SmtpServer, answer: Scripted) -> None:
    server.extensions, server.users = (*server.extensions, "STARTTLS"), USERS
    server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # without a certificate: the handshake fails
    server.on("starttls", answer)

    fault = await _fault(courier, server.port, tls=TlsMode.STARTTLS, user="relay", password="s3cret")

    assert fault.phase is Phase.TLS
    assert fault.category in {Category.TLS, Category.PROTOCOL}
    assert b"AUTH" not in server.sessions[0].clear


async def test_a_server_in_clear_where_tls_is_implicit(courier: Courier, server: SmtpServer) -> None:
    fault = await _fault(courier, server.port, tls=TlsMode.IMPLICIT, user="relay", password="s3cret")

    assert (fault.category, fault.phase) == (Category.TLS, Phase.TLS)


# -- the guard --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "0x7f.1", "2130706433", "::1", "::ffff:127.0.0.1"])
async def test_a_tenants_host_must_be_public(courier: Courier, server: SmtpServer, host: str) -> None:
    fault = await _fault(courier, server.port, host=host, guarded=True)

    assert fault.category is Category.CONFIGURATION
    assert server.sessions == []


async def test_unless_its_network_is_open(server: SmtpServer, timeouts: Timeouts) -> None:
    networks = [ip_network("127.0.0.0/8"), ip_network("::1/128")]
    connector = Connector(ehlo_name="relay.test", outbound_networks=networks, timeouts=timeouts)

    connection = await connector.connect(account_at(server.port, guarded=True))
    connection.dialogue.goodbye(1)

    assert connection.peer == "127.0.0.1"


# -- the probe --------------------------------------------------------------------------------------------------------


async def test_probe(server: SmtpServer, timeouts: Timeouts) -> None:
    server.users = USERS
    probe = Probe(Connector(ehlo_name="relay.test", timeouts=timeouts))

    good = await probe.probe(account_at(server.port, user="relay", password="s3cret"))
    bad = await probe.probe(account_at(server.port, user="relay", password="wrong"))
    capture = await probe.probe(account_at(server.port, kind=AccountKind.CAPTURE))
    await server.sessions[0].ended.wait()

    assert (good.ok, good.phase) == (True, "auth")
    assert (bad.ok, bad.phase) == (False, "auth")
    assert "535" in bad.detail
    assert capture.ok
    assert server.sessions[0].commands[-1] == "QUIT"


async def test_cancelled_while_connecting(server: SmtpServer, timeouts: Timeouts) -> None:
    gate = asyncio.Event()
    server.on("connect", Action("220 at last", when=gate))
    connector = Connector(ehlo_name="relay.test", timeouts=timeouts)
    task = asyncio.create_task(connector.connect(account_at(server.port)))
    await server.wait_for_sessions(1)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    gate.set()
    async with asyncio.timeout(20):
        await server.sessions[0].ended.wait()


async def test_failed_connection_says_why(server: SmtpServer, timeouts: Timeouts) -> None:
    server.on("connect", "554 5.7.1 no service")

    with pytest.raises(ConnectFailed, match=r"refused in connect: 554 5\.7\.1 no service"):
        await Connector(ehlo_name="relay.test", timeouts=timeouts).connect(account_at(server.port))
