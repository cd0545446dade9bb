"""`stagepost config`, and a bad configuration met by any command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner

from relay.cli.exits import Exit
from relay.cli.main import root
from relay.config import example


def written(directory: Path, text: str) -> Path:
    file = directory / "config.ini"
    file.write_text(text)
    return file


def test_a_good_configuration(tmp_path: Path) -> None:
    file = written(tmp_path, "[queue]\nlease = 1m\n")
    done = CliRunner().invoke(root, ["config", "check", "--config", str(file)])
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == f"{file}: the configuration is good\n"
    done = CliRunner().invoke(root, ["config", "check", "--config", str(file), "--json"])
    assert json.loads(done.stdout) == {"ok": True, "file": str(file), "faults": []}


def test_every_fault_is_a_line_of_its_own(tmp_path: Path) -> None:
    file = written(tmp_path, "[queue]\nlease = soon\n[smpt]\n")
    done = CliRunner().invoke(root, ["config", "check", "--config", str(file)])
    assert done.exit_code == Exit.CONFIG
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"{file}: [") for line in lines)
    done = CliRunner().invoke(root, ["config", "check", "--config", str(file), "--json"])
    assert done.exit_code == Exit.CONFIG
    assert json.loads(done.stdout)["faults"] == lines


@pytest.mark.parametrize("command", [["serve"], ["tenants", "list"], ["queue", "status"], ["config", "show"]])
def test_every_command_refuses_a_bad_configuration(tmp_path: Path, command: list[str]) -> None:
    file = written(tmp_path, "[smtp]\nlistn = 1\n")
    done = CliRunner().invoke(root, [*command, "--config", str(file)])
    assert done.exit_code == Exit.CONFIG
    assert done.stderr.count("\n") == 1
    assert f"{file}: [smtp] listn is not a key of this section; did you mean listen?" in done.stderr


def test_show_says_what_holds_and_why(tmp_path: Path) -> None:
    file = written(tmp_path, "[queue]\nlease = 90s\n[storage]\nurl = postgresql://relay:hunter2@host/db\n")
    environ = {"STAGEPOST_SMTP_MAX_SIZE": "1MiB", "HOME": "/home/me"}
    done = CliRunner(env=environ).invoke(root, ["config", "show", "--json", "--config", str(file)])
    assert done.exit_code == 0, done.stderr
    shown = {(one["section"], one["key"]): (one["value"], one["origin"]) for one in json.loads(done.stdout)["items"]}
    assert shown["queue", "lease"] == ("90s", str(file))
    assert shown["smtp", "max_size"] == ("1MiB", "STAGEPOST_SMTP_MAX_SIZE")
    assert shown["storage", "url"] == ("postgresql://relay:***@host/db", str(file))
    assert shown["api", "listen"] == ("127.0.0.1:8025", "default")
    assert shown["smtp", "tls_listen"] == ("", "default")
    plain = CliRunner(env=environ).invoke(root, ["config", "show", "--config", str(file)]).stdout
    assert "hunter2" not in done.stdout + plain


def test_example_prints_the_example() -> None:
    assert CliRunner().invoke(root, ["config", "example"]).stdout == example()


def test_check_opens_the_certificate(tmp_path: Path) -> None:
    def check(certificate: str, key: str) -> tuple[int, str]:
        text = f"[smtp]\ncertificate = {certificate}\nprivate_key = {key}\n"
        done = CliRunner().invoke(root, ["config", "check", "--config", str(written(tmp_path, text))])
        return done.exit_code, done.stderr

    authority = trustme.CA()
    for name in ("one", "other"):
        issued = authority.issue_cert("relay.test")
        issued.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.crt")
        issued.private_key_pem.write_to_path(tmp_path / f"{name}.key")
    assert check("one.crt", "one.key") == (0, "")
    code, said = check("one.crt", "other.key")
    assert code == Exit.CONFIG
    assert "do not fit each other" in said
    code, said = check("none.crt", "one.key")
    assert code == Exit.CONFIG
    assert f"[smtp] certificate = {tmp_path / 'none.crt'}: No such file or directory" in said
