-- What a column may hold becomes a type of its own: PostgreSQL reads the text of a table's checks anew for every statement that
-- writes to it, which was a seventh of its work for a message, and keeps those of a domain. Nothing is rewritten, and what is
-- there, which was checked when it came, is not checked again.
SET LOCAL statement_timeout = 0; -- some partial indexes are built anew

CREATE DOMAIN message_state AS TEXT COLLATE "C";
CREATE DOMAIN message_source AS TEXT COLLATE "C";
CREATE DOMAIN recipient_state AS TEXT COLLATE "C";
CREATE DOMAIN delivery_state AS TEXT COLLATE "C";
CREATE DOMAIN priority_level AS BIGINT;
CREATE DOMAIN reply_code AS BIGINT;
CREATE DOMAIN flag AS BIGINT;
CREATE DOMAIN amount AS BIGINT;
CREATE DOMAIN ordinal AS BIGINT;

ALTER TABLE messages
    DROP CONSTRAINT messages_priority_check, ALTER COLUMN priority TYPE priority_level,
    DROP CONSTRAINT messages_size_check, ALTER COLUMN size TYPE amount,
    DROP CONSTRAINT messages_source_check, ALTER COLUMN source TYPE message_source,
    DROP CONSTRAINT messages_eight_bit_check, ALTER COLUMN eight_bit TYPE flag,
    DROP CONSTRAINT messages_smtputf8_check, ALTER COLUMN smtputf8 TYPE flag,
    DROP CONSTRAINT messages_state_check, ALTER COLUMN state TYPE message_state;
ALTER TABLE contents
    DROP CONSTRAINT contents_size_check, ALTER COLUMN size TYPE amount;
ALTER TABLE recipients
    DROP CONSTRAINT recipients_position_check, ALTER COLUMN position TYPE amount,
    DROP CONSTRAINT recipients_state_check, ALTER COLUMN state TYPE recipient_state,
    DROP CONSTRAINT recipients_reply_code_check, ALTER COLUMN reply_code TYPE reply_code,
    DROP CONSTRAINT recipients_attempts_check, ALTER COLUMN attempts TYPE amount;
ALTER TABLE deliveries
    DROP CONSTRAINT deliveries_number_check, ALTER COLUMN number TYPE ordinal,
    DROP CONSTRAINT deliveries_priority_check, ALTER COLUMN priority TYPE priority_level,
    DROP CONSTRAINT deliveries_state_check, ALTER COLUMN state TYPE delivery_state,
    DROP CONSTRAINT deliveries_attempt_check, ALTER COLUMN attempt TYPE amount,
    DROP CONSTRAINT deliveries_deaths_check, ALTER COLUMN deaths TYPE amount;
ALTER TABLE attempts
    DROP CONSTRAINT attempts_number_check, ALTER COLUMN number TYPE ordinal,
    DROP CONSTRAINT attempts_reused_check, ALTER COLUMN reused TYPE flag;

ALTER DOMAIN message_state ADD CHECK (
    VALUE IN ('preparing', 'open', 'held', 'sent', 'partial', 'failed', 'cancelled', 'captured')
) NOT VALID;
ALTER DOMAIN message_source ADD CHECK (VALUE IN ('smtp', 'rest', 'sendmail')) NOT VALID;
ALTER DOMAIN recipient_state ADD CHECK (
    VALUE IN ('queued', 'deferred', 'held', 'unknown', 'sent', 'failed', 'expired', 'cancelled', 'suppressed', 'captured')
) NOT VALID;
ALTER DOMAIN delivery_state ADD CHECK (VALUE IN ('ready', 'leased', 'held', 'done')) NOT VALID;
ALTER DOMAIN priority_level ADD CHECK (VALUE BETWEEN 0 AND 3) NOT VALID;
ALTER DOMAIN reply_code ADD CHECK (VALUE BETWEEN 200 AND 599) NOT VALID;
ALTER DOMAIN flag ADD CHECK (VALUE IN (0, 1)) NOT VALID;
ALTER DOMAIN amount ADD CHECK (VALUE >= 0) NOT VALID;
ALTER DOMAIN ordinal ADD CHECK (VALUE > 0) NOT VALID;
