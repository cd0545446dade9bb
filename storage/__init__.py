"""Persistence: the durable store behind relay.contracts, on SQLite or PostgreSQL."""

from storage.opening import open_store
from storage.retention import Terms
from storage.store import Store

__all__ = ["Store", "Terms", "open_store"]
