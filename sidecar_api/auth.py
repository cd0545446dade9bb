"""Who calls, and what they may do: tokens (RFC 6750), the Unix socket, scopes, and the tenant that is acted for.

The tenant is what the token says, never what the request says (promise 7). A request over the Unix socket is an admin's:
the socket's mode is 0600, so the file system has asked already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from aiohttp import web

from relay.clock import Clock
from relay.contracts.directory import Directory
from relay.errors import Invalid, NotFound, Violation
from relay.model.quick import quick
from relay.model.tenant import DEFAULT_TENANT, IDENTIFIER, INSTANCE, Scope
from relay.secrets import token_hash
from sidecar_api.dialect import Dialect
from sidecar_api.problems import ProblemError

_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")
MAX_TOKEN = 256
"""Characters; nothing longer is hashed."""


class Access(Enum):
    """Who may call a route."""

    PUBLIC = "public", None
    METRICS = "metrics", None  # open to loopback, else any valid token
    SEND = "send", Scope.SEND
    READ = "read", Scope.READ
    MANAGE = "manage", Scope.MANAGE
    ADMIN_READ = "admin_read", Scope.READ
    ADMIN = "admin", Scope.MANAGE

    def __init__(self, word: str, scope: Scope | None) -> None:
        self.word = word
        """As the description says it."""
        self.scope = scope
        """The scope a token must have."""
        self.is_admin = word.startswith("admin")
        """Whether an admin's token is needed."""


@quick
@dataclass(frozen=True, slots=True)
class Caller:
    """`tenant` None is an admin. `name` is the token's id, or `local` for the Unix socket: for the log."""

    name: str
    tenant: str | None
    scopes: frozenset[Scope]

    @property
    def is_admin(self) -> bool:
        """Whether it may act for any tenant and for the instance."""
        return self.tenant is None

    @property
    def has_token(self) -> bool:
        """Whether it is neither anonymous nor the Unix socket."""
        return self is not ANONYMOUS and self is not LOCAL and self is not UNKNOWN


LOCAL = Caller("local", None, frozenset(Scope))
ANONYMOUS = Caller("anonymous", "", frozenset())
UNKNOWN = Caller("-", "", frozenset())
"""Who has not been asked, or did not tell."""


async def authenticate(
    request: web.Request,
    access: Access,
    local: bool,
    directory: Directory,
    clock: Clock,
    dialect: Dialect = Dialect.OURS,
) -> Caller:
    """The caller, entitled to `access`; ProblemError 401 or 403."""
    if access is Access.PUBLIC:
        return ANONYMOUS
    if local:
        return LOCAL
    if access is Access.METRICS and _from_loopback(request):
        return ANONYMOUS
    caller = await _bearer(request, directory, clock, dialect)
    if access.is_admin and not caller.is_admin:
        raise ProblemError(403, "admin_only", "this needs an admin's token")
    if access.scope is not None and access.scope not in caller.scopes:
        raise ProblemError(403, "missing_scope", f"this token lacks the scope {access.scope.value}")
    return caller


async def _bearer(request: web.Request, directory: Directory, clock: Clock, dialect: Dialect) -> Caller:
    given = request.headers.getall(dialect.header, ())
    if not given:
        what = "Authorization: Bearer and a token" if dialect is Dialect.OURS else f"{dialect.header} and a token"
        raise unauthorized(dialect, "token_required", f"send {what}")
    secret = dialect.secret_in(given[0])
    # One way through for every bad token: hash, look up, one answer.
    token = await directory.token(token_hash((secret or "")[:MAX_TOKEN]))
    usable = len(given) == 1 and secret is not None and len(secret) <= MAX_TOKEN
    now = clock.now()
    if token is None or not usable or (token.expires_at is not None and token.expires_at <= now):
        raise unauthorized(dialect, "bad_token", "this token is not known, or has expired or been revoked")
    if token.networks and not _stands_in(request, token.networks):
        raise ProblemError(403, "wrong_network", "this token may not be used from this address")
    directory.token_used(token.id, now)
    return Caller(token.id, token.tenant, token.scopes)


def _stands_in(request: web.Request, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    """Whether the peer of the connection does: what a proxy says of its clients is not asked."""
    address = _address(request)
    return address is not None and any(address in network for network in networks)


def unauthorized(dialect: Dialect, code: str, detail: str) -> ProblemError:
    """401, with the challenge that HTTP asks for."""
    challenge = f'{dialect.challenge} realm="stagepost"' + (', error="invalid_token"' if code == "bad_token" else "")
    return ProblemError(401, code, detail, {"WWW-Authenticate": challenge})


def _from_loopback(request: web.Request) -> bool:
    """Whether the client is on this machine; what a proxy hands on is its clients', wherever they are."""
    if any(name in request.headers for name in _FORWARDED):
        return False
    address = _address(request)
    return address is not None and address.is_loopback


def _address(request: web.Request) -> IPv4Address | IPv6Address | None:
    """The peer's, an IPv4 one inside IPv6 as IPv4."""
    try:
        address = ip_address(request.remote or "")
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


async def tenant_or_any(caller: Caller, named: str | None, directory: Directory) -> str | None:
    """For reading: the caller's tenant; of an admin the one it names, or None for all. NotFound for a foreign one."""
    if caller.tenant is not None:
        if named is not None and named != caller.tenant:
            raise _no_tenant(named)
        return caller.tenant
    if named is not None:
        await existing_tenant(named, directory)
    return named


async def tenant_to_send_for(caller: Caller, named: str | None, directory: Directory) -> str:
    """For submitting: as above; an admin that names none sends for the tenant `default`, as loopback SMTP does."""
    tenant = await tenant_or_any(caller, named, directory)
    if tenant is not None:
        return tenant
    return await existing_tenant(DEFAULT_TENANT, directory)


async def one_tenant(caller: Caller, named: str | None, directory: Directory) -> str:
    """For configuring: an admin must name the tenant."""
    tenant = await tenant_or_any(caller, named, directory)
    if tenant is None:
        raise Invalid(Violation("?tenant", "an admin must name the tenant"))
    return tenant


async def owner_or_any(caller: Caller, named: str | None, directory: Directory) -> str | None:
    """As tenant_or_any; an admin may also name INSTANCE, the owner of accounts that serve all."""
    if named == INSTANCE and caller.is_admin:
        return INSTANCE
    return await tenant_or_any(caller, named, directory)


async def one_owner(caller: Caller, named: str | None, directory: Directory) -> str:
    """As one_tenant, with INSTANCE for an admin."""
    if named == INSTANCE and caller.is_admin:
        return INSTANCE
    return await one_tenant(caller, named, directory)


async def existing_tenant(named: str, directory: Directory) -> str:
    """The id, where there is such a tenant; NotFound in the same words as for a foreign one."""
    if not IDENTIFIER.fullmatch(named):
        raise _no_tenant(named)
    try:
        return (await directory.tenant(named)).id
    except NotFound:
        raise _no_tenant(named) from None


def _no_tenant(named: str) -> NotFound:
    return NotFound(f"no such tenant: {named[:64]}")
