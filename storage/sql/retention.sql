-- Deleting messages with all that belongs to them, some at a time.

-- some_messages: some messages of a tenant
SELECT id FROM messages WHERE tenant_id = :tenant ORDER BY id LIMIT :limit;

-- delete_messages: the facts of messages
-- rows: message_id text
DELETE FROM messages WHERE id IN (SELECT message_id FROM given);

-- delete_contents: their contents
-- rows: message_id text
DELETE FROM contents WHERE message_id IN (SELECT message_id FROM given);

-- delete_recipients: their recipients
-- rows: message_id text
DELETE FROM recipients WHERE message_id IN (SELECT message_id FROM given);

-- delete_deliveries: their deliveries
-- rows: message_id text
DELETE FROM deliveries WHERE message_id IN (SELECT message_id FROM given);

-- delete_attempts: their attempts
-- rows: message_id text
DELETE FROM attempts WHERE message_id IN (SELECT message_id FROM given);

-- delete_events: their events
-- rows: message_id text
DELETE FROM events WHERE message_id IN (SELECT message_id FROM given);

-- contents_after: contents from the oldest on
SELECT message_id FROM contents WHERE message_id > :after ORDER BY message_id LIMIT CAST(:count AS BIGINT);

-- messages_after: messages from the oldest on
SELECT id FROM messages WHERE id > :after ORDER BY id LIMIT CAST(:count AS BIGINT);

-- endings: whether and when messages have ended, in the order of retention.Ending
-- rows: id text
SELECT
    messages.id,
    messages.state,
    messages.accepted_at,
    coalesce(
        (SELECT max(recipients.changed_at) FROM recipients WHERE recipients.message_id = messages.id),
        messages.accepted_at
    )
FROM given JOIN messages ON messages.id = given.id;

-- first_unreported: from which event on somebody is still to be told; nobody is, as long as events are only read
SELECT CAST(9223372036854775807 AS BIGINT);

-- events_after: events from the oldest on, with the states of their messages
SELECT events.sequence, events.at, messages.state
FROM events LEFT JOIN messages ON messages.id = events.message_id
WHERE events.sequence > :after AND events.sequence < :below
ORDER BY events.sequence LIMIT CAST(:count AS BIGINT);

-- delete_some_events: by their sequence
-- rows: sequence bigint
DELETE FROM events WHERE sequence IN (SELECT sequence FROM given);

-- kept_contents: of which of these messages the content is still to be kept
-- rows: message_id text
SELECT contents.message_id FROM given JOIN contents ON contents.message_id = given.message_id;

-- large_contents: which of these messages have content that is kept outside
-- rows: message_id text
SELECT contents.message_id FROM given JOIN contents ON contents.message_id = given.message_id
WHERE contents.inline IS NULL;
