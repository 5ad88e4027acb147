"""What operators read, in each language."""

from __future__ import annotations

import typing as t

import pytest

from flask_chatwoot.texts import LANGUAGES, Texts, problem_of

every_language = pytest.mark.parametrize("language", LANGUAGES)


@every_language
def test_each_language_has_all_texts_with_the_same_placeholders(language: str) -> None:
    assert LANGUAGES[language].keys() == LANGUAGES["en"].keys()
    assert problem_of(LANGUAGES[language]) is None


@pytest.mark.parametrize(
    ("locale", "language"),
    [("pt_BR", "pt"), ("de", "de"), ("fr-CA", "fr"), (None, "en"), ("zh_CN", "en")],
)
def test_a_code_of_chatwoot_chooses_the_language(
    locale: str | None, language: str
) -> None:
    assert Texts(locale).language == language


@pytest.mark.parametrize(
    ("count", "words"),
    [(1, "1 сообщение:"), (3, "3 сообщения:"), (11, "11 сообщений:")],
)
def test_a_number_has_its_plural_form(count: int, words: str) -> None:
    assert Texts("ru").get("wrote", count).endswith(words)


@pytest.mark.parametrize(
    ("own", "named"),
    [
        ({"handof": "Yours."}, "'handof'"),
        ({"reason": "Because."}, "{reason}"),
        ({"handed_off": "Yours, {name}."}, "'handed_off'"),
        ({"handed_off": 1}, "'handed_off'"),
        ({"wrote": {"one": "One:"}}, "'wrote'"),
    ],
)
def test_wrong_texts_of_a_host_are_named(own: dict[str, t.Any], named: str) -> None:
    assert named in (problem_of(own) or "")
