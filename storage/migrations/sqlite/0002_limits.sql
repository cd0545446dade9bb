-- Limits. A slot is what an attempt on its way holds; with its stamp it becomes a send and gets the limit's next number, so that
-- numbers have no gaps, stamps rise with them, and the L-th latest send is one look-up.

CREATE TABLE limits (
    limit_key TEXT NOT NULL PRIMARY KEY, -- account:<queue key>
    last      INTEGER NOT NULL CHECK (last >= 0), -- the number of the latest send
    last_at   INTEGER NOT NULL -- and its stamp
) STRICT, WITHOUT ROWID;

CREATE TABLE send_log (
    limit_key TEXT NOT NULL,
    number    INTEGER NOT NULL CHECK (number > 0),
    at        INTEGER NOT NULL,
    PRIMARY KEY (limit_key, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE slots (
    message_id TEXT NOT NULL,
    number     INTEGER NOT NULL,
    attempt    INTEGER NOT NULL,
    limit_key  TEXT NOT NULL,
    PRIMARY KEY (message_id, number, attempt, limit_key)
) STRICT, WITHOUT ROWID;

CREATE INDEX slots_by_limit ON slots (limit_key);
