"""Import a module where Flask is not installed; print what the extension lacks."""

import importlib
import sys
import typing as t

missing: t.Any = None
sys.modules["flask"] = sys.modules["werkzeug"] = missing
importlib.import_module(sys.argv[1])

import flask_chatwoot  # noqa: E402 - after Flask was removed

try:
    _ = flask_chatwoot.Chatwoot
except ModuleNotFoundError as error:
    sys.stdout.write(f"{error.name}\n")
