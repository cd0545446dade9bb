-- Limits. A slot is what an attempt on its way holds; with its stamp it becomes a send and gets the limit's next number, so that
-- numbers have no gaps, stamps rise with them, and the L-th latest send is one look-up.

CREATE TABLE limits (
    limit_key TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- account:<queue key>
    last      BIGINT NOT NULL CHECK (last >= 0), -- the number of the latest send
    last_at   BIGINT NOT NULL -- and its stamp
);

CREATE TABLE send_log (
    limit_key TEXT COLLATE "C" NOT NULL,
    number    BIGINT NOT NULL CHECK (number > 0),
    at        BIGINT NOT NULL,
    PRIMARY KEY (limit_key, number)
);

CREATE TABLE slots (
    message_id TEXT COLLATE "C" NOT NULL,
    number     BIGINT NOT NULL,
    attempt    BIGINT NOT NULL,
    limit_key  TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (message_id, number, attempt, limit_key)
);

CREATE INDEX slots_by_limit ON slots (limit_key);
