"""The same commands over HTTP and HTTPS, with a token; and errors that explain themselves."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import trustme
from click.testing import CliRunner

from relay.cli.exits import Exit
from relay.cli.main import root
from tests.cli.conftest import Done
from tests.support.relay_process import RelayProcess, free_port, relay_directory


def run(*arguments: str, stdin: str | bytes = "", **environ: str) -> Done:
    done = CliRunner(env=environ).invoke(root, arguments, input=stdin)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Done(done.exit_code, done.stdout, done.stderr, done.stdout_bytes)


class Remote:
    """A relay behind HTTPS, and tokens in files."""

    def __init__(self, relay: RelayProcess, directory: Path) -> None:
        self.relay = relay
        self.url = f"https://localhost:{relay.api_port}"
        self.ca = str(directory / "ca.pem")
        self.files: dict[str, str] = {}
        for name, made in {
            "admin": relay.cli("tokens", "add", "boss", "--admin"),
            "tenant": relay.cli("tenants", "add", "acme"),
            "reader": relay.cli("tokens", "add", "r", "--tenant", "acme", "--scope", "read"),
        }.items():
            path = directory / name
            path.write_text(made["token"] + "\n")
            self.files[name] = str(path)

    def run(self, who: str, *arguments: str, stdin: str | bytes = "") -> Done:
        at = ("--url", self.url, "--ca-file", self.ca, "--token-file", self.files[who])
        return run(*arguments, *at, stdin=stdin)


@pytest.fixture(scope="module")
def remote() -> Iterator[Remote]:
    with relay_directory() as directory:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(directory / "ca.pem"))
        issued = authority.issue_cert("localhost")
        issued.private_key_pem.write_to_path(str(directory / "key.pem"))
        (directory / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        files = {"certificate": str(directory / "cert.pem"), "private_key": str(directory / "key.pem")}
        with RelayProcess(directory, f"sqlite://{directory}/mail.db", {"api": files}) as relay:
            relay.start()
            yield Remote(relay, directory)
            assert relay.stop() == 0, relay.log


MESSAGE = "From: ann@acme.example\nTo: bob@b.example\nSubject: Hi\n\nHello.\n"


def test_a_tenant_works_on_what_is_its_own(remote: Remote) -> None:
    assert remote.run("tenant", "accounts", "add", "keep", "--kind", "capture", "--default").code == 0
    sent = remote.run("tenant", "send", "-", "--json", stdin=MESSAGE).json
    assert remote.run("tenant", "messages", "show", sent["id"], "--json").json["tenant"] == "acme"
    assert b"Hello.\r\n" in remote.run("tenant", "messages", "content", sent["id"]).raw
    assert remote.run("tenant", "credentials", "add", "erp", "--json").json["secret"]
    assert remote.run("tenant", "batches", "list", "--json").json["items"] == []
    assert remote.run("tenant", "tokens", "add", "ci", "--scope", "send", "--json").json["token"]
    info = remote.run("tenant", "info", "--json").json
    assert (info["url"], bool(info["version"])) == (remote.url, True)


def test_before_the_noun_or_from_the_environment(remote: Remote) -> None:
    before = ("--url", remote.url, "--ca-file", remote.ca, "--token-file", remote.files["admin"])
    assert "acme" in run(*before, "tenants", "list").out
    token = Path(remote.files["admin"]).read_text()
    said = {"STAGEPOST_URL": remote.url, "STAGEPOST_CA_FILE": remote.ca}
    assert "acme" in run("tenants", "list", **said, STAGEPOST_TOKEN=token).out
    assert "acme" in run("tenants", "list", **said, STAGEPOST_TOKEN_FILE=remote.files["admin"]).out
    config = ("--config", str(remote.relay.config))
    assert "acme" in run("tenants", "list", *config, STAGEPOST_URL="https://nowhere.invalid").out, "what is said wins"


@pytest.mark.parametrize(
    ("who", "arguments", "code", "said"),
    [
        ("reader", ["send", "-"], Exit.NO_PERMISSION, "lacks the scope send"),
        (
            "tenant",
            ["tenants", "list"],
            Exit.NO_PERMISSION,
            "needs an admin's token; stagepost tokens add NAME --admin",
        ),
        ("tenant", ["accounts", "list", "--tenant", "default"], Exit.FAILED, "no such tenant"),
        ("admin", ["batches", "list"], Exit.DATA, "--tenant: an admin must name the tenant"),
        ("admin", ["messages", "show", "nosuch"], Exit.FAILED, "no message"),
    ],
)
def test_what_is_refused(remote: Remote, who: str, arguments: list[str], code: Exit, said: str) -> None:
    done = remote.run(who, *arguments, stdin=MESSAGE)
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1), done.err
    assert said in done.err


def test_no_token_and_a_bad_one(remote: Remote, tmp_path: Path) -> None:
    at = ("--url", remote.url, "--ca-file", remote.ca)
    none = run("tenants", "list", *at)
    assert (none.code, "give one by --token-file or STAGEPOST_TOKEN" in none.err) == (Exit.NO_PERMISSION, True)
    bad = run("tenants", "list", *at, STAGEPOST_TOKEN="sp_wrong")
    assert (bad.code, "not known, or has expired" in bad.err) == (Exit.NO_PERMISSION, True)
    assert "sp_wrong" not in bad.err
    missing = run("tenants", "list", *at, "--token-file", str(tmp_path / "none"))
    assert (missing.code, "the token cannot be read: No such file" in missing.err) == (Exit.USAGE, True)
    (tmp_path / "empty").write_text("\n")
    empty = run("tenants", "list", *at, "--token-file", str(tmp_path / "empty"))
    assert (empty.code, "holds no token" in empty.err) == (Exit.DATA, True)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Another server than the relay."""

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_who_answers_is_not_the_relay(remote: Remote) -> None:
    untrusted = run("health", "--url", remote.url, STAGEPOST_TOKEN="x")
    assert untrusted.code == Exit.UNAVAILABLE
    assert "is not trusted" in untrusted.err
    assert "--ca-file names the authorities" in untrusted.err
    nobody = run("health", "--url", f"http://127.0.0.1:{free_port()}", STAGEPOST_TOKEN="x")
    assert (nobody.code, "is the relay running, and this its URL?" in nobody.err) == (Exit.UNAVAILABLE, True)
    plain = run("health", "--url", remote.url.replace("https", "http"), STAGEPOST_TOKEN="x")
    assert (plain.code, plain.err.count("\n")) == (Exit.UNAVAILABLE, 1), plain.err

    with http.server.HTTPServer(("127.0.0.1", 0), Quiet) as other:
        threading.Thread(target=other.handle_request, daemon=True).start()
        wrong = run("health", "--url", f"http://127.0.0.1:{other.server_port}/nothing", STAGEPOST_TOKEN="x")
    assert (wrong.code, "is not an answer of this API: is it the relay's URL?" in wrong.err) == (Exit.FAILED, True)


def test_a_token_in_clear_is_warned_of() -> None:
    done = run("health", "--url", "http://relay.invalid:1", STAGEPOST_TOKEN="x")
    assert "warning: the token goes to http://relay.invalid:1 in clear" in done.err
    assert click.unstyle(done.err) == done.err


def test_events_are_followed_over_tls(remote: Remote) -> None:
    remote.run("tenant", "accounts", "add", "kept", "--kind", "capture", "--default")
    mail = "From: a@a.example\nTo: b@b.example\n\nx\n"
    for _ in range(2):
        sent = remote.run("tenant", "send", "-", "--from", "a@a.example", "--to", "b@b.example", stdin=mail)
        assert sent.code == 0, sent.err
    followed = remote.run("reader", "events", "follow", "--after", "0", "--kind", "accepted", "--limit", "2")
    assert (followed.code, len(followed.out.splitlines())) == (0, 2), followed.err
