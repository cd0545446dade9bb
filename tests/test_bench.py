"""The bench programs run, small, and what they print becomes rows: figures that nobody can take any more are none.

Those that need Postfix, which is downloaded, and the watch of a limit, which takes minutes, are left out.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench import results
from bench.all import Step, plan
from bench.rows import READERS

ROOT = Path(__file__).parents[1]
STEPS = [step for step in plan(0.004) if "postfix" not in step.command and step.name != "limit"]


@pytest.mark.long
@pytest.mark.postgres
@pytest.mark.parametrize("step", STEPS, ids=lambda step: str(step.name))
def test_a_program_gives_figures(step: Step, tmp_path: Path) -> None:
    module, *arguments = step.command.split()
    document = tmp_path / f"{step.name}.json"
    with document.open("wb") as output:
        command = [sys.executable, "-m", f"bench.{module}", *arguments, "--json"]
        done = subprocess.run(command, cwd=ROOT, stdout=output, stderr=subprocess.PIPE, timeout=110)
    assert done.returncode == 0, done.stderr.decode()
    assert results.write(tmp_path, tmp_path / "none", tmp_path / "RESULTS.md") == 0
    table = (tmp_path / "RESULTS.md").read_text()
    assert table.count("\n|") > 2, table
    assert "missed" in table or "are met" in table, table


def test_every_step_has_a_reader() -> None:
    begins = [name for name, _ in READERS]
    assert [step.name for step in plan(1) if not any(step.name.startswith(name) for name in begins)] == []


def test_what_could_not_be_measured_is_a_missed_target(tmp_path: Path) -> None:
    (tmp_path / "instances-2.json").write_text(
        '{"date": "2026-01-01", "commit": "abc", "postfix": "", "parameters": {}, "machine": {"cpu": "x", "cores": 2, '
        '"filesystem": "ext4", "kernel": "6", "python": "3.11", "python_call_ns": 60, "load_average": [0.1]}, '
        '"result": {"instances": 2, "messages": 20000, "duplicates": 1, "delivered_per_s": 500.0}}'
    )
    (tmp_path / "limit.failed").write_text("ended with status 1: error: no room\n")
    assert results.write(tmp_path, tmp_path / "none", tmp_path / "RESULTS.md") == 0
    table = (tmp_path / "RESULTS.md").read_text()
    assert "Of 2 targets 2 are **missed**" in table
    assert "- 2 instances on one PostgreSQL, 20,000 messages: 0 delivered twice; 1 twice" in table
    assert "- `limit`: no figure; not measured: ended with status 1: error: no room" in table
