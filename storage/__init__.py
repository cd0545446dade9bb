"""Persistence: the durable store behind relay.contracts, on SQLite or PostgreSQL."""

from storage.store import Store, open_store

__all__ = ["Store", "open_store"]
