"""All texts by language, and a choice of those for operators."""

from __future__ import annotations

import string
import typing as t

from . import de, en, es, fr, pt, ru

Text = str | t.Mapping[str, str]
"""A text, or its plural forms: ``one``, ``few`` and ``many`` for some, ``other``."""

FORMS: t.Final = ("one", "few", "many", "other")

LANGUAGES: t.Final[t.Mapping[str, t.Mapping[str, Text]]] = {
    "en": en.TEXTS,
    "ru": ru.TEXTS,
    "de": de.TEXTS,
    "fr": fr.TEXTS,
    "es": es.TEXTS,
    "pt": pt.TEXTS,
}
"""What operators read, by the first part of a code of Chatwoot's, such as ``pt_BR``
(``config/initializers/languages.rb``)."""

PAGE: t.Final[t.Mapping[str, t.Mapping[str, Text]]] = {
    "en": en.PAGE,
    "ru": ru.PAGE,
    "de": de.PAGE,
    "fr": fr.PAGE,
    "es": es.PAGE,
    "pt": pt.PAGE,
}
"""What the playground's page shows, by the same. A host cannot replace these."""

_DEFAULT: t.Final = "en"


class Texts:
    """The texts in one language. Immutable.

    :param locale: A code as Chatwoot writes it. English, if ``None`` or if there is no
        table for it.
    :param own: The host's texts, in place of those with the same keys.
    """

    def __init__(
        self, locale: str | None = None, own: t.Mapping[str, Text] | None = None
    ) -> None:
        code = (locale or _DEFAULT).replace("-", "_").partition("_")[0].lower()
        self.language = code if code in LANGUAGES else _DEFAULT
        self._table = {**LANGUAGES[self.language], **(own or {})}

    def get(self, key: str, count: int = 1, **values: str) -> str:
        """A text with its values.

        :param count: Chooses the plural form, and is a value itself.
        """
        text = self._table[key]

        if not isinstance(text, str):
            text = text.get(_form(self.language, count), text["other"])

        return text.format(count=count, **values)

    def find(self, key: str) -> str | None:
        """A text without values; ``None`` if there is none with this key."""
        return self.get(key) if key in self._table else None


def problem_of(own: t.Mapping[t.Any, t.Any]) -> str | None:
    """What is wrong with a host's texts, with the key, or ``None``."""
    english = LANGUAGES[_DEFAULT]

    for key, text in own.items():
        if key not in english:
            return f"has the unknown key {key!r}; known are: {', '.join(english)}."

        if not isinstance(text, str | t.Mapping) or not _has_forms(text):
            return (
                f"must have text under {key!r}, or a dict of plural forms: "
                f"{', '.join(FORMS)}; only the last must be there."
            )

        wanted = placeholders(english[key])

        try:
            # "One message" need not say the number.
            given = placeholders(text)
        except ValueError:
            return f"has a brace that is not closed under {key!r}; double it: {{{{."

        if given - wanted or (wanted - given) - {"count"}:
            names = ", ".join(f"{{{name}}}" for name in sorted(wanted)) or "none"
            return f"has wrong placeholders under {key!r}; these belong there: {names}."

    return None


def placeholders(text: Text) -> set[str]:
    """The names in braces, in any of the forms.

    One with a format, which no text needs, is told apart: its value may not have it.

    :raises ValueError: A brace is not closed.
    """
    return {
        f"{name}!{conversion}:{how}" if conversion or how else name
        for each in forms_of(text)
        for _, name, how, conversion in string.Formatter().parse(each)
        if name is not None
    }


def forms_of(text: Text) -> list[str]:
    """A text in all of its forms."""
    return [text] if isinstance(text, str) else list(text.values())


def _has_forms(text: str | t.Mapping[t.Any, t.Any]) -> bool:
    if isinstance(text, str):
        return True

    return (
        "other" in text
        and {*text} <= {*FORMS}
        and all(isinstance(each, str) for each in text.values())
    )


def _form(language: str, count: int) -> str:
    """The plural form of a whole number (Unicode CLDR)."""
    if language == "ru":
        return _russian(count)

    if language in ("fr", "pt"):
        return "one" if count in (0, 1) else "other"

    return "one" if count == 1 else "other"


def _russian(count: int) -> str:
    if count % 10 == 1 and count % 100 != 11:
        return "one"

    few = count % 10 in (2, 3, 4) and count % 100 not in (12, 13, 14)

    return "few" if few else "many"


ENGLISH: t.Final = Texts()
