"""Messages of genro-mail-proxy: handed in, refused, corrected, listed, taken back, cleaned up."""

from __future__ import annotations

from base64 import b64encode
from email import message_from_bytes, policy

import pytest

from relay.clock import DAY, HOUR
from tests.sidecar_api.genro.conftest import Scene
from tests.sidecar_api.genro.mail import MAIL, mail

FILE = b"%PDF-1.7 \x00\xff"


async def test_from_hand_in_to_the_record_of_what_was_sent(scene: Scene) -> None:
    full = mail(
        "m1",
        tenant_id="shop",
        to="Ann <ann@a.example>, bob@b.example",
        cc=["cc@c.example"],
        bcc="hidden@d.example",
        reply_to="answers@shop.example",
        return_path="bounces@shop.example",
        subject="Grüße",
        body="<p>Good day.</p>",
        content_type="html",
        headers={"X-Order": "4711", "X-None": None},
        message_id="order-4711@shop.example",
        priority="HIGH",
        attachments=[
            {"filename": "bill__{MD5:0123456789abcdef0123456789abcdef}.pdf", "storage_path": f"base64:{_b64(FILE)}"},
            {
                "filename": "a.bin",
                "storage_path": _b64(FILE).rstrip("="),
                "fetch_mode": "base64",
                "mime_type": "image/x-own",
            },
        ],
    )
    assert await scene.shop.add(full) == {"ok": True, "queued": 1, "rejected": []}
    [received] = await scene.server.wait_for(1)
    await scene.ended("sent", 4)
    assert received.sender == "bounces@shop.example"
    assert set(received.recipients) == {"ann@a.example", "bob@b.example", "cc@c.example", "hidden@d.example"}
    sent = message_from_bytes(received.content, policy=policy.default)
    assert sent["From"] == "Shop <shop@shop.example>"
    assert sent["To"] == "Ann <ann@a.example>, bob@b.example"
    assert (sent["Cc"], sent["Bcc"], sent["Reply-To"]) == ("cc@c.example", None, "answers@shop.example")
    assert (sent["Subject"], sent["Message-ID"]) == ("Grüße", "<order-4711@shop.example>")
    assert (sent["X-Order"], sent["X-None"]) == ("4711", None)
    body = sent.get_body()
    assert body is not None
    assert (body.get_content_type(), body.get_content().strip()) == ("text/html", "<p>Good day.</p>")
    parts = [(one.get_filename(), one.get_content_type(), one.get_content()) for one in sent.iter_attachments()]
    assert parts == [("bill.pdf", "application/pdf", FILE), ("a.bin", "image/x-own", FILE)]

    listing = await scene.shop.do("GET", "/messages")
    assert listing.keys() == {"ok", "messages"}
    assert listing["ok"] is True
    [record] = listing["messages"]
    pk = record.pop("pk")
    assert sent["X-Stagepost-ID"] == pk
    assert record == {
        "id": "m1",
        "tenant_id": "shop",
        "tenant_name": "Shop",
        "account_id": "out",
        "status": "sent",
        "priority": 1,
        "batch_code": None,
        "deferred_ts": None,
        "sent_ts": scene.now,
        "error_ts": None,
        "error": None,
        "reported_ts": None,
        "bounce_type": None,
        "bounce_code": None,
        "bounce_reason": None,
        "bounce_ts": None,
        "created_at": scene.time,
        "updated_at": scene.time,
        "is_pec": False,
        "message": {
            "id": "m1",
            "tenant_id": "shop",
            "account_id": "out",
            "from": "bounces@shop.example",
            "to": ["ann@a.example", "bob@b.example", "cc@c.example", "hidden@d.example"],
            "message_id": "<order-4711@shop.example>",
            "priority": 1,
            "batch_code": None,
            "deferred_ts": None,
        },
    }


def _b64(octets: bytes) -> str:
    return b64encode(octets).decode()


async def test_sent_ts_is_only_on_what_was_sent(scene: Scene) -> None:
    scene.server.to("no@a.example", "550 5.1.1 no such mailbox")
    scene.server.to("later@a.example", "450 4.2.0 busy")
    await scene.shop.add(
        mail("sent"),
        mail("refused", to="no@a.example"),
        mail("partly", to=["ann@a.example", "no@a.example"]),
        mail("retried", to="later@a.example"),
        mail("scheduled", deferred_ts=scene.now + 3600),
    )
    await scene.ended("sent", 2)
    await scene.ended("failed", 2)
    await scene.ended("deferred")
    found = await scene.shop.messages()
    seen = {
        key: (one["status"], one["sent_ts"], one["error_ts"], one["error"], one["deferred_ts"])
        for key, one in found.items()
    }
    no = "no@a.example: 550 5.1.1 no such mailbox"
    due = seen["retried"][4]
    assert seen == {
        "sent": ("sent", scene.now, None, None, None),
        "refused": ("error", None, scene.now, no, None),
        "partly": ("error", scene.now, scene.now, no, None),
        "retried": ("deferred", None, None, None, due),
        "scheduled": ("deferred", None, None, None, scene.now + 3600),
    }
    assert scene.now < due < scene.now + 90
    active = await scene.shop.messages(active_only="1")
    assert set(active) == {"retried", "scheduled"}
    history = (await scene.shop.messages(include_history="true"))["refused"]["history"]
    assert [(one["event_type"], one["event_ts"]) for one in history] == [("queued", scene.now), ("error", scene.now)]
    assert history[1].keys() == {"event_id", "event_type", "event_ts", "description", "metadata", "reported_ts"}
    assert history[1]["description"] == "550 5.1.1 no such mailbox"
    assert history[1]["metadata"]["recipient"] == "no@a.example"


async def test_what_was_sent_is_refused_and_that_is_no_fault(scene: Scene) -> None:
    scene.server.to("later@a.example", "450 4.2.0 busy")
    await scene.shop.add(mail("done"), mail("trying", to="later@a.example"))
    await scene.ended("sent")
    await scene.ended("deferred")
    assert await scene.shop.add(mail("done"), mail("trying")) == {
        "ok": True,
        "queued": 0,
        "rejected": [{"id": "done", "reason": "already sent"}, {"id": "trying", "reason": "already tried"}],
    }
    assert len(scene.server.messages) == 1


async def test_the_default_account_and_the_default_priority(scene: Scene) -> None:
    await scene.whole.core.store.directory.set_default_account("shop", "out")
    await scene.shop.do("POST", "/commands/suspend")
    without = {name: value for name, value in MAIL.items() if name not in {"account_id", "from"}}
    await scene.shop.add(
        {**without, "id": "a", "from_addr": "shop@shop.example"}, mail("b", priority=-1), mail("c", priority="9"),
        default_priority="high",
    )  # fmt: skip
    found = await scene.shop.messages()
    assert {key: (one["account_id"], one["priority"]) for key, one in found.items()} == {
        "a": ("out", 1),
        "b": ("out", 0),
        "c": ("out", 3),
    }


async def test_one_id_twice_in_a_request_is_one_message(scene: Scene) -> None:
    await scene.shop.do("POST", "/commands/suspend")
    answer = await scene.shop.add(mail("m", subject="first"), mail("m", subject="second"))
    assert answer == {"ok": True, "queued": 2, "rejected": []}
    [record] = (await scene.shop.do("GET", "/messages"))["messages"]
    content = await scene.whole.admin.request("GET", f"/v1/messages/{record['pk']}/content", query={"tenant": "shop"})
    assert b"Subject: second\r\n" in content


async def test_deletion_takes_back_what_waits(scene: Scene) -> None:
    await scene.shop.add(mail("gone"), mail("waits", deferred_ts=scene.now + 60))
    await scene.ended("sent")
    pk = (await scene.shop.messages())["gone"]["pk"]
    answer = await scene.shop.do("POST", "/commands/delete-messages", {"ids": ["waits", pk, "nobody", "waits"]})
    assert answer == {"ok": True, "removed": 2, "not_found": [], "unauthorized": ["nobody"], "under_way": []}
    assert await scene.shop.messages() == {}
    scene.clock.advance(HOUR)
    assert len(scene.server.messages) == 1


async def test_what_is_being_sent_cannot_be_deleted(scene: Scene) -> None:
    core = scene.whole.core
    core.dispatcher.set_active(False)
    await scene.shop.add(mail("m"))
    [claimed] = (await core.store.queue.claim("shop/out/shop", 1)).deliveries
    answer = await scene.shop.do("POST", "/commands/delete-messages", {"ids": ["m"]})
    assert (answer["removed"], answer["under_way"]) == (0, ["m"])
    await core.store.queue.release([claimed])
    answer = await scene.shop.do("POST", "/commands/delete-messages", {"ids": ["m"]})
    assert (answer["removed"], answer["under_way"]) == (1, [])


@pytest.mark.parametrize("scene", ["sqlite"], indirect=True)  # the other keeps a clock of its own
async def test_cleanup_goes_by_the_end_of_a_message(scene: Scene) -> None:
    scene.server.to("later@a.example", "450 4.2.0 busy", "250 2.1.5 ok")
    await scene.shop.add(
        mail("old"), mail("slow", to="later@a.example"), mail("open", deferred_ts=scene.now + 9 * 86400)
    )
    await scene.ended("sent")
    await scene.ended("deferred")
    scene.clock.advance(DAY)
    await scene.ended("sent", 2)
    scene.clock.advance(6 * DAY)
    cleanup = ("POST", "/commands/cleanup-messages")
    assert await scene.shop.do(*cleanup, {}) == {"ok": True, "removed": 1}
    assert set(await scene.shop.messages()) == {"slow", "open"}
    assert await scene.shop.do(*cleanup, {"older_than_seconds": 7 * 86400}) == {"ok": True, "removed": 0}
    assert await scene.shop.do(*cleanup, {"older_than_seconds": -5}) == {"ok": True, "removed": 1}
    assert set(await scene.shop.messages()) == {"open"}


async def test_more_than_a_page_is_listed_whole(scene: Scene) -> None:
    await scene.shop.do("POST", "/commands/suspend")
    await scene.shop.add(*(mail(f"m{number}") for number in range(230)))
    records = (await scene.shop.do("GET", "/messages"))["messages"]
    assert [one["pk"] for one in records] == sorted((one["pk"] for one in records), reverse=True)
    assert {one["id"] for one in records} == {f"m{number}" for number in range(230)}
    removed = await scene.shop.do("POST", "/commands/delete-messages", {"ids": [one["id"] for one in records]})
    assert removed["removed"] == 230
