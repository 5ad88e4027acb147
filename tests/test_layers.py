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
    {"signals", "events", "signature", "store"},
    {"mode", "ledger", "memory"},
    {"replies", "policy", "inbox"},
    {"failures", "config", "client"},
    {"posting", "history", "indicator", "account", "probe"},
    {"gate", "teardown"},
    {"handoff", "steps"},
    {"answering", "provision"},
    {"bot"},
    {
        *("simulator.payloads", "simulator.liquid", "simulator.server"),
        "simulator.redaction",
    },
    {"simulator.activities", "simulator.files", "simulator.refusals"},
    {"simulator.state"},
    {"simulator.deliveries"},
    {"simulator.admin"},
    {"simulator.api"},
    {"simulator.simulator"},
    {"backends", "views", "simulator"},
    {"rehearsal", "samples", "cli_ask", "cli_why", "cli_stop", "diagnosis"},
    {"testing", "checks_server", "checks_account", "checks_app"},
    {"doctor", "playground.wire", "playground.trouble", "playground.pictures"},
    {"playground.files", "playground.stage"},
    {"playground.site"},
    {"playground"},
    {"cli_setup", "cli_playground"},
    {"cli"},
    {"cli_group"},
    {"extension"},
    {""},
]
"""From the bottom up; ``""`` is the package itself. A module may import from lower
rows only."""

ROOT = Path(flask_chatwoot.__file__).parent
RANK = {name: number for number, row in enumerate(ROWS) for name in row}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    .removesuffix("__init__")
    .removesuffix("."): path
    for path in sorted(ROOT.rglob("*.py"))
}
LONGEST_FUNCTION = 40

every_module = pytest.mark.parametrize("name", MODULES)


def tree_of(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


def imports_in(tree: ast.Module, package: str = "flask_chatwoot") -> set[str]:
    """Full names of all that is imported anywhere, late imports included."""
    found: set[str] = set()

    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            start = parts[: len(parts) + 1 - node.level] if node.level else []
            start = [*start, *filter(None, [node.module])]
            found |= {".".join([*start, alias.name]) for alias in node.names}

    return found


def imported_by(name: str) -> set[str]:
    package = name if MODULES[name].stem == "__init__" else name.rpartition(".")[0]

    return imports_in(tree_of(name), f"flask_chatwoot.{package}".rstrip("."))


def ours(imported: set[str]) -> set[str]:
    """The modules of this package among the names."""
    inner = [
        name.removeprefix("flask_chatwoot").removeprefix(".")
        for name in imported
        if name.split(".")[0] == "flask_chatwoot"
    ]

    # "client.escape" is something in "client".
    return {name if name in RANK else name.rpartition(".")[0] for name in inner}


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
        ("from flask_chatwoot import Reply", {""}, set()),
        ("from . import Reply", {""}, set()),
        ("from .simulator import Talk", {"simulator"}, set()),
        ("from .simulator.payloads import JSON", {"simulator.payloads"}, set()),
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


def test_a_package_inside_may_import_its_own_and_ours() -> None:
    tree = ast.parse("from . import payloads\nfrom .. import signature")
    imported = imports_in(tree, "flask_chatwoot.simulator")

    assert ours(imported) == {"simulator.payloads", "signature"}


def test_every_module_has_a_row() -> None:
    assert set(MODULES) == set(RANK)


@every_module
def test_imports_point_down(name: str) -> None:
    upward = {other for other in ours(imported_by(name)) if RANK[other] >= RANK[name]}

    assert not upward, f"{name} must not import {sorted(upward)}"


@every_module
def test_what_is_below_posting_knows_no_flask(name: str) -> None:
    if RANK[name] < RANK["posting"]:
        assert not foreign(imported_by(name)) & {"flask", "werkzeug", "click"}


@pytest.mark.parametrize(
    ("library", "doors"),
    [
        ("requests", {"client", "probe", "simulator.deliveries"}),
        ("urllib3", {"client"}),
        ("sqlite3", {"store", "inbox"}),
        ("celery", set()),
    ],
)
def test_a_library_has_one_door(library: str, doors: set[str]) -> None:
    assert {name for name in MODULES if library in foreign(imported_by(name))} == doors


@every_module
def test_no_function_is_too_long_to_read(name: str) -> None:
    long = {
        node.name: lines_of(node)
        for node in ast.walk(tree_of(name))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and lines_of(node) > LONGEST_FUNCTION
    }

    assert not long


def test_an_app_does_not_load_what_only_its_developer_needs() -> None:
    program = "import sys; from flask_chatwoot import Chatwoot; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout.split()

    assert "flask_chatwoot.client" in loaded
    assert not {
        *("celery", "pytest", "flask_chatwoot.simulator"),
        *("flask_chatwoot.rehearsal", "flask_chatwoot.testing"),
        *("flask_chatwoot.provision", "flask_chatwoot.doctor", "flask_chatwoot.cli"),
        *("flask_chatwoot.account", "flask_chatwoot.playground"),
    } & {*loaded}
