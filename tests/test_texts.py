"""What operators read, and what the playground's page shows, in each language."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest

from flask_chatwoot.ownership.mode import Mode, vocabulary
from flask_chatwoot.playground import page
from flask_chatwoot.simulator import activities
from flask_chatwoot.texts import LANGUAGES, PAGE, Text, Texts, problem_of
from flask_chatwoot.texts.table import placeholders

FORMS: t.Final[t.Mapping[str, set[str]]] = {"ru": {"one", "few", "many", "other"}}
"""The plural forms of whole numbers below a million, if not ``one`` and ``other``."""

every_language = pytest.mark.parametrize("language", LANGUAGES)
every_table = pytest.mark.parametrize(
    "tables", [LANGUAGES, PAGE], ids=["operators", "page"]
)
Tables = t.Mapping[str, t.Mapping[str, Text]]


@every_language
@every_table
def test_each_language_has_all_texts_with_the_same_placeholders(
    language: str, tables: Tables
) -> None:
    def shape(table: t.Mapping[str, Text]) -> dict[str, set[str]]:
        return {key: placeholders(text) for key, text in table.items()}

    assert tables.keys() == LANGUAGES.keys()
    assert shape(tables[language]) == shape(tables["en"])


@every_language
@every_table
def test_each_plural_has_the_forms_of_its_language(
    language: str, tables: Tables
) -> None:
    plurals = [x for x in tables[language].values() if not isinstance(x, str)]
    wanted = FORMS.get(language, {"one", "other"})

    assert [forms for forms in plurals if forms.keys() != wanted] == []


@every_language
@every_table
def test_no_text_is_empty(language: str, tables: Tables) -> None:
    forms = [
        form
        for text in tables[language].values()
        for form in ([text] if isinstance(text, str) else text.values())
    ]

    assert all(form.strip() for form in forms)


# -- the page --------------------------------------------------------------------

STATIC: t.Final = Path(page.page.static_folder or "")
CALL: t.Final = re.compile(r"\b(?:word|announceText)\(((?:[^()]|\([^()]*\))*)\)")


def names_in_scripts() -> t.Iterator[str]:
    """The names of texts, as regular expressions: a script may compose a name."""
    for path in STATIC.glob("*.js"):
        if path.name.startswith("markdown-it"):
            continue

        script = path.read_text(encoding="utf-8")

        for call in CALL.findall(script):
            given = re.sub(r'=== "\w+"', "", call)
            yield from re.findall(r'"(\w+)"', given)

            for template in re.findall(r"`([^`]*)`", given):
                yield re.sub(r"\$\{[^}]*\}", r"\\w+", template)

        for prefix in re.findall(r'\.startsWith\("(\w+_)"\)', script):
            yield rf"{prefix}\w+"

        yield from re.findall(r"\btable\.(\w+)", script)


def test_the_page_uses_each_of_its_texts_and_no_others() -> None:
    html = (STATIC / "page.html").read_text(encoding="utf-8")
    names = {
        *re.findall(r'\bdata-(?:text|label|placeholder)="(\w+)"', html),
        *names_in_scripts(),
    }
    found = {name: {x for x in PAGE["en"] if re.fullmatch(name, x)} for name in names}

    assert [name for name, keys in found.items() if not keys] == []
    assert PAGE["en"].keys() - set().union(*found.values()) == set()


@every_language
def test_the_app_knows_the_options_of_the_form(language: str) -> None:
    words = vocabulary()
    bot, human = (str(PAGE[language][f"{x}_option"]) for x in ("bot", "human"))

    assert words[bot.casefold()] is Mode.BOT
    assert words[human.casefold()] is Mode.HUMAN


def test_the_page_finds_what_the_simulator_writes_by_itself() -> None:
    assert PAGE["en"]["activity_written"] == activities.REOPENED
    assert PAGE["en"]["activity_bot_failed"] == activities.BOT_FAILED


# -- the language ----------------------------------------------------------------


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
        ({"greeting": "Hello!"}, "'greeting'"),  # of the page
        ({"reason": "Because {reason!x}"}, "{reason}"),
        ({"reason": "Because {reason:d}"}, "{reason}"),
        ({"wrote": {"other": "{count:>999999999}"}}, "{count}"),
    ],
)
def test_wrong_texts_of_a_host_are_named(own: dict[str, t.Any], named: str) -> None:
    assert named in (problem_of(own) or "")
