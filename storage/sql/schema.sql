-- The schema's own history.

-- applied_migrations: what was applied, in order
SELECT name, checksum FROM schema_migrations ORDER BY name;

-- record_migration: one more
INSERT INTO schema_migrations (name, checksum, applied_at) VALUES (:name, :checksum, :applied_at);

-- store_clock: what the store's clock shows
SELECT {wall_clock};
