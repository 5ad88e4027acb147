from __future__ import annotations

import importlib.util
import inspect
import re
import typing as t
from pathlib import Path

import pytest

from flask_chatwoot import errors
from flask_chatwoot.errors import (
    ChatwootError,
    GiveUp,
    PayloadError,
    SignatureError,
    trace,
)

CLASSES: dict[str, t.Any] = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, BaseException)
}


def tree_in(docstring: str) -> dict[str, str | None]:
    """Every class in a drawn tree, and its base class."""
    parents: dict[str, str | None] = {}
    branch: list[tuple[int, str]] = []

    for line in docstring.splitlines():
        if found := re.match(r" {4}([│├└─ ]*)(\w+Error|GiveUp)\b", line):
            while branch and branch[-1][0] >= len(found[1]):
                branch.pop()

            parents[found[2]] = branch[-1][1] if branch else None
            branch.append((len(found[1]), found[2]))

    return parents


def test_the_documented_tree_is_the_real_one() -> None:
    real = {name: cls.__base__.__name__ for name, cls in CLASSES.items()}
    assert tree_in(errors.__doc__ or "") == real | {"ChatwootError": None}


@pytest.mark.parametrize("cls", CLASSES.values(), ids=lambda cls: cls.__name__)
def test_one_except_clause_catches_every_error(cls: type[Exception]) -> None:
    assert issubclass(cls, ChatwootError)
    assert not issubclass(cls, OSError | ValueError | LookupError)


def test_a_delivery_error_has_an_http_status() -> None:
    assert (SignatureError("no").status, PayloadError("no").status) == (401, 400)


def test_a_host_that_gives_up_with_a_class_of_its_own_puts_no_text_into_logs() -> None:
    class TooLongError(GiveUp):
        def __init__(self, text: str) -> None:
            self.text = text

    error = TooLongError("what the customer wrote")
    assert (str(error), error.reason) == ("The reply provider gave up.", None)


@pytest.mark.parametrize("kind", ["transient", "permanent", "unknown"])
def test_an_api_error_has_a_kind(kind: str) -> None:
    cls = CLASSES[f"{kind.title()}Error"]
    error = cls("busy.", endpoint="GET /api", status=503, retry_after=7.0)

    assert (error.kind, str(error)) == (kind, "GET /api: busy.")
    assert (error.endpoint, error.status, error.retry_after) == ("GET /api", 503, 7.0)


def test_an_api_error_without_an_answer_has_no_status() -> None:
    error = errors.TransientError("no connection.", endpoint="GET /api")
    assert (error.status, error.retry_after) == (None, None)


CARD = "my card is 4111"


def raised() -> ValueError:
    with pytest.raises(ValueError, match="invalid literal") as caught:
        int(CARD)

    return caught.value


def test_a_trace_has_the_place_but_not_the_text_of_an_error() -> None:
    text = trace(raised())

    line = raised.__code__.co_firstlineno + 2
    assert text == f"ValueError at {__name__}:{line} in raised"


def test_a_trace_does_not_quote_the_cause() -> None:
    with pytest.raises(RuntimeError) as caught:
        raise RuntimeError(f"cannot read {CARD}") from raised()

    assert "RuntimeError" in trace(caught.value)
    assert CARD not in trace(caught.value)


def test_a_trace_names_no_file_and_nothing_that_is_no_module(tmp_path: Path) -> None:
    path = tmp_path / f"{CARD}.py"
    path.write_text("class Missing(LookupError): ...\nraise Missing")
    spec = importlib.util.spec_from_file_location(CARD, path)
    assert spec is not None
    assert spec.loader is not None

    with pytest.raises(LookupError) as caught:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))

    text = trace(caught.value)
    assert text.startswith(f"Missing at {__name__}:")
    assert CARD not in text


def test_a_trace_of_many_calls_has_the_outer_and_the_inner_ones() -> None:
    def recur(count: int) -> int:
        return recur(count - 1) if count else int(CARD)

    with pytest.raises(ValueError, match="invalid literal") as caught:
        recur(100)

    text = trace(caught.value)
    assert text.count(" in recur") == 7
    assert " > … > " in text


def test_the_trace_of_an_error_that_was_not_raised_is_its_name() -> None:
    assert trace(SignatureError("no")) == "flask_chatwoot.errors.SignatureError"
