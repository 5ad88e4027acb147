"""The language of an account's operators."""

from __future__ import annotations

import threading
import time
import typing as t

from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.errors import ChatwootError
from flask_chatwoot.logs import logger
from flask_chatwoot.payloads.fields import as_object, as_text
from flask_chatwoot.texts import Text, Texts

_TTL: t.Final = 86_400.0
"""Seconds after which the account's language is requested again."""

_PAUSE: t.Final = 300.0
"""Seconds after a request that failed. Texts are English meanwhile, or as before."""

_ticks: t.Final = time.monotonic

log = logger(__name__)


class OperatorsLanguage:
    """The texts for operators, in their language. Threads share it.

    :param reader: The client that asks for the account.
    :param locale: ``CHATWOOT_LOCALE``. ``None``: the account's language, or English
        where Chatwoot does not say it.
    :param own: ``CHATWOOT_TEXTS``.
    """

    def __init__(
        self,
        reader: ChatwootClient,
        *,
        locale: str | None,
        own: t.Mapping[str, Text] | None,
    ) -> None:
        self._reader = reader
        self._own = own
        self._texts = None if locale is None else Texts(locale, own)
        self._until = float("inf")
        self._lock = threading.Lock()

    def texts(self) -> Texts:
        """The texts. May block for one request to Chatwoot, once a day."""
        texts, now = self._texts, _ticks()

        if texts is not None and now < self._until:
            return texts

        # Another thread that asks already is not waited for, where there is an answer.
        if not self._lock.acquire(blocking=texts is None):
            return t.cast(Texts, texts)

        try:
            if self._texts is None or _ticks() >= self._until:
                self._texts = self._asked()

            return self._texts
        finally:
            self._lock.release()

    def known(self) -> Texts:
        """The texts as far as the language is known; else English. Does not block."""
        return self._texts or Texts(None, self._own)

    def _asked(self) -> Texts:
        pause = _TTL

        try:
            account = as_object(self._reader.call("GET", ""))
            texts = Texts(as_text(account.get("locale")), self._own)
        except ChatwootError as error:
            log.debug("the account's language is unknown: %s", error)
            pause = _PAUSE
            texts = self._texts or Texts(None, self._own)

        self._until = _ticks() + pause

        return texts
