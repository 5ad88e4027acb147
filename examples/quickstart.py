"""A shop's bot that answers from a small FAQ.

Try it without Chatwoot::

    flask --app examples/quickstart.py chatwoot simulate "Where is my order?"
"""

import logging

from flask import Flask

from flask_chatwoot import Chatwoot, Post, Turn, after_post, before_post

FAQ = {
    "order": "It leaves our warehouse within a day; the link in your mail shows where.",
    "return": "You have 30 days. Put the slip from the parcel into the box.",
    "pay": "By card, by invoice, or by bank transfer.",
}

app = Flask(__name__)
chatwoot = Chatwoot(app)

audit = logging.getLogger("audit")
audit.setLevel(logging.INFO)
audit.addHandler(logging.StreamHandler())


@chatwoot.reply_provider
def answer(text: str, turn: Turn) -> str:
    for word, reply in FAQ.items():
        if word in text.casefold():
            return reply

    name = turn.contact.name or "there"
    return f"Hello {name}! Ask me about orders, returns or payment."


@before_post.connect_via(app)
def about_to_post(sender: Flask, post: Post) -> None:
    kind = "note" if post.private else "reply"
    audit.info("conversation %s: posting a %s", post.conversation_id, kind)


@after_post.connect_via(app)
def posted(
    sender: Flask,
    post: Post,
    message_id: int | None,
    error: Exception | None,
    seconds: float,
) -> None:
    result = f"failed ({error})" if error else f"is message {message_id}"
    audit.info("conversation %s: post %s", post.conversation_id, result)
