-- What must be written otherwise for SQLite.

-- {lease_clock}: what leases are measured by
-- differs because leases on one host are measured by the machine's clock since boot, which never steps
CAST(:boot AS BIGINT)

-- {wall_clock}: what due times are held against
-- differs because the one instance and its store share a clock, and tests own it
CAST(:now AS BIGINT)

-- {passing_over}: of rows to be leased, those that others have locked
-- differs because SQLite has one writer: nothing is locked by others

-- {has_tags}: whether a message has all of :tags, a JSON array
-- differs because each reads JSON in its own way
NOT EXISTS (
    SELECT 1 FROM json_each(:tags) AS wanted
    WHERE wanted.value NOT IN (SELECT had.value FROM json_each(coalesce(messages.tags, '[]')) AS had)
)

-- claim: lease the first due deliveries of a queue, most urgent first
-- differs because SQLite has one writer: nothing is locked by others, and nothing is to be passed over
UPDATE deliveries SET
    state = 'leased', holder = :holder, lease_until = {lease_clock} + CAST(:lease AS BIGINT), attempt = deliveries.attempt + 1
FROM (
    SELECT * FROM (
        SELECT message_id, number, 0 AS rank FROM deliveries
        WHERE state = 'ready' AND suspended = 0 AND queue_key = :queue_key AND priority = 0 AND due <= :now
        ORDER BY due, message_id, number LIMIT :limit
    )
    UNION ALL
    SELECT * FROM (
        SELECT message_id, number, due + 1 * CAST(:ageing AS BIGINT) AS rank FROM deliveries
        WHERE state = 'ready' AND suspended = 0 AND queue_key = :queue_key AND priority = 1 AND due <= :now
        ORDER BY due, message_id, number LIMIT :limit
    )
    UNION ALL
    SELECT * FROM (
        SELECT message_id, number, due + 2 * CAST(:ageing AS BIGINT) AS rank FROM deliveries
        WHERE state = 'ready' AND suspended = 0 AND queue_key = :queue_key AND priority = 2 AND due <= :now
        ORDER BY due, message_id, number LIMIT :limit
    )
    UNION ALL
    SELECT * FROM (
        SELECT message_id, number, due + 3 * CAST(:ageing AS BIGINT) AS rank FROM deliveries
        WHERE state = 'ready' AND suspended = 0 AND queue_key = :queue_key AND priority = 3 AND due <= :now
        ORDER BY due, message_id, number LIMIT :limit
    )
    ORDER BY rank, message_id, number LIMIT :limit
) AS urgent
WHERE deliveries.message_id = urgent.message_id AND deliveries.number = urgent.number
RETURNING deliveries.priority, deliveries.due, deliveries.message_id, deliveries.number, deliveries.attempt;

-- recover: make the deliveries of dead leases ready again
-- differs because nothing is locked by others
UPDATE deliveries SET state = 'ready', holder = NULL, lease_until = NULL, deaths = deaths + 1
WHERE state = 'leased' AND lease_until <= :boot
RETURNING {orphan_columns};

-- release_all: at the start, every lease is dead
-- differs because the file's lock proves that no other instance is there to hold one
UPDATE deliveries SET state = 'ready', holder = NULL, lease_until = NULL, deaths = deaths + 1
WHERE state = 'leased'
RETURNING {orphan_columns};

-- settle_deliveries: what attempts led to, only for whom the lease is still theirs
-- differs because nothing is locked by others
-- rows: message_id text, number bigint, attempt bigint, queue_key text, state text, due bigint, uncounted bigint
UPDATE deliveries SET {as_settled}
FROM given
WHERE deliveries.message_id = given.message_id
    AND deliveries.number = given.number
    AND deliveries.attempt = given.attempt
    AND deliveries.holder = :holder;

-- free_pages: how many pages of the file are free, and how many it has
-- differs because PostgreSQL looks after its files by itself
SELECT freelist_count, page_count FROM pragma_freelist_count, pragma_page_count;

-- give_back_page: shorten the file by one; of more, Python's driver would do the first alone
-- differs for the same reason
PRAGMA incremental_vacuum(1);

-- accept_ordinary: messages of one recipient each, as storage.ordinary hands them in
-- differs because SQLite writes several tables in one statement by a trigger alone (sql/on_open/sqlite.sql)
-- rows: id text, tenant_id text, sender text, priority bigint, accepted_at bigint, size bigint, internet_message_id text, source text, account_id text, client_id text, batch text, not_before bigint, expires_at bigint, tags text, metadata text, eight_bit bigint, smtputf8 bigint, state text, inline bytea, address text, recipient_state text, queue_key text, due bigint, leased bigint, kind text, at bigint, facts text
INSERT INTO accepting
SELECT given.*, CASE leased WHEN 1 THEN :holder END, CASE leased WHEN 1 THEN {lease_clock} + CAST(:lease AS BIGINT) END
FROM given;

-- settle_ordinary: what attempts for the one recipient of a message led to, only for whom the lease is still theirs
-- differs for the same reason
-- rows: message_id text, number bigint, attempt bigint, queue_key text, state text, due bigint, uncounted bigint, recipient_state text, reply_code bigint, reply_enhanced text, reply_text text, category text, attempts bigint, changed_at bigint, position bigint, sources text, message_state text, started_at bigint, finished_at bigint, next_hop text, peer text, tls text, reused bigint, fault text, outcomes text, transcript text, tenant_id text, recipient text, kind text, at bigint, facts text
INSERT INTO settling SELECT given.*, :holder FROM given;
