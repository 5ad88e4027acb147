"""A shop's bot that offers choices, and hands off what it cannot answer.

Try it without Chatwoot::

    flask --app examples/handoff.py chatwoot simulate Hello Hm "Anybody there?"
"""

from flask import Flask

from flask_chatwoot import (
    Audience,
    Chatwoot,
    Decision,
    Handoff,
    PolicyContext,
    Reply,
    Turn,
    default_policy,
)

TOPICS = {
    "Order": "It leaves our warehouse within a day.",
    "Return": "You have 30 days; the slip is in the parcel.",
}
OPERATOR = "An operator"
QUESTION = "What is it about?"
ON_TRIAL = {7}  # ids of inboxes where all answers are notes

app = Flask(__name__)
chatwoot = Chatwoot(app)


@chatwoot.policy
def on_trial(facts: PolicyContext) -> Decision:
    decision = default_policy(facts)  # the built-in policy

    if decision.audience is Audience.CUSTOMER and facts.inbox_id in ON_TRIAL:
        return Decision(Audience.OPERATORS, "on_trial")

    return decision


@chatwoot.reply_provider
def answer(text: str, turn: Turn) -> str | Reply:
    words = text.casefold()

    for topic, said in TOPICS.items():
        if topic.casefold() in words:
            return said

    before = [entry["content"] for entry in turn.history(limit=2)]

    if "operator" in words:
        reason = "asked for an operator"
    elif QUESTION in before:
        reason = "was not understood twice"
    else:
        return Reply(QUESTION, choices=[*TOPICS, OPERATOR])

    return Reply("One moment, a colleague takes over.", handoff=Handoff(reason))
