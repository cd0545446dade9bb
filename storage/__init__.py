"""Persistence: the durable store behind relay.contracts, on SQLite or PostgreSQL."""

from storage.retention import Terms
from storage.store import Store, open_store

__all__ = ["Store", "Terms", "open_store"]
