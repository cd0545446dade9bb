-- To whom a tenant must not send: an address in normal form, or a whole domain as '@example.net'. A message's recipients are held
-- against it by primary key, however long the list is.
CREATE TABLE suppressions (
    tenant_id  TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    address    TEXT COLLATE "C" NOT NULL,
    reason     TEXT COLLATE "C" NOT NULL CHECK (reason IN ('hard_bounce', 'complaint', 'unsubscribe', 'manual')),
    since      BIGINT NOT NULL,
    until      BIGINT, -- NULL: for good
    note       TEXT COLLATE "C",
    message_id TEXT COLLATE "C", -- the one that brought it about
    PRIMARY KEY (tenant_id, address)
);

CREATE INDEX suppressions_by_reason ON suppressions (tenant_id, reason, address, until);
CREATE INDEX suppressions_by_end ON suppressions (until) WHERE until IS NOT NULL;

-- What puts an address on the list by itself, and for how long (µs; NULL: for good).
ALTER TABLE tenants ADD COLUMN suppress_on TEXT COLLATE "C" NOT NULL DEFAULT 'hard_bounce' CHECK (suppress_on IN ('never', 'hard_bounce'));
ALTER TABLE tenants ADD COLUMN suppress_for BIGINT DEFAULT 2592000000000 CHECK (suppress_for > 0);
