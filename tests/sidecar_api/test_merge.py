"""Merge fields: one template, a message for each recipient."""

from __future__ import annotations

import email
import email.policy
from typing import Any

import pytest

from tests.sidecar_api.conftest import Door

TEMPLATE: dict[str, Any] = {
    "from": "Acme <news@a.example>",
    "subject": "Hello {{name}}",
    "text": "Dear {{ name }}, no. {{n}}: {{code}}\n",
    "html": "<p>Dear {{name}}, <a href='?c={{code}}'>{{n}}</a></p>",
    "tags": ["spring"],
}


async def hand_in(door: Door, *recipients: Any, **template: Any) -> Any:
    body = {"template": {**TEMPLATE, **template}, "recipients": list(recipients), "defaults": {"batch": "spring"}}
    return await door.ask("POST", "/v1/messages/batch", json=body)


async def test_each_recipient_gets_a_message_of_his_own(door: Door) -> None:
    ann = {"to": "Ann <ann@b.example>", "fields": {"name": "Ann", "n": 1, "code": "A&<B>'\""}, "client_id": "c-1"}
    bob = {"to": "bob@c.example", "fields": {"name": "{{n}}", "n": 2, "code": "x", "more": "unused"}, "tags": ["own"]}
    answer = await hand_in(door, ann, bob)
    assert (answer.status, answer.json["accepted"]) == (202, 2)
    first, second = (email.message_from_bytes(door.intake.content(at), policy=email.policy.default) for at in (0, 1))
    assert (first["subject"], first["to"]) == ("Hello Ann", "Ann <ann@b.example>")
    text, html = (part.get_content() for part in first.iter_parts())
    assert text == "Dear Ann, no. 1: A&<B>'\"\r\n"
    assert "?c=A&amp;&lt;B&gt;&#x27;&quot;'>1</a>" in html
    assert second["subject"] == "Hello {{n}}"  # what a field says is not read again
    one, two = door.intake.submissions
    assert [one.envelope.recipients, two.envelope.recipients] == [("ann@b.example",), ("bob@c.example",)]
    assert (one.controls.client_id, one.controls.tags, two.controls.tags) == ("c-1", ("spring",), ("own",))
    assert {one.controls.batch, two.controls.batch} == {"spring"}
    assert one.envelope.sender == "news@a.example"


async def test_a_missing_field_is_that_recipient_s_fault(door: Door) -> None:
    answer = await hand_in(
        door,
        {"to": "a@b.example", "fields": {"name": "Ann"}},
        {"to": "a@b.example", "fields": {"name": "A\r\nBcc: x@y.example", "n": 1, "code": ""}},
        {"to": "nobody", "fields": {"name": 1.5}},
        {"to": "a@b.example", "fields": {"name": "Ann", "n": 1, "code": ""}},
    )
    assert answer.status == 207
    items = answer.json["items"]
    assert [item["status"] for item in items] == [422, 422, 422, 202]
    found = [{one["path"] for one in item["problem"]["violations"]} for item in items[:3]]
    assert found[0] == {"/fields/n", "/fields/code"}
    assert found[1] == {"/fields"}
    assert "/to" in found[2]
    assert len(door.intake.submissions) == 1


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (
            {"template": {**TEMPLATE, "text": "{{ first name }}"}, "recipients": [{"to": "a@b.example"}]},
            "/template/text",
        ),
        ({"template": {**TEMPLATE, "html": "{{"}, "recipients": [{"to": "a@b.example"}]}, "/template/html"),
        ({"template": {**TEMPLATE, "subject": "{{{x}}"}, "recipients": [{"to": "a@b.example"}]}, "/template/subject"),
        ({"template": {**TEMPLATE, "to": "a@b.example"}, "recipients": [{"to": "a@b.example"}]}, "/template/to"),
        ({"template": TEMPLATE, "recipients": []}, "/recipients"),
        ({"template": TEMPLATE}, ""),
        ({"recipients": [{"to": "a@b.example"}]}, ""),
        ({"template": TEMPLATE, "recipients": [{"to": "a@b.example"}], "messages": [{}]}, ""),
        ({}, ""),
    ],
)
async def test_what_is_no_template_is_refused_as_a_whole(door: Door, body: Any, path: str) -> None:
    answer = await door.ask("POST", "/v1/messages/batch", json=body)
    assert answer.status == 422
    assert path in answer.paths
    assert door.intake.submissions == []
