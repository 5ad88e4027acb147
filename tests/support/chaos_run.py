"""Customers, operators and accidents of a run of the chaos program."""

from __future__ import annotations

import contextlib
import functools
import time
import typing as t
from collections import Counter, defaultdict

from flask_chatwoot.simulator import Simulator, Talk
from flask_chatwoot.simulator.payloads import JSON, MessageRecord

from .chaos_plan import OPERATORS, Step, mode_of
from .host import Accidents

FILE: t.Final[JSON] = {"file_type": "image", "data_url": "https://example.com/a.png"}
EDITED: t.Final = " (edited)"

Text = tuple[int, int]
"""Each text of a customer is unique: its conversation and its place there."""


class Act(t.NamedTuple):
    """What an operator did with a conversation.

    :ivar takes: Operators have it from then on; else nobody has.
    :ivar at: Unix seconds.
    :ivar message_id: The message that shows it; 0: another trace does.
    """

    takes: bool
    at: float
    message_id: int = 0


class Erased(t.NamedTuple):
    """A message that was deleted.

    :ivar content: What it was.
    """

    at: float
    content: str


class Host(t.Protocol):
    """Where the app runs.

    :ivar accidents: What can happen to it.
    """

    accidents: Accidents

    def recover(self) -> None:
        """Let everything run."""


class Run:
    """Does what is planned.

    :ivar texts: What customers wrote.
    :ivar edited: Texts that their customers have edited.
    :ivar deleted: Texts that their customers have deleted.
    :ivar acts: Conversation number to what operators did there.
    :ivar acted: Conversations in which an operator did anything.
    :ivar returned: Conversations whose attribute an operator has set to bot.
    :ivar erased: Message id to what an operator deleted.
    :ivar done: How often each kind of step was done.
    """

    def __init__(
        self,
        sim: Simulator,
        host: Host,
        conversations: int,
        clock: t.Callable[[], float] = time.time,
    ) -> None:
        self.talks = [new_talk(sim, mode_of(n)) for n in range(conversations)]
        self.texts: dict[Text, MessageRecord] = {}
        self.edited: set[Text] = set()
        self.deleted: set[Text] = set()
        self.acts: dict[int, list[Act]] = defaultdict(list)
        self.acted: set[int] = set()
        self.returned: set[int] = set()
        self.erased: dict[int, Erased] = {}
        self.done: Counter[str] = Counter()
        self._own: dict[int, MessageRecord] = {}
        self._sim = sim
        self._host = host
        self._clock = clock

    def begin(self) -> None:
        """Write until an answer shows that the app runs and knows this Chatwoot."""
        talk = new_talk(self._sim, "bot")

        for number in range(60):
            talk.customer_says(f"Hello {number}")

            with contextlib.suppress(TimeoutError):
                self._sim.wait_until(lambda: talk.replies, timeout=1.0)
                return

        raise AssertionError("The app does not answer.")

    def follow(self, steps: t.Iterable[Step], report: t.Callable[[Step], None]) -> None:
        start = time.monotonic()

        for step in steps:
            time.sleep(max(0.0, start + step.at - time.monotonic()))
            self.do(step)

            if step.act != "text":
                report(step)

    def do(self, step: Step) -> None:
        accident = self._host.accidents.get(step.act)
        act = accident or functools.partial(ACTS[step.act], self)

        if step.act in OPERATORS:
            self.acted.add(step.who)

        with contextlib.nullcontext() if step.seen else self._sim.losing():
            act(step.who)

        self.done[f"{step.act} {step.who}" if "kill" in step.act else step.act] += 1
        self.done["unseen"] += not step.seen

    def wait_for_answers(
        self, is_answered: t.Callable[[], bool], patience: float, least: float
    ) -> None:
        """Wait until all is answered and nothing follows.

        :param patience: Seconds without a post, after which the rest counts as lost.
        :param least: Seconds until nothing that is under way can cause a post any more.
        """
        begin = since = time.monotonic()
        posts = -1

        while time.monotonic() < max(
            begin + least, since + (2.0 if is_answered() else patience)
        ):
            self._host.recover()
            before, posts = posts, sum(len(talk.posted) for talk in self.talks)
            since = since if posts == before else time.monotonic()
            time.sleep(0.5)

    # -- customers ---------------------------------------------------------------

    def write(self, number: int, before: str = "") -> None:
        place = self._place(number)
        text = self.talks[number].customer_says(f"{before}c{number}t{place}")
        self.texts[number, place] = text

    def edit(self, number: int) -> None:
        """Edit the newest text that is as it was."""
        for text in self._unchanged(number):
            message = self.texts[text]
            self.edited.add(text)
            self.talks[number].customer_edits(message, f"{message.content}{EDITED}")

    def delete(self, number: int) -> None:
        """Delete the newest text that is as it was."""
        for text in self._unchanged(number):
            self.deleted.add(text)
            self.talks[number].customer_deletes(self.texts[text])

    def _unchanged(self, number: int) -> list[Text]:
        texts = {text for text in self.texts if text[0] == number}

        return sorted(texts - self.edited - self.deleted)[-1:]

    def react(self, number: int, *, removes: bool = False) -> None:
        reaction = self.talks[number].customer_reacts(f"👍 {self._nothing(number)}")

        if removes:
            self.talks[number].customer_deletes(reaction)

    def call(self, number: int) -> None:
        self.talks[number].customer_calls(f"Voice Call {self._nothing(number)}")

    def rate(self, number: int) -> None:
        self.talks[number].customer_rates(4, f"Fine {self._nothing(number)}")

    def _nothing(self, number: int) -> str:
        """A text like those of customers, in what is no question."""
        return f"c{number}n{self._place(number)}"

    def _place(self, number: int) -> int:
        return len(self.talks[number].messages)  # unique, and growing

    # -- operators ---------------------------------------------------------------

    def take(self, number: int, say: str = "operator_says", **fields: t.Any) -> None:
        """Write to the customer."""
        content = None if fields else f"I do this: c{number}o{self._place(number)}"
        message = getattr(self.talks[number], say)(content, **fields)
        self._own[number] = message
        self.acts[number].append(Act(True, self._clock(), message.id))

    def set_human(self, number: int) -> None:
        """Set the attribute, or write where that says human already."""
        if self.talks[number].current.custom_attributes["support_mode"] == "human":
            self.take(number)
        else:
            self.talks[number].set_attribute("support_mode", "human")
            self.acts[number].append(Act(True, self._clock()))

    def set_bot(self, number: int) -> None:
        self.returned.add(number)
        self.end(number, lambda talk: talk.set_attribute("support_mode", "bot"))

    def end(self, number: int, change: t.Callable[[Talk], None]) -> None:
        """Let nobody have it any more."""
        self.acts[number].append(Act(False, self._clock()))
        change(self.talks[number])

    def edit_own(self, number: int) -> None:
        if message := self._own.get(number):
            self._own[number] = self.talks[number].edit(message, content="I did this.")

    def delete_own(self, number: int) -> None:
        if message := self._own.pop(number, None):
            self._erase(number, message)

    def delete_reply(self, number: int) -> None:
        """Delete the newest post of the app."""
        for message in self.talks[number].posted[-1:]:
            if message.id not in self.erased:
                self._erase(number, message)

    def _erase(self, number: int, message: MessageRecord) -> None:
        self.erased[message.id] = Erased(self._clock(), message.content or "")
        self.talks[number].operator_deletes(message)


ACTS: t.Final[t.Mapping[str, t.Callable[[Run, int], object]]] = {
    "text": Run.write,
    "slow text": lambda run, who: run.write(who, before="slow "),
    "edits": Run.edit,
    "deletes": Run.delete,
    "reacts": Run.react,
    "reacts no more": lambda run, who: run.react(who, removes=True),
    "calls": Run.call,
    "rates": Run.rate,
    "reads": lambda run, who: run.talks[who].customer_reads(),
    "writes": Run.take,
    "writes by phone": lambda run, who: run.take(who, "operator_says_from_phone"),
    "writes in Slack": lambda run, who: run.take(who, "operator_says_from_slack"),
    "sends a file": lambda run, who: run.take(who, attachments=[FILE]),
    "sets human": Run.set_human,
    "assigns": lambda run, who: run.talks[who].operator_takes(),
    "edits own": Run.edit_own,
    "deletes own": Run.delete_own,
    "deletes reply": Run.delete_reply,
    "resolves": lambda run, who: run.end(who, Talk.resolve),
    "sets bot": Run.set_bot,
    "sets pending": lambda run, who: run.end(
        who, lambda talk: talk.change_status("pending")
    ),
}


def new_talk(sim: Simulator, mode: str) -> Talk:
    return sim.conversation(custom_attributes={"support_mode": mode})
