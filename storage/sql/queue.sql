-- Leases, and looking at the queue without touching it. Who holds a lease is asked by its holder alone: only leased deliveries
-- have one, and a condition on the state would lead PostgreSQL to the index of all leases.

-- claimed_messages: facts and inline content of the messages of claimed deliveries, and how many recipients they have
-- rows: id text
SELECT
    contents.inline,
    (SELECT count(*) FROM recipients WHERE recipients.message_id = given.id),
    {message_columns}
FROM given
JOIN messages ON messages.id = given.id
LEFT JOIN contents ON contents.message_id = given.id;

-- claimed_recipients: the recipients that are to be attempted
-- rows: message_id text, number bigint
SELECT recipients.message_id, recipients.delivery, {recipient_columns}
FROM given
JOIN recipients ON recipients.message_id = given.message_id AND recipients.delivery = given.number
WHERE recipients.state IN ('queued', 'deferred', 'unknown')
ORDER BY recipients.message_id, recipients.position;

-- late_messages: facts of messages that are not to be attempted any more
-- rows: id text
SELECT {message_columns} FROM given JOIN messages ON messages.id = given.id;

-- next_expiry: when the next delivery that waits will be too late, and the clock that says so
SELECT min(expires_at), {wall_clock} FROM deliveries WHERE state = 'ready' AND expires_at IS NOT NULL;

-- claim_expired: lease what waits although its time has passed, wherever in the queue it stands
UPDATE deliveries SET
    state = 'leased', holder = :holder, lease_until = {lease_clock} + CAST(:lease AS BIGINT), attempt = deliveries.attempt + 1,
    suspended = 0, suspended_batch = NULL
FROM (
    SELECT message_id, number FROM deliveries
    WHERE state = 'ready' AND expires_at IS NOT NULL AND expires_at <= {wall_clock}
    ORDER BY expires_at LIMIT CAST(:limit AS BIGINT)
    {passing_over}
) AS late
WHERE deliveries.message_id = late.message_id AND deliveries.number = late.number
RETURNING
    deliveries.queue_key, deliveries.priority, deliveries.due, deliveries.message_id, deliveries.number, deliveries.attempt;

-- claim_overdue: lease what has been due in a queue for :wait µs
UPDATE deliveries SET
    state = 'leased', holder = :holder, lease_until = {lease_clock} + CAST(:lease AS BIGINT), attempt = deliveries.attempt + 1
FROM (
    SELECT message_id, number FROM deliveries
    WHERE state = 'ready' AND suspended = 0 AND queue_key = :queue_key AND priority IN (0, 1, 2, 3)
        AND due <= {wall_clock} - CAST(:wait AS BIGINT)
    LIMIT CAST(:limit AS BIGINT)
    {passing_over}
) AS late
WHERE deliveries.message_id = late.message_id AND deliveries.number = late.number
RETURNING
    deliveries.queue_key, deliveries.priority, deliveries.due, deliveries.message_id, deliveries.number, deliveries.attempt;

-- {recipient_columns}: a recipient, in the order of rows.read_recipient
recipients.position, recipients.address, recipients.state, recipients.reply_code, recipients.reply_enhanced,
recipients.reply_text, recipients.category, recipients.attempts, recipients.changed_at

-- {next_due}: when `keys.queue_key` is due next: one look-up for each priority, however long the queue is
(
    SELECT min(due) FROM (
        SELECT min(due) AS due FROM deliveries WHERE state = 'ready' AND suspended = 0 AND queue_key = keys.queue_key AND priority = 0
        UNION ALL
        SELECT min(due) FROM deliveries WHERE state = 'ready' AND suspended = 0 AND queue_key = keys.queue_key AND priority = 1
        UNION ALL
        SELECT min(due) FROM deliveries WHERE state = 'ready' AND suspended = 0 AND queue_key = keys.queue_key AND priority = 2
        UNION ALL
        SELECT min(due) FROM deliveries WHERE state = 'ready' AND suspended = 0 AND queue_key = keys.queue_key AND priority = 3
    ) AS earliest
)

-- next_dues: when queues are due next, and the clock that says so
-- rows: queue_key text
SELECT keys.queue_key, {next_due}, {wall_clock} FROM given AS keys;

-- heads: every queue with ready deliveries, hopping from key to key in the index, and the clock
WITH RECURSIVE keys (queue_key) AS (
    SELECT min(queue_key) FROM deliveries WHERE state = 'ready' AND suspended = 0
    UNION ALL
    SELECT (
        SELECT min(deliveries.queue_key) FROM deliveries
        WHERE state = 'ready' AND suspended = 0 AND deliveries.queue_key > keys.queue_key
    )
    FROM keys
    WHERE keys.queue_key IS NOT NULL
)
SELECT keys.queue_key, {next_due}, {wall_clock} FROM keys WHERE keys.queue_key IS NOT NULL;

-- suspended_of: which of these deliveries are suspended, as their batch says or else their tenant
-- rows: message_id text, number bigint
SELECT given.message_id, given.number, coalesce(messages.batch, '')
FROM given
JOIN messages ON messages.id = given.message_id
LEFT JOIN suspensions AS own ON own.tenant_id = messages.tenant_id AND own.batch = messages.batch
LEFT JOIN suspensions AS whole ON whole.tenant_id = messages.tenant_id AND whole.batch = ''
WHERE coalesce(own.suspended, whole.suspended, 0) = 1;

-- put_aside: claimed deliveries that are suspended, out of every later claim's way until a resumption
-- rows: message_id text, number bigint, attempt bigint, batch text
UPDATE deliveries SET
    state = 'ready', suspended = 1, suspended_batch = given.batch,
    attempt = deliveries.attempt - 1, holder = NULL, lease_until = NULL
FROM given
WHERE deliveries.message_id = given.message_id
    AND deliveries.number = given.number
    AND deliveries.attempt = given.attempt;

-- {as_settled}: what an attempt led to; the lease is over
state = given.state,
queue_key = given.queue_key,
due = CASE given.state WHEN 'ready' THEN given.due ELSE deliveries.due END,
attempt = deliveries.attempt - given.uncounted,
holder = NULL,
lease_until = NULL,
deaths = 0

-- release_deliveries: give leases back untried, each in its old place
-- rows: message_id text, number bigint, attempt bigint
UPDATE deliveries SET state = 'ready', attempt = deliveries.attempt - 1, holder = NULL, lease_until = NULL
FROM given
WHERE deliveries.message_id = given.message_id
    AND deliveries.number = given.number
    AND deliveries.attempt = given.attempt
    AND deliveries.holder = :holder
RETURNING deliveries.queue_key, deliveries.due;

-- renew_deliveries: extend leases that are still held
-- rows: message_id text, number bigint, attempt bigint
UPDATE deliveries SET lease_until = {lease_clock} + CAST(:lease AS BIGINT)
FROM given
WHERE deliveries.message_id = given.message_id
    AND deliveries.number = given.number
    AND deliveries.attempt = given.attempt
    AND deliveries.holder = :holder
RETURNING deliveries.message_id, deliveries.number;

-- {orphan_columns}: of deliveries whose holder is dead, in the order of recovering._Orphan
deliveries.queue_key, deliveries.due, deliveries.message_id, deliveries.number, deliveries.tenant_id, deliveries.deaths

-- lock_free_messages: those of these messages that nobody else has locked, locked
-- rows: id text
SELECT messages.id FROM messages WHERE messages.id IN (SELECT id FROM given) {passing_over};

-- postpone_deliveries: those that are to be tried alone, so many µs from now
-- rows: message_id text, number bigint, pause bigint
UPDATE deliveries SET due = {wall_clock} + given.pause
FROM given
WHERE deliveries.message_id = given.message_id AND deliveries.number = given.number;

-- hold_deliveries: until somebody has looked; then they may die as often again
-- rows: message_id text, number bigint
UPDATE deliveries SET state = 'held', deaths = 0
FROM given
WHERE deliveries.message_id = given.message_id AND deliveries.number = given.number;

-- release_holder: the leases of a process that is dead, or of an instance at its start: its own and its workers'
UPDATE deliveries SET state = 'ready', holder = NULL, lease_until = NULL, deaths = deaths + 1
WHERE state = 'leased' AND (
    holder = :holder
    OR substr(holder, 1, length(CAST(:holder AS TEXT)) + 1) = CAST(:holder AS TEXT) || '.'
)
RETURNING {orphan_columns};

-- open_deliveries: how many deliveries are not done
SELECT
    (SELECT count(*) FROM deliveries WHERE state = 'ready' AND suspended = 0)
    + (SELECT count(*) FROM deliveries WHERE state = 'ready' AND suspended = 1)
    + (SELECT count(*) FROM deliveries WHERE state = 'leased')
    + (SELECT count(*) FROM deliveries WHERE state = 'held');

-- queue_counts: deliveries by queue and state, and the earliest due time of the ready ones
SELECT queue_key, 'ready', count(*), min(due) FROM deliveries WHERE state = 'ready' AND suspended = 0 GROUP BY queue_key
UNION ALL
SELECT queue_key, 'suspended', count(*), NULL FROM deliveries WHERE state = 'ready' AND suspended = 1 GROUP BY queue_key
UNION ALL
SELECT queue_key, 'leased', count(*), NULL FROM deliveries WHERE state = 'leased' GROUP BY queue_key
UNION ALL
SELECT queue_key, 'held', count(*), NULL FROM deliveries WHERE state = 'held' GROUP BY queue_key;
