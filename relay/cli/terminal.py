"""The terminal: tables that fit it, colour unless NO_COLOR is set, a pager for what is longer than it is high."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from relay.cli.exits import Exit, Failure

GAP = 2
"""Between columns."""
NARROWEST = 16
"""A column of longer values than this may be folded, down to this, so that the table fits."""

_TRAILING = re.compile(r" +((?:\x1b\[0m)?)$", re.MULTILINE)
"""What rich fills lines up with."""
_STYLES = {
    "green": "sent captured running ready accepted released delivered enabled active live",
    "red": "failed expired bounced complained error exhausted refused stopping",
    "yellow": "deferred held unknown suppressed partial suspended paused starting account_paused",
    "bright_black": "cancelled stopped - revoked disabled",
}
_STYLE_OF = {word: style for style, words in _STYLES.items() for word in words.split()}


def show_table(titles: Sequence[str], lines: Sequence[Sequence[str]], spare: Sequence[str]) -> None:
    """A table; it says so where there is nothing in it."""
    if not lines:
        _console().print("There are none.", style="bright_black")
        return
    console = _console()
    shown = _fitting(titles, lines, spare, console.width)
    if _width(shown, titles, lines) > console.width:
        _show_one_by_one(titles, lines)
        return
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for index in shown:
        longest = max(cell_len(line[index]) for line in lines)
        folds = longest > NARROWEST and not _is_rigid([line[index] for line in lines])
        narrowest = max(NARROWEST, len(titles[index])) if folds else None
        table.add_column(titles[index], overflow="fold", no_wrap=not folds, min_width=narrowest)
    for line in lines:
        table.add_row(*(Text(line[index], style=_STYLE_OF.get(line[index], "")) for index in shown))
    console.print(table)


def _show_one_by_one(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Where no table fits: rich would cut the cells."""
    for number, line in enumerate(lines):
        if number:
            sys.stdout.write("\n")
        show_pairs(list(zip(titles, line, strict=True)))


def show_pairs(pairs: Sequence[tuple[str, str]]) -> None:
    """Names and values; a long value is folded beside its name."""
    console = _console()
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), show_header=False)
    table.add_column(no_wrap=True, style="cyan")
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(name, Text(value, style=_STYLE_OF.get(value, "")))
    console.print(table)


def _fitting(titles: Sequence[str], lines: Sequence[Sequence[str]], spare: Sequence[str], width: int) -> list[int]:
    """The columns to be shown: all that fit when those that may be folded are, without spare ones where they do not."""
    columns = list(range(len(titles)))
    for title in spare:
        if _width(columns, titles, lines) <= width:
            break
        columns.remove(titles.index(title))
    return columns


def _width(columns: Sequence[int], titles: Sequence[str], lines: Sequence[Sequence[str]]) -> int:
    return sum(_least(titles[index], [line[index] for line in lines]) + GAP for index in columns)


def _least(title: str, cells: Sequence[str]) -> int:
    longest = max(len(title), *map(cell_len, cells))
    return longest if _is_rigid(cells) else min(longest, max(NARROWEST, len(title)))


def _is_rigid(cells: Sequence[str]) -> bool:
    """Ids, times, states, numbers: short words that nobody wants to see folded."""
    return all(len(cell) <= 26 and " " not in cell and "@" not in cell for cell in cells)


def _console() -> Console:
    """Standard output as it is now; with NO_COLOR not one escape sequence, bold included."""
    return Console(highlight=False, force_terminal=False if os.environ.get("NO_COLOR") else None)


class _Screen(io.StringIO):
    """What is to be seen, kept until it is whole."""

    def isatty(self) -> bool:
        """It will be on one."""
        return True


@contextlib.contextmanager
def paged() -> Iterator[None]:
    """What is printed inside goes to the terminal; by a pager where it is higher and a person is there to turn the pages."""
    screen = _Screen()
    with contextlib.redirect_stdout(screen):
        yield
    text = _TRAILING.sub(r"\1", screen.getvalue())
    pager = _pager() if sys.stdin.isatty() and text.count("\n") >= shutil.get_terminal_size().lines else []
    if pager:
        _page(pager, text)
    else:
        sys.stdout.write(text)
        sys.stdout.flush()


def _pager() -> list[str]:
    """STAGEPOST_PAGER, else PAGER, else less; an empty one, or cat, is none."""
    named = os.environ.get("STAGEPOST_PAGER", os.environ.get("PAGER", "less"))
    try:
        words = shlex.split(named)
    except ValueError:
        raise Failure(Exit.USAGE, f"PAGER = {named}: its quotes do not match") from None
    return words if words and words != ["cat"] and shutil.which(words[0]) else []


def _page(command: Sequence[str], text: str) -> None:
    # As git: less ends at once where one screen is enough, shows colours, and leaves the text on the screen.
    environ = {"LESS": "FRX", **os.environ}
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environ) as process:  # noqa: S603  # the user's own
        try:
            process.communicate(text.encode())
        except KeyboardInterrupt:
            pass  # the pager's business
        except BrokenPipeError:
            pass  # left early
