from __future__ import annotations

import copy
import pickle
from enum import StrEnum

import pytest

from flask_chatwoot.outcomes import DeliveryOutcome, Reason, TurnOutcome

CLOSED: dict[type[StrEnum], set[str]] = {
    DeliveryOutcome: {"accepted", "duplicate", "ignored"},
    TurnOutcome: {"replied", "noted", "handed_off", "taken_over", "declined", "dead"},
    Reason: {
        *("not_configured", "other_event", "conversation"),
        *("other_account", "other_inbox"),
        *("outgoing", "private", "template", "activity", "unknown_type", "empty"),
        *("auto_reply", "blocked"),
        *("call", "reaction", "survey", "updated", "edited", "deleted"),
        *("taken", "answered", "other_bot", "status", "assigned", "too_old"),
        "window_closed",
        *("policy_failed", "policy", "superseded"),
        *("repeated_text", "too_many_turns"),
        *("no_answer", "no_reply", "no_draft_notes", "no_provider"),
        *("provider_failed", "provider_timeout", "provider_invalid"),
        *("unauthorized", "not_found", "refused", "redirected", "not_chatwoot"),
        *("rate_limited", "server_error", "unreachable", "unconfirmed", "crashed"),
        *("undelivered", "unreadable"),
    },
}


@pytest.mark.parametrize("cls", CLOSED)
def test_the_list_is_closed(cls: type[StrEnum]) -> None:
    assert set(map(str, cls)) == CLOSED[cls]


@pytest.mark.parametrize("member", [*DeliveryOutcome, *TurnOutcome, *Reason])
def test_a_member_is_its_name_in_small_letters_and_has_a_meaning(
    member: DeliveryOutcome | TurnOutcome | Reason,
) -> None:
    assert member == member.value == f"{member}" == member.name.lower()
    assert len(member.meaning) > 6
    assert member.meaning.endswith(".")
    assert type(member)(str(member)) is member
    assert pickle.loads(pickle.dumps(member)) is copy.copy(member) is member  # noqa: S301
