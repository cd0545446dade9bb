"""Tables and facts, as a program and as a person sees them."""

from __future__ import annotations

from typing import Any

import pytest

from relay.cli import output


def test_rows_in_a_pipe_are_aligned_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, Any]] = [
        {"id": "a", "reply": {"code": 250, "text": "ok"}, "to": ["x@example.com", "y@example.com"], "on": True},
        {"id": "longer", "reply": None, "to": [], "on": False},
    ]
    output.show_rows(rows, {"Id": "id", "To": "to", "Code": "reply.code", "On": "on"})
    assert capsys.readouterr().out.splitlines() == [
        "ID      TO                            CODE  ON",
        "a       x@example.com, y@example.com  250   yes",
        "longer  -                             -     no",
    ]


def test_no_rows_are_a_header(capsys: pytest.CaptureFixture[str]) -> None:
    output.show_rows([], {"Id": "id", "To": "to"})
    assert capsys.readouterr().out == "ID  TO\n"


def test_rows_on_a_terminal_are_a_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    output.show_rows([{"id": "[bold]a[/bold]", "state": "sent"}], {"Id": "id", "State": "state"})
    shown = capsys.readouterr().out
    assert shown.splitlines()[0].split() == ["Id", "State"]
    assert "[bold]a[/bold]" in shown, "what came by mail is no markup"


def test_facts(capsys: pytest.CaptureFixture[str]) -> None:
    output.show_facts({"id": "main", "limits": {"per_day": 5, "per_hour": None}, "tags": ["a", "b"], "metadata": {}})
    assert capsys.readouterr().out.splitlines() == [
        "id               main",
        "limits.per_day   5",
        "limits.per_hour  -",
        "tags             a, b",
        "metadata         -",
    ]


@pytest.mark.parametrize("text", ["\x1b]0;owned\x07", "a\nb", "\x9b31m", "a\u202eb", "\x00"])
def test_a_terminal_is_not_obeyed(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    output.show_facts({"text": text})
    output.show_rows([{"text": text}], {"Text": "text"})
    shown = capsys.readouterr().out
    assert all(character == "\n" or character.isprintable() for character in shown)
    assert shown.count("\n") == 3


def test_what_is_nested_is_named_with_dots_and_things_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    doors = [{"kind": "smtp", "tls": "none"}, {"kind": "api", "tls": "implicit"}]
    output.show_facts({"doors": doors})
    output.show_rows([{"body": {"dispatch": {"active": True}, "name": "x"}}], {"Body": "body"})
    assert capsys.readouterr().out.splitlines() == [
        "doors  kind=smtp, tls=none; kind=api, tls=implicit",
        "BODY",
        "dispatch.active=yes, name=x",
    ]
