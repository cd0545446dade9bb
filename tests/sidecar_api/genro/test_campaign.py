"""A campaign as the documents of genro-mail-proxy tell it: stopped, corrected by handing in again, let go."""

from __future__ import annotations

from tests.sidecar_api.genro.conftest import Scene
from tests.sidecar_api.genro.mail import mail


def spring(key: str, **more: object) -> dict[str, object]:
    return mail(key, batch_code="spring", **more)


async def test_suspend_correct_activate(scene: Scene) -> None:
    suspend, activate = ("POST", "/commands/suspend"), ("POST", "/commands/activate")
    assert await scene.shop.do(*suspend, batch_code="spring") == {
        "ok": True,
        "tenant_id": "shop",
        "batch_code": "spring",
        "suspended_batches": ["spring"],
        "pending_messages": 0,
    }
    await scene.shop.add(spring("a", subject="Wrong"), spring("b", subject="Wrong"), mail("other"))
    await scene.ended("sent")
    found = await scene.shop.messages()
    assert {key: (one["status"], one["batch_code"]) for key, one in found.items()} == {
        "a": ("pending", "spring"),
        "b": ("pending", "spring"),
        "other": ("sent", None),
    }
    assert (await scene.shop.do(*suspend, batch_code="spring"))["pending_messages"] == 2

    corrected = spring("a", subject="Right", to="new@a.example", priority="low", deferred_ts=scene.now)
    assert await scene.shop.add(corrected) == {"ok": True, "queued": 1, "rejected": []}
    answer = await scene.shop.add(spring("b", subject=""), mail("third"))
    assert answer == {"ok": True, "queued": 1, "rejected": [{"id": "b", "reason": "missing subject"}]}
    found = await scene.shop.messages()
    assert (found["a"]["priority"], found["a"]["message"]["to"]) == (3, ["new@a.example"])
    assert (found["b"]["status"], found["b"]["error"]) == ("pending", None)  # as it was before
    assert len((await scene.shop.do("GET", "/messages"))["messages"]) == 4

    assert await scene.shop.do(*activate, batch_code="spring") == {
        "ok": True,
        "tenant_id": "shop",
        "batch_code": "spring",
        "suspended_batches": [],
        "pending_messages": 2,
    }
    assert await scene.shop.do("POST", "/commands/run-now") == {"ok": True}
    await scene.ended("sent", 4)
    subjects = sorted(one.content.partition(b"Subject: ")[2].partition(b"\r\n")[0] for one in scene.server.messages)
    assert subjects == [b"Hello", b"Hello", b"Right", b"Wrong"]
    assert (await scene.shop.add(spring("a")))["rejected"] == [{"id": "a", "reason": "already sent"}]


async def test_all_of_a_tenant_stands_still(scene: Scene) -> None:
    suspend, activate = ("POST", "/commands/suspend"), ("POST", "/commands/activate")
    await scene.shop.do(*suspend, batch_code="spring")
    await scene.shop.do(*suspend, batch_code="autumn")
    assert (await scene.shop.do(*suspend, batch_code="spring"))["suspended_batches"] == ["autumn", "spring"]
    everything = await scene.shop.do(*suspend)
    assert (everything["batch_code"], everything["suspended_batches"]) == (None, ["*"])
    assert (await scene.admin.do("GET", "/tenant/shop"))["suspended_batches"] == "*"
    await scene.shop.add(mail("plain"), spring("a"))
    assert (await scene.shop.do(*suspend, batch_code="spring"))["pending_messages"] == 1
    assert (await scene.shop.do(*suspend))["pending_messages"] == 2
    status, refused = await scene.shop.ask(*activate, query={"batch_code": "spring"})
    assert status == 400
    assert "activate them all first" in refused["detail"]
    released = await scene.admin.do(*activate, tenant_id="shop")
    assert (released["suspended_batches"], released["batch_code"]) == ([], None)
    await scene.ended("sent", 2)
    assert (await scene.admin.do("GET", "/tenant/shop"))["suspended_batches"] is None


async def test_names_of_batches_are_names_and_no_patterns(scene: Scene) -> None:
    await scene.shop.do("POST", "/commands/suspend", batch_code="newsXletter")
    await scene.shop.add(mail("a", batch_code="news_letter"), mail("b", batch_code="NEWSXLETTER"))
    await scene.ended("sent", 2)


async def test_who_is_unknown(scene: Scene) -> None:
    status, answer = await scene.admin.ask("POST", "/commands/suspend", query={"tenant_id": "nobody"})
    assert (status, answer) == (400, {"detail": "no such tenant: nobody"})
    status, answer = await scene.admin.ask("POST", "/commands/activate")
    assert (status, answer["detail"][0]["loc"]) == (422, ["query", "tenant_id"])
