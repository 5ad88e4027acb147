"""``flask chatwoot setup``, ``teardown`` and ``doctor``."""

from __future__ import annotations

import os
import shlex
import typing as t
from urllib.parse import urlsplit

import click
from flask import current_app
from flask.cli import with_appcontext

from flask_chatwoot.components import ADMIN_TOKEN, client_of
from flask_chatwoot.config import Config
from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.runtime import current_runtime

from .copilot import show_settings
from .output import confirm, show, tell

if t.TYPE_CHECKING:
    from flask_chatwoot.client import ChatwootClient
    from flask_chatwoot.setup.plan import SetupPlan, SetupRequest
    from flask_chatwoot.setup.record import SetupRecord

# The modules of setup and doctor are imported late, so that web processes start
# without them.

_yes = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
_dry_run = click.option(
    "--dry-run", is_flag=True, help="Show the plan, change nothing."
)


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
@click.option(
    "--agent-bot", is_flag=True, help="Make an agent bot instead of a webhook."
)
@click.option("--bot-option", help="Text of the choice that means bot.")
@click.option("--human-option", help="Text of the choice that means human.")
@click.option("--label", help="Question above the choice.")
@click.option(
    "--copilot",
    is_flag=True,
    help="Only print what makes the AI buttons of Chatwoot's composer ask this app.",
)
@_yes
@_dry_run
@with_appcontext
def setup(url: str, copilot: bool, yes: bool, dry_run: bool, **wanted: t.Any) -> None:
    """Set up attribute, pre-chat form and webhook in Chatwoot.

    Needs an administrator's token: CHATWOOT_ADMIN_TOKEN, else
    CHATWOOT_API_ACCESS_TOKEN. Shows its plan and asks before it changes anything.
    """
    runtime = current_runtime()
    config = runtime.config

    if copilot:
        endpoint = webhook_url(url, config).removesuffix("/webhook")
        show_settings(runtime, endpoint)
        return

    from flask_chatwoot.setup import account
    from flask_chatwoot.setup.plan import environment, plan_setup

    client = client_of(config, admin_token(), ADMIN_TOKEN)
    request = _request(config, webhook_url(url, config), **wanted)
    plan = plan_setup(account.read(client), request)
    _show(plan)

    if plan.steps and not _agreed(yes=yes, dry_run=dry_run):
        return

    lines = environment(request, client)
    record = _record(client)

    if plan.steps and not dry_run:
        record.expect_writable()

    try:
        _apply(plan, client, record, lines)
    finally:  # even after an error: a later run does not show the secret
        if not dry_run:
            _show_environment(lines, known=bool(config.webhook_secret))


@click.command()
@click.option("--url", help="As given to setup; needed if its record is lost.")
@_yes
@_dry_run
@with_appcontext
def teardown(url: str | None, yes: bool, dry_run: bool) -> None:
    """Undo in Chatwoot what setup did, and nothing else."""
    from flask_chatwoot.setup import account
    from flask_chatwoot.setup.plan import SetupPlan
    from flask_chatwoot.setup.record import undo_steps

    config = current_runtime().config
    client = client_of(config, admin_token(), ADMIN_TOKEN)
    record = _record(client)
    _tell_of_others(record)
    current = account.read(client)
    todo = undo_steps(current, record, url and webhook_url(url, config))
    plan = SetupPlan.of(todo, current)
    _show(plan)

    if plan.steps and not _agreed(yes=yes, dry_run=dry_run):
        return

    if dry_run:
        return

    if record.steps:
        record.expect_writable()

    for step in todo:
        if not step.check(current).needed:
            record.remove(step)
            continue

        result = step.apply(client)

        if result.undo is None:
            record.remove(step)

        tell(f"  ✓ {result.text}")


@click.command()
@click.option(
    "--url",
    help="Where Chatwoot reaches this app, if Chatwoot's settings do not show it.",
)
@click.option("--ask", is_flag=True, help="Call the reply provider with a question.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
@click.pass_context
@with_appcontext
def doctor(ctx: click.Context, url: str | None, ask: bool, as_json: bool) -> None:
    """Check the app and its Chatwoot, and print what to do.

    Exits with 1 if something does not work. Prints no secret.
    """
    from flask_chatwoot.doctor import report
    from flask_chatwoot.doctor.facts import DoctorContext

    runtime = current_runtime()
    context = DoctorContext(
        runtime,
        admin_token=admin_token(),
        url=url and webhook_url(url, runtime.config),
        ask=ask,
    )
    findings = report.run_checks(context)
    show((report.as_json if as_json else report.as_text)(findings))
    ctx.exit(int(report.has_errors(findings)))


def admin_token() -> str | None:
    """An administrator's token for these commands; ``None`` for the app's own."""
    token = current_app.config.get(ADMIN_TOKEN) or os.environ.get(ADMIN_TOKEN)

    return str(token).strip() if token else None


def webhook_url(url: str, config: Config) -> str:
    """The URL of the webhook.

    :param url: The address of the app or of its webhook.
    :raises click.BadParameter: It is not an address.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises when it is not a number
    except ValueError:
        parts = urlsplit("")

    alone = not (parts.query or parts.fragment or "@" in parts.netloc)

    if parts.scheme not in ("http", "https") or not parts.hostname or not alone:
        raise click.BadParameter(
            "Give the address alone, like https://app.example.com.",
            param_hint="--url",
        )

    path = f"{config.url_prefix}/webhook"

    return url if parts.path.endswith(path) else f"{url.rstrip('/')}{path}"


def _request(
    config: Config,
    url: str,
    *,
    inbox_ids: tuple[int, ...],
    agent_bot: bool,
    bot_option: str | None,
    human_option: str | None,
    label: str | None,
) -> SetupRequest:
    from flask_chatwoot.setup.plan import SetupRequest

    return SetupRequest(
        url=url,
        key=config.support_mode_attr,
        label=label,
        options={Mode.BOT: bot_option, Mode.HUMAN: human_option},
        words=config.words,
        inbox_ids=inbox_ids,
        agent_bot=agent_bot,
        token=config.webhook_token,
    )


def _record(client: ChatwootClient) -> SetupRecord:
    from flask_chatwoot.setup.record import FILE_NAME, SetupRecord

    return SetupRecord(
        os.path.join(current_app.instance_path, FILE_NAME),
        base_url=client.base_url,
        account_id=client.account_id,
    )


def _tell_of_others(record: SetupRecord) -> None:
    """Say where setup was run, if that was not here."""
    if record.elsewhere and not record.steps:
        tell(
            f"  ! The record of setup is for {' and '.join(record.elsewhere)}, and not "
            f"for {record.where}. To undo it, set CHATWOOT_BASE_URL, "
            "CHATWOOT_ACCOUNT_ID and the token to those of that account."
        )


def _show(plan: SetupPlan) -> None:
    for text in plan.already:
        tell(f"  = {text}")

    for text in plan.warnings:
        tell(f"  ! {text}")

    for _, text in plan.steps:
        tell(f"  + {text}")

    if not plan.steps:
        tell("There is nothing to do.")


def _agreed(*, yes: bool, dry_run: bool) -> bool:
    """Whether to change Chatwoot.

    :raises click.Abort: The administrator declined.
    """
    if dry_run:
        tell("Nothing was changed.")
        return False

    return yes or confirm("Change this in Chatwoot?")


def _apply(
    plan: SetupPlan, client: ChatwootClient, record: SetupRecord, lines: dict[str, str]
) -> None:
    for step, _ in plan.steps:
        result = step.apply(client)
        lines.update(result.environment)

        if result.undo is not None:
            record.add(result.undo)

        tell(f"  ✓ {result.text}")


def _show_environment(lines: t.Mapping[str, str], *, known: bool) -> None:
    """Print the settings that the app needs.

    :param known: The app has a secret already.
    """
    tell("Set in the environment of the app:")

    for key, value in lines.items():
        tell(f"{key}={shlex.quote(value)}")

    if "CHATWOOT_API_ACCESS_TOKEN" in lines:
        tell(
            "The token is the bot's: replies appear under its name. Keep your own as "
            "CHATWOOT_ADMIN_TOKEN for setup, teardown and doctor."
        )

    if "CHATWOOT_WEBHOOK_SECRET" in lines:
        tell("This command does not show the secret again.")
    elif not known:
        tell(
            "Chatwoot 4.12 and later shows the secret, for CHATWOOT_WEBHOOK_SECRET, in "
            "Settings → Integrations → Webhooks, or for an agent bot in Bots."
        )
