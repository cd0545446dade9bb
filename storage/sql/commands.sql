-- The command log: appended to, read from its newest end, and shortened at its oldest.

-- insert_command: one more
INSERT INTO command_log (at, actor, tenant_id, peer, request_id, operation, method, path, status, body)
VALUES (:at, :actor, :tenant, :peer, :request_id, :operation, :method, :path, :status, :body);

-- commands_of_all: from the newest on
SELECT at, actor, tenant_id, peer, request_id, operation, method, path, status, body, sequence FROM command_log
WHERE sequence < CAST(:before AS BIGINT)
    AND (CAST(:since AS BIGINT) IS NULL OR at >= :since)
    AND (CAST(:until AS BIGINT) IS NULL OR at < :until)
    AND (CAST(:operation AS TEXT) IS NULL OR operation = :operation)
    AND (CAST(:actor AS TEXT) IS NULL OR actor = :actor)
ORDER BY sequence DESC LIMIT CAST(:count AS BIGINT);

-- commands_of_tenant: a tenant's
SELECT at, actor, tenant_id, peer, request_id, operation, method, path, status, body, sequence FROM command_log
WHERE tenant_id = :tenant
    AND sequence < CAST(:before AS BIGINT)
    AND (CAST(:since AS BIGINT) IS NULL OR at >= :since)
    AND (CAST(:until AS BIGINT) IS NULL OR at < :until)
    AND (CAST(:operation AS TEXT) IS NULL OR operation = :operation)
    AND (CAST(:actor AS TEXT) IS NULL OR actor = :actor)
ORDER BY sequence DESC LIMIT CAST(:count AS BIGINT);

-- delete_commands: some of the oldest, as far as they are from before a time
DELETE FROM command_log WHERE at < CAST(:horizon AS BIGINT) AND sequence IN (
    SELECT sequence FROM command_log ORDER BY sequence LIMIT CAST(:count AS BIGINT)
);
