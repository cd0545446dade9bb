"""The contract, by force: schemathesis makes requests from the served description, valid and broken, for every route there
is, and every answer must be as described: status, media type, shape, header fields; never a 5xx.

The relay is a process of its own on a store of its own, and connects to nothing but loopback. Each operation is tried on
things that are there (a tenant with an account, a credential, a message, made for it), and on what is made up.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from sidecar_api.auth import Access
from sidecar_api.resources.suppression_rows import EXAMPLES
from sidecar_api.route import RFC822, Route
from sidecar_api.routes import ROUTES
from tests.support.relay_process import RelayProcess, relay_directory

AT_LEAST = 2000
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
STREAMED = "text/event-stream"
"""A stream of events has no end that could be waited for; its own tests read it."""


def _can_be_broken(route: Route) -> bool:
    """Whether a request to it can be wrong at all, of what the description says of requests."""
    return "{" in route.path or route.takes_body or bool(route.query.model_fields)


TRIED = [
    (route, mode)
    for route in ROUTES
    for mode in GenerationMode
    if STREAMED not in route.answers.values() and (mode is GenerationMode.POSITIVE or _can_be_broken(route))
]
_FIELD = st.sampled_from(
    (
        "From: a@a.example",
        "To: b@b.example, c@c.example",
        "Subject: x",
        "Bcc: d@d.example",
        "X-Stagepost-Priority: high",
        "X-Stagepost-Send-At: +1h",
        "X-Stagepost-Nonsense: x",
        "From: nobody",
        "no field",
    )
)
schemathesis.openapi.media_type(
    RFC822,
    st.builds(
        lambda fields, text: "\r\n".join([*fields, "", text]).encode(),
        st.lists(_FIELD, max_size=6),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=200),
    ),
)

for _media, _example in EXAMPLES.items():
    schemathesis.openapi.media_type(
        _media,
        st.one_of(st.just(_example), st.text(st.characters(exclude_categories=["Cs"]), max_size=200)).map(str.encode),
    )


@schemathesis.serializer(RFC822, *EXAMPLES)
def _as_it_is(ctx: object, value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


CASES = max(16, math.ceil(1.1 * AT_LEAST / len(TRIED)))
"""Of each operation, in each mode: requests as described, and broken ones."""
MESSAGE = {"from": "a@a.example", "to": "b@b.example", "text": "x", "batch": "campaign", "send_at": "+1h"}


@dataclass
class Surface:
    """The relay, its description, and an admin's token."""

    url: str
    schema: Any
    admin: str
    session: requests.Session = field(default_factory=requests.Session)
    tenants: int = 0

    def make(self, path: str, body: Any, token: str) -> Any:
        """Something, made for a test."""
        answer = self.session.post(
            f"{self.url}{path}", json=body, headers={"Authorization": f"Bearer {token}"}, timeout=30
        )
        assert answer.ok, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def surface() -> Iterator[Surface]:
    with relay_directory() as directory:
        command = (sys.executable, "-m", "tests.support.confined")
        with RelayProcess(directory, f"sqlite://{directory}/mail.db", command=command) as relay:
            relay.start()
            admin = relay.cli("tokens", "add", "contract", "--admin")["token"]
            url = f"http://127.0.0.1:{relay.api_port}"
            yield Surface(url, schemathesis.openapi.from_url(f"{url}/openapi.json"), admin)
            assert relay.stop() == 0
            assert "Traceback" not in relay.log


@dataclass
class Stage:
    """Things of a tenant that were made for one operation, and the token by which it is called."""

    surface: Surface
    route: Route

    def __post_init__(self) -> None:
        """Make them."""
        surface = self.surface
        surface.tenants += 1
        self.tenant = f"t{surface.tenants}"
        self.token = surface.make("/v1/tenants", {"id": self.tenant}, surface.admin)["token"]
        surface.make("/v1/accounts", {"id": "keep", "kind": "capture", "default": True}, self.token)
        surface.make("/v1/credentials", {"username": f"user-{self.tenant}"}, self.token)
        surface.make("/v1/messages", MESSAGE, self.token)
        surface.make("/v1/suppressions", {"address": "gone@b.example"}, self.token)
        self.spare = surface.make("/v1/tokens", {"name": "spare"}, self.token)["id"]

    @property
    def headers(self) -> dict[str, str]:
        """With the token that the route asks for."""
        token = self.surface.admin if self.route.access in {Access.ADMIN, Access.ADMIN_READ} else self.token
        return {"Authorization": f"Bearer {token}", "X-API-Token": token}

    def known(self) -> list[dict[str, str]]:
        """Parts of the route's path that lead to something which is there."""
        parent, brace, rest = self.route.path.partition("/{")
        if not brace:
            return []
        name = rest.partition("}")[0]
        if parent in {"/v1/tenants", "/tenant"}:
            return [{name: self.tenant}]
        if parent == "/account":
            return [{name: "keep"}]
        if parent == "/v1/tokens":
            return [{name: self.spare}]
        answer = self.surface.session.get(f"{self.surface.url}{parent}", headers=self.headers, timeout=30)
        items = answer.json().get("items", []) if answer.ok else []
        return [{name: str(item[name])} for item in items if name in item]


def _cases(operation: Any, mode: GenerationMode) -> st.SearchStrategy[Case[Any]]:
    found: st.SearchStrategy[Case[Any]] = operation.as_strategy(generation_mode=mode)
    return found


def test_there_are_enough_cases() -> None:
    assert len(TRIED) * CASES >= AT_LEAST


def test_the_relay_is_confined_to_loopback(surface: Surface) -> None:
    """With a control: what is at loopback is reached, and refuses."""
    for name, host, told in (("away", "192.0.2.1", "confined to loopback"), ("here", "127.0.0.1", "refused")):
        body = {"id": name, "host": host, "port": 1, "tls": "none"}
        surface.make("/v1/accounts?tenant=default", body, surface.admin)
        probed = surface.make(f"/v1/accounts/{name}/test?tenant=default", None, surface.admin)
        assert not probed["ok"]
        assert told in probed["detail"], probed


@pytest.mark.parametrize(
    ("place", "change"),
    [
        (("responses",), {"204": {"description": "another status"}}),
        (("responses", "200", "content"), {"text/plain": {"schema": {"type": "string"}}}),
        (("responses", "200", "content", "application/json", "schema"), {"type": "array"}),
        (("responses", "200", "headers"), {"X-Absent": {"required": True, "schema": {"type": "string"}}}),
    ],
    ids=["status", "media type", "shape", "header field"],
)
def test_an_answer_that_is_not_as_described_is_found(
    surface: Surface, place: tuple[str, ...], change: dict[str, Any]
) -> None:
    document = surface.session.get(f"{surface.url}/openapi.json", timeout=30).json()
    described = document["paths"]["/health/live"]["get"]
    for part in place[:-1]:
        described = described[part]
    described[place[-1]] = change
    case = schemathesis.openapi.from_dict(document)["/health/live"]["GET"].Case()
    response = case.call(base_url=surface.url, session=surface.session, timeout=30)
    with pytest.raises(FailureGroup):
        case.validate_response(response, checks=CHECKS)


@pytest.mark.parametrize(("route", "mode"), TRIED, ids=[f"{r.method} {r.path} {mode}" for r, mode in TRIED])
def test_every_answer_is_as_described(surface: Surface, route: Route, mode: GenerationMode) -> None:
    operation = surface.schema[route.path][route.method]
    stage = Stage(surface, route)
    known = stage.known()
    seen: set[int] = set()
    count = 0

    @settings(
        max_examples=CASES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=_cases(operation, mode), real=st.booleans())
    def try_it(case: Case[Any], real: bool) -> None:
        nonlocal count
        checks = CHECKS
        if real and known:
            case.path_parameters = known[count % len(known)]
        elif 207 not in route.answers and not route.hands_in:  # what is broken is refused, unless part by part
            checks = [*CHECKS, negative_data_rejection]
        response = case.call(base_url=surface.url, session=surface.session, headers=stage.headers, timeout=30)
        case.validate_response(response, checks=checks)
        seen.add(response.status_code)
        count += 1

    try_it()
    assert count >= CASES
    assert seen
