"""The page: every operation with its parameters, bodies, answers, examples, and a line for curl."""

from __future__ import annotations

import re
from collections.abc import Iterator

import orjson

from sidecar_api.phrase import phrase
from sidecar_api.reference.markup import Markup, element, paragraphs, text
from sidecar_api.reference.schemas import Schemas
from sidecar_api.request_ids import REQUEST_ID
from sidecar_api.shapes import Json

STYLE = "docs/reference.css"
SCRIPT = "docs/reference.js"
_ACCESS = {
    "public": "open to all",
    "metrics": "open to loopback, else any token",
    "send": "scope send",
    "read": "scope read",
    "manage": "scope manage",
    "admin_read": "admin, scope read",
    "admin": "admin, scope manage",
}
_PLACES = {"path": "Path", "query": "Query", "header": "Header fields"}
_PART = re.compile(r"\{(\w+)\}")


def render(document: Json) -> str:
    """The whole page, from the OpenAPI document."""
    return f"<!doctype html>\n{_Page(document).html()}\n"


class _Page:
    def __init__(self, document: Json) -> None:
        self._document = document
        self._components: Json = document["components"]
        self._schemas = Schemas(document)

    def html(self) -> Markup:
        info = self._document["info"]
        head = element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("meta", name="color-scheme", content="light dark"),
            element("title", f"{info['title']} API {info['version']}"),
            element("link", rel="stylesheet", href=STYLE),
            element("script", src=SCRIPT, defer=""),
        )
        body = element("body", self._navigation(), element("main", self._introduction(), *self._groups()))
        return element("html", head, body, lang="en")

    def _tagged(self, tag: str) -> Iterator[tuple[str, str, Json]]:
        """Method, path and operation of a group, in the order of the document."""
        for path, item in self._document["paths"].items():
            for method, operation in item.items():
                if tag in operation["tags"]:
                    yield method.upper(), path, operation

    # -- what stands beside and above -----------------------------------------------------------------------------------

    def _navigation(self) -> Markup:
        info = self._document["info"]
        groups = [
            element(
                "section",
                element("a", tag["name"], class_="group", href=f"#tag-{tag['name']}"),
                *(self._link(*one) for one in self._tagged(tag["name"])),
            )
            for tag in self._document["tags"]
        ]
        return element(
            "nav",
            element("a", info["title"], element("small", info["version"]), class_="title", href="#top"),
            element(
                "input",
                type="search",
                id="search",
                placeholder="Search  /",
                aria_label="Search the operations",
                hidden="",
            ),
            element("div", *groups, class_="groups"),
            element("a", "openapi.json", class_="source", href="openapi.json"),
            aria_label="Operations",
        )

    def _link(self, method: str, path: str, operation: Json) -> Markup:
        return element(
            "a",
            _badge(method),
            element("span", operation["summary"]),
            href=f"#{operation['operationId']}",
            title=f"{method} {path}",
            data_operation=operation["operationId"],
        )

    def _introduction(self) -> Markup:
        info = self._document["info"]
        start = (
            "export STAGEPOST=http://127.0.0.1:8025   # where this instance is\n"
            "export TOKEN=sp_…                        # stagepost tokens add NAME --tenant TENANT"
        )
        return element(
            "header",
            element("h1", f"{info['title']} API"),
            paragraphs(info["description"]),
            element("p", "The examples below take two variables of the shell:"),
            _block(start),
            id="top",
        )

    def _groups(self) -> Iterator[Markup]:
        for tag in self._document["tags"]:
            name = tag["name"]
            yield element(
                "section",
                element("h2", name),
                element("p", text(tag["description"])),
                *(self._operation(*one) for one in self._tagged(name)),
                id=f"tag-{name}",
                class_="tag",
            )

    # -- an operation ---------------------------------------------------------------------------------------------------

    def _operation(self, method: str, path: str, operation: Json) -> Markup:
        name = operation["operationId"]
        reading = element(
            "div",
            element("p", element("span", _ACCESS[operation["x-access"]], class_="access")),
            paragraphs(operation["description"]) if operation.get("description") else None,
            *self._parameters(operation, "path"),
            *self._body(operation),
            *self._parameters(operation, "query"),
            *self._parameters(operation, "header"),
            *self._answers(operation),
            class_="reading",
        )
        examples = element(
            "div",
            element("h4", "Request"),
            _block(_curl(method, path, operation)),
            *self._examples(operation),
            class_="examples",
        )
        return element(
            "article",
            element("h3", element("a", operation["summary"], href=f"#{name}")),
            element("p", _badge(method), element("code", path), class_="path"),
            element("div", reading, examples, class_="columns"),
            id=name,
            data_words=f"{method} {path} {operation['summary']} {name}".lower(),
        )

    def _parameters(self, operation: Json, place: str) -> Iterator[Markup]:
        found = [self._parameter(one) for one in operation["parameters"]]
        rows = [
            self._schemas.row(one["name"], one["schema"], required=one["required"], note=one.get("description", ""))
            for one in found
            if one["in"] == place and one["name"] != REQUEST_ID  # every operation takes it: the introduction says so
        ]
        if rows:
            yield element("h4", _PLACES[place])
            yield element("div", *rows, class_="members")

    def _parameter(self, given: Json) -> Json:
        name = str(given.get("$ref", "")).rpartition("/")[2]
        found: Json = self._components["parameters"][name] if name else given
        return found

    def _body(self, operation: Json) -> Iterator[Markup]:
        if "requestBody" not in operation:
            return
        content: Json = operation["requestBody"]["content"]
        yield element("h4", "Body ", element("small", " or ".join(content)))
        yield from self._shape(next(iter(content.values()))["schema"])

    def _shape(self, schema: Json) -> Iterator[Markup]:
        if said := self._schemas.resolve(schema).get("description"):
            yield element("p", text(" ".join(str(said).split())))
        if (members := self._schemas.members(schema)) is not None:
            yield members

    def _answers(self, operation: Json) -> Iterator[Markup]:
        yield element("h4", "Answers")
        problems = []
        for status, response in operation["responses"].items():
            if "$ref" in response:
                shared = self._components["responses"][response["$ref"].rpartition("/")[2]]
                problems.append(element("div", _status(status), text(shared["description"])))
            else:
                yield self._answer(status, response)
        yield element("details", element("summary", "Problems"), *problems, class_="problems")

    def _answer(self, status: str, response: Json) -> Markup:
        content: Json = response.get("content", {})
        media, described = next(iter(content.items()), ("no body", {"schema": {}}))
        inner = list(self._shape(described["schema"])) if "$ref" in described["schema"] else []
        title = (_status(status), element("span", response["description"]), element("small", media))
        if not inner:
            return element("div", *title, class_="answer")
        return element("details", element("summary", *title), *inner, class_="answer")

    def _examples(self, operation: Json) -> Iterator[Markup]:
        for status, response in operation["responses"].items():
            for content in response.get("content", {}).values():
                if "example" in content:
                    yield element("h4", _status(status), phrase(int(status)))
                    yield _block(_json(content["example"]))
                    return


def _badge(method: str) -> Markup:
    return element("span", method, class_=f"method {method.lower()}")


def _status(status: str) -> Markup:
    return element("span", status, class_=f"status s{status[0]}")


def _block(content: str) -> Markup:
    return element("pre", element("code", content), tabindex="0")


def _json(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def _curl(method: str, path: str, operation: Json) -> str:
    """A line for the shell; parts of the path as variables."""
    url = "$STAGEPOST" + _PART.sub(lambda part: f"${part[1].upper()}", path)
    parts = [f'curl "{url}"' if method == "GET" else f'curl -X {method} "{url}"']
    if operation["security"] and {} not in operation["security"]:
        is_ours = "token" in operation["security"][0]
        parts.append('-H "Authorization: Bearer $TOKEN"' if is_ours else '-H "X-API-Token: $TOKEN"')
    for media, content in operation.get("requestBody", {"content": {}})["content"].items():
        parts.append(f"-H 'Content-Type: {media}'")
        example = content["example"]
        if isinstance(example, str):
            parts.append("--data-binary @message.eml")
        else:
            quoted = _json(example).replace("'", "'\\''")
            parts.append(f"-d '{quoted}'")
        break
    return " \\\n  ".join(parts)
