"""The instance, its health, its bounce mailbox."""

from __future__ import annotations

from dataclasses import replace

from aiohttp import web

from relay.errors import Invalid, Violation
from relay.model.bounce_mailbox import BounceMailbox
from sidecar_api.call import Call, answer
from sidecar_api.genro.schemas import instance as shapes
from sidecar_api.genro.schemas.commands import GenroOkOut


async def show_health(call: Call) -> web.Response:
    """GET /health."""
    return answer(200, shapes.GenroHealthOut(status="ok", version=call.services.version))


async def show_status(call: Call) -> web.Response:
    """GET /status."""
    return answer(200, shapes.GenroStatusOut(ok=True, active=call.services.standing().dispatching))


async def show_instance(call: Call) -> web.Response:
    """GET /instance."""
    settings = await call.services.directory.instance()
    return answer(200, shapes.instance_out(settings, await call.services.bounce_mailboxes.bounce_mailbox()))


async def change_instance(call: Call) -> web.Response:
    """PUT /instance."""
    wanted = call.given(shapes.GenroInstanceIn)
    if bounce := wanted.bounce:
        await call.services.bounce_mailboxes.change_bounce_mailbox(
            lambda mailbox: checked(shapes.changed(mailbox, bounce), "/bounce_imap_host")
        )
    if "name" in wanted.model_fields_set:
        await call.services.directory.change_instance(lambda instance: replace(instance, name=wanted.name))
    return answer(200, GenroOkOut(ok=True))


async def show_bounce(call: Call) -> web.Response:
    """GET /instance/bounce."""
    return answer(200, shapes.bounce_out(await call.services.bounce_mailboxes.bounce_mailbox()))


async def change_bounce(call: Call) -> web.Response:
    """PUT /instance/bounce."""
    wanted = call.given(shapes.GenroBounceIn)
    await call.services.bounce_mailboxes.change_bounce_mailbox(
        lambda mailbox: checked(wanted.applied_to(mailbox), "/imap_host")
    )
    return answer(200, GenroOkOut(ok=True))


def checked(mailbox: BounceMailbox, place: str) -> BounceMailbox:
    """The same; Invalid, at the place of its host, where it is to be read and cannot be."""
    if mailbox.enabled and mailbox.host is None:
        raise Invalid(Violation(place, "is needed for a mailbox that is enabled"))
    return mailbox
