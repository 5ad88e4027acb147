"""The language of an account's operators: who is asked, and how often."""

from __future__ import annotations

import typing as t

import pytest

from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.errors import TransientError
from flask_chatwoot.turns import language
from flask_chatwoot.turns.language import OperatorsLanguage


class Account:
    """Answers as Chatwoot's API, and counts the requests."""

    def __init__(self, *answers: object) -> None:
        self.answers = [*answers]
        self.requests: list[tuple[str, str]] = []

    def call(self, method: str, path: str) -> t.Any:
        self.requests.append((method, path))
        answer = self.answers.pop(0)

        if isinstance(answer, Exception):
            raise answer

        return answer


def language_of(account: Account, **settings: t.Any) -> OperatorsLanguage:
    reader = t.cast(ChatwootClient, account)

    return OperatorsLanguage(reader, **{"locale": None, "own": None, **settings})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(language, "_ticks", lambda: now[0])

    return now


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"locale": "pt_BR"}, "pt"),
        ({"locale": "de"}, "de"),
        ({"locale": "ja"}, "en"),
        ({"locale": None}, "en"),
        ({"locale": 7}, "en"),
        ({}, "en"),
        ([], "en"),
    ],
)
def test_the_accounts_language_is_asked_for_once_a_day(
    clock: list[float], answer: object, expected: str
) -> None:
    account = Account(answer, {"locale": "fr"})
    spoken = language_of(account)

    assert [spoken.texts().language for _ in range(3)] == [expected] * 3
    assert account.requests == [("GET", "")]
    clock[0] += 86_401
    assert spoken.texts().language == "fr"


def test_the_setting_spares_the_request(clock: list[float]) -> None:
    account = Account()

    assert language_of(account, locale="ru").texts().language == "ru"
    assert account.requests == []


def test_a_failed_request_is_made_again_after_a_pause(clock: list[float]) -> None:
    failed = TransientError("no connection", endpoint="GET /api/v1/accounts/1")
    account = Account(failed, {"locale": "es"}, failed)
    spoken = language_of(account)

    assert [spoken.texts().language for _ in range(2)] == ["en"] * 2
    clock[0] += 301
    assert spoken.texts().language == "es"
    clock[0] += 86_401
    assert spoken.texts().language == "es"  # what was known before


def test_the_hosts_texts_are_over_those_of_the_language(clock: list[float]) -> None:
    spoken = language_of(Account(), locale="de", own={"handed_off": "Bitte schön."})

    assert spoken.texts().get("handed_off") == "Bitte schön."
    assert spoken.texts().get("handoff").startswith("**Der Bot")
