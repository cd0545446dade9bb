"""What the routes do: one call to intake, the archive or the directory each, and its answer. No SQL, no mail logic."""
