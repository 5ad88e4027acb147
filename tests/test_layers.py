"""The rooms of the package, and which of them may import which."""

from __future__ import annotations

import ast
import functools
import graphlib
import subprocess
import sys
import tomllib
import typing as t
from pathlib import Path

import pytest

import flask_chatwoot

ROWS = (
    *(
        "errors history logs outcomes texts",
        "background",
        "payloads",
        "client",
        "queue",
        "ownership",
    ),
    *(
        "config",
        "replies signals",
        "turns",
        "ingest servers",
        "catch_up",
        "upkeep",
        "workers",
        "celery",
    ),
    *(
        "components",
        "runtime",
        "setup",
        "copilot",
        "doctor",
        "simulator views",
        "hosting",
    ),
    *("testing", "playground"),
    *("cli", "extension", ""),
)
"""From the bottom up; ``""`` is the package itself. A room is a package or a flat
module, and imports from lower rows only, late imports included."""

CLIENT = ("answers", "connections")
"""Where the client translates the errors of its libraries, and limits them."""

LONGEST_MODULE = 500
LONGEST_FUNCTION = 40
MOST_FLAT_MODULES = 16

PACKAGE = "flask_chatwoot"
ROOT = Path(flask_chatwoot.__file__).parent
RANK = {room: number for number, row in enumerate(ROWS) for room in row.split(" ")}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    .removesuffix("__init__")
    .removesuffix("."): path
    for path in sorted(ROOT.rglob("*.py"))
}

every_module = pytest.mark.parametrize("name", MODULES)


@functools.cache
def tree_of(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


def imports_in(tree: ast.Module, package: str = PACKAGE) -> set[str]:
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


@functools.cache
def imported_by(name: str) -> set[str]:
    package = name if MODULES[name].stem == "__init__" else name.rpartition(".")[0]

    return imports_in(tree_of(name), f"{PACKAGE}.{package}".rstrip("."))


def modules_in(imported: set[str]) -> set[str]:
    """The modules of this package among the names."""
    ours = [name for name in imported if name.split(".")[0] == PACKAGE]
    inner = [name.removeprefix(PACKAGE).removeprefix(".") for name in ours]

    # "client.escape" is something in "client".
    return {name if name in MODULES else name.rpartition(".")[0] for name in inner}


def libraries_in(imported: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in imported} - {PACKAGE}


def room_of(name: str) -> str:
    return name.partition(".")[0]


def height(node: ast.stmt) -> int:
    return t.cast(int, node.end_lineno) - node.lineno + 1


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """From ``def`` to the end, without the docstring."""
    docstring = ast.get_docstring(function) is not None
    return height(function) - (height(function.body[0]) if docstring else 0)


@pytest.mark.parametrize(
    ("source", "modules", "libraries"),
    [
        ("from .client import ChatwootClient", {"client"}, set()),
        ("from . import client, errors", {"client", "errors"}, set()),
        ("def f():\n    from .cli import chatwoot", {"cli"}, set()),
        ("import flask_chatwoot.runtime as r", {"runtime"}, set()),
        ("from flask_chatwoot.runtime import KEY", {"runtime"}, set()),
        ("from flask_chatwoot import Reply", {""}, set()),
        ("from . import Reply", {""}, set()),
        ("from .simulator import Talk", {"simulator"}, set()),
        ("from .payloads.signature import sign", {"payloads.signature"}, set()),
        ("import requests.sessions, os", set(), {"requests", "os"}),
        ("from flask.cli import AppGroup", set(), {"flask"}),
    ],
)
def test_no_way_to_import_is_overlooked(
    source: str, modules: set[str], libraries: set[str]
) -> None:
    imported = imports_in(ast.parse(source))
    assert (modules_in(imported), libraries_in(imported)) == (modules, libraries)


def test_a_module_of_a_package_may_import_its_own_and_others() -> None:
    tree = ast.parse("from . import fields\nfrom .. import client")
    assert "client" in modules_in(imports_in(tree, "flask_chatwoot.payloads"))


def test_every_room_has_a_row() -> None:
    assert {room_of(name) for name in MODULES} <= set(RANK)


def test_imports_between_rooms_point_down() -> None:
    rooms = {
        (room_of(name), room_of(other))
        for name in MODULES
        for other in modules_in(imported_by(name))
    }

    assert not [(a, b) for a, b in rooms if a != b and RANK[b] >= RANK[a]]


def test_no_import_leads_in_a_circle() -> None:
    graph = {name: modules_in(imported_by(name)) - {name} for name in MODULES}
    list(graphlib.TopologicalSorter(graph).static_order())  # raises if it does


def test_there_are_few_flat_modules() -> None:
    flat = {name for name in MODULES if name and "." not in name}
    packages = {room_of(name) for name in MODULES if "." in name}

    assert len(flat - packages) <= MOST_FLAT_MODULES


def test_every_package_is_distributed() -> None:
    project = Path(__file__).parents[1] / "pyproject.toml"
    listed = tomllib.loads(project.read_text())["tool"]["setuptools"]["packages"]
    packages = {x for x, path in MODULES.items() if path.name == "__init__.py"}

    assert set(listed) == {f"{PACKAGE}.{name}".rstrip(".") for name in packages}


@every_module
def test_what_is_below_turns_knows_no_flask(name: str) -> None:
    if RANK[room_of(name)] < RANK["turns"]:
        assert not libraries_in(imported_by(name)) & {"flask", "werkzeug", "click"}


@pytest.mark.parametrize(
    ("library", "modules"),
    [
        (
            "requests",
            {*(f"client.{x}" for x in CLIENT), "client.raw", "simulator.outgoing"},
        ),
        ("urllib3", {*(f"client.{x}" for x in CLIENT), "client.api"}),
        ("sqlite3", {"queue.sqlite"}),
        ("celery", {"celery.finder", "celery.tasks"}),
    ],
)
def test_a_library_is_used_in_one_place(library: str, modules: set[str]) -> None:
    users = {name for name in MODULES if library in libraries_in(imported_by(name))}
    assert users == modules


def test_every_thread_beside_an_app_begins_in_an_empty_context() -> None:
    users = {
        name
        for name in MODULES
        for node in ast.walk(tree_of(name))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("Thread", "threading.Thread", "Timer")
    }

    assert {each for each in users if room_of(each) != "simulator"} == {"background"}


def test_what_commands_print_passes_one_module() -> None:
    users = {
        name
        for name in MODULES
        for node in ast.walk(tree_of(name))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("click.echo", "print")
        and "err=True" not in ast.unparse(node)
    }

    assert users == {"cli.output"}


def test_every_line_can_name_what_it_is_about() -> None:
    users = {
        name
        for name in MODULES
        for node in ast.walk(tree_of(name))
        if isinstance(node, ast.Call)
        and ast.unparse(node) == "logging.getLogger(__name__)"
    }

    assert not users  # but flask_chatwoot.logs.logger()


def test_every_note_is_posted_where_its_mentions_are_defused() -> None:
    users = {
        name
        for name in MODULES
        for node in ast.walk(tree_of(name))
        if isinstance(node, ast.Attribute) and node.attr == "create_note"
    }

    assert users == {"turns.posting"}


def test_the_simulator_shares_nothing_with_the_app_but_the_contract() -> None:
    shared = {
        other
        for name in MODULES
        for other in modules_in(imported_by(name))
        if room_of(name) == "simulator" != room_of(other)
    }

    assert shared <= {"payloads", "payloads.signature", "payloads.versions"}


@every_module
def test_no_module_is_too_long_to_read(name: str) -> None:
    assert MODULES[name].read_text(encoding="utf-8").count("\n") <= LONGEST_MODULE


@every_module
def test_no_function_is_too_long_to_read(name: str) -> None:
    functions = [
        node
        for node in ast.walk(tree_of(name))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]

    assert not [each.name for each in functions if lines_of(each) > LONGEST_FUNCTION]


def modules_after(*statements: str) -> list[str]:
    """The modules that a new process has loaded then."""
    imports = "import sys; from flask import Flask; from flask_chatwoot import Chatwoot"
    program = "; ".join([imports, *statements, "print(*sys.modules)"])

    return subprocess.check_output([sys.executable, "-c", program], text=True).split()


def test_an_import_loads_no_more_than_an_app_without_settings_needs() -> None:
    loaded = modules_after()

    assert "flask_chatwoot.views" in loaded
    assert not {
        f"flask_chatwoot.{room}"
        for room in ("client", "queue", "turns.service", "ingest", "workers")
    } & {*loaded}


def test_an_app_does_not_load_what_only_its_developer_needs() -> None:
    loaded = modules_after(
        "app = Flask('app')",
        "app.config.update(CHATWOOT_BASE_URL='http://127.0.0.1:9')",
        "app.config.update(CHATWOOT_ACCOUNT_ID=1, CHATWOOT_API_ACCESS_TOKEN='token')",
        "Chatwoot(app)",
    )

    assert "flask_chatwoot.client" in loaded
    assert not {
        *("celery", "pytest", "flask_chatwoot.simulator", "flask_chatwoot.hosting"),
        *("flask_chatwoot.testing", "flask_chatwoot.setup", "flask_chatwoot.doctor"),
        *("flask_chatwoot.cli.setup", "flask_chatwoot.playground"),
    } & {*loaded}
