"""A shop's bot whose turns are run by Celery, on any number of machines.

In a checkout, ``pip install ".[celery,postgresql]" "psycopg[binary]"``. It needs
PostgreSQL (CHATWOOT_DATABASE_URL) and Redis (BROKER_URL); these addresses, and
Chatwoot's, are in the environment::

    flask --app examples/celery_app.py run
    celery --app examples.celery_app:celery_app worker
    celery --app examples.celery_app:celery_app beat

The first command receives what customers write; run it and the second one on as many
machines as you like. Run the third one once: it finds what a lost task was about.
Keep the name behind the colon: without it, Celery takes the Flask app for its own.
"""

import os

from celery import Celery, Task
from flask import Flask

from flask_chatwoot import Chatwoot


def celery_init_app(app: Flask) -> Celery:
    """As Flask's documentation has it."""

    class FlaskTask(Task):  # type: ignore[type-arg]
        def __call__(self, *args: object, **kwargs: object) -> object:
            with app.app_context():
                return self.run(*args, **kwargs)

    celery_app: Celery = Celery(app.name, task_cls=FlaskTask)
    celery_app.config_from_object(app.config["CELERY"])
    celery_app.set_default()
    app.extensions["celery"] = celery_app

    return celery_app


app = Flask(__name__)
app.config["CHATWOOT_BACKEND"] = "celery"
app.config["CELERY"] = {
    "broker_url": os.environ.get("BROKER_URL", "redis://localhost:6379/0"),
}
celery_app = celery_init_app(app)
chatwoot = Chatwoot(app)


@chatwoot.reply_provider
def answer(text: str) -> str:
    return "It leaves our warehouse within a day."
