"""Configurations that must be refused: each with one line that names the place, what is wrong, and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.config import examine, load
from relay.errors import ConfigError

IN_FILE = [
    # text, what the line must hold
    ("[smpt]\nlisten = 127.0.0.1:25", "[smpt] is not a section; did you mean smtp?"),
    ("[plugins]", "[plugins] is not a section; allowed are server, storage, smtp"),
    ("[DEFAULT]\nlisten = 127.0.0.1:25", "[DEFAULT] is not a section"),
    ("[smtp]\nlistn = 127.0.0.1:25", "[smtp] listn is not a key of this section; did you mean listen?"),
    ("[queue]\ncolour = red", "[queue] colour is not a key of this section; allowed are lease, max_messages"),
    ("listen = 127.0.0.1:25", "line 1 stands before the first [section]"),
    ("[smtp]\nlisten", "line 2 is neither [section] nor key = value"),
    ("[smtp]\nlisten = 127.0.0.1:25\nlisten = 127.0.0.1:26", "[smtp] listen stands twice (line 3)"),
    ("[smtp]\n[api]\n[smtp]", "[smtp] stands twice (line 3)"),
    ("[smtp]\nlisten = 2525", "[smtp] listen = 2525: '2525' has no port"),
    ("[smtp]\nlisten = ::1:2525", "IPv6 address without brackets; must be empty, or host:port by comma"),
    ("[smtp]\nlisten = [::g]:2525", "[smtp] listen = [::g]:2525"),
    ("[smtp]\nlisten = localhost:70000", "is too large"),
    ("[smtp]\nlisten = local host:25", "'local host' is not a host"),
    ("[smtp]\nlisten = 127.0.0.1:25,, 127.0.0.1:26", "holds an empty item"),
    ("[smtp]\nlisten = 127.0.0.1:25, 127.0.0.1:25", "names an address twice"),
    ("[smtp]\nhostname = mail_é.example", "is not a host name; must be empty, or a host name such as mail.example.com"),
    ("[smtp]\nhostname = a\r\n b", "is not a host name"),
    ("[smtp]\nauth_without_tls = sometimes", "must be one of loopback, never, always"),
    ("[smtp]\nbare_newlines = keep", "must be one of refuse, normalise"),
    ("[smtp]\nloopback_tenant = *", "must be empty, or a tenant's id"),
    ("[smtp]\nheader_prefix = X Stage-", "must be letters, digits and hyphens, with a hyphen at the end"),
    ("[smtp]\nheader_prefix = X-Stage", "with a hyphen at the end"),
    ("[smtp]\nmax_size = 25M", "[smtp] max_size = 25M: is not a size; must be octets, or a size such as"),
    ("[smtp]\nmax_size = 3GiB", "is too large; must be octets"),
    ("[smtp]\nmax_size = -1", "is not a size"),
    ("[smtp]\nmax_connections = 0", "is too small; must be a whole number from 1 to 100000"),
    ("[smtp]\nmax_connections = 1e3", "is not a whole number"),
    ("[smtp]\nmax_connections = ١٢", "is not a whole number"),
    ("[smtp]\nmax_connections =", "is not a whole number"),
    (
        "[smtp]\ncommand_timeout = 5",
        "[smtp] command_timeout = 5: is not a duration; must be a duration such as 300s, 5m",
    ),
    ("[queue]\nlease = 1ms", "is too small; must be a duration such as 300s, 5m, 1h or 2d, from 1s to 1d"),
    ("[retry]\nschedule =", "is empty; must be durations by comma"),
    ("[retry]\nschedule = 1m, soon", "[retry] schedule = 1m, soon: is not a duration"),
    ("[retry]\njitter = 0.1", "is not a percentage; must be a percentage such as 10%"),
    ("[retry]\njitter = 60%", "is too large; must be a percentage such as 10%, from 0% to 50%"),
    ("[dispatch]\nactive = maybe", "is neither true nor false; must be true or false"),
    ("[server]\nlog_format = xml", "must be one of text, json"),
    ("[server]\nworkers = 65", "is too large; must be a whole number from 1 to 64"),
    ("[server]\ndata_dir = ~nobody-has-this-name/data", "home directory that is not known here"),
    ("[storage]\nurl = mysql://host/db", "[storage] url: is not the URL of a store"),
    (
        "[storage]\nurl = /var/lib/mail.db",
        "must be empty, or sqlite:///path/to/file, or postgresql://user@host/database",
    ),
    ("[storage]\nurl = sqlite://mail.db", "has too few slashes"),
    ("[storage]\nurl = sqlite:///mail.db", "names no directory: the path must be absolute"),
    ("[security]\noutbound_networks = 10.0.0.1/8", "has host bits set"),
    # against each other
    ("[smtp]\ncertificate = /c.pem", "[smtp] certificate: needs private_key as well"),
    ("[smtp]\nprivate_key = /k.pem", "[smtp] private_key: needs certificate as well"),
    ("[smtp]\ntls_listen = 127.0.0.1:465", "[smtp] tls_listen: needs certificate and private_key"),
    ("[api]\nlisten = 127.0.0.1:2525", "[api] listen: 127.0.0.1:2525 is also in smtp.listen"),
    ("[storage]\nurl = postgresql://h/d\nspool = /s", "[storage] spool: is for SQLite"),
    ("[smtp]\nmax_connections = 10", "[smtp] max_connections_per_client: 200 is more than max_connections (10)"),
    ("[retry]\nmax_age = 1m\nschedule = 2m", "[retry] max_age: is shorter than the first delay of schedule"),
]


@pytest.mark.parametrize(("text", "expected"), IN_FILE)
def test_a_bad_file_is_refused_with_one_line(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "bad.ini"
    file.write_text(text, newline="")
    with pytest.raises(ConfigError) as refused:
        load(file, {})
    said = str(refused.value)
    assert expected in said
    assert "\n" not in said
    # A cross-check names the file too, unless the value at fault is a default.
    assert said.startswith((f"{file}: ", "default: [smtp] max_connections_per_client"))


IN_ENVIRONMENT = [
    ({"STAGEPOST_SMTP_LISTN": ""}, "STAGEPOST_SMTP_LISTN: there is no such setting; did you mean STAGEPOST_SMTP_"),
    ({"STAGEPOST_STMP_LISTEN": "127.0.0.1:25"}, "did you mean STAGEPOST_SMTP_LISTEN?"),
    ({"STAGEPOST_SERVER_DATADIR": "/x"}, "did you mean STAGEPOST_SERVER_DATA_DIR?"),
    ({"STAGEPOST_SMTP_ZZZ": "1"}, "STAGEPOST_SMTP_ZZZ: there is no such setting"),
    ({"STAGEPOST_SMTP_LISTEN": "25"}, "STAGEPOST_SMTP_LISTEN: [smtp] listen = 25: '25' has no port"),
    ({"STAGEPOST_QUEUE_LEASE": "soon"}, "STAGEPOST_QUEUE_LEASE: [queue] lease = soon: is not a duration"),
    ({"STAGEPOST_CONFIG": "/nowhere/config.ini"}, "/nowhere/config.ini: no such file (named by STAGEPOST_CONFIG)"),
]  # fmt: skip


@pytest.mark.parametrize(("environ", "expected"), IN_ENVIRONMENT)
def test_a_bad_variable_is_refused_with_one_line(environ: dict[str, str], expected: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(None, environ)
    assert expected in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "environ",
    [
        # What Kubernetes sets for Services called stagepost and stagepost-smtp, and what an image may say of itself.
        {"STAGEPOST_SERVICE_HOST": "10.0.0.1", "STAGEPOST_PORT": "tcp://10.0.0.1:25", "STAGEPOST_PORT_25_TCP": "x"},
        {"STAGEPOST_SMTP_SERVICE_HOST": "10.0.0.1", "STAGEPOST_SMTP_SERVICE_PORT_SMTP": "25"},
        {"STAGEPOST_SMTP_PORT": "tcp://10.0.0.1:25", "STAGEPOST_SMTP_PORT_25_TCP_ADDR": "10.0.0.1"},
        {"STAGEPOST_VERSION": "1.2.3", "STAGEPOST_CONFIG": ""},
    ],
)
def test_variables_of_others_are_left_alone(environ: dict[str, str]) -> None:
    assert load(None, environ) == load(None, {})


def test_a_variable_that_looks_like_an_orchestrators_but_is_not_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="STAGEPOST_SMTP_PORT"):
        load(None, {"STAGEPOST_SMTP_PORT": "2525"})


def test_every_fault_is_found_and_the_first_is_raised(tmp_path: Path) -> None:
    file = tmp_path / "bad.ini"
    file.write_text("[smtp]\nmax_size = big\nlistn = x\n[retry]\njitter = lots\n")
    assert len(examine(file, {}).faults) == 3
    with pytest.raises(ConfigError, match=r"and 2 more: see stagepost config check"):
        load(file, {})


def test_a_missing_file_says_who_named_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such file \(named by --config\)"):
        load(tmp_path / "nowhere.ini", {})


def test_a_directory_and_a_binary_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load(tmp_path, {})
    (tmp_path / "binary.ini").write_bytes(b"\xff\xfe[")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load(tmp_path / "binary.ini", {})


def test_a_password_is_never_quoted(tmp_path: Path) -> None:
    file = tmp_path / "bad.ini"
    file.write_text("[storage]\nurl = postgress://relay:hunter2@host/db\n")
    assert "hunter2" not in " ".join(examine(file, {}).faults)
