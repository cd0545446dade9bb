"""The route table. A new resource is a module here with its GROUP, and a line in OURS.

The rows say everything that holds for a route, so that the application, the reference and the tests (role matrix, examples,
description against answers) take it from here: who may call (`access`), the shapes of query, body and answers with an
example each (`schemas.examples`), tags and `If-Match` (`etags`), changes by merge patch (`schemas.patch`).
"""

from __future__ import annotations

from sidecar_api.genro import routes as genro
from sidecar_api.route import Group, Route
from sidecar_api.routes import (
    accounts,
    batches,
    commands,
    credentials,
    events,
    instance,
    limits,
    messages,
    submissions,
    suppressions,
    tenants,
    tokens,
)

OURS: tuple[Group, ...] = (
    submissions.GROUP,
    messages.GROUP,
    batches.GROUP,
    events.GROUP,
    suppressions.GROUP,
    tenants.GROUP,
    accounts.GROUP,
    limits.GROUP,
    credentials.GROUP,
    tokens.GROUP,
    commands.GROUP,
    instance.GROUP,
)
"""In the order of the reference; a test finds a module that is left out."""

GROUPS: tuple[Group, ...] = (*OURS, *genro.GROUPS)
"""With the paths of genro-mail-proxy, which can be switched off."""

ROUTES: tuple[Route, ...] = tuple(route for group in GROUPS for route in group.routes)
"""Every route there is."""
