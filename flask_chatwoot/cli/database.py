"""``flask chatwoot database``: what an administrator of PostgreSQL must run."""

from __future__ import annotations

import inspect

import click
from flask.cli import with_appcontext

from flask_chatwoot.config.converters import schema as schema_name
from flask_chatwoot.runtime import current_runtime

from .options import checked, needs_driver
from .output import show


@click.group()
def database() -> None:
    """Prepare a PostgreSQL database."""


@database.command(short_help="Print the statements that make schema and tables.")
@click.option(
    "--schema",
    callback=checked(schema_name),
    help="CHATWOOT_DATABASE_SCHEMA by default.",
)
@click.option(
    "--role",
    help="The user of the app; that of CHATWOOT_DATABASE_URL by default.",
)
@with_appcontext
def sql(schema: str | None, role: str | None) -> None:
    """Print what makes the schema, its tables and the app's rights.

    Needed only where the app itself may not create a schema. Run it with psql, in
    the database of the app.
    """
    config = current_runtime(keep_errors=True).config
    address = config.database_address
    needs_driver("PostgreSQL")
    from flask_chatwoot.queue.postgresql import migration

    name = schema or config.database_schema
    user = role or (address.user if address else None)

    if user is None:
        raise click.UsageError("Give the user of the app with --role.")

    statements = [*migration.statements(name), *migration.grants(name, user)]
    show("BEGIN;")

    for statement in statements:
        show(f"{inspect.cleandoc(statement)};")

    show("COMMIT;")
