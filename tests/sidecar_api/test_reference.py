"""The reference at /docs: whole, from the package alone, and nothing in it that a strict policy would forbid."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from sidecar_api.openapi import describe
from sidecar_api.reference.markup import Markup, element, paragraphs, text
from sidecar_api.reference.page import render
from sidecar_api.routes import GROUPS, ROUTES
from tests.sidecar_api.conftest import Door

VOID = {"link", "meta", "input"}


class Page(HTMLParser):
    """What stands in a page; raises where tags do not close."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.names: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.inline: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what it says."""
        self.names.append(tag)
        for name, value in attrs:
            self.attributes.append((name, value or ""))
            if name == "id":
                self.ids.append(value or "")
            if name in {"href", "src"}:
                self.links.append(value or "")
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close it."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Keep it."""
        self.texts.append(data)
        if self._open[-1:] in (["script"], ["style"]):
            self.inline.append(data)


async def test_the_page_has_every_operation_and_its_links_lead_somewhere(door: Door) -> None:
    answer = await door.ask("GET", "/docs", None)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    page = Page(answer.body.decode())
    assert len(page.ids) == len(set(page.ids))
    assert {route.name for route in ROUTES} <= set(page.ids)
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
        else:
            assert (await door.ask("GET", f"/{link}", None)).status == 200
    words = " ".join(page.texts)
    for route in ROUTES:
        assert route.path in words
        assert route.summary in words


async def test_nothing_comes_from_elsewhere_and_nothing_is_inline(door: Door) -> None:
    answer = await door.ask("GET", "/docs", None)
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self'")
    assert "unsafe" not in policy
    page = Page(answer.body.decode())
    assert page.inline == []
    assert not any(name.startswith("on") or name == "style" for name, _ in page.attributes)
    assert not any(re.match(r"(?:[a-z]+:)?//", link) for link in page.links)
    style = (await door.ask("GET", "/docs/reference.css", None)).body.decode()
    script = (await door.ask("GET", "/docs/reference.js", None)).body.decode()
    for asset in (style, script):
        assert not re.search(r"https?://|@import|url\(|eval|innerHTML", asset)
    assert "prefers-color-scheme: dark" in style


async def test_it_is_kept_by_its_tag(door: Door) -> None:
    for path, kind in (
        ("/docs", "text/html"),
        ("/docs/reference.css", "text/css"),
        ("/openapi.json", "application/json"),
    ):
        answer = await door.ask("GET", path, None)
        assert answer.headers["Content-Type"].startswith(kind)
        again = await door.ask("GET", path, None, headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.status, again.body) == (304, b"")


def test_what_the_description_says_is_text_and_not_html() -> None:
    document: Any = describe(GROUPS, "1")
    evil = "<script>alert(1)</script> `<img src=x>` **<b>** \" '"
    document["info"]["title"] = evil
    operation = document["paths"]["/v1/messages"]["post"]
    operation["summary"] = operation["description"] = evil
    operation["responses"]["202"]["content"]["application/json"]["example"] = {"x": evil}
    document["components"]["schemas"]["MessageIn"]["description"] = evil
    page = Page(render(document))
    assert page.names.count("script") == 1
    assert "img" not in page.names
    assert "b" not in page.names


@pytest.mark.parametrize(
    ("made", "html"),
    [
        (element("p", "a < b", class_="x&y", data_words='"'), '<p class="x&amp;y" data-words="&quot;">a &lt; b</p>'),
        (element("meta", name="n", content=None), '<meta name="n">'),
        (element("div", Markup("<b>"), None, "<b>"), "<div><b>&lt;b&gt;</div>"),
        (text("a `<b>` **c** `"), "a <code>&lt;b&gt;</code> <strong>c</strong> `"),
        (paragraphs("one\ntwo\n\nthree"), "<p>one two</p><p>three</p>"),
    ],
)
def test_markup(made: Markup, html: str) -> None:
    assert made == html
