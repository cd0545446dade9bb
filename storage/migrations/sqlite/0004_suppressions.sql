-- To whom a tenant must not send: an address in normal form, or a whole domain as '@example.net'. A message's recipients are held
-- against it by primary key, however long the list is.
CREATE TABLE suppressions (
    tenant_id  TEXT NOT NULL REFERENCES tenants (id),
    address    TEXT NOT NULL,
    reason     TEXT NOT NULL CHECK (reason IN ('hard_bounce', 'complaint', 'unsubscribe', 'manual')),
    since      INTEGER NOT NULL,
    until      INTEGER, -- NULL: for good
    note       TEXT,
    message_id TEXT, -- the one that brought it about
    PRIMARY KEY (tenant_id, address)
) STRICT, WITHOUT ROWID;

CREATE INDEX suppressions_by_reason ON suppressions (tenant_id, reason, address, until);
CREATE INDEX suppressions_by_end ON suppressions (until) WHERE until IS NOT NULL;

-- What puts an address on the list by itself, and for how long (µs; NULL: for good).
ALTER TABLE tenants ADD COLUMN suppress_on TEXT NOT NULL DEFAULT 'hard_bounce' CHECK (suppress_on IN ('never', 'hard_bounce'));
ALTER TABLE tenants ADD COLUMN suppress_for INTEGER DEFAULT 2592000000000 CHECK (suppress_for > 0);
