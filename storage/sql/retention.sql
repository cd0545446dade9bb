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
