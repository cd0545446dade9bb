-- What tenants have stopped, and their batches. A delivery is marked by the claim that meets it (put_aside), with its batch.

-- put_suspension: what is said of a tenant ('') or a batch
INSERT INTO suspensions (tenant_id, batch, suspended, swept, since) VALUES (:tenant, :batch, :suspended, :swept, :at)
ON CONFLICT (tenant_id, batch) DO UPDATE SET
    since = CASE WHEN suspensions.suspended = excluded.suspended THEN suspensions.since ELSE excluded.since END,
    suspended = excluded.suspended,
    swept = excluded.swept;

-- delete_batch_resumptions: what batches were excepted from; with :all, what they have suspended themselves as well
DELETE FROM suspensions WHERE tenant_id = :tenant AND batch <> '' AND (suspended = 0 OR CAST(:all AS BIGINT) = 1);

-- settle_resumptions: no mark is left that they would have to lift; they stay where they except a batch from something
UPDATE suspensions SET swept = 1 WHERE tenant_id = :tenant AND swept = 0 AND suspended = 0;

-- forget_resumptions: those that except a batch from nothing
DELETE FROM suspensions WHERE tenant_id = :tenant AND suspended = 0 AND NOT EXISTS (
    SELECT 1 FROM suspensions AS whole WHERE whole.tenant_id = :tenant AND whole.batch = '' AND whole.suspended = 1
);

-- unswept_tenants: whose resumptions may not have reached every delivery
SELECT DISTINCT tenant_id FROM suspensions WHERE swept = 0;

-- marked_batches: the batches ('': none) of which a tenant has deliveries that are marked, hopping from one to the next
WITH RECURSIVE names (batch) AS (
    SELECT min(suspended_batch) FROM deliveries WHERE tenant_id = :tenant AND state = 'ready' AND suspended = 1
    UNION ALL
    SELECT (
        SELECT min(suspended_batch) FROM deliveries
        WHERE tenant_id = :tenant AND state = 'ready' AND suspended = 1 AND suspended_batch > names.batch
    )
    FROM names
    WHERE names.batch IS NOT NULL
)
SELECT batch FROM names WHERE batch IS NOT NULL;

-- marked_deliveries: some of a batch
SELECT message_id, number FROM deliveries
WHERE tenant_id = :tenant AND state = 'ready' AND suspended = 1 AND suspended_batch = :batch
ORDER BY message_id, number LIMIT CAST(:count AS BIGINT);

-- lift_marks: of deliveries that may go again
-- rows: message_id text, number bigint
UPDATE deliveries SET suspended = 0, suspended_batch = NULL
FROM given
WHERE deliveries.message_id = given.message_id AND deliveries.number = given.number AND deliveries.suspended = 1
RETURNING deliveries.queue_key, deliveries.due;

-- pending_of_tenant: how many messages of a tenant are not closed
SELECT
    (SELECT count(*) FROM messages WHERE tenant_id = :tenant AND state = 'open' AND state <> 'sent')
    + (SELECT count(*) FROM messages WHERE tenant_id = :tenant AND state = 'held' AND state <> 'sent')
    + (SELECT count(*) FROM messages WHERE tenant_id = :tenant AND state = 'preparing' AND state <> 'sent');

-- pending_of_batch: of a batch
SELECT count(*) FROM messages
WHERE tenant_id = :tenant AND batch = :batch AND state IN ('open', 'held', 'preparing');

-- batch_names: the batches of a tenant's messages in their order, hopping from one to the next
WITH RECURSIVE names (batch) AS (
    SELECT min(batch) FROM messages WHERE tenant_id = :tenant AND batch > :after
    UNION ALL
    SELECT (SELECT min(batch) FROM messages WHERE tenant_id = :tenant AND batch > names.batch)
    FROM names
    WHERE names.batch IS NOT NULL
)
SELECT batch FROM names WHERE batch IS NOT NULL LIMIT CAST(:count AS BIGINT);

-- batch_counts: messages of batches by state; costs their number
-- rows: batch text
SELECT messages.batch, messages.state, count(*)
FROM given JOIN messages ON messages.tenant_id = :tenant AND messages.batch = given.batch
GROUP BY messages.batch, messages.state;
