"""The shapes of the API: pydantic models for what comes in, typed dictionaries for what goes out."""
