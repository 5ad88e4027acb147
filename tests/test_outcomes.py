from __future__ import annotations

import ast
import itertools
from enum import StrEnum
from pathlib import Path

import pytest

from flask_chatwoot import outcomes
from flask_chatwoot.outcomes import Outcome, Reason


def documented_members(cls: type[StrEnum]) -> set[str]:
    """Names of members that are followed by a text of at least a few words."""
    tree = ast.parse(Path(outcomes.__file__).read_text(encoding="utf-8"))
    [body] = [
        node.body
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == cls.__name__
    ]

    return {
        before.targets[0].id
        for before, after in itertools.pairwise(body)
        if isinstance(before, ast.Assign)
        and isinstance(before.targets[0], ast.Name)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
        and isinstance(after.value.value, str)
        and len(after.value.value) > 6
    }


def test_the_list_of_outcomes_is_closed() -> None:
    assert set(map(str, Outcome)) == {
        *("accepted", "duplicate", "ignored"),
        *("replied", "noted", "handed_off", "taken_over", "declined", "dead"),
    }


def test_the_list_of_reasons_is_closed() -> None:
    assert set(map(str, Reason)) == {
        *("not_configured", "other_event", "conversation"),
        *("other_account", "other_inbox"),
        *("outgoing", "private", "template", "activity", "unknown_type", "empty"),
        *("auto_reply", "blocked"),
        *("taken", "answered", "status", "assigned", "too_old", "window_closed"),
        *("policy_failed", "superseded"),
        *("no_answer", "no_provider", "provider_failed", "provider_invalid"),
        *("unauthorized", "not_found", "refused", "redirected", "rate_limited"),
        *("server_error", "unreachable", "unconfirmed", "crashed", "unreadable"),
    }


@pytest.mark.parametrize("cls", [Outcome, Reason])
def test_every_ending_is_documented(cls: type[StrEnum]) -> None:
    assert documented_members(cls) == set(cls.__members__)


@pytest.mark.parametrize("member", [*Outcome, *Reason])
def test_an_ending_is_its_own_name_in_small_letters(member: StrEnum) -> None:
    assert member == member.name.lower()
    assert f"{member}" == member.value
