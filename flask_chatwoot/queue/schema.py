"""The tables, and the states of jobs and drafts.

A state is computed from columns, in one place each: :data:`JOB_STATE` and
:data:`DRAFT_STATE`. These events change the state of a job. An event that is not listed
for a state leaves it alone; a method given a job whose lease was lost raises
:class:`~flask_chatwoot.errors.LeaseLostError`. ``(none)`` is no row.

=================================  ====================  =========  ===================
event                              from                  to         method
=================================  ====================  =========  ===================
a delivery is first in line        (none)                ready      Queue.put
a message opens a debounce window  (none)                waiting    Queue.put
a delivery comes behind another    (none)                blocked    Queue.put
its window or pause ends           waiting retrying      ready
the customer writes again          retrying              ready      Queue.put
its lease ends                     leased                ready
its process has died               leased                ready      Queue.end_leases
a worker claims it                 ready giving_up       leased     Queue.claim
its attempt fails                  leased                retrying   Queue.postpone
its attempt does not count         leased                waiting    Queue.postpone
its turn is given up               leased                giving_up  Queue.give_up
its turn ends                      leased                done       Queue.settle
its turn ends dead                 leased                dead       Queue.settle
the next turn answers it too       leased                done       Queue.supersede
the job before it ends             blocked               ready      Queue.settle
an operator revives it             dead                  ready      Inspection.retry
an operator revives it in a line   dead                  blocked    Inspection.retry
it is pruned                       done                  (none)     Inspection.prune
it is pruned with the dead         done dead             (none)     Inspection.prune
=================================  ====================  =========  ===================

Until another worker claims a job whose lease has ended, the worker that had it may
still end it. When the customer writes again, a pause ends only if the provider raised;
if that was before, there is no pause. A message that comes next in line may have to
wait for its debounce window when the job before it ends. A job that was given up and
leased is *giving_up* again when that lease ends, its process has died or its attempt
fails. A message that catch-up found after a later one had got its turn is a delivery of
its own, which no other message joins. No message goes from one side of it to the other:
what the customer writes next does not join a turn before it.

The states of a draft:

=================================  ====================  ===========  ==================
event                              from                  to           method
=================================  ====================  ===========  ==================
a provider has answered            (none)                kept         Outbox.keep
a request is about to go out       kept unconfirmed      sending      Outbox.sending
the request surely made nothing    sending unconfirmed   kept         Outbox.unsent
the request has no answer          sending               unconfirmed  Outbox.unconfirmed
Chatwoot has it                    kept sending          posted       Outbox.posted
evidence of it is found            unconfirmed           posted       Outbox.posted
its question is changed            kept                  (none)       Revisions.add
the channel refuses it             posted                undelivered  Outbox.refused
its job is done                    kept sending          withheld     Queue.settle
its job is done unconfirmed        unconfirmed           withheld     Queue.settle
its job is dead                    kept                  undelivered  Queue.settle
its job is dead while it is sent   sending               unconfirmed  Queue.settle
=================================  ====================  ===========  ==================

A job that was given up counts as dead for the answer that it did not post. A change of
the question leaves a draft alone of whose reply a request has gone out. After the clock
of PostgreSQL's server was set forward, what was being sent is unconfirmed from then on.

In a file whose rows were moved to PostgreSQL all jobs are *done*; see
:mod:`~flask_chatwoot.queue.moved`.
"""

import enum
import typing as t

VERSION: t.Final = 8


class JobState(enum.StrEnum):
    """What a job waits for."""

    BLOCKED = "blocked"
    """An earlier job of its conversation is not finished."""
    WAITING = "waiting"
    """The debounce window, or a pause without a failed attempt, is not over."""
    READY = "ready"
    """Any worker may claim it."""
    LEASED = "leased"
    """A worker has it."""
    RETRYING = "retrying"
    """An attempt failed, and the pause before the next one is not over."""
    GIVING_UP = "giving_up"
    """Its turn failed for good, and the messages about that are not posted yet."""
    DONE = "done"
    """Finished, and its text is erased."""
    DEAD = "dead"
    """Given up; its text is kept for an operator who revives it."""


class WorkerLimit(enum.StrEnum):
    """What a process with workers cannot do under its server."""

    LATE_START = "late_start"
    """It started them with its first request."""
    NO_GRACE = "no_grace"
    """SIGTERM ends it in the middle of a turn."""


class DraftState(enum.StrEnum):
    """The progress of a draft."""

    KEPT = "kept"
    """No request for it has gone out."""
    SENDING = "sending"
    """A request for it may be under way."""
    UNCONFIRMED = "unconfirmed"
    """A request for it ended without an answer."""
    POSTED = "posted"
    """Chatwoot has it."""
    WITHHELD = "withheld"
    """The turn ended without it, because the policy no longer allowed the post."""
    UNDELIVERED = "undelivered"
    """The turn failed before it was posted, or the channel refused it afterwards."""


UNFINISHED: t.Final = tuple(
    state for state in JobState if state not in (JobState.DONE, JobState.DEAD)
)

LONGEST_PAUSE: t.Final = 86_400.0
"""Seconds. No lease and no pause is longer: what is due later was stored by a clock
that was wrong, and is due."""

ADAPT_TIMES: t.Final = (
    # Whoever had a lease is dead.
    """UPDATE job SET due_at = CASE WHEN claim IS NULL THEN due_at + :by ELSE :now END
        WHERE due_at IS NOT NULL""",
    """UPDATE draft SET sent_at = sent_at + :by, unconfirmed_at = unconfirmed_at + :by
        WHERE message_id IS NULL""",
    """UPDATE follow_up SET received_at = received_at + :by
        WHERE job_id IN (SELECT id FROM job WHERE finished_at IS NULL)""",
    "UPDATE job SET received_at = received_at + :by WHERE finished_at IS NULL",
    "UPDATE host_post SET begun_at = begun_at + :by",
    "UPDATE review SET kept_at = kept_at + :by",
    """UPDATE sweep SET claim = NULL, due_at = due_at + :by, swept_at = swept_at + :by,
        began_at = began_at + :by, running_since = running_since + :by,
        by_inbox_until = by_inbox_until + :by""",
)
"""What a clock means that was set by some seconds while no process had the file open:
each pause lasts as long as before, and what waits is as old as before."""

LATEST_TIME: t.Final = """
SELECT max(
    (SELECT coalesce(max(seen_at), 0) FROM worker),
    coalesce((SELECT received_at FROM job ORDER BY id DESC LIMIT 1), 0)
)
"""
"""The latest time that was stored, within one heartbeat of workers."""

LEASED: t.Final = f"""job.claim IS NOT NULL
        AND job.due_at > :now AND job.due_at <= :now + {LONGEST_PAUSE}"""
"""Whether a worker has a job."""

HELD: t.Final = "job.claim = :claim AND job.due_at >= :now + :reserve"
"""Whether a worker has a job with its claim, and for a while."""

JOB_STATE: t.Final = f"""
CASE
    WHEN job.outcome = 'dead' THEN 'dead'
    WHEN job.finished_at IS NOT NULL THEN 'done'
    WHEN job.due_at IS NULL THEN 'blocked'
    WHEN job.due_at > :now + {LONGEST_PAUSE} AND job.failure IS NULL THEN 'ready'
    WHEN {LEASED} THEN 'leased'
    WHEN job.failure IS NOT NULL THEN 'giving_up'
    WHEN job.due_at <= :now THEN 'ready'
    WHEN job.attempts > 0 THEN 'retrying'
    ELSE 'waiting'
END
"""

DRAFT_STATE: t.Final = """
CASE
    WHEN draft.refused_at IS NOT NULL THEN 'undelivered'
    WHEN draft.message_id IS NOT NULL THEN 'posted'
    WHEN job.finished_at IS NOT NULL AND job.outcome <> 'dead' THEN 'withheld'
    WHEN draft.unconfirmed_at IS NOT NULL THEN 'unconfirmed'
    WHEN job.outcome = 'dead' OR (job.failure IS NOT NULL AND NOT draft.about_failure)
        THEN CASE WHEN draft.sent_at IS NULL THEN 'undelivered' ELSE 'unconfirmed' END
    WHEN draft.sent_at IS NOT NULL THEN 'sending'
    ELSE 'kept'
END
"""

JOB_COLUMNS: t.Final = """
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
"""

INDEXES: t.Final = (
    # One look-up finds the next job to claim, however many there are.
    """CREATE INDEX job_due ON job (account_id, due_at) WHERE due_at IS NOT NULL""",
    # Deduplication; and all that is known of a conversation.
    """CREATE UNIQUE INDEX job_key ON job (account_id, conversation_id, key)""",
    # The line of a conversation, without the jobs that it has behind it.
    """CREATE INDEX job_line ON job (account_id, conversation_id)
        WHERE finished_at IS NULL""",
    # Dead jobs may still have drafts under way.
    """CREATE INDEX job_dead ON job (account_id, conversation_id)
        WHERE outcome = 'dead'""",
    # How many jobs have which outcome, and which of them are old.
    """CREATE INDEX job_finished ON job (account_id, outcome, finished_at)
        WHERE finished_at IS NOT NULL""",
    # What a customer wrote in the last hour, besides the line.
    """CREATE INDEX job_ended ON job (account_id, conversation_id, received_at)
        WHERE kind = 'message' AND finished_at IS NOT NULL""",
    """CREATE INDEX conversation_touched ON conversation (account_id, touched_at)""",
    """CREATE INDEX transcript_said ON transcript (account_id, said_at)""",
    """CREATE INDEX follow_up_job ON follow_up (job_id)""",
    """CREATE INDEX follow_up_body ON follow_up (job_id) WHERE payload IS NOT NULL""",
    """CREATE INDEX draft_job ON draft (job_id)""",
    """CREATE INDEX draft_message ON draft (message_id)
        WHERE message_id IS NOT NULL""",
    """CREATE INDEX file_draft ON file (draft_id)""",
)

SWEEPS: t.Final = (
    """CREATE TABLE sweep (
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
    )""",
    """CREATE TABLE inbox (
        account_id INTEGER NOT NULL,
        inbox_id INTEGER NOT NULL,
        PRIMARY KEY (account_id, inbox_id)
    ) WITHOUT ROWID""",
    """CREATE TABLE reading (
        account_id INTEGER NOT NULL,
        conversation_id INTEGER NOT NULL,
        message_id INTEGER NOT NULL,
        updated_at REAL NOT NULL,
        read_at REAL NOT NULL,
        PRIMARY KEY (account_id, conversation_id)
    ) WITHOUT ROWID""",
)
"""What catch-up has read; see :mod:`~flask_chatwoot.queue.sweeps`."""

FROM_OUTSIDE: t.Final = (
    """CREATE TABLE told (
        account_id INTEGER NOT NULL,
        conversation_id INTEGER NOT NULL,
        attributes TEXT NOT NULL,
        updated_at REAL NOT NULL,  -- by Chatwoot's clock
        PRIMARY KEY (account_id, conversation_id)
    ) WITHOUT ROWID""",
    """CREATE TABLE early_change (
        account_id INTEGER NOT NULL,
        conversation_id INTEGER NOT NULL,
        message_id INTEGER NOT NULL,
        said TEXT NOT NULL,
        payload BLOB NOT NULL,
        received_at REAL NOT NULL,
        PRIMARY KEY (account_id, conversation_id, message_id)
    ) WITHOUT ROWID""",
    """CREATE TABLE host_post (
        id INTEGER PRIMARY KEY,
        account_id INTEGER NOT NULL,
        conversation_id INTEGER NOT NULL,  -- 0: a new one
        marker TEXT NOT NULL,
        private INTEGER NOT NULL,
        content TEXT NOT NULL,  -- erased as soon as the message is known
        files INTEGER NOT NULL,
        begun_at REAL NOT NULL,
        message_id INTEGER
    )""",
    "CREATE INDEX host_post_marker ON host_post (account_id, marker)",
    "CREATE INDEX host_post_message ON host_post (account_id, message_id)",
    "CREATE INDEX host_post_begun ON host_post (account_id, begun_at)",
)
"""What happens in conversations besides turns: the newest attributes while a turn is
due, see :mod:`~flask_chatwoot.ownership.attributes`; changes of messages that are not
delivered yet, see :mod:`~flask_chatwoot.queue.revisions`; and what the host posts
itself, see :mod:`~flask_chatwoot.queue.host_posts`."""

SUGGESTED: t.Final = (
    """CREATE TABLE suggestion (
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
    ) WITHOUT ROWID""",
    """CREATE TABLE suggested (
        id INTEGER PRIMARY KEY,
        account_id INTEGER NOT NULL,
        conversation_id INTEGER NOT NULL,
        text_hash BLOB,  -- erased after an hour
        suggested_at REAL NOT NULL
    )""",
    """CREATE INDEX suggested_in ON suggested (account_id, conversation_id)""",
    """CREATE INDEX suggested_at ON suggested (account_id, suggested_at)""",
    """CREATE INDEX suggested_hash ON suggested (account_id, text_hash)
        WHERE text_hash IS NOT NULL""",
    """CREATE INDEX suggestion_began ON suggestion (account_id, began_at)""",
)
"""What operators were suggested; see :mod:`~flask_chatwoot.queue.suggestions`."""

REVIEWED: t.Final = (
    """CREATE TABLE review (
        id INTEGER PRIMARY KEY,
        account_id INTEGER NOT NULL,
        conversation_id INTEGER NOT NULL,
        job_id INTEGER,  -- whose note it is; NULL of a suggestion
        about TEXT NOT NULL,
        after_id INTEGER NOT NULL,
        draft TEXT NOT NULL,
        reply TEXT,  -- of an operator; then both are compared, and the row is deleted
        kept_at REAL NOT NULL
    )""",
    """CREATE INDEX review_in ON review (account_id, conversation_id)""",
    """CREATE INDEX review_job ON review (job_id)""",
    """CREATE INDEX review_kept ON review (account_id, kept_at)""",
    """CREATE INDEX review_answered ON review (account_id, id)
        WHERE reply IS NOT NULL""",
    """CREATE TABLE review_count (
        account_id INTEGER NOT NULL,
        day TEXT NOT NULL,
        kind TEXT NOT NULL,
        verdict TEXT NOT NULL,
        drafts INTEGER NOT NULL,
        PRIMARY KEY (account_id, day, kind, verdict)
    ) WITHOUT ROWID""",
)
"""Whether drafts are used; see :mod:`~flask_chatwoot.queue.reviews`."""

CREATE: t.Final = (
    f"CREATE TABLE job ({JOB_COLUMNS})",
    """CREATE TABLE follow_up (
        id INTEGER PRIMARY KEY,
        job_id INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
        message_id INTEGER NOT NULL,
        key TEXT UNIQUE,
        said TEXT NOT NULL,
        payload BLOB,
        received_at REAL NOT NULL,
        text_hash BLOB  -- as that of a job
    )""",
    """CREATE TABLE draft (
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
    )""",
    """CREATE TABLE file (
        id INTEGER PRIMARY KEY,
        draft_id INTEGER NOT NULL REFERENCES draft (id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        media_type TEXT NOT NULL,
        content BLOB
    )""",
    """CREATE TABLE conversation (
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
    ) WITHOUT ROWID""",
    """CREATE TABLE transcript (
        account_id INTEGER NOT NULL,
        conversation_id INTEGER NOT NULL,
        message_id INTEGER NOT NULL,
        role TEXT NOT NULL,
        content TEXT NOT NULL,
        said_at REAL NOT NULL,
        PRIMARY KEY (account_id, conversation_id, message_id, role)
    ) WITHOUT ROWID""",
    """CREATE TABLE worker (
        account_id INTEGER NOT NULL,
        name TEXT NOT NULL,
        threads INTEGER NOT NULL,
        seen_at REAL NOT NULL,
        limits TEXT NOT NULL DEFAULT '',  -- names of WorkerLimit, with spaces between
        stuck INTEGER NOT NULL DEFAULT 0,  -- further threads, whose turns are given up
        PRIMARY KEY (account_id, name)
    ) WITHOUT ROWID""",
    """CREATE TABLE trait (
        account_id INTEGER NOT NULL,
        name TEXT NOT NULL,
        PRIMARY KEY (account_id, name)
    ) WITHOUT ROWID""",
    *SWEEPS,
    *INDEXES,
    *FROM_OUTSIDE,
    *SUGGESTED,
    *REVIEWED,
)
"""A new file."""
