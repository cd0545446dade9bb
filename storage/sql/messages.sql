-- Accepting messages, and the rows that an attempt or an operator changes.

-- {message_columns}: the facts of a message, in the order of rows.read_message
messages.id, messages.tenant_id, messages.sender, messages.priority, messages.accepted_at, messages.size,
messages.internet_message_id, messages.source, messages.account_id, messages.client_id, messages.batch,
messages.not_before, messages.expires_at, messages.tags, messages.metadata, messages.eight_bit, messages.smtputf8, messages.state

-- {message_columns_to_insert}: the same as an INSERT names them
id, tenant_id, sender, priority, accepted_at, size, internet_message_id, source, account_id, client_id, batch,
not_before, expires_at, tags, metadata, eight_bit, smtputf8, state

-- insert_messages: the facts of messages
-- rows: id text, tenant_id text, sender text, priority bigint, accepted_at bigint, size bigint, internet_message_id text, source text, account_id text, client_id text, batch text, not_before bigint, expires_at bigint, tags text, metadata text, eight_bit bigint, smtputf8 bigint, state text
INSERT INTO messages ({message_columns_to_insert})
SELECT {message_columns_to_insert} FROM given;

-- insert_named_messages: messages that carry a client id; those whose id is taken are left out of the answer
-- rows: id text, tenant_id text, sender text, priority bigint, accepted_at bigint, size bigint, internet_message_id text, source text, account_id text, client_id text, batch text, not_before bigint, expires_at bigint, tags text, metadata text, eight_bit bigint, smtputf8 bigint, state text
INSERT INTO messages ({message_columns_to_insert})
SELECT {message_columns_to_insert} FROM given WHERE TRUE
ON CONFLICT DO NOTHING
RETURNING id;

-- insert_keys: keys that are free, or have ended; the messages of the others are left out of the answer
-- rows: tenant_id text, idempotency_key text, message_id text, digest text, kept_until bigint
INSERT INTO idempotency_keys (tenant_id, idempotency_key, message_id, digest, kept_until)
SELECT tenant_id, idempotency_key, message_id, digest, kept_until FROM given WHERE TRUE
ON CONFLICT (tenant_id, idempotency_key) DO UPDATE SET
    message_id = excluded.message_id, digest = excluded.digest, kept_until = excluded.kept_until
WHERE idempotency_keys.kept_until <= {wall_clock}
RETURNING message_id;

-- message_with_key: the message that a key has brought in
SELECT message_id, digest FROM idempotency_keys WHERE tenant_id = :tenant AND idempotency_key = :key;

-- forget_keys: of messages that are not accepted after all
-- rows: tenant_id text, idempotency_key text, message_id text
DELETE FROM idempotency_keys
WHERE (tenant_id, idempotency_key, message_id) IN (SELECT tenant_id, idempotency_key, message_id FROM given);

-- forget_old_keys: some of those that have ended
DELETE FROM idempotency_keys WHERE (tenant_id, idempotency_key) IN (
    SELECT tenant_id, idempotency_key FROM idempotency_keys
    WHERE kept_until <= {wall_clock} ORDER BY kept_until LIMIT CAST(:count AS BIGINT)
);

-- delete_keys: all of a tenant
DELETE FROM idempotency_keys WHERE tenant_id = :tenant;

-- give_up_client_ids: so that other messages can have them
-- rows: id text
UPDATE messages SET client_id = NULL FROM given WHERE messages.id = given.id;

-- message_with_client_id: the message that has a client's id
SELECT id FROM messages WHERE tenant_id = :tenant AND client_id = :client_id;

-- insert_contents: content, or word that it is kept outside
-- rows: message_id text, size bigint, inline bytea
INSERT INTO contents (message_id, size, inline)
SELECT message_id, size, inline FROM given;

-- insert_recipients: recipients in their order
-- rows: message_id text, position bigint, address text, delivery bigint, state text, attempts bigint
INSERT INTO recipients (message_id, position, address, delivery, state, attempts)
SELECT message_id, position, address, delivery, state, attempts FROM given;

-- insert_deliveries: deliveries, leased by this instance where that is asked for
-- rows: message_id text, number bigint, tenant_id text, queue_key text, priority bigint, due bigint, expires_at bigint, leased bigint
INSERT INTO deliveries
    (message_id, number, tenant_id, queue_key, priority, due, expires_at, state, attempt, holder, lease_until)
SELECT
    message_id, number, tenant_id, queue_key, priority, due, expires_at,
    CASE leased WHEN 1 THEN 'leased' ELSE 'ready' END,
    leased,
    CASE leased WHEN 1 THEN CAST(:holder AS TEXT) END,
    CASE leased WHEN 1 THEN {lease_clock} + CAST(:lease AS BIGINT) END
FROM given;

-- insert_events: what happened
-- rows: tenant_id text, message_id text, recipient text, kind text, at bigint, facts text
INSERT INTO events (tenant_id, message_id, recipient, kind, at, facts)
SELECT tenant_id, message_id, recipient, kind, at, facts FROM given;

-- insert_attempts: what was tried
-- rows: message_id text, delivery bigint, number bigint, holder text, started_at bigint, finished_at bigint, next_hop text, peer text, tls text, reused bigint, fault text, outcomes text, transcript text
INSERT INTO attempts
    (message_id, delivery, number, holder, started_at, finished_at, next_hop, peer, tls, reused, fault, outcomes, transcript)
SELECT
    message_id, delivery, number, holder, started_at, finished_at, next_hop, peer, tls, reused, fault, outcomes, transcript
FROM given;

-- {as_replied}: what a recipient's change says besides the state
reply_code = given.reply_code,
reply_enhanced = given.reply_enhanced,
reply_text = given.reply_text,
category = given.category,
attempts = given.attempts,
changed_at = given.changed_at

-- change_recipients: new states, each only from a state that may pass into it (`sources` names them)
-- rows: state text, reply_code bigint, reply_enhanced text, reply_text text, category text, attempts bigint, changed_at bigint, message_id text, position bigint, sources text
UPDATE recipients SET state = given.state, {as_replied}
FROM given
WHERE recipients.message_id = given.message_id
    AND recipients.position = given.position
    AND given.sources LIKE '%' || recipients.state || '%';

-- set_message_states: where they are known
-- rows: id text, state text
UPDATE messages SET state = given.state FROM given WHERE messages.id = given.id;

-- derive_message_states: the state of messages from all their recipients (relay.model.message.derive_state in SQL)
-- rows: id text
WITH tally AS (
    SELECT
        message_id,
        count(*) AS recipients,
        count(CASE WHEN state IN ('queued', 'deferred', 'unknown') THEN 1 END) AS open,
        count(CASE state WHEN 'held' THEN 1 END) AS held,
        count(CASE state WHEN 'captured' THEN 1 END) AS captured,
        count(CASE state WHEN 'sent' THEN 1 END) AS sent,
        count(CASE state WHEN 'cancelled' THEN 1 END) AS cancelled
    FROM recipients
    WHERE message_id IN (SELECT id FROM given)
    GROUP BY message_id
)
UPDATE messages SET
    state = CASE
        WHEN tally.open > 0 THEN 'open'
        WHEN tally.held > 0 THEN 'held'
        WHEN tally.captured > 0 THEN 'captured'
        WHEN tally.sent = tally.recipients THEN 'sent'
        WHEN tally.sent > 0 THEN 'partial'
        WHEN tally.cancelled = tally.recipients THEN 'cancelled'
        ELSE 'failed'
    END
FROM tally
WHERE messages.id = tally.message_id;

-- last_delivery: the highest number of a message's deliveries
SELECT max(number) FROM deliveries WHERE message_id = :message;

-- add_deliveries: for recipients that leave a delivery, as urgent, ready and due as it is
-- rows: message_id text, source bigint, number bigint, queue_key text
INSERT INTO deliveries (message_id, number, tenant_id, queue_key, priority, due, expires_at, state, attempt)
SELECT
    deliveries.message_id, given.number, deliveries.tenant_id, given.queue_key, deliveries.priority, deliveries.due,
    deliveries.expires_at, 'ready', 0
FROM given
JOIN deliveries ON deliveries.message_id = given.message_id AND deliveries.number = given.source;

-- move_recipients: to another delivery of their message
-- rows: message_id text, position bigint, delivery bigint
UPDATE recipients SET delivery = given.delivery
FROM given
WHERE recipients.message_id = given.message_id AND recipients.position = given.position;

-- feed: events behind a sequence, with whether they are asked for, how many were walked, and always the last of these.
-- Walks the primary key, so that writing events costs no index more: who asks for few of them is led past the others.
WITH walked AS MATERIALIZED (
    SELECT sequence, kind, at, tenant_id, message_id, recipient, facts FROM events
    WHERE sequence > CAST(:after AS BIGINT) AND sequence <= CAST(:until AS BIGINT)
    ORDER BY sequence LIMIT CAST(:walk AS BIGINT)
), judged AS (
    SELECT sequence, kind, at, tenant_id, message_id, recipient, facts,
        CASE WHEN (CAST(:tenant AS TEXT) IS NULL OR tenant_id = :tenant) AND (CAST(:kind AS TEXT) IS NULL OR kind = :kind)
            THEN 1 ELSE 0 END AS wanted,
        (SELECT count(*) FROM walked) AS walked
    FROM walked
)
SELECT sequence, kind, at, tenant_id, message_id, recipient, facts, wanted, walked FROM judged
WHERE wanted = 1 OR sequence = (SELECT max(sequence) FROM walked)
ORDER BY sequence LIMIT CAST(:count AS BIGINT);

-- newest_event: the last sequence of an event up to one
SELECT coalesce(max(sequence), 0) FROM events WHERE sequence <= CAST(:until AS BIGINT);

-- feed_of_message: the same for one message, all of whose events are few
WITH walked AS MATERIALIZED (
    SELECT sequence, kind, at, tenant_id, message_id, recipient, facts FROM events WHERE message_id = :message
)
SELECT sequence, kind, at, tenant_id, message_id, recipient, facts, 1, 0 FROM walked
WHERE sequence > CAST(:after AS BIGINT) AND sequence <= CAST(:until AS BIGINT)
    AND (CAST(:tenant AS TEXT) IS NULL OR tenant_id = :tenant) AND (CAST(:kind AS TEXT) IS NULL OR kind = :kind)
ORDER BY sequence LIMIT CAST(:count AS BIGINT);
