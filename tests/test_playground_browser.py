"""The playground's page in a real browser."""

from __future__ import annotations

import base64
import contextlib
import functools
import os
import re
import shutil
import typing as t
from pathlib import Path

import pytest
from flask import Flask
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import ActionChains, Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait
from support.pictures import marked
from support.playground import ASKED, QUESTION, call_chatwoot, post_picture

from flask_chatwoot import Chatwoot, Turn
from flask_chatwoot.playground import serve
from flask_chatwoot.texts import PAGE

PROGRAMS = Path(__file__).parent / "support" / "programs"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
PICTURES = os.environ.get("PLAYGROUND_PICTURES")

FAQ = {
    "order": "It left our warehouse this morning. The link in your mail shows where.",
    "return": "You have 30 days. Put the slip from the parcel into the box.",
    "lamp": "The cable of the lamp is two metres long.",
}
BROKEN = "Is the lamp broken?"
HELLO = "Hello! Ask me about orders, returns or our lamps."
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAA"
    "AABJRU5ErkJggg=="
)

pytestmark = pytest.mark.slow

CHECKS = (PROGRAMS / "page_checks.js").read_text(encoding="utf-8")

LOGS = ("customer", "operator")
WIDE = (1400, 900)
PHONE = (390, 844)


class Window:
    """The page in a browser."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    # seeing

    def find(self, id: str) -> WebElement:
        return self.driver.find_element(By.ID, id)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, id: str) -> str:
        [text] = self.texts(f"#{id}")
        return text

    def texts(self, selector: str) -> list[str]:
        return t.cast("list[str]", self.check("texts", selector))

    def visible(self, id: str) -> bool:
        return self.find(id).is_displayed()

    @property
    def focused(self) -> str | None:
        return self.driver.switch_to.active_element.get_attribute("id")

    def run(self, program: str, *arguments: t.Any) -> t.Any:
        return self.driver.execute_script(program, *arguments)

    def check(self, name: str, *arguments: t.Any) -> t.Any:
        """Call a function of ``page_checks.js``."""
        return self.run(f"{CHECKS} return {name}(...arguments)", *arguments)

    def command(self, name: str, **parameters: t.Any) -> dict[str, t.Any]:
        """Send a command of the DevTools protocol."""
        return t.cast("dict[str, t.Any]", self.driver.execute_cdp_cmd(name, parameters))

    def wait_until(self, predicate: t.Callable[[], t.Any], seconds: float = 15) -> None:
        ignored = [StaleElementReferenceException]
        wait = WebDriverWait(self.driver, seconds, 0.03, ignored_exceptions=ignored)
        wait.until(lambda _: predicate())

    def wait_for(self, text: str, id: str = "customer-log") -> None:
        self.wait_until(lambda: text in self.text(id))

    def wait_for_one(self, text: str, selector: str) -> None:
        """Wait until an element has exactly this text."""
        self.wait_until(lambda: text in self.texts(selector))

    def errors(self) -> list[str]:
        """The new entries of the browser's console."""
        driver: t.Any = self.driver  # get_log has no type
        return [str(entry["message"]) for entry in driver.get_log("browser")]

    def picture(self, name: str) -> None:
        """Draw the page, if pictures are wanted."""
        if not PICTURES:
            return

        folder = Path(PICTURES)
        folder.mkdir(parents=True, exist_ok=True)
        answer = self.command("Page.captureScreenshot", format="png")
        picture = marked(base64.b64decode(answer["data"]))
        (folder / f"{name}.png").write_bytes(picture)

    # using

    def open(self, address: str) -> None:
        self.driver.get(address)
        self.wait_until(lambda: self.text("version"))

    def resize(self, size: tuple[int, int]) -> None:
        screen = {"width": size[0], "height": size[1], "deviceScaleFactor": 1}
        self.command("Emulation.setDeviceMetricsOverride", **screen, mobile=False)

    def resize_to_phone(self, width: int, height: int) -> None:
        self.resize((width, height))
        self.wait_until(lambda: self.visible("tabs"))

    def colours(self, scheme: str) -> None:
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.command("Emulation.setEmulatedMedia", features=[feature])

    def speak(self, language: str) -> None:
        agent = self.run("return navigator.userAgent")
        spoken = {"userAgent": agent, "acceptLanguage": language}
        self.command("Emulation.setUserAgentOverride", **spoken)

    def read_in(self, language: str) -> None:
        """Choose the language of the page."""
        Select(self.find("language")).select_by_value(language)

    def click(self, selector: str) -> None:
        def clicked() -> bool:
            self.driver.find_element(By.CSS_SELECTOR, selector).click()
            return True

        self.wait_until(clicked)

    def press(self, *keys: str) -> None:
        ActionChains(self.driver).send_keys(*keys).perform()

    def tab_to(self, attribute: str, value: str) -> None:
        """Press Tab until an element with this attribute has the focus."""
        for _ in range(60):
            focused = self.driver.switch_to.active_element

            if value in (focused.get_attribute(attribute) or "").split():
                return

            self.press(Keys.TAB)

        pytest.fail(f"Tab does not reach {attribute}={value}.")

    def begin(
        self, choice: str = "AI agent", text: str = QUESTION, name: str = "Ada Lovelace"
    ) -> None:
        """Fill in the pre-chat form, without keys, and send it."""
        self.check("fill", {"name": name, "choice": choice, "first-message": text})
        self.click("#pre-chat .primary")
        self.wait_for(text, "operator-log")

    def begin_on_a_phone(self, text: str) -> None:
        """Send the pre-chat form while the operator's part is hidden."""
        self.find("name").send_keys("Ada Lovelace")
        Select(self.find("choice")).select_by_visible_text("AI agent")
        self.find("first-message").send_keys(text)
        self.click("#pre-chat .primary")
        self.wait_for(FAQ["order"])

    def begin_and_wait(self) -> None:
        self.begin()
        self.wait_for(FAQ["order"])

    def say(self, text: str) -> None:
        self.find("customer-text").send_keys(text + Keys.ENTER)

    def answer(self, text: str, *, note: bool = False) -> None:
        self.click(f"#operator-composer [value={'note' if note else 'reply'}]")
        self.find("operator-text").send_keys(text + Keys.ENTER)
        self.wait_for(text, "operator-log")


@pytest.fixture(scope="module")
def driver() -> t.Iterator[Chrome]:
    if not (CHROMIUM and DRIVER):
        pytest.skip("There is no browser; install chromium and chromium-driver.")

    options = ChromeOptions()
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})

    for argument in (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *("--no-first-run", "--disable-background-networking", "--disable-extensions"),
        *("--no-proxy-server", "--force-prefers-reduced-motion", "--lang=en-US"),
    ):
        options.add_argument(argument)

    driver = Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    app = Flask("shop", instance_path=str(tmp_path / "instance"))

    @Chatwoot(app).reply_provider
    def answer(text: str, turn: Turn) -> str:
        if BROKEN in text:
            raise LookupError("The index is not open.")

        asked = (turn.instruction or text).casefold()
        return next((a for word, a in FAQ.items() if word in asked), HELLO)

    return app


@pytest.fixture
def address(app: Flask) -> t.Iterator[str]:
    with serve(app, slow=60) as address:
        yield address


@pytest.fixture
def window(driver: Chrome, address: str) -> t.Iterator[Window]:
    """The page on a wide screen, in English."""
    window = Window(driver)
    window.resize(WIDE)
    window.colours("light")
    window.speak("en-US")
    window.open(address)
    yield window
    errors = window.errors()
    # A later page may get the same port, and would be in the language chosen here.
    window.run("localStorage.clear()")
    driver.get("about:blank")  # before the server stops
    assert errors == []


# -- both modes ------------------------------------------------------------------


def test_in_human_mode_only_operators_see_the_answer(window: Window) -> None:
    window.begin("Human")
    window.wait_for(FAQ["order"], "operator-log")
    [note] = window.texts("#operator-log .note")
    assert "Private note, only your team sees it" in note
    assert FAQ["order"] not in window.text("customer-log")
    assert window.texts("#thread-badges .badge") == ["Open", "Human"]
    window.wait_for("accepted → noted", "traffic-log")


def test_an_operator_takes_over_and_returns_to_the_bot(window: Window) -> None:
    window.begin("Human", "How long is the cable of the lamp?", name="Grace Hopper")
    window.click("#new-conversation")
    window.begin("AI agent", "Hello, where is my order?")
    window.wait_for(FAQ["order"])

    window.say("It says it was delivered, but there is nothing here. A human, please!")
    window.wait_for(HELLO)
    window.click("#assign")
    window.wait_for("Assigned to Olga Operator", "owner")
    Select(window.find("attribute")).select_by_visible_text("Human")
    window.wait_for("Human", "thread-badges")
    window.answer("Neighbour at no. 12 signed for it.", note=True)
    window.answer("Hello Ada, Olga here. I have found it: no. 12 signed for it.")
    window.wait_for("Olga here")
    assert "Neighbour" not in window.text("customer-log")

    window.say("Wonderful, thank you! Can I still return the lamp?")
    window.wait_until(lambda: len(window.texts("#operator-log .note")) == 2)
    assert FAQ["return"] not in window.text("customer-log")
    window.wait_for("accepted → noted", "traffic-log")
    window.picture("playground")

    window.click("#return-to-bot")
    window.wait_for("Bot", "thread-badges")
    assert window.text("owner") == "Unassigned"
    window.say("And how long is the cable of the lamp?")
    window.wait_for(FAQ["lamp"])


# -- the customer ----------------------------------------------------------------


def test_html_of_a_customer_is_shown_and_never_run(window: Window) -> None:
    evil = "<img src=x onerror=window.evil=1><script>window.evil=2</script>"

    window.begin("Human", evil, name=evil)

    for place in ("customer-log", "operator-log", "thread-title", "conversations"):
        assert evil in window.text(place)

    window.wait_until(lambda: window.all("#traffic-log summary"))
    window.click("#traffic-log summary")
    window.wait_until(lambda: window.all("#traffic-log pre"))
    assert window.run("return window.evil") is None
    assert window.all("main img") == []


HOSTILE = r"""[a](javascript:evil()) [b](JaVaScRiPt:evil()) [c](&#106;avascript:evil())
[d](data:text/html,<script>evil()</script>) [e](vbscript:evil()) [f](//evil.example)
<javascript:evil()> ![g](javascript:evil()) ![h](data:image/svg+xml,<svg/onload=evil()>)
[i](https://x.example "t" onmouseover="evil()") [j][k] <img src=x onerror=evil()>
![l](https://x.example/a.png) &lt;script&gt;evil()&lt;/script&gt;
[m](java&#10;script:evil())

[k]: javascript:evil()

| <b onclick=evil()>n</b> | [o](javascript:evil()) |
|---|---|
| <iframe src=javascript:evil()> | `<script>` |

```<script>
</code></pre><script>evil()</script>
```"""


def test_hostile_markdown_makes_only_texts_and_links(
    app: Flask, window: Window
) -> None:
    window.run("window.evil = () => (window.hit = 1)")
    window.begin("Human")
    call_chatwoot(app, "1/messages", content=HOSTILE)
    window.wait_until(lambda: window.all("#customer-log .by-bot"))

    elements = set(window.check("elementsOf", ".text"))
    assert elements <= {"p", "a", "table", "thead", "tbody", "tr", "th", "td", "code",
                        "pre", "br", "span"}  # fmt: skip
    assert set(window.check("attributesOf", ".text")) <= {"href", "target", "rel"}
    links = window.run(
        "return [...document.querySelectorAll('.text a')].map((a) => a.href)"
    )
    assert links
    assert all(link.startswith("https://x.example") for link in links)
    assert window.run("return window.hit") is None


MARKDOWN = r"""Here is **order 4711**, from our *warehouse* and ~~not~~ a `shop`:

1. Sent
2. [On its way](https://post.example/?a=1&b=2)
   - see https://shop.example/4711.
---
> Two days.
> Or *three*.

```
**not** bold
```
# Anything else?
2 * 3 * 4, snake_case_name, \*as it is\*, [no](javascript:alert(1)) <b>HTML</b>"""


def test_markdown_is_shown_as_chatwoot_does(app: Flask, window: Window) -> None:
    window.begin("Human")
    window.wait_until(lambda: window.all("#operator-log .note"))

    call_chatwoot(app, "1/messages", content=MARKDOWN)

    window.wait_for("Anything else?")
    assert window.check("lastReply") == (
        "<p>Here is <strong>order 4711</strong>, from our <em>warehouse</em> and "
        "<s>not</s> a <code>shop</code>:</p>"
        "<ol><li>Sent</li>"
        '<li><a href="https://post.example/?a=1&amp;b=2">On its way</a>'
        '<ul><li>see <a href="https://shop.example/4711">'
        "https://shop.example/4711</a>.</li></ul></li></ol>"
        "<hr><blockquote><p>Two days.<br>Or <em>three</em>.</p></blockquote>"
        "<pre><code>**not** bold</code></pre>"
        '<p class="heading">Anything else?</p>'
        "<p>2 * 3 * 4, snake_case_name, *as it is*, [no](javascript:alert(1)) "
        "&lt;b&gt;HTML&lt;/b&gt;</p>"
    )
    # The list of conversations has one line without marks.
    [last] = window.texts("#conversations .row-last")
    assert last.startswith(
        "Here is order 4711, from our warehouse and not a shop: Sent"
    )


def test_a_table_is_drawn_for_operators_and_flat_for_customers(
    app: Flask, window: Window
) -> None:
    window.begin("Human")
    table = "| Lamp | Price |\n|---|---|\n| *Luna* | 20 € |"
    call_chatwoot(app, "1/messages", content=table)

    for who, border, display in (
        ("customer", "0px", "inline"),
        ("operator", "1px", "table-cell"),
    ):
        cell = f"#{who}-log td"
        window.wait_until(functools.partial(window.all, cell))
        assert window.check("styleOf", cell, "borderTopWidth") == border
        assert window.check("styleOf", cell, "display") == display

    assert window.check("lastText", "#customer-log .text") == "Lamp Price\nLuna 20 €"


@pytest.mark.parametrize("text", [">" * 9000, "- " * 9000 + "x", "**" * 9000])
def test_thousands_of_marks_are_shown(app: Flask, window: Window, text: str) -> None:
    window.begin("Human")
    call_chatwoot(app, "1/messages", content=text)
    window.say("Go on.")
    window.wait_for("Go on.")


def test_a_picture_is_shown_on_both_sides(window: Window, tmp_path: Path) -> None:
    (tmp_path / "lamp.png").write_bytes(PIXEL)
    window.begin("Human")
    window.find("customer-files").send_keys(str(tmp_path / "lamp.png"))
    window.wait_for("lamp.png", "chosen-files")
    window.say("This one.")

    for who in LOGS:
        picture = f"#{who}-log [alt='lamp.png']"
        window.wait_until(functools.partial(window.check, "widthOf", picture))

    assert window.texts("#chosen-files li") == []


def test_a_button_can_be_pressed_once(app: Flask, window: Window) -> None:
    customers, operators = (f"#{who}-log .buttons button" for who in LOGS)
    window.begin_and_wait()
    call_chatwoot(app, "1/messages", **ASKED)
    window.wait_until(lambda: window.texts(customers) == ["Yes", "No"])
    # Operators see the buttons, but cannot press them.
    window.wait_until(lambda: window.texts(operators) != [])
    assert not any(button.is_enabled() for button in window.all(operators))

    window.click(customers)
    window.wait_until(lambda: window.texts("#customer-log .picked") == ["Yes"])
    window.wait_until(lambda: window.texts("#operator-log .picked") == ["Yes"])
    assert not any(button.is_enabled() for button in window.all(customers))
    assert window.focused == "customer-text"


def test_the_customer_sees_the_typing_indicator(app: Flask, window: Window) -> None:
    window.begin_and_wait()
    call_chatwoot(app, "1/toggle_typing_status", typing_status="on")
    window.wait_for("AI agent is typing…")
    call_chatwoot(app, "1/toggle_typing_status", typing_status="off")
    window.wait_until(lambda: "typing" not in window.text("customer-log"))


def test_a_conversation_survives_a_reload(window: Window, address: str) -> None:
    window.begin("Human", "First.")
    window.open(address)
    window.wait_for("First.")
    window.click("#new-conversation")
    assert (window.visible("pre-chat"), window.focused) == (True, "name")

    window.begin("Human", "Second.")
    assert "First." not in window.text("customer-log")
    assert window.text("customer-log").count("Second.") == 1
    names = window.texts("#conversations .row-name")
    assert names == ["Ada Lovelace #2", "Ada Lovelace #1"]


def test_the_operator_selects_another_conversation(window: Window) -> None:
    window.begin("Human", "First.")
    window.click("#new-conversation")
    window.begin("Human", "Second.")
    assert "First." not in window.text("operator-log")

    window.all("#conversations button")[1].click()
    window.wait_for("First.", "operator-log")
    assert "Second." not in window.text("operator-log")
    rows = window.all("#conversations .row")
    assert [row.get_attribute("aria-current") for row in rows] == ["false", "true"]


def test_messages_of_one_author_are_a_group_with_one_avatar(window: Window) -> None:
    window.begin("Human", "First.")
    window.wait_for(HELLO, "operator-log")
    window.say("Second.")
    window.say("Third.")
    window.wait_for("Third.", "operator-log")

    window.wait_until(lambda: window.texts("#customer-log .bubble")[-1] == "Third.")
    assert len(window.all("#customer-log .follows")) == 2
    assert window.texts("#operator-log .avatar")[0] == "AL"
    assert window.texts("#conversations .avatar") == ["AL"]
    assert re.match(r"\d\d:\d\d", window.texts("#conversations .row-time")[0])


def test_what_an_operator_has_not_seen_is_unread(window: Window) -> None:
    window.begin("Human", "First.")
    window.click("#new-conversation")
    window.begin("Human", "Second.")
    assert window.texts("#conversations .new") == []

    window.all("#conversations button")[1].click()
    window.say("Third.")
    window.say("Fourth.")
    window.wait_until(lambda: window.texts("#conversations .new") == ["2\nunread"])
    window.all("#conversations button")[0].click()
    window.wait_until(lambda: window.texts("#conversations .new") == [])


def test_after_it_is_resolved_the_customer_can_begin_another(window: Window) -> None:
    window.begin("Human")
    window.click("#resolve")
    window.wait_until(lambda: window.visible("resolved"))
    assert "Resolved" in window.text("thread-badges")
    assert window.text("resolve") == "Reopen"

    window.click("#start-anew")
    assert (window.visible("pre-chat"), window.focused) == (True, "choice")


def test_another_chatwoot_begins_anew(window: Window) -> None:
    def nothing_is_left() -> bool:
        return window.texts("#conversations li") == []

    window.begin_and_wait()
    Select(window.find("kind")).select_by_visible_text("Agent bot")
    window.wait_until(nothing_is_left)
    assert window.visible("pre-chat")

    window.begin_and_wait()
    assert window.texts("#thread-badges .badge") == ["Pending", "Bot"]
    assert window.visible("suggest")
    Select(window.find("version")).select_by_value("4.9.0")
    window.wait_until(nothing_is_left)
    window.begin_and_wait()
    assert window.check("chosen", "#kind") == "bot"
    assert not window.visible("suggest")


# -- suggestions -----------------------------------------------------------------


def test_a_suggested_reply_is_changed_accepted_and_sent(window: Window) -> None:
    window.begin("Human", "Can I return it?")
    window.click("#suggest")
    window.wait_for(FAQ["return"], "suggested")
    assert window.focused == "accept"
    assert not window.visible("operator-composer")
    window.picture("suggestion")

    window.find("follow-up").send_keys("Tell about the lamp" + Keys.ENTER)
    window.wait_for(FAQ["lamp"], "suggested")
    window.click("#accept")
    written = window.find("operator-text").get_property("value")
    assert (written, window.focused) == (FAQ["lamp"], "operator-text")
    assert FAQ["lamp"] not in window.text("customer-log")

    window.find("operator-text").send_keys(" Olga" + Keys.ENTER)
    window.wait_for(f"{FAQ['lamp']} Olga")
    window.wait_for("reply_suggestion", "traffic-log")
    assert window.texts("#traffic-log .question .status") == ["200", "200"]


def test_a_discarded_suggestion_leaves_nothing(window: Window) -> None:
    window.begin("Human")
    window.click("#suggest")
    window.wait_for(FAQ["order"], "suggested")
    window.click("#discard")

    assert window.focused == "suggest"
    assert window.find("operator-text").get_property("value") == ""
    assert not window.visible("suggestion")


def test_a_suggestion_ends_when_another_conversation_is_selected(
    window: Window,
) -> None:
    window.begin("Human", "First.")
    window.click("#new-conversation")
    window.begin("Human", "Second.")
    window.click("#suggest")
    window.wait_for(HELLO, "suggested")

    window.all("#conversations button")[1].click()
    window.wait_for("First.", "operator-log")
    assert not window.visible("suggestion")
    assert window.visible("operator-composer")


def test_the_error_of_a_suggestion_is_shown_as_the_app_words_it(
    window: Window,
) -> None:
    window.begin("Human", BROKEN)
    window.click("#suggest")

    window.wait_for_one(
        "The reply function of the app failed. The app's log says why.", "#problem"
    )
    assert (window.visible("suggestion"), window.focused) == (False, "suggest")
    assert "422" in window.errors()[0]  # the browser's own entry of the failed request


# -- traffic and faults ----------------------------------------------------------


def switch(window: Window, name: str) -> None:
    """Turn a switch, and wait until the server has confirmed it."""
    before = window.text("faults-now")
    window.click(f"#faults {name}")
    window.wait_until(lambda: window.text("faults-now") != before)


@pytest.mark.parametrize(
    ("on", "off", "lines"),
    [
        ("[value=limit]", "[value=none]", {"429", "refused (rate_limited)"}),
        ("[name=slow]", "[name=slow]", set()),
    ],
    ids=["retries", "slow provider"],
)
def test_the_answer_appears_once_the_fault_is_off(
    window: Window, on: str, off: str, lines: set[str]
) -> None:
    switch(window, on)
    window.begin()
    parts = "#traffic-log .status, #traffic-log .outcome"
    shown = {"accepted → working…", *lines}
    window.wait_until(lambda: shown <= {*window.texts(parts)})
    assert FAQ["order"] not in window.text("customer-log")

    switch(window, off)
    window.wait_for(FAQ["order"])
    window.wait_for("accepted → replied", "traffic-log")


def test_the_answer_appears_once(window: Window) -> None:
    for name in ("[value=cut]", "[name=duplicate]", "[name=forged]"):
        switch(window, name)

    window.begin_and_wait()
    window.wait_for("duplicate", "traffic-log")
    window.wait_for("accepted → replied", "traffic-log")
    # A badge, or the outcome of a delivery or call and that of its turn.
    shown = window.texts("#traffic-log .outcome, #traffic-log .badge")
    assert {"unanswered (cut_after)", "bad signature"} <= {*shown}
    assert "refused (unauthorized)" in shown
    assert window.text("customer-log").count(FAQ["order"]) == 1


def test_the_traceback_of_a_provider_is_shown(window: Window) -> None:
    window.begin("AI agent", BROKEN)
    window.wait_until(lambda: window.all("#traffic-log .crash"))
    assert window.texts("#traffic-log .crash .what")[0] == "LookupError"

    window.click("#traffic-log .crash summary")
    window.wait_until(lambda: window.all("#traffic-log .crash pre"))
    assert "LookupError: The index is not open." in window.text("traffic-log")
    assert window.texts("#customer-log .by-bot") == []


def test_a_delivery_is_opened_and_sent_again(window: Window) -> None:
    window.begin_and_wait()

    window.click("#traffic-log summary")
    window.wait_until(lambda: len(window.all("#traffic-log pre")) == 3)
    headers, asked, answered = window.texts("#traffic-log pre")
    assert "X-Chatwoot-Signature" in headers
    assert '"content": "Where is my order?"' in asked
    assert '"status": "accepted"' in answered
    window.click("#traffic-log .again")

    window.wait_for_one("duplicate", "#traffic-log .outcome")
    # New lines do not close the one that is open.
    assert len(window.all("#traffic-log pre")) == 3


def test_the_wire_shows_one_conversation_or_all(window: Window) -> None:
    window.begin("Human", "First.")
    assert not window.visible("filter")
    window.click("#new-conversation")
    window.begin("Human", "Second.")
    window.wait_until(lambda: len(window.texts("#traffic-log .delivery")) == 4)

    Select(window.find("filter")).select_by_visible_text("Only conversation 2")
    seconds = "#traffic-log .second"
    window.wait_until(lambda: all("#2" in each for each in window.texts(seconds)))
    window.say("Third.")
    window.wait_until(lambda: len(window.texts("#traffic-log .delivery")) == 4)
    Select(window.find("filter")).select_by_visible_text("All conversations")
    assert len(window.texts("#traffic-log .delivery")) == 6


def test_an_opened_line_is_scrolled_into_view(window: Window) -> None:
    window.begin_and_wait()
    for _ in range(4):
        window.say("Where is my order?")
        window.wait_until(lambda: window.texts("#customer-log .typing") == [])

    window.wait_until(lambda: len(window.texts("#traffic-log .again")) == 10)
    line = window.all("#traffic-log .line")[-1]
    window.run("arguments[0].querySelector('summary').click()", line)
    window.wait_until(lambda: window.check("inView", line, "#traffic-log"))


def test_the_wire_shows_when_and_what_the_app_said_of_typing(
    app: Flask, window: Window
) -> None:
    window.begin_and_wait()
    call_chatwoot(app, "1/toggle_typing_status", typing_status="on")
    call_chatwoot(app, "1/toggle_typing_status", typing_status="off")
    window.wait_for_one("toggle_typing_status off", "#traffic-log .what")
    assert "toggle_typing_status on" in window.texts("#traffic-log .what")
    times = window.texts("#traffic-log .clock")
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d", each) for each in times)


def test_what_the_browser_asks_of_chatwoot_is_not_in_the_wire(
    app: Flask, window: Window
) -> None:
    window.begin_and_wait()
    post_picture(app, PIXEL)
    picture = "#customer-log .file img"
    window.wait_until(lambda: window.all(picture))
    window.wait_until(lambda: window.check("widthOf", picture))
    window.wait_until(
        lambda: window.texts("#traffic-log .what").count("create_message") == 2
    )
    assert {"file", "stored_file"}.isdisjoint(window.texts("#traffic-log .what"))


# -- the keyboard and the screen reader ------------------------------------------


def test_everything_can_be_done_with_the_keyboard(window: Window) -> None:
    window.tab_to("id", "name")
    window.press("Ada", Keys.TAB)
    assert window.focused == "choice"
    window.press("AI", Keys.TAB)
    assert window.focused == "first-message"
    window.press("Where is my order?", Keys.TAB, Keys.ENTER)
    window.wait_until(lambda: window.focused == "customer-text")
    window.wait_for(FAQ["order"])

    window.press("Can I return it?", Keys.ENTER)
    window.wait_for(FAQ["return"])
    window.tab_to("id", "assign")
    window.press(Keys.SPACE)
    window.wait_until(lambda: window.text("assign") == "Unassign")
    assert window.focused == "assign"
    window.tab_to("name", "kind")
    window.press(Keys.ARROW_RIGHT, Keys.TAB)
    assert window.focused == "operator-text"
    window.press("A regular.", Keys.ENTER)
    window.wait_until(lambda: window.texts("#operator-log .note") != [])
    assert window.focused == "operator-text"

    window.tab_to("name", "api")
    window.press(Keys.ARROW_RIGHT)
    window.wait_for("answers 500", "faults-now")
    window.tab_to("class", "again")
    window.press(Keys.ENTER)
    window.wait_for("duplicate", "traffic-log")


def test_the_focus_can_be_seen(window: Window) -> None:
    window.begin("Human")
    assert window.check("withoutVisibleFocus") == []


def test_a_screen_reader_gets_roles_and_names(window: Window) -> None:
    window.begin("Human")
    window.wait_until(lambda: window.texts("#operator-log .note") != [])
    window.wait_for("accepted → noted", "traffic-log")

    def nodes() -> set[tuple[str, str]]:
        return {
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in window.command("Accessibility.getFullAXTree")["nodes"]
            if not node["ignored"]
        }

    # Chromium builds this tree a moment after the page has changed.
    landmarks = {"banner", "main", "log"}
    window.wait_until(lambda: landmarks <= {role for role, _ in nodes()})
    wanted = {
        *(("region", "Customer"), ("region", "Operator"), ("region", "Traffic")),
        *(("navigation", "Conversations"), ("toolbar", "Actions for the conversation")),
        *(("textbox", "Your message"), ("button", "Attach a file"), ("button", "Send")),
        *(("radio", "Private note"), ("switch", "Slow provider")),
        ("combobox", "support_mode"),
        *(("heading", "Playground"), ("heading", "Customer")),
    }
    window.wait_until(lambda: wanted <= nodes())
    # Its number depends on how much the app asks before it has answered.
    again = re.compile(r"Send delivery \d again")
    window.wait_until(
        lambda: any(
            role == "button" and again.fullmatch(name) for role, name in nodes()
        )
    )
    controls = {"button", "textbox", "combobox", "radio", "switch", "link"}
    assert [role for role, name in nodes() if role in controls and not name] == []
    assert window.find("customer-log").get_attribute("aria-live") == "polite"


def test_a_screen_reader_announces_notes(window: Window) -> None:
    def announced() -> str:
        return t.cast(str, window.find("announcer").get_property("textContent"))

    window.begin("Human")
    window.wait_until(lambda: FAQ["order"] in announced())
    window.answer("A regular.", note=True)
    window.wait_until(lambda: "A regular." in announced())
    window.click("#resolve")
    window.wait_until(lambda: announced() == "Conversation 1: Resolved")


# -- screens and languages -------------------------------------------------------


def test_on_a_phone_the_parts_are_tabs(window: Window) -> None:
    window.resize_to_phone(*PHONE)
    parts = ("customer", "operator", "traffic")

    def shown() -> list[str]:
        return [part for part in parts if window.find(part).is_displayed()]

    def selected() -> list[str | None]:
        return [tab.get_attribute("aria-selected") for tab in window.all("[role=tab]")]

    assert shown() == ["customer"]
    assert window.find("customer").get_attribute("role") == "tabpanel"
    assert window.find("customer").get_attribute("aria-labelledby") == "tab-customer"
    window.click("#tab-customer")
    window.press(Keys.ARROW_RIGHT)
    assert (shown(), window.focused) == (["operator"], "tab-operator")
    assert selected() == ["false", "true", "false"]
    window.press(Keys.END)
    assert (shown(), window.focused) == (["traffic"], "tab-traffic")
    window.press(Keys.ARROW_RIGHT)
    assert (shown(), window.focused) == (["customer"], "tab-customer")
    window.press(Keys.TAB)
    assert window.focused == "name"

    window.resize(WIDE)
    window.wait_until(lambda: shown() == list(parts))
    assert window.find("customer").get_attribute("role") is None


def test_from_768_pixels_on_the_customer_stays_beside_the_others(
    window: Window,
) -> None:
    def shown() -> list[str]:
        parts = ("customer", "operator", "traffic")
        return [part for part in parts if window.visible(part)]

    window.resize_to_phone(768, 1024)
    assert shown() == ["customer", "operator"]
    assert window.texts("#tabs button")[0] == ""  # the customer needs no tab
    window.begin("Human")
    window.picture("tablet")
    window.click("#tab-traffic")
    assert shown() == ["customer", "traffic"]
    window.find("tab-traffic").send_keys(Keys.ARROW_RIGHT)
    assert (shown(), window.focused) == (["customer", "operator"], "tab-operator")
    assert window.check("widerThanScreen") == []

    window.resize((767, 1024))
    window.wait_until(lambda: shown() == ["operator"])


def test_a_tab_shows_how_much_came_while_it_was_hidden(window: Window) -> None:
    window.resize_to_phone(*PHONE)
    assert window.texts("#tabs .new") == ["", "", ""]
    window.begin_on_a_phone("Where is my order?")
    window.wait_for_one("2", "#new-operator")
    window.read_in("fr")
    label = window.find("new-operator").get_attribute("aria-label")
    assert label == "2 nouveaux"

    window.click("#tab-operator")
    assert window.texts("#tabs .new") == ["", "", ""]
    window.find("operator-text").send_keys("Olga here." + Keys.ENTER)
    window.wait_for_one("1", "#new-customer")
    label = window.find("new-customer").get_attribute("aria-label")
    assert (label, window.text("new-operator")) == ("1 nouveau", "")


def test_the_page_fits_a_phone_in_landscape(window: Window) -> None:
    window.begin("Human")
    window.resize_to_phone(*reversed(PHONE))

    for part in LOGS:  # side by side
        assert window.find(f"{part}-log").size["height"] > 90

    assert window.check("nothingBelow")
    window.picture("landscape")

    window.find("operator-text").send_keys("Hello!")
    window.click("#operator-send")
    window.wait_for("Hello!", "operator-log")


NAME = "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichenträger"


def test_no_text_overflows_its_box(window: Window) -> None:
    window.begin("Human", name=NAME)
    window.click("#assign")
    window.wait_for("Olga", "owner")

    for language in PAGE:
        window.read_in(language)

        for width in (768, 1100, 1280, 1400):
            window.resize((width, 800))
            assert window.check("overflowing") == [], (language, width)
            assert window.check("widerThanScreen") == [], (language, width)


def test_the_last_message_stays_visible(window: Window, tmp_path: Path) -> None:
    window.begin("Human", "A story." + " word" * 400)
    (tmp_path / "list.txt").write_text("one\ntwo")

    at_end = functools.partial(window.check, "everyLogIsAtEnd")
    window.wait_until(at_end)
    window.find("customer-files").send_keys(f"{tmp_path / 'list.txt'}")
    window.wait_for("list.txt", "chosen-files")
    window.wait_until(at_end)
    window.say("")
    window.wait_for("list.txt", "operator-log")
    window.wait_until(at_end)
    # Texts for screen readers only take no room.
    assert window.check("nothingBelow")
    window.click("#resolve")
    window.wait_until(lambda: window.visible("start-anew"))
    window.wait_until(at_end)
    window.resize((1200, 800))
    window.wait_until(at_end)


@pytest.mark.parametrize("width", [320, 390])
def test_nothing_is_wider_than_a_phone(window: Window, width: int) -> None:
    window.begin("Human", "Where is my order? " + "x" * 90)
    window.answer("A regular." + "x" * 90, note=True)
    window.resize_to_phone(width, PHONE[1])

    for language in PAGE:
        window.read_in(language)

        for part in ("customer", "operator", "traffic"):
            window.click(f"#tab-{part}")
            assert window.check("widerThanScreen") == [], (language, part)
            window.picture(f"phone-{part}-{language}")

    window.click("#tab-operator")
    # A log that was hidden shows its last message.
    assert window.check("atEnd", window.find("operator-log"))
    window.run("arguments[0].scrollIntoView()", window.find("operator-composer"))
    window.click("#operator-send")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_enough_contrast(window: Window, scheme: str) -> None:
    """The contrast is 4.5 or more, as WCAG 2.2 demands (1.4.3)."""
    window.colours(scheme)
    window.begin_and_wait()
    window.answer("A regular.", note=True)
    switch(window, "[value=error]")
    switch(window, "[name=forged]")
    window.say("Where is my order?")
    window.wait_for_one("500", "#traffic-log .status")
    window.picture(f"contrast-{scheme}")

    assert window.check("lowContrast") == []
    back = window.run("return getComputedStyle(document.body).backgroundColor")
    assert back == {"light": "rgb(238, 242, 247)", "dark": "rgb(14, 19, 26)"}[scheme]


def test_the_language_is_the_browsers_or_chosen(window: Window, address: str) -> None:
    assert window.text("customer-title") == "Customer"

    window.speak("ru-RU")
    window.open(address)
    assert window.text("customer-title") == "Клиент"
    assert window.run("return document.documentElement.lang") == "ru"
    window.begin("AI агент")
    window.wait_for(FAQ["order"])
    assert window.texts("#thread-badges .badge") == ["Открыт", "Бот"]

    window.read_in("en")
    assert window.text("customer-title") == "Customer"
    assert window.texts("#thread-badges .badge") == ["Open", "Bot"]
    window.open(address)
    assert window.text("customer-title") == "Customer"


def test_activity_messages_are_translated(app: Flask, window: Window) -> None:
    def activities() -> list[str]:
        return window.texts("#operator-log .activity")

    def noted(count: int) -> bool:
        return len(activities()) == count

    window.begin("Human")

    # The return to the bot removes the assignee too.
    steps = (("assign", 1), ("return-to-bot", 3), ("resolve", 4), ("resolve", 5))

    for button, count in steps:
        window.click(f"#{button}")
        window.wait_until(functools.partial(noted, count))

    call_chatwoot(app, "1/assignments", team_id=1)
    window.wait_until(functools.partial(noted, 6))
    window.read_in("ru")

    assert activities() == [
        "Диалог взят на себя: Olga Operator",
        "Диалог больше никому не назначен: Olga Operator",
        "Диалог переведён в ожидание: Olga Operator",
        "Диалог завершён: Olga Operator",
        "Диалог открыт снова: Olga Operator",
        "Диалог передан (support): Uma User",
    ]


def test_every_language_is_offered_by_its_own_name(window: Window) -> None:
    options = Select(window.find("language")).options
    names = {option.get_attribute("lang"): option.text for option in options}

    assert names == {code: PAGE[code]["language_name"] for code in PAGE}


@pytest.mark.parametrize("language", [code for code in PAGE if code != "en"])
def test_no_english_is_left_in_another_language(window: Window, language: str) -> None:
    window.begin("Human")
    window.wait_until(lambda: window.texts("#operator-log .note"))
    window.click("#assign")
    window.wait_until(lambda: window.texts("#operator-log .activity"))
    window.click("#resolve")
    window.wait_until(lambda: window.visible("start-anew"))
    window.click("#traffic-log summary")
    window.wait_until(lambda: window.all("#traffic-log pre"))
    window.read_in(language)

    theirs, english = PAGE[language], PAGE["en"]
    # What a line had is fetched again.
    window.wait_until(lambda: theirs["part_request"] in window.check("allTexts"))
    texts = window.check("allTexts")
    shown = {key for key in english if theirs[key] in texts}
    left = {key for key in english if english[key] in texts and key not in shown}
    assert left == set()
    assert {"unassign", "who_sees", "signature_valid"} <= shown
    assert str(theirs["activity_taken"]).format(name="Olga Operator") in texts
    assert window.run("return document.documentElement.lang") == language
    assert window.driver.title == theirs["playground"]


def test_a_lost_connection_is_shown_and_restored(app: Flask, driver: Chrome) -> None:
    window = Window(driver)

    with contextlib.ExitStack() as first:
        address = first.enter_context(serve(app))
        window.resize(WIDE)
        window.speak("en-US")
        window.open(address)
        assert window.text("connection") == "Live"
        window.begin("Human")
        first.close()
        window.wait_for("lost", "connection")
        window.say("Anybody there?")
        window.wait_for("request failed", "problem")
        kept = window.find("customer-text").get_property("value")
        assert kept == "Anybody there?"

    port = int(address.rstrip("/").rpartition(":")[2])

    with serve(app, port=port):
        window.wait_until(lambda: window.text("connection") == "Live", seconds=20)
        # The new server knows nothing of the old conversation.
        assert window.visible("pre-chat")
        assert window.texts("#conversations li") == []
        driver.get("about:blank")

    window.errors()  # those of the lost connection
