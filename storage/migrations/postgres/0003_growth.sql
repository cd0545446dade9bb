-- Retries of a tenant's or an account's own: a JSON object of what differs from the instance's; NULL: nothing does.
ALTER TABLE accounts ADD COLUMN retry TEXT;
ALTER TABLE tenants ADD COLUMN retry TEXT;

-- When a delivery that waits is too late: found by its time, wherever in the queue it stands.
ALTER TABLE deliveries ADD COLUMN expires_at BIGINT;
UPDATE deliveries SET expires_at = (SELECT messages.expires_at FROM messages WHERE messages.id = deliveries.message_id)
WHERE state <> 'done';
CREATE INDEX deliveries_expiring ON deliveries (expires_at) WHERE state = 'ready' AND expires_at IS NOT NULL;
