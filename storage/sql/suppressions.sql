-- To whom tenants must not send: addresses in normal form, and whole domains as '@example.net'. What has ended stays until the
-- janitor comes, and is passed over.

-- {suppression_columns}: in the order of rows.read_suppression
suppressions.tenant_id, suppressions.address, suppressions.reason, suppressions.since, suppressions.until, suppressions.note,
suppressions.message_id

-- {not_ended}: what counts
(suppressions.until IS NULL OR suppressions.until > {wall_clock})

-- suppresses: whether a tenant has anything on its list
SELECT 1 FROM suppressions WHERE tenant_id = :tenant LIMIT 1;

-- suppressed: which of these addresses and domains stand on the list
-- rows: tenant_id text, address text
SELECT {suppression_columns}
FROM given JOIN suppressions ON suppressions.tenant_id = given.tenant_id AND suppressions.address = given.address
WHERE {not_ended};

-- put_suppressions: in place of what is said of the same addresses
-- rows: tenant_id text, address text, reason text, since bigint, until bigint, note text, message_id text
INSERT INTO suppressions (tenant_id, address, reason, since, until, note, message_id)
SELECT tenant_id, address, reason, since, until, note, message_id FROM given WHERE TRUE
ON CONFLICT (tenant_id, address) DO UPDATE SET
    reason = excluded.reason,
    since = excluded.since,
    until = excluded.until,
    note = excluded.note,
    message_id = excluded.message_id;

-- note_suppressions: what attempts have found; what somebody has said stays, and so does a finding that lasts as long
-- rows: tenant_id text, address text, reason text, since bigint, until bigint, note text, message_id text
INSERT INTO suppressions (tenant_id, address, reason, since, until, note, message_id)
SELECT tenant_id, address, reason, since, until, note, message_id FROM given WHERE TRUE
ON CONFLICT (tenant_id, address) DO UPDATE SET
    reason = excluded.reason,
    since = excluded.since,
    until = excluded.until,
    note = excluded.note,
    message_id = excluded.message_id
WHERE suppressions.until <= {wall_clock}
    OR (suppressions.reason = excluded.reason AND (excluded.until IS NULL OR suppressions.until < excluded.until));

-- suppression: one entry
SELECT {suppression_columns} FROM suppressions WHERE tenant_id = :tenant AND address = :address AND {not_ended};

-- list_suppressions: a tenant's behind one address, in a range
SELECT {suppression_columns} FROM suppressions
WHERE tenant_id = :tenant AND address > :after AND address >= :first AND address < :end AND {not_ended}
ORDER BY address LIMIT CAST(:limit AS BIGINT);

-- list_suppressions_by_reason: the same of one reason: found in the index alone, then looked up
SELECT {suppression_columns} FROM (
    SELECT tenant_id, address FROM suppressions
    WHERE tenant_id = :tenant AND reason = :reason AND address > :after AND address >= :first AND address < :end
        AND {not_ended}
    ORDER BY address LIMIT CAST(:limit AS BIGINT)
) AS page
JOIN suppressions ON suppressions.tenant_id = page.tenant_id AND suppressions.address = page.address
ORDER BY suppressions.address;

-- delete_suppression: one entry
DELETE FROM suppressions WHERE tenant_id = :tenant AND address = :address;

-- delete_some_suppressions: some of a tenant that goes
DELETE FROM suppressions WHERE tenant_id = :tenant AND address IN (
    SELECT address FROM suppressions WHERE tenant_id = :tenant ORDER BY address LIMIT CAST(:count AS BIGINT)
);

-- forget_old_suppressions: some of those that have ended
DELETE FROM suppressions WHERE (tenant_id, address) IN (
    SELECT tenant_id, address FROM suppressions
    WHERE until <= {wall_clock} ORDER BY until LIMIT CAST(:count AS BIGINT)
);
