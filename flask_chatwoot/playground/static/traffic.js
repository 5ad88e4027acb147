// The traffic: every delivery and every call; and the switches of the faults.

import { find, keepAtEnd, make, makeButton, post, sync, unseen } from "./dom.js";
import { count } from "./tabs.js";
import { clockSeconds, quantity, word } from "./words.js";

const ARROWS = { delivery: "→", call: "←", question: "→", crash: "✕" };
const SWITCHES = ["slow", "duplicate", "forged"];

let lines = [];

export function setUpTraffic() {
  find("filter").addEventListener("change", () => drawTraffic(lines));
  find("faults").addEventListener("change", () => post("/faults", asked()));
}

function asked() {
  const { elements } = find("faults");
  const flags = SWITCHES.map((name) => [name, elements[name].checked]);

  return { api: elements.api.value, ...Object.fromEntries(flags) };
}

export function drawFaults(faults) {
  const { elements } = find("faults");
  elements.api.value = faults.api;

  for (const name of SWITCHES) elements[name].checked = faults[name];

  const names = SWITCHES.filter((name) => faults[name]).map((name) => word(`fault_${name}`));

  if (faults.api !== "none") names.unshift(word(`api_${faults.api}`));

  find("faults-now").replaceChildren(
    ...(names.length
      ? names.map((name) => make("span", "badge bad", name))
      : [make("span", "badge", word("no_faults"))]),
  );
}

export function drawTraffic(all) {
  lines = all;
  count("traffic", all.filter(({ ok }) => !ok).length);
  drawFilter([...new Set(all.map(({ conversation }) => conversation).filter(Boolean))]);
  const chosen = find("filter").value;
  const shown = all.filter((line) => !chosen || String(line.conversation) === chosen);
  const log = find("traffic-log");
  find("no-traffic").hidden = all.length > 0;
  const change = () => sync(log, shown, (line) => line.number, create, fill);

  // Who reads a line does not want it to move.
  if (log.querySelector("details[open]")) change();
  else keepAtEnd(log, change);
}

// The choice of one conversation, once there are several.
function drawFilter(conversations) {
  const select = find("filter");
  const { value } = select;
  const options = conversations
    .toSorted((a, b) => a - b)
    .map((id) => new Option(word("only_conversation", { id }), id));
  select.replaceChildren(new Option(word("all_conversations"), ""), ...options);
  select.value = conversations.some((id) => String(id) === value) ? value : "";
  find("filtering").hidden = conversations.length < 2;
}

// -- one line -------------------------------------------------------------------

function create(line) {
  const details = make("details", "", make("summary"), make("div", "bodies"));
  details.addEventListener("toggle", async () => {
    await open(details, line.number);
    if (details.open) show(node);
  });
  const node = make("li", `line ${line.kind}`, details);

  if (line.again) {
    const again = makeButton("again", "", () => repeat(line.number));
    again.append(find("again-icon").content.cloneNode(true));
    node.append(again);
  }

  return node;
}

// Scroll a line into view; of one that is too long, its beginning.
function show(node) {
  const long = node.offsetHeight > find("traffic-log").clientHeight;
  node.scrollIntoView({ block: long ? "start" : "nearest" });
}

const repeat = (number) => post(`/traffic/${number}/again`);

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
  const arrow = make("span", "arrow", ARROWS[line.kind]);
  arrow.setAttribute("aria-hidden", "true");
  const status = line.status ?? word("no_answer");
  const what = [line.what, line.detail].filter(Boolean).join(" ");
  const begin = [arrow, unseen(`${line.number}. `), make("span", "what", what)];

  if (line.kind === "crash") return begin;

  return [
    ...begin,
    " ",
    make("span", `status ${line.ok ? "good" : "bad"}`, String(status)),
    " ",
    make("span", "ms", quantity(line.ms, "millisecond")),
  ];
}

function second(line) {
  const parts = [word(`line_${line.kind}`)];

  if (line.kind !== "crash") parts.push(signed(line.signature ?? "none"));

  parts.push(make("span", "outcome", outcome(line)));

  if (line.attempt > 1) parts.push(word("attempt", { attempt: line.attempt }));

  if (line.conversation) parts.push(`#${line.conversation}`);

  parts.push(make("span", "clock", clockSeconds(line.time)));

  return parts.flatMap((part) => [part, " "]);
}

function signed(signature) {
  const bad = ["wrong", "absent", "none"].includes(signature);
  return make("span", bad ? "badge bad" : "badge", word(`signature_${signature}`));
}

// Outcomes and reasons are not translated: these are the names that the logs, the
// documentation and the commands use.
function outcome({ outcome, reason, turn }) {
  const first = because(outcome, reason);

  if (!turn) return first;

  const end = turn.outcome === "working" ? word("working") : turn.outcome;
  return `${first} → ${because(end, turn.reason)}`;
}

const because = (outcome, reason) => (reason ? `${outcome} (${reason})` : outcome);

// -- bodies ---------------------------------------------------------------------

const PARTS = ["traceback", "path", "headers", "request", "answer"];

async function open(details, number) {
  const place = details.querySelector(".bodies");

  if (!details.open) return;

  if (!place.firstChild) place.textContent = word("loading");

  const bodies = await (await fetch(`/traffic/${number}`)).json();
  place.replaceChildren(
    ...PARTS.filter((name) => name in bodies).flatMap((name) => shown(name, bodies[name])),
  );
}

function shown(name, value) {
  const title = word(`part_${name}`);
  const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  const block = make("pre", "", text);
  block.tabIndex = 0;
  block.setAttribute("role", "group");
  block.setAttribute("aria-label", title);

  return [make("h4", "", title), block];
}
