"""The example: every key with its meaning and default, as `config.example.ini` holds it."""

from __future__ import annotations

from inspect import cleandoc

from relay.config.sections import SECTIONS, keys

_HEAD = """\
# Stagepost, configuration. Every key is here with its default; take the # away from what you change.
#
# Read from --config, else $STAGEPOST_CONFIG, ./config.ini, /etc/stagepost/config.ini. Each key can also be given as
# STAGEPOST_<SECTION>_<KEY> in the environment, which wins. Durations: 500ms 30s 5m 1h 2d. Sizes: 64KiB 10MB 25MiB.
# Lists: by comma. Check it with: stagepost config check
"""


def example() -> str:
    """The text of `config.example.ini`."""
    lines = [_HEAD]
    for name, section in SECTIONS.items():
        lines += [f"# {line}".rstrip() for line in cleandoc(section.__doc__ or "").splitlines()]
        lines.append(f"[{name}]")
        for key in keys():
            if key.section == name:
                lines += [f"# {key.meaning}.", f"#{key.name} = {key.default}".rstrip()]
        lines.append("")
    return "\n".join(lines)
