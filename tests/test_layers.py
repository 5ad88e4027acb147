from __future__ import annotations

import ast
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

import flask_chatwoot

ROWS: t.Final[t.Sequence[set[str]]] = [
    {"errors", "outcomes"},
    {"signals", "events", "signature", "inbox", "payloads", "liquid"},
    {"mode"},
    {"replies"},
    {"failures", "config", "client"},
    {"posting"},
    {"bot"},
    {"simulator_server", "simulator_state"},
    {"simulator_deliveries"},
    {"simulator_api"},
    {"backends", "views", "provision", "simulator", "testing", "celery"},
    {"rehearsal"},
    {"cli"},
    {"extension"},
    {"__init__"},
]
"""From the bottom up. A module may import from lower rows only."""

RANK = {name: number for number, row in enumerate(ROWS) for name in row}
MODULES = sorted(Path(flask_chatwoot.__file__).parent.glob("*.py"))
LONGEST_FUNCTION = 40

every_module = pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports_in(tree: ast.Module) -> set[str]:
    """Full names of all that is imported anywhere, late imports included."""
    found: set[str] = set()

    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = "flask_chatwoot." * node.level + (node.module or "")
            found |= {f"{start.rstrip('.')}.{alias.name}" for alias in node.names}

    return found


def ours(imported: set[str]) -> set[str]:
    """The modules of this package among the names."""
    parts = [name.split(".") for name in imported]

    return {
        part[1] if len(part) > 1 and part[1] in RANK else "__init__"
        for part in parts
        if part[0] == "flask_chatwoot"
    }


def foreign(imported: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in imported} - {"flask_chatwoot"}


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """From ``def`` to the end, without the docstring."""
    assert function.end_lineno is not None
    lines = function.end_lineno - function.lineno + 1

    if ast.get_docstring(function) is None:
        return lines

    docstring = function.body[0]
    assert docstring.end_lineno is not None

    return lines - (docstring.end_lineno - docstring.lineno + 1)


@pytest.mark.parametrize(
    ("source", "modules", "others"),
    [
        ("from .client import escape", {"client"}, set()),
        ("from . import client, mode", {"client", "mode"}, set()),
        ("def f():\n    from .cli import chatwoot", {"cli"}, set()),
        ("import flask_chatwoot.bot as b", {"bot"}, set()),
        ("from flask_chatwoot.bot import Bot", {"bot"}, set()),
        ("from flask_chatwoot import Reply", {"__init__"}, set()),
        ("from . import Reply", {"__init__"}, set()),
        ("import requests.sessions, os", set(), {"requests", "os"}),
        ("from flask.cli import AppGroup", set(), {"flask"}),
    ],
)
def test_no_way_to_import_is_overlooked(
    source: str, modules: set[str], others: set[str]
) -> None:
    imported = imports_in(ast.parse(source))

    assert ours(imported) == modules
    assert foreign(imported) == others


@every_module
def test_every_module_has_a_row(path: Path) -> None:
    assert path.stem in RANK, f"say in which row {path.stem} belongs"


@every_module
def test_imports_point_down(path: Path) -> None:
    level = RANK.get(path.stem, len(ROWS))

    upward = {name for name in ours(imports_in(tree_of(path))) if RANK[name] >= level}

    assert not upward, f"{path.stem} must not import {sorted(upward)}"


@every_module
def test_what_is_below_posting_knows_no_flask(path: Path) -> None:
    if RANK.get(path.stem, 0) < RANK["posting"]:
        known = foreign(imports_in(tree_of(path)))
        assert not known & {"flask", "werkzeug", "click"}


@pytest.mark.parametrize(
    ("library", "doors"),
    [
        ("requests", {"client", "simulator_deliveries"}),
        ("urllib3", {"client"}),
        ("sqlite3", {"inbox"}),
        ("celery", set()),
    ],
)
def test_a_library_has_one_door(library: str, doors: set[str]) -> None:
    users = {
        path.stem for path in MODULES if library in foreign(imports_in(tree_of(path)))
    }

    assert users == doors


@every_module
def test_no_function_is_too_long_to_read(path: Path) -> None:
    long = {
        node.name: lines_of(node)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and lines_of(node) > LONGEST_FUNCTION
    }

    assert not long


def test_an_app_does_not_load_what_only_its_developer_needs() -> None:
    program = "import sys, flask_chatwoot; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout.split()

    assert "flask_chatwoot.client" in loaded
    assert not {"celery", "flask_chatwoot.simulator", "flask_chatwoot.rehearsal"} & {
        *loaded
    }
