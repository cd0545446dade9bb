"""Every body and answer of the reference has an example, and every example is valid."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from pydantic import BaseModel, TypeAdapter

from sidecar_api.bodies import read_json
from sidecar_api.routes import ROUTES
from sidecar_api.schemas.examples import example_of
from sidecar_api.schemas.fields import Reading
from tests.sidecar_api.memory import NOW


def _name(shape: type) -> str:
    return shape.__name__


READING = Reading(NOW, "X-Stagepost-")
BODIES = list(dict.fromkeys(route.body for route in ROUTES if route.body is not None))
ANSWERS = list(
    dict.fromkeys(
        out for route in ROUTES for out in route.answers.values() if isinstance(out, type) and out is not dict
    )
)


@pytest.mark.parametrize("body", BODIES, ids=_name)
def test_the_example_of_a_body_is_taken(body: type[BaseModel]) -> None:
    assert read_json(orjson.dumps(example_of(body)), body, READING).model_fields_set


@pytest.mark.parametrize("answer", ANSWERS, ids=_name)
def test_the_example_of_an_answer_has_its_shape(answer: Any) -> None:
    TypeAdapter(answer).validate_python(example_of(answer))
