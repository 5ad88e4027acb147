-- The tables of version 8 of the file, which Flask-Chatwoot migrates.
CREATE TABLE conversation (
        account_id INTEGER NOT NULL,
        id INTEGER NOT NULL,
        taken INTEGER NOT NULL DEFAULT 0,
        marked INTEGER NOT NULL DEFAULT 0,
        former TEXT,
        operator_message_id INTEGER NOT NULL DEFAULT 0,
        human_at REAL,
        resolved_message_id INTEGER NOT NULL DEFAULT 0,
        bot_message_id INTEGER NOT NULL DEFAULT 0,
        status TEXT,
        status_at REAL,
        touched_at REAL NOT NULL,
        handoff_message_id INTEGER NOT NULL DEFAULT 0,
        taken_at REAL,
        returned_message_id INTEGER NOT NULL DEFAULT 0,
        ended_at REAL,
        pending_at REAL,
        mode TEXT,
        mode_at REAL,
        restored_at REAL,
        PRIMARY KEY (account_id, id)
    ) WITHOUT ROWID;
INSERT INTO "conversation" VALUES(1,42,1,1,'"bot"',9000,5.5,8000,0,NULL,NULL,18.0,0,NULL,0,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE draft (
        id INTEGER PRIMARY KEY,
        job_id INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
        marker TEXT NOT NULL,
        private INTEGER NOT NULL,
        about_failure INTEGER NOT NULL,
        content TEXT,
        choices TEXT,
        files INTEGER NOT NULL,
        sent_at REAL,
        unconfirmed_at REAL,
        message_id INTEGER,
        refused_at REAL  -- by the channel, after Chatwoot had accepted it
    );
INSERT INTO "draft" VALUES(1,1,'m1',0,0,'',NULL,0,16.0,NULL,20001,NULL);
INSERT INTO "draft" VALUES(2,2,'m2',1,1,'Sorry.',NULL,0,NULL,NULL,NULL,NULL);
INSERT INTO "draft" VALUES(3,5,'m3',0,0,'Which?','[["A", "a"]]',1,17.0,17.0,NULL,NULL);
CREATE TABLE early_change (
        account_id INTEGER NOT NULL,
        conversation_id INTEGER NOT NULL,
        message_id INTEGER NOT NULL,
        said TEXT NOT NULL,
        payload BLOB NOT NULL,
        received_at REAL NOT NULL,
        PRIMARY KEY (account_id, conversation_id, message_id)
    ) WITHOUT ROWID;
CREATE TABLE file (
        id INTEGER PRIMARY KEY,
        draft_id INTEGER NOT NULL REFERENCES draft (id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        media_type TEXT NOT NULL,
        content BLOB
    );
INSERT INTO "file" VALUES(1,3,'a.txt','text/plain',X'61');
CREATE TABLE follow_up (
        id INTEGER PRIMARY KEY,
        job_id INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
        message_id INTEGER NOT NULL,
        key TEXT UNIQUE,
        said TEXT NOT NULL,
        payload BLOB,
        received_at REAL NOT NULL,
        text_hash BLOB  -- as that of a job
    );
INSERT INTO "follow_up" VALUES(1,3,9006,'k6','said',X'36',15.0,NULL);
CREATE TABLE host_post (
        id INTEGER PRIMARY KEY,
        account_id INTEGER NOT NULL,
        conversation_id INTEGER NOT NULL,  -- 0: a new one
        marker TEXT NOT NULL,
        private INTEGER NOT NULL,
        content TEXT NOT NULL,  -- erased as soon as the message is known
        files INTEGER NOT NULL,
        begun_at REAL NOT NULL,
        message_id INTEGER
    );
CREATE TABLE inbox (
        account_id INTEGER NOT NULL,
        inbox_id INTEGER NOT NULL,
        PRIMARY KEY (account_id, inbox_id)
    ) WITHOUT ROWID;
CREATE TABLE job (
    id INTEGER PRIMARY KEY,
    account_id INTEGER NOT NULL,
    conversation_id INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    received_at REAL NOT NULL,
    due_at REAL,  -- may be claimed then; NULL if it is blocked or finished
    claim TEXT,  -- token of the lease, which ends at due_at
    attempts INTEGER NOT NULL DEFAULT 0,
    provider_attempts INTEGER NOT NULL DEFAULT 0,  -- those of them that it failed
    chatwoot_attempts INTEGER NOT NULL DEFAULT 0,
    earlier_attempts INTEGER NOT NULL DEFAULT 0,  -- before its turn was given up
    last_attempt INTEGER NOT NULL DEFAULT 0,  -- the provider gets no other one
    handoff TEXT,
    failure TEXT,  -- why its turn was given up
    finished_at REAL,
    outcome TEXT,
    reason TEXT,
    worker TEXT,  -- name of the process that has the lease
    found_after REAL,  -- age in seconds of a message that catch-up found
    late INTEGER NOT NULL DEFAULT 0,  -- a later message had a turn before it
    text_hash BLOB,  -- of what the customer wrote; NULL of what was picked
    offered BLOB,  -- hashes of the choices in its reply
    payload BLOB  -- last, or what is behind it would be read through it
);
INSERT INTO "job" VALUES(1,1,41,9001,'k1','message',10.0,NULL,NULL,1,0,0,0,0,NULL,NULL,20.0,'replied',NULL,NULL,NULL,0,NULL,NULL,NULL);
INSERT INTO "job" VALUES(2,1,41,9002,'k2','message',11.0,NULL,NULL,4,0,0,0,0,'{}','refused',21.0,'dead','refused',NULL,NULL,0,NULL,NULL,X'32');
INSERT INTO "job" VALUES(3,1,42,9003,'k3','message',12.0,12.0,NULL,0,0,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,X'33');
INSERT INTO "job" VALUES(4,1,42,9004,'k4','alone',13.0,NULL,NULL,0,0,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,X'34');
INSERT INTO "job" VALUES(5,1,43,9005,'k5','message',14.0,1750000020.0,'token',2,0,0,0,0,NULL,NULL,NULL,NULL,'server_error',NULL,NULL,0,NULL,NULL,X'35');
INSERT INTO "job" VALUES(6,1,44,9007,'k7','takeover',15.0,15.0,NULL,0,0,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,X'37');
CREATE TABLE reading (
        account_id INTEGER NOT NULL,
        conversation_id INTEGER NOT NULL,
        message_id INTEGER NOT NULL,
        updated_at REAL NOT NULL,
        read_at REAL NOT NULL,
        PRIMARY KEY (account_id, conversation_id)
    ) WITHOUT ROWID;
CREATE TABLE suggested (
        id INTEGER PRIMARY KEY,
        account_id INTEGER NOT NULL,
        conversation_id INTEGER NOT NULL,
        text_hash BLOB,  -- erased after an hour
        suggested_at REAL NOT NULL
    );
CREATE TABLE suggestion (
        account_id INTEGER NOT NULL,
        conversation_id INTEGER NOT NULL,
        fingerprint BLOB NOT NULL,  -- of the state of the conversation
        request BLOB NOT NULL,  -- hash of what the operator asks for
        claim TEXT NOT NULL,
        claimed_until REAL NOT NULL,
        waiting INTEGER NOT NULL,  -- requests that wait for it
        content TEXT,
        failure TEXT,
        began_at REAL NOT NULL,
        PRIMARY KEY (account_id, conversation_id, fingerprint, request)
    ) WITHOUT ROWID;
CREATE TABLE sweep (
        account_id INTEGER PRIMARY KEY,
        began_at REAL NOT NULL,
        began_with INTEGER NOT NULL DEFAULT 0,
        verified_by TEXT,
        settled INTEGER NOT NULL DEFAULT 0,
        running_since REAL NOT NULL,
        newest_id INTEGER NOT NULL DEFAULT 0,
        foreign_id INTEGER,
        swept_at REAL,
        due_at REAL NOT NULL,
        claim TEXT,
        claimed_until REAL NOT NULL DEFAULT 0,
        failures INTEGER NOT NULL DEFAULT 0,
        error TEXT,
        by_inbox_until REAL NOT NULL DEFAULT 0
    );
CREATE TABLE told (
        account_id INTEGER NOT NULL,
        conversation_id INTEGER NOT NULL,
        attributes TEXT NOT NULL,
        updated_at REAL NOT NULL,  -- by Chatwoot's clock
        PRIMARY KEY (account_id, conversation_id)
    ) WITHOUT ROWID;
CREATE TABLE trait (
        account_id INTEGER NOT NULL,
        name TEXT NOT NULL,
        PRIMARY KEY (account_id, name)
    ) WITHOUT ROWID;
INSERT INTO "trait" VALUES(1,'remembers');
CREATE TABLE transcript (
        account_id INTEGER NOT NULL,
        conversation_id INTEGER NOT NULL,
        message_id INTEGER NOT NULL,
        role TEXT NOT NULL,
        content TEXT NOT NULL,
        said_at REAL NOT NULL,
        PRIMARY KEY (account_id, conversation_id, message_id, role)
    ) WITHOUT ROWID;
INSERT INTO "transcript" VALUES(1,42,8999,'user','Hello',19.0);
CREATE TABLE worker (
        account_id INTEGER NOT NULL,
        name TEXT NOT NULL,
        threads INTEGER NOT NULL,
        seen_at REAL NOT NULL,
        limits TEXT NOT NULL DEFAULT '',  -- names of WorkerLimit, with spaces between
        stuck INTEGER NOT NULL DEFAULT 0,  -- further threads, whose turns are given up
        PRIMARY KEY (account_id, name)
    ) WITHOUT ROWID;
INSERT INTO "worker" VALUES(1,'one',4,1749999999.0,'',0);
CREATE INDEX job_due ON job (account_id, due_at) WHERE due_at IS NOT NULL;
CREATE UNIQUE INDEX job_key ON job (account_id, conversation_id, key);
CREATE INDEX job_line ON job (account_id, conversation_id)
        WHERE finished_at IS NULL;
CREATE INDEX job_dead ON job (account_id, conversation_id)
        WHERE outcome = 'dead';
CREATE INDEX job_finished ON job (account_id, outcome, finished_at)
        WHERE finished_at IS NOT NULL;
CREATE INDEX job_ended ON job (account_id, conversation_id, received_at)
        WHERE kind = 'message' AND finished_at IS NOT NULL;
CREATE INDEX conversation_touched ON conversation (account_id, touched_at);
CREATE INDEX transcript_said ON transcript (account_id, said_at);
CREATE INDEX follow_up_job ON follow_up (job_id);
CREATE INDEX follow_up_body ON follow_up (job_id) WHERE payload IS NOT NULL;
CREATE INDEX draft_job ON draft (job_id);
CREATE INDEX draft_message ON draft (message_id)
        WHERE message_id IS NOT NULL;
CREATE INDEX file_draft ON file (draft_id);
CREATE INDEX host_post_marker ON host_post (account_id, marker);
CREATE INDEX host_post_message ON host_post (account_id, message_id);
CREATE INDEX host_post_begun ON host_post (account_id, begun_at);
CREATE INDEX suggested_in ON suggested (account_id, conversation_id);
CREATE INDEX suggested_at ON suggested (account_id, suggested_at);
CREATE INDEX suggested_hash ON suggested (account_id, text_hash)
        WHERE text_hash IS NOT NULL;
CREATE INDEX suggestion_began ON suggestion (account_id, began_at);
PRAGMA user_version = 8;
