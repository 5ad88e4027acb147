"""A host with Celery, as Flask's documentation teaches it.

Its settings are in the environment; ``CELERY`` holds Celery's as JSON. Its provider
writes a line for each call to the file ``CALLS``, and takes ``PROVIDER_SECONDS``.
"""

from __future__ import annotations

import json
import os
import time
import typing as t

from celery import Celery, Task
from flask import Flask

from flask_chatwoot import Chatwoot


def celery_init_app(app: Flask) -> Celery:
    class FlaskTask(Task):  # type: ignore[type-arg]
        def __call__(self, *args: object, **kwargs: object) -> object:
            with app.app_context():
                return self.run(*args, **kwargs)

    celery_app = Celery(app.name, task_cls=FlaskTask)
    celery_app.config_from_object(app.config["CELERY"])
    celery_app.set_default()
    app.extensions["celery"] = celery_app

    return celery_app


def answer(text: str) -> str:
    with open(os.environ["CALLS"], "a", encoding="utf-8") as calls:
        calls.write(f"{os.getpid()} {text}\n")

    time.sleep(float(os.environ.get("PROVIDER_SECONDS", "0")))

    return f"Answer to {text}"


def create_app(**settings: t.Any) -> Flask:
    app = Flask("host")
    app.config["CELERY"] = json.loads(os.environ["CELERY"])
    app.config.update(settings)
    chatwoot = Chatwoot(app)
    chatwoot.reply_provider(answer)
    celery_init_app(app)

    return app


import os

if os.environ.get("NO_CHECK"):
    from flask_chatwoot.config import loading

    loading._check_celery = lambda found: None
flask_app = create_app() if "CHATWOOT_BASE_URL" in os.environ else None
celery_app = flask_app and flask_app.extensions["celery"]
