"""The project about itself: arrows, the unit file, the lock files, and that its sources name no machine."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path

import pytest

from relay.clock import SECOND
from relay.config import load

ROOT = Path(__file__).parents[1]
UNIT = ROOT / "contrib" / "systemd" / "stagepost.service"
LOCKS = (ROOT / "requirements.lock", ROOT / "requirements-test.lock")

# What stands only on somebody's machine. Written in pieces, so that this file is none of its own findings.
MACHINE = re.compile("/" + r"work/|/" + r"root\b|/home/(?!me\b)\w+|/" + r"Users/|/tmp/\w+\.md")
BINARY = {".png", ".gz", ".whl", ".pyc", ".der"}


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)


def tracked() -> list[Path]:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    return [ROOT / name for name in run(git, "ls-files", "-z").stdout.split("\0") if name]


def test_the_arrows_of_the_house() -> None:
    done = run(str(Path(sys.executable).with_name("lint-imports")))
    assert done.returncode == 0, done.stdout


def unit_settings() -> dict[str, str]:
    parser = RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's names have capitals
    parser.read_string(UNIT.read_text())
    return dict(parser.items("Service"))


@pytest.fixture(scope="module")
def analyze() -> str:
    command = shutil.which("systemd-analyze")
    if command is None:
        pytest.skip("systemd-analyze is not here")
    return command


def test_the_unit_is_good(analyze: str, tmp_path: Path) -> None:
    # The check wants the command to be there: this interpreter stands in for it.
    text = re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={sys.executable}", UNIT.read_text())
    copy = tmp_path / UNIT.name
    copy.write_text(text)
    done = run(analyze, "verify", "--man=no", str(copy))
    said = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert (done.returncode, said) == (0, [])


def test_the_unit_is_hardened(analyze: str) -> None:
    done = run(analyze, "security", "--offline=true", "--no-pager", "--threshold=20", str(UNIT))
    assert done.returncode == 0, done.stdout[-400:] + done.stderr


def test_the_unit_agrees_with_the_defaults() -> None:
    settings = unit_settings()
    deadline = load(None, {}).server.shutdown_timeout / SECOND
    assert deadline < int(settings["TimeoutStopSec"]) <= deadline + 30
    assert settings["Type"] == "notify"
    assert int(settings["WatchdogSec"]) >= 10
    assert settings["RestartPreventExitStatus"] == "78"
    assert settings["ExecStart"].endswith("stagepost serve --config /etc/stagepost/config.ini")


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_file_pins_by_hash_and_names_no_host(lock: Path) -> None:
    text = lock.read_text()
    assert not re.search(r"https?://|--(extra-)?index-url|--find-links|--trusted-host| @ ", text)
    requirements = re.split(r"\n(?=\S)", text.strip())
    for requirement in requirements:
        assert re.match(r"[a-z0-9-]+==\S+", requirement), requirement[:80]
        assert "--hash=sha256:" in requirement, requirement[:80]


def test_both_locks_agree() -> None:
    pins = [dict(re.findall(r"(?m)^([a-z0-9-]+)==(\S+)", lock.read_text())) for lock in LOCKS]
    assert pins[0].items() <= pins[1].items()


def test_no_file_names_a_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in tracked()
        if path.suffix not in BINARY and path.is_file()
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1)
        if MACHINE.search(line)
    ]
    assert found == []


def test_documents_name_files_that_exist() -> None:
    named = re.compile(r"`((?:relay|storage|sidecar_api|tests|bench|docs|contrib)/[A-Za-z0-9_/.]*)`")
    documents = [ROOT / "README.md", ROOT / "bench" / "README.md", *(ROOT / "docs").glob("*.md")]
    missing = [
        f"{document.relative_to(ROOT)}: {name}"
        for document in documents
        for name in named.findall(document.read_text("utf-8"))
        if not (ROOT / name).exists()
    ]
    assert missing == []
