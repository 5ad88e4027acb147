"""A host that is started while its database cannot be used."""

from __future__ import annotations

import logging

from flask import Flask

from flask_chatwoot import Chatwoot

logging.basicConfig(format="%(levelname)s %(name)s %(message)s")

app = Flask(__name__)
chatwoot = Chatwoot(app)


@chatwoot.reply_provider
def reply(text: str) -> str:
    return "It is on its way."


@app.get("/own")
def own() -> str:
    return "ok"
