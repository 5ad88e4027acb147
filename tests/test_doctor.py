"""``flask chatwoot doctor``: each finding, and what causes it.

An app is served on loopback and set up in a simulated Chatwoot; then one thing is
changed.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import ssl
import subprocess
import time
import typing as t
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
import requests
from flask import Flask
from support.apps import AppFactory, database_of, store_of
from support.serving import Wsgi, served
from support.waiting import Clock
from werkzeug.wrappers import Request, Response

from flask_chatwoot import Chatwoot
from flask_chatwoot.client import ChatwootClient, RawAnswer
from flask_chatwoot.doctor import server
from flask_chatwoot.doctor.chatwoot import address
from flask_chatwoot.doctor.facts import DoctorContext, Finding, Mark
from flask_chatwoot.setup import account
from flask_chatwoot.setup.plan import SetupRequest, plan_setup
from flask_chatwoot.simulator import Fault, Simulator

JSON = dict[str, t.Any]
Problems = list[tuple[str, str]]

DAY = 86_400.0


class Report(t.NamedTuple):
    findings: list[JSON]

    @property
    def checks(self) -> list[str]:
        return [finding["check"] for finding in self.findings]

    @property
    def problems(self) -> Problems:
        """Mark and check of all that is not ok."""
        return [(f["mark"], f["check"]) for f in self.findings if f["mark"] != "ok"]

    def says(self, check: str, mark: str | None = None) -> str:
        """What is said about one check, remedies included."""
        return "\n".join(
            f"{f['what']} {f['remedy']}"
            for f in self.findings
            if f["check"] == check and f["mark"] == (mark or f["mark"])
        )


class DoctorScene:
    """An app that is set up in its Chatwoot.

    :ivar answer: Answers at ``url``: the app, unless it is replaced.
    """

    def __init__(
        self,
        make_app: AppFactory,
        stack: contextlib.ExitStack,
        folder: Path,
        options: JSON,
    ) -> None:
        self._make_app = make_app
        self._stack = stack
        self._folder = folder
        self._settings: JSON = {}
        self._apps = 0
        self.sim = stack.enter_context(Simulator(**options))
        self.client = ChatwootClient(self.sim.url, 1, self.sim.user_token)
        self.answer: Wsgi = Response("no app yet", 503)
        origin = self.serve(lambda environ, start: self.answer(environ, start))
        self.url = f"{origin}/chatwoot/webhook"

    def serve(self, app: Wsgi) -> str:
        return f"http://{self._stack.enter_context(served(app))}"

    def set_up(self, **wanted: t.Any) -> None:
        """As ``flask chatwoot setup`` does, with an app that has what it prints."""
        request = SetupRequest(**{"url": self.url, "inbox_ids": (3,), **wanted})
        self._settings = {
            "base_url": self.sim.url,
            "api_access_token": self.sim.user_token,
            "webhook_secret": None,
            "webhook_token": None,
        }

        for step, _ in plan_setup(account.read(self.client), request).steps:
            for key, value in step.apply(self.client).environment.items():
                if "WEBHOOK" in key:
                    self._settings[key.removeprefix("CHATWOOT_").lower()] = value

        self.answer = self.make()

    def make(self, chatwoot: Chatwoot | None = None, **settings: t.Any) -> Flask:
        """An app with a database of its own, set up except for these settings."""
        if chatwoot is None:
            chatwoot = Chatwoot()
            chatwoot.reply_provider(lambda text: "On its way.")

        self._apps += 1
        url = f"sqlite:///{self._folder / str(self._apps)}.sqlite3"

        return self._make_app(
            chatwoot, **{**self._settings, "database_url": url, **settings}
        )

    def other(self, chatwoot: Chatwoot | None = None, **settings: t.Any) -> Flask:
        """A second app that has handled a delivery; the first one answers."""
        app = self.make(chatwoot, **settings)
        arrive(app)

        return app

    def asked(self, provider: t.Any, **scope: t.Any) -> Report:
        """The report of an app with this provider, which is called."""
        chatwoot = Chatwoot()
        chatwoot.reply_provider(**scope)(provider)

        return self.doctor(self.other(chatwoot), "--ask")

    def doctor(self, app: Flask | None = None, *options: str) -> Report:
        """What the command finds. It fails if there is an error."""
        runner = (app or self.app).test_cli_runner()
        result = runner.invoke(args=["chatwoot", "doctor", "--json", *options])
        assert not [secret for secret in self.secrets if secret in result.output]
        report = Report(json.loads(result.stdout))
        assert result.exit_code == ("error" in dict(report.problems))

        return report

    @property
    def app(self) -> Flask:
        assert isinstance(self.answer, Flask)
        return self.answer

    @property
    def settings(self) -> t.Any:
        """What is set up in the simulator."""
        return self.sim.admin

    @property
    def secrets(self) -> list[str]:
        """What must never be printed."""
        rows = [*self.settings.webhooks.values(), *self.settings.bots.values()]
        keys = ("api_access_token", "webhook_secret", "webhook_token")

        return [
            *(self._settings[key] for key in keys if self._settings.get(key)),
            *(row[k] for row in rows for k in ("secret", "access_token") if k in row),
            *("secret-of-an-inbox", self.sim.user_token),
            *(self.sim.bot_token, self.sim.secret),
        ]

    @property
    def webhook(self) -> JSON:
        (row,) = self.settings.webhooks.values()
        return t.cast(JSON, row)

    @property
    def inbox(self) -> JSON:
        return t.cast(JSON, self.settings.inboxes[3])

    @property
    def fields(self) -> list[JSON]:
        """Of the pre-chat form; the last one is ours."""
        return t.cast(
            list[JSON], self.inbox["pre_chat_form_options"]["pre_chat_fields"]
        )

    @property
    def field(self) -> JSON:
        return self.fields[-1]

    @property
    def attribute(self) -> JSON:
        (row,) = self.settings.attributes.values()
        return t.cast(JSON, row)

    def set_options(self, *options: str) -> None:
        self.attribute["attribute_values"] = [*options]
        self.field["values"] = [*options]

    def link_bot(self) -> None:
        """Let an agent bot deliver to the app as well."""
        wanted = {"name": "B", "outgoing_url": self.url}
        bot = self.client.call("POST", "/agent_bots", wanted)
        self.client.call("POST", "/inboxes/3/set_agent_bot", {"agent_bot": bot["id"]})

    def add_api_inbox(self) -> None:
        self.settings.inboxes[6] = {
            "id": 6,
            "name": "Shop app",
            "channel_type": "Channel::Api",
            "webhook_url": self.url,
            "secret": "secret-of-an-inbox",
        }

    def fail(self, endpoint: str) -> None:
        self.sim.inject(Fault.SERVER_ERROR, endpoint=endpoint)

    def behind(self, change: Callable[[Request], Response | None]) -> Flask:
        """An app that reaches Chatwoot through a proxy."""
        return self.other(base_url=self.serve(relay(self.sim, change)))


def relay(sim: Simulator, change: Callable[[Request], Response | None]) -> Wsgi:
    """A proxy before Chatwoot; ``change`` may alter a request or answer it."""

    def app(environ: t.Any, start: t.Any) -> Iterable[bytes]:
        request = Request(environ)
        answer = change(request)

        if answer is None:
            token = request.environ.get("HTTP_API_ACCESS_TOKEN")
            passed = requests.request(
                request.method,
                f"{sim.url}{request.full_path}",
                headers={"Api-Access-Token": token} if token else {},
                timeout=5,
            )
            answer = Response(
                passed.content,
                passed.status_code,
                content_type=passed.headers["Content-Type"],
            )

        return answer(environ, start)

    return app


def drop_token(request: Request) -> None:
    request.environ.pop("HTTP_API_ACCESS_TOKEN", None)


def refuse_api(request: Request) -> Response | None:
    refused = request.path.startswith("/api/v1/accounts/")
    return Response('{"error": "no"}', 403) if refused else None


def unused_url() -> str:
    with served(Response()) as origin:
        return f"http://{origin}"


class Open(t.Protocol):
    def __call__(self, *, arrived: bool = True, **options: t.Any) -> DoctorScene: ...


@pytest.fixture
def open_scene(make_app: AppFactory, tmp_path: Path) -> Iterator[Open]:
    """Makes a scene with these options of the simulator, set up with a webhook."""
    with contextlib.ExitStack() as stack:

        def build(
            *, arrived: bool = True, agent_bot: bool = False, **options: t.Any
        ) -> DoctorScene:
            scene = DoctorScene(make_app, stack, tmp_path, options)
            scene.set_up(agent_bot=agent_bot)

            if arrived:
                arrive(scene.app)

            return scene

        yield build


@pytest.fixture
def scene(open_scene: Open) -> DoctorScene:
    return open_scene()


def put(
    app: Flask, number: int, *, conversation: int = 7, kind: str = "message"
) -> None:
    store_of(app).queue.put(
        f"1:message_created:{number}",
        conversation_id=conversation,
        message_id=number,
        payload=b"{}",
        kind=kind,
    )


def arrive(app: Flask, *, number: int = 1, outcome: str = "replied") -> None:
    """Let a delivery arrive and its turn end."""
    put(app, number, conversation=number)
    job = store_of(app).queue.claim()
    assert job is not None
    store_of(app).queue.settle(
        job, outcome, "unauthorized" if outcome == "dead" else None
    )


def later(app: Flask, seconds: float) -> None:
    database_of(app).clock = Clock(time.time() + seconds)


# -- the report ------------------------------------------------------------------

CHECKS = [
    *("configuration", "chatwoot", "redirect", "tls", "version", "clock", "token"),
    *("account", "role", "rights", "attribute", "options", "form", "webhook"),
    *("events", "duplicates", "secret", "address", "probe", "database", "age"),
    *("dead", "workers", "provider"),
]


@pytest.mark.parametrize("agent_bot", [False, True])
def test_every_check_passes_after_setup_and_a_customers_message(
    open_scene: Open, agent_bot: bool
) -> None:
    scene = open_scene(arrived=False, agent_bot=agent_bot)
    talk = scene.sim.conversation(custom_attributes={"support_mode": "AI agent"})
    talk.customer_says("Hello")
    scene.sim.wait_until(lambda: talk.replies)

    report = scene.doctor(None, "--ask")

    assert report.problems == []
    wanted = [check for check in CHECKS if not (agent_bot and check == "events")]
    assert report.checks == [*wanted, "answer"]


def test_a_line_has_a_mark_a_finding_and_a_remedy(scene: DoctorScene) -> None:
    scene.webhook["subscriptions"].remove("message_updated")
    scene.field["enabled"] = False

    result = scene.app.test_cli_runner().invoke(args=["chatwoot", "doctor"])

    lines = result.output.splitlines()
    assert result.exit_code == 1
    assert len(lines) == len(CHECKS)
    assert {line[:2] for line in lines} == {"✓ ", "! ", "✗ "}
    assert (
        "! The webhook does not subscribe to message_updated. Run flask chatwoot "
        "setup, or tick them in Settings → Integrations → Webhooks." in lines
    )
    assert not [secret for secret in scene.secrets if secret in result.output]


def test_doctor_changes_nothing(scene: DoctorScene) -> None:
    def state() -> tuple[str, t.Any]:
        return repr(vars(scene.settings)), store_of(scene.app).inspection.jobs()[0][:4]

    before, calls = state(), len(scene.sim.calls)

    scene.doctor(None, "--ask")

    assert state() == before
    assert {call.method for call in scene.sim.calls[calls:]} == {"GET"}


def test_the_provider_is_called_only_with_ask(scene: DoctorScene) -> None:
    assert "answer" not in scene.doctor().checks


# -- one cause, one finding ------------------------------------------------------

Cause = Callable[[DoctorScene], Flask | None]


def with_settings(**settings: t.Any) -> Cause:
    return lambda scene: scene.other(**settings)


def without(key: str) -> Cause:
    return lambda scene: scene.make(**{key: None})


def instead_of_chatwoot(answer: Response) -> Cause:
    return lambda scene: scene.other(base_url=scene.serve(answer))


def instead_of_the_app(answer: Response) -> Cause:
    def cause(scene: DoctorScene) -> Flask:
        app, scene.answer = scene.app, answer
        return app

    return cause


def unsubscribed(event: str) -> Cause:
    return lambda scene: scene.webhook["subscriptions"].remove(event)


def waiting(seconds: float) -> Cause:
    def cause(scene: DoctorScene) -> None:
        put(scene.app, 2)
        later(scene.app, seconds)

    return cause


def moved(url: str) -> Response:
    return Response("", 308, {"Location": url})


def row(cause: Cause, problems: str, *texts: str, **options: t.Any) -> t.Any:
    """One case of the table below.

    :param cause: Changes one thing; may return the app that is checked.
    :param problems: ``mark check``, separated by commas.
    :param texts: What is said about the last problem.
    :param options: Of the simulator.
    """
    pairs = [tuple(problem.split()) for problem in problems.split(",") if problem]

    return pytest.param(cause, pairs, texts, options, id=": ".join([problems, *texts]))


CONFIGURATION = [
    *(
        row(without(key), "error configuration", f"Set CHATWOOT_{key.upper()}.")
        for key in ("base_url", "account_id", "api_access_token")
    ),
    row(
        with_settings(copilot_token=None),
        "warning configuration",
        "/chatwoot/copilot takes requests without a secret. "
        "Set CHATWOOT_COPILOT_TOKEN.",
    ),
]
CONNECTION = [
    row(
        lambda s: s.other(base_url=unused_url()),
        "error chatwoot",
        "Is CHATWOOT_BASE_URL right",
    ),
    *(
        row(
            instead_of_chatwoot(Response("<html>", status)),
            "error chatwoot",
            f"answers {status}",
            "Set CHATWOOT_BASE_URL to the address of",
        )
        for status in (200, 404, 502)
    ),
    row(
        lambda s: s.other(base_url=s.sim.url.replace("http:", "https:")),
        "error tls",
        "If the server speaks plain HTTP, write http://.",
    ),
    row(
        instead_of_chatwoot(moved("https://chat.example.com/api?x=1")),
        "error redirect",
        "Set CHATWOOT_BASE_URL to https://chat.example.com.",
    ),
    row(
        instead_of_chatwoot(moved("/login")),
        "error redirect",
        "Set CHATWOOT_BASE_URL to the final address.",
    ),
    *(
        row(
            lambda s: None,
            f"{mark} clock",
            direction,
            "(NTP)",
            clock=lambda seconds=seconds: time.time() + seconds,
        )
        for seconds, mark, direction in [
            (400, "error", "behind"),
            (-400, "error", "ahead of"),
            (120, "warning", "behind"),
        ]
    ),
]
TOKEN = [
    row(
        with_settings(api_access_token="another"),
        "error token",
        "Profile Settings → Access Token",
    ),
    row(
        lambda s: s.behind(drop_token),
        "error token",
        "drops the header Api-Access-Token",
    ),
    row(
        lambda s: s.fail("profile"), "error token", "answers 500", "See Chatwoot's log"
    ),
    row(
        with_settings(account_id=2),
        "error account",
        "does not belong to account 2, but to: 1.",
        "Set CHATWOOT_ACCOUNT_ID to the number",
    ),
    row(
        lambda s: s.fail("list_webhooks"),
        "error rights",
        "GET /api/v1/accounts/1/webhooks: Chatwoot answered 500",
    ),
    row(
        lambda s: s.behind(refuse_api),
        "error rights",
        "Choose a plan with API and webhooks.",
    ),
]
FORM = [
    row(
        lambda s: (s.settings.attributes.clear(), s.field.update(values=None))[0],
        "error attribute",
        "Run flask chatwoot setup",
    ),
    row(
        lambda s: s.attribute.update(attribute_display_type="text"),
        "error attribute",
        "Delete it in Settings → Custom Attributes",
    ),
    row(
        lambda s: s.set_options("AI agent", "Human", "Carrier pigeon"),
        "warning options",
        "'Carrier pigeon' means nothing",
        "CHATWOOT_BOT_VALUES or CHATWOOT_HUMAN_VALUES",
    ),
    row(
        lambda s: s.set_options("AI agent"),
        "error options",
        "means human to this app",
        "CHATWOOT_HUMAN_VALUES",
    ),
    row(
        lambda s: s.inbox.update(pre_chat_form_enabled=False),
        "error form",
        "it is in inbox 3 (Website), but switched off",
        "Run flask chatwoot setup --inbox ID",
    ),
    row(
        lambda s: s.field.update(enabled=False),
        "error form",
        "Run flask chatwoot setup --inbox ID",
        "it is in inbox 3 (Website), but switched off",
    ),
    row(
        lambda s: s.fields.__delitem__(-1),
        "error form",
        "No pre-chat form shows support_mode. Run flask chatwoot setup --inbox ID",
    ),
    row(
        lambda s: s.field.update(required=False), "warning required", "Make it required"
    ),
    row(
        lambda s: s.field.update(values=["Yes", "No"]),
        "warning options",
        "Save the attribute again",
    ),
]
WEBHOOK = [
    row(
        lambda s: s.webhook.update(url="https://other.example.com/hook"),
        "warning webhook",
        "Give the address of this app with --url",
    ),
    *(
        row(
            unsubscribed(event),
            f"{mark} events",
            event,
            "Settings → Integrations → Webhooks",
        )
        for event, mark in [
            ("message_created", "error"),
            ("message_updated", "warning"),
            ("conversation_status_changed", "warning"),
            ("conversation_updated", "warning"),
        ]
    ),
    row(
        DoctorScene.link_bot,
        "warning duplicates",
        ", agent bot ",
        "Delete or unlink all but one",
    ),
    row(DoctorScene.add_api_inbox, "warning duplicates", "API inbox 6"),
]
SECRET = [
    row(
        with_settings(webhook_secret="another"),
        "error secret",
        "Copy it again from Settings",
    ),
    row(
        with_settings(webhook_secret=None, webhook_token="t"),
        "warning secret",
        "Set CHATWOOT_WEBHOOK_SECRET",
    ),
]
PROBE = [
    row(
        lambda s: s.webhook.update(url=f"{unused_url()}/chatwoot/webhook"),
        "error probe",
        "does not reach http://127.0.0.1:",
        "Is the app running there",
    ),
    *(
        row(instead_of_the_app(answer), "error probe", f"({answer.status_code})", text)
        for answer, text in [
            (Response("no", 400), "csrf.exempt(chatwoot.blueprint)"),
            (Response("no", 403), "Let Chatwoot pass the proxy"),
            (Response("no", 404), "CHATWOOT_URL_PREFIX"),
            (Response("no", 500), "See the log of the app"),
            (Response("no", 418), "Is this the address of this app"),
            (Response("<html>", 200), "Is this the address of this app"),
            (moved("/x"), "final URL in Chatwoot; compare the slash"),
        ]
    ),
    row(
        instead_of_the_app(
            Response('{"status": "ignored", "reason": "not_configured"}', 200)
        ),
        "error probe",
        "Set the same keys there",
    ),
]
JOBS = [
    row(
        lambda s: arrive(s.app, number=2, outcome="dead"),
        "warning dead",
        "1 dead jobs wait for a decision (unauthorized).",
        "flask chatwoot jobs retry --dead",
    ),
    row(waiting(20), ""),
]


@pytest.mark.parametrize(
    ("cause", "problems", "texts", "options"),
    [*CONFIGURATION, *CONNECTION, *TOKEN, *FORM, *WEBHOOK, *SECRET, *PROBE, *JOBS],
)
def test_a_cause_is_found_and_its_remedy_named(
    open_scene: Open, cause: Cause, problems: Problems, texts: list[str], options: JSON
) -> None:
    scene = open_scene(**options)

    report = scene.doctor(cause(scene))

    assert report.problems == problems

    for text in texts:
        assert text in report.says(problems[-1][1])


# -- the connection --------------------------------------------------------------


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
def test_a_self_signed_certificate_is_an_error_until_it_is_trusted(
    scene: DoctorScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    with served(relay(scene.sim, lambda _: None), ssl_context=context) as origin:
        app = scene.other(base_url=f"https://{origin}")
        report = scene.doctor(app)

        assert report.problems == [("error", "tls")]
        assert "self-signed certificate" in report.says("tls")
        assert "REQUESTS_CA_BUNDLE" in report.says("tls")

        monkeypatch.setenv("REQUESTS_CA_BUNDLE", certificate)
        report = scene.doctor(app)

    assert report.problems == []
    assert report.says("tls") == "The connection to Chatwoot is encrypted. "


def test_a_token_that_is_sent_unencrypted_is_warned_about(
    scene: DoctorScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "is_private", lambda url: False)

    report = scene.doctor()

    assert report.problems == [("warning", "tls")]
    assert "Set CHATWOOT_BASE_URL to an https:// address." in report.says("tls")


@pytest.mark.parametrize(
    ("version", "limits"),
    [
        ("4.8.0", ["the app compares texts", "cannot sign deliveries"]),
        ("4.11.0", ["sends customers' texts as HTML", "cannot sign deliveries"]),
        ("4.12.0", ["Upgrade to 4.12.1"]),
        ("4.16.0", ["cannot list agent bots"]),
        ("4.16.2", []),
        ("4.18.0", []),
    ],
)
def test_the_limits_of_a_version_are_warnings(
    open_scene: Open, version: str, limits: list[str]
) -> None:
    report = open_scene(version=version).doctor()

    lines = report.says("version", "warning").splitlines()
    assert report.problems == [("warning", "version")] * len(limits)
    assert all(limit in line for limit, line in zip(limits, lines, strict=True))
    assert all("Upgrade to 4." in line for line in lines)
    later = "4.18.0 is later than 4.16.2, the last" in report.says("version")
    assert later is (version == "4.18.0")


def test_a_version_that_is_too_old_is_an_error(open_scene: Open) -> None:
    report = open_scene(version="4.1.0").doctor()

    assert report.problems == [("error", "version")]
    assert "Upgrade to 4.2 or later." in report.says("version")


# -- the token -------------------------------------------------------------------


def test_the_limits_of_a_bots_token_are_warnings(
    open_scene: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = open_scene(version="4.12.1")
    monkeypatch.setenv("CHATWOOT_ADMIN_TOKEN", scene.sim.user_token)

    report = scene.doctor(scene.other(api_access_token=scene.sim.bot_token))

    assert report.problems == [("warning", "version")] * 2 + [("warning", "token")]
    assert "does not sign the deliveries of agent bots" in report.says("version")
    assert "let a bot's token read conversations" in report.says("version")


def test_a_bots_token_needs_that_of_an_administrator_beside_it(
    scene: DoctorScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = scene.other(api_access_token=scene.sim.bot_token)

    report = scene.doctor(app)

    assert report.problems == [("warning", "token"), ("warning", "rights")]
    assert "cannot list messages" in report.says("token")
    assert "to a user's token" in report.says("token")

    monkeypatch.setenv("CHATWOOT_ADMIN_TOKEN", scene.sim.user_token)
    assert scene.doctor(app).problems == [("warning", "token")]


def test_the_token_of_an_agent_is_a_warning(scene: DoctorScene) -> None:
    scene.sim._state.role = "agent"

    report = scene.doctor()

    assert report.problems == [("warning", "role"), ("warning", "rights")]
    assert "assigned to it" in report.says("role")
    assert "Make it an administrator" in report.says("role")
    assert "Set CHATWOOT_ADMIN_TOKEN" in report.says("rights")


# -- the webhook -----------------------------------------------------------------


def test_a_webhook_that_does_not_exist_is_an_error(scene: DoctorScene) -> None:
    scene.settings.webhooks.clear()
    url = scene.url.removesuffix("/chatwoot/webhook")

    report = scene.doctor(None, "--url", url)

    assert report.problems == [("error", "webhook")]
    assert f"Nothing in Chatwoot delivers to {scene.url}." in report.says("webhook")
    assert "Run flask chatwoot setup" in report.says("webhook")


def test_a_webhook_to_a_similar_url_is_shown(scene: DoctorScene) -> None:
    report = scene.doctor(None, "--url", "https://127.0.0.1:1")

    assert ("error", "webhook") in report.problems
    assert f", but to {scene.url}. " in report.says("webhook")


def test_a_bot_that_is_linked_to_no_inbox_is_an_error(open_scene: Open) -> None:
    scene = open_scene(agent_bot=True)
    scene.settings.links.clear()

    report = scene.doctor()

    assert report.problems == [("error", "webhook")]
    assert "must be linked to an inbox" in report.says("webhook")


def test_an_api_inbox_can_take_the_place_of_the_webhook(scene: DoctorScene) -> None:
    scene.add_api_inbox()
    scene.settings.webhooks.clear()

    report = scene.doctor(scene.other(webhook_secret=["old", "secret-of-an-inbox"]))

    assert report.problems == [("error", "probe")]  # the running app has the old one
    assert "API inbox 6 delivers" in report.says("webhook")


# -- secret and token --------------------------------------------------------------


def test_another_secret_in_the_running_app_is_an_error(scene: DoctorScene) -> None:
    app = scene.other()
    scene.answer = scene.make(webhook_secret="another")

    report = scene.doctor(app)

    assert report.problems == [("error", "probe")]
    assert "set it there, and restart the app" in report.says("probe")


@pytest.mark.parametrize(
    ("settings", "mark", "remedy"),
    [
        ({"webhook_secret": "s"}, "error", "Remove it"),
        ({"webhook_token": "another"}, "error", "Append it to the URL"),
        ({"webhook_token": None}, "warning", "Set CHATWOOT_WEBHOOK_TOKEN"),
    ],
)
def test_a_version_that_cannot_sign_needs_the_token_alone(
    open_scene: Open, settings: JSON, mark: str, remedy: str
) -> None:
    scene = open_scene(version="4.8.0")
    app = scene.other(**settings)

    if settings == {"webhook_token": None}:
        scene.webhook["url"], scene.answer = scene.url, app

    report = scene.doctor(app)

    others = {"version", "configuration"}
    assert [p for p in report.problems if p[1] not in others] == [(mark, "secret")]
    assert (("warning", "configuration") in report.problems) is (mark == "warning")
    assert remedy in report.says("secret")


def test_a_probe_has_the_token_of_the_url_where_chatwoot_cannot_sign(
    open_scene: Open,
) -> None:
    scene = open_scene(version="4.8.0")
    assert "?token=" in scene.webhook["url"]
    assert scene.doctor().says("probe", "ok")

    scene.webhook["url"] = scene.url
    assert "refuses a signed probe" in scene.doctor().says("probe", "error")


# -- the address -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "problems", "text"),
    [
        ("4.13.0", [], "this version of Chatwoot allows"),
        ("4.14.0", [("error", "address")], "Upgrade to 4.14.1"),
        ("4.16.2", [("error", "address")], "SAFE_FETCH_ALLOW_PRIVATE_NETWORK=true"),
    ],
)
def test_a_private_address_without_deliveries_is_an_error_where_it_is_refused(
    open_scene: Open, version: str, problems: Problems, text: str
) -> None:
    report = open_scene(version=version, arrived=False).doctor()

    assert report.problems == problems
    assert text in report.says("address")


def test_a_private_address_without_recent_deliveries_is_a_warning(
    scene: DoctorScene,
) -> None:
    later(scene.app, 3 * DAY)

    report = scene.doctor()

    assert report.problems == [("warning", "address")]
    assert "No delivery arrived for 3 days." in report.says("address")


def test_a_public_address_passes(scene: DoctorScene) -> None:
    context = DoctorContext(
        scene.app.extensions["chatwoot"], url="https://1.1.1.1/hook"
    )
    assert context.sources == []

    assert list(address(context)) == [
        Finding(Mark.OK, "address", "The URL is a public address.")
    ]


@pytest.mark.parametrize(
    ("url", "mark"),
    [("http://app:5000/hook", Mark.WARNING), ("https://app.example.com", Mark.OK)],
)
def test_a_name_that_cannot_be_resolved_is_judged_by_its_form(
    scene: DoctorScene, monkeypatch: pytest.MonkeyPatch, url: str, mark: Mark
) -> None:
    def fail(*_: t.Any) -> None:
        raise OSError

    later(scene.app, 2 * DAY)
    monkeypatch.setattr("socket.getaddrinfo", fail)
    context = DoctorContext(scene.app.extensions["chatwoot"], url=url)
    context.__dict__["api"] = RawAnswer(200, {}, b'{"version": "4.16.2"}')

    assert [finding.mark for finding in address(context)] == [mark]


# -- database and workers ----------------------------------------------------------


def test_a_database_that_cannot_be_written_is_an_error(scene: DoctorScene) -> None:
    scene.answer = scene.make()
    Path(database_of(scene.app).path).write_bytes(b"no database at all. " * 50)

    report = scene.doctor()

    # No delivery is stored either, as far as doctor can see.
    assert report.problems == [("error", "address"), ("error", "database")]
    assert "file is not a database" in report.says("database")
    assert "Set CHATWOOT_DATABASE_URL" in report.says("database")


@pytest.mark.parametrize(
    ("workers", "remedy"),
    [(0, "run flask chatwoot work beside"), (2, "Is the app running")],
)
def test_jobs_that_wait_while_no_worker_runs_are_an_error(
    scene: DoctorScene, workers: int, remedy: str
) -> None:
    app = scene.other(backend="thread", workers=workers)
    put(app, 2)
    later(app, 100)

    report = scene.doctor(app)

    assert report.problems == [("warning", "age"), ("error", "workers")]
    assert "1 jobs wait, and no worker runs." in report.says("workers")
    assert remedy in report.says("workers")
    assert "is 100 s old" in report.says("age")
    assert "flask chatwoot jobs --state ready" in report.says("age")


def test_jobs_that_wait_while_all_workers_are_busy_are_a_warning(
    scene: DoctorScene,
) -> None:
    for number in (2, 3):
        put(scene.app, number, conversation=number)

    job = store_of(scene.app).queue.claim()
    assert job is not None
    later(scene.app, 100)
    store_of(scene.app).queue.renew(job)

    report = scene.doctor()

    assert report.problems == [("warning", "age"), ("warning", "workers")]
    assert "raise CHATWOOT_WORKERS" in report.says("workers")


def test_workers_without_a_heartbeat_are_a_warning(scene: DoctorScene) -> None:
    app = scene.other(backend="thread", workers=2)

    report = scene.doctor(app)
    assert ("warning", "workers") in report.problems
    assert "Is the app running" in report.says("workers")

    store_of(app).inspection.report("a process", 2)
    report = scene.doctor(app)
    assert ("warning", "workers") not in report.problems
    assert "running worker threads: 2" in report.says("workers")


@pytest.mark.parametrize("retried", [False, True])
def test_a_job_behind_another_of_its_conversation_may_wait(
    scene: DoctorScene, retried: bool
) -> None:
    for number in (2, 3):
        put(scene.app, number, kind="message" if retried else "alone")

    job = store_of(scene.app).queue.claim()
    assert job is not None

    if retried:
        store_of(scene.app).queue.postpone(job, 600)

    later(scene.app, 100)

    assert scene.doctor().problems == [("warning", "age")]


# -- the provider ----------------------------------------------------------------


def fail(text: str) -> str:
    raise RuntimeError(f"no answer to {text}")


def test_an_app_without_a_provider_is_an_error(scene: DoctorScene) -> None:
    report = scene.doctor(scene.other(Chatwoot()))

    assert report.problems == [("error", "provider")]
    assert "@chatwoot.reply_provider" in report.says("provider")


@pytest.mark.parametrize(
    ("provider", "scope", "mark", "text"),
    [
        (fail, {}, "error", "raised builtins.RuntimeError"),
        (fail, {}, "error", "flask chatwoot simulate"),
        (lambda text: 3, {}, "error", "returned int"),
        (lambda text: None, {}, "warning", "meant to decline"),
        (lambda text: "Hi", {"mode": "bot"}, "warning", "flask chatwoot simulate TEXT"),
    ],
    ids=["raises", "raises: remedy", "wrong type", "declines", "mode bot only"],
)
def test_a_provider_that_gives_no_answer_is_reported_without_the_question(
    scene: DoctorScene, provider: t.Any, scope: JSON, mark: str, text: str
) -> None:
    report = scene.asked(provider, **scope)

    assert report.problems == [(mark, "answer")]
    assert text in report.says("answer")
    assert "no answer to" not in report.says("answer")
