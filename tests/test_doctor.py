"""``flask chatwoot doctor``: each finding, and what causes it.

An app is served on loopback and set up in a simulated Chatwoot; then one thing is
changed.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import time
import typing as t
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
import requests
from flask import Flask
from support import databases
from support.apps import AppFactory, database_of, store_of
from support.commands import Administered, outcome, run
from support.databases import set_clock, settings_of
from support.queue import DAY, Store
from support.serving import Wsgi, served
from support.waiting import Clock
from support.workers import certificate
from werkzeug.wrappers import Request, Response

from flask_chatwoot import Chatwoot
from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.client.raw import RawAnswer
from flask_chatwoot.doctor import composer, server
from flask_chatwoot.doctor.chatwoot import address
from flask_chatwoot.doctor.facts import DoctorContext, Finding, Mark, UnreadableAccount
from flask_chatwoot.queue.schema import WorkerLimit
from flask_chatwoot.setup import account
from flask_chatwoot.setup.plan import SetupRequest, plan_setup
from flask_chatwoot.simulator import Fault, Simulator

JSON = dict[str, t.Any]
Change = Callable[[Request], Response | None]


class Scene(Administered):
    """An app that is set up in its Chatwoot with a webhook, or with an agent bot.

    :ivar answer: Answers at ``url``: the app, unless a test replaces it.
    :ivar arguments: Of the command.
    """

    def __init__(
        self,
        make_app: AppFactory,
        stack: contextlib.ExitStack,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        *,
        arrived: bool = True,
        agent_bot: bool = False,
        **options: t.Any,
    ) -> None:
        self._make_app, self._stack, self._folder = make_app, stack, folder
        self._numbers = itertools.count()
        self.monkeypatch = monkeypatch
        self.sim = stack.enter_context(Simulator(**options))
        self.client = ChatwootClient(self.sim.url, 1, self.sim.user_token)
        self.arguments: tuple[str, ...] = ()
        self.answer: Wsgi = Response("no app yet", 503)
        origin = self.serve(lambda environ, start: self.answer(environ, start))
        self.url = f"{origin}/chatwoot/webhook"
        self._app_settings: JSON = {
            "base_url": self.sim.url,
            "api_access_token": self.sim.user_token,
            "webhook_secret": None,
            "webhook_token": None,
            "catch_up": 600,
        }
        self._set_up(agent_bot)
        self.answer = self.make()
        store_of(self.app).sweeps.delivered(1, time.time(), 3)

        if arrived:
            arrive(self.app)

    def serve(self, app: Wsgi) -> str:
        return f"http://{self._stack.enter_context(served(app))}"

    def _set_up(self, agent_bot: bool) -> None:
        request = SetupRequest(url=self.url, inbox_ids=(3,), agent_bot=agent_bot)

        for step, _ in plan_setup(account.read(self.client), request).steps:
            for key, value in step.apply(self.client).environment.items():
                if "WEBHOOK" in key:
                    self._app_settings[key.removeprefix("CHATWOOT_").lower()] = value

    def make(self, chatwoot: Chatwoot | None = None, **settings: t.Any) -> Flask:
        """An app with a database of its own, set up except for these settings."""
        if chatwoot is None:
            chatwoot = Chatwoot()
            chatwoot.reply_provider(lambda text: "On its way.")

        file = self._folder / f"{next(self._numbers)}.sqlite3"
        settings = {**settings_of(file), **settings}

        return self._make_app(chatwoot, **{**self._app_settings, **settings})

    def other(self, chatwoot: Chatwoot | None = None, **settings: t.Any) -> Flask:
        """A second app that has handled a delivery; the first one answers."""
        app = self.make(chatwoot, **settings)
        arrive(app)
        return app

    def doctor(self, app: Flask | None = None, *arguments: str) -> list[str]:
        """What the command finds, as ``mark check: what remedy``.

        It fails if there is an error.
        """
        options = ("--json", *arguments, *self.arguments)
        result = run(app or self.app, "doctor", *options)
        assert not [secret for secret in self.secrets if secret in result.output]
        found = json.loads(result.stdout)
        assert not [each for each in found if repeats(each["what"], each["remedy"])]
        lines = ["{mark} {check}: {what} {remedy}".format(**each) for each in found]
        assert result.exit_code == any(line.startswith("error ") for line in lines)

        return lines

    @property
    def app(self) -> Flask:
        assert isinstance(self.answer, Flask)
        return self.answer

    @property
    def secrets(self) -> list[str]:
        """What must never be printed."""
        rows = [*self.settings.webhooks.values(), *self.settings.bots.values()]
        keys = (
            *("api_access_token", "webhook_secret", "webhook_token"),
            "copilot_token",
        )

        return [
            *filter(None, map(self._app_settings.get, keys)),
            *(row[k] for row in rows for k in ("secret", "access_token") if k in row),
            *("secret-of-an-inbox", "no answer to", self.sim.user_token),
            *(self.sim.bot_token, self.sim.secret),
        ]

    @property
    def field(self) -> t.Any:
        """The one that setup added to the form."""
        return self.form[-1]

    def fail(self, endpoint: str) -> None:
        self.sim.inject(Fault.SERVER_ERROR, endpoint=endpoint)

    def behind(self, change: Change) -> Flask:
        """An app that reaches Chatwoot through a proxy."""
        return self.other(base_url=self.serve(relay(self.sim, change)))


def repeats(what: str, remedy: str) -> bool:
    """Whether a remedy has no word that the finding has not, but "set"."""
    words = [{*text.strip(".").lower().split()} - {"set"} for text in (what, remedy)]
    return bool(remedy) and words[1] <= words[0]


def problems(lines: list[str]) -> list[str]:
    """The lines that are not ok."""
    return [line for line in lines if not line.startswith("ok ")]


def relay(sim: Simulator, change: Change) -> Wsgi:
    """A proxy before Chatwoot; ``change`` may alter a request or answer it."""

    def app(environ: t.Any, start: t.Any) -> Iterable[bytes]:
        request = Request(environ)
        answer = change(request)

        if answer is None:
            url = f"{sim.url}{request.full_path}"
            token = request.environ.get("HTTP_API_ACCESS_TOKEN")
            headers = {"Api-Access-Token": token} if token else {}
            passed = requests.request(request.method, url, headers=headers, timeout=5)
            kind = passed.headers["Content-Type"]
            answer = Response(passed.content, passed.status_code, content_type=kind)

        return answer(environ, start)

    return app


def unused_url() -> str:
    with served(Response()) as origin:
        return f"http://{origin}"


@pytest.fixture
def options() -> JSON:
    """Of the scene and its simulator; tests override it with ``parametrize``."""
    return {}


@pytest.fixture
def scene(
    make_app: AppFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: JSON
) -> Iterator[Scene]:
    with contextlib.ExitStack() as stack:
        yield Scene(make_app, stack, tmp_path, monkeypatch, **options)


def stored(app: Flask) -> Store:
    return Store.of(database_of(app))


def arrive(app: Flask, *, number: int = 1, outcome: str = "replied") -> None:
    """Let a delivery arrive and its turn end."""
    stored(app).put(number, conversation_id=number)
    store_of(app).sweeps.delivered(number, time.time(), 3)
    stored(app).finish(outcome, "unauthorized" if outcome == "dead" else None)


def later(app: Flask, seconds: float) -> None:
    set_clock(database_of(app), Clock(time.time() + seconds))


# -- the report ------------------------------------------------------------------

IS_SHARED = databases.kind == "postgresql"

CHECKS = [
    *("configuration", "chatwoot", "redirect", "tls", "version", "clock", "token"),
    *("account", "role", "rights", "attribute", "options", "form", "webhook"),
    *("events", "duplicates", "secret", "address", "probe", "composer"),
    *("database", "age"),
    *("dead", "workers"),
    *(("tables", "skew", "notifications", "machines", "connections") * IS_SHARED),
    *("catch-up", "provider"),
]


@pytest.mark.parametrize(
    "options", [{"arrived": False, "agent_bot": bot} for bot in (False, True)]
)
def test_all_checks_pass_after_setup_and_a_message(scene: Scene, options: JSON) -> None:
    talk = scene.sim.conversation(custom_attributes={"support_mode": "AI agent"})
    talk.customer_says("Hello")
    scene.sim.wait_until(lambda: talk.replies)

    lines = scene.doctor(None, "--ask")

    unwanted = "events" if options["agent_bot"] else ""
    wanted = [*(check for check in CHECKS if check != unwanted), "answer"]
    assert [line.split(":")[0] for line in lines] == [f"ok {each}" for each in wanted]


def test_a_line_has_a_mark_a_finding_and_a_remedy(scene: Scene) -> None:
    scene.webhook["subscriptions"].remove("message_updated")
    scene.field["enabled"] = False

    code, printed = outcome(scene.app, "doctor")

    lines = printed.splitlines()
    assert (code, len(lines)) == (1, len(CHECKS))
    assert {line[:2] for line in lines} == {"✓ ", "! ", "✗ "}
    assert (
        "! The webhook does not subscribe to message_updated. Run flask chatwoot "
        "setup, or tick them in Settings → Integrations → Webhooks." in lines
    )
    assert not [secret for secret in scene.secrets if secret in printed]


def test_doctor_changes_nothing(scene: Scene) -> None:
    def state() -> tuple[str, t.Any]:
        return repr(vars(scene.settings)), stored(scene.app).inspection.jobs()[0][:4]

    before, writes = state(), scene.writes
    scene.doctor(None, "--ask")

    assert (state(), scene.writes) == (before, writes)


def test_a_probe_leaves_no_warning_in_the_log_of_the_app(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("WARNING"):
        lines = scene.doctor()

    assert "ok composer" in [line.split(":")[0] for line in lines]
    assert caplog.messages == []


# -- one cause and its findings --------------------------------------------------

Cause = Callable[[Scene], t.Any]


def case(
    cause: Cause | None, *expected: str, marks: t.Any = (), **options: t.Any
) -> t.Any:
    """A row of the tables below.

    :param cause: Changes one thing; may return the app that is checked.
    :param expected: All findings that are not ok, and some that are, each as ``mark
        check: text … text``.
    :param options: Of the scene.
    """
    return pytest.param(cause, expected, options, id="; ".join(expected), marks=marks)


def other(**settings: t.Any) -> Cause:
    return lambda s: s.other(**settings)


def without(key: str) -> Cause:
    return lambda s: s.make(**{key: None})


def instead_of_chatwoot(answer: Response) -> Cause:
    return lambda s: s.other(base_url=s.serve(answer))


def instead_of_the_app(answer: Wsgi) -> Cause:
    def cause(scene: Scene) -> Flask:
        app, scene.answer = scene.app, answer
        return app

    return cause


def with_arguments(*arguments: str, cause: Cause = lambda s: None) -> Cause:
    def change(scene: Scene) -> t.Any:
        scene.arguments = arguments
        return cause(scene)

    return change


def moved(url: str) -> Response:
    return Response("", 308, {"Location": url})


CONFIGURATION = [
    *(
        case(
            without(key),
            f"error configuration: CHATWOOT_{key.upper()} is not set. … {source}",
        )
        for key, source in [
            ("base_url", "at which you open Chatwoot, like https://chatwoot.exam"),
            ("account_id", "1 in /app/accounts/1/dashboard."),
            ("api_access_token", "Profile Settings → Access Token … --agent-bot"),
        ]
    ),
    case(
        other(copilot_token=None),
        "warning configuration: /chatwoot/copilot takes requests without a secret. "
        "Set CHATWOOT_COPILOT_TOKEN to a long random text … setup --copilot --url",
    ),
    case(
        other(copilot_token=None, draft_notes=False),
        "warning configuration: /chatwoot/copilot takes requests without a secret.",
        "warning configuration: In human mode operators get neither notes nor "
        "suggestions … CHATWOOT_DRAFT_NOTES=true … setup --copilot.",
    ),
]
HTTP, HTTPS = "If the server speaks plain HTTP, write http://", "to an https:// address"
CONNECTION = [
    case(lambda s: s.other(base_url=unused_url()), "error chatwoot: _BASE_URL right"),
    *(
        case(
            instead_of_chatwoot(Response("<html>", status)),
            f"error chatwoot: answers {status} … Set CHATWOOT_BASE_URL to the address",
        )
        for status in (200, 404, 502)
    ),
    case(
        lambda s: s.other(base_url=s.sim.url.replace("http:", "https:")),
        f"error tls: {HTTP}.",
    ),
    case(
        lambda s: s.monkeypatch.setattr(server, "is_private", lambda url: False),
        f"warning tls: Set CHATWOOT_BASE_URL {HTTPS}.",
    ),
    *(
        case(
            instead_of_chatwoot(moved(url)),
            f"error redirect: Set CHATWOOT_BASE_URL to {target}.",
        )
        for url, target in [
            ("https://chat.example.com/api?x=1", "https://chat.example.com"),
            ("/login", "the final address"),
        ]
    ),
    case(None, "error clock: behind … (NTP)", clock=lambda: time.time() + 400),
    case(None, "error clock: ahead of … (NTP)", clock=lambda: time.time() - 400),
    case(None, "warning clock: behind … (NTP)", clock=lambda: time.time() + 120),
]
UNSIGNED = "warning version: cannot sign deliveries … Upgrade to 4."
OLD = ("warning version: the app compares texts … Upgrade to 4.", UNSIGNED)
HTML = "warning version: sends customers' texts as HTML … Upgrade to 4."
VERSION = [
    case(None, "error version: Upgrade to 4.2 or later.", version="4.1.0"),
    case(None, HTML, UNSIGNED, version="4.11.0"),
    case(None, "warning version: Upgrade to 4.12.1", version="4.12.0"),
    case(None, "warning version: cannot list agent bots … to 4.", version="4.16.0"),
    case(None, "ok version: 4.16.2 can do all that is needed", version="4.16.2"),
    case(None, "ok version: 4.18.0 is later than 4.16.2, the last", version="4.18.0"),
]


def bots_token(scene: Scene) -> Flask:
    return scene.other(api_access_token=scene.sim.bot_token)


def beside_that_of_an_administrator(scene: Scene) -> Flask:
    scene.monkeypatch.setenv("CHATWOOT_ADMIN_TOKEN", scene.sim.user_token)
    return bots_token(scene)


def beside_that_of_a_user(given: str) -> Cause:
    """An agent bot's token, with another one that is to be a user's."""

    def cause(scene: Scene) -> Flask:
        scene.monkeypatch.setenv("CHATWOOT_ADMIN_TOKEN", scene.sim.user_token)
        tokens = {"user": scene.sim.user_token, "bot": scene.sim.bot_token}

        return scene.other(
            api_access_token=scene.sim.bot_token,
            user_access_token=tokens.get(given, given),
        )

    return cause


def with_unknown_token_of_administrator(scene: Scene) -> None:
    scene.monkeypatch.setenv("CHATWOOT_ADMIN_TOKEN", "unknown")


def drop_token(request: Request) -> None:
    request.environ.pop("HTTP_API_ACCESS_TOKEN", None)


def refuse_api(request: Request) -> Response | None:
    refused = request.path.startswith("/api/v1/accounts/")
    return Response('{"error": "no"}', 403) if refused else None


BOT_READS = "warning version: let a bot's token read conversations"
BOT_UNSIGNED = "warning version: does not sign the deliveries of agent bots"
TOKEN = [
    case(other(api_access_token="x"), "error token: Profile Settings → Access Token"),
    case(lambda s: s.behind(drop_token), "error token: drops the header Api-Access"),
    case(lambda s: s.fail("profile"), "error token: answers 500 … See Chatwoot's log"),
    case(
        bots_token,
        "warning token: list messages … to a user's",
        *("warning rights: ", "warning catch-up: "),
    ),
    case(
        beside_that_of_an_administrator,
        *("warning token: ", "warning catch-up: Set CHATWOOT_USER_ACCESS_TOKEN"),
    ),
    case(beside_that_of_a_user("user"), "ok token: reads what a bot may not"),
    case(
        beside_that_of_a_user("bot"),
        "error token: in CHATWOOT_USER_ACCESS_TOKEN is an agent bot's",
    ),
    case(
        beside_that_of_a_user("unknown"),
        "error token: not know the token in CHATWOOT_USER_ACCESS_TOKEN. Copy it again",
    ),
    case(
        with_unknown_token_of_administrator,
        "warning rights: The token in CHATWOOT_ADMIN_TOKEN may not read",
    ),
    case(
        beside_that_of_an_administrator,
        *(BOT_UNSIGNED, BOT_READS, "warning token: ", "warning catch-up: "),
        version="4.12.1",
    ),
    case(
        other(account_id=2),
        "error account: belong to account 2, but to: 1. … Set CHATWOOT_ACCOUNT_ID to",
    ),
    case(
        lambda s: setattr(s.sim._state, "role", "agent"),
        "warning role: assigned to it … Make it an administrator",
        "warning rights: in CHATWOOT_API_ACCESS_TOKEN may … set CHATWOOT_ADMIN_TOKEN",
    ),
    case(
        lambda s: s.fail("list_webhooks"),
        "error rights: GET /api/v1/accounts/1/webhooks: Chatwoot answered 500",
    ),
    case(lambda s: s.behind(refuse_api), "error rights: a plan with API and webhooks."),
]


def options_are(*texts: str) -> Cause:
    def cause(scene: Scene) -> None:
        scene.attribute["attribute_values"] = [*texts]
        scene.field["values"] = [*texts]

    return cause


def delete_attribute(scene: Scene) -> None:
    scene.settings.attributes.clear()
    scene.field.update(values=None)


SETUP = "Run flask chatwoot setup --inbox ID"
SWITCHED_OFF = f"error form: it is in inbox 3 (Website), but switched off … {SETUP}"
NO_FORM = f"error form: No pre-chat form shows support_mode. {SETUP}"
FORM = [
    case(delete_attribute, "error attribute: Run flask chatwoot setup"),
    case(
        lambda s: s.attribute.update(attribute_display_type="text"),
        "error attribute: Delete it in Settings → Custom Attributes",
    ),
    case(
        options_are("AI agent", "Human", "Carrier pigeon"),
        "warning options: 'Carrier pigeon' means nothing … "
        "CHATWOOT_BOT_VALUES or CHATWOOT_HUMAN_VALUES",
    ),
    case(options_are("AI agent"), "error options: means human … CHATWOOT_HUMAN_VALUES"),
    case(lambda s: s.inbox.update(pre_chat_form_enabled=False), SWITCHED_OFF),
    case(lambda s: s.field.update(enabled=False), SWITCHED_OFF, "ok attribute: list"),
    case(lambda s: s.form.pop() and None, NO_FORM),
    case(lambda s: s.field.update(required=False), "warning required: Make it requir"),
    case(lambda s: s.field.update(values=["Yes", "No"]), "warning options: Save the"),
]


def link_bot(scene: Scene) -> None:
    """Let an agent bot deliver to the app as well."""
    wanted = {"name": "B", "outgoing_url": scene.url}
    bot = scene.client.call("POST", "/agent_bots", wanted)
    scene.client.call("POST", "/inboxes/3/set_agent_bot", {"agent_bot": bot["id"]})


def add_api_inbox(scene: Scene) -> None:
    row = {"id": 6, "name": "Shop app", "channel_type": "Channel::Api"}
    secret = {"webhook_url": scene.url, "secret": "secret-of-an-inbox"}
    scene.settings.inboxes[6] = row | secret


def api_inbox_instead_of_webhook(scene: Scene) -> Flask:
    add_api_inbox(scene)
    scene.settings.webhooks.clear()
    return scene.other(webhook_secret=["old", "secret-of-an-inbox"])


def connect_captain(scene: Scene) -> None:
    scene.settings.integrations.captain["Cap"] = [3, 4]


def answer_in_4_only(scene: Scene) -> Flask:
    connect_captain(scene)
    return scene.other(inboxes=[4])


def unsubscribe(event: str) -> Cause:
    return lambda s: s.webhook["subscriptions"].remove(event)


def delete_webhook(scene: Scene) -> None:
    scene.settings.webhooks.clear()
    scene.arguments = ("--url", scene.url.removesuffix("/chatwoot/webhook"))


TICK = "… Settings → Integrations → Webhooks"
WEBHOOK = [
    case(
        delete_webhook,
        "error webhook: Nothing in Chatwoot delivers to {url}. … flask chatwoot setup",
    ),
    case(
        with_arguments("--url", "https://127.0.0.1:1"),
        *("error webhook: , but to {url}. ", "error probe: "),
    ),
    case(
        lambda s: s.settings.links.clear(),
        "error webhook: must be linked to an inbox",
        agent_bot=True,
    ),
    case(
        api_inbox_instead_of_webhook,
        "error probe: ",  # the running app has the old secret
        "ok webhook: API inbox 6 delivers",
    ),
    case(
        lambda s: s.webhook.update(url="https://other.example.com/hook"),
        "warning webhook: Give the address of this app with --url",
    ),
    case(unsubscribe("message_created"), f"error events: message_created {TICK}"),
    case(unsubscribe("message_updated"), f"warning events: message_updated {TICK}"),
    case(link_bot, "warning duplicates: , agent bot  … Delete or unlink all but one"),
    case(add_api_inbox, "warning duplicates: API inbox 6"),
    case(
        connect_captain,
        "warning bots: inbox 3 (Website) are also answered by Captain (Cap); … "
        "leave the inbox out of CHATWOOT_INBOXES",
        "warning bots: inbox 4",
    ),
    case(answer_in_4_only, "warning bots: inbox 4"),
    case(connect_captain, "warning bots: inbox 3", agent_bot=True),
]


def delete_token(scene: Scene) -> Flask:
    app = scene.other(webhook_token=None)
    scene.webhook["url"], scene.answer = scene.url, app
    return app


def delete_token_in_chatwoot(scene: Scene) -> None:
    assert "?token=" in scene.webhook["url"]
    scene.webhook["url"] = scene.url


APPEND = "error secret: Append it to the URL"
NO_TOKEN = "warning secret: Set CHATWOOT_WEBHOOK_TOKEN"
NO_SECRET = "warning secret: Set CHATWOOT_WEBHOOK_SECRET"
SECRET = [
    case(other(webhook_secret="x"), "error secret: Copy it again from Settings"),
    case(other(webhook_secret=None, webhook_token="t"), NO_SECRET),
    case(
        lambda s: instead_of_the_app(s.make(webhook_secret="another"))(s),
        "error probe: set it there, and restart the app",
    ),
    case(other(webhook_secret="s"), *OLD, "error secret: Remove it", version="4.8.0"),
    case(other(webhook_token="another"), *OLD, APPEND, version="4.8.0"),
    case(delete_token, *("warning configuration: ", *OLD, NO_TOKEN), version="4.8.0"),
    case(None, *OLD, "ok probe: ", version="4.8.0"),
    case(
        delete_token_in_chatwoot,
        *(*OLD, APPEND, "error probe: refuses a signed probe"),
        version="4.8.0",
    ),
]
ADDRESS = [
    *(
        case(None, f"{mark} address: {text}", version=version, arrived=False)
        for version, mark, text in [
            ("4.13.0", "ok", "this version of Chatwoot allows"),
            ("4.14.0", "error", "Upgrade to 4.14.1"),
            ("4.16.2", "error", "SAFE_FETCH_ALLOW_PRIVATE_NETWORK=true"),
        ]
    ),
    case(
        lambda s: later(s.app, 3 * DAY),
        "warning address: No delivery … for 3 days.",
        "warning catch-up: No process has looked",
    ),
]
NOT_CONFIGURED = Response('{"status": "ignored", "reason": "not_configured"}', 200)
PROBE = [
    case(
        lambda s: s.webhook.update(url=f"{unused_url()}/chatwoot/webhook"),
        "error probe: does not reach http://127.0.0.1: … Is the app running there",
    ),
    *(
        case(instead_of_the_app(each), f"error probe: ({each.status_code}) … {text}")
        for each, text in [
            (Response("no", 400), "csrf.exempt(chatwoot.blueprint)"),
            (Response("no", 403), "Let Chatwoot pass the proxy"),
            (Response("no", 404), "CHATWOOT_URL_PREFIX"),
            (Response("no", 500), "See the log of the app"),
            (Response("no", 418), "Is this the address of this app"),
            (Response("<html>", 200), "Is this the address of this app"),
            (moved("/x"), "final URL in Chatwoot; compare the slash"),
        ]
    ),
    case(instead_of_the_app(NOT_CONFIGURED), "error probe: Set the same keys there"),
]


def instead_of_copilot(answer: Wsgi, method: str = "") -> Cause:
    """Answer what the composer asks, or the part of it with this method."""

    def cause(scene: Scene) -> Flask:
        app = scene.app

        def front(environ: t.Any, start: t.Any) -> Iterable[bytes]:
            is_asked = "/v1/" in environ["PATH_INFO"]
            is_meant = is_asked and environ["REQUEST_METHOD"].startswith(method)

            return (answer if is_meant else app)(environ, start)

        scene.answer = front

        return app

    return cause


def with_one_thread(scene: Scene) -> Flask:
    app = scene.app
    scene.answer = lambda environ, start: app(
        {**environ, "wsgi.multithread": False}, start
    )

    return app


COMPOSER = [
    case(
        other(copilot_token="another-one"),
        "error composer: because of its key (401) … set it there, and restart the app",
    ),
    case(
        other(copilot_token="another-one, token-of-a-page"),
        "error composer: because of its key (401)",
    ),
    case(
        instead_of_copilot(Response("no", 400), "POST"),
        "error composer: is refused (400) … csrf.exempt(chatwoot.blueprint)",
    ),
    case(
        instead_of_copilot(Response("no", 403)),
        "error composer: is forbidden (403) … Let Chatwoot pass the proxy",
    ),
    case(
        instead_of_copilot(Response("no", 404)),
        "error composer: is not served (404) … CHATWOOT_COPILOT_TOKEN",
    ),
    *(
        case(instead_of_copilot(answer, method), f"error composer: not the app's ({n})")
        for answer, method, n in [
            (Response("{}", 200), "GET", 200),
            (Response('{"error": 7}', 429), "POST", 429),
            (moved("/x"), "", 308),
        ]
    ),
    case(
        lambda s: s.monkeypatch.setattr(composer, "is_private", lambda url: False),
        f"warning composer: as plain text … CAPTAIN_OPEN_AI_ENDPOINT {HTTPS}",
    ),
    case(
        with_one_thread,
        "warning composer: one thread, which takes no delivery … gunicorn --threads 4",
    ),
]


def waiting(seconds: float, **settings: t.Any) -> Cause:
    def cause(scene: Scene) -> Flask:
        app = scene.other(**settings) if settings else scene.app
        stored(app).put(2)
        later(app, seconds)
        return app

    return cause


def break_database(scene: Scene) -> None:
    scene.answer = scene.make()
    Path(database_of(scene.app).path).write_bytes(b"no database at all. " * 50)


def all_workers_busy(scene: Scene) -> None:
    for number in (2, 3):
        stored(scene.app).put(number, conversation_id=number)

    later(scene.app, 80)
    stored(scene.app).claim()  # its lease lasts on
    later(scene.app, 100)


def heartbeat(scene: Scene) -> Flask:
    app = scene.other(backend="thread", workers=2)
    stored(app).inspection.report("a process", 2)
    return app


def stuck(scene: Scene) -> Flask:
    app = scene.other(backend="thread", workers=2)
    stored(app).inspection.report("a process", 2, stuck=1)
    return app


def limited(limit: WorkerLimit) -> Cause:
    def cause(scene: Scene) -> Flask:
        app = scene.other(backend="thread", workers=2)
        store_of(app).inspection.report("a process", 2, [limit])
        return app

    return cause


def behind_another(*, retried: bool) -> Cause:
    def cause(scene: Scene) -> None:
        for number in (2, 3):
            stored(scene.app).put(number, kind="message" if retried else "alone")

        job = stored(scene.app).claim()

        if retried:
            stored(scene.app).queue.postpone(job, 600)

        later(scene.app, 100)

    return cause


def unproven(scene: Scene) -> Flask:
    app = scene.make()
    stored(app).put(1)
    stored(app).finish("replied", None)
    return app


def beside_another_instance(scene: Scene) -> None:
    store_of(scene.app).sweeps.stop(1234)


def failed_sweep(scene: Scene) -> None:
    sweeps = store_of(scene.app).sweeps
    claimed = sweeps.claim(interval=600.0, started_at=0.0, hold=60.0, now=True)
    assert claimed is not None
    sweeps.failed(
        claimed[0], "Chatwoot answered 429.", failures=1, due=time.time(), by_inbox=0.0
    )


CATCH_UP = [
    case(other(catch_up=0), "warning catch-up: CHATWOOT_CATCH_UP is 0 … Remove it"),
    case(unproven, "warning catch-up: no verified delivery … check the webhook"),
    case(beside_another_instance, "error catch-up: message 1234 … catch-up --resume"),
    case(failed_sweep, "warning catch-up: Chatwoot answered 429. … repeated"),
    case(
        lambda s: later(s.app, 700), "warning catch-up: No process has looked … 700 s"
    ),
]


READY = "warning age: the oldest came 100 s ago … flask chatwoot jobs --state ready"
NO_WORKER = "error workers: Jobs that wait: 1; no worker runs."
JOBS = [
    case(
        break_database,
        "error address: ",  # no delivery can be read either
        "error database: not a database; set CHATWOOT_DATABASE_URL to … Until",
        marks=pytest.mark.sqlite,
    ),
    case(
        lambda s: arrive(s.app, number=2, outcome="dead"),
        "warning dead: Dead jobs: 1 (unauthorized). … flask chatwoot jobs retry --dead",
    ),
    case(waiting(20)),
    case(
        waiting(100, backend="thread", workers=0),
        *(READY, f"{NO_WORKER} … run flask chatwoot work beside"),
    ),
    case(
        waiting(100, backend="thread", workers=2),
        *(READY, f"{NO_WORKER} … Is the app running"),
    ),
    case(all_workers_busy, "warning age: ", "warning workers: raise CHATWOOT_WORKERS"),
    case(other(backend="thread", workers=2), "warning workers: Is the app running"),
    case(heartbeat, "ok workers: worker threads seen lately: 2"),
    case(stuck, "warning stuck: does not come to an end: 1. … a time limit"),
    case(
        limited(WorkerLimit.LATE_START),
        "warning start: with its first request … chatwoot.start(app), or run",
    ),
    case(
        limited(WorkerLimit.NO_GRACE),
        "warning stop: SIGTERM ends a process … chatwoot.start(app) in its main",
    ),
    case(behind_another(retried=False), "warning age: ", "ok workers: "),
    case(behind_another(retried=True), "warning age: Jobs that wait: 1; "),
]


def asked(provider: t.Any, **scope: t.Any) -> Cause:
    chatwoot = Chatwoot()
    chatwoot.reply_provider(**scope)(provider)
    return with_arguments("--ask", cause=lambda s: s.other(chatwoot))


def fail(text: str) -> str:
    raise RuntimeError(f"no answer to {text}")


PROVIDER = [
    case(lambda s: s.other(Chatwoot()), "error provider: @chatwoot.reply_provider"),
    case(asked(fail), "error answer: raised RuntimeError … chatwoot simulate"),
    case(asked(lambda text: 3), "error answer: returned int"),
    case(asked(lambda text: None), "warning answer: meant to decline"),
    case(asked(lambda text: "Hi", mode="bot"), "warning answer: flask … simulate TEXT"),
]


@pytest.mark.parametrize(
    ("cause", "expected", "options"),
    [
        *(*CONFIGURATION, *CONNECTION, *VERSION, *TOKEN, *FORM, *WEBHOOK, *SECRET),
        *(*ADDRESS, *PROBE, *COMPOSER, *JOBS, *CATCH_UP, *PROVIDER),
    ],
)
def test_a_cause_is_found_and_its_remedy_named(
    scene: Scene, cause: Cause | None, expected: list[str]
) -> None:
    lines = scene.doctor(cause and cause(scene))
    wanted = [each for each in expected if not each.startswith("ok ")]
    pairs = [*itertools.zip_longest(wanted, problems(lines), fillvalue="nothing")]

    for each in {*expected} - {*wanted}:
        finding, _, _ = each.partition(": ")
        (line,) = [line for line in lines if line.startswith(f"{finding}: ")]
        pairs.append((each, line))

    for each, line in pairs:
        finding, _, texts = each.replace("{url}", scene.url).partition(": ")
        assert line.startswith(f"{finding}: ")
        assert all(text in line for text in texts.split(" … "))


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
def test_a_self_signed_certificate_is_an_error_until_it_is_trusted(
    scene: Scene, tmp_path: Path
) -> None:
    context, chain = certificate(tmp_path, "localhost")

    with served(relay(scene.sim, lambda _: None), ssl_context=context) as origin:
        origin = origin.replace("127.0.0.1", "localhost")
        app = scene.other(base_url=f"https://{origin}")
        (problem,) = problems(scene.doctor(app))
        scene.monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(chain))
        trusted = scene.doctor(app)

    assert problem.startswith("error tls: ")
    assert "self-signed certificate" in problem
    assert "REQUESTS_CA_BUNDLE" in problem
    assert problems(trusted) == []
    assert "ok tls: The connection to Chatwoot is encrypted. " in trusted


def context_of(scene: Scene, **values: t.Any) -> DoctorContext:
    return DoctorContext(scene.app.extensions["chatwoot"], **values)


def test_the_number_of_an_account_is_no_status(scene: Scene) -> None:
    context = context_of(scene)
    why = "Chatwoot does not let this token read the settings of account 403."
    context.__dict__["account"] = UnreadableAccount(why, status=401)
    assert [finding.mark for finding in server.rights(context)] == [Mark.WARNING]


# -- addresses -------------------------------------------------------------------


def test_a_public_address_passes(scene: Scene) -> None:
    context = context_of(scene, url="https://1.1.1.1/hook")
    assert context.sources == []
    passed = Finding(Mark.OK, "address", "The URL is a public address.")
    assert list(address(context)) == [passed]


@pytest.mark.parametrize(
    ("url", "mark"),
    [("http://app:5000/hook", Mark.WARNING), ("https://app.example.com", Mark.OK)],
)
def test_a_name_that_cannot_be_resolved_is_judged_by_its_form(
    scene: Scene, url: str, mark: Mark
) -> None:
    def fail(*_: t.Any) -> None:
        raise OSError

    later(scene.app, 2 * DAY)
    scene.monkeypatch.setattr("socket.getaddrinfo", fail)
    context = context_of(scene, url=url)
    context.__dict__["api"] = RawAnswer(200, {}, b'{"version": "4.16.2"}')

    assert [finding.mark for finding in address(context)] == [mark]
