-- Lanes by tenant, suspension, limits of tenants and destination domains.

-- A queue is what waits for one account on behalf of one tenant, so that no tenant waits behind another's mail.
UPDATE deliveries SET queue_key = queue_key || '/' || tenant_id WHERE state IN ('ready', 'leased', 'held');

-- Ready, but not to be claimed: its tenant or batch was found suspended. Set by the claim that met it, lifted by a resumption.
ALTER TABLE deliveries ADD COLUMN suspended BIGINT NOT NULL DEFAULT 0
    CHECK (suspended = 0 OR (suspended = 1 AND state = 'ready'));
ALTER TABLE deliveries ADD COLUMN suspended_batch TEXT COLLATE "C" CHECK ((suspended = 1) = (suspended_batch IS NOT NULL)); -- '': none
DROP INDEX deliveries_ready;
CREATE INDEX deliveries_ready ON deliveries (queue_key, priority, due, message_id, number)
    WHERE state = 'ready' AND suspended = 0;
CREATE INDEX deliveries_suspended ON deliveries (tenant_id, suspended_batch, message_id, number)
    WHERE state = 'ready' AND suspended = 1;

-- What a tenant has stopped. A batch's own row wins over its tenant's.
CREATE TABLE suspensions (
    tenant_id TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    batch     TEXT COLLATE "C" NOT NULL, -- '' is the whole tenant
    suspended BIGINT NOT NULL CHECK (suspended IN (0, 1)),
    swept     BIGINT NOT NULL CHECK (swept IN (0, 1)), -- 0: deliveries that a resumption frees are still marked
    since     BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, batch)
);

ALTER TABLE accounts ADD COLUMN limit_unit TEXT COLLATE "C" NOT NULL DEFAULT 'messages' CHECK (limit_unit IN ('messages', 'recipients'));
ALTER TABLE accounts ADD COLUMN on_limit TEXT COLLATE "C" NOT NULL DEFAULT 'defer' CHECK (on_limit IN ('defer', 'reject'));
ALTER TABLE accounts ADD COLUMN batch_size BIGINT CHECK (batch_size > 0);
ALTER TABLE accounts ADD COLUMN enabled BIGINT NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1));

ALTER TABLE tenants ADD COLUMN per_minute BIGINT CHECK (per_minute > 0);
ALTER TABLE tenants ADD COLUMN per_hour BIGINT CHECK (per_hour > 0);
ALTER TABLE tenants ADD COLUMN per_day BIGINT CHECK (per_day > 0);
ALTER TABLE tenants ADD COLUMN limit_unit TEXT COLLATE "C" NOT NULL DEFAULT 'messages' CHECK (limit_unit IN ('messages', 'recipients'));
ALTER TABLE tenants ADD COLUMN on_limit TEXT COLLATE "C" NOT NULL DEFAULT 'defer' CHECK (on_limit IN ('defer', 'reject'));

CREATE TABLE domain_limits (
    tenant_id  TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    domain     TEXT COLLATE "C" NOT NULL, -- in lower case
    per_minute BIGINT CHECK (per_minute > 0),
    per_hour   BIGINT CHECK (per_hour > 0),
    per_day    BIGINT CHECK (per_day > 0),
    limit_unit TEXT COLLATE "C" NOT NULL CHECK (limit_unit IN ('messages', 'recipients')),
    on_limit   TEXT COLLATE "C" NOT NULL CHECK (on_limit IN ('defer', 'reject')),
    PRIMARY KEY (tenant_id, domain)
);

-- Under a limit that counts recipients one send is many: it takes that many numbers, and the log has the last of them.
ALTER TABLE slots ADD COLUMN weight BIGINT NOT NULL DEFAULT 1 CHECK (weight > 0);
ALTER TABLE send_log ADD COLUMN weight BIGINT NOT NULL DEFAULT 1 CHECK (weight > 0);

-- Retries of a tenant's or an account's own: a JSON object of what differs from the instance's; NULL: nothing does.
ALTER TABLE accounts ADD COLUMN retry TEXT;
ALTER TABLE tenants ADD COLUMN retry TEXT;

-- When a delivery that waits is too late: found by its time, wherever in the queue it stands.
ALTER TABLE deliveries ADD COLUMN expires_at BIGINT;
UPDATE deliveries SET expires_at = (SELECT messages.expires_at FROM messages WHERE messages.id = deliveries.message_id)
WHERE state <> 'done';
CREATE INDEX deliveries_expiring ON deliveries (expires_at) WHERE state = 'ready' AND expires_at IS NOT NULL;

-- How many holders in a row have died with it, without an outcome in between: after some it is held.
ALTER TABLE deliveries ADD COLUMN deaths BIGINT NOT NULL DEFAULT 0 CHECK (deaths >= 0);

-- What was said in a try, a line for each line of it.
ALTER TABLE attempts ADD COLUMN transcript TEXT;

-- Rotation with overlap: what was good before is good until then.
ALTER TABLE credentials ADD COLUMN previous_hash TEXT COLLATE "C";
ALTER TABLE credentials ADD COLUMN previous_until BIGINT NOT NULL DEFAULT 0;
ALTER TABLE tokens ADD COLUMN previous_hash TEXT COLLATE "C";
ALTER TABLE tokens ADD COLUMN previous_until BIGINT NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX tokens_by_previous_hash ON tokens (previous_hash) WHERE previous_hash IS NOT NULL;
ALTER TABLE tokens ADD COLUMN networks TEXT COLLATE "C" NOT NULL DEFAULT '[]';
ALTER TABLE tokens ADD COLUMN last_used_at BIGINT;

-- Who did what by the API. No reference to tenants: it tells of them after they are gone.
CREATE TABLE command_log (
    sequence   BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         BIGINT NOT NULL,
    actor      TEXT COLLATE "C" NOT NULL,
    tenant_id  TEXT COLLATE "C",
    peer       TEXT COLLATE "C",
    request_id TEXT COLLATE "C" NOT NULL,
    operation  TEXT COLLATE "C" NOT NULL,
    method     TEXT COLLATE "C" NOT NULL,
    path       TEXT COLLATE "C" NOT NULL,
    status     BIGINT NOT NULL,
    body       TEXT COLLATE "C"
);

CREATE INDEX command_log_by_tenant ON command_log (tenant_id, sequence) WHERE tenant_id IS NOT NULL;

-- By what a submission that is repeated is known: a client's idempotency key, or, behind a blank, what the relay made of a message
-- without one for a tenant that has duplicates found. It outlives its message, and ends by its own time.
CREATE TABLE idempotency_keys (
    tenant_id       TEXT COLLATE "C" NOT NULL,
    idempotency_key TEXT COLLATE "C" NOT NULL,
    message_id      TEXT COLLATE "C" NOT NULL,
    digest          TEXT COLLATE "C" NOT NULL,
    kept_until      BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, idempotency_key)
);
CREATE INDEX idempotency_keys_by_end ON idempotency_keys (kept_until);
INSERT INTO idempotency_keys (tenant_id, idempotency_key, message_id, digest, kept_until)
SELECT tenant_id, idempotency_key, id, digest, coalesce(not_before, accepted_at) + 86400000000
FROM messages WHERE idempotency_key IS NOT NULL;
DROP INDEX messages_by_idempotency_key;
ALTER TABLE messages DROP COLUMN digest;
ALTER TABLE messages DROP COLUMN idempotency_key;

-- Within which time (µs) the same message from a tenant, by Message-ID and content, is taken to be one; NULL: never.
ALTER TABLE tenants ADD COLUMN duplicates_window BIGINT CHECK (duplicates_window > 0);
