"""The Celery app of a host.

Tasks are published through it, and never through the one that is current in a thread,
which may have another broker.
"""

from __future__ import annotations

import importlib
import sys

from celery import Celery
from celery.local import maybe_evaluate
from flask import Flask

from flask_chatwoot.errors import ConfigError, trace


class CeleryFinder:
    """Finds the Celery app of a host, which may be made after ``init_app``.

    :param path: A module and a name in it; ``None``: ``app.extensions["celery"]``.
    """

    def __init__(self, app: Flask, path: str | None) -> None:
        self._app = app
        self._path = path

    def find(self) -> Celery:
        """The Celery app. Imports its module, where it is named.

        :raises ConfigError: There is none.
        """
        if self._path is not None:
            module = self._path.partition(":")[0]

            try:
                importlib.import_module(module)
            except Exception as error:
                raise ConfigError(
                    f"CHATWOOT_CELERY_APP is {self._path!r}, whose module cannot be "
                    f"imported ({trace(error)}). Name the module and the Celery app."
                ) from error

        found = self.known()

        if found is None:
            raise ConfigError(self._missing())

        return found

    def is_for(self, celery_app: object) -> bool:
        """Whether it would find this one; imports nothing."""
        return celery_app is not None and self.known() is celery_app

    def known(self) -> Celery | None:
        """The Celery app, unless it is missing, or its module is not imported yet."""
        if self._path is None:
            found = self._app.extensions.get("celery")
        else:
            module, _, name = self._path.partition(":")
            found = getattr(sys.modules.get(module), name, None)

        found = maybe_evaluate(found)

        return found if isinstance(found, Celery) else None

    def _missing(self) -> str:
        if self._path is not None:
            return (
                f"CHATWOOT_CELERY_APP is {self._path!r}, which is no Celery app. Name "
                "one, like shop:celery."
            )

        return (
            f"The app {self._app.name!r} has no Celery app, which CHATWOOT_BACKEND "
            'needs: set app.extensions["celery"], or CHATWOOT_CELERY_APP.'
        )
