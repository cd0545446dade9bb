-- The ways in for ordinary messages (storage.ordinary): views without rows, whose triggers write every table that a message
-- needs. They are the connection's own, made whenever it is opened, and no part of the schema.

CREATE TEMP VIEW accepting (
    id, tenant_id, sender, priority, accepted_at, size, internet_message_id, source, account_id, client_id, batch,
    not_before, expires_at, tags, metadata, eight_bit, smtputf8, state, inline, address, recipient_state, queue_key, due,
    leased, kind, at, facts, holder, lease_until
) AS SELECT
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
WHERE FALSE;

CREATE TEMP TRIGGER accepting_one INSTEAD OF INSERT ON accepting BEGIN
    INSERT INTO messages (
        id, tenant_id, sender, priority, accepted_at, size, internet_message_id, source, account_id, client_id, batch,
        not_before, expires_at, tags, metadata, eight_bit, smtputf8, state
    ) VALUES (
        NEW.id, NEW.tenant_id, NEW.sender, NEW.priority, NEW.accepted_at, NEW.size, NEW.internet_message_id, NEW.source,
        NEW.account_id, NEW.client_id, NEW.batch, NEW.not_before, NEW.expires_at, NEW.tags, NEW.metadata, NEW.eight_bit,
        NEW.smtputf8, NEW.state
    );
    INSERT INTO contents (message_id, size, inline) VALUES (NEW.id, NEW.size, NEW.inline);
    INSERT INTO recipients (message_id, position, address, delivery, state, attempts)
    VALUES (NEW.id, 0, NEW.address, 1, NEW.recipient_state, 0);
    INSERT INTO deliveries
        (message_id, number, tenant_id, queue_key, priority, due, expires_at, state, attempt, holder, lease_until)
    VALUES (
        NEW.id, 1, NEW.tenant_id, NEW.queue_key, NEW.priority, NEW.due, NEW.expires_at,
        CASE NEW.leased WHEN 1 THEN 'leased' ELSE 'ready' END, NEW.leased, NEW.holder, NEW.lease_until
    );
    INSERT INTO events (tenant_id, message_id, kind, at, facts)
    VALUES (NEW.tenant_id, NEW.id, NEW.kind, NEW.at, NEW.facts);
END;

CREATE TEMP VIEW settling (
    message_id, number, attempt, queue_key, state, due, uncounted, recipient_state, reply_code, reply_enhanced, reply_text,
    category, attempts, changed_at, position, sources, message_state, started_at, finished_at, next_hop, peer, tls, reused,
    fault, outcomes, transcript, tenant_id, recipient, kind, at, facts, holder
) AS SELECT
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
WHERE FALSE;

CREATE TEMP TRIGGER settling_one INSTEAD OF INSERT ON settling BEGIN
    UPDATE deliveries SET
        state = NEW.state,
        queue_key = NEW.queue_key,
        due = CASE NEW.state WHEN 'ready' THEN NEW.due ELSE due END,
        attempt = attempt - NEW.uncounted,
        holder = NULL,
        lease_until = NULL,
        deaths = 0
    WHERE message_id = NEW.message_id AND number = NEW.number AND attempt = NEW.attempt AND holder = NEW.holder;
    SELECT RAISE(ABORT, 'a lease was lost') WHERE changes() <> 1;
    UPDATE recipients SET
        state = NEW.recipient_state,
        reply_code = NEW.reply_code,
        reply_enhanced = NEW.reply_enhanced,
        reply_text = NEW.reply_text,
        category = NEW.category,
        attempts = NEW.attempts,
        changed_at = NEW.changed_at
    WHERE message_id = NEW.message_id AND position = NEW.position AND NEW.sources LIKE '%' || state || '%';
    SELECT RAISE(ABORT, 'a transition is not legal') WHERE changes() <> 1;
    UPDATE messages SET state = NEW.message_state WHERE id = NEW.message_id AND state <> NEW.message_state;
    INSERT INTO attempts (
        message_id, delivery, number, holder,
        started_at, finished_at, next_hop, peer, tls, reused, fault, outcomes, transcript
    ) VALUES (
        NEW.message_id, NEW.number, NEW.attempt, NEW.holder,
        NEW.started_at, NEW.finished_at, NEW.next_hop, NEW.peer, NEW.tls, NEW.reused, NEW.fault, NEW.outcomes,
        NEW.transcript
    );
    INSERT INTO events (tenant_id, message_id, recipient, kind, at, facts)
    VALUES (NEW.tenant_id, NEW.message_id, NEW.recipient, NEW.kind, NEW.at, NEW.facts);
END;
