"""Completion: what the shells are given, and what they are told."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from relay.cli.main import root
from tests.cli.conftest import Instance

SHELLS = {
    "bash": "complete -o nosort -F",
    "zsh": "#compdef stagepost",
    "fish": "complete --no-files --command stagepost",
}


def completed(words: str, **environ: str) -> list[str]:
    """What bash would offer for the last word."""
    said = words.split(" ")
    asked = {"_STAGEPOST_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(said) - 1)}
    done = CliRunner(env={**environ, **asked}).invoke(root, [], prog_name="stagepost")
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize("shell", SHELLS)
def test_what_a_shell_is_given(shell: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(root, ["completion", shell])
    assert (done.exit_code, done.stderr) == (0, "")
    assert SHELLS[shell] in done.stdout
    if path := shutil.which(shell):
        script = tmp_path / "script"
        script.write_text(done.stdout)
        checked = subprocess.run([path, "-n", str(script)], capture_output=True, text=True)
        assert (checked.returncode, checked.stderr) == (0, "")


def test_verbs_and_options() -> None:
    assert completed("stagepost mess") == ["messages"]
    assert completed("stagepost messages ca") == ["cancel"]
    assert completed("stagepost messages list --state ca") == ["cancelled", "captured"]
    assert completed("stagepost completion f") == ["fish"]


def test_ids_are_asked_of_a_relay_that_runs(instance: Instance, request: pytest.FixtureRequest) -> None:
    if not instance.json("tenants", "list")["items"][1:]:
        instance.json("tenants", "add", "completed")
    config = {"STAGEPOST_CONFIG": str(instance.relay.config)}
    found = completed("stagepost tenants show com", **config)
    runs = instance.relay.process is not None
    assert found == (["completed"] if runs else []), "a store is not opened for that"
    if runs:
        assert completed(f"stagepost --config {instance.relay.config} tenants show com") == ["completed"]
        assert completed("stagepost accounts show --tenant default cap", **config) == ["capture"]
        assert completed("stagepost accounts list --tenant de", **config) == ["default"]


def test_nobody_there_completes_nothing(tmp_path: Path) -> None:
    assert completed("stagepost tenants show x", STAGEPOST_URL="http://127.0.0.1:1", STAGEPOST_TOKEN="x") == []
    assert completed("stagepost tenants show x", STAGEPOST_CONFIG=str(tmp_path / "none.ini")) == []


def test_names_of_instances(tmp_path: Path) -> None:
    for name in ("alpha", "beta"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.ini").touch()
    (tmp_path / "albatross").mkdir()
    assert completed("stagepost instances status a", STAGEPOST_INSTANCES=str(tmp_path)) == ["alpha"]
