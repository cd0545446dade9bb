"""What the documents show is run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from relay.cli.main import root
from tests.support.relay_process import RelayProcess, relay_directory

DOCS = Path(__file__).parents[1] / "docs"


def test_the_example_of_the_python_client() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (DOCS / "python-client.md").read_text(), re.DOTALL)
    with relay_directory() as directory, RelayProcess(directory, f"sqlite://{directory}/mail.db") as relay:
        relay.start()
        token = relay.cli("tenants", "add", "shop")["token"]
        relay.cli("accounts", "add", "keep", "--tenant", "shop", "--kind", "capture", "--default")
        environ = {"STAGEPOST_URL": f"http://127.0.0.1:{relay.api_port}", "STAGEPOST_TOKEN": token}
        done = subprocess.run(
            [sys.executable, "-c", example], capture_output=True, text=True, timeout=60, env={**os.environ, **environ}
        )
    assert (done.returncode, done.stderr) == (0, "")
    state, listed, problem = done.stdout.splitlines()
    assert state.endswith("['you@example.com']")
    assert re.fullmatch(r"\S+ \S+Z", listed)
    assert problem == "invalid ['/to/0: address has no @']"


def test_commands_of_the_documents_exist() -> None:
    """Every `stagepost …` in a console block parses up to its verb, with its options."""
    shown = [
        line.removeprefix("$ ").partition("#")[0].split()
        for document in (*DOCS.glob("*.md"), DOCS.parent / "README.md")
        for block in re.findall(r"```console\n(.*?)```", document.read_text(), re.DOTALL)
        for line in block.splitlines()
        if line.startswith("$ stagepost ")
    ]
    assert len(shown) > 10
    for words in shown:
        options = [word for word in words if word.startswith("--")]
        verb = [*[word for word in words[1:] if not word.startswith("-")][: 3 if "-i" in words else 2], "--help"]
        verb = verb[1:] if "-i" in words else verb
        while (done := CliRunner().invoke(root, verb, prog_name="stagepost")).exit_code and len(verb) > 2:
            verb.pop(-2)
        assert done.exit_code == 0, words
        assert all(option in done.stdout or option == "--help" for option in options), (words, done.stdout)
