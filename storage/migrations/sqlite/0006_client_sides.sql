-- Where a tenant has its own HTTP server, which takes reports and gives attachments.
CREATE TABLE client_sides (
    tenant_id       TEXT NOT NULL PRIMARY KEY REFERENCES tenants (id),
    base_url        TEXT,
    sync_path       TEXT,
    attachment_path TEXT,
    auth            TEXT NOT NULL CHECK (auth IN ('none', 'bearer', 'basic')),
    login           TEXT,
    secret          TEXT CHECK (secret LIKE 'v1:%'), -- ciphertext
    active          INTEGER NOT NULL CHECK (active IN (0, 1))
) STRICT, WITHOUT ROWID;
