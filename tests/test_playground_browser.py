"""The playground's page in a real browser."""

from __future__ import annotations

import base64
import contextlib
import functools
import os
import shutil
import typing as t
from pathlib import Path

import pytest
import requests
from flask import Flask
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import ActionChains, Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait
from support.apps import runtime_of

from flask_chatwoot import Chatwoot
from flask_chatwoot.playground import serve

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

FAQ = {
    "order": "It left our warehouse this morning. The link in your mail shows where.",
    "return": "You have 30 days. Put the slip from the parcel into the box.",
    "lamp": "The cable of the lamp is two metres long.",
}
HELLO = "Hello! Ask me about orders, returns or our lamps."
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAA"
    "AABJRU5ErkJggg=="
)

WIDE = (1400, 900)
PHONE = (390, 844)


class Window:
    """The page, as its user sees and uses it."""

    def __init__(self, driver: Chrome, pictures: Path) -> None:
        self.driver = driver
        self._pictures = pictures

    # seeing

    def find(self, id: str) -> WebElement:
        return self.driver.find_element(By.ID, id)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, id: str) -> str:
        return self.find(id).text

    def texts(self, selector: str) -> list[str]:
        """All at once: what is drawn anew meanwhile could not be read one by one."""
        told = self.ask(
            """
            return [...document.querySelectorAll(arguments[0])].map(
              (node) => node.checkVisibility() ? node.innerText.trim() : ""
            );
            """,
            selector,
        )

        return t.cast("list[str]", told)

    @property
    def focused(self) -> str | None:
        return self.driver.switch_to.active_element.get_attribute("id")

    def ask(self, program: str, *arguments: t.Any) -> t.Any:
        return self.driver.execute_script(program, *arguments)

    def command(self, name: str, **parameters: t.Any) -> dict[str, t.Any]:
        """Tell the browser itself (DevTools protocol)."""
        answer = self.driver.execute_cdp_cmd(name, parameters)

        return t.cast("dict[str, t.Any]", answer)

    def wait_until(self, predicate: t.Callable[[], t.Any], seconds: float = 15) -> None:
        WebDriverWait(
            self.driver,
            seconds,
            poll_frequency=0.03,
            ignored_exceptions=[StaleElementReferenceException],
        ).until(lambda _: predicate())

    def complaints(self) -> list[str]:
        """What the browser's console has said since the last time."""
        driver: t.Any = self.driver  # has this without a type

        return [str(entry["message"]) for entry in driver.get_log("browser")]

    def picture(self, name: str) -> Path:
        path = self._pictures / f"{name}.png"
        answer = self.command("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(answer["data"]))

        return path

    # using

    def open(self, address: str) -> None:
        self.driver.get(address)
        self.wait_until(lambda: self.text("version"))

    def resize(self, size: tuple[int, int]) -> None:
        width, height = size
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def colours(self, scheme: str) -> None:
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.command("Emulation.setEmulatedMedia", features=[feature])

    def speak(self, language: str) -> None:
        agent = self.ask("return navigator.userAgent")
        self.command(
            "Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage=language
        )

    def click(self, selector: str) -> None:
        def clicked() -> bool:
            self.driver.find_element(By.CSS_SELECTOR, selector).click()
            return True

        self.wait_until(clicked)

    def press(self, *keys: str) -> None:
        ActionChains(self.driver).send_keys(*keys).perform()

    def tab_to(self, reached: t.Callable[[WebElement], t.Any]) -> None:
        """Press Tab until the right thing has the focus."""
        for _ in range(60):
            if reached(self.driver.switch_to.active_element):
                return

            self.press(Keys.TAB)

        pytest.fail("Tab does not lead there.")

    def begin(
        self,
        choice: str = "AI agent",
        text: str = "Where is my order?",
        name: str = "Ada Lovelace",
    ) -> None:
        """Fill in the pre-chat form."""
        self.find("name").clear()
        self.find("name").send_keys(name)
        Select(self.find("choice")).select_by_visible_text(choice)
        self.find("first-message").send_keys(text)
        self.click("#pre-chat .primary")
        self.wait_until(lambda: text in self.text("operator-log"))

    def say(self, text: str) -> None:
        self.find("customer-text").send_keys(text + Keys.ENTER)

    def answer(self, text: str, *, note: bool = False) -> None:
        self.click(f"#operator-composer [value={'note' if note else 'reply'}]")
        self.find("operator-text").send_keys(text + Keys.ENTER)
        self.wait_until(lambda: text in self.text("operator-log"))

    def wait_for_answer(self, text: str) -> None:
        self.wait_until(lambda: text in self.text("customer-log"))


@pytest.fixture(scope="module")
def driver() -> t.Iterator[Chrome]:
    if not (CHROMIUM and DRIVER):
        pytest.skip(
            "There is no Chromium to look at the page with; "
            "install chromium and chromium-driver."
        )

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
    def answer(text: str) -> str:
        return next((a for word, a in FAQ.items() if word in text.casefold()), HELLO)

    return app


@pytest.fixture
def address(app: Flask) -> t.Iterator[str]:
    with serve(app, slow=60) as address:
        yield address


@pytest.fixture
def window(driver: Chrome, address: str, tmp_path: Path) -> t.Iterator[Window]:
    """The page on a wide screen, in English."""
    pictures = Path(os.environ.get("PLAYGROUND_PICTURES") or tmp_path)
    pictures.mkdir(parents=True, exist_ok=True)
    window = Window(driver, pictures)
    window.resize(WIDE)
    window.colours("light")
    window.speak("en-US")
    window.open(address)
    yield window
    complaints = window.complaints()
    driver.get("about:blank")  # before the server goes
    assert complaints == []


def api(app: Flask, path: str, **body: t.Any) -> None:
    """Call the simulated Chatwoot as the app would."""
    config = runtime_of(app).config
    response = requests.post(
        f"{config.base_url}/api/v1/accounts/{config.account_id}/conversations/{path}",
        json=body,
        headers={"Api-Access-Token": config.api_access_token or ""},
        timeout=10,
    )
    assert response.status_code == 200, response.text


# -- both modes ------------------------------------------------------------------


def test_in_bot_mode_the_customer_gets_the_answer(window: Window) -> None:
    assert window.find("pre-chat").is_displayed()
    assert not window.find("chat").is_displayed()

    window.begin("AI agent")

    window.wait_for_answer(FAQ["order"])
    assert not window.find("pre-chat").is_displayed()
    assert window.focused == "customer-text"
    assert FAQ["order"] in window.text("operator-log")
    assert window.texts("#operator-log .note") == []
    assert window.texts("#thread-badges .badge") == ["Open", "Bot"]
    window.wait_until(lambda: "accepted → replied" in window.text("traffic-log"))


def test_in_human_mode_only_operators_see_the_answer(window: Window) -> None:
    window.begin("Human")

    window.wait_until(lambda: FAQ["order"] in window.text("operator-log"))
    [note] = window.texts("#operator-log .note")
    assert "Private note, only your team sees it" in note
    assert FAQ["order"] not in window.text("customer-log")
    assert window.texts("#thread-badges .badge") == ["Open", "Human"]
    window.wait_until(lambda: "accepted → noted" in window.text("traffic-log"))


def test_an_operator_takes_over_and_returns_to_the_bot(window: Window) -> None:
    window.begin("Human", "How long is the cable of the lamp?", name="Grace Hopper")
    window.click("#new-conversation")
    window.begin("AI agent", "Hello, where is my order?")
    window.wait_for_answer(FAQ["order"])

    window.say("It says it was delivered, but there is nothing here. A person, please!")
    window.wait_for_answer(HELLO)
    window.click("#assign")
    window.wait_until(lambda: "Assigned to Olga Operator" in window.text("owner"))
    Select(window.find("attribute")).select_by_visible_text("Human")
    window.wait_until(lambda: "Human" in window.text("thread-badges"))
    window.answer("Neighbour at no. 12 signed for it.", note=True)
    window.answer("Hello Ada, Olga here. I have found it: no. 12 signed for it.")
    window.wait_for_answer("Olga here")
    assert "Neighbour" not in window.text("customer-log")

    window.say("Wonderful, thank you! Can I still return the lamp?")
    window.wait_until(lambda: len(window.texts("#operator-log .note")) == 2)
    assert FAQ["return"] not in window.text("customer-log")
    window.wait_until(lambda: "accepted → noted" in window.text("traffic-log"))
    window.picture("playground")

    window.click("#return-to-bot")
    window.wait_until(lambda: "Bot" in window.text("thread-badges"))
    assert window.text("owner") == "Unassigned"
    window.say("And how long is the cable of the lamp?")
    window.wait_for_answer(FAQ["lamp"])


# -- the customer ----------------------------------------------------------------


def test_what_a_customer_types_is_shown_and_never_run(window: Window) -> None:
    evil = "<img src=x onerror='window.evil=1'><script>window.evil=2</script>"

    window.begin("Human", evil, name=evil)

    for place in ("customer-log", "operator-log", "thread-title", "conversations"):
        assert evil in window.text(place)

    window.wait_until(lambda: window.all("#traffic-log summary"))
    window.click("#traffic-log summary")
    window.wait_until(lambda: window.all("#traffic-log pre"))
    assert window.ask("return window.evil") is None
    assert window.all("main img") == []


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

_SHOWN = """
    const [text] = [...document.querySelectorAll("#customer-log .by-bot .text")]
      .slice(-1);
    return text.innerHTML;
"""


def test_markdown_is_shown_as_chatwoot_does(app: Flask, window: Window) -> None:
    window.begin("Human")
    window.wait_until(lambda: window.all("#operator-log .note"))

    api(app, "1/messages", content=MARKDOWN)

    window.wait_for_answer("Anything else?")
    assert window.ask(_SHOWN).replace(' target="_blank" rel="noopener"', "") == (
        "<p>Here is <strong>order 4711</strong>, from our <em>warehouse</em> and "
        "<s>not</s> a <code>shop</code>:</p>"
        '<ol start="1"><li><p>Sent</p></li>'
        '<li><p><a href="https://post.example/?a=1&amp;b=2">On its way</a></p>'
        '<ul><li><p>see <a href="https://shop.example/4711">'
        "https://shop.example/4711</a>.</p></li></ul></li></ol>"
        "<hr><blockquote><p>Two days.\nOr <em>three</em>.</p></blockquote>"
        "<pre><code>**not** bold</code></pre>"
        '<p class="heading">Anything else?</p>'
        "<p>2 * 3 * 4, snake_case_name, *as it is*, [no](javascript:alert(1)) "
        "&lt;b&gt;HTML&lt;/b&gt;</p>"
    )
    # Where there is one line, it is without marks.
    assert window.text("conversations").startswith("Ada Lovelace #1\nHere is order")


@pytest.mark.parametrize("text", [">" * 9000, "- " * 9000 + "x", "**" * 9000])
def test_no_text_is_too_much_for_the_page(
    app: Flask, window: Window, text: str
) -> None:
    window.begin("Human")

    api(app, "1/messages", content=text)
    window.say("Go on.")

    window.wait_for_answer("Go on.")


def width_of(window: Window, picture: str) -> t.Any:
    """The width of a picture that has been loaded."""
    program = "return document.querySelector(arguments[0])?.naturalWidth"

    return window.ask(program, picture)


def test_a_picture_is_shown_to_both(window: Window, tmp_path: Path) -> None:
    (tmp_path / "lamp.png").write_bytes(PIXEL)
    window.begin("Human")

    window.find("customer-files").send_keys(str(tmp_path / "lamp.png"))
    window.wait_until(lambda: "lamp.png" in window.text("chosen-files"))
    window.say("This one.")

    for log in ("customer-log", "operator-log"):
        window.wait_until(
            functools.partial(width_of, window, f"#{log} [alt='lamp.png']")
        )

    assert window.texts("#chosen-files li") == []


def test_a_button_is_pressed_once(app: Flask, window: Window) -> None:
    window.begin()
    window.wait_for_answer(FAQ["order"])
    items = [{"title": "Yes", "value": "yes"}, {"title": "No", "value": "no"}]
    api(
        app,
        "1/messages",
        content="Did that help?",
        content_type="input_select",
        content_attributes={"items": items},
    )
    window.wait_until(lambda: window.texts("#customer-log .buttons button") != [])
    assert window.texts("#customer-log .buttons button") == ["Yes", "No"]
    # Operators see the buttons, and cannot press them.
    window.wait_until(lambda: window.texts("#operator-log .buttons button") != [])
    assert not any(b.is_enabled() for b in window.all("#operator-log .buttons button"))

    window.click("#customer-log .buttons button")

    window.wait_until(lambda: window.texts("#customer-log .picked") == ["Yes"])
    window.wait_until(lambda: window.texts("#operator-log .picked") == ["Yes"])
    assert not any(b.is_enabled() for b in window.all("#customer-log .buttons button"))
    assert window.focused == "customer-text"


def test_the_customer_sees_the_typing_indicator(app: Flask, window: Window) -> None:
    window.begin()
    window.wait_for_answer(FAQ["order"])

    api(app, "1/toggle_typing_status", typing_status="on")
    window.wait_for_answer("AI agent is typing…")
    api(app, "1/toggle_typing_status", typing_status="off")
    window.wait_until(lambda: "typing" not in window.text("customer-log"))


def test_a_conversation_survives_a_reload_and_ends_with_a_new_one(
    window: Window, address: str
) -> None:
    window.begin("Human", "First.")

    window.open(address)
    window.wait_for_answer("First.")
    window.click("#new-conversation")
    assert window.find("pre-chat").is_displayed()
    assert window.focused == "name"
    window.begin("Human", "Second.")

    assert "First." not in window.text("customer-log")
    assert window.text("customer-log").count("Second.") == 1
    names = window.texts("#conversations .row-name")
    assert names == ["Ada Lovelace #2", "Ada Lovelace #1"]


def test_after_it_is_resolved_the_customer_can_start_anew(window: Window) -> None:
    window.begin("Human")
    window.click("#resolve")

    window.wait_until(lambda: window.find("resolved").is_displayed())
    assert "Resolved" in window.text("thread-badges")
    assert window.text("resolve") == "Reopen"
    window.click("#start-anew")

    assert window.find("pre-chat").is_displayed()
    assert window.focused == "choice"


def test_the_operator_goes_from_one_conversation_to_another(window: Window) -> None:
    window.begin("Human", "First.")
    window.click("#new-conversation")
    window.begin("Human", "Second.")
    assert "First." not in window.text("operator-log")

    window.all("#conversations button")[1].click()

    window.wait_until(lambda: "First." in window.text("operator-log"))
    assert "Second." not in window.text("operator-log")
    rows = window.all("#conversations .row")
    assert [row.get_attribute("aria-current") for row in rows] == ["false", "true"]


# -- traffic and faults ----------------------------------------------------------


def switch(window: Window, name: str) -> None:
    """Turn a switch, and wait until the server has heard of it."""
    before = window.text("faults-now")
    window.click(f"#faults {name}")
    window.wait_until(lambda: window.text("faults-now") != before)


def test_retries_can_be_watched(window: Window) -> None:
    switch(window, "[value=limit]")
    window.begin()
    window.wait_until(lambda: "429" in window.texts("#traffic-log .status"))
    assert "accepted → working…" in window.text("traffic-log")
    assert "refused (rate_limited)" in window.text("traffic-log")

    switch(window, "[value=none]")

    window.wait_for_answer(FAQ["order"])
    window.wait_until(lambda: "accepted → replied" in window.text("traffic-log"))


def test_a_server_that_fails_is_seen(window: Window) -> None:
    switch(window, "[value=error]")
    window.begin()
    window.wait_until(lambda: "500" in window.texts("#traffic-log .status"))
    assert window.texts("#faults-now .badge") == ["answers 500"]


def test_a_cut_connection_does_not_double_the_answer(window: Window) -> None:
    switch(window, "[value=cut]")
    window.begin()

    window.wait_until(lambda: "accepted → replied" in window.text("traffic-log"))
    assert "unanswered (cut_after)" in window.text("traffic-log")
    assert window.text("customer-log").count(FAQ["order"]) == 1


def test_a_slow_provider_is_waited_for(window: Window) -> None:
    switch(window, "[name=slow]")
    window.begin()
    window.wait_until(lambda: "accepted → working…" in window.text("traffic-log"))
    assert FAQ["order"] not in window.text("customer-log")

    switch(window, "[name=slow]")

    window.wait_for_answer(FAQ["order"])


def test_duplicates_and_forged_deliveries_differ(window: Window) -> None:
    switch(window, "[name=duplicate]")
    switch(window, "[name=forged]")
    window.begin()

    window.wait_until(lambda: "duplicate" in window.texts("#traffic-log .outcome"))
    window.wait_for_answer(FAQ["order"])
    assert "refused (invalid signature)" in window.texts("#traffic-log .outcome")
    assert "bad signature" in window.texts("#traffic-log .badge")
    assert window.text("customer-log").count(FAQ["order"]) == 1


def test_a_delivery_is_looked_into_and_sent_again(window: Window) -> None:
    window.begin()
    window.wait_for_answer(FAQ["order"])

    window.click("#traffic-log summary")
    window.wait_until(lambda: len(window.all("#traffic-log pre")) == 3)
    headers, asked, answered = window.texts("#traffic-log pre")
    assert "X-Chatwoot-Signature" in headers
    assert '"content": "Where is my order?"' in asked
    assert '"status": "accepted"' in answered
    window.click("#traffic-log .again")

    window.wait_until(lambda: "duplicate" in window.texts("#traffic-log .outcome"))
    # Whoever reads on is not disturbed by what is new.
    assert len(window.all("#traffic-log pre")) == 3


# -- the keyboard and the screen reader ------------------------------------------


def test_the_keyboard_is_enough(window: Window) -> None:
    def named(id: str) -> t.Callable[[WebElement], bool]:
        return lambda element: element.get_attribute("id") == id

    window.tab_to(named("name"))
    window.press("Ada", Keys.TAB)
    assert window.focused == "choice"
    window.press("AI", Keys.TAB)
    assert window.focused == "first-message"
    window.press("Where is my order?", Keys.TAB, Keys.ENTER)
    window.wait_until(lambda: window.focused == "customer-text")
    window.wait_for_answer(FAQ["order"])

    window.press("Can I return it?", Keys.ENTER)
    window.wait_for_answer(FAQ["return"])
    window.tab_to(named("assign"))
    window.press(Keys.SPACE)
    window.wait_until(lambda: window.text("assign") == "Leave it")
    assert window.focused == "assign"
    window.tab_to(lambda element: element.get_attribute("name") == "kind")
    window.press(Keys.ARROW_RIGHT, Keys.TAB)
    assert window.focused == "operator-text"
    window.press("A regular.", Keys.ENTER)
    window.wait_until(lambda: window.texts("#operator-log .note") != [])
    assert window.focused == "operator-text"

    window.tab_to(lambda element: element.get_attribute("name") == "api")
    window.press(Keys.ARROW_RIGHT)
    window.wait_until(lambda: "answers 500" in window.text("faults-now"))
    window.tab_to(lambda element: "again" in (element.get_attribute("class") or ""))
    window.press(Keys.ENTER)
    window.wait_until(lambda: "duplicate" in window.text("traffic-log"))


def test_the_focus_can_be_seen(window: Window) -> None:
    window.begin("Human")
    unseen = window.ask(
        """
        const wanted = "button, select, textarea, summary, [tabindex='0']";
        return [...document.querySelectorAll(wanted)].filter((node) => {
          if (!node.checkVisibility()) return false;
          node.focus({ focusVisible: true });
          const style = getComputedStyle(node);
          return style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2;
        }).map((node) => node.outerHTML.slice(0, 80));
        """
    )

    assert unseen == []


def tree(window: Window) -> list[tuple[str, str]]:
    """What a screen reader gets: roles and names."""
    nodes = window.command("Accessibility.getFullAXTree")["nodes"]

    return [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"]
    ]


def test_a_screen_reader_finds_its_way(window: Window) -> None:
    window.begin("Human")
    window.wait_until(lambda: window.texts("#operator-log .note") != [])
    window.wait_until(lambda: "accepted → noted" in window.text("traffic-log"))
    told = tree(window)

    assert {"banner", "main", "log"} <= {role for role, _ in told}
    assert {
        *(("region", "Customer"), ("region", "Operator"), ("region", "Traffic")),
        *(("navigation", "Conversations"), ("toolbar", _ACTIONS)),
        *(("textbox", "Your message"), ("button", "Attach a file"), ("button", "Send")),
        *(("radio", "Private note"), ("switch", "Slow provider")),
        *(("combobox", "support_mode"), ("button", "Send delivery 1 again")),
        *(("heading", "Playground"), ("heading", "Customer")),
    } <= set(told)
    controls = {"button", "textbox", "combobox", "radio", "switch", "link"}
    assert [role for role, name in told if role in controls and not name] == []
    live = window.find("customer-log").get_attribute("aria-live")
    assert live == "polite"


_ACTIONS = "What to do with the conversation"


def test_a_screen_reader_announces_notes(window: Window) -> None:
    window.begin("Human")

    window.answer("A regular.", note=True)
    window.wait_until(lambda: "A regular." in announced(window))
    window.click("#resolve")
    window.wait_until(lambda: announced(window) == "Conversation 1: Resolved")


def announced(window: Window) -> str:
    return t.cast(str, window.find("announcer").get_property("textContent"))


# -- screens and languages -------------------------------------------------------


def test_on_a_phone_the_parts_are_tabs(window: Window) -> None:
    window.resize(PHONE)
    window.wait_until(lambda: window.find("tabs").is_displayed())
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


def test_a_phone_may_lie_on_its_side(window: Window) -> None:
    window.begin("Human")
    window.resize((PHONE[1], PHONE[0]))
    window.wait_until(lambda: window.find("tabs").is_displayed())

    for part, log in (("customer", "customer-log"), ("operator", "operator-log")):
        window.click(f"#tab-{part}")
        assert window.find(log).size["height"] > 90
        assert window.ask("return document.documentElement.scrollHeight <= innerHeight")
        window.picture(f"side-{part}")

    window.find("operator-text").send_keys("Hello!")
    window.click("#operator-send")
    window.wait_until(lambda: "Hello!" in window.text("operator-log"))


NAME = "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichenträger"


def test_nothing_sticks_out_of_its_place(window: Window) -> None:
    window.begin("Human", name=NAME)
    window.click("#assign")
    window.wait_until(lambda: "Olga" in window.text("owner"))

    for language in ("en", "ru"):
        window.click(f"[data-language={language}]")

        for width in (1100, 1280, 1400):
            window.resize((width, 800))
            assert window.ask(_STUFFED) == [], (language, width)


_STUFFED = """
    return [...document.querySelectorAll(
      ".top, .widget-head, .inbox ul, .thread-head, .attribute, .log, .line, .faults"
    )].filter((node) => node.scrollWidth > node.clientWidth)
      .map((node) => [node.className, node.scrollWidth, node.clientWidth]);
"""


def test_the_last_message_stays_in_sight(window: Window, tmp_path: Path) -> None:
    window.begin("Human", "A story. " + "word " * 400)
    (tmp_path / "list.txt").write_text("one\ntwo")

    def at_end() -> bool:
        rest = "return [...document.querySelectorAll('.log')].every((l) =>"
        rest += " l.scrollHeight - l.scrollTop - l.clientHeight < 2)"

        return bool(window.ask(rest))

    window.wait_until(at_end)
    window.find("customer-files").send_keys(f"{tmp_path / 'list.txt'}")
    window.wait_until(lambda: "list.txt" in window.text("chosen-files"))
    window.wait_until(at_end)
    window.say("")
    window.wait_until(lambda: "list.txt" in window.text("operator-log"))
    window.wait_until(at_end)
    # What only screen readers are told takes no room.
    assert window.ask("return document.documentElement.scrollHeight <= innerHeight")
    window.click("#resolve")
    window.wait_until(lambda: window.find("start-anew").is_displayed())
    window.wait_until(at_end)
    window.resize((1200, 800))
    window.wait_until(at_end)


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_shows_everything(window: Window, width: int) -> None:
    window.begin("Human", "Where is my order? " + "x" * 90)
    window.answer("A regular." + "x" * 90, note=True)
    window.resize((width, PHONE[1]))
    window.wait_until(lambda: window.find("tabs").is_displayed())

    for language in ("en", "ru"):
        window.click(f"[data-language={language}]")

        for part in ("customer", "operator", "traffic"):
            window.click(f"#tab-{part}")
            wider = window.ask(_WIDER)
            assert wider == [], (language, part)
            window.picture(f"phone-{part}-{language}")

    window.click("#tab-operator")
    # What came in while it was hidden is in sight: the last message.
    log = window.find("operator-log")
    rest = "const [l] = arguments; return l.scrollHeight - l.scrollTop - l.clientHeight"
    assert window.ask(rest, log) < 2
    window.ask("arguments[0].scrollIntoView()", window.find("operator-composer"))
    window.click("#operator-send")


_WIDER = """
    return [...document.querySelectorAll("body *")].filter((node) =>
      node.checkVisibility() && !node.closest(".unseen, svg, h2")
      && node.getBoundingClientRect().right > innerWidth + 1
    ).map((node) => node.outerHTML.slice(0, 90));
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_can_be_read(window: Window, scheme: str) -> None:
    """Contrast of 4.5 or more, which is what WCAG 2.2 asks for (1.4.3)."""
    window.colours(scheme)
    window.begin()
    window.wait_for_answer(FAQ["order"])
    window.answer("A regular.", note=True)
    switch(window, "[value=error]")
    switch(window, "[name=forged]")
    window.say("Where is my order?")
    window.wait_until(lambda: "500" in window.texts("#traffic-log .status"))
    window.picture(f"contrast-{scheme}")

    assert window.ask(_PALE) == []
    back = window.ask("return getComputedStyle(document.body).backgroundColor")
    assert back == {"light": "rgb(238, 242, 247)", "dark": "rgb(14, 19, 26)"}[scheme]


_PALE = """
    const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = (colour) => {
      const [r, g, b] = numbers(colour).map((c) => c / 255)
        .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (node) => {
      for (; node; node = node.parentElement) {
        const style = getComputedStyle(node);
        if (style.backgroundImage !== "none") return null;
        const [, , , alpha = 1] = numbers(style.backgroundColor);
        if (alpha === 1) return style.backgroundColor;
      }
    };
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const node = walker.currentNode.parentElement;
      if (!walker.currentNode.data.trim() || !node.checkVisibility()) continue;
      if (node.closest(".unseen, script, noscript")) continue;
      const back = behind(node);
      if (back === null) continue;
      const [a, b] = [light(getComputedStyle(node).color), light(back)];
      const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      if (contrast < 4.5) found.push([node.outerHTML.slice(0, 80), contrast]);
    }
    return found;
"""


def test_the_language_is_the_browsers_or_the_one_chosen(
    window: Window, address: str
) -> None:
    assert window.text("customer-title") == "Customer"

    window.speak("ru-RU")
    window.open(address)
    assert window.text("customer-title") == "Клиент"
    assert window.ask("return document.documentElement.lang") == "ru"
    window.begin("AI агент")
    window.wait_for_answer(FAQ["order"])
    assert window.texts("#thread-badges .badge") == ["Открыт", "Бот"]

    window.click("[data-language=en]")
    assert window.text("customer-title") == "Customer"
    assert window.texts("#thread-badges .badge") == ["Open", "Bot"]
    window.open(address)
    assert window.text("customer-title") == "Customer"


def test_what_chatwoot_notes_is_translated(app: Flask, window: Window) -> None:
    def activities() -> list[str]:
        return window.texts("#operator-log .activity")

    def noted(count: int) -> bool:
        return len(activities()) == count

    window.begin("Human")

    # Handing back takes the assignment away too.
    steps = (("assign", 1), ("return-to-bot", 3), ("resolve", 4), ("resolve", 5))

    for button, count in steps:
        window.click(f"#{button}")
        window.wait_until(functools.partial(noted, count))

    api(app, "1/assignments", team_id=1)
    window.wait_until(functools.partial(noted, 6))
    window.click("[data-language=ru]")

    assert activities() == [
        "Диалог взят на себя: Olga Operator",
        "Диалог больше никому не назначен: Olga Operator",
        "Диалог переведён в ожидание: Olga Operator",
        "Диалог завершён: Olga Operator",
        "Диалог открыт снова: Olga Operator",
        "Диалог передан (support): Uma User",
    ]


def test_every_text_is_there_in_every_language(window: Window) -> None:
    words = window.driver.execute_async_script(
        "const done = arguments[0];"
        "import('/static/words.js').then(({ WORDS }) => done(WORDS));"
    )

    assert set(words) == {"en", "ru"}
    assert words["en"].keys() == words["ru"].keys()
    assert all(text.strip() for texts in words.values() for text in texts.values())
    static = window.ask(
        """
        const named = (kind) => [...document.querySelectorAll(`[data-${kind}]`)];
        return ["text", "label", "placeholder"].flatMap((kind) =>
          named(kind).map((node) => node.dataset[kind]));
        """
    )
    assert set(static) <= words["en"].keys()


def test_a_lost_connection_is_shown_and_restored(
    app: Flask, driver: Chrome, tmp_path: Path
) -> None:
    window = Window(driver, tmp_path)

    with contextlib.ExitStack() as first:
        address = first.enter_context(serve(app))
        window.resize(WIDE)
        window.speak("en-US")
        window.open(address)
        assert window.text("connection") == "Live"
        window.begin("Human")
        first.close()
        window.wait_until(lambda: "lost" in window.text("connection"))
        window.say("Anybody there?")
        window.wait_until(lambda: "did not work" in window.text("problem"))
        kept = window.find("customer-text").get_property("value")
        assert kept == "Anybody there?"

    port = int(address.rstrip("/").rpartition(":")[2])

    with serve(app, port=port):
        window.wait_until(lambda: window.text("connection") == "Live", seconds=20)
        # The new server knows nothing of the old conversation.
        assert window.find("pre-chat").is_displayed()
        assert window.texts("#conversations li") == []
        driver.get("about:blank")

    window.complaints()  # of the connection
