"""Where a configuration comes from, what wins, and what follows from what."""

from __future__ import annotations

import dataclasses
from ipaddress import ip_network
from pathlib import Path

import pytest

from relay.clock import HOUR, MINUTE, SECOND
from relay.config import Endpoint, StoreUrl, examine, load
from relay.config.sections import full_name


def written(directory: Path, text: str, name: str = "config.ini") -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / name
    file.write_text(text)
    return file


@pytest.fixture(autouse=True)
def _somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")


def test_defaults_are_those_of_the_first_minute() -> None:
    config = load(None, {"HOME": "/home/me"})
    assert config.smtp.listen == (Endpoint("127.0.0.1", 2525),)
    assert config.api.listen == (Endpoint("127.0.0.1", 8025),)
    assert config.server.data_dir == Path("/home/me/.local/share/stagepost")
    assert config.storage.url == "sqlite:///home/me/.local/share/stagepost/stagepost.db"
    assert config.storage.spool == Path("/home/me/.local/share/stagepost/stagepost.db.spool")
    assert config.security.key_file == config.server.data_dir / "key"
    assert config.api_socket == config.server.data_dir / "api.sock"
    assert config.retry.schedule == (MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 2 * HOUR)
    assert config.smtp.loopback_tenant == "default"
    assert config.dispatch.active
    assert config.delivery.connection_ttl == 300 * SECOND


def test_the_order_of_search(tmp_path: Path) -> None:
    cwd = tmp_path / "cwd"
    named = written(tmp_path / "a", "[queue]\nlease = 1m")
    said = written(tmp_path / "b", "[queue]\nlease = 2m")
    written(cwd, "[queue]\nlease = 3m")
    environ = {"STAGEPOST_CONFIG": str(said)}
    assert load(named, environ).queue.lease == 1 * MINUTE
    assert load(None, environ).queue.lease == 2 * MINUTE
    assert load(None, {}).queue.lease == 3 * MINUTE
    (cwd / "config.ini").unlink()
    assert load(None, {}).queue.lease == 5 * MINUTE


def test_the_environment_wins_over_the_file_and_says_so(tmp_path: Path) -> None:
    file = written(tmp_path, "[queue]\nlease = 1m\nmax_messages = 10\n")
    found = examine(file, {"STAGEPOST_QUEUE_LEASE": "2m"})
    assert found.config is not None
    assert (found.config.queue.lease, found.config.queue.max_messages) == (2 * MINUTE, 10)
    origins = {one.key.name: one.origin for one in found.settings if one.key.section == "queue"}
    assert origins == {"lease": "STAGEPOST_QUEUE_LEASE", "max_messages": str(file)}


def test_every_key_can_be_given_by_the_environment() -> None:
    for setting in examine(None, {}).settings:
        found = examine(None, {setting.key.variable: setting.text})
        assert found.config is not None
        assert found.config == load(None, {})


def test_an_empty_list_switches_a_door_off() -> None:
    assert load(None, {"STAGEPOST_SMTP_LISTEN": ""}).smtp.listen == ()
    assert load(None, {"STAGEPOST_API_LISTEN": ""}).api.listen == ()


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"HOME": "/h"}, "/h/.local/share/stagepost"),
        ({"HOME": "/h", "XDG_DATA_HOME": "/x"}, "/x/stagepost"),
        ({"HOME": "/h", "XDG_DATA_HOME": "relative"}, "/h/.local/share/stagepost"),
        ({"HOME": "/h", "XDG_DATA_HOME": "/x", "STAGEPOST_SERVER_DATA_DIR": "/d"}, "/d"),
    ],
)
def test_the_data_directory(environ: dict[str, str], expected: str) -> None:
    config = load(None, environ)
    assert config.server.data_dir == Path(expected)
    assert config.storage.url == f"sqlite://{expected}/stagepost.db"


def test_relative_paths_start_where_they_are_written(tmp_path: Path) -> None:
    file = written(tmp_path / "etc", "[server]\ndata_dir = data\n")
    assert load(file, {}).server.data_dir == tmp_path / "etc" / "data"
    assert load(None, {"STAGEPOST_SERVER_DATA_DIR": "data"}).server.data_dir == tmp_path / "cwd" / "data"


@pytest.mark.parametrize("url", ["sqlite:///var/lib/mail.db", "sqlite:////var/lib/mail.db"])
def test_both_ways_to_write_an_absolute_path(url: str) -> None:
    storage = load(None, {"STAGEPOST_STORAGE_URL": url}).storage
    assert storage.url == "sqlite:///var/lib/mail.db"
    assert storage.spool == Path("/var/lib/mail.db.spool")


def test_a_path_with_odd_characters_is_quoted_in_the_url() -> None:
    storage = load(None, {"STAGEPOST_SERVER_DATA_DIR": "/data/50% of?it"}).storage
    assert storage.url == "sqlite:///data/50%25%20of%3Fit/stagepost.db"
    assert storage.sqlite_file == Path("/data/50% of?it/stagepost.db")
    assert load(None, {"STAGEPOST_STORAGE_URL": storage.url}).storage.sqlite_file == storage.sqlite_file


def test_postgresql_has_no_spool_and_no_file() -> None:
    storage = load(None, {"STAGEPOST_STORAGE_URL": "postgresql://h/d"}).storage
    assert (storage.spool, storage.sqlite_file) == (None, None)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://relay:hunter2@host/db", "postgresql://relay:***@host/db"),
        ("postgresql://relay:hu@nt/er2@host/db", "postgresql://relay:***@host/db"),
        ("postgresql://host/db?user=me&password=hunter2&x=1", "postgresql://host/db?user=me&password=***&x=1"),
        ("postgresql://host/db", "postgresql://host/db"),
    ],
)
def test_a_password_is_masked(url: str, shown: str) -> None:
    config = load(None, {"STAGEPOST_STORAGE_URL": url})
    assert config.storage.url == url
    assert config.storage.url.masked == shown
    assert "hunter2" not in repr(config)
    assert shown in repr(config)
    assert repr(StoreUrl(url)) == repr(shown)


def test_names_follow_each_other() -> None:
    assert load(None, {}).hostname == full_name() == load(None, {}).ehlo_name
    config = load(None, {"STAGEPOST_SMTP_HOSTNAME": "a.example"})
    assert (config.hostname, config.ehlo_name) == ("a.example", "a.example")
    config = load(None, {"STAGEPOST_SMTP_HOSTNAME": "a.example", "STAGEPOST_DELIVERY_EHLO_NAME": "b.example"})
    assert (config.hostname, config.ehlo_name) == ("a.example", "b.example")


def test_a_file_as_people_write_it(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        "\ufeff# ours\n[SMTP]\n".replace("SMTP", "smtp")
        + "Listen = 0.0.0.0:25,\n  [::1]:2525\n; a comment\nMAX_SIZE = 10 MB\nhostname = Mail.Example.COM\n"
        + "[security]\noutbound_networks = 10.0.0.0/8, fd00::/8\n[retry]\nmax_age = 2D\njitter = 12.5 %\n",
    )
    config = load(file, {})
    assert config.smtp.listen == (Endpoint("0.0.0.0", 25), Endpoint("::1", 2525))
    assert [str(endpoint) for endpoint in config.smtp.listen] == ["0.0.0.0:25", "[::1]:2525"]
    assert config.smtp.max_size == 10_000_000
    assert config.smtp.hostname == "Mail.Example.COM"
    assert config.security.outbound_networks == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    assert config.retry.max_age == 48 * HOUR
    assert config.retry.jitter == 0.125


def test_the_configuration_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        load(None, {}).server.workers = 2  # type: ignore[misc]
