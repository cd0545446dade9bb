"""The table of settings: one frozen dataclass for each section of the INI file, one line for each key.

A default is written here and nowhere else, as it would stand in the file; from these lines come the reading, the checks,
the environment's names (STAGEPOST_<SECTION>_<KEY>), `config.example.ini` and `stagepost config show`. Sizes are octets,
durations µs. A value that is derived (marked "empty: …") is filled in when the configuration is loaded.
"""

# ruff: noqa: RUF009 - key() is dataclasses.field with a meaning, and its defaults are immutable

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import unquote

from relay.clock import DAY, HOUR, MILLISECOND, MINUTE, SECOND
from relay.config.rules import FORM, read_rules
from relay.config.values import (
    DERIVED_PATH,
    ENDPOINTS,
    FLAG,
    HOSTNAME,
    NETWORKS,
    ORIGINS,
    PATH,
    STORE_URL,
    Endpoint,
    Kind,
    StoreUrl,
    choice,
    duration,
    durations,
    number,
    optional,
    pattern,
    percent,
    size,
)
from relay.model.reply_rule import ReplyRule

T = TypeVar("T")
RULES = Kind(read_rules, f"empty, or a rule on each line: {FORM}", quotable=False)
KIB, MIB, GIB = 2**10, 2**20, 2**30

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]
AuthWithoutTls = Literal["loopback", "never", "always"]
BareNewlines = Literal["refuse", "normalise"]


@dataclass(frozen=True, slots=True)
class Key:
    """A setting: where it stands, its default as text, its kind, and its meaning on one line."""

    section: str
    name: str
    default: str
    kind: Kind[Any]
    meaning: str

    @property
    def variable(self) -> str:
        """The environment's name for it."""
        return f"STAGEPOST_{self.section}_{self.name}".upper()


def key(default: str, kind: Kind[T], meaning: str) -> T:
    """A dataclass field with its default (as text), kind and meaning."""
    metadata = {"default": default, "kind": kind, "meaning": meaning}
    return field(default=kind.read(default), metadata=metadata)


@dataclass(frozen=True, slots=True)
class Server:
    """The process."""

    data_dir: Path = key(
        "", DERIVED_PATH, "Everything of this instance; empty: ~/.local/share/stagepost, by XDG_DATA_HOME"
    )
    workers: int = key("1", number(1, 64), "Processes of this instance: they share doors, queue and limits")
    max_memory: int | None = key(
        "",
        optional(size(64 * MIB, 1024 * GIB)),
        "Memory in use above which no mail is accepted (452, 503); empty: three quarters of what is allowed us",
    )
    shutdown_timeout: int = key(
        "30s", duration(SECOND, HOUR), "How long attempts in flight may take to finish at a stop"
    )
    log_format: LogFormat = key("text", choice(LogFormat), "How log lines are written: text or json")
    log_level: LogLevel = key("info", choice(LogLevel), "The least that is logged: debug, info, warning or error")


@dataclass(frozen=True, slots=True)
class Storage:
    """The store of messages and configuration."""

    url: StoreUrl = key(
        "", STORE_URL, "sqlite:///path or postgresql://user@host/database; empty: stagepost.db in data_dir"
    )
    spool: Path | None = key("", PATH, "Large content of a SQLite store; empty: beside its file")
    min_free: int = key("200MiB", size(0, 1024 * GIB), "Free disk space below which no mail is accepted (452, 503)")
    inline_limit: int = key(
        "64KiB", size(0, MIB), "Content up to this size stands in the database, larger content beside it"
    )

    @property
    def sqlite_file(self) -> Path | None:
        """The file that a SQLite `url` names."""
        return Path(unquote(self.url.removeprefix("sqlite://"))) if self.url.startswith("sqlite://") else None


@dataclass(frozen=True, slots=True)
class Smtp:
    """The SMTP door."""

    listen: tuple[Endpoint, ...] = key(
        "127.0.0.1:2525", ENDPOINTS, "Where to listen, STARTTLS if there is a certificate"
    )
    tls_listen: tuple[Endpoint, ...] = key("", ENDPOINTS, "Where to listen with TLS from the first octet")
    hostname: str = key("", HOSTNAME, "The name in the greeting and in Received; empty: the machine's full name")
    certificate: Path | None = key("", PATH, "PEM file with the certificate and its chain")
    private_key: Path | None = key("", PATH, "PEM file with the certificate's private key")
    auth_without_tls: AuthWithoutTls = key(
        "loopback", choice(AuthWithoutTls), "From where AUTH is taken in clear: loopback, never or always"
    )
    loopback_tenant: str = key(
        "default",
        pattern(r"|[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "empty, or a tenant's id"),
        "Tenant of clients that come over loopback without AUTH; empty: they must authenticate",
    )
    max_connections: int = key("1000", number(1, 100_000), "Connections at once; more are answered 421")
    max_connections_per_client: int = key("200", number(1, 100_000), "Connections at once from one address")
    max_size: int = key("50MiB", size(KIB, 2 * GIB), "The largest message, at either door")
    max_recipients: int = key("1000", number(1, 100_000), "The most recipients of one message, at either door")
    command_timeout: int = key("5m", duration(SECOND, HOUR), "How long a client may be silent between commands")
    data_timeout: int = key("60s", duration(SECOND, HOUR), "How long a client may be silent within a message")
    min_data_rate: int = key(
        "1KiB", size(1, GIB), "Octets a second, on average, that a message must come with after its first 30 s"
    )
    session_timeout: int = key("20m", duration(SECOND, DAY), "How long a client may stay without handing in a message")
    bare_newlines: BareNewlines = key(
        "refuse", choice(BareNewlines), "A CR or LF that stands alone: refuse (550 5.5.2) or normalise to CRLF"
    )
    header_prefix: str = key(
        "X-Stagepost-",
        pattern(r"[A-Za-z][A-Za-z0-9-]{0,38}-", "letters, digits and hyphens, with a hyphen at the end"),
        "How control header fields begin",
    )


@dataclass(frozen=True, slots=True)
class Api:
    """The REST door."""

    listen: tuple[Endpoint, ...] = key(
        "127.0.0.1:8025", ENDPOINTS, "Where to listen; the command line needs none of it"
    )
    certificate: Path | None = key("", PATH, "PEM file with the certificate and its chain; empty: no TLS")
    private_key: Path | None = key("", PATH, "PEM file with the certificate's private key")
    max_connections: int = key("500", number(1, 100_000), "Connections at once; more are answered 503")
    max_body: int = key("50MiB", size(KIB, 2 * GIB), "The largest request body, decoded")
    requests_per_minute: int | None = key(
        "", optional(number(1, 1_000_000)), "Requests of one token within any minute, at each worker; empty: no limit"
    )
    cors_origins: tuple[str, ...] = key(
        "", ORIGINS, "Whose pages may call from a browser; * is any page, empty is none"
    )
    request_timeout: int = key("30s", duration(SECOND, HOUR), "How long a client may take to send a request's header")
    genro_mail_proxy: bool = key(
        "true", FLAG, "Whether the paths of genro-mail-proxy 0.6 are served, for clients written for it"
    )


@dataclass(frozen=True, slots=True)
class Queue:
    """The durable queue."""

    lease: int = key("5m", duration(SECOND, DAY), "How long an instance holds a delivery unless it renews the lease")
    max_messages: int = key(
        "1000000", number(1, 1_000_000_000), "Open messages above which no mail is accepted (452, 503)"
    )


@dataclass(frozen=True, slots=True)
class Retry:
    """When a deferred delivery is tried again."""

    schedule: tuple[int, ...] = key(
        "1m, 5m, 15m, 1h, 2h",
        durations(100 * MILLISECOND, 30 * DAY),
        "The delay before each retry; after the last one it has failed, unless max_age or max_attempts go on",
    )
    max_age: int | None = key(
        "",
        optional(duration(MINUTE, 365 * DAY)),
        "Go on with the last delay until a message is this old, then give up; empty: by schedule alone",
    )
    max_attempts: int | None = key(
        "",
        optional(number(1, 10_000)),
        "Go on with the last delay up to so many attempts, then give up; empty: by schedule alone",
    )
    jitter: float = key("10%", percent(50), "How far a delay may stray from the schedule, either way")
    max_wait: int = key(
        "5d",
        duration(MINUTE, 365 * DAY),
        "How long mail waits for an account that is out of order (wrong password, no connection), unless max_age says",
    )
    hint_min: int = key(
        "5s", duration(SECOND, DAY), "The least delay that is kept where a reply asks for one (try again in 10 seconds)"
    )
    hint_max: int | None = key(
        "2h", optional(duration(SECOND, 30 * DAY)), "The longest such delay; empty: the schedule alone counts"
    )


@dataclass(frozen=True, slots=True)
class Retention:
    """How long things are kept after a message's end; empty: for ever. What is open is kept always."""

    content: int | None = key(
        "7d", optional(duration(HOUR, 3650 * DAY)), "Content of messages that were sent or captured"
    )
    failed_content: int | None = key(
        "30d", optional(duration(HOUR, 3650 * DAY)), "Content of messages that failed or were cancelled, for a retry"
    )
    messages: int | None = key(
        "30d", optional(duration(HOUR, 3650 * DAY)), "Messages with recipients, attempts, and content that is left"
    )
    events: int | None = key("90d", optional(duration(HOUR, 3650 * DAY)), "Events, from the time of each")
    commands: int | None = key(
        "365d", optional(duration(HOUR, 3650 * DAY)), "The command log: who did what by API and command line"
    )


@dataclass(frozen=True, slots=True)
class Replies:
    """What replies of next hops mean, where it is not what they usually mean. One rule a line, each line indented:

        4.7.1 greylist -> deferred policy 5m      tried again in 5 minutes
        rcpt 550 mailbox * full -> deferred       not final, whatever its code says
        45x monthly quota -> fault rate 1h        the account's: all its mail waits, a probe goes in an hour

    PHASE is mail, rcpt, data or dot. In CODE an x is any digit, in ENHANCED a * any number. TEXT is found anywhere in the
    reply, a * in it stands for anything. OUTCOME is deferred, failed or fault. Only 4xx and 5xx replies can be given another
    meaning, and only once a session stands. The first rule that fits wins.
    """

    rules: tuple[ReplyRule, ...] = key("", RULES, f"What the server said, and what it means: {FORM}")


@dataclass(frozen=True, slots=True)
class Dispatch:
    """The scheduler."""

    active: bool = key(
        "true",
        FLAG,
        "Whether this instance ever sends; false: it only takes mail in. To stop and start: stagepost dispatch",
    )


@dataclass(frozen=True, slots=True)
class Delivery:
    """Attempts, and their connections."""

    max_concurrent: int = key("100", number(1, 10_000), "Attempts at once, over all accounts")
    connection_ttl: int = key("300s", duration(SECOND, DAY), "How long a connection is kept and used again")
    ehlo_name: str = key("", HOSTNAME, "The name in EHLO; empty: smtp.hostname")
    connect_timeout: int = key("30s", duration(100 * MILLISECOND, HOUR), "For connection, TLS and greeting")
    command_timeout: int = key("5m", duration(100 * MILLISECOND, HOUR), "For the reply to EHLO, AUTH, MAIL and RCPT")
    data_timeout: int = key("2m", duration(100 * MILLISECOND, HOUR), "For the reply to DATA")
    body_timeout: int = key("3m", duration(100 * MILLISECOND, HOUR), "For any progress while content is sent")
    dot_timeout: int = key("10m", duration(100 * MILLISECOND, HOUR), "For the reply to the final dot")


@dataclass(frozen=True, slots=True)
class Security:
    """Keys and borders."""

    key_file: Path = key(
        "", DERIVED_PATH, "Encrypts stored secrets, shared by all instances of a store; empty: key in data_dir"
    )
    outbound_networks: tuple[IPv4Network | IPv6Network, ...] = key(
        "", NETWORKS, "Private networks in which the hosts that tenants name may stand"
    )


@dataclass(frozen=True, slots=True)
class Config:
    """The configuration, checked and with every derived value filled in."""

    server: Server
    storage: Storage
    smtp: Smtp
    api: Api
    queue: Queue
    retry: Retry
    retention: Retention
    replies: Replies
    dispatch: Dispatch
    delivery: Delivery
    security: Security

    @property
    def hostname(self) -> str:
        """`smtp.hostname`, else the machine's full name: asked for only here, since it may wait for DNS."""
        return self.smtp.hostname or full_name()

    @property
    def ehlo_name(self) -> str:
        """`delivery.ehlo_name`, else the hostname."""
        return self.delivery.ehlo_name or self.hostname

    @property
    def api_socket(self) -> Path:
        """Where a running relay listens for the command line."""
        return self.server.data_dir / "api.sock"


SECTIONS: dict[str, type[Any]] = {
    "server": Server,
    "storage": Storage,
    "smtp": Smtp,
    "api": Api,
    "queue": Queue,
    "retry": Retry,
    "retention": Retention,
    "replies": Replies,
    "dispatch": Dispatch,
    "delivery": Delivery,
    "security": Security,
}


@lru_cache(maxsize=1)
def full_name() -> str:
    """The machine's fully qualified name, or what it has; never one that is no host name."""
    name = socket.gethostname()
    return name if "." in name else socket.getfqdn(name) or "localhost"


def keys() -> Iterator[Key]:
    """Every key, in the order of the file."""
    for name, section in SECTIONS.items():
        for each in fields(section):
            yield _key(name, each)


def _key(section: str, each: Field[Any]) -> Key:
    return Key(section, each.name, each.metadata["default"], each.metadata["kind"], each.metadata["meaning"])
