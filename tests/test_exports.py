from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys
import types
import typing as t
from pathlib import Path

import pytest

import flask_chatwoot

MODULES = [
    info.name
    for info in pkgutil.walk_packages(flask_chatwoot.__path__, "flask_chatwoot.")
]
LATE = {"Chatwoot", "Post"}
"""Names that are imported on first use."""

PORTABLE = Path(__file__).parent / "support" / "programs" / "without_flask.py"


def public_names() -> set[str]:
    """The names in the package's namespace that others may use."""
    return LATE | {
        name
        for name, value in vars(flask_chatwoot).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    } - {"annotations"}


def undocumented(module: types.ModuleType) -> t.Iterator[str]:
    """Public classes, functions and methods of a module without a docstring."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", "") != module.__name__:
            continue

        if inspect.isfunction(value) and not inspect.getdoc(value):
            yield name

        if inspect.isclass(value):
            # A dataclass and a named tuple generate a docstring.
            if (value.__doc__ or f"{name}(").startswith(f"{name}("):
                yield name

            yield from (
                f"{name}.{inner}"
                for inner, method in vars(value).items()
                if not inner.startswith("_")
                and isinstance(method, types.FunctionType | property | classmethod)
                and not inspect.getdoc(getattr(value, inner))
            )


def test_the_list_of_exports_is_sorted_and_complete() -> None:
    assert flask_chatwoot.__all__ == sorted(flask_chatwoot.__all__)
    assert set(flask_chatwoot.__all__) == public_names()


@pytest.mark.slow
@pytest.mark.parametrize(
    "module", ["client", "payloads.events", "ownership.mode", "payloads.signature"]
)
def test_a_portable_module_needs_no_flask(module: str) -> None:
    command = [sys.executable, str(PORTABLE), f"flask_chatwoot.{module}"]
    assert subprocess.check_output(command, text=True) == "flask\n"


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(flask_chatwoot, "Chatwood")


@pytest.mark.parametrize("name", flask_chatwoot.__all__)
def test_an_export_has_a_docstring_of_its_own(name: str) -> None:
    value = getattr(flask_chatwoot, name)

    if inspect.isclass(value) or inspect.isfunction(value):
        sentence = (inspect.getdoc(value) or "").partition("\n")[0]
        assert sentence.endswith((".", ".``"))
        assert not sentence.startswith(f"{name}(")


@pytest.mark.parametrize("name", ["before_post", "turn_finished", "got_exception"])
def test_a_signal_documents_what_it_sends(name: str) -> None:
    docstring = inspect.getdoc(getattr(flask_chatwoot, name)) or ""

    assert "Receives ``" in docstring.replace("\n", " ")


@pytest.mark.parametrize("name", ["flask_chatwoot", *MODULES])
def test_every_public_name_has_a_docstring(name: str) -> None:
    module = importlib.import_module(name)

    assert module.__doc__, "the module has none"
    assert list(undocumented(module)) == []
