-- Reading what was accepted. Every listing is newest first and walks an index from its end; it stops at its limit.

-- {wanted}: the conditions of a listing besides the one whose index it walks; NULL asks nothing
(CAST(:tenant AS TEXT) IS NULL OR messages.tenant_id = :tenant)
    AND (CAST(:states AS TEXT) IS NULL OR :states LIKE '%' || messages.state || '%')
    AND (CAST(:batch AS TEXT) IS NULL OR messages.batch = :batch)
    AND (CAST(:client_id AS TEXT) IS NULL OR messages.client_id = :client_id)
    AND (CAST(:account AS TEXT) IS NULL OR messages.account_id = :account)
    AND (CAST(:since AS BIGINT) IS NULL OR messages.accepted_at >= :since)
    AND (CAST(:until AS BIGINT) IS NULL OR messages.accepted_at < :until)

-- list_all: an admin's listing over all tenants
SELECT {message_columns} FROM messages
WHERE messages.id < :before AND {wanted}
ORDER BY messages.id DESC LIMIT :limit;

-- list_by_tenant: a tenant's
SELECT {message_columns} FROM messages
WHERE messages.tenant_id = :tenant AND messages.id < :before AND {wanted}
ORDER BY messages.id DESC LIMIT :limit;

-- list_by_state: a tenant's in one state that is not sent
SELECT {message_columns} FROM messages
WHERE messages.tenant_id = :tenant AND messages.state = :state AND messages.state <> 'sent' AND messages.id < :before
    AND {wanted}
ORDER BY messages.id DESC LIMIT :limit;

-- list_by_batch: a tenant's with one batch code
SELECT {message_columns} FROM messages
WHERE messages.tenant_id = :tenant AND messages.batch = :batch AND messages.id < :before AND {wanted}
ORDER BY messages.id DESC LIMIT :limit;

-- list_by_client_id: the one of a tenant with a client's id
SELECT {message_columns} FROM messages
WHERE messages.tenant_id = :tenant AND messages.client_id = :client_id AND {wanted};

-- list_by_recipient: what went to an address, in letters of either case; reads recipients from the newest on
SELECT {message_columns} FROM recipients JOIN messages ON messages.id = recipients.message_id
WHERE lower(recipients.address) = lower(CAST(:recipient AS TEXT)) AND recipients.message_id < :before AND {wanted}
ORDER BY recipients.message_id DESC LIMIT :limit;

-- message: one message, if it is this tenant's (NULL: any)
SELECT {message_columns} FROM messages
WHERE messages.id = :message AND (CAST(:tenant AS TEXT) IS NULL OR messages.tenant_id = :tenant);

-- recipients_of: the recipients of messages, with the time at which each is tried again
-- rows: id text
SELECT
    recipients.message_id,
    CASE WHEN recipients.state IN ('queued', 'deferred', 'unknown') AND deliveries.state IN ('ready', 'leased')
        THEN deliveries.due END,
    {recipient_columns}
FROM given
JOIN recipients ON recipients.message_id = given.id
LEFT JOIN deliveries ON deliveries.message_id = recipients.message_id AND deliveries.number = recipients.delivery
ORDER BY recipients.message_id, recipients.position;

-- events_of: the events of a message in order
SELECT sequence, kind, at, tenant_id, message_id, recipient, facts FROM events
WHERE message_id = :message ORDER BY sequence;

-- attempts_of: the attempts of a message in order
SELECT outcomes, started_at, finished_at, next_hop, peer, tls, reused, fault, transcript FROM attempts
WHERE message_id = :message ORDER BY sequence;

-- deliveries_of: the deliveries of a message
SELECT number, queue_key, state, due FROM deliveries WHERE message_id = :message ORDER BY number;

-- delivery_standings: the same with their leases, and how much is left of these
SELECT number, queue_key, state, due, attempt, holder, lease_until - {lease_clock} FROM deliveries
WHERE message_id = :message ORDER BY number;

-- addressed_recipients: the recipients of a message with the delivery of each
SELECT delivery, {recipient_columns} FROM recipients WHERE message_id = :message ORDER BY position;

-- reschedule_deliveries: deliveries that nobody holds, as an operator wants them
-- rows: number bigint, state text, due bigint
UPDATE deliveries SET state = given.state, due = given.due, suspended = 0, suspended_batch = NULL
FROM given
WHERE deliveries.message_id = :message AND deliveries.number = given.number AND deliveries.state <> 'leased';

-- content: size and, where it is small, the content itself
SELECT size, inline FROM contents WHERE message_id = :message;
