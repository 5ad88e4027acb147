"""A host with one answer."""

from __future__ import annotations

from flask import Flask

from flask_chatwoot import Chatwoot

app = Flask(__name__)
Chatwoot(app).reply_provider(lambda text: "On its way.")
