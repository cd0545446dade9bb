-- The first schema. Ids are TEXT, times µs since the epoch, truth values 0 or 1, lists and objects JSON.
-- COLLATE "C" makes ids sort as in SQLite, by code point.
-- There are no foreign keys between the parts of a message: one transaction writes them all and one deletes them all. The
-- one from messages to tenants stays: nothing may come in for a tenant that is being deleted.

CREATE TABLE settings (
    name  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value TEXT COLLATE "C" NOT NULL
);

INSERT INTO settings (name, value) VALUES ('configuration_version', '1');

CREATE TABLE tenants (
    id              TEXT COLLATE "C" NOT NULL PRIMARY KEY CHECK (id <> '*'),
    name            TEXT COLLATE "C" NOT NULL,
    default_account TEXT COLLATE "C",
    created_at      BIGINT NOT NULL
);

CREATE TABLE accounts (
    tenant_id                   TEXT COLLATE "C" NOT NULL, -- a tenant, or * for the instance
    id                          TEXT COLLATE "C" NOT NULL,
    kind                        TEXT COLLATE "C" NOT NULL CHECK (kind IN ('smtp', 'capture')),
    host                        TEXT COLLATE "C" NOT NULL,
    port                        BIGINT NOT NULL CHECK (port BETWEEN 1 AND 65535),
    tls                         TEXT COLLATE "C" NOT NULL CHECK (tls IN ('none', 'starttls', 'implicit')),
    login                       TEXT COLLATE "C",
    password                    TEXT COLLATE "C" CHECK (password LIKE 'v1:%'), -- ciphertext
    max_connections             BIGINT NOT NULL CHECK (max_connections > 0),
    max_messages_per_connection BIGINT NOT NULL CHECK (max_messages_per_connection > 0),
    per_minute                  BIGINT CHECK (per_minute > 0),
    per_hour                    BIGINT CHECK (per_hour > 0),
    per_day                     BIGINT CHECK (per_day > 0),
    on_unknown                  TEXT COLLATE "C" NOT NULL CHECK (on_unknown IN ('retry', 'hold')),
    guarded                     BIGINT NOT NULL CHECK (guarded IN (0, 1)),
    version                     BIGINT NOT NULL,
    created_at                  BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

CREATE TABLE credentials (
    username        TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id       TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    secret_hash     TEXT COLLATE "C",
    networks        TEXT COLLATE "C" NOT NULL,
    account_id      TEXT COLLATE "C",
    allowed_senders TEXT COLLATE "C" NOT NULL,
    priority        BIGINT CHECK (priority BETWEEN 0 AND 3),
    batch           TEXT COLLATE "C",
    tags            TEXT COLLATE "C" NOT NULL,
    created_at      BIGINT NOT NULL
);

CREATE TABLE tokens (
    id          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name        TEXT COLLATE "C" NOT NULL,
    tenant_id   TEXT COLLATE "C" REFERENCES tenants (id), -- NULL: an admin's
    secret_hash TEXT COLLATE "C" NOT NULL UNIQUE,
    scopes      TEXT COLLATE "C" NOT NULL,
    expires_at  BIGINT,
    created_at  BIGINT NOT NULL
);

CREATE TABLE messages (
    id                  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id           TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    sender              TEXT COLLATE "C" NOT NULL,
    priority            BIGINT NOT NULL CHECK (priority BETWEEN 0 AND 3),
    accepted_at         BIGINT NOT NULL,
    size                BIGINT NOT NULL CHECK (size >= 0),
    internet_message_id TEXT COLLATE "C" NOT NULL,
    source              TEXT COLLATE "C" NOT NULL CHECK (source IN ('smtp', 'rest', 'sendmail')),
    account_id          TEXT COLLATE "C" NOT NULL,
    client_id           TEXT COLLATE "C",
    batch               TEXT COLLATE "C",
    not_before          BIGINT,
    expires_at          BIGINT,
    tags                TEXT COLLATE "C", -- NULL: none
    metadata            TEXT COLLATE "C",
    idempotency_key     TEXT COLLATE "C",
    digest              TEXT COLLATE "C" CHECK (idempotency_key IS NULL OR digest IS NOT NULL),
    eight_bit           BIGINT NOT NULL CHECK (eight_bit IN (0, 1)),
    smtputf8            BIGINT NOT NULL CHECK (smtputf8 IN (0, 1)),
    state               TEXT COLLATE "C" NOT NULL CHECK (
        state IN ('preparing', 'open', 'held', 'sent', 'partial', 'failed', 'cancelled', 'captured')
    )
);

CREATE INDEX messages_by_tenant ON messages (tenant_id, id);
-- Nearly every message ends as sent: those are found by walking messages_by_tenant, and an index of them would only cost.
CREATE INDEX messages_by_state ON messages (tenant_id, state, id) WHERE state <> 'sent';
CREATE INDEX messages_by_batch ON messages (tenant_id, batch, id) WHERE batch IS NOT NULL;
CREATE UNIQUE INDEX messages_by_client_id ON messages (tenant_id, client_id) WHERE client_id IS NOT NULL;
CREATE UNIQUE INDEX messages_by_idempotency_key ON messages (tenant_id, idempotency_key) WHERE idempotency_key IS NOT NULL;

CREATE TABLE contents (
    message_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    size       BIGINT NOT NULL CHECK (size >= 0),
    inline     BYTEA CHECK (inline IS NULL OR length(inline) = size) -- NULL: rows of content_chunks
);

-- Messages do not compress well, and a compressed value could not be cut: kept as they are.
ALTER TABLE contents ALTER COLUMN inline SET STORAGE EXTERNAL;

CREATE TABLE content_chunks (
    message_id TEXT COLLATE "C" NOT NULL,
    n          BIGINT NOT NULL CHECK (n >= 0),
    written_at BIGINT NOT NULL,
    octets     BYTEA NOT NULL,
    PRIMARY KEY (message_id, n)
);

ALTER TABLE content_chunks ALTER COLUMN octets SET STORAGE EXTERNAL;

CREATE TABLE recipients (
    message_id     TEXT COLLATE "C" NOT NULL,
    position       BIGINT NOT NULL CHECK (position >= 0),
    address        TEXT COLLATE "C" NOT NULL,
    delivery       BIGINT NOT NULL, -- deliveries.number
    state          TEXT COLLATE "C" NOT NULL CHECK (
        state IN ('queued', 'deferred', 'held', 'unknown', 'sent', 'failed', 'expired', 'cancelled', 'suppressed', 'captured')
    ),
    reply_code     BIGINT CHECK (reply_code BETWEEN 200 AND 599),
    reply_enhanced TEXT COLLATE "C",
    reply_text     TEXT COLLATE "C" CHECK ((reply_text IS NULL) = (reply_code IS NULL)),
    category       TEXT COLLATE "C",
    attempts       BIGINT NOT NULL CHECK (attempts >= 0),
    changed_at     BIGINT,
    PRIMARY KEY (message_id, position)
);

-- There is no index by address: it would cost a random page for every recipient (a third of the price of accepting), and a
-- question about one address may well read the addresses of the messages it asks about.

CREATE TABLE deliveries (
    message_id  TEXT COLLATE "C" NOT NULL,
    number      BIGINT NOT NULL CHECK (number > 0),
    tenant_id   TEXT COLLATE "C" NOT NULL,
    queue_key   TEXT COLLATE "C" NOT NULL,
    priority    BIGINT NOT NULL CHECK (priority BETWEEN 0 AND 3),
    due         BIGINT NOT NULL,
    state       TEXT COLLATE "C" NOT NULL CHECK (state IN ('ready', 'leased', 'held', 'done')),
    attempt     BIGINT NOT NULL CHECK (attempt >= 0),
    holder      TEXT COLLATE "C",
    lease_until BIGINT,
    PRIMARY KEY (message_id, number),
    CHECK ((state = 'leased') = (holder IS NOT NULL)),
    CHECK ((holder IS NULL) = (lease_until IS NULL))
);

CREATE INDEX deliveries_ready ON deliveries (queue_key, priority, due, message_id, number) WHERE state = 'ready';
CREATE INDEX deliveries_leased ON deliveries (lease_until) WHERE state = 'leased';
CREATE INDEX deliveries_held ON deliveries (queue_key) WHERE state = 'held';

CREATE TABLE attempts (
    sequence    BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id  TEXT COLLATE "C" NOT NULL,
    delivery    BIGINT NOT NULL,
    number      BIGINT NOT NULL CHECK (number > 0),
    holder      TEXT COLLATE "C" NOT NULL,
    started_at  BIGINT NOT NULL,
    finished_at BIGINT NOT NULL,
    next_hop    TEXT COLLATE "C" NOT NULL,
    peer        TEXT COLLATE "C",
    tls         TEXT COLLATE "C",
    reused      BIGINT NOT NULL CHECK (reused IN (0, 1)),
    fault       TEXT COLLATE "C",
    outcomes    TEXT COLLATE "C" NOT NULL
);

CREATE INDEX attempts_by_message ON attempts (message_id);

CREATE TABLE events (
    sequence   BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- may be seen out of order: transactions overlap
    tenant_id  TEXT COLLATE "C" NOT NULL,
    message_id TEXT COLLATE "C" NOT NULL,
    recipient  TEXT COLLATE "C",
    kind       TEXT COLLATE "C" NOT NULL,
    at         BIGINT NOT NULL,
    facts      TEXT COLLATE "C"
);

CREATE INDEX events_by_message ON events (message_id);
