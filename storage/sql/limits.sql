-- Limits: what was sent under each, and the slots of what is on its way.

-- account_limits: what an account may send
SELECT per_minute, per_hour, per_day, limit_unit, on_limit FROM accounts WHERE tenant_id = :owner AND id = :account;

-- tenant_limits: what a tenant may send
SELECT per_minute, per_hour, per_day, limit_unit, on_limit FROM tenants WHERE id = :tenant;

-- domain_limit: what a tenant may send to a domain
SELECT per_minute, per_hour, per_day, limit_unit, on_limit FROM domain_limits
WHERE tenant_id = :tenant AND domain = :domain;

-- make_limit: the row that is a limit's lock
INSERT INTO limits (limit_key, last, last_at) VALUES (:limit_key, 0, 0) ON CONFLICT DO NOTHING;

-- limit_standing: the number of the latest send, what is on its way, and the clock
SELECT limits.last, (SELECT coalesce(sum(slots.weight), 0) FROM slots WHERE slots.limit_key = limits.limit_key), {wall_clock}
FROM limits WHERE limits.limit_key = :limit_key;

-- sent_within: how many slots were stamped within windows of so many µs. The latest send that has left a window is found from
-- the newest end, so that this costs what was sent within it; where none is known that has, from the first that is
-- rows: limit_key text, length bigint
SELECT
    given.limit_key,
    given.length,
    limits.last - coalesce(
        (
            SELECT max(send_log.number) FROM send_log
            WHERE send_log.limit_key = given.limit_key AND send_log.at <= {wall_clock} - given.length
        ),
        (
            SELECT send_log.number - send_log.weight FROM send_log
            WHERE send_log.limit_key = given.limit_key ORDER BY send_log.number LIMIT 1
        ),
        limits.last
    )
FROM given JOIN limits ON limits.limit_key = given.limit_key;

-- send_stamps: when sends with numbers of a span were stamped; the last of them may have its own number beyond it
-- rows: limit_key text, first bigint, last bigint
SELECT send_log.number, send_log.weight, send_log.at
FROM given
JOIN send_log ON send_log.limit_key = given.limit_key AND send_log.number BETWEEN given.first AND given.last
UNION
SELECT send_log.number, send_log.weight, send_log.at
FROM given
JOIN send_log ON send_log.limit_key = given.limit_key AND send_log.number = (
    SELECT min(later.number) FROM send_log AS later
    WHERE later.limit_key = given.limit_key AND later.number > given.last
);

-- take_slots: for deliveries that were claimed
-- rows: message_id text, number bigint, attempt bigint, limit_key text, weight bigint
INSERT INTO slots (message_id, number, attempt, limit_key, weight)
SELECT message_id, number, attempt, limit_key, weight FROM given;

-- drop_slots: of leases that end
-- rows: message_id text, number bigint, attempt bigint, limit_key text
DELETE FROM slots WHERE (message_id, number, attempt, limit_key) IN (
    SELECT message_id, number, attempt, limit_key FROM given
);

-- number_sends: one more number and stamp for each send; stamps never fall, whatever the clock does
-- rows: limit_key text, sends bigint
UPDATE limits SET
    last = limits.last + given.sends,
    last_at = CASE WHEN limits.last_at > {wall_clock} THEN limits.last_at ELSE {wall_clock} END
FROM given
WHERE limits.limit_key = given.limit_key;

-- log_sends: the sends just numbered, counted back from the latest
-- rows: limit_key text, back bigint, weight bigint
INSERT INTO send_log (limit_key, number, at, weight)
SELECT limits.limit_key, limits.last - given.back, limits.last_at, given.weight
FROM given JOIN limits ON limits.limit_key = given.limit_key;

-- stray_slots: those whose lease has been taken from its holder
SELECT slots.message_id, slots.number, slots.attempt, slots.limit_key, slots.weight FROM slots
WHERE NOT EXISTS (
    SELECT 1 FROM deliveries
    WHERE deliveries.message_id = slots.message_id
        AND deliveries.number = slots.number
        AND deliveries.attempt = slots.attempt
        AND deliveries.state = 'leased'
);

-- limit_keys: all
SELECT limit_key FROM limits ORDER BY limit_key;

-- prune_send_log: the first sends of a limit, if they are old enough
DELETE FROM send_log WHERE limit_key = :limit_key AND at < {wall_clock} - CAST(:age AS BIGINT) AND number IN (
    SELECT number FROM send_log WHERE limit_key = :limit_key ORDER BY number LIMIT CAST(:count AS BIGINT)
);
