"""Every command for real, through the API of a running relay and through one composed on the spot."""

from __future__ import annotations

import base64
import csv
import io
import json
import smtplib
from pathlib import Path
from zlib import crc32

import pytest

from relay.cli.exits import Exit
from tests.cli.conftest import Instance

MESSAGE = b"From: Ann <ann@example.com>\nTo: bob@example.com\nSubject: Caf\xc3\xa9\n\nIt works.\n"


@pytest.fixture
def tenant(instance: Instance, request: pytest.FixtureRequest) -> str:
    """A tenant of this test's own."""
    name = f"t{crc32(request.node.nodeid.encode())}"
    instance.json("tenants", "add", name)
    return name


def test_tenants(instance: Instance) -> None:
    made = instance.json("tenants", "add", "acme", "--name", "Acme Ltd")
    assert made.keys() == {"id", "token"}
    assert made["id"] == "acme"
    assert instance.json("tenants", "show", "acme")["name"] == "Acme Ltd"
    assert [one["id"] for one in instance.json("tenants", "list")["items"]] == ["acme", "default"]
    plain = instance.run("tenants", "list").out.splitlines()
    assert plain[0].split() == ["TENANT", "NAME", "DEFAULT", "ACCOUNT", "SUSPENDED", "CREATED"]
    assert plain[1].startswith("acme     Acme Ltd  -")

    twice = instance.run("tenants", "add", "acme")
    assert twice.code == Exit.FAILED
    assert twice.err.startswith("stagepost: ")
    assert "acme" in twice.err

    assert instance.run("tenants", "delete", "acme", "--yes").code == 0
    gone = instance.run("tenants", "show", "acme")
    assert (gone.code, gone.err.count("\n")) == (Exit.FAILED, 1)


def test_wrong_input_is_65_and_names_the_field(instance: Instance) -> None:
    for arguments, named in (
        (["tenants", "add", "no spaces"], "/id"),
        (["tokens", "add", "ci", "--tenant", "default", "--scope", "everything"], "/scopes"),
        (["accounts", "add", "x", "--tenant", "default", "--host", "not a host"], "/host"),
        (["credentials", "add", "x", "--tenant", "default", "--cidr", "10.0.0.0/99"], "/networks"),
        (["messages", "list", "--state", "lost"], "state"),
    ):
        done = instance.run(*arguments)
        assert done.code == Exit.DATA, (arguments, done.err)
        assert named in done.err
        assert (done.err.count("\n"), done.out) == (1, "")


def test_accounts(instance: Instance, tenant: str) -> None:
    made = instance.json(
        *("accounts", "add", "main", "--tenant", tenant, "--host", "smtp.example.com", "--tls", "implicit"),
        *(
            "--user",
            "me@example.com",
            "--password-stdin",
            "--default",
            "--limit-per-hour",
            "100",
            "--max-connections",
            "3",
        ),
        *("--on-unknown", "hold", "--retry-schedule", "30s, 5m", "--retry-jitter", "20%", "--max-attempts", "4"),
        stdin="hunter2\n",
    )
    assert made["port"] == 465
    limits = {"per_minute": None, "per_hour": 100, "per_day": None, "unit": "messages", "on_limit": "defer"}
    assert made["limits"] == limits
    assert made["on_unknown"] == "hold"
    assert made["retry"] == {"schedule": ["30s", "5m"], "jitter": 0.2, "max_age": None, "max_attempts": 4}
    assert (made["has_password"], made["max_connections"]) == (True, 3)
    assert instance.json("tenants", "show", tenant)["default_account"] == "main"
    shown = instance.run("accounts", "show", "main")
    assert "limits.per_hour              100\n" in shown.out, "the only account of that id needs no --tenant"
    assert "hunter2" not in shown.out
    assert [one["id"] for one in instance.json("accounts", "list", "--tenant", tenant)["items"]] == ["main"]

    empty = instance.run(
        "accounts", "add", "b", "--tenant", tenant, "--host", "h.example.com", "--user", "u", "--password-stdin"
    )
    assert (empty.code, empty.err) == (Exit.DATA, "stagepost: the password: standard input is empty\n")

    assert instance.json("accounts", "add", "main", "--shared", "--kind", "capture")["tenant"] == "*"
    which = instance.run("accounts", "show", "main")
    assert which.code == Exit.USAGE
    assert "say --tenant TENANT or --shared" in which.err
    assert instance.json("accounts", "show", "main", "--shared")["kind"] == "capture"
    assert instance.run("accounts", "delete", "main", "--shared").code == 0
    assert instance.run("accounts", "delete", "main").code == 0
    none = instance.run("accounts", "delete", "main")
    assert (none.code, "there is no account main" in none.err) == (Exit.FAILED, True)


def test_an_account_that_cannot_be_reached_fails_its_test(instance: Instance, tenant: str) -> None:
    arguments = ("--tenant", tenant, "--host", "127.0.0.1", "--port", "1", "--tls", "none")
    assert instance.run("accounts", "add", "nowhere", *arguments).code == 0
    done = instance.run("accounts", "test", "nowhere")
    assert done.code == Exit.FAILED
    assert done.out.splitlines()[0].split() == ["ok", "no"]
    assert "phase   connect" in done.out


def test_credentials(instance: Instance, tenant: str) -> None:
    made = instance.json(
        "credentials", "add", f"erp@{tenant}", "--tenant", tenant, "--allowed-sender", "@example.com", "--tag", "erp"
    )
    assert made.keys() == {"username", "secret"}
    assert len(made["secret"]) >= 22
    chosen = instance.json("credentials", "add", f"fax.{tenant}", "--tenant", tenant, "--secret-stdin", stdin="pa ss\n")
    assert chosen["secret"] is None
    instance.json(
        "credentials", "add", f"lan.{tenant}", "--tenant", tenant, "--cidr", "192.0.2.0/24", "--cidr", "2001:db8::/32"
    )
    listed = {one["username"]: one for one in instance.json("credentials", "list", "--tenant", tenant)["items"]}
    assert listed[f"erp@{tenant}"]["allowed_senders"] == ["@example.com"]
    assert listed[f"lan.{tenant}"]["networks"] == ["192.0.2.0/24", "2001:db8::/32"]
    assert made["secret"] not in instance.run("credentials", "list").out
    assert instance.run("credentials", "delete", f"erp@{tenant}").code == 0
    assert instance.run("credentials", "delete", f"erp@{tenant}").code == Exit.FAILED


def test_tokens(instance: Instance, tenant: str) -> None:
    made = instance.json(
        "tokens", "add", "ci", "--tenant", tenant, "--scope", "send", "--scope", "read", "--expires-at", "+30d"
    )
    assert made.keys() == {"id", "token"}
    listed = {one["id"]: one for one in instance.json("tokens", "list", "--tenant", tenant)["items"]}
    assert listed[made["id"]]["scopes"] == ["read", "send"]
    assert listed[made["id"]]["expires_at"]
    assert made["token"] not in instance.run("tokens", "list").out
    assert instance.run("tokens", "revoke", made["id"]).code == 0
    assert instance.run("tokens", "revoke", made["id"]).code == Exit.FAILED
    assert instance.json("tokens", "add", "boss", "--admin")["token"]


def test_send_and_look(instance: Instance, tenant: str, tmp_path: Path) -> None:
    instance.json("accounts", "add", "keep", "--tenant", tenant, "--kind", "capture", "--default")
    file = tmp_path / "mail.eml"
    file.write_bytes(MESSAGE)
    arguments = (
        "--tenant",
        tenant,
        "--client-id",
        "order 1",
        "--priority",
        "high",
        "--tag",
        "a",
        "--tag",
        "b",
        "--metadata",
        '{"n": 1}',
    )
    sent = instance.json("send", str(file), *arguments, "--send-at", "+1h", "--idempotency-key", "once")
    assert sent["client_id"] == "order 1"
    assert [one["address"] for one in sent["recipients"]] == ["bob@example.com"]
    again = instance.json("send", str(file), *arguments, "--send-at", "+1h", "--idempotency-key", "once")
    assert again["id"] == sent["id"]

    shown = instance.json("messages", "show", sent["id"])
    assert (shown["state"], shown["priority"], shown["tags"], shown["metadata"]) == (
        "open",
        "high",
        ["a", "b"],
        {"n": 1},
    )
    assert (shown["tenant"], shown["account"], shown["sender"]) == (tenant, "keep", "ann@example.com")
    content = instance.run("messages", "content", sent["id"]).raw
    assert b"Subject: Caf\xc3\xa9\r\n" in content
    assert content.endswith(b"\r\n\r\nIt works.\r\n")
    assert [one["kind"] for one in instance.json("messages", "events", sent["id"])["items"]] == ["accepted"]
    assert instance.json("messages", "attempts", sent["id"])["items"] == []
    assert instance.json("queue", "status")["totals"]["ready"] >= 1
    assert f"{tenant}/keep" in instance.run("queue", "status").out

    cancelled = instance.json("messages", "cancel", sent["id"])
    assert cancelled["state"] == "cancelled"
    assert instance.run("messages", "cancel", sent["id"]).code == Exit.FAILED
    plain = instance.run("messages", "show", sent["id"]).out
    assert "state        cancelled\n" in plain
    assert "bob@example.com  cancelled" in plain


def test_send_from_standard_input_with_an_envelope(instance: Instance, tenant: str) -> None:
    instance.json("accounts", "add", "keep", "--tenant", tenant, "--kind", "capture", "--default")
    arguments = ("--tenant", tenant, "--from", "me@example.com", "--to", "a@example.com", "--to", "b@example.com")
    sent = instance.json("send", "-", *arguments, stdin=b"Subject: Hello\n\nIt works.\n")
    assert [one["address"] for one in sent["recipients"]] == ["a@example.com", "b@example.com"]
    refused = instance.run("send", "-", "--tenant", tenant, stdin=b"Subject: Hello\n\nIt works.\n")
    assert refused.code == Exit.DATA
    assert "from" in refused.err
    empty = instance.run("send", "-", stdin=b"\n")
    assert (empty.code, "there is no message in the file" in empty.err) == (Exit.DATA, True)


def test_a_list_is_read_to_its_limit(instance: Instance, tenant: str) -> None:
    instance.json("accounts", "add", "keep", "--tenant", tenant, "--kind", "capture", "--default")
    sent = [instance.json("send", "-", "--tenant", tenant, "--batch", "b", stdin=MESSAGE)["id"] for _ in range(3)]
    page = instance.json("messages", "list", "--tenant", tenant, "--batch", "b", "--limit", "2")
    assert [one["id"] for one in page["items"]] == sent[:0:-1]
    rest = instance.json("messages", "list", "--tenant", tenant, "--batch", "b", "--cursor", page["next_cursor"])
    assert [one["id"] for one in rest["items"]] == sent[:1]
    assert rest["next_cursor"] is None
    plain = instance.run("messages", "list", "--tenant", tenant, "--limit", "2")
    assert len(plain.out.splitlines()) == 3
    assert plain.err == f"More: --cursor {page['next_cursor']}, or --all\n"


def test_a_missing_message(instance: Instance) -> None:
    for verb in ("show", "events", "attempts", "content", "cancel", "retry"):
        done = instance.run("messages", verb, "../../tenants")
        assert (done.code, done.out, done.err.count("\n")) == (Exit.FAILED, "", 1), verb


@pytest.mark.parametrize("instance", ["running"], indirect=True)
def test_a_change_holds_for_the_next_message(instance: Instance, tenant: str) -> None:
    instance.json("accounts", "add", "keep", "--tenant", tenant, "--kind", "capture", "--default")
    secret = instance.json("credentials", "add", f"app.{tenant}", "--tenant", tenant)["secret"]
    with smtplib.SMTP("127.0.0.1", instance.relay.smtp_port, timeout=10) as client:
        client.login(f"app.{tenant}", secret)
        client.sendmail("ann@example.com", ["bob@example.com"], MESSAGE.decode().replace("\n", "\r\n").encode())
    found = instance.json("messages", "list", "--tenant", tenant)["items"]
    assert [one["sender"] for one in found] == ["ann@example.com"]
    assert instance.run("credentials", "delete", f"app.{tenant}").code == 0
    plain = base64.b64encode(f"\0app.{tenant}\0{secret}".encode()).decode()
    with smtplib.SMTP("127.0.0.1", instance.relay.smtp_port, timeout=10) as client:
        client.ehlo()
        assert client.docmd("AUTH PLAIN", plain)[0] == 535


def test_retry(instance: Instance, tenant: str) -> None:
    instance.json("accounts", "add", "keep", "--tenant", tenant, "--kind", "capture", "--default")
    sent = instance.json("send", "-", "--tenant", tenant, "--send-at", "+1h", stdin=MESSAGE)
    due_later = instance.json("messages", "show", sent["id"])["recipients"][0]["next_attempt_at"]
    tried = instance.json("messages", "retry", sent["id"])["recipients"][0]
    assert tried["state"] == "captured" or tried["next_attempt_at"] < due_later


def test_suspension(instance: Instance, tenant: str, tmp_path: Path) -> None:
    of = ("--tenant", tenant)
    instance.json("accounts", "add", "keep", *of, "--kind", "capture", "--default")
    stopped = instance.json("batches", "suspend", "spring", *of)
    assert stopped == {"tenant": tenant, "batch": "spring", "suspended": True, "pending": 0}
    assert instance.json("tenants", "suspend", tenant)["suspended"]
    assert instance.json("batches", "list", *of)["items"] == [
        {"tenant": tenant, "batch": "spring", "suspended": True, "messages": {}}
    ]
    instance.json("tenants", "resume", tenant)
    assert not instance.json("tenants", "show", tenant)["suspended"]
    assert instance.run("batches", "list", *of).out.split()[3:5] == ["spring", "yes"]
    assert not instance.json("batches", "resume", "spring", *of)["suspended"]
    instance.json("batches", "suspend", "spring", *of)
    instance.json("tenants", "resume", tenant, "--all")
    assert not instance.json("batches", "resume", "spring", *of)["suspended"]


def test_acts_on_one_message_and_on_many(instance: Instance, tenant: str, tmp_path: Path) -> None:
    of = ("--tenant", tenant)
    for account in ("keep", "other"):
        instance.json(
            "accounts", "add", account, *of, "--kind", "capture", *(["--default"] if account == "keep" else [])
        )
    mail = tmp_path / "mail.eml"
    mail.write_bytes(MESSAGE)
    ids = [
        instance.json("send", str(mail), *of, "--batch", "spring", "--send-at", "+1h", "--tag", "t")["id"]
        for _ in range(3)
    ]
    dry = instance.json("messages", "hold", *of, "--batch", "spring", "--tag", "t", "--dry-run")
    assert dry == {"matched": 3, "changed": 3, "skipped": {}}
    assert instance.json("messages", "hold", ids[0], *of)["state"] == "held"
    held = instance.json("messages", "hold", *of, "--batch", "spring")
    assert held == {"matched": 3, "changed": 2, "skipped": {"nothing": 1}}
    assert instance.json("messages", "release", ids[0], *of)["state"] == "open"
    rerouted = instance.json("messages", "reroute", ids[0], *of, "--account", "other")
    assert (rerouted["account"], rerouted["concerned"]) == ("other", 1)
    assert instance.json("messages", "list", *of, "--tag", "t", "--not-suspended", "--priority", "medium")["items"]
    assert instance.json("messages", "cancel", *of, "--state", "open", "--state", "held")["changed"] == 3
    assert instance.run("messages", "delete", ids[0], *of).code == 0
    assert instance.run("messages", "show", ids[0], *of).code == Exit.FAILED
    assert instance.json("messages", "delete", *of, "--state", "cancelled", "--yes")["changed"] == 2


def test_csv_is_whole_and_says_where_it_ends(instance: Instance, tenant: str) -> None:
    instance.json("accounts", "add", "keep", "--tenant", tenant, "--kind", "capture", "--default")
    mail = {
        "from": "a@a.example",
        "to": ["b@b.example", "c@c.example"],
        "text": "x",
        "tags": ["x", "y"],
        "send_at": "+1h",
    }
    batch = json.dumps({"messages": [{**mail, "client_id": f'"{number}", so'} for number in range(120)]})
    instance.json("messages", "submit-batch", "-", "--tenant", tenant, stdin=batch)
    done = instance.run("messages", "list", "--tenant", tenant, "--csv", "--all")
    rows = list(csv.DictReader(io.StringIO(done.out, newline="")))
    assert (done.code, done.err, len(rows)) == (0, "", 120)
    assert {row["client_id"] for row in rows} == {f'"{number}", so' for number in range(120)}
    assert (rows[0]["to"], rows[0]["tags"], rows[0]["batch"]) == ("b@b.example c@c.example", "x y", "")
    part = instance.run("messages", "list", "--tenant", tenant, "--csv", "--limit", "110")
    assert (len(part.out.splitlines()), part.err.split()[0]) == (111, "More:")
    rest = instance.run("messages", "list", "--tenant", tenant, "--csv", "--cursor", part.err.split()[2].rstrip(","))
    assert len(rest.out.splitlines()) == 11
    none = instance.run("messages", "list", "--tenant", tenant, "--csv", "--state", "sent")
    assert none.out.splitlines() == [done.out.splitlines()[0]]
    wrong = instance.run("messages", "list", "--tenant", "nobody", "--csv")
    assert (wrong.code, wrong.out) == (Exit.FAILED, "")


def test_suppressions(instance: Instance, tenant: str, tmp_path: Path) -> None:
    of = ("--tenant", tenant)
    made = instance.json("suppressions", "add", "Ann@B.example", *of, "--reason", "unsubscribe", "--until", "+30d")
    assert (made["address"], made["reason"]) == ("ann@b.example", "unsubscribe")
    assert instance.json("suppressions", "show", "ANN@b.example", *of) == made
    assert instance.run("suppressions", "add", "nobody", *of).code == Exit.DATA
    file = tmp_path / "list.csv"
    file.write_text("address,note\n@c.example,all of them\nnobody,\n")
    done = instance.run("suppressions", "import", str(file), *of)
    assert done.code == 0
    assert done.out.splitlines()[0].split() == ["added", "1"]
    assert done.err == "row 3 /address: address has no @\n"
    lines = b'{"address": "bob@b.example"}\n'
    assert instance.json("suppressions", "import", "-", *of, "--format", "jsonl", stdin=lines)["added"] == 1
    listed = instance.json("suppressions", "list", *of, "--reason", "manual")
    assert [one["address"] for one in listed["items"]] == ["@c.example", "bob@b.example"]
    assert (
        instance.run("suppressions", "list", *of, "--prefix", "@").out.splitlines()[1].startswith("@c.example  manual")
    )
    exported = instance.run("suppressions", "export", *of).out.splitlines()
    assert [line.partition(",")[0] for line in exported] == ["address", "@c.example", "ann@b.example", "bob@b.example"]
    assert instance.run("suppressions", "remove", "@c.example", *of, "--yes").code == 0
    assert instance.run("suppressions", "show", "@c.example", *of).code == Exit.FAILED
    changed = instance.json("tenants", "change", tenant, "--suppress-on", "never", "--clear", "suppress_for")
    assert (changed["suppress_on"], changed["suppress_for"]) == ("never", None)


def test_the_instance_and_its_scheduler(instance: Instance) -> None:
    shown = instance.json("instance", "show")
    assert (shown["dispatch"], shown["status"]["store"]) == ({"active": True}, "sqlite")
    runs = shown["status"]["since"] is not None
    assert runs == shown["status"]["dispatching"] == bool(shown["status"]["doors"])
    assert shown["status"]["ill"] == ({} if runs else {"instance": "not started"})
    assert instance.json("instance", "change", "--name", "Shop")["name"] == "Shop"
    stopped = instance.run("dispatch", "stop")
    assert stopped.out.splitlines() == ["name             Shop", "dispatch.active  no"]
    assert not instance.json("instance", "show")["status"]["dispatching"]
    assert instance.json("instance", "change", "--clear", "name") == {"name": None, "dispatch": {"active": False}}
    assert instance.json("dispatch", "start")["dispatch"] == {"active": True}
    assert instance.json("instance", "replace", "--dispatch", "off")["dispatch"] == {"active": False}
    assert instance.json("instance", "replace") == {"name": None, "dispatch": {"active": True}}


def test_events_are_followed(instance: Instance, tenant: str) -> None:
    instance.run("accounts", "add", "keep", "--tenant", tenant, "--kind", "capture", "--default")
    sender = ("--tenant", tenant, "--from", "ann@example.com", "--to", "bob@example.com")
    sent = instance.json("send", "-", *sender, stdin=MESSAGE)
    asked = ("events", "follow", "--after", "0", "--message", sent["id"], "--limit", "1")
    done = instance.run(*asked)
    if instance.json("instance", "show")["status"]["since"] is None:
        assert done.code == Exit.UNAVAILABLE
        assert "no relay runs in" in done.err
        return
    [line] = done.out.splitlines()
    assert line.split("  ")[2:5] == ["accepted", tenant, sent["id"]]
    assert instance.json(*asked)["kind"] == "accepted"


def test_limits(instance: Instance, tenant: str) -> None:
    of = ("--tenant", tenant)
    instance.json("accounts", "add", "keep", *of, "--kind", "capture", "--limit-per-hour", "7")
    instance.json("tenants", "change", tenant, "--domain-limit", "example.net=2/minute")
    listed = instance.run("limits", "list", *of).out.splitlines()
    assert [line.split() for line in listed[1:]] == [
        ["account", "keep", "hour", "7", "0", "7", "messages", "0", "now"],
        ["domain", "example.net", "minute", "2", "0", "2", "messages", "0", "now"],
    ]
