"""The instance and its bounce mailbox, as genro-mail-proxy has them."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from relay.clock import SECOND
from relay.model.address import parse_address
from relay.model.bounce_mailbox import BounceMailbox
from relay.model.instance import Instance
from sidecar_api.schemas.exact import exact
from sidecar_api.schemas.examples import example
from sidecar_api.schemas.fields import Name, Secret, Strict
from sidecar_api.schemas.hosts import check_host

EDITION = "ee"
_BOUNCE = "bounce_"


def _address(value: str) -> str:
    return parse_address(value, utf8=True)


_Host = Annotated[str, AfterValidator(check_host)]
_Folder = Annotated[str, Field(min_length=1, max_length=255)]
_Port = Annotated[int, Field(ge=1, le=65535)]
_Interval = Annotated[int, Field(ge=1, le=86_400, description="seconds")]
_ReturnPath = Annotated[str, AfterValidator(_address)]


@example(
    {
        "enabled": True,
        "imap_host": "imap.example.com",
        "imap_user": "bounces@example.com",
        "imap_password": "correct horse battery staple",
        "return_path": "bounces@example.com",
    }
)
class GenroBounceIn(Strict):
    """What changes of it; null clears. It is kept for the reading of bounces, which is not there yet."""

    enabled: bool = False
    imap_host: _Host | None = None
    imap_port: _Port = 993
    imap_user: Secret | None = None
    imap_password: Secret | None = Field(default=None, repr=False)
    imap_folder: _Folder = "INBOX"
    imap_ssl: bool = True
    poll_interval: _Interval = 60
    return_path: _ReturnPath | None = None

    def applied_to(self, mailbox: BounceMailbox) -> BounceMailbox:
        """The mailbox, with what is named of it."""
        return changed(mailbox, {name: getattr(self, name) for name in self.model_fields_set})


_OURS = {
    "enabled": "enabled",
    "imap_host": "host",
    "imap_port": "port",
    "imap_user": "user",
    "imap_password": "password",
    "imap_folder": "folder",
    "imap_ssl": "tls",
    "poll_interval": "poll_interval",
    "return_path": "return_path",
}


def changed(mailbox: BounceMailbox, named: dict[str, Any]) -> BounceMailbox:
    """The mailbox, with values by the names that clients know."""
    values = {_OURS[name]: value for name, value in named.items()}
    if "poll_interval" in values:
        values["poll_interval"] *= SECOND
    return replace(mailbox, **values)


@example(
    {
        "ok": True,
        "enabled": True,
        "imap_host": "imap.example.com",
        "imap_port": 993,
        "imap_user": "bounces@example.com",
        "imap_folder": "INBOX",
        "imap_ssl": True,
        "poll_interval": 60,
        "return_path": "bounces@example.com",
    }
)
@exact
class GenroBounceOut(TypedDict):
    """The mailbox, without its password."""

    ok: bool
    enabled: bool
    imap_host: str | None
    imap_port: int
    imap_user: str | None
    imap_folder: str
    imap_ssl: bool
    poll_interval: int
    """Seconds."""
    return_path: str | None


def _no_token(value: object) -> object:
    if value is not None:
        raise ValueError("tokens are made and revoked by /v1/tokens, several for each purpose")
    return value


@example({"name": "mail-proxy", "bounce_return_path": "bounces@example.com"})
class GenroInstanceIn(Strict):
    """What changes of the instance; null clears."""

    name: Name | None = None
    api_token: Annotated[str | None, AfterValidator(_no_token), Field(repr=False)] = None
    """Refused: tokens are made by `/v1/tokens`."""
    bounce_enabled: bool = False
    bounce_imap_host: _Host | None = None
    bounce_imap_port: _Port = 993
    bounce_imap_user: Secret | None = None
    bounce_imap_password: Secret | None = Field(default=None, repr=False)
    bounce_imap_folder: _Folder = "INBOX"
    bounce_imap_ssl: bool = True
    bounce_poll_interval: _Interval = 60
    bounce_return_path: _ReturnPath | None = None

    @property
    def bounce(self) -> dict[str, Any]:
        """What is named of the bounce mailbox, by the names that it has there."""
        named = {name for name in self.model_fields_set if name.startswith(_BOUNCE)}
        return {name.removeprefix(_BOUNCE): getattr(self, name) for name in named}


@example(
    {
        "ok": True,
        "id": 1,
        "name": "mail-proxy",
        "edition": "ee",
        "bounce_enabled": True,
        "bounce_imap_host": "imap.example.com",
        "bounce_imap_port": 993,
        "bounce_imap_user": "bounces@example.com",
        "bounce_imap_folder": "INBOX",
        "bounce_imap_ssl": True,
        "bounce_poll_interval": 60,
        "bounce_return_path": "bounces@example.com",
    }
)
@exact
class GenroInstanceOut(TypedDict):
    """The instance, without its secrets."""

    ok: bool
    id: int
    """Always 1."""
    name: str | None
    edition: str
    """Always `ee`: there are tenants."""
    bounce_enabled: bool
    bounce_imap_host: str | None
    bounce_imap_port: int
    bounce_imap_user: str | None
    bounce_imap_folder: str
    bounce_imap_ssl: bool
    bounce_poll_interval: int
    """Seconds."""
    bounce_return_path: str | None


@example({"ok": True, "active": True})
@exact
class GenroStatusOut(TypedDict):
    """Whether mail is being sent."""

    ok: bool
    active: bool


@example({"status": "ok", "version": "0.1.0"})
@exact
class GenroHealthOut(TypedDict):
    """Fine."""

    status: str
    version: str


def bounce_out(mailbox: BounceMailbox) -> GenroBounceOut:
    """The mailbox."""
    return GenroBounceOut(
        ok=True,
        enabled=mailbox.enabled,
        imap_host=mailbox.host,
        imap_port=mailbox.port,
        imap_user=mailbox.user,
        imap_folder=mailbox.folder,
        imap_ssl=mailbox.tls,
        poll_interval=mailbox.poll_interval // SECOND,
        return_path=mailbox.return_path,
    )


def instance_out(instance: Instance, mailbox: BounceMailbox) -> GenroInstanceOut:
    """The instance."""
    bounce = bounce_out(mailbox)
    return GenroInstanceOut(
        ok=True,
        id=1,
        name=instance.name,
        edition=EDITION,
        bounce_enabled=bounce["enabled"],
        bounce_imap_host=bounce["imap_host"],
        bounce_imap_port=bounce["imap_port"],
        bounce_imap_user=bounce["imap_user"],
        bounce_imap_folder=bounce["imap_folder"],
        bounce_imap_ssl=bounce["imap_ssl"],
        bounce_poll_interval=bounce["poll_interval"],
        bounce_return_path=bounce["return_path"],
    )
