-- What must be written otherwise for PostgreSQL.

-- {lease_clock}: what leases are measured by
-- differs because instances on several hosts agree on no clock but the database's
CAST(extract(epoch FROM statement_timestamp()) * 1000000 AS BIGINT)

-- {wall_clock}: what due times are held against
-- differs for the same reason
CAST(extract(epoch FROM statement_timestamp()) * 1000000 AS BIGINT)

-- {passing_over}: of rows to be leased, those that others have locked
-- differs because other instances lease at the same time
FOR UPDATE SKIP LOCKED

-- {has_tags}: whether a message has all of :tags, a JSON array
-- differs because each reads JSON in its own way
CAST(coalesce(messages.tags, '[]') AS JSONB) @> CAST(:tags AS JSONB)

-- claim: lease the first due deliveries of a queue, most urgent first
-- differs because other instances claim at the same time: what they have locked is passed over
WITH immediate AS MATERIALIZED (
    SELECT message_id, number, CAST(0 AS BIGINT) AS rank FROM deliveries
    WHERE state = 'ready' AND suspended = 0 AND queue_key = :queue_key AND priority = 0 AND due <= {wall_clock}
    ORDER BY due, message_id, number LIMIT CAST(:limit AS BIGINT)
    FOR UPDATE SKIP LOCKED
), high AS MATERIALIZED (
    SELECT message_id, number, due + 1 * CAST(:ageing AS BIGINT) AS rank FROM deliveries
    WHERE state = 'ready' AND suspended = 0 AND queue_key = :queue_key AND priority = 1 AND due <= {wall_clock}
    ORDER BY due, message_id, number LIMIT CAST(:limit AS BIGINT)
    FOR UPDATE SKIP LOCKED
), medium AS MATERIALIZED (
    SELECT message_id, number, due + 2 * CAST(:ageing AS BIGINT) AS rank FROM deliveries
    WHERE state = 'ready' AND suspended = 0 AND queue_key = :queue_key AND priority = 2 AND due <= {wall_clock}
    ORDER BY due, message_id, number LIMIT CAST(:limit AS BIGINT)
    FOR UPDATE SKIP LOCKED
), low AS MATERIALIZED (
    SELECT message_id, number, due + 3 * CAST(:ageing AS BIGINT) AS rank FROM deliveries
    WHERE state = 'ready' AND suspended = 0 AND queue_key = :queue_key AND priority = 3 AND due <= {wall_clock}
    ORDER BY due, message_id, number LIMIT CAST(:limit AS BIGINT)
    FOR UPDATE SKIP LOCKED
), urgent AS (
    SELECT * FROM immediate UNION ALL SELECT * FROM high UNION ALL SELECT * FROM medium UNION ALL SELECT * FROM low
    ORDER BY rank, message_id, number LIMIT CAST(:limit AS BIGINT)
)
UPDATE deliveries SET
    state = 'leased', holder = :holder, lease_until = {lease_clock} + CAST(:lease AS BIGINT), attempt = deliveries.attempt + 1
FROM urgent
WHERE deliveries.message_id = urgent.message_id AND deliveries.number = urgent.number
RETURNING deliveries.priority, deliveries.due, deliveries.message_id, deliveries.number, deliveries.attempt;

-- recover: make the deliveries of dead leases ready again
-- differs because others recover at the same time
UPDATE deliveries SET state = 'ready', holder = NULL, lease_until = NULL, deaths = deliveries.deaths + 1
FROM (
    SELECT message_id, number FROM deliveries
    WHERE state = 'leased' AND lease_until <= {lease_clock}
    FOR UPDATE SKIP LOCKED
) AS dead
WHERE deliveries.message_id = dead.message_id AND deliveries.number = dead.number
RETURNING {orphan_columns};

-- settle_deliveries: what attempts led to, only for whom the lease is still theirs
-- differs because two deliveries of one message may be settled at the same time: the messages are locked, so that the states
-- derived from their recipients in a later statement are derived from what the other has committed
-- rows: message_id text, number bigint, attempt bigint, queue_key text, state text, due bigint, uncounted bigint
WITH locked AS MATERIALIZED (
    SELECT messages.id FROM messages WHERE messages.id IN (SELECT message_id FROM given)
    ORDER BY messages.id FOR NO KEY UPDATE
)
UPDATE deliveries SET {as_settled}
FROM given JOIN locked ON locked.id = given.message_id
WHERE deliveries.message_id = given.message_id
    AND deliveries.number = given.number
    AND deliveries.attempt = given.attempt
    AND deliveries.holder = :holder;

-- lock_limits: one transaction at a time takes, stamps or gives back slots of a limit
-- differs because other instances send under the same limits
-- rows: limit_key text
SELECT limits.limit_key FROM limits WHERE limits.limit_key IN (SELECT limit_key FROM given)
ORDER BY limits.limit_key FOR UPDATE;

-- lock_messages: keep others from settling what an operator is about to change
-- differs because others settle at the same time
-- rows: id text
SELECT messages.id FROM messages WHERE messages.id IN (SELECT id FROM given) ORDER BY messages.id FOR NO KEY UPDATE;

-- lock_deliveries: keep others from claiming what an operator is about to change
-- differs because others claim at the same time
-- rows: message_id text
SELECT deliveries.number FROM deliveries WHERE deliveries.message_id IN (SELECT message_id FROM given)
ORDER BY deliveries.message_id, deliveries.number FOR UPDATE;

-- share_suspensions: what a tenant has suspended stays as it is until what is put aside is committed
-- differs because a resumption that did not wait for it would leave behind what it does not see
-- rows: tenant_id text
SELECT suspensions.batch FROM suspensions WHERE suspensions.tenant_id IN (SELECT tenant_id FROM given)
ORDER BY suspensions.batch FOR SHARE;

-- lock_suspensions: before they are changed
-- differs for the same reason
-- rows: tenant_id text
SELECT suspensions.batch FROM suspensions WHERE suspensions.tenant_id IN (SELECT tenant_id FROM given)
ORDER BY suspensions.batch FOR UPDATE;

-- lock_configuration: one change of the configuration, migration or first start at a time
-- differs because several instances may make one at the same time; the number spells STAGEPOS
-- rows: reason text
SELECT pg_advisory_xact_lock(6004495977553088339) FROM given;

-- notify: tell the other instances
-- differs because there are other instances
-- rows: payload text
SELECT pg_notify('stagepost', given.payload) FROM given;

-- write_chunk: one piece of a large content
-- differs because a large content is a file beside SQLite
INSERT INTO content_chunks (message_id, n, written_at, octets)
VALUES (:message, :n, {wall_clock}, :octets);

-- read_chunk: one piece of a large content
-- differs because a large content is a file beside SQLite
SELECT octets FROM content_chunks WHERE message_id = :message AND n = :n;

-- delete_chunks: a content that is not to be kept
-- differs because a large content is a file beside SQLite
-- rows: message_id text
DELETE FROM content_chunks WHERE message_id IN (SELECT message_id FROM given);

-- old_chunks: large contents from the oldest on, as they were begun more than :age µs ago, and whether they are still to be kept
-- differs because a large content is a file beside SQLite
SELECT content_chunks.message_id, contents.message_id
FROM content_chunks LEFT JOIN contents ON contents.message_id = content_chunks.message_id
WHERE content_chunks.message_id > :after AND content_chunks.n = 0
    AND content_chunks.written_at < {wall_clock} - CAST(:age AS BIGINT)
ORDER BY content_chunks.message_id LIMIT CAST(:count AS BIGINT);

-- last_event: the last sequence that was given to an event, committed or not
-- differs because transactions that write events overlap here
SELECT last_value FROM events_sequence_seq;

-- event_writers: the transactions that have written events, or may be about to, and are not at their end
-- differs for the same reason; an INSERT locks its table before it takes a sequence, and lets go after its commit is seen
SELECT DISTINCT virtualtransaction FROM pg_locks
WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND granted
    AND relation = CAST('events' AS regclass)
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database());

-- accept_ordinary: messages of one recipient each, as storage.ordinary hands them in
-- differs because SQLite writes several tables in one statement by a trigger alone (sql/on_open/sqlite.sql)
-- rows: accepting(id text, tenant_id text, sender text, priority bigint, accepted_at bigint, size bigint, internet_message_id text, source text, account_id text, client_id text, batch text, not_before bigint, expires_at bigint, tags text, metadata text, eight_bit bigint, smtputf8 bigint, state text, inline bytea, address text, recipient_state text, queue_key text, due bigint, leased bigint, kind text, at bigint, facts text)
WITH content AS (
    INSERT INTO contents (message_id, size, inline) SELECT id, size, inline FROM given(id, size, inline)
), addressed AS (
    INSERT INTO recipients (message_id, position, address, delivery, state, attempts)
    SELECT id, 0, address, 1, recipient_state, 0 FROM given(id, address, recipient_state)
), queued AS (
    INSERT INTO deliveries
        (message_id, number, tenant_id, queue_key, priority, due, expires_at, state, attempt, holder, lease_until)
    SELECT
        id, 1, tenant_id, queue_key, priority, due, expires_at,
        CASE leased WHEN 1 THEN 'leased' ELSE 'ready' END,
        leased,
        CASE leased WHEN 1 THEN CAST(:holder AS TEXT) END,
        CASE leased WHEN 1 THEN {lease_clock} + CAST(:lease AS BIGINT) END
    FROM given(id, tenant_id, queue_key, priority, due, expires_at, leased)
), told AS (
    INSERT INTO events (tenant_id, message_id, kind, at, facts)
    SELECT tenant_id, id, kind, at, facts FROM given(tenant_id, id, kind, at, facts)
)
INSERT INTO messages ({message_columns_to_insert})
SELECT {message_columns_to_insert} FROM given({message_columns_to_insert});

-- settle_ordinary: what attempts for the one recipient of a message led to, only for whom the lease is still theirs
-- differs for the same reason. Each table waits until the one before it is written, so that messages are locked first, as
-- everywhere; a claim in the same statement waits for the last (`before`); an event without a tenant is refused, and with it
-- all the rest, where a lease or a transition was not as it had to be
-- rows: settling(message_id text, number bigint, attempt bigint, queue_key text, state text, due bigint, uncounted bigint, recipient_state text, reply_code bigint, reply_enhanced text, reply_text text, category text, attempts bigint, changed_at bigint, position bigint, sources text, message_state text, started_at bigint, finished_at bigint, next_hop text, peer text, tls text, reused bigint, fault text, outcomes text, transcript text, tenant_id text, recipient text, kind text, at bigint, facts text)
WITH derived AS (
    UPDATE messages SET state = given.message_state FROM given(message_id, message_state)
    WHERE messages.id = given.message_id
    RETURNING 1
), held AS (
    UPDATE deliveries SET {as_settled}
    FROM given(message_id, number, attempt, queue_key, state, due, uncounted)
    WHERE (SELECT count(*) FROM derived) > 0
        AND deliveries.message_id = given.message_id
        AND deliveries.number = given.number
        AND deliveries.attempt = given.attempt
        AND deliveries.holder = :holder
    RETURNING 1
), changed AS (
    UPDATE recipients SET state = given.recipient_state, {as_replied}
    FROM given(
        message_id, recipient_state, reply_code, reply_enhanced, reply_text, category, attempts, changed_at, position, sources
    )
    WHERE (SELECT count(*) FROM held) > 0
        AND recipients.message_id = given.message_id
        AND recipients.position = given.position
        AND given.sources LIKE '%' || recipients.state || '%'
    RETURNING 1
), tried AS (
    INSERT INTO attempts
        (message_id, delivery, number, holder, started_at, finished_at, next_hop, peer, tls, reused, fault, outcomes, transcript)
    SELECT
        message_id, number, attempt, CAST(:holder AS TEXT),
        started_at, finished_at, next_hop, peer, tls, reused, fault, outcomes, transcript
    FROM given(
        message_id, number, attempt, started_at, finished_at, next_hop, peer, tls, reused, fault, outcomes, transcript
    )
), counted AS (
    SELECT (SELECT count(*) FROM held) AS held, (SELECT count(*) FROM changed) AS changed, count(*) AS asked
    FROM given(message_id)
), before AS (
    SELECT count(*) AS written FROM changed
)
INSERT INTO events (tenant_id, message_id, recipient, kind, at, facts)
SELECT
    CASE WHEN counted.held = counted.asked AND counted.changed = counted.asked THEN given.tenant_id END,
    given.message_id, given.recipient, given.kind, given.at, given.facts
FROM counted, given(message_id, tenant_id, recipient, kind, at, facts);

-- claim_ordinary: lease the first due deliveries of queues of which nothing has to be looked at closer: a row for each recipient, with
-- the content in a delivery's first, and one for a queue of which nothing was taken
-- differs for the same reason; claim and the three that follow it are four round trips. Who locks messages may wait for a
-- delivery that we have locked: so none is before all that is to be settled by the same statement
-- rows: queue_key text, at_most bigint
WITH before AS (SELECT 1 AS written), urgent AS MATERIALIZED (
    SELECT line.message_id, line.number
    FROM given(queue_key, at_most), LATERAL (
        SELECT found.message_id, found.number
        FROM (VALUES (0), (1), (2), (3)) AS level (priority), LATERAL (
            SELECT
                message_id, number,
                CASE deliveries.priority WHEN 0 THEN 0 ELSE due + deliveries.priority * CAST(:ageing AS BIGINT) END AS rank
            FROM deliveries
            WHERE state = 'ready' AND suspended = 0 AND queue_key = given.queue_key
                AND priority = level.priority AND due <= {wall_clock}
            ORDER BY due, message_id, number LIMIT given.at_most
            FOR UPDATE SKIP LOCKED
        ) AS found
        ORDER BY found.rank, found.message_id, found.number LIMIT given.at_most
    ) AS line
    WHERE (SELECT written FROM before) > 0
), claimed AS (
    UPDATE deliveries SET
        state = 'leased', holder = :holder, lease_until = {lease_clock} + CAST(:lease AS BIGINT), attempt = deliveries.attempt + 1
    FROM urgent
    WHERE deliveries.message_id = urgent.message_id AND deliveries.number = urgent.number
    RETURNING
        deliveries.queue_key, deliveries.priority, deliveries.due, deliveries.message_id, deliveries.number, deliveries.attempt,
        (SELECT count(*) FROM recipients WHERE recipients.message_id = deliveries.message_id) AS addressed,
        (
            SELECT min(position) FROM recipients
            WHERE recipients.message_id = deliveries.message_id AND recipients.delivery = deliveries.number
                AND recipients.state IN ('queued', 'deferred', 'unknown')
        ) AS first
), left_over AS MATERIALIZED (
    SELECT given.queue_key, {wall_clock} AS now, (
        SELECT min(waiting.due)
        FROM (VALUES (0), (1), (2), (3)) AS level (priority), LATERAL (
            SELECT due FROM deliveries
            WHERE state = 'ready' AND suspended = 0 AND queue_key = given.queue_key AND priority = level.priority
                AND (message_id, number) NOT IN (SELECT message_id, number FROM urgent)
            ORDER BY due LIMIT 1
        ) AS waiting
    ) AS due
    FROM given(queue_key)
)
SELECT
    left_over.queue_key, left_over.due, left_over.now,
    claimed.priority, claimed.due, claimed.message_id, claimed.number, claimed.attempt,
    claimed.addressed, contents.inline, {message_columns}, {recipient_columns}
FROM left_over
LEFT JOIN claimed ON claimed.queue_key = left_over.queue_key
LEFT JOIN messages ON messages.id = claimed.message_id
LEFT JOIN recipients ON recipients.message_id = claimed.message_id AND recipients.delivery = claimed.number
    AND recipients.state IN ('queued', 'deferred', 'unknown')
LEFT JOIN contents ON contents.message_id = claimed.message_id AND recipients.position = claimed.first
ORDER BY claimed.message_id, claimed.number, recipients.position;
