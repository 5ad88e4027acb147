"""``flask chatwoot doctor``: each line, and what breaks it.

A healthy app is served on loopback, set up in a simulated Chatwoot, and then one thing
is broken.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import ssl
import subprocess
import threading
import time
import typing as t
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
import requests
from conftest import AppFactory, Clock, inbox_of
from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from flask_chatwoot import Chatwoot
from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.doctor import server
from flask_chatwoot.doctor.chatwoot import address
from flask_chatwoot.doctor.facts import Case, Finding, Mark
from flask_chatwoot.doctor.http import Answer
from flask_chatwoot.setup import account
from flask_chatwoot.setup.plan import Wishes, plan_setup
from flask_chatwoot.simulator import Fault, Simulator

Wsgi = Callable[[t.Any, t.Any], Iterable[bytes]]
JSON = dict[str, t.Any]

DAY = 86_400.0


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: t.Any) -> None:
        """Nothing."""


@contextlib.contextmanager
def served(app: Wsgi, **options: t.Any) -> Iterator[str]:
    """Serve on a free port; the address without a scheme."""
    server = make_server(
        "127.0.0.1", 0, app, threaded=True, request_handler=_Quiet, **options
    )
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()

    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Clinic:
    """An app, its Chatwoot, and the doctor.

    :ivar app: Answers at ``url``; may be replaced.
    """

    def __init__(self, make_app: AppFactory, sim: Simulator, origin: str) -> None:
        self._make_app = make_app
        self._own: dict[str, t.Any] = {}
        self.app: Wsgi = Response("nobody", 503)
        self.sim = sim
        self.url = f"http://{origin}/chatwoot/webhook"
        self.client = ChatwootClient(sim.url, 1, sim.user_token)

    def set_up(self, **wishes: t.Any) -> None:
        """As ``flask chatwoot setup`` does."""
        seen = account.look(self.client)
        wanted = Wishes(**{"url": self.url, "inbox_ids": (3,), **wishes})
        self._own = {
            "base_url": self.sim.url,
            "api_access_token": self.sim.user_token,
            "webhook_secret": None,
            "webhook_token": None,
        }

        for step, _ in plan_setup(seen, wanted).steps:
            for key, value in step.apply(self.client).environment.items():
                if "WEBHOOK" in key:
                    self._own[key.removeprefix("CHATWOOT_").lower()] = value

    def make(self, chatwoot: Chatwoot | None = None, **settings: t.Any) -> Flask:
        """An app with what setup printed, except for these settings."""
        if chatwoot is None:
            chatwoot = Chatwoot()
            chatwoot.reply_provider(lambda text: "On its way.")

        return self._make_app(chatwoot, **{**self._own, **settings})

    def examine(
        self, app: Flask | None = None, *options: str
    ) -> tuple[int, list[JSON]]:
        """What the command leaves with, and what it finds."""
        chosen = app or self.patient
        runner = chosen.test_cli_runner()
        result = runner.invoke(args=["chatwoot", "doctor", "--json", *options])
        assert not [secret for secret in self.secrets if secret in result.output]
        findings: list[JSON] = json.loads(result.stdout)

        return result.exit_code, findings

    @property
    def patient(self) -> Flask:
        assert isinstance(self.app, Flask)
        return self.app

    @property
    def secrets(self) -> list[str]:
        """What must never be printed."""
        office = self.sim.office
        rows = [*office.webhooks.values(), *office.bots.values()]
        own = [
            value
            for key, value in self._own.items()
            if value and key in ("api_access_token", "webhook_secret", "webhook_token")
        ]

        return [
            *own,
            *(row[k] for row in rows for k in ("secret", "access_token") if k in row),
            "secret-of-an-inbox",
            *(self.sim.user_token, self.sim.bot_token, self.sim.secret),
        ]

    @property
    def webhook(self) -> JSON:
        (row,) = self.sim.office.webhooks.values()
        return row

    @property
    def field(self) -> JSON:
        options: JSON = self.sim.office.inboxes[3]["pre_chat_form_options"]
        field: JSON = options["pre_chat_fields"][-1]
        return field

    @property
    def attribute(self) -> JSON:
        (row,) = self.sim.office.attributes.values()
        return row


class Open(t.Protocol):
    def __call__(self, **options: t.Any) -> Clinic: ...


@pytest.fixture
def hospital(make_app: AppFactory) -> Iterator[Open]:
    """Opens clinics: options are the simulator's."""
    with contextlib.ExitStack() as stack:

        def build(**options: t.Any) -> Clinic:
            sim = stack.enter_context(Simulator(**options))
            apps: list[Clinic] = []

            def answer(environ: t.Any, start: t.Any) -> Iterable[bytes]:
                return apps[0].app(environ, start)

            origin = stack.enter_context(served(answer))
            apps.append(Clinic(make_app, sim, origin))

            return apps[0]

        yield build


@pytest.fixture
def admit(hospital: Open) -> Open:
    """Brings in healthy patients."""

    def admit(**options: t.Any) -> Clinic:
        clinic = hospital(**options)
        clinic.set_up()
        clinic.app = clinic.make()
        arrive(clinic.patient)

        return clinic

    return admit


@pytest.fixture
def clinic(admit: Open) -> Clinic:
    return admit()


def arrive(app: Flask, *, number: int = 1, finish: bool = True) -> None:
    """Let a delivery have arrived, and usually a worker have done its work."""
    inbox = inbox_of(app)
    inbox.put(
        f"1:message_created:{number}",
        conversation_id=number,
        message_id=number,
        payload=b"{}",
    )

    if finish:
        job = inbox.claim()
        assert job is not None
        inbox.settle(job, "replied", None)


def ill(findings: list[JSON]) -> list[tuple[str, str]]:
    return [(f["mark"], f["check"]) for f in findings if f["mark"] != "ok"]


def told(findings: list[JSON], check: str, mark: str | None = None) -> str:
    """What is said about something, remedy included."""
    return "\n".join(
        f"{f['what']} {f['remedy']}"
        for f in findings
        if f["check"] == check and f["mark"] == (mark or f["mark"])
    )


# -- all is well -----------------------------------------------------------------

CHECKS = [
    *("configuration", "chatwoot", "redirect", "tls", "version", "clock", "token"),
    *("account", "role", "rights", "attribute", "options", "form", "webhook"),
    *("events", "doubled", "secret", "address", "probe", "inbox", "age", "dead"),
    *("workers", "provider"),
]


@pytest.mark.parametrize("agent_bot", [False, True])
def test_all_is_well_after_setup_and_a_customers_message(
    hospital: Open, agent_bot: bool
) -> None:
    clinic = hospital()
    clinic.set_up(agent_bot=agent_bot)
    clinic.app = clinic.make()
    talk = clinic.sim.conversation(custom_attributes={"support_mode": "AI agent"})
    talk.customer_says("Hello")
    clinic.sim.wait_until(lambda: talk.replies)

    code, findings = clinic.examine(None, "--ask")

    wanted = [check for check in CHECKS if not (agent_bot and check == "events")]
    assert ill(findings) == []
    assert code == 0
    assert [f["check"] for f in findings] == [*wanted, "answer"]


def test_a_line_has_a_mark_and_all_it_takes(clinic: Clinic) -> None:
    clinic.webhook["subscriptions"].remove("message_updated")
    clinic.field["enabled"] = False
    runner = clinic.patient.test_cli_runner()

    result = runner.invoke(args=["chatwoot", "doctor"])

    lines = result.output.splitlines()
    assert result.exit_code == 1
    assert len(lines) == len(CHECKS)
    assert {line[:2] for line in lines} == {"✓ ", "! ", "✗ "}
    assert (
        "! The webhook does not subscribe to message_updated. Run flask chatwoot "
        "setup, or tick them in Settings → Integrations → Webhooks." in lines
    )
    assert not [secret for secret in clinic.secrets if secret in result.output]


def test_a_warning_is_no_failure(clinic: Clinic) -> None:
    clinic.webhook["subscriptions"].remove("message_updated")

    code, findings = clinic.examine()

    assert ill(findings) == [("warning", "events")]
    assert code == 0


def test_the_doctor_changes_nothing(clinic: Clinic) -> None:
    before = repr(vars(clinic.sim.office)), inbox_of(clinic.patient).jobs()[0][:4]
    calls = len(clinic.sim.calls)

    clinic.examine(None, "--ask")

    after = repr(vars(clinic.sim.office)), inbox_of(clinic.patient).jobs()[0][:4]
    assert after == before
    assert {call.method for call in clinic.sim.calls[calls:]} == {"GET"}


# -- configuration ---------------------------------------------------------------


@pytest.mark.parametrize("key", ["base_url", "account_id", "api_access_token"])
def test_a_key_that_is_not_set_is_named(clinic: Clinic, key: str) -> None:
    code, findings = clinic.examine(clinic.make(**{key: None}))

    assert code == 1
    assert ill(findings) == [("error", "configuration")]
    assert f"Set CHATWOOT_{key.upper()}." in told(findings, "configuration")


def test_an_open_door_is_named_with_its_key(clinic: Clinic) -> None:
    app = with_inbox_of(clinic, copilot_token=None)

    code, findings = clinic.examine(app)

    assert (code, ill(findings)) == (0, [("warning", "configuration")])
    assert told(findings, "configuration") == (
        "Anybody may call /chatwoot/copilot. Set CHATWOOT_COPILOT_TOKEN."
    )


def with_inbox_of(clinic: Clinic, **settings: t.Any) -> Flask:
    """A second app, for a doctor who comes from elsewhere; it has seen deliveries."""
    path = f"{inbox_of(clinic.patient).path}.2"
    app = clinic.make(**{"database_url": f"sqlite:///{path}", **settings})
    arrive(app)

    return app


# -- the way to Chatwoot -----------------------------------------------------------


def test_a_chatwoot_that_is_not_there(clinic: Clinic) -> None:
    with served(Response()) as origin:
        pass

    code, findings = clinic.examine(with_inbox_of(clinic, base_url=f"http://{origin}"))

    assert (code, ill(findings)) == (1, [("error", "chatwoot")])
    assert "Is CHATWOOT_BASE_URL right" in told(findings, "chatwoot")


@pytest.mark.parametrize("status", [200, 404, 502])
def test_something_else_than_chatwoot(clinic: Clinic, status: int) -> None:
    with served(Response("<html>", status)) as origin:
        app = with_inbox_of(clinic, base_url=f"http://{origin}")
        code, findings = clinic.examine(app)

    assert (code, ill(findings)) == (1, [("error", "chatwoot")])
    assert f"answers {status}" in told(findings, "chatwoot")
    assert "Set CHATWOOT_BASE_URL to the address of" in told(findings, "chatwoot")


def test_a_server_without_tls(clinic: Clinic) -> None:
    base_url = clinic.sim.url.replace("http:", "https:")

    code, findings = clinic.examine(with_inbox_of(clinic, base_url=base_url))

    assert (code, ill(findings)) == (1, [("error", "tls")])
    assert "If the server speaks plain HTTP, write http://." in told(findings, "tls")


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
def test_a_certificate_that_nobody_vouches_for(clinic: Clinic, tmp_path: Path) -> None:
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

    with served(relay(clinic.sim), ssl_context=context) as origin:
        app = with_inbox_of(clinic, base_url=f"https://{origin}")
        code, findings = clinic.examine(app)

        assert (code, ill(findings)) == (1, [("error", "tls")])
        assert "self-signed certificate" in told(findings, "tls")
        assert "REQUESTS_CA_BUNDLE" in told(findings, "tls")

        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("REQUESTS_CA_BUNDLE", certificate)
            code, findings = clinic.examine(app)

    assert (code, ill(findings)) == (0, [])
    assert told(findings, "tls") == "The connection to Chatwoot is encrypted. "


def test_a_token_in_the_clear(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "is_private", lambda url: False)

    code, findings = clinic.examine()

    assert (code, ill(findings)) == (0, [("warning", "tls")])
    assert "Set CHATWOOT_BASE_URL to an https:// address." in told(findings, "tls")


@pytest.mark.parametrize(
    ("target", "right"),
    [
        ("https://chat.example.com/api?x=1", "https://chat.example.com"),
        ("/login", "the final address"),
    ],
)
def test_a_redirect(clinic: Clinic, target: str, right: str) -> None:
    with served(Response("", 301, {"Location": target})) as origin:
        app = with_inbox_of(clinic, base_url=f"http://{origin}")
        code, findings = clinic.examine(app)

    assert (code, ill(findings)) == (1, [("error", "redirect")])
    assert told(findings, "redirect").endswith(f"Set CHATWOOT_BASE_URL to {right}.")


def relay(
    sim: Simulator, change: Callable[[Request], Response | None] = lambda request: None
) -> Wsgi:
    """A proxy before Chatwoot; ``change`` may spoil a request or answer it."""

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


# -- version and clock -------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "limits"),
    [
        ("4.8.0", ["recognised by its text alone", "can not sign deliveries"]),
        ("4.11.0", ["sends customers' texts as HTML", "can not sign deliveries"]),
        ("4.12.0", ["Upgrade to 4.12.1"]),
        ("4.16.0", ["fails to list agent bots"]),
        ("4.16.2", []),
        ("4.18.0", []),
    ],
)
def test_what_a_version_can_not_do_is_told(
    admit: Open, version: str, limits: list[str]
) -> None:
    code, findings = admit(version=version).examine()

    said = told(findings, "version", "warning").splitlines()
    assert (code, ill(findings)) == (0, [("warning", "version")] * len(limits))
    assert all(limit in line for limit, line in zip(limits, said, strict=True))
    assert all("Upgrade to 4." in line for line in said)


def test_a_later_version_than_is_known_is_told(admit: Open) -> None:
    _, findings = admit(version="4.18.0").examine()

    assert "4.18.0 is later than the last this package knows" in told(
        findings, "version"
    )


def test_a_version_that_is_too_old(admit: Open) -> None:
    code, findings = admit(version="4.1.0").examine()

    assert (code, ill(findings)) == (1, [("error", "version")])
    assert "Upgrade to 4.2 or later." in told(findings, "version")


def test_what_a_version_can_not_do_for_bots(
    admit: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    clinic = admit(version="4.12.1")
    monkeypatch.setenv("CHATWOOT_ADMIN_TOKEN", clinic.sim.user_token)
    app = with_inbox_of(clinic, api_access_token=clinic.sim.bot_token)

    _, findings = clinic.examine(app)

    assert ill(findings) == [("warning", "version")] * 2 + [("warning", "token")]
    assert "does not sign the deliveries of agent bots" in told(findings, "version")
    assert "let a bot's token read conversations" in told(findings, "version")


@pytest.mark.parametrize(
    ("seconds", "code", "mark"),
    [(400, 1, "error"), (-400, 1, "error"), (120, 0, "warning")],
)
def test_clocks_that_differ(admit: Open, seconds: int, code: int, mark: str) -> None:
    clinic = admit(clock=lambda: time.time() + seconds)

    left, findings = clinic.examine()

    assert (left, ill(findings)) == (code, [(mark, "clock")])
    assert ("behind" if seconds > 0 else "ahead of") in told(findings, "clock")
    assert "(NTP)" in told(findings, "clock")


# -- the token -------------------------------------------------------------------


def test_a_token_nobody_knows(clinic: Clinic) -> None:
    app = with_inbox_of(clinic, api_access_token="another")

    code, findings = clinic.examine(app)

    assert (code, ill(findings)) == (1, [("error", "token")])
    assert "Profile Settings → Access Token" in told(findings, "token")


def test_a_header_that_a_proxy_eats(clinic: Clinic) -> None:
    def eat(request: Request) -> None:
        request.environ.pop("HTTP_API_ACCESS_TOKEN", None)

    with served(relay(clinic.sim, eat)) as origin:
        app = with_inbox_of(clinic, base_url=f"http://{origin}")
        code, findings = clinic.examine(app)

    assert (code, ill(findings)) == (1, [("error", "token")])
    assert "drops the header Api-Access-Token" in told(findings, "token")


def test_a_profile_that_fails(clinic: Clinic) -> None:
    clinic.sim.inject(Fault.SERVER_ERROR, endpoint="profile")

    code, findings = clinic.examine()

    assert (code, ill(findings)) == (1, [("error", "token")])
    assert "answers 500" in told(findings, "token")
    assert "See Chatwoot's log" in told(findings, "token")


def test_the_token_of_a_bot(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    app = with_inbox_of(clinic, api_access_token=clinic.sim.bot_token)

    code, findings = clinic.examine(app)

    assert code == 0
    assert ill(findings) == [("warning", "token"), ("warning", "rights")]
    assert "can not list messages" in told(findings, "token")
    assert "to a user's token" in told(findings, "token")

    monkeypatch.setenv("CHATWOOT_ADMIN_TOKEN", clinic.sim.user_token)
    assert ill(clinic.examine(app)[1]) == [("warning", "token")]


def test_the_wrong_account(clinic: Clinic) -> None:
    code, findings = clinic.examine(with_inbox_of(clinic, account_id=2))

    assert (code, ill(findings)) == (1, [("error", "account")])
    assert "does not belong to account 2, but to: 1." in told(findings, "account")
    assert "Set CHATWOOT_ACCOUNT_ID to the number" in told(findings, "account")


def test_the_token_of_an_agent(clinic: Clinic) -> None:
    clinic.sim._state.role = "agent"

    code, findings = clinic.examine()

    assert code == 0
    assert ill(findings) == [("warning", "role"), ("warning", "rights")]
    assert "assigned to it" in told(findings, "role")
    assert "Make it an administrator" in told(findings, "role")
    assert "Set CHATWOOT_ADMIN_TOKEN" in told(findings, "rights")


def test_settings_that_can_not_be_read(clinic: Clinic) -> None:
    clinic.sim.inject(Fault.SERVER_ERROR, endpoint="list_webhooks")

    code, findings = clinic.examine()

    assert (code, ill(findings)) == (1, [("error", "rights")])
    assert "GET /api/v1/accounts/1/webhooks: Chatwoot answered 500" in told(
        findings, "rights"
    )


def test_a_plan_without_the_api(clinic: Clinic) -> None:
    def refuse(request: Request) -> Response | None:
        refused = request.path.startswith("/api/v1/accounts/")
        return Response('{"error": "no"}', 403) if refused else None

    with served(relay(clinic.sim, refuse)) as origin:
        app = with_inbox_of(clinic, base_url=f"http://{origin}")
        code, findings = clinic.examine(app)

    assert (code, ill(findings)) == (1, [("error", "rights")])
    assert "Choose a plan with API and webhooks." in told(findings, "rights")


# -- attribute and form ------------------------------------------------------------


def test_an_attribute_that_is_not_there(clinic: Clinic) -> None:
    clinic.sim.office.attributes.clear()
    clinic.field["values"] = None

    code, findings = clinic.examine()

    assert (code, ill(findings)) == (1, [("error", "attribute")])
    assert "Run flask chatwoot setup" in told(findings, "attribute")


def test_an_attribute_that_is_no_list(clinic: Clinic) -> None:
    clinic.attribute["attribute_display_type"] = "text"

    code, findings = clinic.examine()

    assert (code, ill(findings)) == (1, [("error", "attribute")])
    assert "Delete it in Settings → Custom Attributes" in told(findings, "attribute")


def set_options(clinic: Clinic, *options: str) -> None:
    clinic.attribute["attribute_values"] = [*options]
    clinic.field["values"] = [*options]


def test_an_option_that_means_nothing(clinic: Clinic) -> None:
    set_options(clinic, "AI agent", "Human", "Carrier pigeon")

    code, findings = clinic.examine()

    assert (code, ill(findings)) == (0, [("warning", "options")])
    assert "'Carrier pigeon' means nothing" in told(findings, "options")
    assert "CHATWOOT_BOT_VALUES or CHATWOOT_HUMAN_VALUES" in told(findings, "options")


def test_a_mode_without_an_option(clinic: Clinic) -> None:
    set_options(clinic, "AI agent")

    code, findings = clinic.examine()

    assert (code, ill(findings)) == (1, [("error", "options")])
    assert "means human to this app" in told(findings, "options")
    assert "CHATWOOT_HUMAN_VALUES" in told(findings, "options")


@pytest.mark.parametrize("what", ["form", "field", "gone"])
def test_a_form_that_does_not_ask(clinic: Clinic, what: str) -> None:
    box = clinic.sim.office.inboxes[3]

    if what == "form":
        box["pre_chat_form_enabled"] = False
    elif what == "field":
        clinic.field["enabled"] = False
    else:
        box["pre_chat_form_options"]["pre_chat_fields"].pop()

    code, findings = clinic.examine()

    assert (code, ill(findings)) == (1, [("error", "form")])
    assert "Run flask chatwoot setup --inbox ID" in told(findings, "form")
    off = "it is there in inbox 3 (Website), but switched off" in told(findings, "form")
    assert off is (what != "gone")


def test_a_choice_that_may_be_left_empty(clinic: Clinic) -> None:
    clinic.field["required"] = False

    code, findings = clinic.examine()

    assert (code, ill(findings)) == (0, [("warning", "required")])
    assert "Make it required" in told(findings, "required")


def test_a_form_with_old_options(clinic: Clinic) -> None:
    clinic.field["values"] = ["Yes", "No"]

    code, findings = clinic.examine()

    assert (code, ill(findings)) == (0, [("warning", "options")])
    assert "Save the attribute anew" in told(findings, "options", "warning")


# -- the webhook -----------------------------------------------------------------


def test_a_webhook_that_is_not_there(clinic: Clinic) -> None:
    clinic.sim.office.webhooks.clear()
    url = clinic.url.removesuffix("/chatwoot/webhook")

    code, findings = clinic.examine(None, "--url", url)

    assert (code, ill(findings)) == (1, [("error", "webhook")])
    assert f"Nothing in Chatwoot delivers to {clinic.url}." in told(findings, "webhook")
    assert "Run flask chatwoot setup" in told(findings, "webhook")


def test_a_webhook_that_points_elsewhere(clinic: Clinic) -> None:
    clinic.webhook["url"] = "https://other.example.com/hook"

    code, findings = clinic.examine()

    assert (code, ill(findings)) == (0, [("warning", "webhook")])
    assert "Give --url" in told(findings, "webhook")


def test_a_bot_that_is_linked_nowhere(hospital: Open) -> None:
    clinic = hospital()
    clinic.set_up(agent_bot=True)
    clinic.app = clinic.make()
    arrive(clinic.patient)
    clinic.sim.office.links.clear()

    code, findings = clinic.examine()

    assert (code, ill(findings)) == (1, [("error", "webhook")])
    assert "must be linked to an inbox" in told(findings, "webhook")


@pytest.mark.parametrize(
    ("event", "code", "mark"),
    [
        ("message_created", 1, "error"),
        ("message_updated", 0, "warning"),
        ("conversation_status_changed", 0, "warning"),
        ("conversation_updated", 0, "warning"),
    ],
)
def test_an_event_that_does_not_come(
    clinic: Clinic, event: str, code: int, mark: str
) -> None:
    clinic.webhook["subscriptions"].remove(event)

    left, findings = clinic.examine()

    assert (left, ill(findings)) == (code, [(mark, "events")])
    assert event in told(findings, "events")
    assert "Settings → Integrations → Webhooks" in told(findings, "events")


def test_deliveries_that_come_twice(clinic: Clinic) -> None:
    bot = clinic.client.call(
        "POST", "/agent_bots", {"name": "B", "outgoing_url": clinic.url}
    )
    clinic.client.call("POST", "/inboxes/3/set_agent_bot", {"agent_bot": bot["id"]})

    code, findings = clinic.examine()

    assert (code, ill(findings)) == (0, [("warning", "doubled")])
    assert f"agent bot {bot['id']}" in told(findings, "doubled")
    assert "Delete or unlink all but one" in told(findings, "doubled")


def test_an_api_inbox_delivers_too(clinic: Clinic) -> None:
    clinic.sim.office.inboxes[6] = {
        "id": 6,
        "name": "Shop app",
        "channel_type": "Channel::Api",
        "webhook_url": clinic.url,
        "secret": "secret-of-an-inbox",
    }

    code, findings = clinic.examine()

    assert (code, ill(findings)) == (0, [("warning", "doubled")])
    assert "API inbox 6" in told(findings, "doubled")

    clinic.sim.office.webhooks.clear()
    code, findings = clinic.examine(
        with_inbox_of(clinic, webhook_secret=["old", "secret-of-an-inbox"])
    )
    assert ill(findings) == [("error", "probe")]  # the running app has the old one
    assert "API inbox 6 delivers" in told(findings, "webhook")


def test_a_webhook_that_is_nearly_right(clinic: Clinic) -> None:
    code, findings = clinic.examine(None, "--url", "https://127.0.0.1:1")

    assert code == 1
    assert ("error", "webhook") in ill(findings)
    assert f", but to {clinic.url}. " in told(findings, "webhook")


# -- secret and token --------------------------------------------------------------


def test_a_secret_that_differs_here(clinic: Clinic) -> None:
    code, findings = clinic.examine(with_inbox_of(clinic, webhook_secret="another"))

    assert (code, ill(findings)) == (1, [("error", "secret")])
    assert "Copy it anew from Settings" in told(findings, "secret")


def test_a_secret_that_differs_in_the_running_app(clinic: Clinic) -> None:
    right = with_inbox_of(clinic)
    path = f"{inbox_of(right).path}.3"
    clinic.app = clinic.make(webhook_secret="another", database_url=f"sqlite:///{path}")

    code, findings = clinic.examine(right)

    assert (code, ill(findings)) == (1, [("error", "probe")])
    assert "set it there, and restart it" in told(findings, "probe")


def test_a_secret_that_is_not_looked_at(clinic: Clinic) -> None:
    app = with_inbox_of(clinic, webhook_secret=None, webhook_token="t")

    code, findings = clinic.examine(app)

    assert (code, ill(findings)) == (0, [("warning", "secret")])
    assert "Set CHATWOOT_WEBHOOK_SECRET" in told(findings, "secret")


@pytest.mark.parametrize(
    ("settings", "code", "mark", "remedy"),
    [
        ({"webhook_secret": "s"}, 1, "error", "Take it away"),
        ({"webhook_token": "another"}, 1, "error", "Put it behind the URL"),
    ],
)
def test_a_version_that_can_not_sign(
    admit: Open, settings: JSON, code: int, mark: str, remedy: str
) -> None:
    clinic = admit(version="4.8.0")
    app = with_inbox_of(clinic, **settings)

    left, findings = clinic.examine(app)

    assert left == code
    assert [found for found in ill(findings) if found[1] != "version"] == [
        (mark, "secret")
    ]
    assert remedy in told(findings, "secret")


def test_a_version_that_can_not_sign_and_no_token(admit: Open) -> None:
    clinic = admit(version="4.8.0")
    clinic.webhook["url"] = clinic.url
    clinic.app = with_inbox_of(clinic, webhook_token=None)

    _, findings = clinic.examine()

    assert [found for found in ill(findings) if found[1] != "version"] == [
        ("warning", "configuration"),
        ("warning", "secret"),
    ]
    assert "Set CHATWOOT_WEBHOOK_TOKEN" in told(findings, "secret")


# -- our own address ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "code", "remedy"),
    [
        ("4.13.0", 0, None),
        ("4.14.0", 1, "Upgrade to 4.14.1"),
        ("4.16.2", 1, "SAFE_FETCH_ALLOW_PRIVATE_NETWORK=true"),
    ],
)
def test_a_private_address_that_chatwoot_refuses(
    hospital: Open, version: str, code: int, remedy: str | None
) -> None:
    clinic = hospital(version=version)
    clinic.set_up()
    clinic.app = clinic.make()

    left, findings = clinic.examine()

    assert left == code
    assert ill(findings) == ([("error", "address")] if remedy else [])
    assert (remedy or "this version allows") in told(findings, "address")


def test_a_private_address_from_which_nothing_came_for_long(
    clinic: Clinic, clock: Clock
) -> None:
    clock.now = time.time() + 3 * DAY
    inbox_of(clinic.patient).clock = clock

    code, findings = clinic.examine()

    assert (code, ill(findings)) == (0, [("warning", "address")])
    assert "No delivery arrived for 3 days." in told(findings, "address")


def test_a_public_address_is_fine(clinic: Clinic) -> None:
    case = Case(clinic.patient.extensions["chatwoot"], url="https://1.1.1.1/hook")
    assert case.deliverers == []

    assert list(address(case)) == [
        Finding(Mark.FINE, "address", "The URL leads to a public address.")
    ]


@pytest.mark.parametrize(
    ("url", "mark"),
    [("http://app:5000/hook", Mark.DOUBTFUL), ("https://app.example.com", Mark.FINE)],
)
def test_where_names_are_not_known_the_name_itself_tells(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, url: str, mark: Mark
) -> None:
    def fail(*_: t.Any) -> None:
        raise OSError

    later(clinic.patient, 2 * DAY)
    monkeypatch.setattr("socket.getaddrinfo", fail)
    case = Case(clinic.patient.extensions["chatwoot"], url=url)
    case.__dict__["api"] = Answer(200, {}, b'{"version": "4.16.2"}')

    assert [finding.mark for finding in address(case)] == [mark]


# -- the probe -------------------------------------------------------------------


def test_an_app_that_does_not_run(clinic: Clinic) -> None:
    with served(Response()) as origin:
        url = f"http://{origin}/chatwoot/webhook"
    clinic.webhook["url"] = url

    code, findings = clinic.examine()

    assert (code, ill(findings)) == (1, [("error", "probe")])
    assert f"does not reach {url}" in told(findings, "probe")
    assert "Is the app running there" in told(findings, "probe")


@pytest.mark.parametrize(
    ("answer", "remedy"),
    [
        (Response("no", 400), "csrf.exempt(chatwoot.blueprint)"),
        (Response("no", 403), "pass Chatwoot"),
        (Response("no", 404), "CHATWOOT_URL_PREFIX"),
        (Response("no", 500), "See the log of the app"),
        (Response("no", 418), "Is this the address of this app"),
        (Response("<html>", 200), "Is this the address of this app"),
        (Response("", 308, {"Location": "/x"}), "final URL; mind the slash"),
        (
            Response('{"status": "ignored", "reason": "not_configured"}', 200),
            "Set the same keys there",
        ),
    ],
    ids=str,
)
def test_an_app_that_does_not_take_a_probe(
    clinic: Clinic, answer: Response, remedy: str
) -> None:
    patient = clinic.patient
    clinic.app = answer

    code, findings = clinic.examine(patient)

    assert (code, ill(findings)) == (1, [("error", "probe")])
    assert remedy in told(findings, "probe")


def test_a_probe_carries_the_token_of_the_url(admit: Open) -> None:
    """Where Chatwoot can not sign."""
    clinic = admit(version="4.8.0")
    assert "?token=" in clinic.webhook["url"]

    _, findings = clinic.examine()
    assert told(findings, "probe", "ok")

    clinic.webhook["url"] = clinic.url
    _, findings = clinic.examine()
    assert "refuses a signed probe" in told(findings, "probe", "error")


# -- the inbox -------------------------------------------------------------------


def test_an_inbox_that_can_not_be_written(clinic: Clinic) -> None:
    # It has seen no delivery either, as far as it can tell.
    clinic.app = clinic.make(
        database_url=f"sqlite:///{inbox_of(clinic.patient).path}.2"
    )
    Path(inbox_of(clinic.patient).path).write_bytes(b"no database at all. " * 50)

    code, findings = clinic.examine()

    assert code == 1
    assert ill(findings) == [("error", "address"), ("error", "inbox")]
    assert "file is not a database" in told(findings, "inbox")
    assert "Set CHATWOOT_DATABASE_URL" in told(findings, "inbox")


def test_customers_who_were_given_up(clinic: Clinic) -> None:
    arrive(clinic.patient, number=2, finish=False)
    inbox = inbox_of(clinic.patient)
    job = inbox.claim()
    assert job is not None
    inbox.settle(job, "dead", "unauthorized")

    code, findings = clinic.examine()

    assert (code, ill(findings)) == (0, [("warning", "dead")])
    assert "were given up (unauthorized)" in told(findings, "dead")
    assert "flask chatwoot jobs retry --dead" in told(findings, "dead")


def later(app: Flask, seconds: float) -> None:
    inbox_of(app).clock = Clock(time.time() + seconds)


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"backend": "thread", "workers": 0}, "start flask chatwoot work, beside"),
        ({"backend": "thread", "workers": 2}, "Is the app running"),
    ],
)
def test_nobody_works(clinic: Clinic, settings: JSON, remedy: str) -> None:
    app = with_inbox_of(clinic, **settings)
    arrive(app, number=2, finish=False)
    later(app, 100)

    code, findings = clinic.examine(app)

    assert code == 1
    assert ill(findings) == [("warning", "age"), ("error", "workers")]
    assert "Nobody works on 1 jobs." in told(findings, "workers")
    assert remedy in told(findings, "workers")
    assert "is 100 s old" in told(findings, "age")
    assert "flask chatwoot jobs --state waiting" in told(findings, "age")


def test_workers_that_are_all_busy(clinic: Clinic) -> None:
    for number in (2, 3):
        arrive(clinic.patient, number=number, finish=False)

    assert inbox_of(clinic.patient).claim()
    later(clinic.patient, 100)

    code, findings = clinic.examine()

    assert code == 0
    assert ill(findings) == [("warning", "age"), ("warning", "workers")]
    assert "raise CHATWOOT_WORKERS" in told(findings, "workers")


def test_workers_that_give_no_sign_of_life_are_asked_after(clinic: Clinic) -> None:
    app = with_inbox_of(clinic, backend="thread", workers=2)

    _, findings = clinic.examine(app)
    assert ("warning", "workers") in ill(findings)
    assert "Is the app running" in told(findings, "workers")

    inbox_of(app).report("a process", 2)
    _, findings = clinic.examine(app)
    assert not [name for _, name in ill(findings) if name == "workers"]
    assert "threads at work: 2" in told(findings, "workers")


def test_a_job_that_waits_for_another_is_not_left_lying(clinic: Clinic) -> None:
    inbox = inbox_of(clinic.patient)

    for number in (2, 3):
        inbox.put(
            f"1:message_created:{number}",
            conversation_id=7,
            message_id=number,
            payload=b"{}",
            kind="alone",
        )

    assert inbox.claim()
    later(clinic.patient, 100)

    _, findings = clinic.examine()

    assert ill(findings) == [("warning", "age")]


def test_a_job_behind_one_that_is_tried_again_is_not_left_lying(
    clinic: Clinic,
) -> None:
    inbox = inbox_of(clinic.patient)

    for number in (2, 3):
        inbox.put(
            f"1:message_created:{number}",
            conversation_id=7,
            message_id=number,
            payload=b"{}",
        )

    job = inbox.claim()
    assert job is not None
    inbox.postpone(job, 600)
    later(clinic.patient, 100)

    _, findings = clinic.examine()

    assert ill(findings) == [("warning", "age")]


def test_a_job_that_was_just_stored_is_not_left_lying(clinic: Clinic) -> None:
    arrive(clinic.patient, number=2, finish=False)
    later(clinic.patient, 20)

    assert ill(clinic.examine()[1]) == []


# -- the provider ----------------------------------------------------------------


def test_nobody_is_there_to_answer(clinic: Clinic) -> None:
    path = f"{inbox_of(clinic.patient).path}.2"
    app = clinic.make(Chatwoot(), database_url=f"sqlite:///{path}")
    arrive(app)

    code, findings = clinic.examine(app)

    assert (code, ill(findings)) == (1, [("error", "provider")])
    assert "@chatwoot.reply_provider" in told(findings, "provider")


def asked(clinic: Clinic, function: t.Any, **place: t.Any) -> tuple[int, list[JSON]]:
    chatwoot = Chatwoot()
    chatwoot.reply_provider(**place)(function)
    path = f"{inbox_of(clinic.patient).path}.2"
    app = clinic.make(chatwoot, database_url=f"sqlite:///{path}")
    arrive(app)

    return clinic.examine(app, "--ask")


def test_a_provider_that_fails(clinic: Clinic) -> None:
    def fail(text: str) -> str:
        raise RuntimeError(f"no answer to {text}")

    code, findings = asked(clinic, fail)

    assert (code, ill(findings)) == (1, [("error", "answer")])
    assert "raised builtins.RuntimeError" in told(findings, "answer")
    assert "flask chatwoot simulate" in told(findings, "answer")
    assert "no answer to" not in told(findings, "answer")


def test_a_provider_that_returns_something_else(clinic: Clinic) -> None:
    code, findings = asked(clinic, lambda text: 3)

    assert (code, ill(findings)) == (1, [("error", "answer")])
    assert "returned int" in told(findings, "answer")


def test_a_provider_that_says_nothing(clinic: Clinic) -> None:
    code, findings = asked(clinic, lambda text: None)

    assert (code, ill(findings)) == (0, [("warning", "answer")])
    assert "meant to decline" in told(findings, "answer")


def test_a_provider_that_can_not_be_asked_here(clinic: Clinic) -> None:
    code, findings = asked(clinic, lambda text: "Hi", mode="bot")

    assert (code, ill(findings)) == (0, [("warning", "answer")])
    assert "flask chatwoot simulate TEXT" in told(findings, "answer")


def test_a_provider_is_asked_only_if_told(clinic: Clinic) -> None:
    _, findings = clinic.examine()

    assert told(findings, "answer") == ""
