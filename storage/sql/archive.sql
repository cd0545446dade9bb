-- Reading what was accepted. Every listing is newest first and walks an index from its end; it stops at its limit.

-- {wanted}: the conditions of a listing besides the one whose index it walks; NULL asks nothing
(CAST(:tenant AS TEXT) IS NULL OR messages.tenant_id = :tenant)
    AND (CAST(:states AS TEXT) IS NULL OR :states LIKE '%' || messages.state || '%')
    AND (CAST(:batch AS TEXT) IS NULL OR messages.batch = :batch)
    AND (CAST(:client_id AS TEXT) IS NULL OR messages.client_id = :client_id)
    AND (CAST(:account AS TEXT) IS NULL OR messages.account_id = :account)
    AND (CAST(:since AS BIGINT) IS NULL OR messages.accepted_at >= :since)
    AND (CAST(:until AS BIGINT) IS NULL OR messages.accepted_at < :until)
    AND (CAST(:priority AS BIGINT) IS NULL OR messages.priority = :priority)
    AND (CAST(:tags AS TEXT) IS NULL OR {has_tags})
    AND (CAST(:suspended AS BIGINT) IS NULL OR {is_suspended} = :suspended)

-- {is_suspended}: whether a message that is not closed waits for a resumption; its batch's word wins over its tenant's
CASE WHEN messages.state IN ('preparing', 'open', 'held') THEN coalesce(
    (SELECT suspended FROM suspensions WHERE suspensions.tenant_id = messages.tenant_id AND suspensions.batch = messages.batch),
    (SELECT suspended FROM suspensions WHERE suspensions.tenant_id = messages.tenant_id AND suspensions.batch = ''),
    0
) ELSE 0 END

-- suspended_messages: those of some
-- rows: id text
SELECT messages.id FROM given JOIN messages ON messages.id = given.id WHERE {is_suspended} = 1;

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

-- deliveries_of: the deliveries of messages
-- rows: id text
SELECT deliveries.message_id, deliveries.number, deliveries.queue_key, deliveries.state, deliveries.due,
    deliveries.attempt
FROM given JOIN deliveries ON deliveries.message_id = given.id
ORDER BY deliveries.message_id, deliveries.number;

-- delivery_standings: the same with their leases, and how much is left of these
SELECT number, queue_key, state, due, attempt, holder, lease_until - {lease_clock} FROM deliveries
WHERE message_id = :message ORDER BY number;

-- addressed_recipients: the recipients of messages with the delivery of each
-- rows: id text
SELECT recipients.message_id, recipients.delivery, {recipient_columns}
FROM given JOIN recipients ON recipients.message_id = given.id
ORDER BY recipients.message_id, recipients.position;

-- reschedule_deliveries: deliveries that nobody holds, as an operator wants them
-- rows: message_id text, number bigint, state text, due bigint, queue_key text
UPDATE deliveries SET
    state = given.state, due = given.due, queue_key = given.queue_key, suspended = 0, suspended_batch = NULL
FROM given
WHERE deliveries.message_id = given.message_id AND deliveries.number = given.number AND deliveries.state <> 'leased';

-- change_accounts: by which messages go
-- rows: id text, account text
UPDATE messages SET account_id = given.account FROM given WHERE messages.id = given.id;

-- is_enabled: whether an account takes mail
SELECT enabled FROM accounts WHERE tenant_id = :owner AND id = :account;

-- content: size and, where it is small, the content itself
SELECT size, inline FROM contents WHERE message_id = :message;
