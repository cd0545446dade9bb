"""Configuration: an INI file and the environment, read once into frozen values. Read by the composition root
(relay.configured, relay.app, and what stands above) and by relay.cli alone.

`sections` is the table of settings, `values` reads their kinds, `loading` finds and reads them, `checks` holds them
against each other, `example` writes `config.example.ini`.
"""

from __future__ import annotations

from relay.clock import show_duration
from relay.config.example import example
from relay.config.loading import Examination, Setting, default_data_dir, examine, load
from relay.config.sections import Config
from relay.config.values import Endpoint, StoreUrl, show_size

__all__ = [
    "Config",
    "Endpoint",
    "Examination",
    "Setting",
    "StoreUrl",
    "default_data_dir",
    "examine",
    "example",
    "load",
    "show_duration",
    "show_size",
]
