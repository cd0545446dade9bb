"""The instance and the command log of genro-mail-proxy; secrets are nowhere in clear."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sidecar_api.genro.conftest import Scene
from tests.sidecar_api.genro.mail import mail
from tests.sidecar_api.genro.test_settings import ACCOUNT, CANARY


async def test_the_instance_and_its_bounce_mailbox(scene: Scene) -> None:
    bounce = {
        "enabled": False,
        "imap_host": None,
        "imap_port": 993,
        "imap_user": None,
        "imap_folder": "INBOX",
        "imap_ssl": True,
        "poll_interval": 60,
        "return_path": None,
    }
    assert await scene.admin.do("GET", "/instance/bounce") == {"ok": True, **bounce}
    status, answer = await scene.admin.ask("PUT", "/instance/bounce", {"enabled": True})
    assert (status, answer["detail"][0]["loc"]) == (422, ["body", "imap_host"])
    told = {"enabled": True, "imap_host": "imap.example.com", "imap_user": "b", "imap_password": CANARY}
    assert await scene.admin.do("PUT", "/instance/bounce", {**told, "poll_interval": 30}) == {"ok": True}
    now = {**bounce, "enabled": True, "imap_host": "imap.example.com", "imap_user": "b", "poll_interval": 30}
    assert await scene.admin.do("GET", "/instance/bounce") == {"ok": True, **now}
    body = {"name": "Post office", "bounce_imap_folder": "Bounces", "bounce_return_path": "b@example.com"}
    assert await scene.admin.do("PUT", "/instance", body) == {"ok": True}
    now |= {"imap_folder": "Bounces", "return_path": "b@example.com"}
    assert await scene.admin.do("GET", "/instance") == {
        "ok": True,
        "id": 1,
        "name": "Post office",
        "edition": "ee",
        **{f"bounce_{name}": value for name, value in now.items()},
    }
    mailbox = await scene.whole.core.store.bounce_mailboxes.bounce_mailbox()
    assert (mailbox.password, mailbox.poll_interval) == (CANARY, 30_000_000)
    assert (await scene.whole.admin.request("GET", "/v1/instance"))["name"] == "Post office"
    status, answer = await scene.admin.ask("PUT", "/instance", {"api_token": CANARY})
    assert (status, answer["detail"][0]["loc"]) == (422, ["body", "api_token"])
    assert CANARY not in str(answer)
    await scene.admin.do("PUT", "/instance/bounce", {"imap_password": None})
    assert (await scene.whole.core.store.bounce_mailboxes.bounce_mailbox()).password is None


async def test_health_and_status(scene: Scene) -> None:
    assert await scene.admin.with_token(None).do("GET", "/health") == {"status": "ok", "version": "1"}
    assert await scene.shop.do("GET", "/status") == {"ok": True, "active": True}
    await scene.whole.admin.request("PATCH", "/v1/instance", json={"dispatch": {"active": False}})
    assert await scene.shop.do("GET", "/status") == {"ok": True, "active": False}


async def test_the_command_log_tells_of_commands_and_holds_no_secret_and_no_mail(scene: Scene) -> None:
    await scene.admin.do("POST", "/account", {**ACCOUNT, "user": "u", "password": CANARY})
    await scene.admin.do("PUT", "/instance", {"bounce_imap_password": CANARY})
    await scene.shop.add(mail("m", body=CANARY))
    await scene.shop.do("POST", "/commands/suspend", batch_code="spring")
    log = await scene.admin.do("GET", "/command-log", limit="3")
    assert (log["ok"], log["total"]) == (True, 3)
    assert [(one["endpoint"], one["tenant_id"], one["response_status"]) for one in log["commands"]] == [
        ("POST /commands/suspend", "shop", 200),
        ("PUT /instance", None, 200),
        ("POST /account", "shop", 200),
    ]
    entry = log["commands"][2]
    assert entry["payload"] == {**ACCOUNT, "user": "u", "password": "***"}
    assert (entry["command_ts"], entry["response_body"]) == (scene.now, None)
    only = await scene.admin.do("GET", "/command-log", tenant_id="shop", endpoint_filter="/account")
    assert {one["endpoint"] for one in only["commands"]} == {"POST /account"}
    later = await scene.admin.do("GET", "/command-log", since_ts=str(scene.now + 1))
    assert (later["commands"], later["total"]) == ([], 0)
    export = await scene.admin.do("GET", "/command-log/export", until_ts=str(scene.now + 1))
    assert export["ok"] is True
    assert [one["endpoint"] for one in export["commands"]][:2] == ["POST /commands/suspend", "PUT /instance"]
    assert export["commands"][0].keys() == {"endpoint", "tenant_id", "payload", "command_ts"}
    assert CANARY not in str((log, export))


def holds(directory: Path, word: str) -> bool:
    """Whether a database in it does, in clear."""
    return any(word.encode() in file.read_bytes() for file in directory.glob("relay.db*") if file.is_file())


@pytest.mark.parametrize("scene", ["sqlite"], indirect=True)  # whose file can be looked into
async def test_secrets_are_ciphertext_in_the_store(scene: Scene, tmp_path: Path) -> None:
    auth = {"client_base_url": "https://a.example", "client_auth": {"method": "bearer", "token": CANARY}}
    await scene.shop.do("PUT", "/tenant/shop", auth)
    await scene.admin.do("PUT", "/instance/bounce", {"imap_password": CANARY})
    await scene.admin.do("POST", "/account", {**ACCOUNT, "user": "u", "password": CANARY})
    assert holds(tmp_path, "a.example")  # so it would be found
    assert not holds(tmp_path, CANARY)
    for path in ("/tenant/shop", "/tenants", "/instance", "/instance/bounce", "/accounts?tenant_id=shop"):
        assert CANARY not in str(await scene.admin.ask("GET", path))
