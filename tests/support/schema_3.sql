-- The tables of version 3 of the file, which Flask-Chatwoot migrates.
CREATE TABLE IF NOT EXISTS job (
    id INTEGER PRIMARY KEY,
    account_id INTEGER NOT NULL,
    conversation_id INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    received_at REAL NOT NULL,
    due_at REAL,  -- below zero: due at the opposite, and not in job_due yet
    claim TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    handoff TEXT,
    failure TEXT,
    done INTEGER NOT NULL DEFAULT 0,  -- finished, and not dead
    finished_at REAL,
    outcome TEXT,
    reason TEXT,
    payload BLOB  -- last, or what is behind it would be read through it
);
CREATE INDEX IF NOT EXISTS job_due ON job (account_id, due_at)
    WHERE due_at >= 0;
CREATE UNIQUE INDEX IF NOT EXISTS job_line
    ON job (account_id, conversation_id, done, key);
CREATE TABLE IF NOT EXISTS follow_up (
    id INTEGER PRIMARY KEY,
    job_id INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    message_id INTEGER NOT NULL,
    key TEXT UNIQUE,
    said TEXT NOT NULL,
    payload BLOB,
    received_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS follow_up_job ON follow_up (job_id);
CREATE INDEX IF NOT EXISTS follow_up_body ON follow_up (job_id)
    WHERE payload IS NOT NULL;
CREATE TABLE IF NOT EXISTS draft (
    id INTEGER PRIMARY KEY,
    job_id INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    marker TEXT NOT NULL,
    private INTEGER NOT NULL,
    last_words INTEGER NOT NULL,
    content TEXT,
    choices TEXT,
    files INTEGER NOT NULL,
    sent_at REAL,
    message_id INTEGER
);
CREATE TABLE IF NOT EXISTS file (
    id INTEGER PRIMARY KEY,
    draft_id INTEGER NOT NULL REFERENCES draft (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    content BLOB
);
CREATE INDEX IF NOT EXISTS file_draft ON file (draft_id);
CREATE TABLE IF NOT EXISTS conversation (
    account_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    taken INTEGER NOT NULL DEFAULT 0,
    marked INTEGER NOT NULL DEFAULT 0,
    former TEXT,
    person_message_id INTEGER NOT NULL DEFAULT 0,
    human_at REAL,
    resolved_message_id INTEGER NOT NULL DEFAULT 0,
    touched_at REAL NOT NULL,
    PRIMARY KEY (account_id, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS said (
    account_id INTEGER NOT NULL,
    conversation_id INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    role TEXT NOT NULL,
    content TEXT NOT NULL,
    said_at REAL NOT NULL,
    PRIMARY KEY (account_id, conversation_id, message_id, role)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS worker (
    account_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    threads INTEGER NOT NULL,
    seen_at REAL NOT NULL,
    PRIMARY KEY (account_id, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS trait (
    account_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (account_id, name)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS draft_job ON draft (job_id);
CREATE INDEX IF NOT EXISTS draft_made ON draft (message_id)
    WHERE message_id IS NOT NULL;
PRAGMA user_version = 3;

-- one row of everything
INSERT INTO job (id, account_id, conversation_id, message_id, key, kind, received_at,
    due_at, claim, attempts, handoff, failure, done, finished_at, outcome, reason,
    payload)
VALUES
    (1, 1, 41, 9001, 'k1', 'message', 10, NULL, NULL, 1, NULL, NULL, 1, 20, 'replied',
        NULL, NULL),
    (2, 1, 41, 9002, 'k2', 'message', 11, NULL, NULL, 4, '{}', 'refused', 0, 21, 'dead',
        'refused', x'32'),
    (3, 1, 42, 9003, 'k3', 'message', 12, -12, NULL, 0, NULL, NULL, 0, NULL, NULL, NULL,
        x'33'),
    (4, 1, 42, 9004, 'k4', 'alone', 13, NULL, NULL, 0, NULL, NULL, 0, NULL, NULL, NULL,
        x'34'),
    (5, 1, 43, 9005, 'k5', 'message', 14, 1750000020, 'token', 2, NULL, NULL, 0, NULL,
        NULL, 'server_error', x'35'),
    (6, 1, 44, 9007, 'k7', 'take_over', 15, 15, NULL, 0, NULL, NULL, 0, NULL, NULL,
        NULL, x'37');
INSERT INTO follow_up VALUES (1, 3, 9006, 'k6', 'said', x'36', 15);
INSERT INTO draft VALUES
    (1, 1, 'm1', 0, 0, '', NULL, 0, 16, 20001),
    (2, 2, 'm2', 1, 1, 'Sorry.', NULL, 0, NULL, NULL),
    (3, 5, 'm3', 0, 0, 'Which?', '[["A", "a"]]', 1, 17, NULL);
INSERT INTO file VALUES (1, 3, 'a.txt', 'text/plain', x'61');
INSERT INTO conversation VALUES (1, 42, 1, 1, '"bot"', 9000, 5.5, 8000, 18);
INSERT INTO said VALUES (1, 42, 8999, 'user', 'Hello', 19);
INSERT INTO worker VALUES (1, 'one', 4, 1749999999);
INSERT INTO trait VALUES (1, 'remembers');
