"""Whose: for which tenant a call acts. As everywhere, that is what the token says; an admin names one.

Another tenant's name is answered in the same words whether there is such a tenant or not.
"""

from __future__ import annotations

from relay.errors import Invalid, Violation
from relay.model.tenant import IDENTIFIER
from sidecar_api.auth import existing_tenant, unauthorized
from sidecar_api.call import Call
from sidecar_api.dialect import Dialect
from sidecar_api.problems import ProblemError

NOT_YOURS = "this token is not for that tenant"


async def tenant_of(call: Call, named: str | None, place: str = "?tenant_id") -> str:
    """The tenant; ProblemError 401 where the token is another's, Invalid where an admin names none, NotFound."""
    if call.caller.tenant is not None:
        if named not in {None, call.caller.tenant}:
            raise _not_yours()
        return call.caller.tenant
    if named is None:
        raise Invalid(Violation(place, "is required"))
    return await existing_tenant(named, call.services.directory)


async def tenant_in_path(call: Call) -> str:
    """The one that the path names."""
    named = call.parts["id"]
    if call.caller.tenant is not None and not IDENTIFIER.fullmatch(named):
        raise _not_yours()
    return await tenant_of(call, named)


def _not_yours() -> ProblemError:
    return unauthorized(Dialect.GENRO, "bad_token", NOT_YOURS)
