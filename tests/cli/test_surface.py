"""What every command has in common: help, options, exit codes for a wrong command line, a quick start."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from relay import __version__
from relay.cli.exits import MEANINGS, Exit, exit_of_status
from relay.cli.main import NOUNS, root

HEAVY = ("aiohttp", "aiosmtpd", "aiosmtplib", "asyncio", "asyncpg", "cryptography", "pydantic", "rich", "relay.app")


def verbs() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(root)
    for noun in NOUNS:
        command = root.get_command(context, noun)
        assert command is not None
        if isinstance(command, click.Group):
            yield from ((f"{noun} {name}", verb) for name, verb in command.commands.items())
        else:
            yield noun, command


@pytest.mark.parametrize(("name", "verb"), [pytest.param(name, verb, id=name) for name, verb in verbs()])
def test_every_verb_takes_config_and_json_and_explains_itself(name: str, verb: click.Command) -> None:
    options = {option for parameter in verb.params for option in parameter.opts}
    if name != "completion":
        assert {"--instance", "--config", "--json"} <= options
        is_local = name.partition(" ")[0] in {"serve", "config", "instances"}
        assert is_local != ({"--url", "--token-file", "--ca-file"} <= options)
    assert verb.help
    assert all(one.help for one in verb.params if isinstance(one, click.Option)), name
    assert not {"--password", "--secret", "--token"} & options, "a secret on the command line can be read by everybody"


def test_the_table_says_what_the_modules_say() -> None:
    context = click.Context(root)
    for noun, (_, summary) in NOUNS.items():
        command = root.get_command(context, noun)
        assert command is not None
        if isinstance(command, click.Group):
            assert command.help == summary


def test_help_and_completion_import_nothing_heavy() -> None:
    code = (
        "import sys\nfrom relay.cli.main import root, NOUNS\nimport click\nfrom click.testing import CliRunner\n"
        "CliRunner().invoke(root, ['--help'])\n"
        "[root.get_command(click.Context(root), noun) for noun in NOUNS]\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # click's testing module is what brings nothing of ours; asyncio comes with none of it.
    assert done.stdout.strip() == "[]"


def test_help_lists_nouns_and_exit_codes() -> None:
    for arguments in ([], ["--help"]):
        done = CliRunner().invoke(root, arguments)
        assert done.exit_code == 0
        for noun, (_, summary) in NOUNS.items():
            assert f"  {noun}" in done.stdout
            assert summary in done.stdout
        for code, meaning in MEANINGS.items():
            assert f"{code.value}  {meaning}" in done.stdout
    assert __version__ in CliRunner().invoke(root, ["--version"]).stdout


def test_help_of_a_noun_cuts_no_sentence() -> None:
    for noun in NOUNS:
        _, _, shown = CliRunner().invoke(root, [noun, "--help"]).stdout.partition("\n")
        assert "..." not in shown


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["tenant"], "No such command 'tenant'"),
        (["acounts", "list"], "No such command 'acounts'. Did you mean 'accounts'? See stagepost --help."),
        (["--json", "tenants", "list"], "--json stands behind the verb. See stagepost --help."),
        (["send", "nosuch.eml"], "No such file or directory. See stagepost send --help."),
        (["tenants", "ad"], "No such command 'ad'. Did you mean 'add'?"),
        (["tenants", "add"], "Missing argument 'TENANT'"),
        (["tenants", "list", "--colour"], "No such option"),
        (["--config", "x", "--url", "https://y", "tenants", "list"], "--config and --url exclude each other"),
        (["-i", "x", "tenants", "list", "--json", "--url", "https://y", "-i", "z"], "exclude each other"),
        (["tenants", "list", "--token-file", "x"], "go with --url"),
        (["--url", "ftp://y", "tenants", "list"], "is no URL of a relay"),
        (["--url", "https://y", "config", "show"], "does not go with --url"),
        (["-i", "../x", "tenants", "list"], "is no name"),
        (["instances", "start", "Grün"], "is no name"),
        (["instances", "stop"], "NAME, or --all"),
        (["tenants", "delete", "x"], "say --yes"),
        (["tenants", "change", "x"], "Nothing is said"),
        (["tenants", "change", "x", "--domain-limit", "a=b"], "is as example.net=100/hour"),
        (["messages", "list", "--csv", "--json"], "exclude each other"),
        (["accounts", "change", "x", "--clear", "host"], "--clear"),
        (["command-log", "purge"], "--before"),
        (["accounts", "add", "main", "--host", "h"], "Say --tenant TENANT, or --shared"),
        (["accounts", "add", "main", "--tenant", "a", "--shared", "--host", "h"], "exclude each other"),
        (["accounts", "add", "main", "--shared"], "needs --host HOST, or --kind capture"),
        (["accounts", "add", "main", "--shared", "--host", "h", "--password-stdin"], "needs --user"),
        (["accounts", "add", "main", "--shared", "--host", "h", "--user", "u"], "give it on standard input"),
        (["accounts", "add", "main", "--shared", "--host", "h", "--port", "0"], "--port"),
        (["accounts", "add", "main", "--shared", "--host", "h", "--tls", "ssl"], "--tls"),
        (["credentials", "add", "app"], "Whose is it? Say --tenant TENANT."),
        (["tokens", "add", "ci"], "either --tenant TENANT or --admin"),
        (["tokens", "add", "ci", "--admin", "--tenant", "a"], "either --tenant TENANT or --admin"),
        (["send", "/nowhere/mail.eml"], "No such file or directory"),
        (["messages", "list", "--limit", "0"], "--limit"),
        (["messages", "hold"], "Say which"),
        (["messages", "hold", "x", "--batch", "y"], "Say which"),
        (["messages", "cancel", "x", "--dry-run"], "--dry-run is for filters"),
        (["messages", "cancel", "--batch", "y"], "Whose is it? Say --tenant TENANT."),
    ],
)
def test_a_wrong_command_line_is_one_line_and_64(arguments: list[str], expected: str) -> None:
    done = CliRunner().invoke(root, arguments)
    assert done.exit_code == Exit.USAGE
    assert expected in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("stagepost")
    assert " --help." in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, 65),
        (401, 77),
        (403, 77),
        (404, 1),
        (409, 1),
        (413, 65),
        (415, 65),
        (422, 65),
        (429, 75),
        (500, 1),
        (503, 75),
    ],
)
def test_exit_codes_of_the_api(status: int, code: int) -> None:
    assert exit_of_status(status) == code


def test_what_was_meant_is_guessed() -> None:
    done = CliRunner().invoke(root, ["message", "list"])
    assert (done.exit_code, "Did you mean 'messages'?" in done.stderr) == (Exit.USAGE, True)
    done = CliRunner().invoke(root, ["xyzzy"])
    assert (done.exit_code, "Did you mean" in done.stderr) == (Exit.USAGE, False)
