-- The first schema. Ids are TEXT, times µs since the epoch, truth values 0 or 1, lists and objects JSON.
-- There are no foreign keys between the parts of a message: one transaction writes them all and one deletes them all. The
-- one from messages to tenants stays: nothing may come in for a tenant that is being deleted.

CREATE TABLE settings (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO settings (name, value) VALUES ('configuration_version', '1');

CREATE TABLE tenants (
    id              TEXT NOT NULL PRIMARY KEY CHECK (id <> '*'),
    name            TEXT NOT NULL,
    default_account TEXT,
    created_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE accounts (
    tenant_id                   TEXT NOT NULL, -- a tenant, or * for the instance
    id                          TEXT NOT NULL,
    kind                        TEXT NOT NULL CHECK (kind IN ('smtp', 'capture')),
    host                        TEXT NOT NULL,
    port                        INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),
    tls                         TEXT NOT NULL CHECK (tls IN ('none', 'starttls', 'implicit')),
    login                       TEXT,
    password                    TEXT CHECK (password LIKE 'v1:%'), -- ciphertext
    max_connections             INTEGER NOT NULL CHECK (max_connections > 0),
    max_messages_per_connection INTEGER NOT NULL CHECK (max_messages_per_connection > 0),
    per_minute                  INTEGER CHECK (per_minute > 0),
    per_hour                    INTEGER CHECK (per_hour > 0),
    per_day                     INTEGER CHECK (per_day > 0),
    on_unknown                  TEXT NOT NULL CHECK (on_unknown IN ('retry', 'hold')),
    guarded                     INTEGER NOT NULL CHECK (guarded IN (0, 1)),
    version                     INTEGER NOT NULL,
    created_at                  INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE credentials (
    username        TEXT NOT NULL PRIMARY KEY,
    tenant_id       TEXT NOT NULL REFERENCES tenants (id),
    secret_hash     TEXT,
    networks        TEXT NOT NULL,
    account_id      TEXT,
    allowed_senders TEXT NOT NULL,
    priority        INTEGER CHECK (priority BETWEEN 0 AND 3),
    batch           TEXT,
    tags            TEXT NOT NULL,
    created_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
    id          TEXT NOT NULL PRIMARY KEY,
    name        TEXT NOT NULL,
    tenant_id   TEXT REFERENCES tenants (id), -- NULL: an admin's
    secret_hash TEXT NOT NULL UNIQUE,
    scopes      TEXT NOT NULL,
    expires_at  INTEGER,
    created_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE messages (
    id                  TEXT NOT NULL PRIMARY KEY,
    tenant_id           TEXT NOT NULL REFERENCES tenants (id),
    sender              TEXT NOT NULL,
    priority            INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 3),
    accepted_at         INTEGER NOT NULL,
    size                INTEGER NOT NULL CHECK (size >= 0),
    internet_message_id TEXT NOT NULL,
    source              TEXT NOT NULL CHECK (source IN ('smtp', 'rest', 'sendmail')),
    account_id          TEXT NOT NULL,
    client_id           TEXT,
    batch               TEXT,
    not_before          INTEGER,
    expires_at          INTEGER,
    tags                TEXT, -- NULL: none
    metadata            TEXT,
    idempotency_key     TEXT,
    digest              TEXT CHECK (idempotency_key IS NULL OR digest IS NOT NULL),
    eight_bit           INTEGER NOT NULL CHECK (eight_bit IN (0, 1)),
    smtputf8            INTEGER NOT NULL CHECK (smtputf8 IN (0, 1)),
    state               TEXT NOT NULL CHECK (
        state IN ('preparing', 'open', 'held', 'sent', 'partial', 'failed', 'cancelled', 'captured')
    )
) STRICT, WITHOUT ROWID;

CREATE INDEX messages_by_tenant ON messages (tenant_id, id);
-- Nearly every message ends as sent: those are found by walking messages_by_tenant, and an index of them would only cost.
CREATE INDEX messages_by_state ON messages (tenant_id, state, id) WHERE state <> 'sent';
CREATE INDEX messages_by_batch ON messages (tenant_id, batch, id) WHERE batch IS NOT NULL;
CREATE UNIQUE INDEX messages_by_client_id ON messages (tenant_id, client_id) WHERE client_id IS NOT NULL;
CREATE UNIQUE INDEX messages_by_idempotency_key ON messages (tenant_id, idempotency_key) WHERE idempotency_key IS NOT NULL;

CREATE TABLE contents (
    message_id TEXT NOT NULL PRIMARY KEY,
    size       INTEGER NOT NULL CHECK (size >= 0),
    inline     BLOB CHECK (inline IS NULL OR length(inline) = size) -- NULL: a file in the spool
) STRICT;

CREATE TABLE recipients (
    message_id     TEXT NOT NULL,
    position       INTEGER NOT NULL CHECK (position >= 0),
    address        TEXT NOT NULL,
    delivery       INTEGER NOT NULL, -- deliveries.number
    state          TEXT NOT NULL CHECK (
        state IN ('queued', 'deferred', 'held', 'unknown', 'sent', 'failed', 'expired', 'cancelled', 'suppressed', 'captured')
    ),
    reply_code     INTEGER CHECK (reply_code BETWEEN 200 AND 599),
    reply_enhanced TEXT,
    reply_text     TEXT CHECK ((reply_text IS NULL) = (reply_code IS NULL)),
    category       TEXT,
    attempts       INTEGER NOT NULL CHECK (attempts >= 0),
    changed_at     INTEGER,
    PRIMARY KEY (message_id, position)
) STRICT, WITHOUT ROWID;

-- There is no index by address: it would cost a random page for every recipient (a third of the price of accepting), and a
-- question about one address may well read the addresses of the messages it asks about.

CREATE TABLE deliveries (
    message_id  TEXT NOT NULL,
    number      INTEGER NOT NULL CHECK (number > 0),
    tenant_id   TEXT NOT NULL,
    queue_key   TEXT NOT NULL,
    priority    INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 3),
    due         INTEGER NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('ready', 'leased', 'held', 'done')),
    attempt     INTEGER NOT NULL CHECK (attempt >= 0),
    holder      TEXT,
    lease_until INTEGER,
    PRIMARY KEY (message_id, number),
    CHECK ((state = 'leased') = (holder IS NOT NULL)),
    CHECK ((holder IS NULL) = (lease_until IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX deliveries_ready ON deliveries (queue_key, priority, due, message_id, number) WHERE state = 'ready';
CREATE INDEX deliveries_leased ON deliveries (lease_until) WHERE state = 'leased';
CREATE INDEX deliveries_held ON deliveries (queue_key) WHERE state = 'held';

CREATE TABLE attempts (
    sequence    INTEGER PRIMARY KEY,
    message_id  TEXT NOT NULL,
    delivery    INTEGER NOT NULL,
    number      INTEGER NOT NULL CHECK (number > 0),
    holder      TEXT NOT NULL,
    started_at  INTEGER NOT NULL,
    finished_at INTEGER NOT NULL,
    next_hop    TEXT NOT NULL,
    peer        TEXT,
    tls         TEXT,
    reused      INTEGER NOT NULL CHECK (reused IN (0, 1)),
    fault       TEXT,
    outcomes    TEXT NOT NULL
) STRICT;

CREATE INDEX attempts_by_message ON attempts (message_id);

CREATE TABLE events (
    sequence   INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice, even after a deletion: readers keep it as a cursor
    tenant_id  TEXT NOT NULL,
    message_id TEXT NOT NULL,
    recipient  TEXT,
    kind       TEXT NOT NULL,
    at         INTEGER NOT NULL,
    facts      TEXT
) STRICT;

CREATE INDEX events_by_message ON events (message_id);
