// The wire: every delivery and every call, and the switchboard of trouble.

import { find, keepAtEnd, make, makeButton, post, sync, unseen } from "./dom.js";
import { number as formatted, word } from "./words.js";

const SWITCHES = ["slow", "duplicate", "forged"];

export function setUpWire() {
  find("trouble").addEventListener("change", () => post("/trouble", asked()));
}

function asked() {
  const { elements } = find("trouble");
  const flags = SWITCHES.map((name) => [name, elements[name].checked]);

  return { api: elements.api.value, ...Object.fromEntries(flags) };
}

export function drawTrouble(trouble) {
  const { elements } = find("trouble");
  elements.api.value = trouble.api;

  for (const name of SWITCHES) elements[name].checked = trouble[name];

  const names = SWITCHES.filter((name) => trouble[name]).map((name) => word(name));

  if (trouble.api !== "fine") names.unshift(word(`api_${trouble.api}`));

  find("trouble-now").replaceChildren(
    ...(names.length
      ? names.map((name) => make("span", "badge bad", name))
      : [make("span", "badge", word("no_trouble"))]),
  );
}

export function drawWire(lines) {
  const log = find("wire-log");
  find("quiet-wire").hidden = lines.length > 0;
  keepAtEnd(log, () => sync(log, lines, (line) => line.number, create, fill));
}

// -- one line -------------------------------------------------------------------

function create(line) {
  const details = make("details", "", make("summary"), make("div", "bodies"));
  details.addEventListener("toggle", () => open(details, line.number));
  const node = make("li", `line ${line.kind}`, details);

  if (line.again) {
    const again = makeButton("again", "", () => repeat(line.number));
    again.append(find("again-icon").content.cloneNode(true));
    node.append(again);
  }

  return node;
}

const repeat = (number) => post(`/wire/${number}/again`);

function fill(node, line) {
  const summary = node.querySelector("summary");
  node.classList.toggle("failed", !line.ok);
  summary.replaceChildren(...first(line), make("span", "second", ...second(line)));
  open(node.firstChild, line.number);
  const again = node.querySelector(".again");

  if (!again) return;

  again.title = word("again");
  again.setAttribute("aria-label", word("again_label", { number: line.number }));
}

function first(line) {
  const arrow = make("span", "arrow", line.kind === "delivery" ? "→" : "←");
  arrow.setAttribute("aria-hidden", "true");
  const status = line.status ?? word("no_answer");

  return [
    arrow,
    unseen(`${line.number}. `),
    make("span", "what", line.what),
    " ",
    make("span", `status ${line.ok ? "good" : "bad"}`, String(status)),
    " ",
    make("span", "ms", word("milliseconds", { ms: formatted(line.ms) })),
  ];
}

function second(line) {
  const seal = line.signature ?? "none";
  const bad = seal === "wrong" || seal === "absent" || seal === "none";
  const parts = [
    word(line.kind),
    make("span", bad ? "badge bad" : "badge", word(`signature_${seal}`)),
    make("span", "outcome", outcome(line)),
  ];

  if (line.attempt > 1) parts.push(word("attempt", { attempt: line.attempt }));

  if (line.conversation) parts.push(`#${line.conversation}`);

  return parts.flatMap((part) => [part, " "]);
}

// The closed lists of outcomes and reasons are not translated: they are what the logs,
// the documentation and the commands call them.
function outcome({ outcome, reason, turn }) {
  const told = because(outcome, reason);

  if (!turn) return told;

  const end = turn.outcome === "working" ? word("working") : turn.outcome;
  return `${told} → ${because(end, turn.reason)}`;
}

const because = (outcome, reason) => (reason ? `${outcome} (${reason})` : outcome);

// -- bodies ---------------------------------------------------------------------

const PARTS = ["path", "headers", "request", "answer"];

async function open(details, number) {
  const place = details.querySelector(".bodies");

  if (!details.open) return;

  if (!place.firstChild) place.textContent = word("loading");

  const bodies = await (await fetch(`/wire/${number}`)).json();
  place.replaceChildren(
    ...PARTS.filter((name) => name in bodies).flatMap((name) => shown(name, bodies[name])),
  );
}

function shown(name, value) {
  const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  const block = make("pre", "", text);
  block.tabIndex = 0;
  block.setAttribute("role", "group");
  block.setAttribute("aria-label", word(name));

  return [make("h4", "", word(name)), block];
}
