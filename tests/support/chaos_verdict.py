"""Which promises held in a run of the chaos program, by Chatwoot's own record."""

from __future__ import annotations

import itertools
import math
import re
import typing as t
from collections import Counter, defaultdict

from flask_chatwoot.simulator.payloads import MessageRecord

from .chaos_plan import mode_of
from .chaos_run import EDITED, Act, Run, Text
from .host import Stop

STALE: t.Final = 4.0
"""Seconds for which a post may rest on a look from before something was known."""

TEXT: t.Final = re.compile(rf"\bc(\d+)t(\d+)\b(?:{re.escape(EDITED)})?")
NOTHING: t.Final = re.compile(r"\bc(\d+)n(\d+)\b")
"""In what is no question; see ``Run``."""

ANSWER: t.Final = "Answer to "
BEGAN: t.Final = re.compile(r"-- (\d+\.\d+)$")
"""When the process began whose provider answered, Unix seconds; see ``chaos_app``."""

Times = t.Mapping[int, float]


class Seen(t.NamedTuple):
    """What the app got, in Unix seconds.

    :ivar accepted: Message id to when the app first accepted its delivery.
    :ivar changed: The same of the delivery that the message was changed.
    :ivar reads: Conversation id to the times when the app read its newest messages.
    """

    accepted: Times
    changed: Times
    reads: t.Mapping[int, t.Sequence[float]]


class Limit(t.NamedTuple):
    """A number that may not be larger than another."""

    value: float
    most: float

    @property
    def is_kept(self) -> bool:
        return self.value <= self.most


class Post(t.NamedTuple):
    """A message of the app.

    :ivar talk: The number of its conversation.
    :ivar content: What it was before an operator deleted it.
    """

    talk: int
    message: MessageRecord
    content: str

    @property
    def texts(self) -> dict[Text, str]:
        """The texts that it answers, as they are quoted in it."""
        return {(int(m[1]), int(m[2])): m[0] for m in TEXT.finditer(self.content)}


def posts(run: Run) -> list[Post]:
    return [
        Post(number, message, run.erased[message.id].content)
        if message.id in run.erased
        else Post(number, message, message.content or "")
        for number, talk in enumerate(run.talks)
        for message in talk.posted
    ]


def answers(run: Run) -> dict[Text, list[Post]]:
    """Of each text, the posts that answer it."""
    found: dict[Text, list[Post]] = defaultdict(list)

    for post in posts(run):
        for text in post.texts:
            found[text].append(post)

    return found


def lost(run: Run) -> list[Text]:
    """Texts without an answer. If an operator wrote since, they need none."""
    needed = {
        text
        for text, message in run.texts.items()
        if all(act.message_id < message.id for act in run.acts[text[0]])
    }

    return sorted(needed - run.deleted - answers(run).keys())


def out_of_order(run: Run, seen: Seen) -> list[Text]:
    """Texts answered before an older one that the app had when they were written."""
    first = {text: posts[0].message.id for text, posts in answers(run).items()}
    wrong = set()

    for _, group in itertools.groupby(sorted(first), lambda text: text[0]):
        for older, newer in itertools.combinations(group, 2):
            had = seen.accepted.get(run.texts[older].id)

            if first[newer] < first[older] and had is not None:
                wrong |= {newer} if had < run.texts[newer].created_at else set()

    return sorted(wrong)


def is_misplaced(run: Run, post: Post) -> bool:
    """Whether it is public and should be a note, or the other way round."""
    if mode_of(post.talk) == "human":
        return not post.message.private and post.talk not in run.returned

    return post.message.private and post.talk not in run.acted


# -- operators -----------------------------------------------------------------------


def is_over_operator(run: Run, post: Post, seen: Seen) -> bool:
    """Whether it is public, and the app could know that operators had it."""
    if post.message.private:
        return False

    held = held_by(run.acts[post.talk], post.message.created_at)
    known = min((known_at(run, post, act, seen) for act in held), default=math.inf)

    return post.message.created_at > known + STALE


def held_by(acts: t.Iterable[Act], at: float) -> list[Act]:
    """The acts by which operators had a conversation at a time; none: nobody had."""
    held: list[Act] = []

    for act in acts:
        if act.at < at:
            held = [*held, act] if act.takes else []

    return held


def was_let_go(run: Run, post: Post) -> bool:
    """Whether it is public, and operators had the conversation, but no more."""
    acts, at = run.acts[post.talk], post.message.created_at
    were = any(act.takes and act.at < at for act in acts)

    return not post.message.private and were and not held_by(acts, at)


def known_at(run: Run, post: Post, act: Act, seen: Seen) -> float:
    """When the app could know of an act before it made a post, Unix seconds.

    The app looks at the state and at what is newer than the question before each public
    post; at the newest messages when it begins to work; and where catch-up finds a
    change. A look finds no message that was deleted.
    """
    accepted = seen.accepted.get(act.message_id, math.inf)
    erased = run.erased.get(act.message_id)
    asked = max((run.texts[text].id for text in post.texts), default=0)

    if erased and erased.at < post.message.created_at:
        return accepted

    if not act.message_id or act.message_id > asked > 0:
        return act.at

    began = BEGAN.search(post.content)
    started = float(began[1]) if began else -math.inf
    # Of the process that reads it first, nothing may be left.
    reads = sorted(at for at in seen.reads.get(run.talks[post.talk].id, ()))
    later = [at for at in reads if at > act.at][1:]

    return min([accepted, *later, started if started > act.at else math.inf])


# -- what is no question, and what is one no more --------------------------------------


def no_questions(run: Run) -> list[Text]:
    """Answers to what is no question, each by its conversation and message."""
    return [
        (post.talk, post.message.id)
        for post in posts(run)
        if NOTHING.search(post.content)
        or (post.content.startswith(ANSWER) and not post.texts)
    ]


def outdated(run: Run, seen: Seen) -> list[Text]:
    """Texts answered as they were when the app knew that they had been changed."""
    return sorted(
        text
        for text in run.edited | run.deleted
        for post in answers(run)[text]
        if not post.texts[text].endswith(EDITED)
        and post.message.created_at
        > seen.changed.get(run.texts[text].id, math.inf) + STALE
    )


# -- all of it -----------------------------------------------------------------------


def broken(run: Run, seen: Seen) -> dict[str, list[Text]]:
    """Of each promise, the texts for which it did not hold."""
    found = answers(run)
    pairs = [(text, post) for text, posts in found.items() for post in posts]

    return {
        "lost": lost(run),
        "doubled": [text for text, posts in found.items() if len(posts) > 1],
        "out of order": out_of_order(run, seen),
        "in another conversation": [x for x, post in pairs if post.talk != x[0]],
        "on the wrong side": [x for x, post in pairs if is_misplaced(run, post)],
        "over an operator": [
            x for x, post in pairs if is_over_operator(run, post, seen)
        ],
        "to what is no question": no_questions(run),
        "to an outdated text": outdated(run, seen),
    }


# -- what processes recorded -----------------------------------------------------------

HELD: t.Final = 3.0
"""Seconds for which a store may hold a request."""

OWN: t.Final = 0.5
"""Seconds that a request needs besides, on a machine that has much else to do."""


def limits(
    run: Run,
    questions: t.Iterable[str],
    requests: t.Iterable[tuple[int, float, float]],
    stops: t.Sequence[Stop],
) -> dict[str, Limit]:
    """What the accidents may cost.

    Each turn asks once, also one whose answer is dropped since the customer goes on
    writing: then the next one asks about more. Each process that dies or freezes may
    cost the same question once more.

    :param questions: What the provider was asked.
    :param requests: Of each request, the process, and when it began and ended.
    :param stops: When processes were frozen; such a request is not counted.
    """
    accidents = sum(
        count for name, count in run.done.items() if name.startswith(("kill", "freeze"))
    )
    asked = Counter(text for text in questions if TEXT.search(text))
    longest = max((seconds_of(*each, stops) for each in requests), default=0.0)

    return {
        "questions to the provider": Limit(asked.total(), len(asked) + accidents),
        "seconds of the longest request": Limit(round(longest, 2), HELD + OWN),
    }


def seconds_of(pid: int, begin: float, end: float, stops: t.Sequence[Stop]) -> float:
    """How long a request took; 0 if its process was frozen meanwhile."""
    frozen = any(
        stop.pid == pid and stop.since < end and begin < stop.until for stop in stops
    )

    return 0.0 if frozen else end - begin
