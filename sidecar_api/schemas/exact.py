"""How answers are described: their members and no others, so that a test which validates an answer finds what was added."""

from __future__ import annotations

from pydantic import ConfigDict, with_config

exact = with_config(ConfigDict(extra="forbid"))
