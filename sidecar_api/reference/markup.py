"""HTML as nested calls: what is a string is escaped, what is Markup is not."""

from __future__ import annotations

import re
from html import escape


class Markup(str):
    """HTML."""

    __slots__ = ()


Child = str | None
_CODE = re.compile(r"`([^`]+)`|\*\*([^*]+)\*\*")
_VOID = frozenset({"link", "meta", "input"})


def element(name: str, /, *children: Child, **attributes: str | None) -> Markup:
    """`<name attributes>children</name>`; `class_` is class, `data_x` is data-x, None is left out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{given}>" if name in _VOID else f"<{name}{given}>{joined(*children)}</{name}>")


def joined(*children: Child) -> Markup:
    """One behind the other."""
    return Markup("".join(one if isinstance(one, Markup) else escape(one) for one in children if one is not None))


def text(source: str) -> Markup:
    """A line of text with `code` and **bold**."""
    parts: list[Markup] = []
    at = 0
    for match in _CODE.finditer(source):
        parts.append(Markup(escape(source[at : match.start()])))
        parts.append(element("code", match[1]) if match[1] else element("strong", match[2]))
        at = match.end()
    return joined(*parts, Markup(escape(source[at:])))


def paragraphs(source: str) -> Markup:
    """Text with paragraphs between empty lines."""
    return joined(*(element("p", text(" ".join(one.split()))) for one in source.strip().split("\n\n")))
