"""Messages of genro-mail-proxy that are not accepted: why, and that whoever asks what became of them finds them."""

from __future__ import annotations

from typing import Any

from tests.sidecar_api.genro.conftest import Scene
from tests.sidecar_api.genro.mail import MAIL, mail

REASONS: list[tuple[dict[str, Any], str]] = [
    ({"id": None}, "missing id"),
    ({"id": "  "}, "missing id"),
    ({"account_id": None}, "missing account_id"),
    ({"account_id": "", "from": ""}, "missing account_id"),
    ({"from": " "}, "missing from"),
    ({"to": [], "subject": ""}, "missing to"),
    ({"to": ["", " "]}, "missing to"),
    ({"subject": ""}, "missing subject"),
    ({"subject": None, "account_id": "nowhere"}, "missing subject"),
    ({"account_id": "nowhere"}, "account not found for tenant"),
    ({"to": "nobody"}, "to: address has no @"),
    ({"from": "Shop shop@shop.example"}, "from: local-part is not a dot-atom"),
    ({"html_body": "<p>"}, "html_body: there is no such field"),
    ({"priority": "urgent"}, "priority: must be 0 to 3, or immediate, high, medium or low"),
    ({"batch_code": "with blanks"}, "batch_code: must be 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-'"),
    ({"headers": {"Bcc": "x@x.example"}}, "headers/Bcc: this header field cannot be set here"),
    ({"deferred_ts": "soon"}, "deferred_ts"),
    ({"message_id": "a b@c"}, "message_id: is not a Message-ID"),
    ({"attachments": [{"filename": "a", "storage_path": "base64:###"}]}, "attachments/0/content: is not base64"),
    ({"attachments": [{"filename": "a", "storage_path": "base64:"}]}, "attachments/0: is empty"),
    (
        {"attachments": [{"filename": "a", "storage_path": "https://a.example/b"}]},
        "attachments/0: fetch_mode http_url is not supported: send the file itself, as base64",
    ),
    (
        {"attachments": [{"filename": "a", "storage_path": "/etc/passwd"}]},
        "attachments/0: fetch_mode filesystem is not supported",
    ),
    (
        {"attachments": [{"filename": "a", "storage_path": "doc/7"}]},
        "attachments/0: fetch_mode endpoint is not supported",
    ),
]
"""What is changed of a good message, and how its reason begins."""


async def test_why_a_message_is_refused(scene: Scene) -> None:
    for number, (change, reason) in enumerate(REASONS):
        changed = {**MAIL, "id": f"m{number}", **change}
        given = {name: value for name, value in changed.items() if value is not None}
        answer = await scene.shop.add(mail(f"good{number}"), given)
        assert (answer["ok"], answer["queued"]) == (True, 1), reason
        [rejected] = answer["rejected"]
        shown = given.get("id")
        assert rejected["id"] == (shown if shown and shown.strip() else None)
        assert rejected["reason"].startswith(reason), rejected
        status, alone = await scene.shop.ask("POST", "/commands/add-messages", {"messages": [given]})
        assert (status, alone) == (400, {"detail": {"error": "no message was accepted", "rejected": [rejected]}})


async def test_what_is_no_message_and_what_is_no_request(scene: Scene) -> None:
    status, answer = await scene.shop.ask("POST", "/commands/add-messages", {"messages": ["text"]})
    assert (status, answer["detail"]["rejected"]) == (400, [{"id": None, "reason": "invalid payload"}])
    assert await scene.shop.add() == {"ok": True, "queued": 0, "rejected": []}
    too_many = [mail(str(number)) for number in range(1001)]
    status, answer = await scene.shop.ask("POST", "/commands/add-messages", {"messages": too_many})
    assert (status, answer["detail"]["rejected"]) == (400, [])
    assert "no more than 1000" in answer["detail"]["error"]
    status, answer = await scene.shop.ask("POST", "/commands/add-messages", {"message": []})
    assert status == 422
    assert answer == {
        "detail": [
            {"type": "missing", "loc": ["body", "messages"], "msg": "is required"},
            {"type": "extra_forbidden", "loc": ["body", "message"], "msg": "there is no such field"},
        ]
    }


async def test_a_refused_message_is_reported_and_may_come_again(scene: Scene) -> None:
    answer = await scene.shop.add(mail("bad", subject=" "), mail("worse", to=""), mail("good"))
    assert answer["rejected"] == [
        {"id": "bad", "reason": "missing subject"},
        {"id": "worse", "reason": "missing to"},
    ]
    await scene.ended("sent")
    found = await scene.shop.messages(include_history="true")
    assert set(found) == {"bad", "worse", "good"}
    for key, reason, to in (("bad", "missing subject", ["ann@a.example"]), ("worse", "missing to", [])):
        record = found[key]
        assert (record["status"], record["error"]) == ("error", reason)
        assert (record["error_ts"], record["sent_ts"], record["deferred_ts"]) == (scene.now, None, None)
        assert (record["account_id"], record["message"]["to"]) == ("out", to)
        [event] = record["history"]
        assert (event["event_type"], event["description"]) == ("error", reason)
    events = await scene.whole.admin.request("GET", "/v1/events", query={"tenant": "shop", "kind": "failed"})
    assert {(one["message"], one["facts"]["client_id"]) for one in events["items"]} == {
        (found["bad"]["pk"], "bad"),
        (found["worse"]["pk"], "worse"),
    }
    assert await scene.shop.add(mail("bad")) == {"ok": True, "queued": 1, "rejected": []}
    await scene.ended("sent", 2)
    again = (await scene.shop.messages())["bad"]
    assert (again["status"], again["error"]) == ("sent", None)
    assert await scene.whole.core.store.queue.open_deliveries() == 0


async def test_what_is_written_down_of_it_holds_no_word_of_its_own(scene: Scene) -> None:
    said = {"canary": 1, "headers": {"Canary": "x\r\ny"}, "attachments": [{"canary": 1}]}
    for name, value in said.items():
        await scene.shop.ask("POST", "/commands/add-messages", {"messages": [mail(name, **{name: value})]})
    found = await scene.shop.messages()
    assert {key: one["error"].partition(":")[0] for key, one in found.items()} == {
        "canary": "message",
        "headers": "headers",
        "attachments": "attachments",
    }
    assert "canary" not in str([one["error"] for one in found.values()]).lower()
