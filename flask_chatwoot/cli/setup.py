"""``flask chatwoot setup``, ``teardown`` and ``doctor``."""

from __future__ import annotations

import os
import shlex
import typing as t
from urllib.parse import urlsplit

import click
from flask import current_app
from flask.cli import with_appcontext

from flask_chatwoot.config import Config
from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.runtime import current_runtime

if t.TYPE_CHECKING:
    from flask_chatwoot.client import ChatwootClient
    from flask_chatwoot.setup.plan import Plan, Wishes
    from flask_chatwoot.setup.undo import Record

# What does the work is imported where it is used: web processes should not pay for it
# when they start.

ADMIN_TOKEN: t.Final = "CHATWOOT_ADMIN_TOKEN"  # noqa: S105 - the name of a setting

_yes = click.option("--yes", is_flag=True, help="Do not ask.")
_dry_run = click.option("--dry-run", is_flag=True, help="Show the plan, do nothing.")


@click.command()
@click.option(
    "--url",
    required=True,
    help="Where Chatwoot reaches this app, like https://app.example.com.",
)
@click.option(
    "--inbox",
    "inbox_ids",
    multiple=True,
    type=click.IntRange(min=1),
    help="Chatwoot inbox; may be repeated. By default the only website inbox.",
)
@click.option("--agent-bot", is_flag=True, help="An agent bot, not a webhook.")
@click.option("--bot-option", help="Text of the choice that means bot.")
@click.option("--human-option", help="Text of the choice that means human.")
@click.option("--label", help="Question above the choice.")
@_yes
@_dry_run
@with_appcontext
def setup(url: str, yes: bool, dry_run: bool, **wanted: t.Any) -> None:
    """Set up attribute, pre-chat form and webhook in Chatwoot.

    Takes an administrator's token: CHATWOOT_ADMIN_TOKEN, else
    CHATWOOT_API_ACCESS_TOKEN. Shows what it is going to do, and asks.
    """
    from flask_chatwoot.setup import account
    from flask_chatwoot.setup.plan import environment, plan_setup

    config = current_runtime().config
    client = _admin(config)
    wishes = _wishes(config, webhook_url(url, config), **wanted)
    plan = plan_setup(account.look(client), wishes)
    _show(plan)

    if plan.steps and not _agreed(yes=yes, dry_run=dry_run):
        return

    lines = environment(wishes, client)

    try:
        _apply(plan, client, _record(config, client), lines)
    finally:  # a secret is shown this once, whatever happens after it was made
        if not dry_run:
            _show_environment(lines, known=bool(config.webhook_secret))


@click.command()
@click.option("--url", help="As given to setup; for when its record is lost.")
@_yes
@_dry_run
@with_appcontext
def teardown(url: str | None, yes: bool, dry_run: bool) -> None:
    """Undo in Chatwoot what setup did, and nothing else."""
    from flask_chatwoot.setup import account
    from flask_chatwoot.setup.plan import Plan
    from flask_chatwoot.setup.undo import undoes

    config = current_runtime().config
    client = _admin(config)
    record = _record(config, client)
    seen = account.look(client)
    todo = undoes(seen, record, url and webhook_url(url, config))
    plan = Plan.of(todo, seen)
    _show(plan)

    if plan.steps and not _agreed(yes=yes, dry_run=dry_run):
        return

    if dry_run:
        return

    for undo in todo:
        if not undo.look(seen).needed:
            record.remove(undo)
            continue

        done = undo.apply(client)
        click.echo(f"  ✓ {done.text}")

        if done.undo is None:
            record.remove(undo)


@click.command()
@click.option("--url", help="Where Chatwoot reaches this app, if it can not tell.")
@click.option("--ask", is_flag=True, help="Ask the reply provider something.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
@click.pass_context
@with_appcontext
def doctor(ctx: click.Context, url: str | None, ask: bool, as_json: bool) -> None:
    """Check everything, and say what to do.

    Leaves with 1 if something does not work. Prints no secret.
    """
    from flask_chatwoot.doctor import report as practice
    from flask_chatwoot.doctor.facts import Case

    bot = current_runtime()
    case = Case(
        bot,
        admin_token=admin_token(),
        url=url and webhook_url(url, bot.config),
        ask=ask,
    )
    findings = practice.examine(case)
    click.echo((practice.as_json if as_json else practice.as_text)(findings))
    ctx.exit(int(practice.is_ill(findings)))


def _admin(config: Config) -> ChatwootClient:
    """Chatwoot as an administrator sees it."""
    from flask_chatwoot.client import ChatwootClient

    token = admin_token() or config.api_access_token
    missing = [key for key in config.missing if not (token and "TOKEN" in key)]

    if missing or not (config.base_url and config.account_id and token):
        raise click.ClickException(
            f"Chatwoot is not configured; set {', '.join(missing)}."
        )

    return ChatwootClient(
        config.base_url, config.account_id, token, timeout=config.timeout
    )


def admin_token() -> str | None:
    """The token for these commands, where the app's own has not the rights."""
    token = current_app.config.get(ADMIN_TOKEN) or os.environ.get(ADMIN_TOKEN)

    return str(token).strip() if token else None


def webhook_url(url: str, config: Config) -> str:
    """Where Chatwoot shall deliver, from the address of the app.

    :raises click.BadParameter: It is no address.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises when it is not a number
    except ValueError:
        parts = urlsplit("")

    alone = not (parts.query or parts.fragment or "@" in parts.netloc)

    if parts.scheme not in ("http", "https") or not parts.hostname or not alone:
        raise click.BadParameter(
            "Write the address alone, like https://app.example.com.",
            param_hint="--url",
        )

    path = f"{config.url_prefix}/webhook"

    return url if parts.path.endswith(path) else f"{url.rstrip('/')}{path}"


def _wishes(
    config: Config,
    url: str,
    *,
    inbox_ids: tuple[int, ...],
    agent_bot: bool,
    bot_option: str | None,
    human_option: str | None,
    label: str | None,
) -> Wishes:
    from flask_chatwoot.setup.plan import Wishes

    return Wishes(
        url=url,
        key=config.support_mode_attr,
        label=label,
        options={Mode.BOT: bot_option, Mode.HUMAN: human_option},
        words=config.words,
        inbox_ids=inbox_ids,
        agent_bot=agent_bot,
        token=config.webhook_token,
    )


def _record(config: Config, client: ChatwootClient) -> Record:
    from flask_chatwoot.setup.undo import Record

    return Record(
        f"{config.database_path}.setup.json",
        base_url=client.base_url,
        account_id=client.account_id,
    )


def _show(plan: Plan) -> None:
    for text in plan.already:
        click.echo(f"  = {text}")

    for text in plan.warnings:
        click.echo(f"  ! {text}")

    for _, text in plan.steps:
        click.echo(f"  + {text}")

    if not plan.steps:
        click.echo("There is nothing to do.")


def _agreed(*, yes: bool, dry_run: bool) -> bool:
    """Whether to go on.

    :raises click.Abort: The answer is no.
    """
    if dry_run:
        click.echo("Nothing was changed.")
        return False

    return yes or click.confirm("Change this in Chatwoot?", abort=True)


def _apply(
    plan: Plan, client: ChatwootClient, record: Record, lines: dict[str, str]
) -> None:
    for step, _ in plan.steps:
        done = step.apply(client)
        lines.update(done.environment)
        click.echo(f"  ✓ {done.text}")

        if done.undo is not None:
            record.add(done.undo)


def _show_environment(lines: t.Mapping[str, str], *, known: bool) -> None:
    """Print what the app has to know.

    :param known: The app has a secret already.
    """
    click.echo("Keep in the environment of the app:")

    for key, value in lines.items():
        click.echo(f"{key}={shlex.quote(value)}")

    if "CHATWOOT_API_ACCESS_TOKEN" in lines:
        click.echo(
            "The token is the bot's: replies appear in its name. Keep your own as "
            "CHATWOOT_ADMIN_TOKEN for setup, teardown and doctor."
        )

    if "CHATWOOT_WEBHOOK_SECRET" in lines:
        click.echo("The secret is not shown again here.")
    elif not known:
        click.echo(
            "Chatwoot 4.12 and later shows the secret, for CHATWOOT_WEBHOOK_SECRET, in "
            "Settings → Integrations → Webhooks, or for an agent bot in Bots."
        )
