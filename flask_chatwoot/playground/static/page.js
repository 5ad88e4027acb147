// Receives the updates of the server, and draws the three parts.

import { drawCustomer, knowRun, setUpCustomer } from "./customer.js";
import { find, post } from "./dom.js";
import { drawOperator, setUpOperator } from "./operator.js";
import { setUpTabs } from "./tabs.js";
import { drawFaults, drawTraffic, setUpTraffic } from "./traffic.js";
import { chooseLanguage, fillIn, language, languages, word } from "./words.js";

let known = {}; // everything the server has sent, by name
let connected = false;

function listen() {
  const events = new EventSource("/events");
  events.addEventListener("hello", (event) => {
    known = {};
    connected = true;
    find("app-name").textContent = JSON.parse(event.data).app;
  });
  events.addEventListener("message", (event) => {
    Object.assign(known, JSON.parse(event.data));
    draw();
  });
  events.addEventListener("error", () => {
    connected = false;
    drawConnection();
  });
}

// All entries of a kind, in the order in which they began.
function all(kind) {
  return Object.keys(known)
    .filter((name) => name.startsWith(`${kind} `))
    .map((name) => known[name])
    .sort((a, b) => (a.began ?? a.id) - (b.began ?? b.id));
}

function draw() {
  drawConnection();

  if (!known.about) return;

  knowRun(known.about.run);
  drawInstallation(known.about);
  const conversations = all("conversation");
  drawCustomer(conversations);
  drawOperator(conversations, known.about);
  drawTraffic(all("traffic"));
  drawFaults(known.faults);
}

function drawConnection() {
  const place = find("connection");
  const text = word(connected ? "connected" : "disconnected");

  if (place.textContent !== text) place.textContent = text;

  place.classList.toggle("lost", !connected);
}

function drawInstallation({ version, versions, kind }) {
  const offered = versions.includes(version) ? versions : [...versions, version];
  drawOptions(find("version"), offered, version, (value) => value);
  drawOptions(find("kind"), ["account", "bot"], kind, (value) => word(`kind_${value}`));
}

function drawOptions(select, values, chosen, text) {
  const options = values.map((value) => new Option(text(value), value));
  const texts = (list) => [...list].map((option) => option.text).join();

  if (texts(options) !== texts(select.options)) select.replaceChildren(...options);

  select.value = chosen;
}

// Another Chatwoot has no conversations: everything begins anew.
function setUpInstallation() {
  find("installation").addEventListener("change", ({ currentTarget: { elements } }) =>
    post("/installation", { version: elements.version.value, kind: elements.kind.value }),
  );
}

function setUpLanguages() {
  const select = find("language");

  for (const [code, name] of languages()) {
    const option = new Option(name, code);
    option.lang = code;
    select.add(option);
  }

  select.value = language;
  select.addEventListener("change", () => {
    chooseLanguage(select.value);
    fillIn();
    draw();
  });
}

fillIn();
setUpLanguages();
setUpInstallation();
setUpTabs();
setUpCustomer();
setUpOperator();
setUpTraffic();
listen();
