"""Writes `bench/RESULTS.md` from the JSON documents of the other programs, whatever of them there are.

    python -m bench.relay_throughput … --json > results/throughput-10.json
    python -m bench.results results/

Each row says what was asked, what was measured, the peer's figure of the same run, and whether that is enough; what is
not is named below the table. Where the time goes is for `notes.md` to say, which is put at the end.
"""

import argparse
import json
import sys
from pathlib import Path

from bench.postfix_tools import PROJECT
from bench.rows import READERS, Document, Row

RESULTS = PROJECT / "bench" / "RESULTS.md"
NOTES = PROJECT / "bench" / "notes.md"


def main() -> int:
    """Write the file."""
    parser = argparse.ArgumentParser(prog="python -m bench.results", description=__doc__)
    parser.add_argument("directory", type=Path, help="where the JSON documents are")
    parser.add_argument("--notes", type=Path, default=NOTES, help="Markdown that goes below the table")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the file to write")
    options = parser.parse_args()
    return write(options.directory, options.notes, options.output)


def write(directory: Path, notes: Path, output: Path) -> int:
    """The file, of the documents in a directory; 0 if there was anything to write."""
    documents = {path.stem: json.loads(path.read_text()) for path in sorted(directory.glob("*.json"))}
    if not documents:
        print(f"error: no documents in {directory}", file=sys.stderr)
        return 1
    rows = [
        row
        for name, read in READERS
        for stem, found in documents.items()
        if stem.startswith(name)
        for row in read(found)
    ]
    rows += [
        Row(f"`{path.stem}`", "", f"not measured: {path.read_text().strip()}", enough=False)
        for path in sorted(directory.glob("*.failed"))
    ]
    text = _frame(list(documents.values())) + "\n".join(map(str, rows)) + "\n\n" + _verdict(rows) + "\n"
    if notes.exists():
        text += f"\n{notes.read_text().strip()}\n"
    output.write_text(text)
    return 0


def _frame(documents: list[Document]) -> str:
    machine = documents[0]["machine"]
    dates = sorted(document["date"] for document in documents)
    commits = sorted({str(document["commit"]) for document in documents})
    loads = sorted(document["machine"]["load_average"][0] for document in documents)
    speeds = sorted(document["machine"]["python_call_ns"] for document in documents)
    postfix = next((document["postfix"] for document in documents if document["postfix"]), "none")
    return (
        "# Results\n\nWritten by `python -m bench.results`; how each figure is taken stands in README.md.\n\n"
        f"Machine: {machine['cpu']}, {machine['cores']} cores, {machine['filesystem']}, Linux {machine['kernel']}, "
        f"Python {machine['python']}, where a short function takes {speeds[0]} to {speeds[-1]} ns of CPU. "
        f"Peer: Postfix {postfix}. Commit {', '.join(commits)}. "
        f"From {dates[0]} to {dates[-1]}, load average before a run {loads[0]} to {loads[-1]}.\n\n"
        "| what | at least | measured | peer in the same run | enough |\n|---|---|---|---|---|\n"
    )


def _verdict(rows: list[Row]) -> str:
    """Which targets are missed, by name."""
    missed = [f"- {row.what}: {row.target or 'no figure'}; {row.figure}" for row in rows if row.enough is False]
    asked = sum(row.enough is not None for row in rows)
    if not missed:
        return f"All {asked} targets are met."
    verb = "is" if len(missed) == 1 else "are"
    return f"Of {asked} targets {len(missed)} {verb} **missed**:\n\n" + "\n".join(missed)


if __name__ == "__main__":
    sys.exit(main())
